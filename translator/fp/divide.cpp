// SPDX-License-Identifier: GPL-2.0-only
// Division, square root and the two estimates: one bit at a time, since a 32-bit host has no 64-bit division outside
// libgcc.
#include "translator/fp/round.h"

namespace untrap::fp {

namespace {

// Quotient and root carry 55 bits or more before the sticky bit: 53, one that decides the rounding, one spare.
constexpr int result_bits = 56;

Number quotient_of(const Number& a, const Number& b) {
    std::uint64_t rest = a.significand >> 11;
    const std::uint64_t divisor = b.significand >> 11;
    int exponent = a.exponent - b.exponent;
    if (rest < divisor) {
        rest <<= 1;
        --exponent;
    }
    std::uint64_t quotient = 0;
    for (int bit = 0; bit < result_bits; ++bit) {
        quotient <<= 1;
        if (rest >= divisor) {
            rest -= divisor;
            quotient |= 1;
        }
        rest <<= 1;
    }
    return {a.sign != b.sign, exponent, quotient << (64 - result_bits) | (rest != 0)};
}

// a: positive.
Number root_of(const Number& a) {
    // The radicand as a 2.62 fixed-point number in [1, 4), its exponent even.
    const bool odd = (a.exponent & 1) != 0;
    std::uint64_t radicand = odd ? a.significand : a.significand >> 1;
    const int exponent = (odd ? a.exponent - 1 : a.exponent) / 2;
    std::uint64_t rest = 0;
    std::uint64_t root = 0;
    for (int bit = 0; bit < result_bits; ++bit) {
        rest = rest << 2 | radicand >> 62;
        radicand <<= 2;
        const std::uint64_t trial = root << 2 | 1;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root |= 1;
        }
    }
    return {false, exponent, root << (64 - result_bits) | (rest != 0)};
}

Result divide(std::uint64_t fra, std::uint64_t frb, const Format& format, std::uint32_t& fpscr) {
    if (is_nan(fra) || is_nan(frb)) {
        const std::uint32_t causes = is_snan(fra) || is_snan(frb) ? fpscr_vxsnan : 0;
        return nan_operand(causes, is_nan(fra) ? fra : frb, fpscr);
    }
    const bool sign = sign_of(fra) != sign_of(frb);
    if (is_infinity(fra)) {
        if (is_infinity(frb)) return invalid(fpscr_vxidi, default_nan, fpscr);
        return exact_special(with_sign(sign, infinity), fpscr);
    }
    if (is_infinity(frb)) return exact_special(with_sign(sign, 0), fpscr);
    if (is_zero(frb)) {
        if (is_zero(fra)) return invalid(fpscr_vxzdz, default_nan, fpscr);
        return zero_divide(with_sign(sign, infinity), fpscr);
    }
    if (is_zero(fra)) return exact_special(with_sign(sign, 0), fpscr);
    return round(quotient_of(number_of(fra), number_of(frb)), format, fpscr);
}

Result square_root(std::uint64_t frb, const Format& format, std::uint32_t& fpscr) {
    if (is_nan(frb)) return nan_operand(is_snan(frb) ? fpscr_vxsnan : 0, frb, fpscr);
    if (is_zero(frb)) return exact_special(frb, fpscr);
    if (sign_of(frb)) return invalid(fpscr_vxsqrt, default_nan, fpscr);
    if (is_infinity(frb)) return exact_special(frb, fpscr);
    return round(root_of(number_of(frb)), format, fpscr);
}

constexpr std::uint64_t one = 0x3ff0'0000'0000'0000;

} // namespace

Result fdiv(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr) {
    return divide(fra, frb, double_format, fpscr);
}
Result fdivs(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr) {
    return divide(fra, frb, single_format, fpscr);
}
Result fsqrt(std::uint64_t frb, std::uint32_t& fpscr) { return square_root(frb, double_format, fpscr); }
Result fsqrts(std::uint64_t frb, std::uint32_t& fpscr) { return square_root(frb, single_format, fpscr); }
Result fres(std::uint64_t frb, std::uint32_t& fpscr) { return divide(one, frb, single_format, fpscr); }

Result frsqrte(std::uint64_t frb, std::uint32_t& fpscr) {
    if (is_nan(frb)) return nan_operand(is_snan(frb) ? fpscr_vxsnan : 0, frb, fpscr);
    if (is_zero(frb)) return zero_divide(with_sign(sign_of(frb), infinity), fpscr);
    if (sign_of(frb)) return invalid(fpscr_vxsqrt, default_nan, fpscr);
    if (is_infinity(frb)) return exact_special(0, fpscr);
    // Neither step can overflow or underflow, so inexactness is all the first one can add.
    std::uint32_t root_fpscr = fpscr & fpscr_rn;
    const Result root = square_root(frb, double_format, root_fpscr);
    const Result result = divide(one, root.value, double_format, fpscr);
    if (root_fpscr & fpscr_fi) {
        fpscr |= fpscr_fi;
        raise(fpscr, fpscr_xx);
    }
    return result;
}

} // namespace untrap::fp
