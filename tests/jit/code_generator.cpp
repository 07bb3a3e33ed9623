// SPDX-License-Identifier: GPL-2.0-only
#include "code_generator.h"

#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "translator/fp/fpscr.h"
#include "translator/isa/spr.h"

namespace untrap::tests {

using isa::Form;
using isa::InstructionInfo;
using isa::Op;
namespace flag = isa::flag;

std::uint64_t test_seed() {
    static const std::uint64_t seed = [] {
        const char* given = std::getenv("UNTRAP_SEED");
        std::random_device device;
        const std::uint64_t value = given != nullptr ? std::strtoull(given, nullptr, 0) : device();
        std::fprintf(stderr, "UNTRAP_SEED=%llu\n", static_cast<unsigned long long>(value));
        return value;
    }();
    return seed;
}

std::uint64_t instruction_goal(std::uint64_t by_default) {
    const char* given = std::getenv("UNTRAP_INSTRUCTIONS");
    return given != nullptr ? std::strtoull(given, nullptr, 0) : by_default;
}

std::uint32_t random_gpr(Random& random) {
    constexpr std::uint32_t special[] = {0,           1,           2,          0xFFFFFFFF, 0xFFFFFFFE, 0x80000000,
                                         0x7FFFFFFF,  0x80000001,  0xFFFF,     0x8000,     0x7FFF,     0xFFFF8000,
                                         0x00010000,  0xFF,        0x80,       31,         32,         33,
                                         63,          0xFFFF0000,  0x80008000, 0x7FFF7FFF, 0x55555555, 0xFF00FF00,
                                         0x12345678U, 0x00FF0000U, 0x01000000, 64};
    switch (random.below(4)) {
    case 0:
    case 1: return random.any(special);
    case 2: return random.word() >> random.below(32);
    default: return random.word();
    }
}

std::uint64_t random_fpr(Random& random) {
    constexpr std::uint64_t special[] = {
        0x0000000000000000, 0x8000000000000000, 0x3FF0000000000000, 0xBFF0000000000000, 0x7FF0000000000000,
        0xFFF0000000000000, 0x7FF8000000000000, 0x7FF0000000000001, 0xFFF8000000000001, 0x7FF4000000000000,
        0x0000000000000001, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF,
        0x47EFFFFFE0000000, 0x47EFFFFFF0000000, 0x3810000000000000, 0x36A0000000000000, 0x3690000000000000,
        0x41DFFFFFFFC00000, 0x41E0000000000000, 0xC1E0000000000000, 0x3FE0000000000000, 0x4330000000000001,
        0x3CA0000000000000, 0x3FF0000010000000, 0x3FF0000030000000};
    switch (random.below(4)) {
    case 0: return random.any(special);
    case 1: return random.next();
    case 2: // a single
        return (random.next() & 0xC7FFFFFFE0000000) | 0x3800000000000000;
    default: return (random.next() & 0x800FFFFFFFFFFFFF) | std::uint64_t{random.between(1000, 1050)} << 52;
    }
}

std::uint32_t random_fpscr(Random& random) {
    constexpr std::uint32_t defined = 0xFFFFF7FF;
    constexpr std::uint32_t enables = 0xF8;
    switch (random.below(3)) {
    case 0: return random.below(4);
    case 1: return fp::with_summaries(random.word() & defined & ~enables);
    default: return fp::with_summaries(random.word() & defined);
    }
}

RegisterUse RegisterUse::random(Random& random, std::uint32_t reserved) {
    RegisterUse use;
    use.reserved = reserved;
    const auto some = [&](unsigned count, std::uint32_t taken) {
        std::uint32_t set = 0;
        while (static_cast<unsigned>(std::popcount(set)) < count) set |= (1U << random.below(32)) & ~taken & ~1U;
        return set;
    };
    use.pointers = some(6, reserved);
    use.offsets = some(3, reserved | use.pointers);
    return use;
}

namespace {

unsigned member(Random& random, std::uint32_t set) {
    unsigned skip = random.below(static_cast<unsigned>(std::popcount(set)));
    while (skip-- != 0) set &= set - 1;
    return static_cast<unsigned>(std::countr_zero(set));
}

constexpr Op common_ops[] = {
    Op::addi,  Op::addi,  Op::addis,   Op::addic,  Op::addic_rc, Op::subfic, Op::mulli,  Op::add,    Op::add,
    Op::addc,  Op::adde,  Op::addze,   Op::addme,  Op::subf,     Op::subfc,  Op::subfe,  Op::subfze, Op::subfme,
    Op::neg,   Op::mullw, Op::mulhw,   Op::mulhwu, Op::divw,     Op::divwu,  Op::cmpi,   Op::cmpi,   Op::cmpli,
    Op::cmp,   Op::cmpl,  Op::andi_rc, Op::ori,    Op::oris,     Op::xori,   Op::and_,   Op::or_,    Op::or_,
    Op::xor_,  Op::nor,   Op::extsb,   Op::extsh,  Op::cntlzw,   Op::rlwimi, Op::rlwinm, Op::rlwinm, Op::slw,
    Op::srw,   Op::sraw,  Op::srawi,   Op::bc,     Op::bc,       Op::bc,     Op::bc,     Op::b,      Op::bclr,
    Op::mfspr, Op::mtspr, Op::mfcr,    Op::mtcrf,  Op::crxor,    Op::cror,   Op::mcrf,   Op::twi,    Op::isync,
};
constexpr Op storage_ops[] = {
    Op::lbz,  Op::lbzu,  Op::lbzx,  Op::lhz,   Op::lhzx, Op::lha,      Op::lhau,   Op::lwz,  Op::lwz,    Op::lwzu,
    Op::lwzx, Op::lwzux, Op::lwbrx, Op::lhbrx, Op::lmw,  Op::lwarx,    Op::stb,    Op::stbu, Op::stbx,   Op::sth,
    Op::sthu, Op::sthx,  Op::stw,   Op::stw,   Op::stwu, Op::stwx,     Op::stwux,  Op::stmw, Op::stwbrx, Op::sthbrx,
    Op::dcbz, Op::lfd,   Op::lfs,   Op::stfd,  Op::stfs, Op::stwcx_rc, Op::stfiwx, Op::lfdu, Op::lfsx,   Op::icbi,
};

// Whether the row writes the register in the RT field, or the one in the RA field.
enum class Writes { nothing, rt, ra };

Writes writes(const InstructionInfo& info) {
    switch (info.form) {
    case Form::x_rt: return (info.flags & flag::priv) != 0 ? Writes::nothing : Writes::rt; // mfcr
    case Form::d_arith:
    case Form::d_arith0:
    case Form::xo:
    case Form::xo_ra:
    case Form::xfx_spr: return Writes::rt;
    case Form::d_logic:
    case Form::x_logic:
    case Form::x_logic1:
    case Form::x_shift_imm:
    case Form::m_imm:
    case Form::m_reg: return Writes::ra;
    default: return Writes::nothing;
    }
}

bool reads_rb(Form form) {
    return form == Form::xo || form == Form::x_logic || form == Form::m_reg || form == Form::x_cmp ||
           form == Form::x_trap;
}
bool uses_ra(Form form) {
    return form == Form::d_arith || form == Form::d_arith0 || form == Form::xo || form == Form::xo_ra ||
           form == Form::d_cmp || form == Form::d_cmpl || form == Form::d_trap || form == Form::x_cmp ||
           form == Form::x_trap;
}
bool reads_rs(Form form) {
    return form == Form::d_logic || form == Form::x_logic || form == Form::x_logic1 || form == Form::x_shift_imm ||
           form == Form::m_imm || form == Form::m_reg || form == Form::xfx_mtcrf;
}

bool is_storage(const InstructionInfo& info) {
    return (info.flags & (flag::load | flag::store | flag::cache)) != 0 && (info.flags & flag::priv) == 0;
}

} // namespace

bool CodeGenerator::usable(Op op) const {
    if (excluded_[static_cast<std::size_t>(op)]) return false;
    // These reach registers that their fields do not name.
    const bool spreads =
        op == Op::lmw || op == Op::stmw || op == Op::lswi || op == Op::lswx || op == Op::stswi || op == Op::stswx;
    return !spreads || use_.reserved == 0;
}

Op CodeGenerator::choose_op() {
    for (;;) {
        Op op;
        const unsigned kind = random_.below(100);
        if (kind < uniform_percent_)
            op = static_cast<Op>(random_.below(isa::op_count));
        else if (kind < uniform_percent_ + (100 - uniform_percent_) * 2 / 5)
            op = random_.any(storage_ops);
        else
            op = random_.any(common_ops);
        if (usable(op)) return op;
    }
}

unsigned CodeGenerator::source() {
    for (;;) {
        const unsigned gpr = random_.below(32);
        if ((use_.reserved >> gpr & 1) == 0) return gpr;
    }
}

unsigned CodeGenerator::target() {
    const std::uint32_t avoided = random_.chance(94) ? use_.pointers | use_.offsets : 0;
    return member(random_, ~(avoided | use_.reserved));
}

unsigned CodeGenerator::pointer() { return random_.chance(94) ? member(random_, use_.pointers) : source(); }
unsigned CodeGenerator::offset() { return random_.chance(90) ? member(random_, use_.offsets) : source(); }

// In bytes, within the program (its end included) but for a few.
std::uint32_t CodeGenerator::branch_displacement(unsigned position, unsigned length) {
    if (random_.chance(2)) return (random_.word() & 0x1FFC) - 0x1000;
    const unsigned aim =
        position < length && random_.chance(70) ? random_.between(position + 1, length) : random_.below(length + 1);
    return (aim - position) * 4;
}

std::uint32_t CodeGenerator::special_register(Op op) {
    namespace spr = isa::spr;
    if (random_.chance(3)) return field_spr(random_.below(1024));
    if (op == Op::mftb) return field_spr(random_.pick<unsigned>({spr::tbl_read, spr::tbl_read, spr::tbu_read}));
    if (random_.chance(15))
        return field_spr(random_.pick<unsigned>({spr::dec, spr::srr0, spr::srr1, spr::sprg0, spr::pid, spr::esr}));
    if (op == Op::mtspr && random_.chance(95))
        return field_spr(random_.pick<unsigned>({spr::xer, spr::xer, spr::ctr, spr::ctr, spr::lr, spr::usprg0}));
    return field_spr(random_.pick<unsigned>({spr::xer, spr::lr, spr::ctr, spr::usprg0, spr::sprg4_user, spr::sprg5_user,
                                             spr::sprg6_user, spr::sprg7_user, spr::tbl_read}));
}

std::uint32_t CodeGenerator::storage_operands(const InstructionInfo& info, Op op) {
    const bool update = (info.flags & flag::update) != 0;
    const bool fp = (info.flags & flag::fp) != 0;
    std::uint32_t word = field_ra(!update && random_.chance(4) ? 0 : pointer());
    if (info.form == Form::d_mem || info.form == Form::d_fmem) {
        std::uint32_t displacement = random_.word();
        switch (random_.below(8)) {
        case 0: break;
        case 1: displacement = displacement % 256 - 128; break;
        default: displacement = (displacement % 64 - 32) * 4; break;
        }
        word |= displacement & 0xFFFF;
    } else if (info.form == Form::x_string_imm) {
        word |= field_rb(random_.below(32));
    } else {
        word |= field_rb(offset());
    }
    if (op == Op::lwarx) reservation_ = word & (field_ra(31) | field_rb(31));
    if (op == Op::stwcx_rc && random_.chance(75)) word = reservation_;
    if (info.form == Form::cache) return word;
    if (fp) return word | field_rt(random_.below(32));
    if (op == Op::lmw || op == Op::stmw)
        return word | field_rt(random_.chance(85) ? random_.between(24, 31) : source());
    return word | field_rt((info.flags & flag::load) != 0 ? target() : source());
}

std::uint32_t CodeGenerator::encode(Op op, unsigned position, unsigned length) {
    const InstructionInfo& info = isa::instruction_table[static_cast<std::size_t>(op)];
    std::uint32_t operands = random_.word() & isa::operand_mask(info.form);
    const auto replace = [&](std::uint32_t mask, std::uint32_t value) {
        operands = (operands & ~mask) | (value & mask);
    };
    if (is_storage(info)) {
        operands = storage_operands(info, op);
    } else {
        const Form form = info.form;
        if (reads_rb(form)) replace(field_rb(31), field_rb(source()));
        if (uses_ra(form)) replace(field_ra(31), field_ra(source()));
        if (reads_rs(form)) replace(field_rt(31), field_rt(source()));
        if (writes(info) == Writes::rt) replace(field_rt(31), field_rt(target()));
        if (writes(info) == Writes::ra) replace(field_ra(31), field_ra(target()));
        // mtspr reads what mfspr writes; a pointer is as good a value as any other.
        if (form == Form::xfx_spr) replace(field_ra(31) | field_rb(31), special_register(op));
        if (form == Form::i) replace(0x03FFFFFF, branch_displacement(position, length) | random_.chance(20));
        if (form == Form::b) replace(0xFFFF, branch_displacement(position, length) | random_.chance(15));
        if ((form == Form::i || form == Form::b) && random_.chance(1)) operands |= 2; // AA
        // All bits of one field, as most code has them.
        if (form == Form::xl_cr && random_.chance(50)) {
            const std::uint32_t field = (operands >> 23 & 7) << 2;
            replace(field_ra(28) | field_rb(28), field_ra(field) | field_rb(field));
        }
        if (form == Form::xl_branch && random_.chance(80)) replace(field_rt(31), field_rt(20));
        // Immediate values at the ends of their range.
        if ((form == Form::d_arith || form == Form::d_arith0 || form == Form::d_cmp || form == Form::d_trap) &&
            random_.chance(40))
            replace(0xFFFF, random_.pick<std::uint32_t>({0, 1, 0xFFFF, 0x8000, 0x7FFF, 4}));
        if (form == Form::d_trap || form == Form::x_trap)
            replace(field_rt(31), field_rt(random_.pick<unsigned>({0, 1, 2, 4, 4, 4, 8, 16, random_.below(32)})));
        // rlwinm as compilers use it: shifts and field extraction.
        if (form == Form::m_imm && random_.chance(40)) {
            const unsigned shift = random_.between(1, 31);
            replace(0xFFFE,
                    random_.chance(50) ? shift << 11 | (31 - shift) << 1 : (32 - shift) << 11 | shift << 6 | 31 << 1);
        }
    }
    if ((info.flags & flag::rc) != 0 && random_.chance(40)) operands |= 1;
    if ((info.flags & flag::oe) != 0 && random_.chance(20)) operands |= 0x400;
    return info.match | operands;
}

std::uint32_t CodeGenerator::instruction(unsigned position, unsigned length) {
    if (random_.below(400) == 0) return random_.word() & 0x03FFFFFF; // primary opcode 0: illegal
    // What compilers make addresses of: a constant where data may be, and where code is.
    if (random_.below(60) == 0) return immediate(isa::Op::addis, pointer(), 0, 0x2000 + random_.below(3));
    if (random_.below(120) == 0) return 0x429F0005; // bcl 20,31,.+4
    if (random_.below(120) == 0) return match(isa::Op::mfspr) | field_rt(target()) | field_spr(isa::spr::lr);
    return encode(choose_op(), position, length);
}

std::vector<std::uint32_t> CodeGenerator::program(unsigned length) {
    std::vector<std::uint32_t> words(length);
    for (unsigned position = 0; position < length; ++position) words[position] = instruction(position, length);
    return words;
}

} // namespace untrap::tests
