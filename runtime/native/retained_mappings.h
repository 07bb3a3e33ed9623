// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/native/shadow_tlb.h"
#include "runtime/native/world_layout.h"

namespace untrap::runtime::native {

// What the guest's kernel was mapped by last, so that the world switch can map it again once others have taken that
// place in the CPU's TLB. By page, by 64 KB or by MB, whatever the mapping covers at least, and apart for fetches and
// data, because code copies make them different memory.
//
// Only mappings in the kernel's one context are here that come from large guest TLB entries which are watched, lie in
// memory that has no dirty log, and are where no other guest TLB entry is, whosever. They are forgotten, all of them,
// when such an entry changes, when another one comes to lie in their 256 MB of address space, or when memory is to be
// mapped otherwise.
class RetainedMappings {
  public:
    // Of each of the three: log2 of its bytes, how many of them are kept, and where the first is.
    struct Level {
        unsigned shift, count, first;
    };
    static constexpr std::array<Level, 3> levels = {
        {{RETAINED_LEVEL0_SHIFT, 1U << RETAINED_LEVEL0_BITS, RETAINED_LEVEL0_FIRST},
         {RETAINED_LEVEL1_SHIFT, 1U << RETAINED_LEVEL1_BITS, RETAINED_LEVEL1_FIRST},
         {RETAINED_LEVEL2_SHIFT, 1U << RETAINED_LEVEL2_BITS, RETAINED_LEVEL2_FIRST}}};
    static constexpr unsigned count = RETAINED_LEVEL2_FIRST + (1U << RETAINED_LEVEL2_BITS);
    static_assert(levels[1].first == levels[0].count && levels[2].first == levels[1].first + levels[1].count);
    struct alignas(1U << RETAINED_SHIFT) Entry {
        std::uint32_t tag = 0;
        ShadowTlb::Mapping mapping{};
    };

    static constexpr std::uint32_t tag_of(const Level& level, std::uint32_t ea, bool fetch) {
        return (ea & (0 - (1U << level.shift))) | RETAINED_VALID | (fetch ? RETAINED_FETCH : 0U);
    }
    static constexpr unsigned number_of(const Level& level, std::uint32_t ea) {
        return level.first + (ea >> level.shift & (level.count - 1));
    }
    // A mapping of 2^shift bytes around ea.
    void keep(std::uint32_t ea, unsigned shift, bool fetch, const ShadowTlb::Mapping& mapping) {
        unsigned number = levels.size() - 1;
        while (number != 0 && levels[number].shift > shift) --number;
        entries_[number_of(levels[number], ea)] = {tag_of(levels[number], ea, fetch), mapping};
        segments_ |= 0x80000000 >> (ea >> 28);
    }
    // What ea was mapped by; nullptr: nothing that is known.
    const ShadowTlb::Mapping* find(std::uint32_t ea, bool fetch) const {
        for (const Level& level : levels) {
            const Entry& entry = entries_[number_of(level, ea)];
            if (entry.tag == tag_of(level, ea, fetch)) return &entry.mapping;
        }
        return nullptr;
    }
    void clear() {
        if (segments_ == 0) return;
        segments_ = 0;
        for (Entry& entry : entries_) entry.tag = 0;
    }
    // A guest TLB entry with this word 0 comes to be.
    void entry_made(std::uint32_t word0) {
        if ((segments_ << (word0 >> 28) & 0x80000000) != 0) clear();
    }
    std::uint32_t address() const {
        return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(entries_.data()));
    }

  private:
    std::array<Entry, count> entries_{};
    std::uint32_t segments_ = 0; // of address space, 256 MB each, that mappings are in
};
static_assert(offsetof(RetainedMappings::Entry, mapping) == 4);

} // namespace untrap::runtime::native
