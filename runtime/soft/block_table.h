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

// Blocks that no longer stand for code, by the hash of what they are made from, which several may share. A table for
// the same reason: with the translations of another VM at hand every block comes from here.
class StaleTable {
  public:
    StaleTable() { clear(); }

    void insert(std::uint64_t content, Block* block);
    // Takes out one that is fit for use, or says nullptr.
    template <typename Test>
    Block* take(std::uint64_t content, Test&& fits) {
        for (std::size_t index = content;; ++index) {
            Slot& slot = slots_[index & mask_];
            if (slot.state == State::empty) return nullptr;
            if (slot.content != content || slot.state == State::erased || !fits(*slot.block)) continue;
            slot.state = State::erased;
            --blocks_;
            return slot.block;
        }
    }
    void clear();

  private:
    enum class State : std::uint8_t { empty, used, erased };
    struct Slot {
        std::uint64_t content = 0;
        Block* block = nullptr;
        State state = State::empty;
    };
    static constexpr std::size_t least_slots = std::size_t{1} << 10;

    void grow();

    std::vector<Slot> slots_;
    std::size_t mask_ = 0;
    std::size_t occupied_ = 0; // slots that are not empty, the erased ones included
    std::size_t blocks_ = 0;
};

} // namespace untrap::runtime::soft
