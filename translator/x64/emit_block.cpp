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

} // namespace

bool only_leaves(Instruction insn, const plan::Patch& patch, std::uint32_t mode_bits) {
    if (insn.op == Op::illegal || insn.op == Op::sc) return true;
    if (insn.privileged()) return (mode_bits & mode::pr) != 0 || patch.level == 0 || patch.level == 3;
    if (insn.has(flag::fp)) return (mode_bits & mode::fp) == 0;
    return (insn.op == Op::tw || insn.op == Op::twi) && insn.to() == 31;
}

bool ends_block(Instruction insn, const plan::Patch& patch, std::uint32_t mode_bits) {
    return only_leaves(insn, patch, mode_bits) || insn.has(flag::ends) || may_set_summary_overflow(insn) ||
           switches_context(patch);
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
    if (insn.has(flag::fp) && fp_instruction(insn)) {
        if (resume_.isValid()) a_.bind(resume_);
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
        interpret_summary_overflow(insn);
        return;
    }
    if ((source_.mode & mode::so) != 0 && copies_summary_overflow(insn)) {
        interpret(insn);
        return;
    }
    if (insn.has(flag::load | flag::store | flag::cache)) {
        if (!storage(insn))
            interpret(insn);
        else if (resume_.isValid())
            a_.bind(resume_);
    } else if (constants_[index_].known) {
        const unsigned target = insn.op == Op::ori || insn.op == Op::oris || insn.op == Op::or_ || insn.op == Op::rlwinm
                                    ? insn.ra()
                                    : insn.rt();
        emit2(host::Inst::kIdMov, source_operand(target), Imm(constants_[index_].value));
    } else if (!integer(insn)) {
        interpret(insn);
    }
}

// Results that are the same whenever the block runs.
void BlockWriter::find_constants() {
    constants_.reset();
    if (!optimises(Optimisation::constants)) return;
    KnownValues values;
    for (unsigned i = 0; i < source_.length; ++i) {
        const Instruction insn = source_.code[i];
        if (i == source_.loops_to || source_.is_joined(i)) values.forget_all();
        values.execute(insn, effects_[i], source_.pc[i]);
        if (insn.records() || effects_[i].opaque) continue;
        unsigned target = 32;
        switch (insn.op) {
        case Op::addi:
        case Op::addis:
        case Op::add: target = insn.rt(); break;
        case Op::mfspr:
            if (insn.spr() == isa::spr::lr) target = insn.rt();
            break;
        case Op::ori:
        case Op::oris:
        case Op::or_:
        case Op::rlwinm: target = insn.ra(); break;
        default: break;
        }
        if (target != 32 && values[target].constant()) constants_[i] = {true, values[target].offset};
    }
}

void BlockWriter::stub(Instruction insn, const plan::Patch& patch) {
    using plan::StepKind;
    if (only_leaves(insn, patch, source_.mode)) {
        leave(ExitKind::privileged, insn);
        open_ = false;
        return;
    }
    if (patch.level == in_handler_level) {
        write_tlb(insn);
        return;
    }
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
            call_helper(thunks_.switch_context, false);
            context_switched_ = true;
            break;
        }
    }
}

void BlockWriter::write_tlb(Instruction insn) {
    a_.mov(state32(offsetof(isa::CpuState, pc)), pc());
    load(host::eax, insn.ra());
    load(host::ecx, insn.rs());
    a_.mov(host::edx, (insn.ws() & 3) | left() << 8);
    call_helper(thunks_.write_tlb, false);
    a_.jz(cold_leave(ExitKind::privileged, insn));
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
}

// -- BlockEmitter ------------------------------------------------------------------------------------------------

HostFeatures HostFeatures::of_this_host() {
    const CpuFeatures::X86& features = CpuInfo::host().features().x86();
    return {.movbe = features.hasMOVBE(), .bmi2 = features.hasBMI2(), .lzcnt = features.hasLZCNT()};
}

BlockEmitter::BlockEmitter(const Thunks& thunks, Optimisations optimisations, HostFeatures features)
    : thunks_(thunks), optimisations_(optimisations), features_(features) {}

const EmittedBlock& BlockEmitter::emit(const BlockSource& source, std::uint8_t* base, std::size_t room,
                                       std::uint32_t first_link) {
    code_.reset();
    emitted_.size = 0;
    emitted_.link_count = 0;
    emitted_.mapped.clear();
    if (code_.init(Environment::host(), reinterpret_cast<std::uint64_t>(base)) != kErrorOk) return emitted_;
    BlockWriter writer(code_, source, thunks_, optimisations_, features_, first_link, emitted_);
    writer.write(base);
    if (code_.flatten() != kErrorOk || code_.hasUnresolvedLinks() || code_.codeSize() > room) return emitted_;
    emitted_.size = code_.textSection()->bufferSize();
    std::memcpy(base, code_.textSection()->data(), emitted_.size);
    return emitted_;
}

} // namespace untrap::x64
