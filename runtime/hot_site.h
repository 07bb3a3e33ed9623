// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace untrap::runtime {

// A site that was hot in some VM, told by the content of its page: good wherever, and whenever, that page turns up.
struct HotSite {
    static constexpr std::uint32_t most = 65536; // in one cache

    std::uint64_t page_hash = 0; // page_hash() of the 4 KB page
    std::uint32_t word = 0;      // the privileged instruction
    std::uint16_t offset = 0;    // in the page, a multiple of 4
    std::uint16_t reserved = 0;

    // The order of a cache.
    bool before(const HotSite& other) const {
        return page_hash != other.page_hash ? page_hash < other.page_hash : offset < other.offset;
    }
};
static_assert(sizeof(HotSite) == 16);

} // namespace untrap::runtime
