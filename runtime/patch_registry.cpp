// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/patch_registry.h"

namespace untrap::runtime {

void PatchRegistry::configure(unsigned levels, unsigned threshold) {
    levels_ = levels;
    threshold_ = threshold == 0 ? 1 : threshold;
    clear();
}

void PatchRegistry::clear() {
    for (Site& site : sites_) site = Site{};
    for (Handler& handler : handlers_) handler = Handler{};
    patched_ = 0;
}

PatchRegistry::Site& PatchRegistry::slot(std::uint64_t real, unsigned attempt) {
    // Neighbouring sites are four bytes apart; a multiplicative hash spreads them over the table.
    const auto key = static_cast<std::uint32_t>(real >> 2) * 0x9E3779B1U;
    return sites_[((key >> 16) + attempt) & (capacity - 1)];
}

PatchRegistry::Site& PatchRegistry::claim(std::uint64_t real, std::uint32_t word) {
    Site* coldest = nullptr;
    for (unsigned attempt = 0; attempt < probe_length; ++attempt) {
        Site& site = slot(real, attempt);
        if (site.real == real) {
            if (site.word == word) return site;
            coldest = &site; // other code stands there now
            break;
        }
        const bool keep = site.patch.level != 0;
        if (coldest == nullptr || (coldest->patch.level != 0 && !keep) ||
            ((coldest->patch.level != 0) == keep && site.traps < coldest->traps))
            coldest = &site;
    }
    if (coldest->patch.level != 0) --patched_;
    *coldest = Site{};
    coldest->real = real;
    coldest->word = word;
    return *coldest;
}

const plan::Patch* PatchRegistry::note_trap(std::uint64_t real, const std::uint32_t* window, unsigned window_length,
                                            bool& newly_patched) {
    newly_patched = false;
    if (levels_ == 0 || window_length == 0) return nullptr;
    Site& site = claim(real, window[0]);
    if (site.patch.level != 0) return &site.patch;
    if (site.traps >= threshold_) return nullptr; // planned, and nothing can be done about it
    if (++site.traps < threshold_) return nullptr;
    site.patch = plan::make_patch(window, window_length, levels_);
    if (site.patch.level == 0) return nullptr;
    ++patched_;
    newly_patched = site.patch.level <= 2;
    return &site.patch;
}

bool PatchRegistry::note_handler(Handler& handler, std::uint32_t ea) {
    if (handler.ea != ea) {
        if (handler.runs >= threshold_) --patched_;
        handler = {ea, 0};
    }
    if (++handler.runs < threshold_) return false;
    ++patched_;
    return true;
}

const plan::Patch* PatchRegistry::find(std::uint64_t real, std::uint32_t word) const {
    if (levels_ == 0) return nullptr;
    for (unsigned attempt = 0; attempt < probe_length; ++attempt) {
        const Site& site = const_cast<PatchRegistry*>(this)->slot(real, attempt);
        if (site.real == real) return site.word == word && site.patch.level != 0 ? &site.patch : nullptr;
    }
    return nullptr;
}

bool PatchRegistry::refused(std::uint64_t real, std::uint32_t word) const {
    if (levels_ == 0) return false;
    for (unsigned attempt = 0; attempt < probe_length; ++attempt) {
        const Site& site = const_cast<PatchRegistry*>(this)->slot(real, attempt);
        if (site.real == real) return site.word == word && site.patch.level == 0 && site.traps >= threshold_;
    }
    return false;
}

} // namespace untrap::runtime
