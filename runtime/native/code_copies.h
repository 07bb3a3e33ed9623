// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/native/native_host.h"
#include "runtime/physical_memory.h"

namespace untrap::runtime::native {

// Host memory that guest kernel code is executed from once sites in it are patched: guest memory itself never changes.
//
// Blocks are as large as guest page and host memory allow, because a copy of a single page would break the one large
// TLB entry that maps a kernel into hundreds. Every page of a block is in one of four states, and no page but an own
// one has a mapping that allows stores, in any context.
class CodeCopies {
  public:
    enum class Use : std::uint8_t {
        own,     // mapped as if there were no copy
        copied,  // nothing patched; executed from the copy, and own at the first other access
        patched, // executed from the copy; loads are interpreted
        mirrored // patched, but for now mapped for loads instead of execution
    };
    static constexpr unsigned page_shift = Memslot::page_shift, largest_shift = 20;
    static constexpr unsigned pages_limit = 1U << (largest_shift - page_shift);
    static constexpr unsigned block_limit = 32;
    static constexpr std::uint16_t no_site = 0xFFFF;

    struct Block {
        std::uint64_t real = 0; // guest real address
        std::uint32_t ea = 0;   // where the guest's kernel executes it: elsewhere the copy is not used
        unsigned shift = 0;     // 0: none
        std::uint8_t next = 0;  // number + 1 of the next one in its megabyte
        std::uint8_t* copy = nullptr;
        std::uint64_t copy_real = 0, original_real = 0; // host real addresses
        unsigned patched = 0, elsewhere = 0;            // pages patched or mirrored; pages not executed from the copy
        std::array<Use, pages_limit> use{};
        // reads: of a patched page, or fetches from an own one; flips: how often it became own, or took turns.
        std::array<std::uint8_t, pages_limit> reads{}, flips{};
        std::array<std::uint16_t, pages_limit> first_site{}; // the engine's chain
        // log2 of the piece around a page that is mapped alike, as far as it was asked for; 0: not yet.
        std::array<std::uint8_t, pages_limit> piece{};

        std::uint32_t bytes() const { return 1U << shift; }
        unsigned pages() const { return 1U << (shift - page_shift); }
        unsigned page_of(std::uint64_t at) const { return static_cast<unsigned>(at - real) >> page_shift; }
        std::uint8_t* word_at(std::uint64_t at) const { return copy + static_cast<unsigned>(at - real); }
    };

    // What copies can take at most, however they lie: more needs no limit.
    static constexpr std::uint64_t most_bytes = std::uint64_t{block_limit} << largest_shift;

    bool any() const { return used_ != 0; }
    std::uint64_t bytes() const { return bytes_; }
    // Memory that copies, and what is set aside, may take together, in bytes.
    void limit(std::uint64_t bytes) { limit_ = bytes; }
    // Memory that is no copy but counts like one; false if that were more than the limit.
    bool set_aside(std::uint64_t bytes) {
        if (!has_room(bytes)) return false;
        aside_ += bytes;
        return true;
    }
    void give_back(std::uint64_t bytes) { aside_ -= bytes; }

    Block* find(std::uint64_t real) {
        for (unsigned number = first_in(real); number != 0; number = blocks_[number - 1].next) {
            Block& block = blocks_[number - 1];
            if (real - block.real < block.bytes()) return &block;
        }
        return nullptr;
    }
    // A block of at most 2^shift bytes around real, which has none, with the contents of guest memory; nullptr if there
    // is no memory or no room. No page of it may be mapped for stores any more. Interrupts on.
    Block* make(NativeHost& host, const Memslot& slot, std::uint64_t real, std::uint32_t ea, unsigned shift);
    void release(NativeHost& host, Block& block);

    void set_use(Block& block, unsigned page, Use use);
    // Whether pages of these uses are mapped alike: executed from the copy, and by nothing else.
    static constexpr bool same_mapping(Use one, Use other) {
        const auto executed = [](Use use) { return use == Use::copied || use == Use::patched; };
        return one == other || (executed(one) && executed(other));
    }
    // log2 of the largest aligned piece around a page that is mapped alike.
    static unsigned piece_of(const Block& block, unsigned page);
    // Guest memory of a page once more.
    void refresh(const Memslot& slot, Block& block, unsigned page);

    // log2 of the largest aligned piece around real, up to `shift`, that can be mapped as the page of real is, by this
    // block or, without one, apart from all blocks.
    static unsigned alike(Block& block, std::uint64_t real, unsigned shift);
    unsigned apart(std::uint64_t real, unsigned shift) const;

    template <typename Action>
    void for_each(Action&& action) {
        for (unsigned index = 0; index < used_; ++index)
            if (blocks_[index].shift != 0) action(blocks_[index]);
    }

  private:
    bool has_room(std::uint64_t bytes) const { return bytes_ + aside_ + bytes <= limit_; }

    // Blocks by the number of their megabyte, and how many there are in 16 of them: both by its low bits.
    static_assert(largest_shift == 20 && block_limit < 0xFF);
    static constexpr unsigned megabytes = 256;
    static unsigned megabyte_of(std::uint64_t real) { return static_cast<unsigned>(real >> 20) & (megabytes - 1); }
    unsigned first_in(std::uint64_t real) const { return first_[megabyte_of(real)]; }
    std::array<std::uint8_t, megabytes> first_{};
    std::array<std::uint8_t, megabytes / 16> in_16_{};

    std::array<Block, block_limit> blocks_{};
    unsigned used_ = 0; // blocks from this number on are none
    std::uint64_t bytes_ = 0, aside_ = 0, limit_ = most_bytes;
};

} // namespace untrap::runtime::native
