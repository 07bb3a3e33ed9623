// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/block_table.h"

#include <utility>

namespace untrap::runtime::soft {

void BlockTable::clear() {
    slots_.assign(least_slots, Slot{empty, nullptr});
    mask_ = least_slots - 1;
    occupied_ = blocks_ = 0;
}

void BlockTable::insert(const Key& key, Block* block) {
    if (2 * (occupied_ + 1) > slots_.size()) grow();
    Slot* free = nullptr;
    for (std::size_t index = hash(key);; ++index) {
        Slot& slot = slots_[index & mask_];
        if (slot.key == key) {
            slot.block = block;
            return;
        }
        if (slot.key == erased && free == nullptr) free = &slot;
        if (slot.key != empty) continue;
        if (free == nullptr) {
            free = &slot;
            ++occupied_;
        }
        *free = {key, block};
        ++blocks_;
        return;
    }
}

void BlockTable::erase(const Key& key) {
    for (std::size_t index = hash(key);; ++index) {
        Slot& slot = slots_[index & mask_];
        if (slot.key == empty) return;
        if (slot.key != key) continue;
        slot = {erased, nullptr};
        --blocks_;
        return;
    }
}

void BlockTable::grow() {
    const std::vector<Slot> before = std::move(slots_);
    std::size_t size = least_slots;
    while (size < 4 * (blocks_ + 1)) size *= 2;
    slots_.assign(size, Slot{empty, nullptr});
    mask_ = size - 1;
    occupied_ = blocks_ = 0;
    for (const Slot& slot : before)
        if (slot.block != nullptr) insert(slot.key, slot.block);
}

void StaleTable::clear() {
    slots_.assign(least_slots, Slot{});
    mask_ = least_slots - 1;
    occupied_ = blocks_ = 0;
}

void StaleTable::insert(std::uint64_t content, Block* block) {
    if (2 * (occupied_ + 1) > slots_.size()) grow();
    std::size_t index = content;
    while (slots_[index & mask_].state == State::used) ++index;
    Slot& slot = slots_[index & mask_];
    if (slot.state == State::empty) ++occupied_;
    slot = {content, block, State::used};
    ++blocks_;
}

void StaleTable::grow() {
    const std::vector<Slot> before = std::move(slots_);
    std::size_t size = least_slots;
    while (size < 4 * (blocks_ + 1)) size *= 2;
    slots_.assign(size, Slot{});
    mask_ = size - 1;
    occupied_ = blocks_ = 0;
    for (const Slot& slot : before)
        if (slot.state == State::used) insert(slot.content, slot.block);
}

} // namespace untrap::runtime::soft
