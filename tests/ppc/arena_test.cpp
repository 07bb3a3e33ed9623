// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include <map>
#include <vector>

#include "tests/jit/random.h"
#include "translator/ppc/stub_arena.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

using ppc::StubArena;
namespace spr = isa::spr;

constexpr std::uint32_t ea = 0xBE000000, sites = 0xBF000000;

struct Memory {
    explicit Memory(unsigned granules) : words(granules * StubArena::granule_words, 0xFFFFFFFF), restarts(granules) {
        arena.start(ea, words.data(), restarts.data(), granules);
    }
    StubArena::Made add(std::uint32_t word, std::uint32_t site) { return arena.add(plan_of(word), word, site, {}); }

    std::vector<std::uint32_t> words;
    std::vector<ppc::Restart> restarts;
    StubArena arena;
};

} // namespace

TEST_CASE("every word of a stub leads back to it, and no other word does") {
    Memory memory(64);
    Random random = seeded_random(0xA2E4);
    struct Stub {
        std::uint32_t site, bytes;
    };
    std::map<std::uint32_t, Stub> stubs;
    std::uint32_t next_site = sites;
    unsigned full = 0;
    for (unsigned round = 0; round < 3000; ++round) {
        if (random.chance(55)) {
            const std::uint32_t word =
                random.pick({wrteei(false), wrteei(true), wrtee(3), mtmsr(4), mtspr(spr::pid, 5), mtspr(spr::srr0, 6)});
            const StubArena::Made made = memory.add(word, next_site);
            if (made.result == StubArena::Result::no_room) {
                ++full;
                continue;
            }
            REQUIRE(made.result == StubArena::Result::made);
            REQUIRE(next_site + static_cast<std::uint32_t>(isa::decode(made.site_word).li()) == made.stub);
            REQUIRE(stubs.emplace(made.stub, Stub{next_site, made.bytes}).second);
            next_site += 4;
        } else if (!stubs.empty()) {
            auto gone = stubs.begin();
            std::advance(gone, random.below(static_cast<unsigned>(stubs.size())));
            REQUIRE_FALSE(memory.arena.remove(gone->first + 4));
            REQUIRE(memory.arena.remove(gone->first));
            REQUIRE_FALSE(memory.arena.remove(gone->first));
            stubs.erase(gone);
        }
        if (round % 16 != 0) continue;
        for (std::uint32_t offset = 0; offset < memory.words.size() * 4; offset += 4) {
            unsigned index = 0;
            const ppc::Restart* const found = memory.arena.find(ea + offset, index);
            auto stub = stubs.upper_bound(ea + offset);
            const bool inside = stub != stubs.begin() && ea + offset < (--stub)->first + stub->second.bytes;
            REQUIRE((found != nullptr) == inside);
            if (inside) {
                REQUIRE(found->site == stub->second.site);
                REQUIRE(index == (ea + offset - stub->first) / 4);
            } else {
                REQUIRE(isa::decode(memory.words[offset / 4]).op == Op::illegal);
            }
        }
    }
    CHECK(full > 0);
    unsigned index = 0;
    CHECK(memory.arena.find(ea - 4, index) == nullptr);
    CHECK(memory.arena.find(ea + 64 * StubArena::granule_bytes, index) == nullptr);
    isa::CpuState state;
    state.pc = sites;
    CHECK_FALSE(memory.arena.restore(state, state.page));
    CHECK(state.pc == sites);
}

TEST_CASE("an arena is filled to its last granule and used again") {
    for (const unsigned granules : {0U, 1U, 2U, 3U, 7U}) {
        Memory memory(granules);
        for (unsigned pass = 0; pass < 3; ++pass) {
            std::vector<std::uint32_t> made;
            for (unsigned count = 0; count < granules; ++count) {
                made.push_back(memory.add(wrteei(true), sites + 4 * count).stub);
                REQUIRE(memory.arena.used() == count + 1);
            }
            CHECK(memory.add(wrteei(true), sites).result == StubArena::Result::no_room);
            CHECK(memory.add(mtmsr(3), sites).result == StubArena::Result::no_room);
            for (const std::uint32_t stub : made) REQUIRE(memory.arena.remove(stub));
            CHECK(memory.arena.used() == 0);
        }
        CHECK((memory.add(mtmsr(3), sites).result == StubArena::Result::made) == (granules >= 2));
    }
}

TEST_CASE("sites out of reach and words that are no stub are refused") {
    Memory memory(4);
    CHECK(memory.add(wrteei(true), 0x10000000).result == StubArena::Result::out_of_reach);
    CHECK(memory.add(wrteei(true), 0xFFFFF000).result == StubArena::Result::out_of_reach);
    CHECK(memory.add(mfmsr(3), sites).result == StubArena::Result::no_stub);
    CHECK(memory.add(mtspr(spr::dec, 3), sites).result == StubArena::Result::no_stub);
    CHECK(memory.arena.used() == 0);
}

TEST_CASE("what the guest writes to its page is read back as its instructions would have written it") {
    Random random = seeded_random(0xBACC);
    for (unsigned round = 0; round < 1000; ++round) {
        isa::StatePage own, guest;
        for (auto* page : {&own, &guest}) {
            auto* const words = reinterpret_cast<std::uint32_t*>(page);
            for (unsigned index = 0; index < sizeof *page / 4; ++index) words[index] = random.word();
        }
        own.msr &= isa::msr::defined;
        own.pid &= 0xFF;
        if (random.chance(30)) guest.msr = own.msr;
        if (random.chance(30)) guest.pid = own.pid;
        const isa::StatePage before = own;
        const bool changed = ppc::read_back(own, guest);
        REQUIRE(changed == (own.msr != before.msr || own.pid != before.pid));
        REQUIRE(own.msr == (guest.msr & isa::msr::defined));
        REQUIRE(own.pid == (guest.pid & 0xFF));
        REQUIRE(own.mmucr == (guest.mmucr & isa::mmucr::writable));
        REQUIRE(own.srr0 == (guest.srr0 & ~3U));
        REQUIRE(own.csrr0 == (guest.csrr0 & ~3U));
        REQUIRE(own.srr1 == guest.srr1);
        REQUIRE(own.csrr1 == guest.csrr1);
        REQUIRE(own.dear == guest.dear);
        REQUIRE(own.esr == guest.esr);
        // The host's own: what is pending, what no patch writes.
        REQUIRE(own.pending == before.pending);
        REQUIRE(own.mcsrr0 == before.mcsrr0);
        for (unsigned number = 0; number < 8; ++number)
            REQUIRE(own.sprg[number] == (number < 4 ? guest.sprg[number] : before.sprg[number]));
    }
}

} // namespace untrap::tests::ppc440
