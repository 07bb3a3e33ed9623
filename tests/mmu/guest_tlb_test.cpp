// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <random>

#include "mmu/guest_tlb.h"

using namespace untrap::mmu;
using Status = Translation::Status;

namespace {

// A valid entry of 4^size KB; permissions are the low six bits of word 2.
TlbEntry entry(std::uint32_t epn, unsigned size, std::uint64_t real, unsigned permissions, unsigned ts = 0,
               std::uint8_t tid = 0) {
    TlbEntry made;
    made.word0 = epn | TlbEntry::valid_bit | (ts != 0 ? TlbEntry::ts_bit : 0) | size << 4;
    made.word1 = static_cast<std::uint32_t>(real & 0xFFFFFC00) | static_cast<std::uint32_t>(real >> 32);
    made.word2 = permissions;
    made.tid = tid;
    return made;
}

} // namespace

TEST_CASE("every page size translates its whole range and nothing beside it") {
    struct Size {
        unsigned code, shift;
    };
    for (const Size size : {Size{0, 10}, {1, 12}, {2, 14}, {3, 16}, {4, 18}, {5, 20}, {7, 24}, {9, 28}}) {
        GuestTlb tlb;
        const std::uint32_t bytes = 1U << size.shift;
        const std::uint32_t base = 0x40000000;
        tlb.set(5, entry(base, size.code, 0x3'20000000ULL, TlbEntry::sr));
        CHECK(tlb.search(base - 1, 0, 0) == -1);
        CHECK(tlb.search(base, 0, 0) == 5);
        CHECK(tlb.search(base + bytes - 1, 0, 0) == 5);
        CHECK(tlb.search(base + bytes, 0, 0) == -1);
        const Translation last = tlb.translate(base + bytes - 1, 0, 0, false, Access::load);
        CHECK(last.status == Status::ok);
        CHECK(last.real == 0x3'20000000ULL + bytes - 1);
        CHECK(last.page_shift == size.shift);
    }
}

TEST_CASE("reserved page sizes match nothing") {
    for (unsigned code : {6U, 8U, 10U, 11U, 12U, 13U, 14U, 15U}) {
        GuestTlb tlb;
        tlb.set(0, entry(0, code, 0, TlbEntry::sr));
        CHECK(tlb.search(0, 0, 0) == -1);
    }
}

TEST_CASE("address space and process tell mappings apart") {
    GuestTlb tlb;
    tlb.set(1, entry(0x1000, 1, 0x10000, TlbEntry::ur, 0, 7));
    tlb.set(2, entry(0x1000, 1, 0x20000, TlbEntry::ur, 1, 7));
    tlb.set(3, entry(0x1000, 1, 0x30000, TlbEntry::ur, 0, 8));
    tlb.set(4, entry(0x2000, 1, 0x40000, TlbEntry::ur, 0, 0));
    CHECK(tlb.search(0x1000, 0, 7) == 1);
    CHECK(tlb.search(0x1000, 1, 7) == 2);
    CHECK(tlb.search(0x1000, 0, 8) == 3);
    CHECK(tlb.search(0x1000, 0, 9) == -1);
    CHECK(tlb.search(0x2000, 0, 9) == 4);
}

TEST_CASE("each permission bit allows one kind of access in one state") {
    struct Right {
        std::uint32_t bit;
        bool problem_state;
        Access access;
    };
    const Right rights[] = {{TlbEntry::sr, false, Access::load},  {TlbEntry::sw, false, Access::store},
                            {TlbEntry::sx, false, Access::fetch}, {TlbEntry::ur, true, Access::load},
                            {TlbEntry::uw, true, Access::store},  {TlbEntry::ux, true, Access::fetch}};
    for (const Right& granted : rights)
        for (const Right& wanted : rights) {
            GuestTlb tlb;
            tlb.set(0, entry(0, 1, 0, granted.bit));
            const Translation outcome = tlb.translate(0, 0, 0, wanted.problem_state, wanted.access);
            CHECK((outcome.status == Status::ok) == (granted.bit == wanted.bit));
            CHECK(outcome.status != Status::miss);
        }
}

TEST_CASE("tlbwe writes one word, word 0 takes the TID from MMUCR") {
    GuestTlb tlb;
    tlb.write_word(9, 1, 0xFFFFFFFF, 0x12);
    CHECK(tlb.entry(9).tid == 0);
    CHECK(tlb.read_word(9, 1) == 0xFFFFFC0F);
    CHECK(tlb.search(0, 0, 0) == -1);
    tlb.write_word(9, 0, 0xFFFFFFFF, 0x12);
    CHECK(tlb.entry(9).tid == 0x12);
    CHECK(tlb.read_word(9, 0) == 0xFFFFFFF0);
    tlb.write_word(9, 2, 0xFFFFFFFF, 0);
    CHECK(tlb.entry(9).tid == 0x12);
    CHECK(tlb.read_word(9, 2) == 0xFFBF);
    const TlbEntry before = tlb.entry(9);
    tlb.write_word(9, 3, 0, 0);
    CHECK(tlb.entry(9) == before);
}

TEST_CASE("a search finds what looking at every entry finds") {
    std::minstd_rand random(440);
    const auto below = [&](unsigned limit) { return static_cast<unsigned>(random() / 16 % limit); };
    // Few addresses and processes, so that much of it overlaps.
    const auto address = [&] {
        constexpr std::uint32_t bases[] = {0, 0x10000000, 0x10080000, 0xBFFFF000, 0xC0000000, 0xFFFFF000};
        return bases[below(6)] + (below(2) != 0 ? below(64) * 0x400 : below(4) * 0x01000000);
    };
    GuestTlb tlb;
    unsigned hits = 0, rewritten = 0;
    for (unsigned round = 0; round < 200'000; ++round) {
        if (round % 4 == 0) {
            const unsigned index = below(64);
            const unsigned code = below(3) != 0 ? below(2) : below(16);
            const std::uint32_t word0 = (address() & 0xFFFFFC00) | (below(8) != 0 ? TlbEntry::valid_bit : 0) |
                                        (below(4) == 0 ? TlbEntry::ts_bit : 0) | code << 4;
            const std::uint8_t tid = static_cast<std::uint8_t>(below(3));
            if (below(2) != 0) {
                tlb.write_word(index, below(3), word0, tid);
            } else {
                tlb.set(index, {word0, 0x1000 * index, 0x3F, tid});
            }
            ++rewritten;
            if (below(2000) == 0) tlb.clear();
        }
        const std::uint32_t ea = address() + below(0x400);
        const unsigned space = below(4) == 0 ? 1 : 0, pid = below(4);
        int expected = -1;
        for (unsigned index = GuestTlb::entry_count; index-- != 0;)
            if (tlb.entry(index).matches(ea, space, pid)) expected = static_cast<int>(index);
        REQUIRE(tlb.search(ea, space, pid) == expected);
        const Translation found = tlb.translate(ea, space, pid, false, Access::load);
        REQUIRE((found.status == Status::miss) == (expected < 0));
        if (expected < 0) continue;
        ++hits;
        const TlbEntry& entry = tlb.entry(static_cast<unsigned>(expected));
        REQUIRE(found.index == expected);
        REQUIRE(found.real == entry.translate(ea));
        REQUIRE(found.page_shift == entry.page_shift());
    }
    CHECK(rewritten == 50'000);
    CHECK(hits > 10'000);
    CHECK(hits < 190'000);
}
