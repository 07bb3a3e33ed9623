// SPDX-License-Identifier: GPL-2.0-only
// What others than search() read of the guest TLB: sets of candidates, as assembly finds them, and who shares a page.
// By all ways that an entry can be written.
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "mmu/guest_tlb.h"

using namespace untrap::mmu;

namespace {

std::minstd_rand generator(441);
unsigned below(unsigned limit) { return static_cast<unsigned>(generator() / 16 % limit); }
// Few addresses, so that much of it overlaps.
std::uint32_t address() {
    constexpr std::uint32_t bases[] = {0, 0x10000000, 0x10080000, 0xBFFFF000, 0xC0000000, 0xFFFFF000};
    return bases[below(6)] + (below(2) != 0 ? below(64) * 0x400 : below(4) * 0x01000000);
}

std::uint32_t word_at(const GuestTlb& tlb, std::size_t offset) {
    std::uint32_t word = 0;
    std::memcpy(&word, reinterpret_cast<const std::uint8_t*>(tlb.candidate_sets()) + offset, sizeof word);
    return word;
}
bool has(const GuestTlb& tlb, std::size_t set_offset, unsigned index) {
    return (word_at(tlb, set_offset + index / 32 * 4) << (index & 31) & 0x80000000) != 0;
}
bool usable(const TlbEntry& entry) { return entry.valid() && entry.page_shift() != 0; }
// Whether an entry translates some of the page of 2^shift bytes at ea.
bool shares(const TlbEntry& entry, std::uint32_t ea, unsigned shift, unsigned space) {
    if (!usable(entry) || entry.ts() != space) return false;
    const unsigned larger = entry.page_shift() > shift ? entry.page_shift() : shift;
    return (entry.word0 & 0xFFFFFC00) >> larger == ea >> larger;
}

void write_somehow(GuestTlb& tlb, bool replace = true) {
    const unsigned index = below(64), size = below(3) != 0 ? below(2) : below(16);
    const std::uint32_t word0 = (address() & 0xFFFFFC00) | (below(4) == 0 ? TlbEntry::ts_bit : 0) | size << 4;
    const auto tid = static_cast<std::uint8_t>(below(3));
    switch (below(replace ? 5 : 4)) {
    case 0:
    case 1: tlb.write_word(index, 0, word0 | (below(8) != 0 ? TlbEntry::valid_bit : 0), tid); break;
    case 2: tlb.set(index, {word0 | TlbEntry::valid_bit, 0x1000 * index, 0x3F, tid}); break;
    case 3: tlb.invalidate(index, word0, tid); break;
    default: {
        const std::uint32_t small = (word0 & ~0xFF0U & 0xFFFFF000) | (word0 & TlbEntry::ts_bit) | 0x210;
        REQUIRE(GuestTlb::is_small(small));
        tlb.replace_small(index, {small, 0x1000 * index, 0x3F}, tid);
        CHECK(tlb.entry(index).tid == tid);
        CHECK(tlb.entry(index).page_shift() == 12);
    }
    }
}

} // namespace

TEST_CASE("an entry is in the sets of its page or of its 256 MB, and in no other") {
    GuestTlb tlb;
    std::set<unsigned> reserved;
    for (unsigned round = 0; round < 8'000; ++round) {
        if (round % 1000 == 0) tlb.clear();
        const bool exact = round % 1000 < 500; // replace_small() does not look what it replaces
        write_somehow(tlb, !exact);
        if (below(50) == 0) {
            const unsigned piece = address() >> 24;
            const bool on = below(2) != 0;
            tlb.reserve(piece << 24 | below(1U << 24), on);
            if (on)
                reserved.insert(piece);
            else
                reserved.erase(piece);
        }
        std::set<unsigned> large = reserved;
        for (unsigned index = 0; index < 64; ++index) {
            const TlbEntry& entry = tlb.entry(index);
            const unsigned segment = entry.word0 >> 28, page = entry.word0 >> 12 & 127;
            const bool is_large = usable(entry) && entry.page_shift() > 12;
            if (is_large) {
                const std::uint32_t first = entry.epn(), last = first + ((1U << entry.page_shift()) - 1);
                for (unsigned piece = first >> 24; piece <= last >> 24; ++piece) large.insert(piece);
            }
            const bool usual = usable(entry) && entry.page_shift() == 12 && entry.tid != 0 && entry.ts() == 0;
            const std::uint8_t* const slot =
                static_cast<const std::uint8_t*>(tlb.slots()) + (index << GuestTlb::slot_shift);
            REQUIRE(slot[GuestTlb::shift_offset] == (usable(entry) ? entry.page_shift() : 0));
            REQUIRE(slot[GuestTlb::shift_offset + 1] == usual);
            for (unsigned set = 0; set < 16; ++set) {
                REQUIRE(has(tlb, (GuestTlb::page_sets + set) * 8, index) == (is_large && set == segment));
                REQUIRE(has(tlb, GuestTlb::segments_offset() + set * 8, index) == (usable(entry) && set == segment));
            }
            for (unsigned set = 0; set < GuestTlb::page_sets; ++set)
                if (has(tlb, set * 8, index) != (usable(entry) && !is_large && set == page)) REQUIRE(false);
        }
        const auto* const told = reinterpret_cast<const std::uint8_t*>(tlb.candidate_sets()) + GuestTlb::large_offset();
        for (unsigned piece = 0; piece < 256; ++piece) {
            REQUIRE((told[piece] != 0 || !large.contains(piece)));
            if (exact) REQUIRE((told[piece] != 0) == large.contains(piece));
        }
    }
}

TEST_CASE("who else is in a page is what looking at every entry finds") {
    GuestTlb tlb;
    unsigned alone = 0, found = 0;
    for (unsigned round = 0; round < 60'000; ++round) {
        if (round % 2000 == 0) tlb.clear();
        if (round % 4 == 0) write_somehow(tlb);
        const unsigned shift = 10 + 2 * below(10), index = below(64), space = below(4) == 0 ? 1 : 0, pid = below(4);
        const std::uint32_t ea = address() + below(0x400);
        std::set<unsigned> expected, others;
        bool anybody = false;
        for (unsigned other = 0; other < 64; ++other) {
            if (other == index || !shares(tlb.entry(other), ea, shift, space)) continue;
            anybody = true;
            if (tlb.entry(other).tid == 0 || tlb.entry(other).tid == pid) expected.insert(other);
        }
        tlb.for_others_in_page(index, ea, shift, space, pid, [&](unsigned other) { others.insert(other); });
        REQUIRE(others == expected);
        REQUIRE(tlb.is_alone_in_page(index, ea, shift, space) == !anybody);
        alone += !anybody;
        found += !others.empty();
    }
    CHECK(alone > 1000);
    CHECK(found > 1000);
}

// As the assembly leaves them (kmod/world_walk.inc): the words are there, the rest is not.
TEST_CASE("late entries are usual again once they are settled") {
    for (unsigned round = 0; round < 200; ++round) {
        GuestTlb tlb, expected;
        std::vector<std::uint8_t> late;
        for (unsigned count = 0; count < 40; ++count) {
            const unsigned index = below(64);
            const std::uint32_t words[] = {(address() & 0xFFFFF000) | 0x210, 0x1000 * below(64), 0x3F};
            const auto tid = static_cast<std::uint8_t>(1 + below(2));
            auto* const slot =
                static_cast<std::uint8_t*>(const_cast<void*>(tlb.slots())) + (index << GuestTlb::slot_shift);
            const bool usual = slot[GuestTlb::shift_offset] == 12 && slot[GuestTlb::shift_offset + 1] == 1;
            const bool is_late =
                slot[GuestTlb::shift_offset] == 0 && slot[GuestTlb::shift_offset + 1] == GuestTlb::late;
            if (!usual && !is_late) {
                for (GuestTlb* to : {&tlb, &expected}) to->replace_small(index, words, tid);
                continue;
            }
            if (usual) { // out of its sets
                tlb.invalidate(index, 0, tid);
                slot[GuestTlb::shift_offset] = 0;
                slot[GuestTlb::shift_offset + 1] = GuestTlb::late;
                late.push_back(static_cast<std::uint8_t>(index));
            }
            std::memcpy(slot, words, sizeof words);
            slot[sizeof words] = tid;
            expected.replace_small(index, words, tid);
            // Written once more by somebody else, it is late no longer.
            if (below(4) == 0)
                for (GuestTlb* to : {&tlb, &expected}) to->replace_small(index, words, tid);
        }
        tlb.settle(late.data(), static_cast<unsigned>(late.size()));
        CHECK(std::memcmp(tlb.slots(), expected.slots(), std::size_t{64} << GuestTlb::slot_shift) == 0);
        CHECK(std::memcmp(tlb.candidate_sets(), expected.candidate_sets(),
                          GuestTlb::segments_offset() + 16 * sizeof(GuestTlb::EntrySet)) == 0);
        for (unsigned index = 0; index < 64; ++index) CHECK(tlb.entry(index) == expected.entry(index));
    }
}
