// SPDX-License-Identifier: GPL-2.0-only
// Instructions that write FPSCR. The mathematical library writes it around its functions, and mostly what is there: its
// rounding mode is the one in force, and what it restores has the same enables.
#include "translator/fp/fpscr.h"
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::FpPending;
using isa::Instruction;
using isa::Op;

namespace {

constexpr std::uint32_t control = 0xFF; // enables, NI, RN
constexpr std::uint32_t not_enabling = fp::fpscr_ni | fp::fpscr_rn;
host::Mem fpscr() { return state32(offsetof(isa::CpuState, fpscr)); }

} // namespace

void BlockWriter::fp_control(Instruction insn) {
    // What is owed is settled by the bits that are in force now.
    fp_home();
    const bool in_line =
        optimises(Optimisation::fp_control) && !insn.records() && (source_.mode & mode::fp_enables) == 0;
    const Label slow = a_.newLabel(), resume = a_.newLabel();
    const auto otherwise = [&] {
        push_cold(slow, [this, insn, resume] {
            fp_control_by_interpreter(insn);
            a_.jmp(resume);
        });
    };
    const std::uint32_t bit = 0x80000000U >> insn.bt();
    if (in_line && insn.op == Op::mtfsb0 && (bit & not_enabling) != 0) {
        otherwise();
        a_.test(fpscr(), bit);
        a_.jnz(slow);
    } else if (in_line && insn.op == Op::mtfsb1 && (bit & not_enabling) != 0) {
        otherwise();
        a_.test(fpscr(), bit);
        a_.jz(slow);
    } else if (in_line && insn.op == Op::mtfsfi && insn.bf() == 7 && (insn.u() & ~not_enabling) == 0) {
        otherwise();
        a_.mov(host::eax, fpscr());
        a_.xor_(host::eax, insn.u());
        a_.test(host::al, 15);
        a_.jnz(slow);
    } else if (in_line && insn.op == Op::mtfsf && insn.flm() == 0xFF) {
        fp_ready();
        otherwise();
        const Label sound = a_.newLabel();
        a_.vmovd(host::eax, fpr(insn.rb(), host::xmm0));
        a_.mov(host::edx, host::eax);
        a_.xor_(host::edx, fpscr());
        a_.test(host::edx, control);
        a_.jnz(slow);
        // No exception is enabled: of the summaries there is VX alone.
        a_.and_(host::eax, ~(fp::fpscr_fex | fp::fpscr_vx | fp::fpscr_reserved));
        a_.test(host::eax, fp::fpscr_vx_causes);
        a_.jz(sound);
        a_.or_(host::eax, fp::fpscr_vx);
        a_.bind(sound);
        a_.mov(fpscr(), host::eax);
        // Whatever was to come into it is overwritten: what is owed, and the exceptions that the host has gathered.
        a_.mov(host::rax, 0xFFFFFFFF00000000U); // no word, nothing later
        a_.mov(state64(pending_offset(offsetof(FpPending, word))), host::rax);
        a_.mov(state32(pending_offset(offsetof(FpPending, flags))), 0);
        const Mem mxcsr = state32(pending_offset(offsetof(FpPending, mxcsr)));
        a_.stmxcsr(mxcsr);
        a_.and_(mxcsr, ~0x3F);
        a_.ldmxcsr(mxcsr);
    } else {
        fp_control_by_interpreter(insn);
        return;
    }
    a_.bind(resume);
}

// Where exceptions become enabled, or none is any more, the block is not the right one.
void BlockWriter::fp_control_by_interpreter(Instruction insn) {
    interpret(insn);
    const Label other_mode = a_.newLabel();
    a_.test(fpscr(), fpscr_enables);
    if ((source_.mode & mode::fp_enables) != 0)
        a_.jz(other_mode);
    else
        a_.jnz(other_mode);
    push_cold(other_mode, [this] {
        if (left() != 1) a_.add(budget_reg, left() - 1);
        leave_assignment();
        a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
        a_.jmp(thunks_.exit);
    });
}

} // namespace untrap::x64
