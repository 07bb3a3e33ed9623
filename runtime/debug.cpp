// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/debug.h"

#include "runtime/interrupts.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::debug {

using isa::CpuState;
using isa::Instruction;
using isa::Op;
namespace dbcr0 = isa::dbcr0;
namespace dbsr = isa::dbsr;
namespace flag = isa::flag;
namespace msr = isa::msr;

namespace {

constexpr std::uint32_t any_iac = dbcr0::iac1 | dbcr0::iac2 | dbcr0::iac3 | dbcr0::iac4;
constexpr std::uint32_t any_dac = dbcr0::dac1r | dbcr0::dac1w | dbcr0::dac2r | dbcr0::dac2w;
constexpr std::uint32_t any_event =
    dbcr0::icmp | dbcr0::brt | dbcr0::irpt | dbcr0::trap | dbcr0::ret | any_iac | any_dac;

// Every event has the same bit in DBCR0, where it is enabled, and in DBSR, where it is recorded.
static_assert(dbcr0::icmp == dbsr::icmp && dbcr0::brt == dbsr::brt && dbcr0::irpt == dbsr::irpt &&
              dbcr0::trap == dbsr::trap && dbcr0::iac1 == dbsr::iac1 && dbcr0::iac4 == dbsr::iac4 &&
              dbcr0::dac1r == dbsr::dac1r && dbcr0::dac2w == dbsr::dac2w && dbcr0::ret == dbsr::ret);

bool armed(const CpuState& state) { return (state.page.msr & msr::de) != 0 && (state.dbcr0 & dbcr0::idm) != 0; }

// A two-bit field of a control register; first is the manual's number of its first bit.
constexpr unsigned field(std::uint32_t value, unsigned first) { return value >> (30 - first) & 3; }

// User/supervisor and effective/virtual selection of one compare, four bits of DBCR1 or DBCR2 from bit `first`.
bool context_selected(std::uint32_t control, unsigned first, bool problem_state, bool space) {
    const unsigned user_supervisor = field(control, first);
    if (user_supervisor == 2 && problem_state) return false;
    if (user_supervisor == 3 && !problem_state) return false;
    const unsigned translation = field(control, first + 2);
    if (translation == 2 && space) return false;
    if (translation == 3 && !space) return false;
    return true;
}

enum CompareMode : unsigned { exact = 0, bit_mask = 1, inside = 2, outside = 3 };

// One pair of instruction address compares: IAC1/2 or IAC3/4, whose DBCR1 half begins at bit `first`.
std::uint32_t instruction_pair(CpuState& state, unsigned pair, std::uint32_t enable1, std::uint32_t enable2) {
    const std::uint32_t enabled = state.dbcr0 & (enable1 | enable2);
    if (enabled == 0) return 0;
    const unsigned first = 16 * pair;
    const bool problem = state.problem_state();
    const bool space = (state.page.msr & msr::is) != 0;
    const std::uint32_t low = state.iac[2 * pair] & ~3U;
    const std::uint32_t high = state.iac[2 * pair + 1] & ~3U;
    const unsigned mode = field(state.dbcr1, first + 8);
    if (mode < inside) {
        std::uint32_t events = 0;
        if (state.pc == low && context_selected(state.dbcr1, first, problem, space)) events |= enable1;
        if (state.pc == high && context_selected(state.dbcr1, first + 4, problem, space)) events |= enable2;
        return events & enabled;
    }
    const bool within = state.pc >= low && state.pc < high;
    if (within != (mode == inside) || !context_selected(state.dbcr1, first, problem, space)) return 0;
    // Auto-toggle: the next event is the one on the other side of the range.
    const std::uint32_t toggle = isa::ppc_bit(first + 15);
    if ((state.dbcr1 & toggle) != 0) state.dbcr1 ^= isa::ppc_bit(first + 9);
    return enabled;
}

std::uint32_t access_size(const CpuState& state, Instruction insn) {
    constexpr std::uint32_t cache_line = 32;
    if (insn.has(flag::cache)) return cache_line;
    switch (insn.op) {
    case Op::lmw:
    case Op::stmw: return 4 * (32 - insn.rt());
    case Op::lswi:
    case Op::stswi: return insn.nb() != 0 ? insn.nb() : 32;
    case Op::lswx:
    case Op::stswx: return state.xer_count;
    default: break;
    }
    // The mnemonic's letters tell the width: lbz, lhbrx, stwcx., lfs, stfd, stfiwx.
    const char* name = insn.info().mnemonic;
    name += insn.has(flag::store) ? 2 : 1;
    if (insn.has(flag::fp)) {
        ++name;
        return *name == 'd' ? 8 : 4;
    }
    return *name == 'b' ? 1 : *name == 'h' ? 2 : 4;
}

} // namespace

DataAccess data_access(const CpuState& state, Instruction insn) {
    DataAccess access;
    const bool stores = insn.has(flag::store) || insn.op == Op::dcba || insn.op == Op::dcbi;
    if (!stores && !insn.has(flag::load | flag::cache)) return access;
    if (insn.op == Op::dccci || insn.op == Op::iccci || insn.op == Op::dcread || insn.op == Op::icread) return access;
    const std::uint32_t base = insn.ra() != 0 ? state.gpr[insn.ra()] : 0;
    switch (insn.info().form) {
    case isa::Form::d_mem:
    case isa::Form::d_fmem: access.ea = base + static_cast<std::uint32_t>(insn.si()); break;
    case isa::Form::x_string_imm: access.ea = base; break;
    default: access.ea = base + state.gpr[insn.rb()]; break;
    }
    access.size = access_size(state, insn);
    access.is_store = stores;
    return access;
}

namespace {

// Data address compare. An access that cannot be translated faults first.
std::uint32_t data_events(Vcpu& vcpu, Instruction insn) {
    const CpuState& state = vcpu.state;
    const std::uint32_t reads = dbcr0::dac1r | dbcr0::dac2r;
    const std::uint32_t writes = dbcr0::dac1w | dbcr0::dac2w;
    const DataAccess access = data_access(state, insn);
    if (access.size == 0) return 0;
    const std::uint32_t enabled = state.dbcr0 & (access.is_store ? writes : reads);
    isa::Trap ignored;
    if (enabled == 0 || !vcpu.storage.check(access.ea, access.is_store, ignored)) return 0;
    const std::uint32_t first_events = enabled & (dbcr0::dac1r | dbcr0::dac1w);
    const std::uint32_t second_events = enabled & (dbcr0::dac2r | dbcr0::dac2w);
    const bool problem = state.problem_state();
    const bool space = (state.page.msr & msr::ds) != 0;
    const bool first_context = context_selected(state.dbcr2, 0, problem, space);
    const bool second_context = context_selected(state.dbcr2, 4, problem, space);
    const std::uint32_t last = access.size - 1;
    switch (field(state.dbcr2, 8)) {
    case exact: {
        std::uint32_t events = 0;
        if (state.dac[0] - access.ea <= last && first_context) events |= first_events;
        if (state.dac[1] - access.ea <= last && second_context) events |= second_events;
        return events;
    }
    case bit_mask: {
        // DAC2 has a one for every address bit that is compared. Checked per byte, for accesses are short.
        for (std::uint32_t offset = 0; offset <= last && first_context; ++offset)
            if (((access.ea + offset) & state.dac[1]) == (state.dac[0] & state.dac[1])) return enabled;
        return 0;
    }
    case inside: return first_context && access.ea < state.dac[1] && access.ea + last >= state.dac[0] ? enabled : 0;
    default: return first_context && (access.ea < state.dac[0] || access.ea + last >= state.dac[1]) ? enabled : 0;
    }
}

bool branch_taken(const CpuState& state, Instruction insn) {
    if (insn.op == Op::b) return true;
    if (insn.op != Op::bc && insn.op != Op::bclr && insn.op != Op::bcctr) return false;
    const unsigned bo = insn.bo();
    const bool condition_ok = (bo & 16) != 0 || state.cr_bit(insn.bi()) == ((bo & 8) != 0);
    const bool counter_ok = (bo & 4) != 0 || ((state.ctr - 1) != 0) == ((bo & 2) == 0);
    return condition_ok && counter_ok;
}

} // namespace

bool stepping(const CpuState& state) { return armed(state) && (state.dbcr0 & any_event) != 0; }

bool event_recorded(const CpuState& state) {
    return (state.dbcr0 & dbcr0::idm) != 0 && (state.dbsr & (any_event | dbsr::ude)) != 0;
}

std::uint32_t events_before(Vcpu& vcpu, Instruction insn) {
    CpuState& state = vcpu.state;
    if (!armed(state)) return 0;
    std::uint32_t events = 0;
    if ((state.dbcr0 & any_iac) != 0) {
        events |= instruction_pair(state, 0, dbcr0::iac1, dbcr0::iac2);
        events |= instruction_pair(state, 1, dbcr0::iac3, dbcr0::iac4);
    }
    if ((state.dbcr0 & any_dac) != 0) events |= data_events(vcpu, insn);
    if ((state.dbcr0 & dbcr0::brt) != 0 && branch_taken(state, insn)) events |= dbsr::brt;
    if ((state.dbcr0 & dbcr0::ret) != 0 && insn.op == Op::rfi && !state.problem_state()) events |= dbsr::ret;
    return events;
}

void raise(Vcpu& vcpu, std::uint32_t events, std::uint32_t return_address) {
    CpuState& state = vcpu.state;
    state.dbsr |= events;
    control_changed(vcpu);
    if (armed(state))
        interrupts::deliver(vcpu, isa::Interrupt::debug, return_address);
    else
        state.dbsr |= dbsr::ide;
}

bool completion_watched(const CpuState& state) { return armed(state) && (state.dbcr0 & dbcr0::icmp) != 0; }

void completed(Vcpu& vcpu, bool watched) {
    if (!watched || !completion_watched(vcpu.state)) return;
    vcpu.count_exit(ExitReason::debug);
    raise(vcpu, dbsr::icmp, vcpu.state.pc);
}

bool trap_event(Vcpu& vcpu) {
    if (!armed(vcpu.state) || (vcpu.state.dbcr0 & dbcr0::trap) == 0) return false;
    raise(vcpu, dbsr::trap, vcpu.state.pc);
    return true;
}

void interrupt_taken(Vcpu& vcpu) {
    if (!armed(vcpu.state) || (vcpu.state.dbcr0 & dbcr0::irpt) == 0) return;
    vcpu.count_exit(ExitReason::debug);
    raise(vcpu, dbsr::irpt, vcpu.state.pc);
}

void control_changed(Vcpu& vcpu) {
    const CpuState& state = vcpu.state;
    vcpu.timers.freeze((state.dbcr0 & dbcr0::ft) != 0 && (state.dbsr & any_event) != 0);
}

} // namespace untrap::runtime::debug
