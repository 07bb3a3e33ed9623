// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace untrap::runtime::soft {

struct Block;

// Which block stands for which code: guest real address, effective address and mode. A hash table that a look-up reads
// one cache line of, since every jump to code not met lately asks it.
class BlockTable {
  public:
    struct Key {
        std::uint64_t real;
        std::uint32_t ea, mode;
        bool operator==(const Key&) const = default;
    };

    BlockTable() { clear(); }

    Block* find(const Key& key) const {
        for (std::size_t index = hash(key);; ++index) {
            const Slot& slot = slots_[index & mask_];
            if (slot.key == key) return slot.block;
            if (slot.key == empty) return nullptr;
        }
    }
    void insert(const Key& key, Block* block);
    void erase(const Key& key);
    void clear();

  private:
    struct Slot {
        Key key;
        Block* block;
    };
    // No instruction has an odd address.
    static constexpr Key empty{1, 0, 0}, erased{3, 0, 0};
    static constexpr std::size_t least_slots = std::size_t{1} << 14;

    static std::size_t hash(const Key& key) {
        return (key.real ^ std::uint64_t{key.ea} << 20 ^ std::uint64_t{key.mode} << 56) * 0x9E3779B97F4A7C15ULL >> 24;
    }
    void grow();

    std::vector<Slot> slots_;
    std::size_t mask_ = 0;
    std::size_t occupied_ = 0; // slots that are not empty, the erased ones included
    std::size_t blocks_ = 0;
};

} // namespace untrap::runtime::soft
