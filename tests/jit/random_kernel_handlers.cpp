// SPDX-License-Identifier: GPL-2.0-only
// The interrupt handlers of a random kernel.
#include "random_kernel.h"

namespace untrap::tests {

using isa::Interrupt;
using isa::Op;
namespace msr = isa::msr;
namespace spr = isa::spr;

namespace {

constexpr unsigned cr0_eq = 2;

} // namespace

void RandomKernel::skip_instruction() {
    from_spr(h0, spr::srr0);
    emit(immediate(Op::addi, h0, h0, 4));
    to_spr(spr::srr0, h0);
}

// Lost: on to the end of the main part, in plain supervisor state.
void RandomKernel::return_to_end(unsigned pc_spr, unsigned msr_spr) {
    load_constant(h0, code_base + 4 * starts_.back());
    to_spr(pc_spr, h0);
    load_constant(h0, msr::me | msr::ce);
    to_spr(msr_spr, h0);
    leave_code_alone(); // it may have been about to be changed
}

// Maps a page of the refill area in address space 0, as a kernel's handler does; other misses are stepped over.
void RandomKernel::refill() {
    from_spr(h0, spr::dear);
    emit(rotate_and_mask(h1, h0, 4, 28, 31));
    emit(immediate(Op::cmpi, 0, h1, refill_base >> 28));
    const unsigned elsewhere = next_;
    emit(0);
    from_spr(h1, spr::srr1);
    emit(immediate(Op::andi_rc, h1, h1, msr::ds));
    const unsigned other_space = next_;
    emit(0);
    from_spr(h3, spr::mmucr);
    emit(immediate(Op::addi, h1, 0, 0));
    to_spr(spr::mmucr, h1);
    emit(rotate_and_mask(h2, h0, 20, 29, 31)); // one of eight entries
    emit(immediate(Op::addi, h2, h2, first_refill));
    emit(rotate_and_mask(h1, h0, 0, 0, 19));
    emit(immediate(Op::ori, h1, h1, 0x210));
    const auto write = [&](unsigned ws) { emit(match(Op::tlbwe) | field_rt(h1) | field_ra(h2) | field_rb(ws)); };
    write(0);
    emit(rotate_and_mask(h1, h0, 0, 14, 19));
    write(1);
    emit(immediate(Op::addi, h1, 0, random_.pick<std::uint32_t>({0x3F, 0x1B, 0xBF, 0x09})));
    write(2);
    to_spr(spr::mmucr, h3);
    emit(match(Op::mfcr) | field_rt(h1));
    const unsigned done = next_;
    emit(0);
    for (const unsigned branch : {elsewhere, other_space})
        code_[branch] = match(Op::bc) | field_rt(4) | field_ra(cr0_eq) | (next_ - branch) * 4;
    skip_instruction();
    code_[done] = match(Op::b) | (next_ - done) * 4;
}

void RandomKernel::handler(Interrupt which) {
    emit(match(Op::mtspr) | field_rt(h0) | field_spr(spr::sprg0));
    if (random_.chance(50)) to_spr(random_.pick<unsigned>({spr::sprg1, spr::sprg4, spr::sprg7}), h1);
    if (random_.chance(50)) from_spr(h1, random_.pick<unsigned>({spr::esr, spr::dear, spr::srr1, spr::csrr1}));
    bool critical = false;
    switch (which) {
    case Interrupt::critical_input:
        critical = true;
        to_dcr(dcr_critical_done, h0);
        break;
    case Interrupt::machine_check:
        critical = true;
        return_to_end(spr::csrr0, spr::csrr1);
        break;
    case Interrupt::watchdog:
    case Interrupt::decrementer:
    case Interrupt::fixed_interval_timer: {
        critical = which == Interrupt::watchdog;
        const std::uint32_t bits = critical                          ? isa::tsr::wis | isa::tsr::enw
                                   : which == Interrupt::decrementer ? isa::tsr::dis
                                                                     : isa::tsr::fis;
        load_constant(h0, bits);
        to_spr(spr::tsr, h0);
        break;
    }
    case Interrupt::debug: critical = true; break;
    case Interrupt::external_input: to_dcr(dcr_external_done, h0); break;
    case Interrupt::fp_unavailable:
        from_spr(h0, spr::srr1);
        emit(immediate(Op::ori, h0, h0, msr::fp));
        to_spr(spr::srr1, h0);
        break;
    case Interrupt::system_call: // back in supervisor state, in address space 0
        from_spr(h0, spr::srr1);
        emit(rotate_and_mask(h0, h0, 0, 18, 16));
        emit(rotate_and_mask(h0, h0, 0, 28, 25));
        to_spr(spr::srr1, h0);
        break;
    case Interrupt::instruction_storage:
    case Interrupt::instruction_tlb_error: return_to_end(spr::srr0, spr::srr1); break;
    case Interrupt::data_tlb_error: refill(); break;
    default: skip_instruction(); break;
    }
    // An interrupt ends an idle wait.
    const bool wakes = which == Interrupt::critical_input || which == Interrupt::external_input ||
                       which == Interrupt::decrementer || which == Interrupt::fixed_interval_timer ||
                       which == Interrupt::watchdog;
    if (wakes) {
        from_spr(h0, critical ? spr::csrr1 : spr::srr1);
        emit(rotate_and_mask(h0, h0, 0, 14, 12));
        to_spr(critical ? spr::csrr1 : spr::srr1, h0);
    }
    if (random_.chance(50)) from_spr(h1, random_.pick<unsigned>({spr::sprg1, spr::sprg4, spr::pid}));
    from_spr(h0, spr::sprg0);
    emit(match(critical ? Op::rfci : Op::rfi));
}

} // namespace untrap::tests
