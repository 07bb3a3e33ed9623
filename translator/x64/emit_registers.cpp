// SPDX-License-Identifier: GPL-2.0-only
// Where guest registers are.
#include "translator/isa/spr.h"
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;

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
    FixedCode code = fixed_code();
    code.call(thunk);
    if (may_trap) code.jump_if_zero(thunks_.trapped);
    put(code);
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

} // namespace untrap::x64
