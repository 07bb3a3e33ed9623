// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace untrap::runtime {

// One KVM memory region: guest real addresses [base, base + size) backed by host memory, in one piece or in pages.
struct Memslot {
    static constexpr unsigned page_shift = 12; // regions are made of pages of this size

    std::uint64_t base = 0;
    std::uint64_t size = 0;       // bytes; 0: the slot is free
    std::uint8_t* host = nullptr; // all of it, where it is one piece of host memory; otherwise
    bool read_only = false;
    std::uint8_t* const* pages = nullptr; // the host address of each page
    // Only for a host that maps guest memory by real addresses; one per page: host real address >> 12 in bits 31-8,
    // log2 of the contiguous block that holds the page in bits 7-0.
    const std::uint32_t* frames = nullptr;
    // Dirty log: page n is bit n & 31 of word n / 32. nullptr: not logged.
    std::uint32_t* dirty = nullptr;
};

// Guest real memory. The one checked way from a guest real address (36 bits) to host memory.
class PhysicalMemory {
  public:
    static constexpr unsigned slot_count = 32;

    // Sets or frees (size 0) a slot. False if the slot number is out of range, base or size is not a multiple of
    // 4 KB, not exactly one of host and pages is given, the region wraps or leaves 36 bits, or it overlaps another
    // slot; nothing is changed then. The arrays stay the caller's, and have to stay until the slot is changed.
    bool set_slot(unsigned slot, const Memslot& region);
    // Counts changes of slots.
    std::uint32_t version() const { return version_; }
    const Memslot& slot(unsigned index) const { return slots_[index]; }

    // Host address of [real, real + length), length > 0, or nullptr unless all of it lies in one slot (writable, if
    // asked) and is contiguous in host memory. What lies in one page always is.
    std::uint8_t* find(std::uint64_t real, std::uint64_t length, bool write) const;
    // The slot that holds real, or nullptr.
    const Memslot* slot_of(std::uint64_t real) const;
    // Whether stores to real have to be noted in a dirty log.
    bool logged(std::uint64_t real) const;
    // Notes a store of the guest to [real, real + length), length > 0, in the dirty log of its slot, if it has one.
    void mark_dirty(std::uint64_t real, std::uint64_t length) const {
        if (any_logged_) note_dirty(real, length);
    }

  private:
    void note_dirty(std::uint64_t real, std::uint64_t length) const;

    std::array<Memslot, slot_count> slots_{};
    unsigned used_ = 0; // no slot from this number on is in use
    bool any_logged_ = false;
    std::uint32_t version_ = 0;
};

} // namespace untrap::runtime
