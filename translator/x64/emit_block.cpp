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
    if (insn.privileged()) return (mode_bits & mode::pr) != 0 || patch.level == 0 || patch.level == 3;
    if (insn.has(flag::fp)) return (mode_bits & mode::fp) == 0;
    return (insn.op == Op::tw || insn.op == Op::twi) && insn.to() == 31;
}

} // namespace

bool ends_block(Instruction insn, const plan::Patch& patch, std::uint32_t mode_bits) {
    return only_leaves(insn, patch, mode_bits) || insn.has(flag::ends) || may_set_summary_overflow(insn) ||
           switches_context(patch);
}

BlockWriter::BlockWriter(CodeHolder& code, const BlockSource& source, const Thunks& thunks, Optimisations optimisations,
                         HostFeatures features, std::uint32_t first_link, EmittedBlock& out)
    : a_(&code), source_(source), thunks_(thunks), optimisations_(optimisations), first_link_(first_link), out_(out),
      has_movbe_(optimises(Optimisation::movbe) && features.movbe),
      has_bmi2_(optimises(Optimisation::bmi) && features.bmi2),
      has_lzcnt_(optimises(Optimisation::bmi) && features.lzcnt), fp_host_(thunks.fp.host) {
    for (unsigned number = 0; number < 32; ++number)
        fpr_xmm_[number] = static_cast<std::uint8_t>(xmm_of_fpr(fp_host_, number));
    const unsigned last = source.length - 1;
    completed_ = source.length;
    if (only_leaves(source.code[last], source.patches[last], source.mode)) --completed_;
    for (unsigned i = 0; i < source.length; ++i)
        effects_[i] = effects_of(source.code[i], source.mode | (fp_host_.avx ? 0 : mode::fp_enables));
    plan_page_checks(source,
                     {.share = optimises(Optimisation::page_checks) && (source.mode & mode::apart) == 0,
                      .windows = optimises(Optimisation::page_windows),
                      .fp = fp_host_.avx && optimises(Optimisation::fp_page_checks),
                      .known = optimises(Optimisation::constants)},
                     page_checks_);
    find_constants();
    choose_assignment();
}

void BlockWriter::write(std::uint8_t* base) {
    base_ = base;
    const Label reentry = a_.newLabel(), over = a_.newLabel();
    if (source_.runs_left != nullptr) count_run();
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
    push_cold(over, [this, ends_by_leaving] {
        if (!ends_by_leaving) a_.add(budget_reg, completed_);
        leave_for(ExitKind::budget, source_.ea);
    });
    for (index_ = 0; index_ < source_.length; ++index_) {
        if (index_ == source_.loops_to) {
            enter_assignment();
            a_.bind(loop_head_);
            loop_cr_ = cr_;
            loop_carry_ = carry_;
            slot_in_rcx_ = no_slot;
            flags_at_ = no_flags;
            loop_fp_ = fp_;
        }
        out_.starts[index_] = static_cast<std::uint32_t>(a_.offset());
        if (source_.ended && index_ + 1 == source_.length) flush_lazy();
        prepare_cr();
        prepare_carry();
        instruction(source_.code[index_], source_.patches[index_]);
        settle_cr();
        settle_carry();
        const PageCheck& check = page_checks_[index_];
        if (!keeps_rcx(source_.code[index_]))
            slot_in_rcx_ = no_slot;
        else if (check.role != PageCheck::Role::alone)
            slot_in_rcx_ = check.slot;
    }
    if (open_) {
        if (source_.loops_to != BlockSource::no_loop) {
            close_loop();
        } else {
            flush_lazy();
            if (context_switched_ && (source_.mode & mode::global) == 0) {
                a_.mov(host::eax, source_.goes_on);
                go_to_register(host::eax);
            } else {
                go_to(source_.goes_on);
            }
        }
    }
    out_.cold = a_.offset();
    in_cold_ = true;
    // Bodies may append further cold code.
    for (std::size_t i = 0; i < cold_.size(); ++i) {
        a_.bind(cold_[i].label);
        index_ = cold_[i].index;
        cr_ = cold_[i].cr;
        carry_ = cold_[i].carry;
        flags_at_ = no_flags;
        assigned_now_ = cold_[i].assigned;
        fp_ = cold_[i].fp;
        assigned_ = assigned_now_ ? loop_assigned_ : common_assignment;
        const auto body = std::move(cold_[i].body);
        flush_lazy();
        body();
    }
    a_.bind(reentry);
    out_.reentry = a_.offset();
    assigned_now_ = false;
    fp_ = {};
    leave_for(ExitKind::lookup, source_.ea);
    out_.completed = completed_;
}

void BlockWriter::count_run() {
    Mem left = host::dword_ptr(reinterpret_cast<std::uint64_t>(source_.runs_left));
    left.setRel();
    const Label hot = a_.newLabel();
    a_.sub(left, 1);
    a_.js(hot);
    push_cold(hot, [this, left] {
        Mem address = left;
        address.setSize(8);
        a_.lea(host::rdx, address);
        leave_for(ExitKind::hot, source_.ea);
    });
}

void BlockWriter::push_cold(const Label& label, std::function<void()> body) {
    cold_.push_back({label, index_, cr_, carry_, assigned_now_, fp_, std::move(body)});
}

void BlockWriter::push_detour(const Label& label, std::function<void()> body) {
    cold_.push_back({label, index_, {}, {}, assigned_now_, fp_, std::move(body)});
}

// The state is that at the head of the loop already, but for what the next pass writes anew.
void BlockWriter::close_loop() {
    bool same = true;
    for (unsigned field = 0; field < 8; ++field) {
        const Compare& head = loop_cr_[field];
        Compare& here = cr_[field];
        if (head.kind == Compare::Kind::none || head.stored) flush_cr(field);
        same &= head.kind == Compare::Kind::none || head.describes_same(here);
    }
    if (loop_carry_.kind == Carry::Kind::none || loop_carry_.stored) flush_carry();
    same &= loop_carry_.kind == Carry::Kind::none || loop_carry_.describes_same(carry_);
    if (loop_fp_.ready) fp_ready();
    same &= loop_fp_.owes_same(fp_);
    if (!same) {
        flush_lazy();
        go_to(source_.goes_on);
        return;
    }
    const unsigned pass = completed_ - source_.loops_to;
    a_.sub(budget_reg, pass);
    a_.jns(loop_head_);
    a_.add(budget_reg, pass);
    flush_lazy();
    leave_for(ExitKind::budget, source_.goes_on);
}

// -- choice of host registers ------------------------------------------------------------------------------------

namespace {

// Registers in the instruction's fields, CTR as number 32.
template <typename Use>
void for_each_register(Instruction insn, Use&& use) {
    using isa::Form;
    const unsigned rt = insn.rt(), ra = insn.ra(), rb = insn.rb();
    switch (insn.info().form) {
    case Form::d_arith:
    case Form::d_logic:
    case Form::x_logic1:
    case Form::x_shift_imm:
    case Form::m_imm:
    case Form::xo_ra: use(rt), use(ra); break;
    case Form::d_arith0:
    case Form::d_mem:
        use(rt);
        if (ra != 0) use(ra);
        break;
    case Form::d_cmp:
    case Form::d_cmpl:
    case Form::d_trap:
    case Form::d_fmem: use(ra); break;
    case Form::xo:
    case Form::x_logic:
    case Form::m_reg: use(rt), use(ra), use(rb); break;
    case Form::x_mem:
        use(rt), use(rb);
        if (ra != 0) use(ra);
        break;
    case Form::x_cmp:
    case Form::x_trap:
    case Form::x_fmem:
    case Form::cache: use(ra), use(rb); break;
    case Form::x_rt:
    case Form::xfx_mtcrf: use(rt); break;
    case Form::xfx_spr:
        use(rt);
        if (insn.spr() == isa::spr::ctr) use(32);
        break;
    case Form::b:
        if ((insn.bo() & 4) == 0) use(32), use(32);
        break;
    default: break;
    }
}

} // namespace

void BlockWriter::choose_assignment() {
    auto& chosen = loop_assigned_;
    const auto has_register = [&chosen](unsigned i) { return chosen[i] != not_pinned; };
    if (source_.loops_to == BlockSource::no_loop || !optimises(Optimisation::loop_registers)) return;
    std::array<unsigned, 33> uses{};
    for (unsigned i = source_.loops_to; i < source_.length; ++i) {
        if (effects_[i].opaque) return;
        for_each_register(source_.code[i], [&uses](unsigned number) { ++uses[number]; });
    }
    for (;;) {
        constexpr unsigned none = 33;
        unsigned most = none, least = none;
        for (unsigned i = 0; i < chosen.size(); ++i) {
            unsigned& found = has_register(i) ? least : most;
            if (found == none || (has_register(i) ? uses[i] < uses[found] : uses[i] > uses[found])) found = i;
        }
        // Coming and going cost two moves each way.
        if (uses[most] < uses[least] + 2) return;
        chosen[most] = chosen[least];
        chosen[least] = not_pinned;
        own_assignment_ = true;
    }
}

void BlockWriter::move_registers(const Assignment& from, const Assignment& to) {
    for (unsigned i = 0; i < from.size(); ++i)
        if (from[i] != not_pinned && to[i] == not_pinned) a_.mov(home(i), host::gpd(from[i]));
    for (unsigned i = 0; i < from.size(); ++i)
        if (from[i] == not_pinned && to[i] != not_pinned) a_.mov(host::gpd(to[i]), home(i));
}

void BlockWriter::enter_assignment() {
    if (!own_assignment_ || assigned_now_) return;
    assigned_now_ = true;
    move_registers(common_assignment, loop_assigned_);
    assigned_ = loop_assigned_;
}

void BlockWriter::leave_assignment() {
    if (!assigned_now_) return;
    assigned_now_ = false;
    move_registers(loop_assigned_, common_assignment);
    assigned_ = common_assignment;
}

void BlockWriter::call_helper(std::uint64_t thunk, bool may_trap) {
    const bool assigned = assigned_now_;
    if (in_cold_)
        fp_owe();
    else
        fp_home();
    leave_assignment();
    a_.call(thunk);
    if (may_trap) a_.jz(thunks_.trapped);
    if (assigned) enter_assignment();
    // FPRs went home. In line the next FP instruction will see that.
    if (!in_cold_)
        fp_.ready = false;
    else if (fp_.ready)
        a_.call(thunks_.fp.load);
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

void BlockWriter::move(unsigned to, unsigned from) {
    if (pinned(to))
        load(pin(to), from);
    else
        a_.mov(home(to), read(from, host::eax));
}

void BlockWriter::extend(const Gp& into, unsigned gpr) {
    if (pinned(gpr))
        a_.movsxd(into, pin(gpr));
    else
        a_.movsxd(into, home(gpr));
}

void BlockWriter::emit3(host::Inst::Id id, const Operand& to, const Operand& from, const Operand& with) {
    a_.emit(id, reinterpret_cast<const Operand_&>(to), reinterpret_cast<const Operand_&>(from),
            reinterpret_cast<const Operand_&>(with));
}

void BlockWriter::emit2(host::Inst::Id id, const Operand& to, const Operand& from) {
    a_.emit(id, reinterpret_cast<const Operand_&>(to), reinterpret_cast<const Operand_&>(from));
}

// -- leaving -----------------------------------------------------------------------------------------------------

// eax: the kind; rdx: the information that goes with it.
void BlockWriter::leave_for(ExitKind kind, std::uint32_t pc_then) {
    fp_owe();
    leave_assignment();
    a_.mov(state32(offsetof(isa::CpuState, pc)), pc_then);
    a_.mov(host::eax, static_cast<std::uint32_t>(kind));
    a_.jmp(thunks_.exit);
}

void BlockWriter::leave(ExitKind kind, Instruction insn) {
    if (left() != 0) a_.add(budget_reg, left());
    a_.mov(host::edx, insn.word);
    leave_for(kind, pc());
}

Label BlockWriter::cold_leave(ExitKind kind, Instruction insn) {
    const Label label = a_.newLabel();
    push_cold(label, [this, kind, insn] { leave(kind, insn); });
    return label;
}

Label BlockWriter::side_exit(std::uint32_t target) {
    const Label label = a_.newLabel();
    push_cold(label, [this, target] {
        if (left() > 1) a_.add(budget_reg, left() - 1);
        go_to(target);
    });
    return label;
}

void BlockWriter::interpret(Instruction insn) {
    flush_lazy();
    a_.mov(state32(offsetof(isa::CpuState, pc)), pc());
    a_.mov(host::ecx, insn.word);
    a_.mov(host::edx, left());
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
        a_.mov(state32(offsetof(isa::CpuState, pc)), pc());
        a_.mov(host::ecx, insn.word);
        a_.mov(host::edx, left());
        call_helper(thunks_.access, true);
        a_.jmp(resume);
    });
    resume_ = resume;
    return slow;
}

void BlockWriter::go_to(std::uint32_t target) {
    open_ = false;
    fp_owe();
    leave_assignment();
    if (target >= source_.link_first && target <= source_.link_last) {
        go_to_linked(target, false);
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

void BlockWriter::go_to_linked(std::uint32_t target, bool apart) {
    const unsigned number = out_.link_count++;
    const Label stub_label = a_.newLabel();
    out_.links[number] = {.target_ea = target, .site = base_ + a_.offset(), .apart = apart};
    a_.long_().jmp(stub_label);
    push_cold(stub_label, [this, number, target] {
        fp_ = {};
        out_.links[number].stub = base_ + a_.offset();
        a_.mov(host::edx, first_link_ + number);
        leave_for(ExitKind::link, target);
    });
}

void BlockWriter::go_to_apart() {
    open_ = false;
    fp_owe();
    leave_assignment();
    go_to_linked(pc(), true);
}

void BlockWriter::go_to_register(const Gp& target) {
    open_ = false;
    fp_owe();
    leave_assignment();
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
    push_cold(missing, [this, target] { go_to_dispatcher(target); });
}

void BlockWriter::go_to_dispatcher(const Gp& target) {
    a_.mov(state32(offsetof(isa::CpuState, pc)), target);
    a_.mov(host::eax, static_cast<std::uint32_t>(ExitKind::lookup));
    a_.jmp(thunks_.exit);
}

template <typename Go>
void BlockWriter::call_out(Go&& go) {
    if (!optimises(Optimisation::return_stack)) {
        go();
        return;
    }
    const Label full = a_.newLabel(), room = a_.newLabel(), way = a_.newLabel();
    push_cold(full, [this, room] {
        empty_return_stack(a_);
        a_.jmp(room);
    });
    a_.cmp(host::rsp, host::qword_ptr(state_reg, slot_offset(slot_stack_limit)));
    a_.jb(full);
    a_.bind(room);
    a_.push(Imm(static_cast<std::int32_t>(pc() + 4)));
    a_.call(way);
    // Links from here are good like any other of this block: if it became stale meanwhile, they are gone.
    a_.add(host::rsp, return_stack_entry - 8);
    // What FPSCR is owed on the way back is the callee's business.
    const FpTrack owed = fp_;
    fp_.word = 0;
    fp_.compared = false;
    go_to(pc() + 4);
    fp_ = owed;
    a_.bind(way);
    go();
}

void BlockWriter::return_to_register() {
    if (!optimises(Optimisation::return_stack)) {
        go_to_register(host::eax);
        return;
    }
    fp_owe();
    leave_assignment();
    const Label other = a_.newLabel();
    a_.cmp(host::dword_ptr(host::rsp, return_stack_ea), host::eax);
    a_.jne(other);
    a_.ret();
    a_.bind(other);
    go_to_register(host::eax);
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
        if (i == source_.loops_to) values.forget_all();
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
            call_out([this, target] { go_to(target); });
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
            a_.mov(host::eax, state32(offsetof(isa::CpuState, lr)));
            a_.and_(host::eax, ~3U);
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
    if (insn.op == Op::bclr) a_.mov(host::eax, state32(offsetof(isa::CpuState, lr)));
    if (insn.op == Op::bcctr) load(host::eax, ctr_number);
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
            call_out([this, target] { go_to(target); });
        else
            go_to(target);
    } else {
        a_.and_(host::eax, ~3U);
        if (insn.lk())
            call_out([this] { go_to_register(host::eax); });
        else if (insn.op == Op::bclr)
            return_to_register();
        else
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
    if (code_.init(Environment::host(), reinterpret_cast<std::uint64_t>(base)) != kErrorOk) return emitted_;
    BlockWriter writer(code_, source, thunks_, optimisations_, features_, first_link, emitted_);
    writer.write(base);
    if (code_.flatten() != kErrorOk || code_.hasUnresolvedLinks() || code_.codeSize() > room) return emitted_;
    emitted_.size = code_.textSection()->bufferSize();
    std::memcpy(base, code_.textSection()->data(), emitted_.size);
    return emitted_;
}

} // namespace untrap::x64
