// SPDX-License-Identifier: GPL-2.0-only
// Branches, system call, traps and the instructions on the condition register.
#include "translator/interp/step.h"

namespace untrap::interp::handlers {
namespace {

using isa::Instruction;

// BO bits, from the most significant: ignore the CR bit, its wanted value, leave CTR alone, branch on CTR = 0, hint.
constexpr unsigned bo_any_cr = 16, bo_cr_value = 8, bo_keep_ctr = 4, bo_ctr_zero = 2;

// Decides a conditional branch; CTR is decremented here when BO asks for it.
bool branch_taken(const Step& step) {
    const unsigned bo = step.instruction.bo();
    if ((bo & bo_keep_ctr) == 0) {
        const bool zero = --step.state.ctr == 0;
        if (zero != ((bo & bo_ctr_zero) != 0)) return false;
    }
    return (bo & bo_any_cr) != 0 || step.state.cr_bit(step.instruction.bi()) == ((bo & bo_cr_value) != 0);
}

// LR is written whether or not the branch is taken, and after the target was read from it.
void branch_to(Step& step, bool taken, std::uint32_t target) {
    if (step.instruction.lk()) step.state.lr = step.state.pc + 4;
    if (taken) step.next_pc = target;
}

constexpr bool trap_holds(unsigned to, std::uint32_t a, std::uint32_t b) {
    const auto signed_a = static_cast<std::int32_t>(a);
    const auto signed_b = static_cast<std::int32_t>(b);
    return ((to & 16) != 0 && signed_a < signed_b) || ((to & 8) != 0 && signed_a > signed_b) ||
           ((to & 4) != 0 && a == b) || ((to & 2) != 0 && a < b) || ((to & 1) != 0 && a > b);
}

void trap_if(Step& step, std::uint32_t b) {
    if (trap_holds(step.instruction.to(), step.ra(), b)) step.stop(isa::TrapKind::trap_condition);
}

template <typename Operation>
void cr_logical(Step& step, Operation operation) {
    const Instruction insn = step.instruction;
    step.state.set_cr_bit(insn.bt(), operation(step.state.cr_bit(insn.ba()), step.state.cr_bit(insn.bb())));
}

} // namespace

void b(Step& step) {
    const std::uint32_t base = step.instruction.aa() ? 0 : step.state.pc;
    branch_to(step, true, base + static_cast<std::uint32_t>(step.instruction.li()));
}

void bc(Step& step) {
    const std::uint32_t base = step.instruction.aa() ? 0 : step.state.pc;
    const bool taken = branch_taken(step);
    branch_to(step, taken, base + static_cast<std::uint32_t>(step.instruction.bd()));
}

void bclr(Step& step) {
    const bool taken = branch_taken(step);
    branch_to(step, taken, step.state.lr & ~3U);
}

// bcctr that would decrement CTR is an invalid form with undefined result; as in QEMU it is an illegal instruction.
void bcctr(Step& step) {
    if ((step.instruction.bo() & bo_keep_ctr) == 0) return step.stop(isa::TrapKind::illegal);
    branch_to(step, branch_taken(step), step.state.ctr & ~3U);
}

// The caller advances pc when it delivers the interrupt: SRR0 is the next instruction.
void sc(Step& step) { step.stop(isa::TrapKind::system_call); }

void tw(Step& step) { trap_if(step, step.rb()); }
void twi(Step& step) { trap_if(step, step.si()); }

void mcrf(Step& step) { step.state.crf[step.instruction.bf()] = step.state.crf[step.instruction.bfa()]; }

void crnor(Step& step) {
    cr_logical(step, [](bool x, bool y) { return !(x || y); });
}
void crandc(Step& step) {
    cr_logical(step, [](bool x, bool y) { return x && !y; });
}
void crxor(Step& step) {
    cr_logical(step, [](bool x, bool y) { return x != y; });
}
void crnand(Step& step) {
    cr_logical(step, [](bool x, bool y) { return !(x && y); });
}
void crand(Step& step) {
    cr_logical(step, [](bool x, bool y) { return x && y; });
}
void creqv(Step& step) {
    cr_logical(step, [](bool x, bool y) { return x == y; });
}
void crorc(Step& step) {
    cr_logical(step, [](bool x, bool y) { return x || !y; });
}
void cror(Step& step) {
    cr_logical(step, [](bool x, bool y) { return x || y; });
}

void mfcr(Step& step) { step.gpr(step.instruction.rt()) = step.state.cr(); }

void mtcrf(Step& step) {
    const std::uint32_t value = step.rs();
    for (unsigned field = 0; field < 8; ++field)
        if ((step.instruction.fxm() & (0x80U >> field)) != 0)
            step.state.crf[field] = isa::cr::encodings[value >> (28 - 4 * field) & 15];
}

void mcrxr(Step& step) {
    isa::CpuState& state = step.state;
    state.crf[step.instruction.bf()] = isa::cr::encodings[state.xer() >> 28];
    state.xer_so = state.xer_ov = state.xer_ca = 0;
}

} // namespace untrap::interp::handlers
