// SPDX-License-Identifier: GPL-2.0-only
// Guests that do what no kernel does: the model watches that they harm nobody else.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "comparison.h"
#include "tests/jit/code_generator.h"
#include "tests/runtime/guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using mmu::TlbEntry;
using native::Comparison;
using native::Machine;
using runtime::RunExit;
namespace msr = isa::msr;

constexpr std::uint32_t done = code::mtdcr(Comparison::dcr_done, 0);

// Two entries for one address leave open which of them counts: only the host's safety is looked at.
struct Hostile {
    explicit Hostile(Random& random) : guest(random, 30) {
        guest.cpu.compare_translations = false;
        guest.put(Comparison::origin + 4, {done});
    }
    void access(std::uint32_t word, std::uint32_t ea) {
        Machine& machine = *guest.native;
        machine.put(Comparison::origin, word);
        machine.vcpu().abandon_instruction();
        machine.state().pc = Comparison::origin;
        machine.state().page.msr = msr::me;
        machine.state().gpr[4] = ea;
        machine.stop_after = machine.progress() + 1000;
        machine.vcpu().run();
    }
    Comparison guest;
};

} // namespace

TEST_CASE("a larger guest entry over a smaller one that is in use", "[isolation]") {
    Random random = seeded_random(41);
    Hostile hostile(random);
    Machine& machine = *hostile.guest.native;
    machine.set_slot(1, 0x00400000, 0x100000);
    machine.map(5, 0x40001000, 0x00401000, 1, 0x3F);
    hostile.access(code::lwz(3, 4, 0), 0x40001000);
    machine.map(3, 0x40000000, 0x00400000, 5, 0x3F);
    hostile.access(code::lwz(3, 4, 0), 0x40002000);
    hostile.access(code::lwz(3, 4, 0), 0x40001000);
    hostile.access(code::stw(3, 4, 0), 0x40001000);
}

TEST_CASE("two guest entries for one page with different permissions", "[isolation]") {
    Random random = seeded_random(42);
    Hostile hostile(random);
    Machine& machine = *hostile.guest.native;
    machine.set_slot(1, 0x00400000, 0x100000, {.logged = true});
    machine.map(5, 0x40001000, 0x00401000, 1, 0x09);
    hostile.access(code::lwz(3, 4, 0), 0x40001000);
    machine.map(3, 0x40001000, 0x00401000, 1, 0x3F);
    hostile.access(code::stw(3, 4, 0), 0x40001000);
    hostile.access(code::lwz(3, 4, 0), 0x40001000);
}

TEST_CASE("random TLB contents and random code harm nobody else", "[isolation]") {
    Random random = seeded_random(43);
    const std::uint64_t goal = instruction_goal(200'000);
    std::uint64_t executed = 0, left = 0;
    while (executed < goal && left < goal) {
        Hostile hostile(random);
        Machine& machine = *hostile.guest.native;
        hostile.guest.cpu.interrupt_interval =
            random.pick({3U, 10U, 100U}); // never none: such guests may go round for ever
        hostile.guest.cpu.host_percent = random.pick({0U, 30U});
        hostile.guest.cpu.assembly_paths = random.chance(50);
        machine.set_slot(1, 0x00400000, 0x100000, {.mixed = true});
        machine.set_slot(2, 0x00600000, 0x10000, {.read_only = true, .largest_block = 14});
        machine.set_slot(3, 0x00700000, 0x10000, {.logged = true});
        machine.set_slot(4, 0x10000000, 0x10000000);
        const RegisterUse use = RegisterUse::random(random, 0);
        CodeGenerator generator(random, use);
        for (unsigned round = 0; round < 40; ++round) {
            const auto code = generator.program(128);
            for (unsigned i = 0; i < code.size(); ++i) machine.put(Comparison::origin + 4 * i, code[i]);
            // Entries that wrap each other up, of wild words; the program's own is the last.
            for (unsigned index = 0; index < 63; ++index) {
                if (!random.chance(60)) continue;
                const std::uint32_t near = random.pick({0x0U, 0x40000000U, 0x40100000U, 0x00400000U});
                const std::uint64_t real =
                    random.chance(70) ? random.pick<std::uint64_t>({0, 0x400000, 0x600000, 0x700000, 0x10000000}) +
                                            (random.word() & 0x1FC00)
                                      : random.next();
                TlbEntry entry;
                entry.word0 = ((random.chance(80) ? near + (random.word() & 0x1FC00) : random.word()) & 0xFFFFFC00) |
                              (random.word() & 0x1F0) | TlbEntry::valid_bit;
                entry.word1 = (static_cast<std::uint32_t>(real) & 0xFFFFFC00) |
                              static_cast<std::uint32_t>(random.chance(90) ? 0 : random.below(16));
                entry.word2 = random.word() & TlbEntry::word2_mask;
                entry.tid = static_cast<std::uint8_t>(random.chance(50) ? 0 : random.below(3));
                machine.vcpu().set_tlb_entry(index, entry);
            }
            isa::CpuState& state = machine.state();
            for (unsigned gpr = 0; gpr < 32; ++gpr) {
                state.gpr[gpr] = random.word();
                if ((use.pointers >> gpr & 1) != 0)
                    state.gpr[gpr] =
                        random.pick({0x2000U, 0x40000000U, 0x40100000U, 0x00400000U}) + random.below(0x20000);
                if ((use.offsets >> gpr & 1) != 0) state.gpr[gpr] = random.below(64);
            }
            machine.vcpu().abandon_instruction();
            state.pc = Comparison::origin;
            state.page.msr = random.word() & isa::msr::defined & ~msr::we;
            state.page.pid = random.below(3);
            machine.stop_after = machine.progress() + 3000;
            for (unsigned exits = 0; exits < 40; ++exits) {
                if (random.chance(5)) machine.take_log(3);
                const RunExit exit = machine.vcpu().run();
                ++left;
                if (exit == RunExit::dcr)
                    machine.vcpu().complete_dcr(random.word());
                else if (exit == RunExit::mmio)
                    machine.vcpu().complete_mmio(random.next());
                else if (exit == RunExit::reset)
                    machine.vcpu().reset();
                else
                    break;
            }
        }
        executed += machine.executed;
    }
    CHECK(executed > 10'000);
}
