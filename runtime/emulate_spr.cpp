// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/debug.h"
#include "runtime/emulate.h"
#include "runtime/interrupts.h"
#include "runtime/vcpu.h"
#include "translator/isa/spr.h"

// The privileged special-purpose registers of the 440EP: which exist, which can be read or written, which bits stick.
namespace untrap::runtime {

using isa::Instruction;
namespace spr = isa::spr;

namespace {

constexpr std::uint32_t instruction_address = 0xFFFFFFFC;

constexpr bool in(unsigned number, unsigned first, unsigned last) { return number >= first && number <= last; }

// Plain storage: a register that reads back what was written, under a mask. mask 0: the register is no such one.
struct PlainRegister {
    std::uint32_t* value = nullptr;
    std::uint32_t mask = 0;
};

PlainRegister plain_register(isa::CpuState& state, unsigned number) {
    constexpr std::uint32_t all = 0xFFFFFFFF;
    isa::StatePage& page = state.page;
    if (in(number, spr::sprg0, spr::sprg7)) return {&page.sprg[number - spr::sprg0], all};
    if (in(number, spr::ivor0, spr::ivor15)) return {&state.ivor[number - spr::ivor0], 0x0000FFF0};
    if (in(number, spr::iac1, spr::iac4)) return {&state.iac[number - spr::iac1], instruction_address};
    if (in(number, spr::dac1, spr::dac2)) return {&state.dac[number - spr::dac1], all};
    if (in(number, spr::dvc1, spr::dvc2)) return {&state.dvc[number - spr::dvc1], all};
    if (in(number, spr::inv0, spr::inv3)) return {&state.inv[number - spr::inv0], all};
    if (in(number, spr::itv0, spr::itv3)) return {&state.itv[number - spr::itv0], all};
    if (in(number, spr::dnv0, spr::dnv3)) return {&state.dnv[number - spr::dnv0], all};
    if (in(number, spr::dtv0, spr::dtv3)) return {&state.dtv[number - spr::dtv0], all};
    switch (number) {
    case spr::srr0: return {&page.srr0, instruction_address};
    case spr::srr1: return {&page.srr1, all};
    case spr::csrr0: return {&page.csrr0, instruction_address};
    case spr::csrr1: return {&page.csrr1, all};
    case spr::mcsrr0: return {&page.mcsrr0, instruction_address};
    case spr::mcsrr1: return {&page.mcsrr1, all};
    case spr::dear: return {&page.dear, all};
    case spr::esr: return {&page.esr, all};
    case spr::pid: return {&page.pid, 0xFF};
    case spr::mmucr: return {&page.mmucr, isa::mmucr::writable};
    case spr::ivpr: return {&state.ivpr, 0xFFFF0000};
    case spr::dbcr1: return {&state.dbcr1, all};
    case spr::ccr0: return {&state.ccr0, all};
    case spr::ccr1: return {&state.ccr1, all};
    case spr::ivlim: return {&state.ivlim, all};
    case spr::dvlim: return {&state.dvlim, all};
    default: return {};
    }
}

// DBCR2: data value compare modes of DAC1 and DAC2.
constexpr std::uint32_t value_compare_modes = 0x000F0000;

} // namespace

Emulator::SprAccess Emulator::read_spr(unsigned number, std::uint32_t& value) {
    isa::CpuState& state = vcpu_.state;
    if (const PlainRegister plain = plain_register(state, number); plain.mask != 0) {
        value = *plain.value;
        return SprAccess::done;
    }
    switch (number) {
    case spr::dec: value = vcpu_.timers.dec(); break;
    case spr::tsr: value = vcpu_.timers.tsr(); break;
    case spr::tcr: value = state.tcr; break;
    case spr::pvr: value = state.pvr; break;
    case spr::pir: value = state.pir; break;
    case spr::dbsr: value = state.dbsr; break;
    case spr::dbcr0: value = state.dbcr0; break;
    case spr::dbcr2: value = state.dbcr2; break;
    case spr::mcsr: value = state.mcsr; break;
    case spr::rstcfg: value = state.rstcfg; break;
    case spr::dbdr: value = vcpu_.debug_data_; break;
    // What dcread and icread leave behind: an invalid line.
    case spr::dcdbtrl:
    case spr::dcdbtrh:
    case spr::icdbtrl:
    case spr::icdbtrh:
    case spr::icdbdr: value = 0; break;
    default: return SprAccess::unknown; // DECAR, TBL and TBU (284, 285) can only be written
    }
    return SprAccess::done;
}

Emulator::SprAccess Emulator::write_spr(unsigned number, std::uint32_t value) {
    isa::CpuState& state = vcpu_.state;
    if (const PlainRegister plain = plain_register(state, number); plain.mask != 0) {
        *plain.value = value & plain.mask;
        return SprAccess::done;
    }
    switch (number) {
    case spr::dec: vcpu_.timers.write_dec(value); break;
    case spr::decar: vcpu_.timers.write_decar(value); break;
    case spr::tbl_write: vcpu_.timers.write_tbl(value); break;
    case spr::tbu_write: vcpu_.timers.write_tbu(value); break;
    case spr::tsr: vcpu_.timers.clear_tsr(value); break;
    case spr::tcr: vcpu_.timers.write_tcr(value); break;
    case spr::dbsr:
        state.dbsr &= ~value;
        debug::control_changed(vcpu_);
        break;
    case spr::dbcr0:
        state.dbcr0 = value;
        debug::control_changed(vcpu_);
        if ((value & isa::dbcr0::rst) != 0) return SprAccess::reset;
        break;
    case spr::dbcr2:
        state.dbcr2 = value;
        if ((value & value_compare_modes) != 0 && first_warning(number))
            vcpu_.host.warn("data value compare is not done: watchpoints match by address alone", state.pc, value);
        break;
    case spr::mcsr: state.mcsr &= ~value; break;
    case spr::dbdr: vcpu_.debug_data_ = value; break;
    default: return SprAccess::unknown; // PVR, PIR, RSTCFG and the cache read-out registers can only be read
    }
    vcpu_.update_pending();
    return SprAccess::done;
}

Emulator::Outcome Emulator::move_from_spr(Instruction insn) {
    std::uint32_t value = 0;
    if (read_spr(insn.spr(), value) == SprAccess::unknown) return unknown_spr(insn);
    vcpu_.state.gpr[insn.rt()] = value;
    next();
    return Outcome::completed;
}

Emulator::Outcome Emulator::move_to_spr(Instruction insn) {
    const SprAccess access = write_spr(insn.spr(), vcpu_.state.gpr[insn.rs()]);
    if (access == SprAccess::unknown) return unknown_spr(insn);
    next();
    return access == SprAccess::reset ? Outcome::reset : Outcome::completed;
}

bool Emulator::first_warning(unsigned number) {
    const std::uint32_t bit = 1U << (number & 31);
    std::uint32_t& word = vcpu_.warned_sprs_[(number >> 5) & 31];
    if ((word & bit) != 0) return false;
    word |= bit;
    return true;
}

Emulator::Outcome Emulator::unknown_spr(Instruction insn) {
    if (first_warning(insn.spr()))
        vcpu_.host.warn("the guest uses a special register that the 440EP does not have (that way)", vcpu_.state.pc,
                        insn.word);
    interrupts::deliver_with_esr(vcpu_, isa::Interrupt::program, vcpu_.state.pc, isa::esr::pil);
    return Outcome::reflected;
}

} // namespace untrap::runtime
