// SPDX-License-Identifier: GPL-2.0-only
#include "sequence_guest.h"

#include "runtime/exit_reason.h"

namespace untrap::tests::native {

using runtime::ExitReason;

namespace {

std::uint64_t emulations(const Machine& machine) {
    std::uint64_t count = 0;
    for (unsigned number = 0; number < runtime::exit_reason_count; ++number) {
        const auto reason = static_cast<ExitReason>(number);
        if (runtime::is_emulation(reason)) count += machine.exits(reason); // DCRs are none
    }
    return count;
}

} // namespace

SequenceGuest::SequenceGuest(Random& random, unsigned levels, unsigned pinned_from) : guest(random, pinned_from) {
    guest.cpu.interrupt_interval = 0;
    guest.native->set_levels(levels, 1);
    start();
}

void SequenceGuest::start() {
    guest.start(Comparison::first_state());
    // Where nothing is executed at all, interrupts are taken for fruitless.
    for (unsigned which = 0; which < isa::interrupt_count; ++which)
        put(Comparison::handlers + which * 0x100, {code::nop, code::mtdcr(Comparison::dcr_handler + which, 0)});
}

void SequenceGuest::map(unsigned index, std::uint32_t ea, std::uint64_t real, unsigned size_code,
                        std::uint32_t attributes, unsigned tid, unsigned space) {
    guest.both([&](Machine& machine) { machine.map(index, ea, real, size_code, attributes, tid, space); });
}

std::uint64_t SequenceGuest::run(const std::string& context, std::uint32_t pc, const Registers& registers,
                                 std::uint32_t msr) {
    // Once, since it may be random, and for both.
    isa::CpuState& first = guest.interpreted->state();
    first.pc = pc;
    first.page.msr = msr;
    first.page.pid = 0;
    if (registers) registers(first);
    guest.both([&](Machine& machine) {
        isa::CpuState& state = machine.state();
        machine.vcpu().abandon_instruction();
        state.gpr = first.gpr;
        state.pc = first.pc;
        state.ctr = first.ctr;
        state.set_cr(first.cr());
        state.set_xer(first.xer());
        state.page.msr = first.page.msr;
        state.page.pid = first.page.pid;
        state.page.mmucr = first.page.mmucr;
        machine.stop_after = machine.progress() + 20'000;
    });
    const std::uint64_t before = emulations(*guest.native);
    guest.run(context);
    return emulations(*guest.native) - before;
}

} // namespace untrap::tests::native
