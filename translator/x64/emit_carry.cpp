// SPDX-License-Identifier: GPL-2.0-only
// XER[CA]: like a CR field it is stored only when it may be seen, as long as registers tell it (block_writer.h).
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;

namespace {

host::Mem stored_carry() { return state8(offsetof(isa::CpuState, xer_ca)); }

} // namespace

void BlockWriter::set_carry(const Carry& carry) {
    carry_ = carry;
    if (!optimises(Optimisation::lazy_carry)) flush_carry();
}

// A comparison whose outcome is XER[CA]: CF is set if it is (below), or is not (not_above). Clobbers edx.
void BlockWriter::compare_for_carry() {
    if (carry_.kind == Carry::Kind::below) {
        if (carry_.b == Carry::immediate) {
            emit2(host::Inst::kIdCmp, source_operand(carry_.a), Imm(carry_.value));
            return;
        }
        emit2(host::Inst::kIdCmp, read(carry_.a, host::edx), source_operand(carry_.b));
        return;
    }
    if (carry_.b == Carry::immediate)
        a_.mov(host::edx, carry_.value);
    else
        load(host::edx, carry_.b);
    emit2(host::Inst::kIdCmp, host::edx, source_operand(carry_.a));
}

void BlockWriter::flush_carry() {
    if (carry_.stored) return;
    carry_.stored = true;
    compare_for_carry();
    if (carry_.kind == Carry::Kind::below)
        a_.setc(stored_carry());
    else
        a_.setae(stored_carry());
}

bool BlockWriter::carry_spoilt() const {
    const std::uint32_t written = effects_[index_].gpr_written;
    return (written >> carry_.a & 1) != 0 || (carry_.b != Carry::immediate && (written >> carry_.b & 1) != 0);
}

// Whether XER[CA], as it is behind the instruction at hand, may be seen before it is written again.
bool BlockWriter::carry_needed() const {
    unsigned i = index_;
    const unsigned end = this->end();
    for (;;) {
        // Between two passes of a loop the budget may be used up.
        if (++i == end) return true;
        if (effects_[i].observes || effects_[i].carry_read) return true;
        if (effects_[i].carry_written) return false;
    }
}

void BlockWriter::prepare_carry() {
    if (carry_.kind == Carry::Kind::none) return;
    const Effects& effects = effects_[index_];
    if (effects.opaque) {
        flush_carry();
        carry_ = {};
        return;
    }
    // One that is read and written is read from the registers.
    if (!effects.carry_written && carry_spoilt() && carry_needed()) flush_carry();
}

void BlockWriter::settle_carry() {
    if (carry_.kind == Carry::Kind::none || effects_[index_].carry_written) return;
    if (carry_spoilt()) carry_ = {};
}

// Host carry = XER[CA], or its inverse.
void BlockWriter::carry_in(bool inverse) {
    // Still there from the instruction before.
    if (a_.offset() == flags_at_) {
        if (flags_inverse_ != inverse) a_.cmc();
        return;
    }
    if (carry_.kind != Carry::Kind::none) {
        compare_for_carry();
        if ((carry_.kind == Carry::Kind::not_above) != inverse) a_.cmc();
        return;
    }
    // As the byte that it is: the host can not forward a store to a wider load.
    if (inverse) {
        a_.cmp(stored_carry(), 1);
    } else {
        a_.movzx(host::edx, stored_carry());
        a_.add(host::edx, -1);
    }
}

// The carry of the last host instruction, or its inverse, is XER[CA] from now on.
void BlockWriter::carry_out(bool inverse) {
    carry_ = {};
    if (!carry_needed() && optimises(Optimisation::lazy_carry)) return;
    if (inverse)
        a_.setae(stored_carry());
    else
        a_.setc(stored_carry());
}

// The register rt, or eax, with the value of gpr; other: a register that is read after it was written.
host::Gp BlockWriter::start_result(unsigned rt, unsigned gpr, unsigned other) {
    const Gp result = pinned(rt) && rt != other ? pin(rt) : Gp(host::eax);
    if (!(rt == gpr && pinned(rt) && result.id() == pin(rt).id())) load(result, gpr);
    return result;
}

bool BlockWriter::carrying(Instruction insn) {
    const unsigned rt = insn.rt(), ra = insn.ra(), rb = insn.rb();
    const auto byte = [](unsigned gpr) { return static_cast<std::uint8_t>(gpr); };
    Gp result;
    bool inverse = false;
    Carry made{};
    switch (insn.op) {
    case Op::addic:
    case Op::addic_rc:
        if (!pinned(rt) && rt == ra) {
            a_.add(home(rt), insn.si());
            result = host::eax;
        } else {
            result = start_result(rt, ra, no_register);
            a_.add(result, insn.si());
            commit(rt, result);
        }
        made = {Carry::Kind::below, false, byte(rt), Carry::immediate, insn.si()};
        break;
    case Op::addc: {
        // The sum is less than what was added to, if that is still there.
        const unsigned first = rt == rb ? rb : ra, second = rt == rb ? ra : rb;
        result = start_result(rt, first, second);
        emit2(host::Inst::kIdAdd, result, source_operand(second));
        commit(rt, result);
        if (second != rt) made = {Carry::Kind::below, false, byte(rt), byte(second), 0};
        break;
    }
    case Op::subfic:
        if (pinned(rt) && rt == ra) {
            a_.mov(host::eax, insn.si());
            result = host::eax;
        } else {
            result = destination(rt, host::eax);
            a_.mov(result, insn.si());
        }
        emit2(host::Inst::kIdSub, result, source_operand(ra));
        commit(rt, result);
        inverse = true;
        made = {Carry::Kind::not_above, false, byte(rt), Carry::immediate, insn.si()};
        break;
    case Op::subfc:
        result = start_result(rt, rb, ra);
        emit2(host::Inst::kIdSub, result, source_operand(ra));
        commit(rt, result);
        inverse = true;
        if (rt != rb) made = {Carry::Kind::not_above, false, byte(rt), byte(rb), 0};
        break;
    case Op::adde:
        carry_in(false);
        result = start_result(rt, rt == rb ? rb : ra, rt == rb ? ra : rb);
        emit2(host::Inst::kIdAdc, result, source_operand(rt == rb ? ra : rb));
        commit(rt, result);
        break;
    case Op::subfe:
        carry_in(true);
        result = start_result(rt, rb, ra);
        emit2(host::Inst::kIdSbb, result, source_operand(ra));
        commit(rt, result);
        inverse = true;
        break;
    case Op::addme:
    case Op::addze:
    case Op::subfme:
    case Op::subfze:
        carry_in(false);
        result = start_result(rt, ra, no_register);
        if (insn.op == Op::subfme || insn.op == Op::subfze) a_.not_(result);
        a_.adc(result, insn.op == Op::addme || insn.op == Op::subfme ? -1 : 0);
        commit(rt, result);
        break;
    default: return false;
    }
    if (made.kind == Carry::Kind::none)
        carry_out(inverse);
    else
        set_carry(made);
    // What follows directly finds the carry where the host has it: moves and setcc leave it alone.
    if (made.kind == Carry::Kind::none || !carry_.stored) {
        flags_at_ = a_.offset();
        flags_inverse_ = inverse;
    }
    if (insn.records()) record(rt);
    return true;
}

} // namespace untrap::x64
