// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/debug.h"
#include "runtime/emulate.h"
#include "runtime/interrupts.h"
#include "runtime/spr_table.h"
#include "runtime/vcpu.h"
#include "translator/isa/spr.h"

// The privileged special-purpose registers of the 440EP: what reading and writing them does where that is not plain
// (spr_table.cpp).
namespace untrap::runtime {

using isa::Instruction;
namespace spr = isa::spr;

namespace {

// DBCR2: data value compare modes of DAC1 and DAC2.
constexpr std::uint32_t value_compare_modes = 0x000F0000;

} // namespace

// Registers that are not plain to read; value is unchanged if this is none.
Emulator::SprAccess Emulator::read_spr(unsigned number, std::uint32_t& value) {
    switch (number) {
    case spr::dec: value = vcpu_.timers.dec(); break;
    case spr::tsr: value = vcpu_.timers.tsr(); break;
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

// Registers that are not plain to write.
Emulator::SprAccess Emulator::write_spr(unsigned number, std::uint32_t value) {
    isa::CpuState& state = vcpu_.state;
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
    vcpu_.disturb(); // deadlines may be others now
    return SprAccess::done;
}

Emulator::Outcome Emulator::move_from_spr(Instruction insn) {
    isa::CpuState& state = vcpu_.state;
    std::uint32_t& value = state.gpr[insn.rt()];
    if (const SprRow& row = spr_row(insn.spr()); row.plain_read)
        value = spr_word(state, row);
    else if (read_spr(insn.spr(), value) == SprAccess::unknown)
        return unknown_spr(insn);
    next();
    return Outcome::completed;
}

Emulator::Outcome Emulator::move_to_spr(Instruction insn) {
    isa::CpuState& state = vcpu_.state;
    const std::uint32_t value = state.gpr[insn.rs()];
    if (const SprRow& row = spr_row(insn.spr()); row.plain_write()) {
        spr_word(state, row) = value & row.mask;
        next();
        return Outcome::completed;
    }
    const SprAccess access = write_spr(insn.spr(), value);
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
