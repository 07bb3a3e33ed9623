// SPDX-License-Identifier: GPL-2.0-only
// Level 3: random sequences, straight and in loops, with a TLB in use that they write.
#include <array>
#include <catch2/catch_test_macros.hpp>

#include "sequence_guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using native::Comparison;
using native::Machine;
using native::SequenceGuest;
namespace msr = isa::msr;

constexpr std::uint32_t origin = Comparison::origin, done = SequenceGuest::done, pages = 0x40000000,
                        pages_real = 0x40000, code_page = 0x50000000, touching = 0x2000;
constexpr unsigned written = 6, code_entry = 40;

// r4 to r9 are numbers of entries, r10 to r15 what word 0 of each may be, r16 to r18 other words; r19 counts rounds and
// r21 is an address. What is computed goes to the others.
class RandomSequence {
  public:
    explicit RandomSequence(Random& random) : random_(random) {
        words.push_back(privileged());
        const unsigned length = random_.between(2, 14);
        while (words.size() < length) words.push_back(random_.chance(40) ? privileged() : plain(length));
        if (random_.chance(50)) close();
        words.push_back(random_.chance(80) ? privileged() : plain(length));
        words.insert(words.end(), 4, nop); // for branches out of it
        words.push_back(done);
    }

    std::vector<Word> words;

  private:
    unsigned target() { return random_.pick({0U, 20U, 22U, 23U, 24U, 31U}); }
    unsigned source() { return random_.below(32); }
    Word privileged() {
        const unsigned which = random_.below(written);
        switch (random_.below(10)) {
        case 0:
        case 1:
        case 2: return tlbwe(10 + which, 4 + which, 0);
        case 3: return tlbwe(16, 4 + which, 1);
        case 4: return tlbwe(17 + random_.below(2), 4 + which, 2);
        case 5: return tlbsx_rc(target(), random_.pick({0U, 24U}), 21);
        case 6: return tlbsx(target(), 0, 21);
        case 7: return mfspr(target(), random_.pick({272U, 273U, 946U, 48U, 26U}));
        case 8: return mtspr(random_.pick({272U, 273U, 274U, 27U}), source());
        default: return random_.chance(50) ? mfmsr(target()) : tlbre(target(), 4 + which, 1);
        }
    }
    Word plain(unsigned length) {
        switch (random_.below(16)) {
        case 0:
        case 1: return addi(target(), source(), random_.word());
        case 2: return addis(target(), source(), random_.word());
        case 3:
        case 4:
            return random_.chance(50) ? cmpw(random_.below(8), source(), source())
                                      : cmplw(random_.below(8), source(), source());
        case 5: return cmpwi(random_.below(8), source(), random_.word());
        case 6: return cmplwi(random_.below(8), source(), random_.word());
        case 7:
        case 8:
            return bc(
                random_.pick({4U, 12U, 20U}), random_.below(32),
                4 * static_cast<std::int32_t>(random_.between(1, length + 4 - static_cast<unsigned>(words.size()))));
        case 9:
            return rlwinm(target(), source(), random_.below(32), random_.below(32), random_.below(32)) |
                   random_.below(2);
        case 10: return or_(target(), source(), source()) | random_.below(2);
        case 11: return lwz(target(), 21, 0);
        case 12: return random_.pick({nop, msync, isync, mbar});
        case 13: return random_.pick({mtspr(1, 20), mfspr(22, 1), x_form(23, 0, 0, 19)}); // XER, mfcr
        case 14: return x_form(target(), source(), source(), 266 | 512) | 1;              // addo.
        default: return ori(target(), source(), random_.word());
        }
    }
    // Few rounds, whatever was jumped over.
    void close() {
        const unsigned field = random_.below(8);
        if (random_.chance(50)) {
            words.push_back(bdnz(-4 * static_cast<std::int32_t>(words.size())));
            return;
        }
        // A branch over this would be one without end.
        for (std::size_t at = 0; at < words.size(); ++at) {
            const auto left = 4 * static_cast<std::int32_t>(words.size() - at);
            if (words[at] >> 26 == 16 && static_cast<std::int32_t>(words[at] & 0xFFFC) > left)
                words[at] = (words[at] & 0xFFFF0000) | static_cast<Word>(left);
        }
        words.push_back(addi(19, 19, 1));
        words.push_back(random_.chance(50) ? cmpwi(field, 19, 7) : cmplwi(field, 19, 7));
        const auto back = -4 * static_cast<std::int32_t>(words.size());
        words.push_back(random_.chance(50) ? if_set(field, lt, back) : if_clear(field, eq, back));
    }

    Random& random_;
};

std::string text(std::uint64_t number) { return "sequence " + std::to_string(number); }

} // namespace

TEST_CASE("random sequences do what their instructions do", "[sequence]") {
    Random random = seeded_random(78);
    const std::uint64_t goal = instruction_goal(600'000);
    std::uint64_t executed = 0, number = 0, exits = 0, alone = 0;
    while (executed < goal) {
        const unsigned levels = random.pick({SequenceGuest::sequences, SequenceGuest::sequences, 14U});
        SequenceGuest guest(random, levels, random.pick({16U, 40U, 62U}));
        guest.guest.cpu.interrupt_interval = random.pick({0U, 0U, 20U});
        guest.guest.cpu.host_percent = random.pick({0U, 30U});
        guest.guest.native->native().set_timing(random.chance(20));
        guest.guest.native->traces = random.chance(20) ? 15 : 0;
        guest.put(touching, {lwz(22, 21, 0), done});
        for (unsigned repeat = 0; repeat < 20; ++repeat, ++number) {
            // At the beginning or the end of its page, which the boot entry maps or one that it may overwrite.
            const RandomSequence sequence(random);
            const bool own_page = random.chance(50);
            const std::uint32_t offset =
                random.chance(80) ? 0x80 * repeat
                                  : 0x1000 - 4 * random.between(1, static_cast<unsigned>(sequence.words.size()));
            guest.put(0x8000 + offset, sequence.words);
            const std::uint32_t place = (own_page ? code_page : 0x8000) + offset;
            for (unsigned round = 0; round < 6; ++round) {
                guest.map(code_entry, code_page, 0x8000, random.pick({1U, 2U}), 0x3F);
                for (unsigned index = 0; index < code_entry; ++index) guest.unmap(index);
                std::array<unsigned, written> entries{};
                for (unsigned which = 0; which < written; ++which) {
                    // Each has pages of its own.
                    entries[which] = which * 6 + random.below(5);
                    guest.map(entries[which], pages + 0x10000 * which, pages_real + 0x1000 * which, 1 + which % 2,
                              0x3F);
                }
                if (random.chance(8)) entries[0] = code_entry;
                const auto page = [&] { return pages + 0x10000 * random.below(written) + 0x1000 * random.below(2); };
                for (unsigned use = random.below(4); use != 0; --use)
                    guest.run(
                        text(number), touching, [&](isa::CpuState& state) { state.gpr[21] = page(); },
                        msr::me | (random.chance(40) ? msr::pr : 0));
                const std::uint64_t before = guest.guest.interpreted->exits();
                exits += guest.run(text(number), place, [&](isa::CpuState& state) {
                    for (auto& gpr : state.gpr) gpr = random_gpr(random);
                    for (unsigned which = 0; which < written; ++which) {
                        state.gpr[4 + which] = entries[which] | (random.word() & ~63U);
                        state.gpr[10 + which] = random.chance(60) ? (pages + 0x10000 * which) | 0x210 : 0;
                    }
                    state.gpr[16] = pages_real + 0x4000 * random.below(8);
                    if (entries[0] == code_entry) { // it stays where it is, or goes
                        state.gpr[10] = random.chance(50) ? code_page | 0x220 : 0;
                        state.gpr[16] = 0x8000;
                    }
                    state.gpr[17] = 0x3F;
                    state.gpr[18] = random.pick({0x3FU, 0x2DU, 0x24U});
                    state.gpr[19] = random.below(6);
                    state.gpr[21] = page();
                    state.ctr = random.between(1, 9);
                    state.set_cr(random.word());
                    state.set_xer(random.word() & 0xE000007F);
                    state.page.mmucr = 0;
                });
                alone += guest.guest.interpreted->exits() - before;
                for (unsigned which = 0; which < written; ++which) {
                    guest.run(text(number) + ", entry " + std::to_string(which), touching,
                              [&](isa::CpuState& state) { state.gpr[21] = pages + 0x10000 * which; });
                }
            }
        }
        executed += guest.guest.native->executed;
    }
    // Most of what was emulated was in the exit of another.
    CAPTURE(number, exits, alone);
    CHECK(exits < alone);
}
