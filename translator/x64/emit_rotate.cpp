// SPDX-License-Identifier: GPL-2.0-only
// Rotates and shifts.
#include <bit>

#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;

void BlockWriter::rotate(Instruction insn) {
    const unsigned ra = insn.ra(), rs = insn.rs();
    const std::uint32_t mask = isa::rotate_mask(insn.mb(), insn.me());
    switch (insn.op) {
    case Op::rlwimi:
        rotated(host::eax, rs, insn.sh());
        a_.and_(host::eax, mask);
        emit2(host::Inst::kIdAnd, source_operand(ra), Imm(static_cast<std::int32_t>(~mask)));
        emit2(host::Inst::kIdOr, source_operand(ra), host::eax);
        break;
    case Op::rlwnm:
        load(host::ecx, insn.rb());
        load(host::eax, rs);
        a_.rol(host::eax, host::cl);
        if (mask != 0xFFFFFFFF) a_.and_(host::eax, mask);
        commit(ra, host::eax);
        break;
    default: rotate_and_mask(ra, rs, insn.sh(), mask); break;
    }
    if (insn.records()) record(ra);
}

void BlockWriter::rotated(const Gp& into, unsigned gpr, unsigned by) {
    if (by != 0 && has_bmi2_) {
        emit3(host::Inst::kIdRorx, into, source_operand(gpr), Imm(32 - by));
        return;
    }
    if (!pinned(gpr) || pin(gpr).id() != into.id()) load(into, gpr);
    if (by != 0) a_.rol(into, by);
}

void BlockWriter::rotate_and_mask(unsigned ra, unsigned rs, unsigned by, std::uint32_t mask) {
    const Gp result = destination(ra, host::eax);
    const bool in_place = pinned(ra) && ra == rs;
    const bool to_left = by != 0 && mask == 0xFFFFFFFFU << by;
    const bool to_right = by != 0 && mask == 0xFFFFFFFFU >> (32 - by);
    if (ra == rs && !pinned(ra) && (to_left || to_right)) {
        if (to_left)
            a_.shl(home(ra), by);
        else
            a_.shr(home(ra), 32 - by);
        return;
    }
    if (by == 0 && (mask == 0xFF || mask == 0xFFFF)) {
        const Gp source = read(rs, host::eax);
        if (mask == 0xFF)
            a_.movzx(result, source.r8());
        else
            a_.movzx(result, source.r16());
    } else if (to_left) {
        if (by <= 3 && pinned(rs) && !in_place) {
            a_.lea(result, host::ptr(0, pin(rs).r64(), by));
        } else {
            if (!in_place) load(result, rs);
            a_.shl(result, by);
        }
    } else if (to_right) {
        if (!in_place) load(result, rs);
        a_.shr(result, 32 - by);
    } else {
        rotated(result, rs, by);
        if (mask != 0xFFFFFFFF) a_.and_(result, mask);
    }
    commit(ra, result);
}

void BlockWriter::shift(Instruction insn) {
    const unsigned ra = insn.ra(), rs = insn.rs();
    if (insn.op == Op::slw || insn.op == Op::srw) {
        // Six bits of the amount count: 64-bit shifts give 0 for 32 and more in the low word.
        const bool left = insn.op == Op::slw;
        if (has_bmi2_) {
            const Gp value = read(rs, host::eax), amount = read(insn.rb(), host::ecx);
            if (!left) {
                const Gp result = destination(ra, host::eax);
                a_.shrx(result.r64(), value.r64(), amount.r64());
                commit(ra, result);
                if (insn.records()) record(ra);
                return;
            }
            a_.shlx(host::rax, value.r64(), amount.r64());
        } else {
            load(host::ecx, insn.rb());
            load(host::eax, rs);
            if (left)
                a_.shl(host::rax, host::cl);
            else
                a_.shr(host::rax, host::cl);
        }
        commit(ra, host::eax);
        if (insn.records()) record(ra);
        return;
    }
    carry_ = {};
    const Mem carry = state8(offsetof(isa::CpuState, xer_ca));
    const bool needed = carry_needed() || !optimises(Optimisation::lazy_carry);
    if (insn.op == Op::srawi) {
        const unsigned sh = insn.sh();
        if (needed && sh == 0) {
            a_.mov(carry, 0);
        } else if (needed) {
            // CA: a negative value lost one bits.
            load(host::ecx, rs);
            a_.and_(host::ecx, 0x80000000U | ((1U << sh) - 1));
            a_.cmp(host::ecx, 0x80000000U);
            a_.seta(carry);
        }
        const Gp result = start_result(ra, rs, no_register);
        if (sh != 0) a_.sar(result, sh);
        commit(ra, result);
    } else if (!needed) {
        load(host::ecx, insn.rb());
        extend(host::rax, rs);
        a_.sar(host::rax, host::cl);
        commit(ra, host::eax);
    } else {
        // Six bits of the amount count, as in a 64-bit shift of the extended value; the way back shows what was lost.
        load(host::ecx, insn.rb());
        extend(host::rax, rs);
        a_.mov(host::rdx, host::rax);
        a_.sar(host::rax, host::cl);
        a_.push(host::rax);
        a_.shl(host::rax, host::cl);
        a_.cmp(host::rax, host::rdx);
        a_.pop(host::rax);
        a_.setne(host::cl);
        a_.shr(host::edx, 31);
        a_.and_(host::cl, host::dl);
        a_.mov(carry, host::cl);
        commit(ra, host::eax);
    }
    if (insn.records()) record(ra);
}

} // namespace untrap::x64
