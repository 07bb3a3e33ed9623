// SPDX-License-Identifier: GPL-2.0-only
// Fixed-point arithmetic, compare, logical, rotate and shift instructions.
#include <bit>

#include "translator/interp/step.h"

namespace untrap::interp::handlers {
namespace {

using isa::Instruction;

// RT of an arithmetic instruction; OE before Rc, because CR0 takes the new SO.
void finish_arithmetic(Step& step, std::uint32_t result, bool overflow) {
    const Instruction insn = step.instruction;
    step.gpr(insn.rt()) = result;
    if (insn.oe()) step.set_overflow(overflow);
    if (insn.rc()) step.record(result);
}

// RA of a logical instruction.
void finish_logical(Step& step, std::uint32_t result) {
    step.gpr(step.instruction.ra()) = result;
    if (step.instruction.rc()) step.record(result);
}

struct Sum {
    std::uint32_t value;
    bool carry;
    bool overflow;
};

constexpr Sum sum(std::uint32_t a, std::uint32_t b, unsigned carry_in) {
    const std::uint64_t wide = std::uint64_t{a} + b + carry_in;
    const auto value = static_cast<std::uint32_t>(wide);
    return {value, (wide >> 32) != 0, (((a ^ value) & (b ^ value)) >> 31) != 0};
}

enum class Carry : bool { keep, set };

// All additions and subtractions are a + b + carry_in, with a complemented for subtractions.
template <Carry carry>
void add_form(Step& step, std::uint32_t a, std::uint32_t b, unsigned carry_in) {
    const Sum result = sum(a, b, carry_in);
    if constexpr (carry == Carry::set) step.state.xer_ca = result.carry ? 1 : 0;
    finish_arithmetic(step, result.value, result.overflow);
}

// Immediate forms have neither OE nor Rc: those bits belong to SI.
std::uint32_t add_immediate_carrying(Step& step, std::uint32_t a, unsigned carry_in) {
    const Sum result = sum(a, step.si(), carry_in);
    step.state.xer_ca = result.carry ? 1 : 0;
    return step.gpr(step.instruction.rt()) = result.value;
}

constexpr std::int64_t signed_product(std::uint32_t a, std::uint32_t b) {
    return std::int64_t{static_cast<std::int32_t>(a)} * static_cast<std::int32_t>(b);
}
constexpr std::uint64_t unsigned_product(std::uint32_t a, std::uint32_t b) { return std::uint64_t{a} * b; }

void compare(Step& step, isa::CrField difference) {
    step.state.crf[step.instruction.bf()] = with_summary_overflow(difference, step.state.xer_so != 0);
}

// The algebraic right shift of both sraw and srawi, amount 0-63.
void shift_right_algebraic(Step& step, unsigned amount) {
    const auto value = static_cast<std::int32_t>(step.rs());
    const unsigned bounded = amount < 31 ? amount : 31; // beyond it nothing but sign bits is left
    const std::uint32_t lost = amount < 32 ? step.rs() & ((1U << amount) - 1) : step.rs();
    step.state.xer_ca = value < 0 && lost != 0 ? 1 : 0;
    finish_logical(step, static_cast<std::uint32_t>(value >> bounded));
}

} // namespace

void addi(Step& step) { step.gpr(step.instruction.rt()) = step.ra_or_zero() + step.si(); }
void addis(Step& step) { step.gpr(step.instruction.rt()) = step.ra_or_zero() + (step.si() << 16); }
void addic(Step& step) { add_immediate_carrying(step, step.ra(), 0); }
void addic_rc(Step& step) { step.record(add_immediate_carrying(step, step.ra(), 0)); }
void subfic(Step& step) { add_immediate_carrying(step, ~step.ra(), 1); }
void mulli(Step& step) { step.gpr(step.instruction.rt()) = step.ra() * step.si(); }

void add(Step& step) { add_form<Carry::keep>(step, step.ra(), step.rb(), 0); }
void addc(Step& step) { add_form<Carry::set>(step, step.ra(), step.rb(), 0); }
void adde(Step& step) { add_form<Carry::set>(step, step.ra(), step.rb(), step.state.xer_ca); }
void addme(Step& step) { add_form<Carry::set>(step, step.ra(), 0xFFFFFFFFU, step.state.xer_ca); }
void addze(Step& step) { add_form<Carry::set>(step, step.ra(), 0, step.state.xer_ca); }
void subf(Step& step) { add_form<Carry::keep>(step, ~step.ra(), step.rb(), 1); }
void subfc(Step& step) { add_form<Carry::set>(step, ~step.ra(), step.rb(), 1); }
void subfe(Step& step) { add_form<Carry::set>(step, ~step.ra(), step.rb(), step.state.xer_ca); }
void subfme(Step& step) { add_form<Carry::set>(step, ~step.ra(), 0xFFFFFFFFU, step.state.xer_ca); }
void subfze(Step& step) { add_form<Carry::set>(step, ~step.ra(), 0, step.state.xer_ca); }
void neg(Step& step) { add_form<Carry::keep>(step, ~step.ra(), 0, 1); }

void mullw(Step& step) {
    const std::int64_t product = signed_product(step.ra(), step.rb());
    finish_arithmetic(step, static_cast<std::uint32_t>(product), product != static_cast<std::int32_t>(product));
}

// mulhw and mulhwu have no OE form; the bit is part of their opcode.
void mulhw(Step& step) {
    const auto product = static_cast<std::uint64_t>(signed_product(step.ra(), step.rb()));
    finish_arithmetic(step, static_cast<std::uint32_t>(product >> 32), false);
}
void mulhwu(Step& step) {
    finish_arithmetic(step, static_cast<std::uint32_t>(unsigned_product(step.ra(), step.rb()) >> 32), false);
}

// The quotient of an impossible division is undefined; here it is the dividend, which is what QEMU gives.
void divw(Step& step) {
    const auto dividend = static_cast<std::int32_t>(step.ra());
    const auto divisor = static_cast<std::int32_t>(step.rb());
    const bool impossible = divisor == 0 || (step.ra() == 0x80000000U && divisor == -1);
    const std::int32_t quotient = impossible ? dividend : dividend / divisor;
    finish_arithmetic(step, static_cast<std::uint32_t>(quotient), impossible);
}
void divwu(Step& step) {
    const std::uint32_t divisor = step.rb();
    finish_arithmetic(step, divisor == 0 ? step.ra() : step.ra() / divisor, divisor == 0);
}

void cmpi(Step& step) { compare(step, isa::cr::compare_signed(step.ra(), step.si())); }
void cmp(Step& step) { compare(step, isa::cr::compare_signed(step.ra(), step.rb())); }
void cmpli(Step& step) { compare(step, isa::cr::compare_unsigned(step.ra(), step.instruction.ui())); }
void cmpl(Step& step) { compare(step, isa::cr::compare_unsigned(step.ra(), step.rb())); }

void andi_rc(Step& step) { step.record(step.gpr(step.instruction.ra()) = step.rs() & step.instruction.ui()); }
void andis_rc(Step& step) { step.record(step.gpr(step.instruction.ra()) = step.rs() & step.instruction.ui() << 16); }
void ori(Step& step) { step.gpr(step.instruction.ra()) = step.rs() | step.instruction.ui(); }
void oris(Step& step) { step.gpr(step.instruction.ra()) = step.rs() | step.instruction.ui() << 16; }
void xori(Step& step) { step.gpr(step.instruction.ra()) = step.rs() ^ step.instruction.ui(); }
void xoris(Step& step) { step.gpr(step.instruction.ra()) = step.rs() ^ step.instruction.ui() << 16; }

void and_(Step& step) { finish_logical(step, step.rs() & step.rb()); }
void andc(Step& step) { finish_logical(step, step.rs() & ~step.rb()); }
void or_(Step& step) { finish_logical(step, step.rs() | step.rb()); }
void orc(Step& step) { finish_logical(step, step.rs() | ~step.rb()); }
void xor_(Step& step) { finish_logical(step, step.rs() ^ step.rb()); }
void nand(Step& step) { finish_logical(step, ~(step.rs() & step.rb())); }
void nor(Step& step) { finish_logical(step, ~(step.rs() | step.rb())); }
void eqv(Step& step) { finish_logical(step, ~(step.rs() ^ step.rb())); }

void extsb(Step& step) {
    finish_logical(step, static_cast<std::uint32_t>(std::int32_t{static_cast<std::int8_t>(step.rs() & 0xFF)}));
}
void extsh(Step& step) {
    finish_logical(step, static_cast<std::uint32_t>(std::int32_t{static_cast<std::int16_t>(step.rs() & 0xFFFF)}));
}
void cntlzw(Step& step) { finish_logical(step, static_cast<std::uint32_t>(std::countl_zero(step.rs()))); }

void rlwimi(Step& step) {
    const Instruction insn = step.instruction;
    const std::uint32_t mask = isa::rotate_mask(insn.mb(), insn.me());
    const std::uint32_t rotated = std::rotl(step.rs(), static_cast<int>(insn.sh()));
    finish_logical(step, (rotated & mask) | (step.ra() & ~mask));
}
void rlwinm(Step& step) {
    const Instruction insn = step.instruction;
    const std::uint32_t rotated = std::rotl(step.rs(), static_cast<int>(insn.sh()));
    finish_logical(step, rotated & isa::rotate_mask(insn.mb(), insn.me()));
}
void rlwnm(Step& step) {
    const Instruction insn = step.instruction;
    const std::uint32_t rotated = std::rotl(step.rs(), static_cast<int>(step.rb() & 31));
    finish_logical(step, rotated & isa::rotate_mask(insn.mb(), insn.me()));
}

// Shift amounts are six bits of RB.
void slw(Step& step) {
    const unsigned amount = step.rb() & 63;
    finish_logical(step, amount < 32 ? step.rs() << amount : 0);
}
void srw(Step& step) {
    const unsigned amount = step.rb() & 63;
    finish_logical(step, amount < 32 ? step.rs() >> amount : 0);
}
void sraw(Step& step) { shift_right_algebraic(step, step.rb() & 63); }
void srawi(Step& step) { shift_right_algebraic(step, step.instruction.sh()); }

} // namespace untrap::interp::handlers
