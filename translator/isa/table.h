// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "translator/isa/spr.h"

namespace untrap::isa {

// Operand layout of an instruction: which fields are operands, the rest of the word is opcode or reserved (zero).
enum class Form : std::uint8_t {
    none,
    i,            // LI, AA, LK
    b,            // BO, BI, BD, AA, LK
    xl_branch,    // BO, BI, LK
    xl_cr,        // BT, BA, BB
    xl_mcrf,      // BF, BFA
    x_crf,        // BF
    x_rt,         // RT
    xfx_mtcrf,    // RS, FXM
    xfx_spr,      // RT, SPR
    xfx_dcr,      // RT, DCRN
    wrteei,       // E
    d_arith,      // RT, RA, SI
    d_arith0,     // RT, RA|0, SI
    d_logic,      // RA, RS, UI
    d_cmp,        // BF, RA, SI
    d_cmpl,       // BF, RA, UI
    d_trap,       // TO, RA, SI
    d_mem,        // RT, D(RA|0)
    d_fmem,       // FRT, D(RA|0)
    xo,           // RT, RA, RB
    xo_ra,        // RT, RA
    x_logic,      // RA, RS, RB
    x_logic1,     // RA, RS
    x_shift_imm,  // RA, RS, SH
    x_cmp,        // BF, RA, RB
    x_trap,       // TO, RA, RB
    x_mem,        // RT, RA|0, RB
    x_fmem,       // FRT, RA|0, RB
    x_string_imm, // RT, RA|0, NB
    x_tlb,        // RT, RA, WS
    cache,        // RA|0, RB
    m_imm,        // RA, RS, SH, MB, ME
    m_reg,        // RA, RS, RB, MB, ME
    a_ab,         // FRT, FRA, FRB
    a_ac,         // FRT, FRA, FRC
    a_b,          // FRT, FRB
    a_abc,        // FRT, FRA, FRC, FRB
    x_fb,         // FRT, FRB
    x_frt,        // FRT
    x_fcmp,       // BF, FRA, FRB
    x_fbit,       // BT
    xfl_mtfsf,    // FLM, FRB
    x_mtfsfi,     // BF, U
};

// Properties of an instruction, a bit set.
namespace flag {
inline constexpr std::uint32_t none = 0;
inline constexpr std::uint32_t priv = 1U << 0;       // privileged whatever its operands
inline constexpr std::uint32_t spr_access = 1U << 1; // privileged if its SPR number says so
inline constexpr std::uint32_t branch = 1U << 2;     // sets the next instruction address
inline constexpr std::uint32_t ends = 1U << 3;       // ends a translated block
inline constexpr std::uint32_t load = 1U << 4;
inline constexpr std::uint32_t store = 1U << 5;
inline constexpr std::uint32_t update = 1U << 6;   // writes the effective address to RA
inline constexpr std::uint32_t multiple = 1U << 7; // several storage accesses
inline constexpr std::uint32_t fp = 1U << 8;       // needs MSR[FP]
inline constexpr std::uint32_t rc = 1U << 9;       // bit 31 records to CR0 (CR1 when fp)
inline constexpr std::uint32_t rc_always = 1U << 10;
inline constexpr std::uint32_t oe = 1U << 11; // bit 21 records to XER[SO,OV]
inline constexpr std::uint32_t ca_in = 1U << 12;
inline constexpr std::uint32_t ca_out = 1U << 13;
inline constexpr std::uint32_t trap = 1U << 14; // conditional trap
inline constexpr std::uint32_t sync = 1U << 15;
inline constexpr std::uint32_t cache = 1U << 16;
} // namespace flag

enum class Op : std::uint8_t {
#define INSN(op, mnemonic, form, match_and_mask, ...) op,
#include "translator/isa/instructions.inc"
#undef INSN
    illegal,
};
inline constexpr std::size_t op_count = static_cast<std::size_t>(Op::illegal);
static_assert(op_count < 255);

// The fixed bits of an instruction's word, for where they must be constants.
constexpr std::uint32_t match_of(Op op) {
    constexpr auto first = [](std::uint32_t match, std::uint32_t) { return match; };
    constexpr std::uint32_t words[] = {
#define INSN(op, mnemonic, form, match_and_mask, ...) first(match_and_mask),
#include "translator/isa/instructions.inc"
#undef INSN
        0};
    return words[static_cast<std::size_t>(op)];
}
static_assert(match_of(Op::rfi) == 0x4C000064);

struct InstructionInfo {
    const char* mnemonic;
    Form form;
    std::uint32_t match;
    std::uint32_t mask;
    std::uint32_t flags;
};

// One row per Op, in the order of instructions.inc; the last row is Op::illegal.
extern const std::array<InstructionInfo, op_count + 1> instruction_table;

// An instruction word with its fields by their manual names. Signed fields are sign-extended.
struct Instruction {
    std::uint32_t word = 0;
    Op op = Op::illegal;

    constexpr unsigned rt() const { return (word >> 21) & 31; }
    constexpr unsigned rs() const { return rt(); }
    constexpr unsigned ra() const { return (word >> 16) & 31; }
    constexpr unsigned rb() const { return (word >> 11) & 31; }
    constexpr unsigned frc() const { return (word >> 6) & 31; }
    constexpr unsigned sh() const { return rb(); }
    constexpr unsigned nb() const { return rb(); }
    constexpr unsigned mb() const { return (word >> 6) & 31; }
    constexpr unsigned me() const { return (word >> 1) & 31; }
    constexpr unsigned bo() const { return rt(); }
    constexpr unsigned bi() const { return ra(); }
    constexpr unsigned to() const { return rt(); }
    constexpr unsigned bf() const { return (word >> 23) & 7; }
    constexpr unsigned bfa() const { return (word >> 18) & 7; }
    constexpr unsigned bt() const { return rt(); }
    constexpr unsigned ba() const { return ra(); }
    constexpr unsigned bb() const { return rb(); }
    constexpr unsigned fxm() const { return (word >> 12) & 0xFF; }
    constexpr unsigned flm() const { return (word >> 17) & 0xFF; }
    constexpr unsigned u() const { return (word >> 12) & 15; }
    constexpr unsigned ws() const { return rb(); }
    constexpr bool e() const { return (word & 0x8000) != 0; }
    constexpr bool rc() const { return (word & 1) != 0; }
    constexpr bool lk() const { return (word & 1) != 0; }
    constexpr bool aa() const { return (word & 2) != 0; }
    constexpr bool oe() const { return (word & 0x400) != 0; }
    constexpr std::int32_t si() const { return static_cast<std::int16_t>(word & 0xFFFF); }
    constexpr std::uint32_t ui() const { return word & 0xFFFF; }
    constexpr std::int32_t li() const { return static_cast<std::int32_t>(word << 6) >> 6 & ~3; }
    constexpr std::int32_t bd() const { return static_cast<std::int16_t>(word & 0xFFFC); }
    constexpr unsigned spr() const { return ((word >> 16) & 31) | ((word >> 6) & 0x3E0); }
    constexpr unsigned dcrn() const { return spr(); }

    const InstructionInfo& info() const { return instruction_table[static_cast<std::size_t>(op)]; }
    bool has(std::uint32_t flags) const { return (info().flags & flags) != 0; }
    // Whether CR0 (integer) or CR1 (fp) is recorded.
    bool records() const { return has(flag::rc_always) || (has(flag::rc) && rc()); }
    bool records_overflow() const { return has(flag::oe) && oe(); }
    bool privileged() const { return has(flag::priv) || (has(flag::spr_access) && spr::is_privileged(spr())); }
};

// Decodes any word; what is no 440EP instruction gives Op::illegal. Reserved bits are ignored, as the 440 does.
Instruction decode(std::uint32_t word);

// Bits of the word that are operands of this form (to fuzz and to print); Rc and OE not included.
std::uint32_t operand_mask(Form form);

// Rotate mask of rlwinm and its kin: ones from bit mb to bit me (manual numbering), wrapping around.
constexpr std::uint32_t rotate_mask(unsigned mb, unsigned me) {
    const std::uint32_t from = 0xFFFFFFFFU >> mb;
    const std::uint32_t to = 0xFFFFFFFFU << (31 - me);
    return mb <= me ? (from & to) : (from | to);
}

} // namespace untrap::isa
