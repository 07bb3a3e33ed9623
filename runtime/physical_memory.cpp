// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/physical_memory.h"

#include <cstddef>

namespace untrap::runtime {

namespace {

constexpr std::uint64_t real_space = std::uint64_t{1} << 36;
constexpr std::uint64_t page_bytes = std::uint64_t{1} << Memslot::page_shift;

constexpr std::size_t page_of(std::uint64_t offset) { return static_cast<std::size_t>(offset >> Memslot::page_shift); }

} // namespace

bool PhysicalMemory::set_slot(unsigned slot, const Memslot& region) {
    if (slot >= slot_count) return false;
    if (region.size != 0) {
        if (((region.base | region.size) & (page_bytes - 1)) != 0) return false;
        if ((region.host == nullptr) == (region.pages == nullptr)) return false;
        if (region.base >= real_space || region.size > real_space - region.base) return false;
        for (unsigned other = 0; other < used_; ++other) {
            const Memslot& taken = slots_[other];
            if (other == slot || taken.size == 0) continue;
            if (region.base < taken.base + taken.size && taken.base < region.base + region.size) return false;
        }
    }
    slots_[slot] = region.size != 0 ? region : Memslot{};
    ++version_;
    used_ = 0;
    any_logged_ = false;
    for (unsigned index = 0; index < slot_count; ++index) {
        if (slots_[index].size != 0) used_ = index + 1;
        any_logged_ |= slots_[index].dirty != nullptr;
    }
    return true;
}

const Memslot* PhysicalMemory::slot_of(std::uint64_t real) const {
    for (unsigned index = 0; index < used_; ++index) {
        const Memslot& slot = slots_[index];
        if (real - slot.base < slot.size) return &slot; // a free slot has size 0; below base the difference wraps
    }
    return nullptr;
}

std::uint8_t* PhysicalMemory::find(std::uint64_t real, std::uint64_t length, bool write) const {
    const Memslot* slot = slot_of(real);
    if (slot == nullptr || (write && slot->read_only)) return nullptr;
    const std::uint64_t offset = real - slot->base;
    if (length > slot->size - offset) return nullptr;
    if (slot->pages == nullptr) return slot->host + offset;
    const std::size_t first = page_of(offset), last = page_of(offset + length - 1);
    for (std::size_t page = first; page < last; ++page)
        if (slot->pages[page] + page_bytes != slot->pages[page + 1]) return nullptr;
    return slot->pages[first] + static_cast<std::size_t>(offset & (page_bytes - 1));
}

bool PhysicalMemory::logged(std::uint64_t real) const {
    if (!any_logged_) return false;
    const Memslot* slot = slot_of(real);
    return slot != nullptr && slot->dirty != nullptr;
}

void PhysicalMemory::note_dirty(std::uint64_t real, std::uint64_t length) const {
    const Memslot* slot = slot_of(real);
    if (slot == nullptr || slot->dirty == nullptr) return;
    const std::uint64_t offset = real - slot->base;
    const std::uint64_t room = slot->size - offset;
    const std::size_t last = page_of(offset + (length < room ? length : room) - 1);
    for (std::size_t page = page_of(offset); page <= last; ++page) {
        std::uint32_t& word = slot->dirty[page / 32];
        const std::uint32_t bit = 1U << (page & 31);
        // Another thread may take the log at the same time.
        if ((__atomic_load_n(&word, __ATOMIC_RELAXED) & bit) == 0) __atomic_fetch_or(&word, bit, __ATOMIC_RELAXED);
    }
}

} // namespace untrap::runtime
