// SPDX-License-Identifier: GPL-2.0-only
#include "translator/fp/round.h"

namespace untrap::fp {

namespace {

constexpr std::uint32_t rounding_status = fpscr_fr | fpscr_fi;

void set_fprf(std::uint32_t& fpscr, std::uint32_t fprf) { fpscr = (fpscr & ~fpscr_fprf) | fprf; }

// significand / 2^63 * 2^exponent, already rounded to what fits, as a double-format image. Exponents beyond the format
// wrap: they come from enabled overflow or underflow of operands for which the architecture defines no result.
std::uint64_t image_of(bool sign, int exponent, std::uint64_t significand, bool denormal) {
    const std::uint64_t fraction = significand >> 11 & fraction_mask;
    const std::uint64_t field = denormal ? 0 : static_cast<std::uint64_t>(exponent + 1023) & 0x7ff;
    return with_sign(sign, field << 52 | fraction);
}

Result overflow(bool sign, const Format& format, std::uint32_t& fpscr, bool negated) {
    const RoundingMode mode = rounding_mode(fpscr);
    const bool to_infinity = mode == RoundingMode::nearest || (mode == RoundingMode::upward && !sign) ||
                             (mode == RoundingMode::downward && sign);
    // All ones in the fraction the format has.
    const std::uint64_t largest =
        image_of(false, format.greatest_exponent, ~std::uint64_t{0} << (64 - format.precision), false);
    const bool result_sign = sign != negated;
    fpscr = (fpscr & ~rounding_status) | fpscr_fi | (to_infinity ? fpscr_fr : 0);
    if (to_infinity)
        set_fprf(fpscr, result_sign ? fprf_negative_infinity : fprf_positive_infinity);
    else
        set_fprf(fpscr, result_sign ? fprf_negative_normal : fprf_positive_normal);
    raise(fpscr, fpscr_ox | fpscr_xx);
    return {with_sign(result_sign, to_infinity ? infinity : largest), true};
}

} // namespace

bool rounds_up(RoundingMode mode, bool sign, bool odd, std::uint64_t rest, std::uint64_t half) {
    switch (mode) {
    case RoundingMode::nearest: return rest > half || (rest == half && odd);
    case RoundingMode::toward_zero: return false;
    case RoundingMode::upward: return rest != 0 && !sign;
    case RoundingMode::downward: return rest != 0 && sign;
    }
    return false;
}

Result round(const Number& exact, const Format& format, std::uint32_t& fpscr, bool negated) {
    int exponent = exact.exponent;
    std::uint64_t significand = exact.significand;
    const bool tiny = exponent < format.least_exponent;
    std::uint32_t raised = 0;
    if (tiny && (fpscr & fpscr_ue)) {
        raised |= fpscr_ux;
        exponent += format.adjustment;
    } else if (tiny) {
        significand = shift_right_sticky(significand, format.least_exponent - exponent);
        exponent = format.least_exponent;
    }

    const int dropped = 64 - format.precision;
    const std::uint64_t unit = std::uint64_t{1} << dropped;
    const std::uint64_t rest = significand & (unit - 1);
    const bool up =
        rounds_up(rounding_mode(fpscr), exact.sign, (significand & unit) != 0, rest, std::uint64_t{1} << (dropped - 1));
    significand -= rest;
    if (up) {
        significand += unit;
        if (significand == 0) {
            significand = top_bit;
            ++exponent;
        }
    }
    if (rest != 0) raised |= tiny ? fpscr_ux | fpscr_xx : fpscr_xx;

    if (!tiny && exponent > format.greatest_exponent) {
        if (!(fpscr & fpscr_oe)) return overflow(exact.sign, format, fpscr, negated);
        raised |= fpscr_ox;
        exponent -= format.adjustment;
    }

    const bool sign = exact.sign != negated;
    fpscr = (fpscr & ~rounding_status) | (up ? fpscr_fr : 0) | (rest != 0 ? fpscr_fi : 0);
    std::uint64_t image = 0;
    if (significand & top_bit) {
        image = image_of(sign, exponent, significand, false);
        set_fprf(fpscr, sign ? fprf_negative_normal : fprf_positive_normal);
    } else if (significand != 0) {
        // Denormal in its format. A denormal single is a normalised double, FPRF calls it a denormal all the same.
        if (format.least_exponent == double_format.least_exponent) {
            image = image_of(sign, exponent, significand, true);
        } else {
            const int shift = leading_zeros(significand);
            image = image_of(sign, exponent - shift, significand << shift, false);
        }
        set_fprf(fpscr, sign ? fprf_negative_denormal : fprf_positive_denormal);
    } else {
        image = with_sign(sign, 0);
        set_fprf(fpscr, sign ? fprf_negative_zero : fprf_positive_zero);
    }
    raise(fpscr, raised);
    return {image, true};
}

Result exact_special(std::uint64_t image, std::uint32_t& fpscr) {
    fpscr &= ~rounding_status;
    const bool sign = sign_of(image);
    if (is_nan(image))
        set_fprf(fpscr, fprf_qnan);
    else if (is_infinity(image))
        set_fprf(fpscr, sign ? fprf_negative_infinity : fprf_positive_infinity);
    else
        set_fprf(fpscr, sign ? fprf_negative_zero : fprf_positive_zero);
    return {image, true};
}

Result invalid(std::uint32_t causes, std::uint64_t nan, std::uint32_t& fpscr) {
    raise(fpscr, causes);
    if (!(fpscr & fpscr_ve)) return exact_special(nan, fpscr);
    fpscr &= ~rounding_status;
    return {0, false};
}

Result nan_operand(std::uint32_t causes, std::uint64_t nan, std::uint32_t& fpscr) {
    nan |= quiet_bit;
    return causes != 0 ? invalid(causes, nan, fpscr) : exact_special(nan, fpscr);
}

Result zero_divide(std::uint64_t image, std::uint32_t& fpscr) {
    raise(fpscr, fpscr_zx);
    if (!(fpscr & fpscr_ze)) return exact_special(image, fpscr);
    fpscr &= ~rounding_status;
    return {0, false};
}

} // namespace untrap::fp
