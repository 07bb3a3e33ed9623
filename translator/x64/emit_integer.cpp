// SPDX-License-Identifier: GPL-2.0-only
#include "translator/isa/spr.h"
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;

bool BlockWriter::integer(Instruction insn) {
    const unsigned rt = insn.rt(), ra = insn.ra(), rb = insn.rb();
    auto finish = [&](unsigned gpr, const Gp& value) {
        commit(gpr, value);
        if (insn.records()) record(gpr);
    };
    switch (insn.op) {
    case Op::addi:
    case Op::addis: add_immediate(insn); return true;
    case Op::add: {
        if (!pinned(rt) && (rt == ra || rt == rb)) {
            a_.add(home(rt), read(rt == ra ? rb : ra, host::eax));
        } else if (pinned(ra) && pinned(rb)) {
            const Gp result = destination(rt, host::eax);
            a_.lea(result, host::ptr(pin(ra).r64(), pin(rb).r64()));
            commit(rt, result);
        } else {
            const Gp result = start_result(rt, rt == rb ? rb : ra, rt == rb ? ra : rb);
            emit2(host::Inst::kIdAdd, result, source_operand(rt == rb ? ra : rb));
            commit(rt, result);
        }
        if (insn.records()) record(rt);
        return true;
    }
    case Op::subf: {
        const Gp result = start_result(rt, rb, ra);
        emit2(host::Inst::kIdSub, result, source_operand(ra));
        finish(rt, result);
        return true;
    }
    case Op::neg: {
        const Gp result = start_result(rt, ra, no_register);
        a_.neg(result);
        finish(rt, result);
        return true;
    }
    case Op::mulli: {
        const Gp result = destination(rt, host::eax);
        a_.imul(result, read(ra, host::eax), insn.si());
        commit(rt, result);
        return true;
    }
    case Op::mullw: {
        const Gp result = start_result(rt, rt == rb ? rb : ra, rt == rb ? ra : rb);
        emit2(host::Inst::kIdImul, result, source_operand(rt == rb ? ra : rb));
        finish(rt, result);
        return true;
    }
    case Op::mulhw:
    case Op::mulhwu: {
        const bool is_signed = insn.op == Op::mulhw;
        if (has_bmi2_ && !is_signed) {
            load(host::edx, ra);
            const Gp result = destination(rt, host::eax);
            if (pinned(rb))
                a_.mulx(result, host::ecx, pin(rb));
            else
                a_.mulx(result, host::ecx, home(rb));
            finish(rt, result);
            return true;
        }
        load(host::eax, ra);
        a_.emit(is_signed ? host::Inst::kIdImul : host::Inst::kIdMul, host::edx, host::eax, read(rb, host::ecx));
        finish(rt, host::edx);
        return true;
    }
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
    case Op::extsb:
    case Op::extsh: {
        const Gp result = destination(ra, host::eax), source = read(insn.rs(), host::eax);
        if (insn.op == Op::extsb)
            a_.movsx(result, source.r8());
        else
            a_.movsx(result, source.r16());
        finish(ra, result);
        return true;
    }
    case Op::cntlzw: {
        if (has_lzcnt_) {
            const Gp result = destination(ra, host::eax);
            emit2(host::Inst::kIdLzcnt, result, source_operand(insn.rs()));
            finish(ra, result);
            return true;
        }
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
    default: return carrying(insn);
    }
}

void BlockWriter::add_immediate(Instruction insn) {
    const unsigned rt = insn.rt(), ra = insn.ra();
    const std::int32_t value =
        insn.op == Op::addi ? insn.si() : static_cast<std::int32_t>(static_cast<std::uint32_t>(insn.ui()) << 16);
    if (ra == 0) {
        emit2(host::Inst::kIdMov, source_operand(rt), Imm(value));
    } else if (ra == rt) {
        if (value != 0) emit2(host::Inst::kIdAdd, source_operand(rt), Imm(value));
    } else {
        const Gp result = destination(rt, host::eax);
        a_.lea(result, host::ptr(read(ra, host::eax).r64(), value));
        commit(rt, result);
    }
}

void BlockWriter::logic2(host::Inst::Id id, Instruction insn, bool invert_rb, bool invert_result) {
    const unsigned ra = insn.ra(), rs = insn.rs(), rb = insn.rb();
    if (id == host::Inst::kIdOr && rs == rb && !invert_rb && !invert_result) { // mr
        if (ra != rs) move(ra, rs);
        if (insn.records()) record(ra);
        return;
    }
    if (!pinned(ra) && !invert_rb && !invert_result && (ra == rs || ra == rb)) {
        emit2(id, home(ra), read(ra == rs ? rb : rs, host::eax));
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
        move(to ? ctr_number : insn.rt(), to ? insn.rs() : ctr_number);
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
