// SPDX-License-Identifier: GPL-2.0-only
#include "comparison.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdio>

#include "tests/jit/machine.h"
#include "tests/runtime/guest.h"

namespace untrap::tests::native {

using mmu::TlbEntry;
using runtime::RunExit;

Comparison::Comparison(Random& random_in, unsigned pinned_from) : random(random_in), cpu(random, pinned_from) {
    tlb.start(pinned_from);
    interpreted = Machine::make(cpu, Machine::Kind::interpreter, tlb);
    native = Machine::make(cpu, Machine::Kind::native, tlb);
    both([&](Machine& machine) { machine.set_slot(slot, 0, memory_bytes, {.mixed = true}); });
    start(first_state());
}

isa::CpuState Comparison::first_state() {
    isa::CpuState state;
    state.reset();
    state.pc = origin;
    state.ivpr = handlers;
    for (unsigned which = 0; which < isa::interrupt_count; ++which) state.ivor[which] = which * 0x100;
    state.page.msr = isa::msr::me;
    state.pvr = isa::spr::pvr_440ep;
    return state;
}

void Comparison::start(const isa::CpuState& state) {
    both([&](Machine& machine) {
        machine.start(state);
        machine.map(boot_entry, 0, 0, 9, 0x3F);
        for (unsigned which = 0; which < isa::interrupt_count; ++which)
            machine.put(handlers + which * 0x100, code::mtdcr(dcr_handler + which, 0));
    });
}

void Comparison::put(std::uint32_t address, std::initializer_list<std::uint32_t> words) {
    for (const std::uint32_t word : words) {
        both([&](Machine& machine) { machine.put(address, word); });
        address += 4;
    }
}

void Comparison::put_code(std::uint32_t address, std::span<const std::uint32_t> words) {
    for (const std::uint32_t word : words) {
        both([&](Machine& machine) {
            machine.put(address, word);
            machine.engine().memory_written(address, 4);
        });
        address += 4;
    }
}

RunExit Comparison::run(const std::string& context) {
    const isa::CpuState before = native->state();
    const RunExit wanted = interpreted->vcpu().run();
    const RunExit got = native->vcpu().run();
    std::string text = difference(*interpreted, *native) + count_difference(*interpreted, *native);
    if (wanted != got) text += "the exits differ\n";
    const auto& dcr = interpreted->vcpu().dcr();
    const auto& other_dcr = native->vcpu().dcr();
    if (wanted == RunExit::dcr &&
        (dcr.number != other_dcr.number || dcr.is_write != other_dcr.is_write || dcr.value != other_dcr.value))
        text += "the DCR accesses differ\n";
    const auto& mmio = interpreted->vcpu().mmio();
    const auto& other_mmio = native->vcpu().mmio();
    if (wanted == RunExit::mmio && (mmio.real != other_mmio.real || mmio.size != other_mmio.size ||
                                    mmio.is_write != other_mmio.is_write || mmio.value != other_mmio.value))
        text += "the device accesses differ\n";
    if (interpreted->warnings != native->warnings) text += "the warnings differ\n";
    if (interpreted->time != native->time) text += "the times differ\n";
    if (text.empty()) return wanted;
    text = "seed " + std::to_string(test_seed()) + ", " + context + ", exits " +
           std::to_string(static_cast<unsigned>(wanted)) + " and " + std::to_string(static_cast<unsigned>(got)) + "\n" +
           text + "-- before\n" + describe(before) + listing(*native, before.pc, 6, before.pc) + "-- interpreter\n" +
           describe(interpreted->state()) + "-- native\n" + describe(native->state()) + "-- TLB\n" +
           describe(native->vcpu().tlb);
    std::fputs(text.c_str(), stderr);
    FAIL("a guest sees a difference");
    return wanted;
}

int Comparison::handler() const {
    const auto& dcr = native->vcpu().dcr();
    if (!dcr.is_write || dcr.number < dcr_handler || dcr.number >= dcr_handler + isa::interrupt_count) return -1;
    return static_cast<int>(dcr.number - dcr_handler);
}

} // namespace untrap::tests::native
