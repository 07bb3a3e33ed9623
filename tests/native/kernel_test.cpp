// SPDX-License-Identifier: GPL-2.0-only
// Whole random kernels on the native engine and the model of its host, against the interpreter. Time moves only where
// the guest tells the outside something, or waits; so interrupts come at the same instructions on both.
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>

#include "machine.h"
#include "tests/jit/machine.h"
#include "tests/jit/random_kernel.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using native::Machine;
using native::ModelCpu;
using runtime::RunExit;
using runtime::native::CodeCopies;

// What userspace saw at an exit.
struct Seen {
    RunExit exit = RunExit::dead;
    std::uint32_t dcr = 0, dcr_value = 0;
    std::uint64_t real = 0, value = 0;
    unsigned size = 0;
    bool operator==(const Seen&) const = default;
};

class Session {
  public:
    explicit Session(Machine& machine) : machine_(machine) {}

    void start(const RandomKernel& kernel, const isa::CpuState& state, const std::vector<std::uint8_t>& data) {
        machine_.start(state);
        machine_.fill(0, data);
        for (std::size_t i = 0; i < kernel.code().size(); ++i) machine_.put(Layout::code + 4 * i, kernel.code()[i]);
        const auto fixed = RandomKernel::fixed_entries();
        for (unsigned index = 0; index < fixed.size(); ++index) machine_.vcpu().set_tlb_entry(index, fixed[index]);
        machine_.stop_after = 60'000;
        laps_ = 0;
    }

    Seen run() {
        runtime::Vcpu& vcpu = machine_.vcpu();
        Seen seen;
        seen.exit = vcpu.run();
        if (seen.exit == RunExit::dcr) {
            seen.dcr = vcpu.dcr().number | (vcpu.dcr().is_write ? 0x8000U : 0);
            seen.dcr_value = vcpu.dcr().value;
        }
        if (seen.exit == RunExit::mmio) {
            seen.real = vcpu.mmio().real;
            seen.size = vcpu.mmio().size | (vcpu.mmio().is_write ? 0x80U : 0);
            seen.value = vcpu.mmio().is_write ? vcpu.mmio().value : 0;
        }
        return seen;
    }

    // The device's part. False when the kernel has run often enough.
    bool answer(const Seen& seen) {
        runtime::Vcpu& vcpu = machine_.vcpu();
        // Time goes on here.
        machine_.pass_time((seen.dcr * 0x9E3779B1U ^ static_cast<std::uint32_t>(seen.real)) >> 24);
        if (seen.exit == RunExit::mmio) {
            vcpu.complete_mmio(seen.real * 0x0101010101010101ULL + 0x8899AABBCCDDEEFF);
            return true;
        }
        if (seen.exit != RunExit::dcr) return false;
        switch (seen.dcr & 0x7FFF) {
        case RandomKernel::dcr_external_done: vcpu.set_interrupt_line(false, false); break;
        case RandomKernel::dcr_critical_done: vcpu.set_interrupt_line(true, false); break;
        case RandomKernel::dcr_raise_external: vcpu.set_interrupt_line(false, true); break;
        case RandomKernel::dcr_raise_critical: vcpu.set_interrupt_line(true, true); break;
        case RandomKernel::dcr_pulse_external: vcpu.pulse_external(); break;
        case RandomKernel::dcr_lap:
            if (++laps_ == 3) return false;
            break;
        default: break;
        }
        vcpu.complete_dcr(0x13579BDF ^ seen.dcr);
        return true;
    }

    Machine& machine() { return machine_; }
    bool finished() const { return laps_ == 3; }

  private:
    Machine& machine_;
    unsigned laps_ = 0;
};

isa::CpuState random_start(Random& random, const RandomKernel& kernel) {
    isa::CpuState state;
    state.reset();
    const RegisterUse use = kernel.registers();
    for (unsigned gpr = 0; gpr < 32; ++gpr) {
        state.gpr[gpr] = random_gpr(random);
        if ((use.pointers >> gpr & 1) != 0) state.gpr[gpr] = RandomKernel::random_pointer(random);
        if ((use.offsets >> gpr & 1) != 0) state.gpr[gpr] = random.below(16) * 4 - 32;
    }
    state.lr = random_gpr(random);
    state.ctr = random.below(12);
    state.set_cr(random.word());
    state.set_xer(random.word() & 0xE000003F);
    for (auto& fpr : state.fpr) fpr = random_fpr(random);
    state.fpscr = random_fpscr(random);
    state.usprg0 = random.word();
    for (auto& sprg : state.page.sprg) sprg = random.word();
    state.pc = RandomKernel::main_base;
    state.ivpr = RandomKernel::code_base;
    for (unsigned i = 0; i < isa::interrupt_count; ++i) state.ivor[i] = i * 0x100;
    state.page.msr = isa::msr::me | isa::msr::ce | (random.chance(70) ? isa::msr::fp : 0);
    state.pvr = isa::spr::pvr_440ep;
    return state;
}

void give_memory(Machine& machine, Random& random) {
    const native::SlotOptions plain{.largest_block = random.pick({12U, 14U, 16U, 28U}), .mixed = random.chance(50)};
    native::SlotOptions rom = plain;
    rom.read_only = true;
    machine.set_slot(0, Layout::data, Layout::data_bytes, plain);
    machine.set_slot(1, Layout::rom, Layout::rom_bytes, rom);
    machine.set_slot(2, Layout::code, Layout::code_bytes, plain);
    machine.set_slot(3, Layout::high, Layout::high_bytes, plain);
}

[[noreturn]] void fail(const std::string& difference, std::uint64_t kernel, std::size_t exit,
                       const isa::CpuState& before, Session& reference, Session& other) {
    const std::string text =
        "seed " + std::to_string(test_seed()) + ", kernel " + std::to_string(kernel) + ", exit " +
        std::to_string(exit) + "\n-- difference\n" + difference + "-- at the exit before\n" + describe(before) +
        "-- interpreter\n" + describe(reference.machine().state()) + "-- native\n" + describe(other.machine().state()) +
        "-- TLB\n" + describe(other.machine().vcpu().tlb) + "-- code from the exit before\n" +
        native::listing(reference.machine(), before.pc - 32, 100, before.pc) + "-- code here\n" +
        native::listing(reference.machine(), reference.machine().state().pc - 100, 40, reference.machine().state().pc);
    std::fputs(text.c_str(), stderr);
    FAIL("a guest sees a difference");
    std::abort(); // not reached: FAIL throws
}

// The same guest on the interpreter and on the native engine.
struct Twins {
    explicit Twins(ModelCpu& cpu, runtime::native::ShadowTlb& tlb)
        : interpreted(Machine::make(cpu, Machine::Kind::interpreter, tlb)),
          native(Machine::make(cpu, Machine::Kind::native, tlb)), reference(*interpreted), other(*native) {}

    void start(Random& random, std::uint64_t kernel_number) {
        number = kernel_number;
        const RandomKernel kernel(random);
        const isa::CpuState state = random_start(random, kernel);
        give_memory(*interpreted, random);
        give_memory(*native, random);
        std::vector<std::uint8_t> data(Layout::data_bytes);
        for (auto& byte : data) byte = static_cast<std::uint8_t>(random.word());
        reference.start(kernel, state, data);
        other.start(kernel, state, data);
        before = state;
        exit = 0;
    }

    // To the next exit; false at the end.
    bool step() {
        const Seen wanted = reference.run();
        const Seen seen = other.run();
        // A kernel that got lost is stopped somewhere: only its exits up to then count.
        if (wanted.exit == RunExit::interrupted || seen.exit == RunExit::interrupted) return false;
        if (native->used_state_page) return false;
        std::string text = difference(*interpreted, *native);
        if (!(wanted == seen)) text += "the exits differ\n";
        if (const std::string counts = count_difference(*interpreted, *native); !counts.empty()) text += counts;
        if (!text.empty())
            text += "patch levels " + std::to_string(native->patch_levels()) + ", patches " +
                    std::to_string(native->native().patches_in()) + "\n";
        if (!text.empty()) fail(text, number, exit, before, reference, other);
        before = interpreted->state();
        ++exit;
        const bool more = reference.answer(wanted);
        other.answer(seen);
        return more;
    }

    Machine::Pointer interpreted, native;
    Session reference, other;
    std::uint64_t number = 0;
    std::size_t exit = 0;
    isa::CpuState before;
};

} // namespace

TEST_CASE("a guest kernel does the same on a 440 as in the interpreter", "[kernel]") {
    Random random = seeded_random(31);
    const std::uint64_t goal = instruction_goal(1'500'000);
    std::uint64_t executed = 0, kernels = 0, finished = 0, invalidations = 0;
    std::uint64_t host_interrupts = 0, assembly = 0, handled = 0, left = 0, stub_exits = 0, traced = 0;
    while (executed < goal) {
        ModelCpu cpu(random, random.pick({16U, 24U, 40U, 62U}));
        runtime::native::ShadowTlb tlb;
        tlb.start(cpu.pinned_from);
        Twins twins(cpu, tlb);
        for (unsigned repeat = 0; repeat < 8; ++repeat) {
            cpu.interrupt_interval = random.pick({0U, 3U, 40U, 400U});
            const unsigned level = random.below(5);
            // Level 4 by itself too: compiled handlers, and traps where those leave.
            if (random.chance(25))
                twins.native->set_levels(1U << 4, random.pick({1U, 2U}));
            else
                twins.native->set_level(level, random.pick({1U, 2U, 4U}));
            twins.native->largest_allocation = random.pick({20U, 16U, 12U});
            cpu.host_percent = random.pick({0U, 10U, 60U});
            cpu.assembly_paths = random.chance(70);
            twins.native->native().set_timing(random.chance(20));
            twins.native->traces = random.chance(20) ? 15 : 0;
            const std::uint64_t patch_memory =
                random.pick({4096U, 0x10000U, 0x14000U, 0x80000U, unsigned{CodeCopies::most_bytes}});
            twins.native->limit_patch_memory(patch_memory);
            twins.native->most_allocated = twins.native->allocated;
            twins.start(random, kernels++);
            while (twins.step()) {
            }
            CHECK(twins.native->most_allocated <= patch_memory);
            executed += twins.native->executed;
            finished += twins.other.finished() ? 1 : 0;
        }
        stub_exits += twins.native->native().stub_exits();
        traced += twins.native->patches_traced;
        host_interrupts += cpu.host_interrupts;
        assembly += cpu.assembly_exits;
        handled += cpu.handlers_finished;
        left += cpu.handlers_left;
        invalidations += cpu.instruction_cache_invalidations;
    }
    CAPTURE(handled, left);
    CHECK(handled + left > 0);
    INFO("kernels " << kernels << ", finished " << finished);
    // Few kernels may get lost, or the test would be worth little.
    CHECK(finished * 2 > kernels);
    CHECK(host_interrupts > 1000);
    CHECK(assembly > 1000);
    CHECK(invalidations > 0);
    CHECK(stub_exits > 100);
    CHECK(traced > 100);
}

TEST_CASE("two guests on one CPU do not notice each other", "[kernel]") {
    Random random = seeded_random(32);
    const std::uint64_t goal = instruction_goal(400'000);
    std::uint64_t executed = 0, kernels = 0;
    while (executed < goal) {
        ModelCpu cpu(random, random.pick({16U, 62U}));
        runtime::native::ShadowTlb tlb;
        tlb.start(cpu.pinned_from);
        Twins first(cpu, tlb), second(cpu, tlb);
        for (unsigned repeat = 0; repeat < 4; ++repeat) {
            cpu.interrupt_interval = random.pick({10U, 100U});
            cpu.host_percent = random.pick({0U, 10U});
            first.start(random, kernels++);
            second.start(random, kernels++);
            bool more = true, more_of_second = true;
            while (more || more_of_second) {
                if (more && random.chance(50)) more = first.step();
                if (more_of_second && random.chance(50)) more_of_second = second.step();
            }
            executed += first.native->executed + second.native->executed;
        }
        // One of them goes: nothing of it may stay behind.
        const unsigned gone = first.native->vm();
        first.native.reset();
        for (unsigned index = 0; index < ModelCpu::entry_count; ++index) {
            const ModelCpu::Entry& entry = cpu.entry(index);
            CHECK((!entry.words.valid() || entry.words.ts() == 0 || entry.meaning >> 16 != gone));
        }
    }
}
