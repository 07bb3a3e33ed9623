// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace untrap::runtime {

// One KVM memory region: guest real addresses [base, base + size) backed by host memory.
struct Memslot {
    std::uint64_t base = 0;
    std::uint64_t size = 0; // bytes; 0: the slot is free
    std::uint8_t* host = nullptr;
    bool read_only = false;
    bool log_dirty = false;
};

// Guest real memory. The one checked way from a guest real address (36 bits) to host memory.
class PhysicalMemory {
  public:
    static constexpr unsigned slot_count = 32;

    // Sets or frees (size 0) a slot. False if the slot number is out of range, base or size is not a multiple of
    // 4 KB, the region wraps or leaves 36 bits, or it overlaps another slot; nothing is changed then.
    bool set_slot(unsigned slot, const Memslot& region);
    // Counts changes of slots.
    std::uint32_t version() const { return version_; }
    const Memslot& slot(unsigned index) const { return slots_[index]; }

    // Host address of [real, real + length), or nullptr unless all of it lies in one slot (writable, if asked).
    std::uint8_t* find(std::uint64_t real, std::uint64_t length, bool write) const;
    // The slot that holds real, or nullptr.
    const Memslot* slot_of(std::uint64_t real) const;

  private:
    std::array<Memslot, slot_count> slots_{};
    std::uint32_t version_ = 0;
};

} // namespace untrap::runtime
