// SPDX-License-Identifier: GPL-2.0-only
// How a block is left: to other blocks, to the dispatcher, to helpers that come back.
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
namespace flag = isa::flag;

// eax: the kind; rdx: the information that goes with it.
void BlockWriter::leave_for(ExitKind kind, std::uint32_t pc_then) {
    fp_owe();
    leave_assignment();
    FixedCode code = fixed_code();
    code.store(offsetof(isa::CpuState, pc), pc_then);
    code.set(host::eax, static_cast<std::uint32_t>(kind));
    code.jump(thunks_.exit);
    put(code);
}

void BlockWriter::leave_for_budget(std::uint32_t pc_then) {
    FixedCode code = fixed_code();
    code.set(host::edx, source_.number);
    put(code);
    leave_for(ExitKind::budget, pc_then);
}

// The host's flags then tell what is left.
void BlockWriter::change_budget(int by) {
    FixedCode code = fixed_code();
    if (by < 0)
        code.subtract_budget(static_cast<std::uint32_t>(-by));
    else
        code.add_budget(static_cast<std::uint32_t>(by));
    put(code);
}

void BlockWriter::put_helper_arguments(Instruction insn) {
    static_assert(offsetof(isa::CpuState, pc) > 0x7F);
    FixedCode code = fixed_code();
    code.store(offsetof(isa::CpuState, pc), pc());
    code.set(host::ecx, insn.word);
    code.set(host::edx, left());
    put(code);
}

void BlockWriter::leave(ExitKind kind, Instruction insn) {
    if (left() != 0) change_budget(static_cast<int>(left()));
    FixedCode code = fixed_code();
    code.set(host::edx, insn.word);
    put(code);
    leave_for(kind, pc());
}

Label BlockWriter::cold_leave(ExitKind kind, Instruction insn) {
    const Label label = a_.newLabel();
    push_cold(label, [this, kind, insn] { leave(kind, insn); });
    return label;
}

Label BlockWriter::side_exit(std::uint32_t target) {
    const Label label = a_.newLabel();
    for (unsigned number = 0; number < source_.tail_count; ++number) {
        if (source_.tails[number].branch != index_) continue;
        tail_entries_[number] = {label, known(), assigned_now_};
        return label;
    }
    push_cold(label, [this, target] {
        if (left() > 1) change_budget(static_cast<int>(left() - 1));
        go_to(target);
    });
    return label;
}

void BlockWriter::interpret(Instruction insn) {
    flush_lazy();
    put_helper_arguments(insn);
    call_helper(thunks_.interpret, true);
}

void BlockWriter::interpret_and_leave(Instruction insn) {
    interpret(insn); // also sets pc to the next instruction
    leave_assignment();
    a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
    a_.jmp(thunks_.exit);
    open_ = false;
}

// XER[SO] mostly stays as the mode of the block has it.
void BlockWriter::interpret_summary_overflow(Instruction insn) {
    interpret(insn); // also sets pc to the next instruction
    const Label other = a_.newLabel();
    a_.cmp(state8(offsetof(isa::CpuState, xer_so)), (source_.mode & mode::so) != 0 ? 1 : 0);
    a_.jne(other);
    push_cold(other, [this] {
        leave_assignment();
        a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
        a_.jmp(thunks_.exit);
    });
    go_to(pc() + 4);
}

Label BlockWriter::slow_access(Instruction insn) {
    const Label slow = a_.newLabel(), resume = a_.newLabel();
    push_cold(slow, [this, insn, resume] {
        effective_address(insn, host::eax);
        put_helper_arguments(insn);
        call_helper(thunks_.access, true);
        if (source_.mapped) load_flat_pages();
        a_.jmp(resume);
    });
    resume_ = resume;
    return slow;
}

void BlockWriter::go_to(std::uint32_t target) {
    open_ = false;
    fp_owe();
    leave_assignment();
    if (is_linked(target)) {
        go_to_linked(target, false, false);
        return;
    }
    if (!optimises(Optimisation::jump_cache)) {
        a_.mov(host::ecx, target);
        go_to_dispatcher(host::ecx);
        return;
    }
    const Label missing = a_.newLabel();
    const auto offset = static_cast<std::int32_t>(jump_cache_index(target) << jump_cache_entry_shift);
    a_.mov(host::rdx, host::qword_ptr(state_reg, slot_offset(slot_jump_cache)));
    a_.cmp(host::dword_ptr(host::rdx, offset), target);
    a_.jne(missing);
    a_.jmp(host::qword_ptr(host::rdx, offset + 8));
    push_cold(missing, [this, target] {
        fp_ = {};
        leave_for(ExitKind::lookup, target);
    });
}

bool BlockWriter::is_linked(std::uint32_t target) const {
    return target >= source_.link_first && target <= source_.link_last;
}

void BlockWriter::go_to_linked(std::uint32_t target, bool apart, bool call) {
    const unsigned number = out_.link_count++;
    const Label stub_label = a_.newLabel();
    out_.links[number] = {.target_ea = target, .site = base_ + a_.offset(), .apart = apart};
    if (call)
        a_.call(stub_label);
    else
        a_.long_().jmp(stub_label);
    push_cold(stub_label, [this, number, target] {
        fp_ = {};
        out_.links[number].stub = base_ + a_.offset();
        FixedCode code = fixed_code();
        code.set(host::edx, first_link_ + number);
        put(code);
        leave_for(ExitKind::link, target);
    });
}

void BlockWriter::go_to_apart() {
    open_ = false;
    fp_owe();
    leave_assignment();
    go_to_linked(pc(), true, false);
}

void BlockWriter::go_to_register(const Gp& target) {
    open_ = false;
    fp_owe();
    leave_assignment();
    a_.and_(target, ~3U);
    if (!optimises(Optimisation::jump_cache)) {
        go_to_dispatcher(target);
        return;
    }
    const Label missing = a_.newLabel();
    a_.mov(host::ecx, target);
    a_.and_(host::ecx, (jump_cache_entries - 1) << 2);
    a_.mov(host::rdx, host::qword_ptr(state_reg, slot_offset(slot_jump_cache)));
    a_.cmp(host::dword_ptr(host::rdx, host::rcx, jump_cache_entry_shift - 2), target);
    a_.jne(missing);
    a_.jmp(host::qword_ptr(host::rdx, host::rcx, jump_cache_entry_shift - 2, 8));
    push_cold(missing, [this, target] { go_to_dispatcher(target); });
}

void BlockWriter::go_to_dispatcher(const Gp& target) {
    a_.mov(state32(offsetof(isa::CpuState, pc)), target);
    a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
    a_.jmp(thunks_.exit);
}

} // namespace untrap::x64
