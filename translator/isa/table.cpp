// SPDX-License-Identifier: GPL-2.0-only
#include "translator/isa/table.h"

namespace untrap::isa {

using namespace flag;

constexpr std::array<InstructionInfo, op_count + 1> instruction_table = {{
#define INSN(op, mnemonic, form, match_and_mask, ...) {mnemonic, Form::form, match_and_mask, __VA_ARGS__},
#include "translator/isa/instructions.inc"
#undef INSN
    {"illegal", Form::none, 0, 0, none},
}};

namespace {

// Primary opcodes with a ten-bit extended opcode in bits 21-30; the others are decoded by the primary opcode alone.
constexpr std::array<unsigned, 5> extended_primaries = {4, 19, 31, 59, 63};

constexpr std::uint8_t first_group = 0x100 - extended_primaries.size();
static_assert(op_count < first_group);

struct DecodeTables {
    std::array<std::uint8_t, 64> primary{}; // the Op, or first_group + n: the extended table n knows
    std::array<std::array<std::uint8_t, 1024>, extended_primaries.size()> extended{};
    bool unambiguous = true;
};

constexpr DecodeTables build_tables() {
    constexpr auto illegal = static_cast<std::uint8_t>(Op::illegal);
    DecodeTables tables;
    tables.primary.fill(illegal);
    for (auto& table : tables.extended) table.fill(illegal);
    for (std::size_t op = 0; op < op_count; ++op) {
        const InstructionInfo& info = instruction_table[op];
        const unsigned primary = info.match >> 26;
        bool has_extension = false;
        for (std::size_t group = 0; group < extended_primaries.size(); ++group) {
            if (extended_primaries[group] != primary) continue;
            has_extension = true;
            tables.primary[primary] = static_cast<std::uint8_t>(first_group + group);
            for (std::uint32_t xo = 0; xo < 1024; ++xo) {
                if ((((xo << 1) ^ info.match) & info.mask & 0x7FE) != 0) continue;
                if (tables.extended[group][xo] != illegal) tables.unambiguous = false;
                tables.extended[group][xo] = static_cast<std::uint8_t>(op);
            }
        }
        if (has_extension) continue;
        if (tables.primary[primary] != illegal) tables.unambiguous = false;
        tables.primary[primary] = static_cast<std::uint8_t>(op);
    }
    return tables;
}

constexpr DecodeTables tables = build_tables();
static_assert(tables.unambiguous, "two rows of the instruction table match the same word");

} // namespace

Instruction decode(std::uint32_t word) {
    std::uint8_t op = tables.primary[word >> 26];
    if (op >= first_group) op = tables.extended[op - first_group][(word >> 1) & 0x3FF];
    // Only stwcx. has its Rc bit as part of the opcode.
    if (op != static_cast<std::uint8_t>(Op::illegal) &&
        ((word ^ instruction_table[op].match) & instruction_table[op].mask) != 0)
        op = static_cast<std::uint8_t>(Op::illegal);
    return {word, static_cast<Op>(op)};
}

std::uint32_t operand_mask(Form form) {
    constexpr std::uint32_t rt = 31U << 21, ra = 31U << 16, rb = 31U << 11, rc = 31U << 6, me = 31U << 1;
    constexpr std::uint32_t bf = 7U << 23, bfa = 7U << 18;
    switch (form) {
    case Form::none: return 0;
    case Form::i: return 0x03FFFFFF;
    case Form::b: return 0x03FFFFFF;
    case Form::xl_branch: return rt | ra | 1;
    case Form::xl_cr: return rt | ra | rb;
    case Form::xl_mcrf: return bf | bfa;
    case Form::x_crf: return bf;
    case Form::x_rt: return rt;
    case Form::xfx_mtcrf: return rt | 0xFFU << 12;
    case Form::xfx_spr:
    case Form::xfx_dcr: return rt | ra | rb;
    case Form::wrteei: return 0x8000;
    case Form::d_arith:
    case Form::d_arith0:
    case Form::d_logic:
    case Form::d_trap:
    case Form::d_mem:
    case Form::d_fmem: return rt | ra | 0xFFFF;
    case Form::d_cmp:
    case Form::d_cmpl: return bf | ra | 0xFFFF;
    case Form::xo:
    case Form::x_logic:
    case Form::x_shift_imm:
    case Form::x_trap:
    case Form::x_mem:
    case Form::x_fmem:
    case Form::x_string_imm: return rt | ra | rb;
    case Form::x_tlb: return rt | ra | 3U << 11;
    case Form::xo_ra:
    case Form::x_logic1: return rt | ra;
    case Form::x_cmp:
    case Form::x_fcmp: return bf | ra | rb;
    case Form::cache: return ra | rb;
    case Form::m_imm:
    case Form::m_reg: return rt | ra | rb | rc | me;
    case Form::a_ab: return rt | ra | rb;
    case Form::a_ac: return rt | ra | rc;
    case Form::a_b:
    case Form::x_fb: return rt | rb;
    case Form::a_abc: return rt | ra | rb | rc;
    case Form::x_frt:
    case Form::x_fbit: return rt;
    case Form::xfl_mtfsf: return 0xFFU << 17 | rb;
    case Form::x_mtfsfi: return bf | 15U << 12;
    }
    return 0;
}

} // namespace untrap::isa
