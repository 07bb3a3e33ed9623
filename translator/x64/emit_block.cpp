// SPDX-License-Identifier: GPL-2.0-only
#include <cstring>

#include "translator/isa/spr.h"
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;

namespace {

bool switches_context(const plan::Patch& patch) {
    for (const plan::Step& step : patch.steps)
        if (step.kind == plan::StepKind::switch_pid) return true;
    return false;
}

// May change XER[SO], which is part of the mode.
bool may_set_summary_overflow(Instruction insn) {
    if (insn.records_overflow() || insn.op == Op::mcrxr) return true;
    return insn.op == Op::mtspr && insn.spr() == isa::spr::xer;
}

// Leaves generated code without completing.
bool only_leaves(Instruction insn, const plan::Patch& patch, std::uint32_t mode_bits) {
    if (insn.op == Op::illegal || insn.op == Op::sc) return true;
    if (insn.privileged()) return (mode_bits & mode::pr) != 0 || patch.level == 0 || patch.level > 2;
    if (insn.has(flag::fp)) return (mode_bits & mode::fp) == 0;
    return (insn.op == Op::tw || insn.op == Op::twi) && insn.to() == 31;
}

} // namespace

bool ends_block(Instruction insn, const plan::Patch& patch, std::uint32_t mode_bits) {
    return only_leaves(insn, patch, mode_bits) || insn.has(flag::ends) || may_set_summary_overflow(insn) ||
           switches_context(patch);
}

BlockWriter::BlockWriter(CodeHolder& code, const BlockSource& source, const Thunks& thunks, Optimisations optimisations,
                         const std::array<ExitLink*, 2>& link_address)
    : a_(&code), source_(source), thunks_(thunks), optimisations_(optimisations), link_address_(link_address),
      has_movbe_(optimises(Optimisation::movbe) && CpuInfo::host().features().x86().hasMOVBE()) {
    completed_ = source.length;
    if (only_leaves(source.code[source.length - 1], source.patches[source.length - 1], source.mode)) --completed_;
}

EmittedBlock BlockWriter::write(std::uint8_t* base) {
    base_ = base;
    const Label reentry = a_.newLabel(), over = a_.newLabel();
    // The budget is taken for the whole block at its entry; what leaves early gives the rest back. An ending
    // instruction that only leaves takes nothing, but is not reached with a budget used up: it belongs to the next run.
    const bool ends_by_leaving = completed_ != source_.length;
    if (ends_by_leaving) {
        a_.cmp(budget_reg, source_.length);
        a_.jl(over);
        if (completed_ != 0) a_.sub(budget_reg, completed_);
    } else {
        a_.sub(budget_reg, completed_);
        a_.js(over);
    }
    cold_.push_back({over, 0, [this, ends_by_leaving] {
                         if (!ends_by_leaving) a_.add(budget_reg, completed_);
                         a_.mov(state32(offsetof(isa::CpuState, pc)), source_.ea);
                         a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::budget));
                         a_.jmp(thunks_.exit);
                     }});
    for (index_ = 0; index_ < source_.length; ++index_) instruction(source_.code[index_], source_.patches[index_]);
    if (open_) {
        drop_flags();
        if (context_switched_ && (source_.mode & mode::global) == 0) {
            a_.mov(host::eax, pc());
            go_to_register(host::eax);
        } else {
            go_to(pc());
        }
    }
    // Bodies may append further cold code.
    for (std::size_t i = 0; i < cold_.size(); ++i) {
        a_.bind(cold_[i].label);
        index_ = cold_[i].index;
        const auto body = cold_[i].body;
        body();
    }
    a_.bind(reentry);
    out_.reentry = a_.offset();
    a_.mov(state32(offsetof(isa::CpuState, pc)), source_.ea);
    a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
    a_.jmp(thunks_.exit);
    out_.completed = completed_;
    return out_;
}

// -- guest registers ---------------------------------------------------------------------------------------------

host::Gp BlockWriter::read(unsigned gpr, const Gp& scratch) {
    if (pinned(gpr)) return pin(gpr);
    a_.mov(scratch, home(gpr));
    return scratch;
}

void BlockWriter::load(const Gp& into, unsigned gpr) {
    if (pinned(gpr))
        a_.mov(into, pin(gpr));
    else
        a_.mov(into, home(gpr));
}

Operand BlockWriter::source_operand(unsigned gpr) const {
    if (pinned(gpr)) return pin(gpr);
    return home(gpr);
}

void BlockWriter::commit(unsigned gpr, const Gp& value) {
    if (!pinned(gpr))
        a_.mov(home(gpr), value);
    else if (pin(gpr).id() != value.id())
        a_.mov(pin(gpr), value);
}

void BlockWriter::emit2(host::Inst::Id id, const Operand& to, const Operand& from) {
    a_.emit(id, reinterpret_cast<const Operand_&>(to), reinterpret_cast<const Operand_&>(from));
}

// -- leaving -----------------------------------------------------------------------------------------------------

void BlockWriter::leave(ExitKind kind, Instruction insn) {
    if (left() != 0) a_.add(budget_reg, left());
    a_.mov(state32(offsetof(isa::CpuState, pc)), pc());
    a_.mov(host::edx, insn.word);
    a_.mov(host::eax, static_cast<std::uint32_t>(kind));
    a_.jmp(thunks_.exit);
}

Label BlockWriter::cold_leave(ExitKind kind, Instruction insn) {
    const Label label = a_.newLabel();
    cold_.push_back({label, index_, [this, kind, insn] { leave(kind, insn); }});
    return label;
}

void BlockWriter::interpret(Instruction insn) {
    a_.mov(state32(offsetof(isa::CpuState, pc)), pc());
    a_.mov(host::ecx, insn.word);
    a_.mov(host::edx, left());
    a_.call(thunks_.interpret);
    drop_flags();
}

void BlockWriter::interpret_and_leave(Instruction insn) {
    interpret(insn); // also sets pc to the next instruction
    a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
    a_.jmp(thunks_.exit);
    open_ = false;
}

Label BlockWriter::slow_access(Instruction insn) {
    const Label slow = a_.newLabel(), resume = a_.newLabel();
    cold_.push_back({slow, index_, [this, insn, resume] {
                         a_.mov(state32(offsetof(isa::CpuState, pc)), pc());
                         a_.mov(host::ecx, insn.word);
                         a_.mov(host::edx, left());
                         a_.call(thunks_.access);
                         a_.jmp(resume);
                     }});
    resume_ = resume;
    return slow;
}

void BlockWriter::go_to(std::uint32_t target) {
    open_ = false;
    if (target >= source_.link_first && target <= source_.link_last) {
        const unsigned number = out_.link_count++;
        const Label stub_label = a_.newLabel();
        out_.links[number].target_ea = target;
        out_.links[number].site = base_ + a_.offset();
        a_.long_().jmp(stub_label);
        cold_.push_back({stub_label, index_, [this, number, target] {
                             out_.links[number].stub = base_ + a_.offset();
                             a_.mov(state32(offsetof(isa::CpuState, pc)), target);
                             a_.mov(host::rdx, reinterpret_cast<std::uint64_t>(link_address_[number]));
                             a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::link));
                             a_.jmp(thunks_.exit);
                         }});
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
    cold_.push_back({missing, index_, [this, target] {
                         a_.mov(state32(offsetof(isa::CpuState, pc)), target);
                         a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
                         a_.jmp(thunks_.exit);
                     }});
}

void BlockWriter::go_to_register(const Gp& target) {
    open_ = false;
    if (!optimises(Optimisation::jump_cache)) {
        go_to_dispatcher(target);
        return;
    }
    const Label missing = a_.newLabel();
    a_.mov(host::ecx, target);
    a_.and_(host::ecx, (jump_cache_entries - 1) << 2);
    a_.mov(host::rdx, host::qword_ptr(state_reg, slot_offset(slot_jump_cache)));
    a_.lea(host::rdx, host::ptr(host::rdx, host::rcx, jump_cache_entry_shift - 2));
    a_.cmp(host::dword_ptr(host::rdx), target);
    a_.jne(missing);
    a_.jmp(host::qword_ptr(host::rdx, 8));
    cold_.push_back({missing, index_, [this, target] {
                         a_.mov(state32(offsetof(isa::CpuState, pc)), target);
                         a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
                         a_.jmp(thunks_.exit);
                     }});
}

void BlockWriter::go_to_dispatcher(const Gp& target) {
    a_.mov(state32(offsetof(isa::CpuState, pc)), target);
    a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
    a_.jmp(thunks_.exit);
}

// -- instructions ------------------------------------------------------------------------------------------------

void BlockWriter::instruction(Instruction insn, const plan::Patch& patch) {
    resume_ = Label();
    if (insn.op == Op::illegal) {
        leave(ExitKind::illegal, insn);
        open_ = false;
        return;
    }
    if (insn.privileged()) {
        stub(insn, patch);
        return;
    }
    if (insn.has(flag::fp) && (source_.mode & mode::fp) == 0) {
        leave(ExitKind::fp_unavailable, insn);
        open_ = false;
        return;
    }
    if (insn.has(flag::branch)) {
        branch(insn);
        return;
    }
    if (insn.op == Op::tw || insn.op == Op::twi) {
        trap_instruction(insn);
        return;
    }
    if (insn.op == Op::isync) {
        return; // ends the block: the next one is looked up in the context of then
    }
    if (may_set_summary_overflow(insn)) {
        interpret_and_leave(insn);
        return;
    }
    // With SO set every compare and every recording instruction copies it: the interpreter does those.
    if ((source_.mode & mode::so) != 0 && (insn.records() || insn.op == Op::cmp || insn.op == Op::cmpi ||
                                           insn.op == Op::cmpl || insn.op == Op::cmpli || insn.op == Op::stwcx_rc)) {
        interpret(insn);
        return;
    }
    keep_flags_ = false;
    if (insn.has(flag::load | flag::store | flag::cache)) {
        if (!storage(insn))
            interpret(insn);
        else if (resume_.isValid())
            a_.bind(resume_);
    } else if (!integer(insn)) {
        interpret(insn);
    }
    if (!keep_flags_) drop_flags();
}

void BlockWriter::stub(Instruction insn, const plan::Patch& patch) {
    using plan::StepKind;
    if (only_leaves(insn, patch, source_.mode)) {
        leave(ExitKind::privileged, insn);
        open_ = false;
        return;
    }
    drop_flags();
    const Mem msr = state32(static_cast<std::size_t>(page_offset(offsetof(isa::StatePage, msr))));
    const Mem pending = state32(static_cast<std::size_t>(page_offset(offsetof(isa::StatePage, pending))));
    for (const plan::Step& step : patch.steps) {
        const Mem field = state32(static_cast<std::size_t>(page_offset(step.field)));
        switch (step.kind) {
        case StepKind::end: return;
        case StepKind::nothing: break;
        case StepKind::load_field: {
            const Gp value = destination(step.gpr, host::eax);
            a_.mov(value, field);
            commit(step.gpr, value);
            break;
        }
        case StepKind::store_field: a_.mov(field, read(step.gpr, host::eax)); break;
        case StepKind::store_field_masked:
            load(host::eax, step.gpr);
            a_.and_(host::eax, step.value);
            a_.mov(field, host::eax);
            break;
        case StepKind::set_msr_bits: a_.or_(msr, step.value); break;
        case StepKind::clear_msr_bits: a_.and_(msr, ~step.value); break;
        case StepKind::copy_msr_bits:
            load(host::eax, step.gpr);
            a_.mov(host::ecx, msr);
            a_.and_(host::eax, step.value);
            a_.and_(host::ecx, ~step.value);
            a_.or_(host::eax, host::ecx);
            a_.mov(msr, host::eax);
            break;
        case StepKind::trap_if_msr_changes:
            load(host::eax, step.gpr);
            a_.xor_(host::eax, msr);
            a_.test(host::eax, step.value);
            a_.jnz(cold_leave(ExitKind::privileged, insn));
            break;
        case StepKind::trap_if_pending: {
            const Label none = a_.newLabel();
            if (step.gpr != plan::any_gpr) {
                a_.test(read(step.gpr, host::eax), step.value);
                a_.jz(none);
            }
            a_.cmp(pending, 0);
            a_.jne(cold_leave(ExitKind::privileged, insn));
            a_.bind(none);
            break;
        }
        case StepKind::switch_pid:
            load(host::eax, step.gpr);
            a_.and_(host::eax, step.value);
            a_.mov(state32(static_cast<std::size_t>(page_offset(offsetof(isa::StatePage, pid)))), host::eax);
            a_.call(thunks_.switch_context);
            context_switched_ = true;
            break;
        }
    }
}

void BlockWriter::branch(Instruction insn) {
    switch (insn.op) {
    case Op::sc:
        leave(ExitKind::system_call, insn);
        open_ = false;
        return;
    case Op::b: {
        const auto displacement = static_cast<std::uint32_t>(insn.li());
        if (insn.lk()) a_.mov(state32(offsetof(isa::CpuState, lr)), pc() + 4);
        go_to(insn.aa() ? displacement : pc() + displacement);
        return;
    }
    default: conditional_branch(insn); return;
    }
}

void BlockWriter::conditional_branch(Instruction insn) {
    const unsigned bo = insn.bo();
    const bool on_condition = (bo & 0x10) == 0;
    const bool counts = (bo & 4) == 0 && insn.op != Op::bcctr; // bcctr that decrements CTR is an invalid form
    const Label not_taken = a_.newLabel();
    // The target is read before LR is written: blrl.
    if (insn.op == Op::bclr) a_.mov(host::eax, state32(offsetof(isa::CpuState, lr)));
    if (insn.op == Op::bcctr) a_.mov(host::eax, state32(offsetof(isa::CpuState, ctr)));
    if (insn.op == Op::bcctr && (bo & 4) == 0) {
        interpret_and_leave(insn);
        return;
    }
    if (insn.lk()) a_.mov(state32(offsetof(isa::CpuState, lr)), pc() + 4);
    if (counts) {
        // CTR is decremented whether or not the condition holds; dec of memory would spoil the flags of a compare.
        a_.mov(host::ecx, state32(offsetof(isa::CpuState, ctr)));
        a_.lea(host::ecx, host::ptr(host::rcx, -1));
        a_.mov(state32(offsetof(isa::CpuState, ctr)), host::ecx);
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
        go_to(insn.aa() ? displacement : pc() + displacement);
    } else {
        a_.and_(host::eax, ~3U);
        go_to_register(host::eax);
    }
    a_.bind(not_taken);
    if (conditional) go_to(pc() + 4);
}

void BlockWriter::trap_instruction(Instruction insn) {
    const unsigned to = insn.to();
    if (to == 31) {
        leave(ExitKind::trap_condition, insn);
        open_ = false;
        return;
    }
    if (to == 0) return;
    const Label trap = cold_leave(ExitKind::trap_condition, insn);
    const Gp value = read(insn.ra(), host::eax);
    if (insn.op == Op::twi)
        a_.cmp(value, insn.si());
    else
        emit2(host::Inst::kIdCmp, value, source_operand(insn.rb()));
    if ((to & 16) != 0) a_.jl(trap);
    if ((to & 8) != 0) a_.jg(trap);
    if ((to & 4) != 0) a_.je(trap);
    if ((to & 2) != 0) a_.jb(trap);
    if ((to & 1) != 0) a_.ja(trap);
    drop_flags();
}

// -- BlockEmitter ------------------------------------------------------------------------------------------------

BlockEmitter::BlockEmitter(const Thunks& thunks, Optimisations optimisations)
    : thunks_(thunks), optimisations_(optimisations) {}

EmittedBlock BlockEmitter::emit(const BlockSource& source, std::uint8_t* base, std::size_t room,
                                const std::array<ExitLink*, 2>& link_address) {
    code_.reset();
    if (code_.init(Environment::host(), reinterpret_cast<std::uint64_t>(base)) != kErrorOk) return {};
    BlockWriter writer(code_, source, thunks_, optimisations_, link_address);
    EmittedBlock block = writer.write(base);
    if (code_.flatten() != kErrorOk || code_.hasUnresolvedLinks() || code_.codeSize() > room) return {};
    block.size = code_.textSection()->bufferSize();
    std::memcpy(base, code_.textSection()->data(), block.size);
    return block;
}

} // namespace untrap::x64
