// SPDX-License-Identifier: GPL-2.0-only
// Level 3: a guest that goes round its TLB by a loop of one tlbwe, as Linux does to invalidate it, leaves once for it.
#include <catch2/catch_test_macros.hpp>
#include <cstdio>

#include "sequence_guest.h"
#include "translator/plan/plan.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using isa::Interrupt;
using native::Comparison;
using native::Machine;
using native::SequenceGuest;
using runtime::ExitReason;
using runtime::RunExit;
namespace msr = isa::msr;

constexpr std::uint32_t origin = Comparison::origin, touching = 0x2000, pages = 0x40000000, pages_real = 0x40000;
constexpr std::uint32_t done = SequenceGuest::done;
constexpr unsigned entries = 62, levels_of_all = 14;
// r4: entry, r5: what is written, r6: the last entry, r7 and r8: data.
const std::vector<Word> linux_sweep = {tlbwe(5, 4, 0), addi(4, 4, 1), cmpw(0, 4, 6), if_clear(0, gt, -12), done};

std::string name(const char* what, unsigned number) {
    char text[96];
    std::snprintf(text, sizeof text, "%s %x", what, number);
    return text;
}

std::uint32_t page_of(unsigned index) { return pages + 0x10000 * index; }

// Entries 0 to 61 map pages of 4 KB or 16 KB; of the latter the host has no more than 4 KB in one piece, so that one
// entry of the guest has several in the hardware. Some are of one process.
struct Sweeps : SequenceGuest {
    Sweeps(Random& random_in, unsigned levels, unsigned pinned_from = 62)
        : SequenceGuest(random_in, levels, pinned_from), random(random_in) {
        guest.both([](Machine& machine) {
            machine.set_slot(Comparison::slot, 0, Comparison::memory_bytes, {.largest_block = 12});
        });
        start();
        // r7: a page, r8: from one to the next, CTR of them.
        put(touching, {lwz(9, 7, 0), stw(9, 7, 4), add(7), bdnz(-12), done});
    }
    static constexpr Word add(Word page) { return x_form(page, page, 8, 266); }

    unsigned pid_of(unsigned index) const { return index % 5 == 3 ? 7 : 0; }
    void map_all() {
        for (unsigned index = 0; index < entries; ++index)
            map(index, page_of(index), pages_real + 0x1000 * (index & 0x3C), 1 + index % 2, 0x3F, pid_of(index));
    }
    // Loads and stores by some of the entries, in the kernel and in processes, so that they have mappings, or several.
    void touch(const std::string& context) {
        for (unsigned repeat = 0; repeat < 24; ++repeat) {
            const unsigned index = random.below(entries), pid = random.chance(50) ? 7 : 0;
            const std::uint32_t ea = page_of(index) + (index % 2 != 0 ? random.below(4) * 0x1000 : 0);
            const std::uint32_t mode = msr::me | (random.chance(40) ? msr::pr : 0);
            run(
                context + name(", before by entry", index), touching,
                [&](isa::CpuState& state) {
                    state.gpr[7] = ea;
                    state.ctr = 1;
                    state.page.pid = pid;
                },
                mode);
        }
    }
    // What the guest sees of each page afterwards.
    void look_at_all(const std::string& context) {
        for (unsigned index = 0; index < entries; ++index) {
            for (const std::uint32_t mode : {msr::me, msr::me | msr::pr}) {
                run(
                    context + name(", after by entry", index), touching,
                    [&](isa::CpuState& state) {
                        state.gpr[7] = page_of(index) + (index % 2 != 0 ? random.below(4) * 0x1000 : 0);
                        state.ctr = 1;
                        state.page.pid = pid_of(index);
                    },
                    mode);
            }
        }
    }
    std::uint64_t sweep(const std::string& context, std::uint32_t first, std::uint32_t last, std::uint32_t value = 0,
                        const Registers& more = {}, std::uint32_t place = origin) {
        return run(context, place, [&](isa::CpuState& state) {
            state.gpr[4] = first;
            state.gpr[5] = value;
            state.gpr[6] = last;
            if (more) more(state);
        });
    }
    // So often that its site is known everywhere.
    void warm_up() {
        for (unsigned round = 0; round < 3; ++round) sweep("warming up", 1, 3, 0, [](auto& state) { state.ctr = 3; });
    }

    Random& random;
};

} // namespace

TEST_CASE("a sweep over the TLB is one exit, and takes out what it should", "[sequence]") {
    Random random = seeded_random(61);
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences, levels_of_all}) {
        for (const unsigned pinned_from : {62U, 24U}) {
            Sweeps guest(random, levels, pinned_from);
            guest.put(origin, linux_sweep);
            guest.warm_up();
            for (unsigned round = 0; round < 12; ++round) {
                const std::string context = name("levels", levels) + name(", round", round);
                guest.guest.cpu.host_percent = round % 3 == 2 ? 50 : 0;
                guest.guest.cpu.assembly_paths = round % 2 == 0;
                guest.map_all();
                guest.touch(context);
                const unsigned first = random.below(8), last = random.between(40, entries - 1);
                const std::uint64_t exits = guest.sweep(context, first, last);
                CHECK(exits == (levels == 0 ? last - first + 1 : 1));
                guest.look_at_all(context);
            }
        }
    }
}

TEST_CASE("the words of an entry that a sweep writes are those that count afterwards", "[sequence]") {
    Random random = seeded_random(62);
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        for (const unsigned ws : {0U, 1U, 2U, 3U}) {
            Sweeps guest(random, levels);
            std::vector<Word> words = linux_sweep;
            words[0] = tlbwe(5, 4, ws);
            guest.put(origin, words);
            guest.warm_up();
            for (const std::uint32_t value : {pages_real + 0x4000U, 0x7FU, 0x09U, 0x3FU}) {
                const std::string context = name("ws", ws) + name(", value", value);
                guest.map_all();
                guest.touch(context);
                // As word 0 of one entry alone: two for an address are a guest's mistake.
                const bool one = ws == 0;
                const std::uint32_t written = one ? 0x48000210 : value;
                CHECK(guest.sweep(context, one ? 9 : 0, one ? 9 : 50, written,
                                  [](auto& state) { state.page.mmucr = 7; }) == (one || levels != 0 ? 1 : 51));
                guest.look_at_all(context);
            }
        }
    }
}

TEST_CASE("an entry is taken for another one in a sweep, and the other way round", "[sequence]") {
    // Slots of the hardware change owners: a kernel's mapping of a process, windows and pages side by side.
    Random random = seeded_random(63);
    for (const unsigned levels : {SequenceGuest::sequences, 1U << 2 | SequenceGuest::sequences}) {
        Sweeps guest(random, levels, 16);
        guest.put(origin, linux_sweep);
        guest.put(0x3000,
                  {mtspr(48, 9), lwz(10, 7, 0), lwz(10, 7, 4), lwz(10, 7, 8), lwz(10, 7, 12), mtspr(48, 11), done});
        guest.warm_up();
        for (unsigned round = 0; round < 40; ++round) {
            const std::string context = name("round", round);
            guest.map_all();
            for (unsigned use = 0; use < 6; ++use) {
                // As Linux uses a process's memory: with its PID, then without it.
                const unsigned index = 5 * random.below(12) + 3;
                guest.run(context + name(", used", index), 0x3000, [&](isa::CpuState& state) {
                    state.gpr[7] = page_of(index);
                    state.gpr[9] = 7;
                    state.gpr[11] = 7 * random.below(2);
                });
                guest.touch(context);
                if (random.chance(50)) {
                    const unsigned at = random.below(entries - 8);
                    guest.sweep(context, at, at + random.below(8));
                }
            }
            CHECK(guest.sweep(context, 0, entries - 1) == 1);
            guest.look_at_all(context);
        }
    }
}

TEST_CASE("a sweep ends where its comparison says, in whichever field of CR", "[sequence]") {
    Random random = seeded_random(64);
    struct Limits {
        std::uint32_t first, last;
    };
    // Also where signed and unsigned differ.
    const Limits limits[] = {{0, 20},         {0xFFFFFFF0, 9},  {0xFFFFFFE0, 0xFFFFFFFA},
                             {9, 0xFFFFFFF0}, {0x7FF8, 0x7FFC}, {0x7FFFFFF0, 0x7FFFFFFC}};
    struct Loop {
        bool is_signed, immediate, or_equal;
        unsigned field;
        std::vector<Word> words(const Limits& limit) const {
            const Word compare = immediate ? (is_signed ? cmpwi : cmplwi)(field, 4, limit.last)
                                           : (is_signed ? cmpw : cmplw)(field, 4, 6);
            return {tlbwe(5, 10, 1), addi(4, 4, 1), compare,
                    or_equal ? if_clear(field, gt, -12) : if_set(field, lt, -12), done};
        }
        unsigned rounds(const Limits& limit) const {
            std::uint32_t flip = is_signed ? 0x80000000 : 0, at = limit.first, count = 0;
            do {
                ++at;
                ++count;
            } while (count < 100 &&
                     (or_equal ? (at ^ flip) <= (limit.last ^ flip) : (at ^ flip) < (limit.last ^ flip)));
            return count;
        }
        bool possible(const Limits& limit) const {
            if (rounds(limit) > plan::sequence_rounds) return false;
            return !immediate || (is_signed ? limit.last + 0x8000 : limit.last) <= 0xFFFF;
        }
    };
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        Sweeps guest(random, levels);
        for (unsigned kind = 0; kind < 64; ++kind) {
            const Loop loop{(kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0, kind >> 3};
            for (const Limits& limit : limits) {
                if (!loop.possible(limit)) continue;
                guest.put(origin, loop.words(limit));
                for (const std::uint32_t xer : {0U, 0x80000000U, 0x60000005U}) {
                    for (const bool again : {false, true}) {
                        const std::uint64_t exits =
                            guest.sweep(name("loop", kind) + name(", from", limit.first) + name(" to", limit.last),
                                        limit.first, limit.last, 0x123, [&](isa::CpuState& state) {
                                            state.gpr[10] = 5;
                                            state.set_xer(xer);
                                            state.set_cr(random.word());
                                        });
                        if (levels == 0)
                            CHECK(exits == loop.rounds(limit));
                        else if (again)
                            CHECK(exits == 1);
                    }
                }
            }
        }
    }
}

TEST_CASE("a sweep ends by any kind of branch back", "[sequence]") {
    Random random = seeded_random(65);
    Sweeps guest(random, SequenceGuest::sequences);
    struct Loop {
        std::vector<Word> words;
        std::uint32_t xer, ctr;
    };
    const Loop loops[] = {
        {{tlbwe(5, 4, 1), addi(4, 4, 1), bdnz(-8), done}, 0, 20},
        {{tlbwe(5, 4, 1), addi(4, 4, 1), bdnz(-8), done}, 0, 1},
        {{tlbwe(5, 4, 1), addi(4, 4, 1), cmpwi(2, 4, 9), bc(0, 8, -12), done}, 0, 20}, // bdnzf lt
        {{tlbwe(5, 4, 1), addi(4, 4, 1), cmpwi(2, 4, 9), bc(8, 8, -12), done}, 0, 20}, // bdnzt lt
        {{tlbwe(5, 4, 1), addi(4, 4, 1), cmpwi(2, 4, 9), bc(8, 8, -12), done}, 0, 4},
        {{tlbwe(5, 4, 1), addi(4, 4, 1), cmpwi(2, 4, 9), if_clear(2, eq, -12), done}, 0, 0},
        {{tlbwe(5, 4, 1), addi(4, 4, 1), cmpwi(2, 4, 9), if_clear(2, so, -12), done}, 0x80000000, 0},
        // The way out is in the middle, and the way back unconditional.
        {{tlbwe(5, 4, 1), addi(4, 4, 1), cmpw(3, 4, 6), if_set(3, eq, 8), bc(20, 0, -16), done}, 0, 0},
        // Round without a counter, by a register that is loaded.
        {{tlbwe(5, 4, 1), lwz(4, 4, 0x4000), cmpwi(0, 4, 0), if_clear(0, eq, -12), done}, 0, 0},
    };
    for (unsigned index = 0; index < 20; ++index) guest.put(0x4000 + 4 * index, {index < 16 ? 4 * index + 4 : 0});
    std::uint32_t place = origin;
    for (const Loop& loop : loops) {
        // Each in its own place: what is known of how far a site reaches stays.
        place += 0x100;
        guest.put(place, loop.words);
        for (unsigned round = 0; round < 4; ++round) {
            const auto registers = [&](isa::CpuState& state) {
                state.set_xer(loop.xer);
                state.set_cr(random.word());
                state.ctr = loop.ctr;
            };
            const std::uint64_t exits = guest.sweep(name("loop at", place), 0, 15, random.word(), registers, place);
            CAPTURE(place, round);
            if (round != 0) CHECK(exits == 1);
        }
    }
}

TEST_CASE("a sweep leaves again after as many rounds as a TLB has entries", "[sequence]") {
    Random random = seeded_random(66);
    // Always the same entry, not that of the code. r4: rounds.
    const std::vector<std::vector<Word>> loops = {
        {tlbwe(5, 10, 1), addi(4, 4, 1), bdnz(-8), done},
        {tlbwe(5, 10, 1), addi(4, 4, 1), cmpw(0, 4, 6), if_clear(0, gt, -12), done},
        {tlbwe(5, 10, 1), addi(4, 4, 1), cmplw(3, 4, 6), if_set(3, gt, 8), bc(20, 0, -16), done}};
    for (const auto& words : loops) {
        for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
            Sweeps guest(random, levels);
            guest.put(origin, words);
            const auto run = [&](unsigned rounds) {
                return guest.sweep(name("rounds", rounds), 0, rounds - 1, 0, [&](isa::CpuState& state) {
                    state.ctr = rounds;
                    state.gpr[10] = 5;
                });
            };
            for (unsigned again = 0; again < 3; ++again) run(3);
            for (const unsigned rounds : {1U, 63U, 64U, 65U, 128U, 129U, 150U, 1000U}) {
                CAPTURE(rounds);
                CHECK(run(rounds) ==
                      (levels == 0 ? rounds : (rounds + plan::sequence_rounds - 1) / plan::sequence_rounds));
            }
        }
    }
}

TEST_CASE("a sweep that takes out the entry of its own code or data ends there", "[sequence]") {
    Random random = seeded_random(67);
    constexpr std::uint32_t code_ea = 0x50000000, code_real = 0x8000, other_real = 0x9000, data_ea = 0x58000000;
    for (const unsigned levels : {SequenceGuest::traps, SequenceGuest::sequences}) {
        Sweeps guest(random, levels);
        const auto run = [&](const std::string& context, std::uint32_t value, unsigned ws) {
            const std::vector<Word> loop = {tlbwe(5, 4, ws), addi(4, 4, 1),        lwz(9, 7, 0),
                                            cmpw(0, 4, 6),   if_clear(0, gt, -16), done};
            guest.put(code_real, loop);
            // At the same place of another page: the other way round, and with a mark.
            std::vector<Word> other = loop;
            other[1] = addi(4, 4, 2);
            other[2] = addi(9, 9, 77);
            guest.put(other_real, other);
            const auto start = [&](unsigned last) {
                guest.map(20, data_ea, 0x40000, 1, 0x3F);
                guest.map(30, code_ea, code_real, 1, 0x3F);
                return guest.run(context, code_ea, [&](isa::CpuState& state) {
                    state.gpr[4] = 0;
                    state.gpr[5] = value;
                    state.gpr[6] = last;
                    state.gpr[7] = data_ea;
                });
            };
            for (unsigned round = 0; round < 3; ++round) start(10);
            const std::uint64_t exits = start(10);
            CHECK(exits == (levels == 0 ? 11 : 1));
            for (unsigned round = 0; round < 3; ++round) start(40);
            return guest.guest.handler();
        };
        CHECK(run("data invalid", 0, 0) == static_cast<int>(Interrupt::data_tlb_error));
        CHECK(run("both not permitted", 0, 2) == static_cast<int>(Interrupt::data_storage));
        // Code that goes on elsewhere, and data that come from there.
        CHECK(run("both elsewhere", other_real, 1) == -1);
        CHECK(run("the same word", 0x3F, 2) == -1);
        // The data are out of the way.
        guest.put(0x40000, {0});
        const auto code_alone = [&](std::uint32_t value, unsigned ws) {
            std::vector<Word> loop = linux_sweep;
            loop[0] = tlbwe(5, 4, ws);
            guest.put(code_real, loop);
            loop[1] = addi(4, 4, 3);
            guest.put(other_real, loop);
            for (unsigned round = 0; round < 4; ++round) {
                guest.map(30, code_ea, code_real, 1, 0x3F);
                guest.run("code alone", code_ea, [&](isa::CpuState& state) {
                    state.gpr[4] = 10;
                    state.gpr[5] = value;
                    state.gpr[6] = 40;
                });
            }
            return guest.guest.handler();
        };
        CHECK(code_alone(0, 0) == static_cast<int>(Interrupt::instruction_tlb_error));
        CHECK(guest.guest.native->state().page.srr0 == code_ea + 4);
        CHECK(guest.guest.native->state().gpr[4] == 30);
        CHECK(code_alone(0x3B, 2) == static_cast<int>(Interrupt::instruction_storage));
        CHECK(code_alone(other_real, 1) == -1);
        CHECK(guest.guest.native->state().gpr[4] == 42);
    }
}
