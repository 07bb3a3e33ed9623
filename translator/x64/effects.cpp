// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/effects.h"

#include "translator/x64/layout.h"

namespace untrap::x64 {

using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;

namespace {

constexpr std::uint32_t bit(unsigned number) { return 1U << number; }
constexpr std::uint8_t field(unsigned number) { return static_cast<std::uint8_t>(1U << number); }

Effects opaque() { return {.observes = true, .opaque = true}; }

// mtcrf numbers its fields from the left.
std::uint8_t fields_of_mask(unsigned fxm) {
    std::uint8_t fields = 0;
    for (unsigned i = 0; i < 8; ++i)
        if ((fxm & 0x80U >> i) != 0) fields |= field(i);
    return fields;
}

Effects of_storage(Instruction insn) {
    Effects effects{.observes = true};
    const bool integer_load = insn.has(flag::load) && !insn.has(flag::fp);
    switch (insn.op) {
    case Op::lswi:
    case Op::lswx:
    case Op::stswi:
    case Op::stswx: return opaque();
    case Op::lmw: effects.gpr_written = 0xFFFFFFFFU << insn.rt(); return effects;
    case Op::stwcx_rc: effects.cr_written = field(0); return effects;
    default: break;
    }
    if (integer_load) effects.gpr_written |= bit(insn.rt());
    if (insn.has(flag::update)) effects.gpr_written |= bit(insn.ra());
    return effects;
}

// What the interpreter does instead of host code it does without being seen, unless exceptions are enabled.
Effects of_floating_point(Instruction insn, std::uint32_t mode_bits) {
    if ((mode_bits & mode::fp_enables) != 0 || (mode_bits & mode::fp) == 0 || insn.records()) return opaque();
    switch (insn.op) {
    case Op::fcmpu:
    case Op::fcmpo: return {.cr_written = field(insn.bf())};
    case Op::mffs: return {};
    case Op::mtfsb0:
    case Op::mtfsb1:
    case Op::mtfsf:
    case Op::mtfsfi: return {.observes = true};
    case Op::mcrfs: return opaque();
    default: return {};
    }
}

} // namespace

bool copies_summary_overflow(Instruction insn) {
    return insn.records() || insn.op == Op::cmp || insn.op == Op::cmpi || insn.op == Op::cmpl || insn.op == Op::cmpli ||
           insn.op == Op::stwcx_rc;
}

Effects effects_of(Instruction insn, std::uint32_t mode_bits) {
    if (insn.op == Op::illegal || insn.privileged()) return opaque();
    if ((mode_bits & mode::so) != 0 && copies_summary_overflow(insn)) return opaque();
    if (insn.op == Op::dcbt || insn.op == Op::dcbtst || insn.op == Op::icbt) return {};
    if (insn.has(flag::load | flag::store)) return of_storage(insn);
    if (insn.has(flag::fp)) return of_floating_point(insn, mode_bits);
    if (insn.has(flag::cache)) return opaque();
    if (insn.has(flag::branch)) return {.observes = true};
    if (insn.records_overflow()) return opaque();
    Effects effects;
    if (insn.records()) effects.cr_written = field(0);
    switch (insn.op) {
    case Op::adde:
    case Op::addme:
    case Op::addze:
    case Op::subfe:
    case Op::subfme:
    case Op::subfze: effects.carry_read = true; [[fallthrough]];
    case Op::addic:
    case Op::addic_rc:
    case Op::subfic:
    case Op::addc:
    case Op::subfc:
    case Op::sraw:
    case Op::srawi: effects.carry_written = true; break;
    default: break;
    }
    switch (insn.op) {
    case Op::tw:
    case Op::twi: return {.observes = true};
    case Op::cmp:
    case Op::cmpi:
    case Op::cmpl:
    case Op::cmpli: effects.cr_written = field(insn.bf()); break;
    case Op::mcrf:
        effects.cr_written = field(insn.bf());
        effects.cr_read = field(insn.bfa());
        break;
    case Op::crand:
    case Op::cror:
    case Op::crxor:
    case Op::crnand:
    case Op::crnor:
    case Op::creqv:
    case Op::crandc:
    case Op::crorc:
        effects.cr_read =
            static_cast<std::uint8_t>(field(insn.ba() >> 2) | field(insn.bb() >> 2) | field(insn.bt() >> 2));
        effects.cr_written = field(insn.bt() >> 2);
        break;
    case Op::mfcr:
        effects.cr_read = 0xFF;
        effects.gpr_written = bit(insn.rt());
        break;
    case Op::mtcrf: effects.cr_written = fields_of_mask(insn.fxm()); break;
    case Op::mfspr:
    case Op::mtspr:
        if (insn.spr() != isa::spr::lr && insn.spr() != isa::spr::ctr && insn.spr() != isa::spr::usprg0)
            return opaque();
        if (insn.op == Op::mfspr) effects.gpr_written = bit(insn.rt());
        break;
    case Op::addi:
    case Op::addis:
    case Op::add:
    case Op::subf:
    case Op::neg:
    case Op::addic:
    case Op::addic_rc:
    case Op::subfic:
    case Op::addc:
    case Op::subfc:
    case Op::adde:
    case Op::addme:
    case Op::addze:
    case Op::subfme:
    case Op::subfze:
    case Op::subfe:
    case Op::mulli:
    case Op::mullw:
    case Op::mulhw:
    case Op::mulhwu:
    case Op::divw:
    case Op::divwu: effects.gpr_written = bit(insn.rt()); break;
    case Op::ori:
    case Op::oris:
    case Op::xori:
    case Op::xoris:
    case Op::andi_rc:
    case Op::andis_rc:
    case Op::and_:
    case Op::andc:
    case Op::or_:
    case Op::orc:
    case Op::xor_:
    case Op::nand:
    case Op::nor:
    case Op::eqv:
    case Op::extsb:
    case Op::extsh:
    case Op::cntlzw:
    case Op::rlwinm:
    case Op::rlwimi:
    case Op::rlwnm:
    case Op::slw:
    case Op::srw:
    case Op::sraw:
    case Op::srawi: effects.gpr_written = bit(insn.ra()); break;
    case Op::msync:
    case Op::mbar: break;
    default: return opaque();
    }
    return effects;
}

} // namespace untrap::x64
