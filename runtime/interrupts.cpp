// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/interrupts.h"

#include "runtime/debug.h"
#include "runtime/vcpu.h"
#include "translator/isa/table.h"

namespace untrap::runtime::interrupts {

using isa::Interrupt;
using isa::Trap;
using isa::TrapKind;
namespace esr = isa::esr;
namespace msr = isa::msr;

namespace {

constexpr std::uint32_t ivpr_mask = 0xFFFF0000;
constexpr std::uint32_t ivor_mask = 0x0000FFF0;

[[gnu::always_inline]] inline void enter(Vcpu& vcpu, Interrupt which, std::uint32_t return_address) {
    isa::CpuState& state = vcpu.state;
    isa::StatePage& page = state.page;
    if (is_critical(which)) {
        page.csrr0 = return_address;
        page.csrr1 = page.msr;
    } else {
        page.srr0 = return_address;
        page.srr1 = page.msr;
    }
    page.msr &= surviving_msr(which);
    state.pc = (state.ivpr & ivpr_mask) | (state.ivor[static_cast<unsigned>(which)] & ivor_mask);
    state.reserve_valid = 0;
    vcpu.note_delivery();
    vcpu.leave_handler();
    if (!is_critical(which) && vcpu.state.dbcr0 != 0) debug::interrupt_taken(vcpu);
}

// The instruction at pc, 0 if it cannot be fetched.
[[gnu::noinline]] std::uint32_t word_at_pc(Vcpu& vcpu) {
    std::uint32_t word = 0;
    Trap ignored;
    return vcpu.storage.fetch(vcpu.state.pc, word, ignored) ? word : 0;
}

// ESR of a fault in a data access: store, and whether a floating-point instruction made it.
[[gnu::always_inline]] inline std::uint32_t data_access_esr(Vcpu& vcpu, const Trap& trap) {
    std::uint32_t value = trap.is_store ? esr::st : 0;
    const std::uint32_t word = trap.word != 0 ? trap.word : word_at_pc(vcpu);
    // But for the indexed forms, the primary opcode tells; theirs have the first bit of the extended opcode set.
    const unsigned primary = word >> 26;
    if (primary == 31 ? (word & 0x400) != 0 && isa::decode(word).has(isa::flag::fp) : primary >= 48 && primary < 56)
        value |= esr::fp;
    return value;
}

[[gnu::always_inline]] inline void data_fault(Vcpu& vcpu, Interrupt which, const Trap& trap) {
    vcpu.state.page.esr = data_access_esr(vcpu, trap);
    vcpu.state.page.dear = trap.ea;
    enter(vcpu, which, vcpu.state.pc);
}

[[gnu::always_inline]] inline void deliver_data_miss(Vcpu& vcpu, const Trap& trap) {
    data_fault(vcpu, Interrupt::data_tlb_error, trap);
    vcpu.enter_handler(Interrupt::data_tlb_error);
}

ExitReason reason_of(TrapKind kind) {
    switch (kind) {
    case TrapKind::system_call: return ExitReason::syscall;
    case TrapKind::fp_unavailable: return ExitReason::fp_unavail;
    case TrapKind::fetch_miss: return ExitReason::itlb_real;
    case TrapKind::fetch_denied:
    case TrapKind::fetch_bus_error: return ExitReason::isi;
    case TrapKind::data_miss: return ExitReason::dtlb_real;
    case TrapKind::data_denied:
    case TrapKind::alignment: return ExitReason::dsi;
    case TrapKind::mmio: return ExitReason::mmio;
    case TrapKind::debug: return ExitReason::debug;
    case TrapKind::none:
    case TrapKind::budget:
    case TrapKind::privileged:
    case TrapKind::illegal:
    case TrapKind::trap_condition:
    case TrapKind::fp_exception: break;
    }
    return ExitReason::usr_pr_inst;
}

} // namespace

void deliver(Vcpu& vcpu, Interrupt which, std::uint32_t return_address) { enter(vcpu, which, return_address); }

void deliver_with_esr(Vcpu& vcpu, Interrupt which, std::uint32_t return_address, std::uint32_t esr_value) {
    vcpu.state.page.esr = esr_value;
    deliver(vcpu, which, return_address);
}

bool next_pending(const Vcpu& vcpu, Interrupt& which) {
    const isa::CpuState& state = vcpu.state;
    const std::uint32_t enabled = state.page.msr;
    const auto due = [&](std::uint32_t status, std::uint32_t enable) {
        return (state.tsr & status) != 0 && (state.tcr & enable) != 0;
    };
    if ((enabled & msr::de) != 0 && debug::event_recorded(state)) {
        which = Interrupt::debug;
    } else if ((enabled & msr::ce) != 0 && vcpu.line(true)) {
        which = Interrupt::critical_input;
    } else if ((enabled & msr::ce) != 0 && due(isa::tsr::wis, isa::tcr::wie)) {
        which = Interrupt::watchdog;
    } else if ((enabled & msr::ee) != 0 && vcpu.line(false)) {
        which = Interrupt::external_input;
    } else if ((enabled & msr::ee) != 0 && due(isa::tsr::fis, isa::tcr::fie)) {
        which = Interrupt::fixed_interval_timer;
    } else if ((enabled & msr::ee) != 0 && due(isa::tsr::dis, isa::tcr::die)) {
        which = Interrupt::decrementer;
    } else {
        return false;
    }
    return true;
}

void reflect_data_miss(Vcpu& vcpu, const Trap& trap) {
    vcpu.count_exit(ExitReason::dtlb_real);
    deliver_data_miss(vcpu, trap);
}

bool reflect(Vcpu& vcpu, const Trap& trap, bool already_counted) {
    isa::CpuState& state = vcpu.state;
    if (!already_counted) vcpu.count_exit(reason_of(trap.kind));
    const auto program = [&](std::uint32_t cause) {
        deliver_with_esr(vcpu, Interrupt::program, state.pc, cause);
        return true;
    };
    switch (trap.kind) {
    case TrapKind::privileged: return program(esr::ppr);
    case TrapKind::illegal: return program(esr::pil);
    case TrapKind::fp_exception: return program(esr::fp);
    case TrapKind::trap_condition:
        if (debug::trap_event(vcpu)) return true;
        return program(esr::ptr);
    case TrapKind::system_call:
        ++state.retired; // sc completes; the interrupt comes after it
        deliver(vcpu, Interrupt::system_call, state.pc + 4);
        return true;
    case TrapKind::fp_unavailable: deliver(vcpu, Interrupt::fp_unavailable, state.pc); return true;
    case TrapKind::alignment: data_fault(vcpu, Interrupt::alignment, trap); return true;
    case TrapKind::data_miss: deliver_data_miss(vcpu, trap); return true;
    case TrapKind::data_denied: data_fault(vcpu, Interrupt::data_storage, trap); return true;
    case TrapKind::fetch_miss:
        deliver(vcpu, Interrupt::instruction_tlb_error, state.pc);
        vcpu.enter_handler(Interrupt::instruction_tlb_error);
        return true;
    case TrapKind::fetch_denied: deliver_with_esr(vcpu, Interrupt::instruction_storage, state.pc, 0); return true;
    case TrapKind::fetch_bus_error:
        if ((state.page.msr & msr::me) == 0) return false;
        deliver_with_esr(vcpu, Interrupt::machine_check, state.pc, esr::mci);
        return true;
    case TrapKind::debug: debug::raise(vcpu, trap.detail, state.pc); return true;
    case TrapKind::none:
    case TrapKind::budget:
    case TrapKind::mmio: return true;
    }
    return true;
}

} // namespace untrap::runtime::interrupts
