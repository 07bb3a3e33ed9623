// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/physical_memory.h"

namespace untrap::runtime {

namespace {

constexpr std::uint64_t real_space = std::uint64_t{1} << 36;
constexpr std::uint64_t slot_granule = 4096;

} // namespace

bool PhysicalMemory::set_slot(unsigned slot, const Memslot& region) {
    if (slot >= slot_count) return false;
    ++version_;
    if (region.size == 0) {
        slots_[slot] = {};
        return true;
    }
    if (((region.base | region.size) & (slot_granule - 1)) != 0 || region.host == nullptr) return false;
    if (region.base >= real_space || region.size > real_space - region.base) return false;
    for (unsigned other = 0; other < slot_count; ++other) {
        const Memslot& taken = slots_[other];
        if (other == slot || taken.size == 0) continue;
        if (region.base < taken.base + taken.size && taken.base < region.base + region.size) return false;
    }
    slots_[slot] = region;
    return true;
}

const Memslot* PhysicalMemory::slot_of(std::uint64_t real) const {
    for (const Memslot& slot : slots_)
        if (real - slot.base < slot.size) return &slot; // a free slot has size 0; below base the difference wraps
    return nullptr;
}

std::uint8_t* PhysicalMemory::find(std::uint64_t real, std::uint64_t length, bool write) const {
    const Memslot* slot = slot_of(real);
    if (slot == nullptr || (write && slot->read_only)) return nullptr;
    const std::uint64_t offset = real - slot->base;
    if (length > slot->size - offset) return nullptr;
    return slot->host + offset;
}

} // namespace untrap::runtime
