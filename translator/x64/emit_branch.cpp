// SPDX-License-Identifier: GPL-2.0-only
#include "translator/isa/spr.h"
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;

void BlockWriter::push_return() {
    const Label full = a_.newLabel(), room = a_.newLabel();
    push_cold(full, [this, room] {
        empty_return_stack(a_);
        a_.jmp(room);
    });
    a_.cmp(host::rsp, host::qword_ptr(state_reg, slot_offset(slot_stack_limit)));
    a_.jb(full);
    a_.bind(room);
    a_.push(Imm(static_cast<std::int32_t>(pc() + 4)));
}

void BlockWriter::come_back() {
    // Links from here are good like any other of this block: if it became stale meanwhile, they are gone.
    a_.add(host::rsp, return_stack_entry - 8);
    // What FPSCR is owed on the way back is the callee's business.
    const FpTrack owed = fp_;
    fp_.word = 0;
    fp_.compared = false;
    go_to(pc() + 4);
    fp_ = owed;
}

void BlockWriter::call_to(std::uint32_t target) {
    if (!optimises(Optimisation::return_stack)) {
        go_to(target);
        return;
    }
    fp_owe();
    leave_assignment();
    push_return();
    if (is_linked(target)) {
        go_to_linked(target, false, true);
        come_back();
        return;
    }
    const Label way = a_.newLabel();
    a_.call(way);
    come_back();
    a_.bind(way);
    go_to(target);
}

void BlockWriter::call_register(const Gp& target) {
    if (!optimises(Optimisation::return_stack)) {
        go_to_register(target);
        return;
    }
    push_return();
    const Label way = a_.newLabel();
    a_.call(way);
    come_back();
    a_.bind(way);
    go_to_register(target);
}

// rax: LR, as push_return() writes it.
void BlockWriter::load_link() { a_.movsxd(host::rax, state32(offsetof(isa::CpuState, lr))); }

void BlockWriter::return_to_register() {
    if (!optimises(Optimisation::return_stack)) {
        go_to_register(host::eax);
        return;
    }
    fp_owe();
    leave_assignment();
    const Label other = a_.newLabel();
    a_.cmp(host::qword_ptr(host::rsp, return_stack_ea), host::rax);
    a_.jne(other);
    a_.ret();
    a_.bind(other);
    go_to_register(host::eax);
}

// eax: CTR, which the instruction before has mostly just written.
void BlockWriter::load_counter_target() {
    unsigned from = ctr_number;
    if (index_ != 0 && index_ != source_.loops_to && !source_.is_joined(index_)) {
        const Instruction before = source_.code[index_ - 1];
        if (before.op == Op::mtspr && before.spr() == isa::spr::ctr) from = before.rs();
    }
    load(host::eax, from);
}

void BlockWriter::branch(Instruction insn) {
    if (insn.op == Op::sc) {
        leave(ExitKind::system_call, insn);
        open_ = false;
        return;
    }
    if (!source_.ended || index_ + 1 != source_.length) {
        branch_in_path(insn);
        return;
    }
    if (insn.op == Op::b) {
        const auto displacement = static_cast<std::uint32_t>(insn.li());
        const std::uint32_t target = insn.aa() ? displacement : pc() + displacement;
        if (insn.lk()) {
            a_.mov(state32(offsetof(isa::CpuState, lr)), pc() + 4);
            call_to(target);
        } else {
            go_to(target);
        }
        return;
    }
    conditional_branch(insn);
}

// Counts or looks at a condition, not both.
void BlockWriter::branch_on(Instruction insn, bool taken, const Label& to) {
    const unsigned bo = insn.bo();
    if ((bo & 0x10) == 0) {
        jump_on_cr_bit(insn.bi(), ((bo & 8) != 0) == taken, to);
        return;
    }
    emit2(host::Inst::kIdSub, source_operand(ctr_number), Imm(1));
    if (((bo & 2) != 0) == taken)
        a_.jz(to);
    else
        a_.jnz(to);
}

void BlockWriter::branch_in_path(Instruction insn) {
    if (insn.op != Op::bclr && insn.lk()) a_.mov(state32(offsetof(isa::CpuState, lr)), pc() + 4);
    if (insn.op == Op::b || (insn.bo() & 0x14) == 0x14) return;
    if ((insn.bo() & 0x10) == 0 && !optimises(Optimisation::flags)) flush_cr(insn.bi() >> 2);
    if (insn.op == Op::bclr) {
        const Label taken = a_.newLabel();
        push_cold(taken, [this] {
            if (left() > 1) a_.add(budget_reg, left() - 1);
            load_link();
            return_to_register();
        });
        branch_on(insn, true, taken);
    } else if (source_.next[index_] == Next::sequential) {
        const auto displacement = static_cast<std::uint32_t>(insn.bd());
        branch_on(insn, true, side_exit(insn.aa() ? displacement : pc() + displacement));
    } else {
        branch_on(insn, false, side_exit(pc() + 4));
    }
}

// At the end of a block.
void BlockWriter::conditional_branch(Instruction insn) {
    const unsigned bo = insn.bo();
    const bool on_condition = (bo & 0x10) == 0;
    const bool counts = (bo & 4) == 0 && insn.op != Op::bcctr; // bcctr that decrements CTR is an invalid form
    const Label not_taken = a_.newLabel();
    if (insn.op == Op::bcctr && (bo & 4) == 0) {
        interpret_and_leave(insn);
        return;
    }
    // The target is read before LR is written: blrl.
    if (insn.op == Op::bclr) load_link();
    if (insn.op == Op::bcctr) load_counter_target();
    if (insn.lk()) a_.mov(state32(offsetof(isa::CpuState, lr)), pc() + 4);
    if (counts) {
        // CTR is decremented whether or not the condition holds.
        load(host::ecx, ctr_number);
        a_.sub(host::ecx, 1);
        commit(ctr_number, host::ecx);
    }
    if (on_condition) jump_on_cr_bit(insn.bi(), (bo & 8) == 0, not_taken);
    if (counts) {
        a_.test(host::ecx, host::ecx);
        if ((bo & 2) != 0)
            a_.jnz(not_taken);
        else
            a_.jz(not_taken);
    }
    const bool conditional = on_condition || counts;
    if (insn.op == Op::bc) {
        const auto displacement = static_cast<std::uint32_t>(insn.bd());
        const std::uint32_t target = insn.aa() ? displacement : pc() + displacement;
        if (insn.lk() && target != pc() + 4)
            call_to(target);
        else
            go_to(target);
    } else {
        if (insn.lk())
            call_register(host::eax);
        else if (insn.op == Op::bclr)
            return_to_register();
        else
            go_to_register(host::eax);
    }
    a_.bind(not_taken);
    if (conditional) go_to(pc() + 4);
}

} // namespace untrap::x64
