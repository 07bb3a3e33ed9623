// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/liveness.h"

#include "translator/isa/spr.h"

namespace untrap::ppc {

using isa::Form;
using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;
namespace spr = isa::spr;

namespace {

constexpr std::uint32_t gpr(unsigned number) { return 1U << number; }
constexpr std::uint8_t field(unsigned number) { return static_cast<std::uint8_t>(1U << number); }
// The CR field of a CR bit.
constexpr std::uint8_t field_of(unsigned bit) { return field(bit >> 2); }

constexpr std::uint8_t fields_of_mask(unsigned fxm) {
    unsigned fields = 0;
    for (unsigned number = 0; number < 8; ++number)
        if ((fxm & (0x80U >> number)) != 0) fields |= 1U << number;
    return static_cast<std::uint8_t>(fields);
}

constexpr bool user_register(unsigned number) {
    switch (number) {
    case spr::xer:
    case spr::lr:
    case spr::ctr:
    case spr::usprg0: return true;
    default: return false;
    }
}

// Registers that every 440 guest has in both directions, emulated or patched.
constexpr bool plain_register(unsigned number) {
    if (number >= spr::sprg0 && number <= spr::sprg7) return true;
    switch (number) {
    case spr::srr0:
    case spr::srr1:
    case spr::csrr0:
    case spr::csrr1:
    case spr::dear:
    case spr::esr:
    case spr::pid:
    case spr::mmucr: return true;
    default: return false;
    }
}

constexpr bool readable_register(unsigned number) {
    return user_register(number) || plain_register(number) ||
           (number >= spr::sprg4_user && number <= spr::sprg7_user) || number == spr::tbl_read ||
           number == spr::tbu_read;
}

// By form; false for what is left to operands().
bool arithmetic_operands(Instruction insn, Registers& reads, Registers& writes) {
    const std::uint32_t rt = gpr(insn.rt()), ra = gpr(insn.ra()), rb = gpr(insn.rb());
    switch (insn.info().form) {
    case Form::d_arith: reads.gpr = ra; break;
    case Form::d_arith0: reads.gpr = insn.ra() != 0 ? ra : 0; break;
    case Form::xo:
        reads.gpr = ra | rb;
        if (insn.word >> 26 == 4) reads.gpr |= rt; // accumulates
        break;
    case Form::xo_ra: reads.gpr = ra; break;
    case Form::d_logic:
    case Form::x_logic1:
    case Form::x_shift_imm: reads.gpr = rt; break;
    case Form::x_logic:
    case Form::m_reg: reads.gpr = rt | rb; break;
    case Form::m_imm:
        reads.gpr = rt;
        if (insn.op == Op::rlwimi) reads.gpr |= ra;
        break;
    case Form::d_cmp:
    case Form::d_cmpl:
        reads.gpr = ra;
        writes.cr = field(insn.bf());
        return true;
    case Form::x_cmp:
        reads.gpr = ra | rb;
        writes.cr = field(insn.bf());
        return true;
    default: return false;
    }
    switch (insn.info().form) {
    case Form::d_arith:
    case Form::d_arith0:
    case Form::xo:
    case Form::xo_ra: writes.gpr = rt; break;
    default: writes.gpr = ra; break;
    }
    if (insn.records()) writes.cr = field(0);
    return true;
}

// Other code may stand behind it than the words in memory say, or none that can be fetched.
bool changes_context(Instruction insn) {
    return insn.op == Op::mtmsr || (insn.op == Op::mtspr && insn.spr() == spr::pid);
}

} // namespace

Operands operands(Instruction insn) {
    Operands found;
    constexpr std::uint32_t excluded =
        flag::branch | flag::load | flag::store | flag::fp | flag::trap | flag::cache | flag::multiple;
    if (insn.op == Op::illegal || insn.has(excluded)) return found;
    Registers &reads = found.reads, &writes = found.writes;
    found.simple = true;
    switch (insn.op) {
    case Op::mcrf:
        reads.cr = field(insn.bfa());
        writes.cr = field(insn.bf());
        return found;
    case Op::mcrxr: writes.cr = field(insn.bf()); return found;
    case Op::mfcr:
        reads.cr = 0xFF;
        writes.gpr = gpr(insn.rt());
        return found;
    case Op::mtcrf:
        reads.gpr = gpr(insn.rs());
        writes.cr = fields_of_mask(insn.fxm());
        return found;
    case Op::isync:
    case Op::msync:
    case Op::mbar:
    case Op::tlbsync:
    case Op::wrteei: return found;
    case Op::wrtee: reads.gpr = gpr(insn.rs()); return found;
    case Op::mfmsr: writes.gpr = gpr(insn.rt()); return found;
    case Op::mfspr:
        writes.gpr = gpr(insn.rt());
        found.simple = readable_register(insn.spr());
        return found;
    case Op::mtspr:
        reads.gpr = gpr(insn.rs());
        found.simple = user_register(insn.spr()) || (plain_register(insn.spr()) && insn.spr() != spr::pid);
        return found;
    default: break;
    }
    if (insn.info().form == Form::xl_cr) {
        // Writes one bit: the field's others live on.
        reads.cr = static_cast<std::uint8_t>(field_of(insn.ba()) | field_of(insn.bb()) | field_of(insn.bt()));
        return found;
    }
    found.simple = !insn.privileged() && arithmetic_operands(insn, reads, writes);
    return found;
}

Registers dead_after(const std::uint32_t* window, unsigned length) {
    Registers dead, used;
    if (length == 0 || changes_context(isa::decode(window[0]))) return dead;
    for (unsigned index = 1; index < length; ++index) {
        const Operands next = operands(isa::decode(window[index]));
        if (!next.simple) break;
        used.gpr |= next.reads.gpr & ~dead.gpr;
        used.cr = static_cast<std::uint8_t>(used.cr | (next.reads.cr & ~dead.cr));
        dead.gpr |= next.writes.gpr & ~used.gpr;
        dead.cr = static_cast<std::uint8_t>(dead.cr | (next.writes.cr & ~used.cr));
    }
    return dead;
}

} // namespace untrap::ppc
