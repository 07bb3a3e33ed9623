// SPDX-License-Identifier: GPL-2.0-only
// Level 3: what stands between privileged instructions is done in the exit of the first, and is what the guest has
// there at that moment.
#include <catch2/catch_test_macros.hpp>
#include <cstdio>

#include "sequence_guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using isa::Interrupt;
using native::Comparison;
using native::Machine;
using native::SequenceGuest;
namespace msr = isa::msr;

constexpr std::uint32_t origin = Comparison::origin, done = SequenceGuest::done;
constexpr unsigned sprg1 = 273, sprg2 = 274, sprg3 = 275, all_levels = 14;

std::string name(const char* what, unsigned number) {
    char text[96];
    std::snprintf(text, sizeof text, "%s %x", what, number);
    return text;
}

} // namespace

TEST_CASE("Linux's search for an entry and its write are one exit", "[sequence]") {
    Random random = seeded_random(71);
    constexpr std::uint32_t page = 0x40000000, real = 0x40000;
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences, all_levels}) {
        SequenceGuest guest(random, levels);
        // Invalidates the entry of a page, if there is one.
        guest.put(origin, {tlbsx_rc(10, 0, 3), if_clear(0, eq, 12), msync, tlbwe(10, 10, 0), isync, done});
        guest.put(0x2000, {lwz(9, 3, 0), done});
        for (unsigned round = 0; round < 12; ++round) {
            const bool hit = round % 3 != 1;
            guest.map(round, page, real, 1, 0x3F);
            guest.run("used", 0x2000, [](isa::CpuState& state) { state.gpr[3] = page; });
            CHECK(guest.guest.handler() == -1);
            const std::uint64_t exits = guest.run(name("round", round), origin, [&](isa::CpuState& state) {
                state.gpr[3] = hit ? page + 0x10 : page + 0x1000;
                state.gpr[10] = random.word() & ~0x3F0U;
                state.set_xer(random.word() & 0xE000007F);
                state.set_cr(random.word());
            });
            if (levels == 0 || round > 3) CHECK(exits == (levels == 0 && hit ? 2 : 1));
            guest.run("used again", 0x2000, [](isa::CpuState& state) { state.gpr[3] = page; });
            CHECK(guest.guest.handler() == (hit ? static_cast<int>(Interrupt::data_tlb_error) : -1));
            guest.unmap(round);
        }
    }
}

TEST_CASE("a sequence is what the guest has written there", "[sequence]") {
    Random random = seeded_random(72);
    const auto words_of = [](unsigned register_number) {
        return std::vector<Word>{mtspr(sprg1, 3),        addi(3, 3, 1),   mtspr(sprg2, register_number),
                                 rlwinm(5, 3, 4, 0, 27), mtspr(sprg3, 5), done};
    };
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        SequenceGuest guest(random, levels);
        guest.put(origin, words_of(3));
        // The guest stores r6 into r7, as it has to with code.
        guest.put(0x2000, {stw(6, 7, 0), dcbst(7), msync, icbi(7), msync, isync, done});
        const auto run = [&](const std::string& context) {
            return guest.run(context, origin, [&](isa::CpuState& state) {
                for (auto& gpr : state.gpr) gpr = random.word();
            });
        };
        for (unsigned round = 0; round < 60; ++round) {
            for (unsigned again = 0; again < 3; ++again) {
                const std::uint64_t exits = run(name("round", round));
                // One that was rewritten may have lost what was known of it.
                if (levels != 0 && round == 0 && again == 2) CHECK(exits == 1);
            }
            const unsigned place = random.below(5);
            const Word words[] = {mtspr(sprg1, random.below(32)),
                                  addi(random.below(8), random.below(4), random.word()),
                                  addis(random.below(8), random.below(4), random.word()),
                                  mtspr(sprg2, random.below(32)),
                                  mfspr(random.below(32), sprg3),
                                  rlwinm(random.below(32), random.below(32), 3, 2, 29),
                                  or_(random.below(32), random.below(32), random.below(32)),
                                  nop,
                                  b(4)};
            const Word word = random.any(words);
            guest.run("rewriting", 0x2000, [&](isa::CpuState& state) {
                state.gpr[6] = word;
                state.gpr[7] = origin + 4 * place;
            });
            REQUIRE(guest.guest.native->word(origin + 4 * place) == word);
        }
        // Each word by itself, also the site's own.
        for (unsigned place = 0; place < 5; ++place) {
            guest.put(origin, words_of(3));
            for (unsigned again = 0; again < 3; ++again) run("before");
            guest.run("rewriting", 0x2000, [&](isa::CpuState& state) {
                state.gpr[6] = mfspr(8, sprg2);
                state.gpr[7] = origin + 4 * place;
            });
            for (unsigned again = 0; again < 2; ++again) run(name("changed in place", place));
        }
    }
}

// Beside patches, in a page that is executed from a copy: there nobody looks whether it has changed, but at what
// changes it.
TEST_CASE("a sequence in a page with patches is what the guest has written there, and where", "[sequence]") {
    Random random = seeded_random(75);
    constexpr std::uint32_t ea = 0x50000000, reals[] = {0x8000, 0x9000};
    const auto words_of = [](Word added) {
        return std::vector<Word>{mtspr(276, 3),          addi(3, 3, added), mtspr(277, 3),
                                 rlwinm(5, 3, 4, 0, 27), mtspr(278, 5),     done};
    };
    SequenceGuest guest(random, 1U << 1 | 1U << 3);
    // The guest stores r6 into r7.
    guest.put(0x2000, {stw(6, 7, 0), dcbst(7), msync, icbi(7), msync, isync, done});
    for (const std::uint32_t real : reals) {
        guest.put(real, words_of(real >> 12));
        guest.put(real + 0x200, {mfspr(9, sprg1), mfspr(8, sprg2), done});
    }
    unsigned entry = 5, which = 0, alone = 0, trusted = 0;
    guest.map(entry, ea, reals[0], 1, 0x3F);
    for (unsigned round = 0; round < 80; ++round) {
        const auto run = [&](std::uint32_t at) {
            return guest.run(name("round", round), ea + at, [&](isa::CpuState& state) {
                for (auto& gpr : state.gpr) gpr = random.word();
            });
        };
        for (unsigned again = 0; again < 6; ++again) run(0x200);
        trusted += guest.guest.native->native().patches_in() != 0;
        for (unsigned again = 0; again < 4; ++again) alone += run(0) == 1;
        switch (random.below(3)) {
        case 0: { // by the guest
            const unsigned place = random.below(5);
            const Word word =
                random.chance(50) ? words_of(random.below(100))[place] : addi(random.below(8), 3, random.word());
            guest.run("rewriting", 0x2000, [&](isa::CpuState& state) {
                state.gpr[6] = word;
                state.gpr[7] = reals[which] + 4 * place;
            });
            break;
        }
        case 1: // from outside
            guest.put(reals[which], words_of(random.below(1000)));
            break;
        default: // mapped otherwise
            guest.unmap(entry);
            if (random.chance(50)) entry = random.below(20);
            which = random.below(2);
            guest.map(entry, ea, reals[which], 1, 0x3F);
        }
    }
    CHECK(trusted > 5);
    CHECK(alone > 60);
}

TEST_CASE("a sequence is that of the page that is mapped there now", "[sequence]") {
    Random random = seeded_random(73);
    constexpr std::uint32_t ea = 0x50000000, reals[] = {0x8000, 0x9000, 0xA000};
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        SequenceGuest guest(random, levels);
        for (unsigned which = 0; which < 3; ++which) {
            guest.put(reals[which], {mtspr(sprg1, 3), addi(3, 3, which + 1), mtspr(sprg2, 3), ori(4, 3, which),
                                     mtspr(sprg3, 4), done});
        }
        unsigned entry = 5;
        guest.map(entry, ea, reals[0], 1, 0x3F);
        for (unsigned round = 0; round < 60; ++round) {
            for (unsigned again = 0; again < 2; ++again)
                guest.run(name("round", round), ea, [&](isa::CpuState& state) {
                    state.gpr[3] = random.word();
                    state.page.pid = 0;
                });
            CHECK(guest.guest.handler() == -1);
            // By another entry, or by the same one with other words; sometimes as large as to hold all of them.
            guest.unmap(entry);
            if (random.chance(60)) entry = random.below(20);
            guest.map(entry, ea, reals[random.below(3)], 1, random.chance(50) ? 0x3F : 0x07);
        }
        // The same real page is written while it is mapped elsewhere.
        guest.map(entry, ea, reals[1], 1, 0x3F);
        for (unsigned again = 0; again < 3; ++again) guest.run("before", ea);
        guest.put(reals[1] + 4, {addi(3, 3, 99)});
        guest.run("after", ea, [](isa::CpuState& state) { state.gpr[3] = 1; });
        CHECK(guest.guest.native->state().page.sprg[2] == 100);
    }
}

TEST_CASE("a sequence is that of the process whose page it is", "[sequence]") {
    Random random = seeded_random(79);
    constexpr std::uint32_t ea = 0x50000000, spaces = 0x51000000;
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences, all_levels}) {
        SequenceGuest guest(random, levels);
        for (unsigned pid = 1; pid <= 3; ++pid) {
            guest.put(0x8000 + 0x1000 * pid,
                      {mtspr(sprg1, 3), addi(3, 3, pid), tlbsx_rc(5, 0, 4), mtspr(sprg2, 3), done});
            guest.map(pid, ea, 0x8000 + 0x1000 * pid, 1, 0x3F, pid);
        }
        // And that of an address space.
        guest.put(0xC000, {mtspr(sprg1, 3), addi(3, 3, 9), tlbsx_rc(5, 0, 4), mtspr(sprg2, 3), done});
        guest.put(0xD000, {mtspr(sprg1, 3), addi(3, 3, 7), tlbsx_rc(5, 0, 4), mtspr(sprg2, 3), done});
        guest.map(4, spaces, 0xC000, 1, 0x3F, 0, 0);
        guest.map(5, spaces, 0xD000, 1, 0x3F, 0, 1);
        for (unsigned round = 0; round < 12; ++round) {
            const bool other = round % 4 >= 2;
            guest.run(name("space", other), spaces, {}, msr::me | (other ? msr::is | msr::ds : 0));
        }
        for (unsigned round = 0; round < 40; ++round) {
            const unsigned pid = random.between(1, 3);
            for (unsigned again = 0; again < 2; ++again)
                guest.run(name("process", pid), ea, [&](isa::CpuState& state) {
                    state.gpr[3] = 0x100;
                    state.gpr[4] = ea;
                    state.page.pid = pid;
                });
            CHECK(guest.guest.native->state().page.sprg[2] == 0x100 + pid);
        }
    }
}

TEST_CASE("a sequence is what is in the memory that a machine has now", "[sequence]") {
    Random random = seeded_random(80);
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        SequenceGuest guest(random, levels);
        for (unsigned round = 0; round < 8; ++round) {
            // Other memory in the same place; what was there may be anybody's.
            guest.guest.both([&](Machine& machine) {
                const std::vector<std::uint8_t> bytes = machine.contents(Comparison::slot);
                machine.set_slot(1, 0x1000000, 0x1000);
                machine.set_slot(Comparison::slot, 0, Comparison::memory_bytes, {.mixed = true});
                machine.fill(Comparison::slot, bytes);
            });
            guest.put(origin, {mtspr(sprg1, 3), addi(3, 3, round), mtspr(sprg2, 3), done});
            for (unsigned again = 0; again < 4; ++again) {
                guest.run(name("round", round), origin, [](isa::CpuState& state) { state.gpr[3] = 0x100; });
                CHECK(guest.guest.native->state().page.sprg[2] == 0x100 + round);
            }
        }
    }
}

TEST_CASE("a sequence that writes itself is what it has written", "[sequence]") {
    Random random = seeded_random(81);
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        for (unsigned place = 0; place <= 5; ++place) {
            SequenceGuest guest(random, levels);
            for (unsigned round = 0; round < 20; ++round) {
                guest.run(name("place", place), 0x2000); // not there yet: an exit, as any
                guest.put(origin, {mtspr(sprg1, 3), addi(3, 3, 1), stw(6, 7, 0), addi(3, 3, 1), mtspr(sprg2, 3),
                                   mtspr(sprg3, 3), done});
                guest.run(name("place", place), origin, [&](isa::CpuState& state) {
                    state.gpr[3] = random.word();
                    state.gpr[6] = random.pick({addi(3, 3, 0x55), mtspr(sprg1, 3), nop});
                    state.gpr[7] = origin + 4 * place;
                });
            }
        }
    }
}

TEST_CASE("a sequence may write an entry that lies over what patches need", "[sequence]") {
    Random random = seeded_random(82);
    constexpr std::uint32_t state_page = 0xFFFFF000, pages[] = {state_page, 0xFFFF0000, 0xF0000000};
    SequenceGuest guest(random, all_levels);
    // There are a word and a stub, and behind them the words of an entry.
    guest.put(origin, {mfspr(8, sprg1), wrteei(0), addi(3, 3, 0), tlbwe(5, 4, 0), tlbwe(6, 4, 1), tlbwe(7, 4, 2),
                       addi(4, 4, 1), mfmsr(9), tlbwe(0, 4, 0), done});
    guest.put(0x2000, {lwz(9, 3, 0), done});
    for (unsigned round = 0; round < 24; ++round) {
        const std::uint32_t page = pages[round % 3], size = page == state_page ? 1 : page == 0xFFFF0000 ? 3 : 9;
        const bool over = round % 4 >= 2;
        for (const bool on : {false, over}) {
            guest.run(name("page", page), origin, [&](isa::CpuState& state) {
                state.gpr[0] = 0;
                state.gpr[4] = 12;
                state.gpr[5] = on ? page | 0x200 | size << 4 : 0x48000210;
                state.gpr[6] = 0;
                state.gpr[7] = 0x3F;
            });
        }
        if (over) { // else it is the patches', which a guest may find out
            guest.run("used", 0x2000, [&](isa::CpuState& state) { state.gpr[3] = state_page + 0x10; });
            CHECK(guest.guest.handler() == -1);
        }
        guest.unmap(12);
    }
}

TEST_CASE("a sequence over the end of its page is not taken for one of its page", "[sequence]") {
    Random random = seeded_random(74);
    constexpr std::uint32_t ea = 0x50000000, first = 0x8000, next = 0x9000, elsewhere = 0xA000;
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        for (unsigned before = 1; before <= 5; ++before) { // words in the first page
            SequenceGuest guest(random, levels);
            const std::vector<Word> words = {mtspr(sprg1, 3), addi(3, 3, 1),   mtspr(sprg2, 3),
                                             addi(3, 3, 1),   mtspr(sprg3, 3), done};
            const std::uint32_t site = ea + 0x1000 - 4 * before;
            guest.put(first + 0x1000 - 4 * before, words); // goes on in the next real page
            std::vector<Word> other = words;
            for (Word& word : other)
                if (word == addi(3, 3, 1)) word = addi(3, 3, 50);
            guest.put(elsewhere, std::vector<Word>(other.begin() + before, other.end()));
            guest.map(8, ea, first, 1, 0x3F);
            for (unsigned round = 0; round < 12; ++round) {
                // Behind the first page comes the next one, another one, or nothing. In one piece, too.
                if (round >= 9) guest.unmap(9);
                if (round < 9) guest.map(9, ea + 0x1000, round % 3 == 1 ? elsewhere : next, 1, 0x3F);
                const auto run = [&] {
                    return guest.run(name("before", before) + name(", round", round), site,
                                     [&](isa::CpuState& state) { state.gpr[3] = random.word(); });
                };
                run();
                run();
                CHECK(guest.guest.handler() == (round < 9 ? -1 : static_cast<int>(Interrupt::instruction_tlb_error)));
            }
            // Both pages by one entry.
            guest.unmap(9);
            guest.map(8, 0x54000000, first, 2, 0x3F);
            for (unsigned round = 0; round < 4; ++round)
                guest.run("one entry", 0x54001000 - 4 * before, [&](isa::CpuState& state) { state.gpr[3] = round; });
        }
    }
}

TEST_CASE("a branch out of a sequence leads where it says", "[sequence]") {
    Random random = seeded_random(75);
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        for (unsigned distance = 1; distance <= 9; ++distance) {
            for (const Word bo : {4U, 12U, 20U, 16U, 18U, 8U, 10U, 0U, 2U}) { // on a bit, always, by CTR, by both
                SequenceGuest guest(random, levels);
                const unsigned bit = random.below(32);
                guest.put(origin, {mtspr(sprg1, 3), bc(bo, bit, static_cast<std::int32_t>(4 * distance)), addi(3, 3, 1),
                                   addi(3, 3, 2), mtspr(sprg2, 3), addi(3, 3, 4), addi(3, 3, 8), addi(3, 3, 16),
                                   addi(3, 3, 32), addi(3, 3, 64), done, done});
                for (unsigned round = 0; round < 8; ++round) {
                    const std::uint64_t exits =
                        guest.run(name("distance", distance) + name(", bo", bo), origin, [&](isa::CpuState& state) {
                            state.gpr[3] = random.word();
                            state.ctr = random.between(0, 2);
                            state.set_cr(random.word());
                            state.set_xer(random.word() & 0xE000007F);
                        });
                    if (levels != 0 && round > 2) CHECK(exits == 1);
                }
            }
        }
    }
}

TEST_CASE("what a sequence does by itself is what the instructions do", "[sequence]") {
    Random random = seeded_random(76);
    // Each of them between two privileged ones, with all kinds of contents. r13: data.
    const Word words[] = {addi(5, 0, 0x8001),
                          addi(5, 6, 0x8001),
                          addi(0, 0, 5),
                          addis(5, 0, 0x8001),
                          addis(5, 6, 0x7FFF),
                          ori(5, 6, 0xFFFF),
                          or_(5, 6, 7),
                          or_(5, 6, 7) | 1,
                          rlwinm(5, 6, 9, 27, 3),
                          rlwinm(5, 6, 0, 0, 31) | 1,
                          25U << 26 | 6U << 21 | 5U << 16 | 0x8001 /* oris */,
                          28U << 26 | 6U << 21 | 5U << 16 | 0x8001 /* andi. */,
                          29U << 26 | 6U << 21 | 5U << 16 | 0x8001 /* andis. */,
                          x_form(6, 5, 7, 28) /* and */,
                          x_form(6, 5, 7, 28) | 1,
                          20U << 26 | 6U << 21 | 5U << 16 | 9U << 11 | 27U << 6 | 3U << 1 /* rlwimi */,
                          20U << 26 | 6U << 21 | 5U << 16 | 9U << 11 | 3U << 6 | 27U << 1 | 1,
                          mfspr(5, 263),
                          lwz(5, 13, 8),
                          lwz(5, 0, 0x4010),
                          cmpwi(0, 0, 0x8000),
                          cmpw(7, 0, 31),
                          cmplw(3, 31, 0),
                          cmplwi(5, 6, 0x8000),
                          cmpwi(5, 6, 0xFFFF),
                          tlbsx(5, 0, 13),
                          tlbsx_rc(5, 13, 6),
                          tlbre(5, 6, 0),
                          mfspr(5, sprg3),
                          mtspr(48, 7),
                          mfspr(5, 48),
                          mtspr(946, 6),
                          mfspr(5, 946),
                          mfspr(5, 1),
                          mtspr(1, 6),
                          mfspr(5, 9),
                          mtspr(9, 6),
                          mfspr(5, 8),
                          mtspr(8, 6),
                          mfspr(5, 256),
                          mtspr(256, 6),
                          mfspr(5, 260),
                          mfmsr(5),
                          wrteei(0),
                          wrteei(1),
                          msync,
                          isync,
                          mbar,
                          x_form(5, 0, 0, 19),
                          31U << 26 | 6U << 21 | 0xA5U << 12 | 144U << 1,
                          stw(6, 13, 4),
                          lwz(5, 14, 0),
                          icbi(13),
                          dcbst(13),
                          x_form(5, 6, 7, 266 | 512),
                          0x4C221982 /* crandc 1,2,3 */,
                          mfspr(5, 22),
                          mtspr(340, 15),
                          nop};
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences, all_levels}) {
        SequenceGuest guest(random, levels);
        guest.map(3, 0x40000000, 0x40000, 1, 0x3F);
        for (const Word first : words) {
            for (const Word second : {nop, random.any(words), random.any(words)}) {
                guest.put(origin,
                          {mtspr(sprg1, 8), first, second, mtspr(sprg2, 5), addi(9, 9, 1), mtspr(sprg3, 9), done});
                for (unsigned round = 0; round < 4; ++round) {
                    guest.run(name("word", first) + name(" and", second), origin, [&](isa::CpuState& state) {
                        for (auto& gpr : state.gpr) gpr = random_gpr(random);
                        state.gpr[13] = random.chance(80) ? 0x4000 : 0x40000000;
                        state.gpr[14] = random.chance(50) ? 0x40000000 : 0x41000000; // mapped, or not
                        state.gpr[15] = 0;
                        state.gpr[7] &= 0xFF;
                        state.set_cr(random.word());
                        state.set_xer(random.word() & 0xE000007F);
                        state.ctr = random.word();
                        state.page.mmucr = random.below(256);
                    });
                }
            }
        }
    }
}

TEST_CASE("what the CPU has to do with its caches is no part of a sequence", "[sequence]") {
    // Done by the core alone, code that was just written would not be what is fetched.
    Random random = seeded_random(77);
    for (const Word word : {dcbst(13), x_form(0, 0, 13, 86) /* dcbf */, icbi(13), x_form(0, 0, 13, 1014) /* dcbz */}) {
        SequenceGuest guest(random, SequenceGuest::sequences);
        guest.put(origin, {mtspr(sprg1, 3), word, mtspr(sprg2, 3), mtspr(sprg3, 3), done});
        for (unsigned round = 0; round < 6; ++round) {
            const std::uint64_t executed = guest.guest.native->executed;
            guest.run(name("word", word), origin, [](isa::CpuState& state) { state.gpr[13] = 0x4000; });
            // It comes to the guest itself: four times out of it, and that instruction in it (see Machine::executed).
            CAPTURE(round, word);
            if (round > 3) CHECK(guest.guest.native->executed - executed == 4);
        }
    }
}
