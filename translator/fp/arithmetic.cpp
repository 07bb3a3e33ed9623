// SPDX-License-Identifier: GPL-2.0-only
// Addition, multiplication and their fusion. Every result is computed exactly (or exactly but for a sticky bit) and
// rounded once.
#include "translator/fp/round.h"

namespace untrap::fp {

namespace {

// Bit 127 of value weighs 2^exponent and is set; the lowest 22 bits are zero.
struct Term {
    bool sign;
    int exponent;
    Wide value;
};

Term term_of(const Number& number) { return {number.sign, number.exponent, {number.significand, 0}}; }

Term product_of(const Number& a, const Number& c) {
    Wide value = multiply(a.significand, c.significand);
    int exponent = a.exponent + c.exponent + 1;
    if (!(value.high & top_bit)) {
        value = {value.high << 1 | value.low >> 63, value.low << 1};
        --exponent;
    }
    return {a.sign != c.sign, exponent, value};
}

Number number_with_sticky(const Term& term) { return number_of(term.sign, term.exponent, term.value); }

// The sticky bit is safe under subtraction: bits are lost only when the terms' exponents differ by more than 22, and
// then at most one leading bit cancels.
Result sum(const Term& x, const Term& y, const Format& format, std::uint32_t& fpscr, bool negated) {
    const bool x_first = x.exponent >= y.exponent;
    const Term& great = x_first ? x : y;
    const Term& small = x_first ? y : x;
    // One bit down: room for the carry.
    const Wide a = shift_right_sticky(great.value, 1);
    const int distance = great.exponent - small.exponent;
    const Wide b = shift_right_sticky(small.value, distance + 1);
    const int exponent = great.exponent + 1;
    if (great.sign == small.sign) return round(number_of(great.sign, exponent, add(a, b)), format, fpscr, negated);
    if (less(b, a)) return round(number_of(great.sign, exponent, subtract(a, b)), format, fpscr, negated);
    if (less(a, b)) return round(number_of(small.sign, exponent, subtract(b, a)), format, fpscr, negated);
    return exact_special(with_sign(zero_sum_sign(x.sign, y.sign, fpscr) != negated, 0), fpscr);
}

Result addition(std::uint64_t fra, std::uint64_t frb, const Format& format, std::uint32_t& fpscr, bool minus) {
    if (is_nan(fra) || is_nan(frb)) {
        const std::uint32_t causes = is_snan(fra) || is_snan(frb) ? fpscr_vxsnan : 0;
        return nan_operand(causes, is_nan(fra) ? fra : frb, fpscr);
    }
    if (minus) frb ^= sign_bit;
    if (is_infinity(fra)) {
        if (is_infinity(frb) && fra != frb) return invalid(fpscr_vxisi, default_nan, fpscr);
        return exact_special(fra, fpscr);
    }
    if (is_infinity(frb)) return exact_special(frb, fpscr);
    if (is_zero(fra) && is_zero(frb))
        return exact_special(with_sign(zero_sum_sign(sign_of(fra), sign_of(frb), fpscr), 0), fpscr);
    if (is_zero(fra)) return round(number_of(frb), format, fpscr);
    if (is_zero(frb)) return round(number_of(fra), format, fpscr);
    return sum(term_of(number_of(fra)), term_of(number_of(frb)), format, fpscr, false);
}

Result multiplication(std::uint64_t fra, std::uint64_t frc, const Format& format, std::uint32_t& fpscr) {
    if (is_nan(fra) || is_nan(frc)) {
        const std::uint32_t causes = is_snan(fra) || is_snan(frc) ? fpscr_vxsnan : 0;
        return nan_operand(causes, is_nan(fra) ? fra : frc, fpscr);
    }
    const bool sign = sign_of(fra) != sign_of(frc);
    const bool zero = is_zero(fra) || is_zero(frc);
    if (is_infinity(fra) || is_infinity(frc)) {
        if (zero) return invalid(fpscr_vximz, default_nan, fpscr);
        return exact_special(with_sign(sign, infinity), fpscr);
    }
    if (zero) return exact_special(with_sign(sign, 0), fpscr);
    return round(number_with_sticky(product_of(number_of(fra), number_of(frc))), format, fpscr);
}

struct Fused {
    bool minus;   // the addend is subtracted
    bool negated; // the rounded result is negated
};

Result multiply_add(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, const Format& format, Fused fused,
                    std::uint32_t& fpscr) {
    const bool product_zero = is_zero(fra) || is_zero(frc);
    const bool product_infinite = is_infinity(fra) || is_infinity(frc);
    // Infinity * zero counts even when the addend is a NaN and decides the result.
    std::uint32_t causes = product_zero && product_infinite ? fpscr_vximz : 0;
    if (is_nan(fra) || is_nan(frb) || is_nan(frc)) {
        if (is_snan(fra) || is_snan(frb) || is_snan(frc)) causes |= fpscr_vxsnan;
        return nan_operand(causes, is_nan(fra) ? fra : is_nan(frb) ? frb : frc, fpscr);
    }
    if (causes != 0) return invalid(causes, default_nan, fpscr);

    if (fused.minus) frb ^= sign_bit;
    const bool product_sign = sign_of(fra) != sign_of(frc);
    const bool addend_sign = sign_of(frb);
    if (product_infinite) {
        if (is_infinity(frb) && addend_sign != product_sign) return invalid(fpscr_vxisi, default_nan, fpscr);
        return exact_special(with_sign(product_sign != fused.negated, infinity), fpscr);
    }
    if (is_infinity(frb)) return exact_special(with_sign(addend_sign != fused.negated, infinity), fpscr);
    if (product_zero) {
        if (is_zero(frb))
            return exact_special(with_sign(zero_sum_sign(product_sign, addend_sign, fpscr) != fused.negated, 0), fpscr);
        return round(number_of(frb), format, fpscr, fused.negated);
    }
    const Term product = product_of(number_of(fra), number_of(frc));
    if (is_zero(frb)) return round(number_with_sticky(product), format, fpscr, fused.negated);
    return sum(product, term_of(number_of(frb)), format, fpscr, fused.negated);
}

} // namespace

Result fadd(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr) {
    return addition(fra, frb, double_format, fpscr, false);
}
Result fadds(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr) {
    return addition(fra, frb, single_format, fpscr, false);
}
Result fsub(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr) {
    return addition(fra, frb, double_format, fpscr, true);
}
Result fsubs(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr) {
    return addition(fra, frb, single_format, fpscr, true);
}
Result fmul(std::uint64_t fra, std::uint64_t frc, std::uint32_t& fpscr) {
    return multiplication(fra, frc, double_format, fpscr);
}
Result fmuls(std::uint64_t fra, std::uint64_t frc, std::uint32_t& fpscr) {
    return multiplication(fra, frc, single_format, fpscr);
}

Result fmadd(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr) {
    return multiply_add(fra, frc, frb, double_format, {.minus = false, .negated = false}, fpscr);
}
Result fmadds(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr) {
    return multiply_add(fra, frc, frb, single_format, {.minus = false, .negated = false}, fpscr);
}
Result fmsub(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr) {
    return multiply_add(fra, frc, frb, double_format, {.minus = true, .negated = false}, fpscr);
}
Result fmsubs(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr) {
    return multiply_add(fra, frc, frb, single_format, {.minus = true, .negated = false}, fpscr);
}
Result fnmadd(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr) {
    return multiply_add(fra, frc, frb, double_format, {.minus = false, .negated = true}, fpscr);
}
Result fnmadds(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr) {
    return multiply_add(fra, frc, frb, single_format, {.minus = false, .negated = true}, fpscr);
}
Result fnmsub(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr) {
    return multiply_add(fra, frc, frb, double_format, {.minus = true, .negated = true}, fpscr);
}
Result fnmsubs(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr) {
    return multiply_add(fra, frc, frb, single_format, {.minus = true, .negated = true}, fpscr);
}

} // namespace untrap::fp
