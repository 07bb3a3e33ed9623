// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace untrap::mmu {

// One entry of the 440's unified TLB, as its three words (PPC440 user's manual, chapter on memory management)
// plus the TID, which tlbwe word 0 takes from MMUCR[STID].
//   word 0: EPN 0-21, V 22, TS 23, SIZE 24-27, (TPAR)
//   word 1: RPN 0-21, ERPN 28-31
//   word 2: U0-U3 16-19, W 20, I 21, M 22, G 23, E 24, UX 26, UW 27, UR 28, SX 29, SW 30, SR 31
struct TlbEntry {
    std::uint32_t word0 = 0;
    std::uint32_t word1 = 0;
    std::uint32_t word2 = 0;
    std::uint8_t tid = 0;

    static constexpr std::uint32_t valid_bit = 0x200;
    static constexpr std::uint32_t ts_bit = 0x100;
    static constexpr std::uint32_t word0_mask = 0xFFFFFFF0;
    static constexpr std::uint32_t word1_mask = 0xFFFFFC0F;
    static constexpr std::uint32_t word2_mask = 0x0000FFBF;

    static constexpr std::uint32_t attr_w = 0x800, attr_i = 0x400, attr_m = 0x200, attr_g = 0x100, attr_e = 0x80;
    static constexpr std::uint32_t ux = 0x20, uw = 0x10, ur = 0x08, sx = 0x04, sw = 0x02, sr = 0x01;

    constexpr bool valid() const { return (word0 & valid_bit) != 0; }
    constexpr unsigned ts() const { return (word0 & ts_bit) != 0 ? 1 : 0; }
    constexpr unsigned size_code() const { return (word0 >> 4) & 15; }
    // log2 of the page size in bytes: 4^SIZE KB. The sizes 1K 4K 16K 64K 256K 1M 16M 256M exist; codes 6 and 8 (and
    // those above 9) are reserved and give 0: such an entry matches nothing.
    constexpr unsigned page_shift() const {
        const unsigned code = size_code();
        if (code > 9 || code == 6 || code == 8) return 0;
        return 10 + 2 * code;
    }
    constexpr std::uint32_t page_mask() const { return ~((1U << page_shift()) - 1); }
    constexpr std::uint32_t epn() const { return word0 & 0xFFFFFC00 & page_mask(); }
    // Real address, 36 bits.
    constexpr std::uint64_t rpn() const {
        return (std::uint64_t{word1 & 0xF} << 32) | (word1 & 0xFFFFFC00 & page_mask());
    }
    constexpr bool little_endian() const { return (word2 & attr_e) != 0; }

    // Whether this entry translates ea in address space ts for process pid (TID 0 matches every process).
    constexpr bool matches(std::uint32_t ea, unsigned space, unsigned pid) const {
        if (!valid() || page_shift() == 0 || ts() != space) return false;
        if (tid != 0 && tid != pid) return false;
        return ((ea ^ word0) & 0xFFFFFC00 & page_mask()) == 0;
    }
    // Whether this entry translates, in address space ts for some process, an address of the 2^shift bytes at ea.
    constexpr bool meets(std::uint32_t ea, unsigned shift, unsigned space) const {
        if (!valid() || page_shift() == 0 || ts() != space) return false;
        return ((word0 ^ ea) & page_mask() & (0 - (1U << shift)) & 0xFFFFFC00) == 0;
    }
    constexpr std::uint64_t translate(std::uint32_t ea) const { return rpn() | (ea & ~page_mask()); }

    friend constexpr bool operator==(const TlbEntry&, const TlbEntry&) = default;
};

// Page sizes and the reserved codes.
static_assert(TlbEntry{.word0 = 0x10}.page_shift() == 12);
static_assert(TlbEntry{.word0 = 0x50}.page_shift() == 20);
static_assert(TlbEntry{.word0 = 0x60}.page_shift() == 0);
static_assert(TlbEntry{.word0 = 0x90}.page_shift() == 28);

} // namespace untrap::mmu
