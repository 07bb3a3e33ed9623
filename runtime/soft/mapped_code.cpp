// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/mapped_code.h"

#include <algorithm>

namespace untrap::runtime::soft {

void MappedCode::add_sites(std::uint32_t place, std::uint32_t block, const std::vector<x64::MappedAccess>& accesses) {
    for (const x64::MappedAccess& access : accesses)
        add_site({place + access.first, place + access.last, place + access.slow, block});
}

const MappedCode::Site* MappedCode::find(std::uint32_t place) const {
    const auto behind = std::upper_bound(sites_.begin(), sites_.end(), place,
                                         [](std::uint32_t at, const Site& site) { return at < site.first; });
    if (behind == sites_.begin() || place >= behind[-1].last) return nullptr;
    return &behind[-1];
}

void MappedCode::choose(std::uint64_t path, Choice choice) {
    if (choices_.size() == most_choices) choices_.clear();
    choices_[path] = choice;
}

} // namespace untrap::runtime::soft
