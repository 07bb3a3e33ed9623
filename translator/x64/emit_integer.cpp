// SPDX-License-Identifier: GPL-2.0-only
#include "translator/isa/spr.h"
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;

namespace {

host::Mem carry() { return state8(offsetof(isa::CpuState, xer_ca)); }

} // namespace

bool BlockWriter::integer(Instruction insn) {
    const unsigned rt = insn.rt(), ra = insn.ra(), rb = insn.rb();
    auto finish = [&](unsigned gpr, const Gp& value) {
        commit(gpr, value);
        if (insn.records()) record(gpr);
    };
    // Carry of the last host instruction to XER[CA]; host borrows are the inverse of PowerPC carries.
    auto finish_carry = [&](const Gp& value, bool borrow) {
        if (borrow)
            a_.setae(carry());
        else
            a_.setc(carry());
        finish(rt, value);
    };
    switch (insn.op) {
    case Op::addi:
    case Op::addis: {
        const std::int32_t value =
            insn.op == Op::addi ? insn.si() : static_cast<std::int32_t>(static_cast<std::uint32_t>(insn.ui()) << 16);
        const Gp result = destination(rt, host::eax);
        if (ra == 0) {
            a_.mov(result, value);
        } else if (ra == rt && pinned(rt)) {
            a_.add(result, value);
        } else {
            const Gp base = read(ra, host::eax);
            a_.lea(result, host::ptr(base.r64(), value));
        }
        commit(rt, result);
        return true;
    }
    case Op::add: {
        const Gp result = destination(rt, host::eax);
        const Gp a = read(ra, host::eax), b = read(rb, host::ecx);
        a_.lea(result, host::ptr(a.r64(), b.r64()));
        finish(rt, result);
        return true;
    }
    case Op::subf:
        load(host::eax, rb);
        emit2(host::Inst::kIdSub, host::eax, source_operand(ra));
        finish(rt, host::eax);
        return true;
    case Op::neg:
        load(host::eax, ra);
        a_.neg(host::eax);
        finish(rt, host::eax);
        return true;
    case Op::addic:
    case Op::addic_rc:
        load(host::eax, ra);
        a_.add(host::eax, insn.si());
        finish_carry(host::eax, false);
        return true;
    case Op::subfic:
        a_.mov(host::eax, insn.si());
        emit2(host::Inst::kIdSub, host::eax, source_operand(ra));
        finish_carry(host::eax, true);
        return true;
    case Op::addc:
        load(host::eax, ra);
        emit2(host::Inst::kIdAdd, host::eax, source_operand(rb));
        finish_carry(host::eax, false);
        return true;
    case Op::subfc:
        load(host::eax, rb);
        emit2(host::Inst::kIdSub, host::eax, source_operand(ra));
        finish_carry(host::eax, true);
        return true;
    case Op::adde:
    case Op::addme:
    case Op::addze:
    case Op::subfme:
    case Op::subfze: {
        load(host::eax, ra);
        if (insn.op == Op::subfme || insn.op == Op::subfze) a_.not_(host::eax);
        a_.bt(state32(offsetof(isa::CpuState, xer_ca)), 0);
        if (insn.op == Op::adde)
            emit2(host::Inst::kIdAdc, host::eax, source_operand(rb));
        else
            a_.adc(host::eax, insn.op == Op::addme || insn.op == Op::subfme ? -1 : 0);
        finish_carry(host::eax, false);
        return true;
    }
    case Op::subfe:
        load(host::eax, rb);
        a_.bt(state32(offsetof(isa::CpuState, xer_ca)), 0);
        a_.cmc();
        emit2(host::Inst::kIdSbb, host::eax, source_operand(ra));
        finish_carry(host::eax, true);
        return true;
    case Op::mulli: {
        const Gp result = destination(rt, host::eax);
        a_.imul(result, read(ra, host::eax), insn.si());
        commit(rt, result);
        return true;
    }
    case Op::mullw:
        load(host::eax, ra);
        emit2(host::Inst::kIdImul, host::eax, source_operand(rb));
        finish(rt, host::eax);
        return true;
    case Op::mulhw:
        a_.movsxd(host::rax, read(ra, host::eax));
        a_.movsxd(host::rcx, read(rb, host::ecx));
        a_.imul(host::rax, host::rcx);
        a_.shr(host::rax, 32);
        finish(rt, host::eax);
        return true;
    case Op::mulhwu:
        load(host::eax, ra);
        load(host::ecx, rb);
        a_.imul(host::rax, host::rcx);
        a_.shr(host::rax, 32);
        finish(rt, host::eax);
        return true;
    case Op::divw:
    case Op::divwu: divide(insn); return true;

    case Op::cmp:
    case Op::cmpi:
    case Op::cmpl:
    case Op::cmpli: compare(insn); return true;

    case Op::ori:
    case Op::oris:
        if (insn.word == 0x60000000) return true; // nop
        logic_immediate(host::Inst::kIdOr, insn, insn.op == Op::ori ? insn.ui() : insn.ui() << 16);
        return true;
    case Op::xori:
    case Op::xoris:
        logic_immediate(host::Inst::kIdXor, insn, insn.op == Op::xori ? insn.ui() : insn.ui() << 16);
        return true;
    case Op::andi_rc:
    case Op::andis_rc:
        logic_immediate(host::Inst::kIdAnd, insn, insn.op == Op::andi_rc ? insn.ui() : insn.ui() << 16);
        return true;
    case Op::and_: logic2(host::Inst::kIdAnd, insn, false, false); return true;
    case Op::andc: logic2(host::Inst::kIdAnd, insn, true, false); return true;
    case Op::or_: logic2(host::Inst::kIdOr, insn, false, false); return true;
    case Op::orc: logic2(host::Inst::kIdOr, insn, true, false); return true;
    case Op::xor_: logic2(host::Inst::kIdXor, insn, false, false); return true;
    case Op::nand: logic2(host::Inst::kIdAnd, insn, false, true); return true;
    case Op::nor: logic2(host::Inst::kIdOr, insn, false, true); return true;
    case Op::eqv: logic2(host::Inst::kIdXor, insn, false, true); return true;
    case Op::extsb: {
        const Gp result = destination(ra, host::eax);
        load(host::eax, insn.rs());
        a_.movsx(result, host::al);
        finish(ra, result);
        return true;
    }
    case Op::extsh: {
        const Gp result = destination(ra, host::eax);
        load(host::eax, insn.rs());
        a_.movsx(result, host::ax);
        finish(ra, result);
        return true;
    }
    case Op::cntlzw: {
        // bsr leaves its target alone for 0: 63 ^ 31 = 32.
        load(host::ecx, insn.rs());
        a_.mov(host::eax, 63);
        a_.bsr(host::ecx, host::ecx);
        a_.cmovnz(host::eax, host::ecx);
        a_.xor_(host::eax, 31);
        finish(ra, host::eax);
        return true;
    }
    case Op::rlwinm:
    case Op::rlwimi:
    case Op::rlwnm: rotate(insn); return true;
    case Op::slw:
    case Op::srw:
    case Op::sraw:
    case Op::srawi: shift(insn); return true;

    case Op::crand:
    case Op::cror:
    case Op::crxor:
    case Op::crnand:
    case Op::crnor:
    case Op::creqv:
    case Op::crandc:
    case Op::crorc: condition_logic(insn); return true;
    case Op::mcrf: move_cr_field(insn); return true;
    case Op::mfcr: move_from_cr(insn); return true;
    case Op::mtcrf: move_to_cr(insn); return true;

    case Op::mfspr:
    case Op::mtspr: {
        bool done = false;
        special_register(insn, done);
        return done;
    }
    case Op::msync:
    case Op::mbar: return true; // one CPU, accesses in program order

    case Op::fmr:
    case Op::fneg:
    case Op::fabs:
    case Op::fnabs:
        if (insn.rc()) return false;
        a_.mov(host::rax, state64(offsetof(isa::CpuState, fpr) + insn.rb() * 8));
        if (insn.op == Op::fneg) a_.btc(host::rax, 63);
        if (insn.op == Op::fabs) a_.btr(host::rax, 63);
        if (insn.op == Op::fnabs) a_.bts(host::rax, 63);
        a_.mov(state64(offsetof(isa::CpuState, fpr) + insn.rt() * 8), host::rax);
        return true;
    default: return false;
    }
}

void BlockWriter::logic2(host::Inst::Id id, Instruction insn, bool invert_rb, bool invert_result) {
    const unsigned ra = insn.ra(), rs = insn.rs(), rb = insn.rb();
    if (id == host::Inst::kIdOr && rs == rb && !invert_rb && !invert_result) { // mr
        const Gp value = destination(ra, host::eax);
        if (ra != rs || !pinned(ra)) load(value, rs);
        commit(ra, value);
        if (insn.records()) record(ra);
        return;
    }
    const bool in_place = pinned(ra) && ra != rb && !invert_rb;
    const Gp result = in_place ? pin(ra) : Gp(host::eax);
    if (invert_rb) {
        load(host::eax, rb);
        a_.not_(host::eax);
        emit2(id, host::eax, source_operand(rs));
    } else {
        if (!(in_place && ra == rs)) load(result, rs);
        emit2(id, result, source_operand(rb));
    }
    if (invert_result) a_.not_(result);
    commit(ra, result);
    if (insn.records()) record(ra);
}

void BlockWriter::logic_immediate(host::Inst::Id id, Instruction insn, std::uint32_t value) {
    const unsigned ra = insn.ra(), rs = insn.rs();
    const Gp result = destination(ra, host::eax);
    if (!(pinned(ra) && ra == rs)) load(result, rs);
    emit2(id, result, Imm(static_cast<std::int32_t>(value)));
    commit(ra, result);
    if (insn.records()) record(ra);
}

void BlockWriter::rotate(Instruction insn) {
    const unsigned ra = insn.ra(), rs = insn.rs();
    const unsigned mb = insn.mb(), me = insn.me();
    const std::uint32_t mask = isa::rotate_mask(mb, me);
    if (insn.op == Op::rlwimi) {
        load(host::eax, rs);
        if (insn.sh() != 0) a_.rol(host::eax, insn.sh());
        a_.and_(host::eax, mask);
        load(host::ecx, ra);
        a_.and_(host::ecx, ~mask);
        a_.or_(host::eax, host::ecx);
        commit(ra, host::eax);
        if (insn.records()) record(ra);
        return;
    }
    if (insn.op == Op::rlwnm) {
        load(host::ecx, insn.rb());
        load(host::eax, rs);
        a_.rol(host::eax, host::cl);
        if (mask != 0xFFFFFFFF) a_.and_(host::eax, mask);
        commit(ra, host::eax);
        if (insn.records()) record(ra);
        return;
    }
    const unsigned sh = insn.sh();
    const Gp result = destination(ra, host::eax);
    if (!(pinned(ra) && ra == rs)) load(result, rs);
    if (sh != 0 && mb == 0 && me == 31 - sh) {
        a_.shl(result, sh);
    } else if (sh != 0 && me == 31 && mb == 32 - sh) {
        a_.shr(result, mb);
    } else {
        if (sh != 0) a_.rol(result, sh);
        if (mask != 0xFFFFFFFF) a_.and_(result, mask);
    }
    commit(ra, result);
    if (insn.records()) record(ra);
}

void BlockWriter::shift(Instruction insn) {
    const unsigned ra = insn.ra(), rs = insn.rs();
    if (insn.op == Op::srawi) {
        const unsigned sh = insn.sh();
        load(host::eax, rs);
        if (sh == 0) {
            a_.mov(carry(), 0);
        } else {
            // CA: a negative value lost one bits.
            a_.mov(host::ecx, host::eax);
            a_.sar(host::eax, sh);
            a_.and_(host::ecx, 0x80000000U | ((1U << sh) - 1));
            a_.cmp(host::ecx, 0x80000000U);
            a_.seta(carry());
        }
    } else if (insn.op == Op::sraw) {
        // Six bits of the amount count, as in a 64-bit shift of the extended value; the way back shows what was lost.
        load(host::ecx, insn.rb());
        if (pinned(rs))
            a_.movsxd(host::rax, pin(rs));
        else
            a_.movsxd(host::rax, home(rs));
        a_.mov(host::rdx, host::rax);
        a_.sar(host::rax, host::cl);
        a_.push(host::rax);
        a_.shl(host::rax, host::cl);
        a_.cmp(host::rax, host::rdx);
        a_.pop(host::rax);
        a_.setne(host::cl);
        a_.shr(host::edx, 31);
        a_.and_(host::cl, host::dl);
        a_.mov(carry(), host::cl);
    } else {
        // Six bits of the amount count: 64-bit shifts give 0 for 32 and more in the low word.
        load(host::ecx, insn.rb());
        load(host::eax, rs);
        if (insn.op == Op::slw)
            a_.shl(host::rax, host::cl);
        else
            a_.shr(host::rax, host::cl);
    }
    commit(ra, host::eax);
    if (insn.records()) record(ra);
}

void BlockWriter::divide(Instruction insn) {
    // Undefined quotients (by zero, overflow) are what the interpreter says.
    const Label special = a_.newLabel(), done = a_.newLabel();
    push_cold(special, [this, insn, done] {
        interpret(insn);
        a_.jmp(done);
    });
    load(host::ecx, insn.rb());
    if (insn.op == Op::divwu) {
        a_.test(host::ecx, host::ecx);
        a_.jz(special);
        load(host::eax, insn.ra());
        a_.xor_(host::edx, host::edx);
        a_.div(host::ecx);
    } else {
        a_.lea(host::eax, host::ptr(host::rcx, 1));
        a_.cmp(host::eax, 1);
        a_.jbe(special); // 0 or -1
        load(host::eax, insn.ra());
        a_.cdq();
        a_.idiv(host::ecx);
    }
    commit(insn.rt(), host::eax);
    if (insn.records()) record(insn.rt());
    a_.bind(done);
}

void BlockWriter::special_register(Instruction insn, bool& done) {
    const bool to = insn.op == Op::mtspr;
    std::size_t offset = 0;
    if (insn.spr() == isa::spr::ctr) {
        done = true;
        const Gp value = destination(to ? ctr_number : insn.rt(), host::eax);
        load(value, to ? insn.rs() : ctr_number);
        commit(to ? ctr_number : insn.rt(), value);
        return;
    }
    switch (insn.spr()) {
    case isa::spr::lr: offset = offsetof(isa::CpuState, lr); break;
    case isa::spr::usprg0: offset = offsetof(isa::CpuState, usprg0); break;
    case isa::spr::sprg4_user:
    case isa::spr::sprg5_user:
    case isa::spr::sprg6_user:
    case isa::spr::sprg7_user:
        if (to) return;
        offset = offsetof(isa::CpuState, page) + offsetof(isa::StatePage, sprg) +
                 4 * (insn.spr() - isa::spr::sprg4_user + 4);
        break;
    default: return;
    }
    done = true;
    if (to) {
        a_.mov(state32(offset), read(insn.rs(), host::eax));
        return;
    }
    const Gp value = destination(insn.rt(), host::eax);
    a_.mov(value, state32(offset));
    commit(insn.rt(), value);
}

} // namespace untrap::x64
