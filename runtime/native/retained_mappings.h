// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/native/shadow_tlb.h"
#include "runtime/native/world_layout.h"

namespace untrap::runtime::native {

// What pages of the guest's kernel were mapped by last, so that the world switch can map them again once others have
// taken their place in the CPU's TLB. By page, and apart for fetches and data, because code copies make them different
// memory.
//
// Only mappings in the kernel's one context are here that come from large guest TLB entries which are watched, lie in
// memory that has no dirty log, and are where no other guest TLB entry is, whosever. They are forgotten, all of them,
// when such an entry changes, when another one comes to lie in their 256 MB of address space, or when memory is to be
// mapped otherwise.
class RetainedMappings {
  public:
    static constexpr unsigned count = RETAINED_COUNT, page_shift = 12;
    struct alignas(1U << RETAINED_SHIFT) Entry {
        std::uint32_t tag = 0;
        ShadowTlb::Mapping mapping{};
    };

    static constexpr std::uint32_t tag_of(std::uint32_t ea, bool fetch) {
        return (ea & (0 - (1U << page_shift))) | RETAINED_VALID | (fetch ? RETAINED_FETCH : 0U);
    }
    void keep(std::uint32_t ea, bool fetch, const ShadowTlb::Mapping& mapping) {
        entries_[ea >> page_shift & (count - 1)] = {tag_of(ea, fetch), mapping};
        segments_ |= 0x80000000 >> (ea >> 28);
    }
    // What ea was mapped by; nullptr: nothing that is known.
    const ShadowTlb::Mapping* find(std::uint32_t ea, bool fetch) const {
        const Entry& entry = entries_[ea >> page_shift & (count - 1)];
        return entry.tag == tag_of(ea, fetch) ? &entry.mapping : nullptr;
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
