// SPDX-License-Identifier: GPL-2.0-only
// The multiply-accumulate unit (halfword operands) and dlmzb, PPC440 user's manual chapter 9.
#include "translator/interp/step.h"

namespace untrap::interp::handlers {
namespace {

// Which halves of RA and RB are multiplied.
enum class Halves { cross, high, low }; // RA low * RB high, both high, both low
enum class Sign { is_signed, is_unsigned };
enum class Accumulate { add, subtract };
enum class Range { modulo, saturate };

template <Sign sign>
constexpr std::int64_t extend(std::uint32_t half) {
    if constexpr (sign == Sign::is_signed)
        return static_cast<std::int16_t>(half);
    else
        return half;
}

template <Halves halves, Sign sign>
std::int64_t product(const Step& step) {
    const std::uint32_t a = halves == Halves::high ? step.ra() >> 16 : step.ra() & 0xFFFF;
    const std::uint32_t b = halves == Halves::low ? step.rb() & 0xFFFF : step.rb() >> 16;
    return extend<sign>(a) * extend<sign>(b);
}

// OV says that the exact sum did not fit, whether it was then saturated or not.
template <Halves halves, Sign sign, Accumulate accumulate, Range range>
void multiply_accumulate(Step& step) {
    const isa::Instruction insn = step.instruction;
    const std::uint32_t before = step.gpr(insn.rt());
    std::int64_t exact = sign == Sign::is_signed ? std::int64_t{static_cast<std::int32_t>(before)} : before;
    const std::int64_t term = product<halves, sign>(step);
    exact = accumulate == Accumulate::add ? exact + term : exact - term;

    constexpr std::int64_t least = sign == Sign::is_signed ? -0x80000000LL : 0;
    constexpr std::int64_t greatest = sign == Sign::is_signed ? 0x7FFFFFFFLL : 0xFFFFFFFFLL;
    const bool overflow = exact < least || exact > greatest;
    if (range == Range::saturate && overflow) exact = exact < least ? least : greatest;

    const auto result = static_cast<std::uint32_t>(exact);
    step.gpr(insn.rt()) = result;
    if (insn.oe()) step.set_overflow(overflow);
    if (insn.rc()) step.record(result);
}

template <Halves halves, Sign sign>
void multiply(Step& step) {
    const auto result = static_cast<std::uint32_t>(product<halves, sign>(step));
    step.gpr(step.instruction.rt()) = result;
    if (step.instruction.rc()) step.record(result);
}

constexpr auto cross = Halves::cross, high = Halves::high, low = Halves::low;
constexpr auto s = Sign::is_signed, u = Sign::is_unsigned;
constexpr auto add_to = Accumulate::add, subtract_from = Accumulate::subtract;
constexpr auto modulo = Range::modulo, saturate = Range::saturate;

} // namespace

void macchw(Step& step) { multiply_accumulate<cross, s, add_to, modulo>(step); }
void macchws(Step& step) { multiply_accumulate<cross, s, add_to, saturate>(step); }
void macchwu(Step& step) { multiply_accumulate<cross, u, add_to, modulo>(step); }
void macchwsu(Step& step) { multiply_accumulate<cross, u, add_to, saturate>(step); }
void machhw(Step& step) { multiply_accumulate<high, s, add_to, modulo>(step); }
void machhws(Step& step) { multiply_accumulate<high, s, add_to, saturate>(step); }
void machhwu(Step& step) { multiply_accumulate<high, u, add_to, modulo>(step); }
void machhwsu(Step& step) { multiply_accumulate<high, u, add_to, saturate>(step); }
void maclhw(Step& step) { multiply_accumulate<low, s, add_to, modulo>(step); }
void maclhws(Step& step) { multiply_accumulate<low, s, add_to, saturate>(step); }
void maclhwu(Step& step) { multiply_accumulate<low, u, add_to, modulo>(step); }
void maclhwsu(Step& step) { multiply_accumulate<low, u, add_to, saturate>(step); }
void nmacchw(Step& step) { multiply_accumulate<cross, s, subtract_from, modulo>(step); }
void nmacchws(Step& step) { multiply_accumulate<cross, s, subtract_from, saturate>(step); }
void nmachhw(Step& step) { multiply_accumulate<high, s, subtract_from, modulo>(step); }
void nmachhws(Step& step) { multiply_accumulate<high, s, subtract_from, saturate>(step); }
void nmaclhw(Step& step) { multiply_accumulate<low, s, subtract_from, modulo>(step); }
void nmaclhws(Step& step) { multiply_accumulate<low, s, subtract_from, saturate>(step); }
void mulchw(Step& step) { multiply<cross, s>(step); }
void mulchwu(Step& step) { multiply<cross, u>(step); }
void mulhhw(Step& step) { multiply<high, s>(step); }
void mulhhwu(Step& step) { multiply<high, u>(step); }
void mullhw(Step& step) { multiply<low, s>(step); }
void mullhwu(Step& step) { multiply<low, u>(step); }

// Position of the leftmost zero byte in RS || RB, counted from 1, or 8 when there is none. CR0 tells the three cases
// apart: GT in RS, LT in RB, EQ nowhere.
void dlmzb(Step& step) {
    const std::uint32_t words[2] = {step.rs(), step.rb()};
    std::uint8_t position = 8;
    unsigned outcome = isa::cr::eq;
    for (unsigned byte = 0; byte < 8; ++byte) {
        if ((words[byte / 4] >> (24 - byte % 4 * 8) & 0xFF) != 0) continue;
        position = static_cast<std::uint8_t>(byte + 1);
        outcome = byte < 4 ? isa::cr::gt : isa::cr::lt;
        break;
    }
    step.gpr(step.instruction.ra()) = position;
    step.state.xer_count = position;
    if (step.instruction.rc())
        step.state.crf[0] = isa::cr::encodings[outcome | (step.state.xer_so != 0 ? isa::cr::so : 0)];
}

} // namespace untrap::interp::handlers
