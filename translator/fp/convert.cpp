// SPDX-License-Identifier: GPL-2.0-only
// Conversions and compares.
#include "translator/fp/round.h"

namespace untrap::fp {

namespace {

Result convert_to_word(std::uint64_t frb, RoundingMode mode, std::uint32_t& fpscr) {
    constexpr std::uint32_t rounding_status = fpscr_fr | fpscr_fi;
    const bool sign = sign_of(frb);
    // VXCVI's result; the upper word as described in fp.h.
    const auto cannot = [&](std::uint32_t causes, std::uint64_t value) -> Result {
        fpscr &= ~rounding_status;
        raise(fpscr, causes | fpscr_vxcvi);
        if (fpscr & fpscr_ve) return {0, false};
        fpscr = (fpscr & ~fpscr_fprf) | fprf_qnan;
        return {value, true};
    };
    constexpr std::uint64_t most_negative = 0xffff'ffff'8000'0000;
    constexpr std::uint64_t most_positive = 0x7fff'ffff;
    if (is_nan(frb)) return cannot(is_snan(frb) ? fpscr_vxsnan : 0, 0x8000'0000);
    if (is_infinity(frb)) return cannot(0, sign ? most_negative : most_positive);
    if (is_zero(frb)) {
        fpscr &= ~rounding_status;
        return {0, true};
    }

    const Number number = number_of(frb);
    if (number.exponent >= 32) return cannot(0, sign ? most_negative : most_positive);
    std::uint64_t integer = 0;
    std::uint64_t rest = 1; // below one half: only that it is not zero matters
    if (number.exponent >= 0) {
        integer = number.significand >> (63 - number.exponent);
        rest = number.significand << 1 << number.exponent;
    } else if (number.exponent == -1) {
        rest = number.significand;
    }
    const bool up = rounds_up(mode, sign, (integer & 1) != 0, rest, top_bit);
    integer += up;
    if (integer > (sign ? most_positive + 1 : most_positive)) return cannot(0, sign ? most_negative : most_positive);
    fpscr = (fpscr & ~rounding_status) | (up ? fpscr_fr : 0) | (rest != 0 ? fpscr_fi : 0);
    raise(fpscr, rest != 0 ? fpscr_xx : 0);
    return {sign ? 0 - integer : integer, true};
}

std::uint32_t compare(std::uint64_t fra, std::uint64_t frb, std::uint32_t nan_causes, std::uint32_t& fpscr) {
    std::uint32_t field = cr_un;
    if (!is_nan(fra) && !is_nan(frb)) {
        // Sign and magnitude to two's complement, which maps both zeroes to 0.
        const auto key = [](std::uint64_t image) {
            const auto magnitude = static_cast<std::int64_t>(magnitude_of(image));
            return sign_of(image) ? -magnitude : magnitude;
        };
        field = key(fra) < key(frb) ? cr_lt : key(fra) > key(frb) ? cr_gt : cr_eq;
    }
    static_assert(fpscr_fl == cr_lt << 12 && fpscr_fu == cr_un << 12);
    fpscr = (fpscr & ~fpscr_fpcc) | field << 12;
    raise(fpscr, field == cr_un ? nan_causes : 0);
    return field;
}

} // namespace

Result frsp(std::uint64_t frb, std::uint32_t& fpscr) {
    if (is_nan(frb)) {
        // The one instruction that shortens a NaN.
        constexpr std::uint64_t beyond_single = 0x1fff'ffff;
        return nan_operand(is_snan(frb) ? fpscr_vxsnan : 0, frb & ~beyond_single, fpscr);
    }
    if (is_infinity(frb) || is_zero(frb)) return exact_special(frb, fpscr);
    return round(number_of(frb), single_format, fpscr);
}

Result fctiw(std::uint64_t frb, std::uint32_t& fpscr) { return convert_to_word(frb, rounding_mode(fpscr), fpscr); }
Result fctiwz(std::uint64_t frb, std::uint32_t& fpscr) {
    return convert_to_word(frb, RoundingMode::toward_zero, fpscr);
}

std::uint32_t fcmpu(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr) {
    return compare(fra, frb, is_snan(fra) || is_snan(frb) ? fpscr_vxsnan : 0, fpscr);
}

std::uint32_t fcmpo(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr) {
    std::uint32_t causes = fpscr_vxvc;
    // An enabled signalling NaN is reported alone.
    if (is_snan(fra) || is_snan(frb)) causes = fpscr & fpscr_ve ? fpscr_vxsnan : fpscr_vxsnan | fpscr_vxvc;
    return compare(fra, frb, causes, fpscr);
}

std::uint64_t load_single(std::uint32_t word) {
    const bool sign = (word >> 31) != 0;
    const std::uint32_t field = word >> 23 & 0xff;
    const std::uint32_t fraction = word & 0x7f'ffff;
    if (field == 0xff) return with_sign(sign, infinity | std::uint64_t{fraction} << 29);
    if (field != 0) return with_sign(sign, std::uint64_t{field + (1023 - 127)} << 52 | std::uint64_t{fraction} << 29);
    if (fraction == 0) return with_sign(sign, 0);
    const int shift = leading_zeros(fraction) - 40; // brings the leading bit to bit 23
    const std::uint64_t normalised = std::uint64_t{fraction} << shift & 0x7f'ffff;
    return with_sign(sign, static_cast<std::uint64_t>(1023 - 126 - shift) << 52 | normalised << 29);
}

std::uint32_t store_single(std::uint64_t frs) {
    const auto sign = static_cast<std::uint32_t>(frs >> 32) & 0x8000'0000;
    const int field = static_cast<int>(magnitude_of(frs) >> 52);
    constexpr int least_normal = 1023 - 126;
    constexpr int least_denormal = least_normal - 23;
    if (field >= least_normal) {
        const auto top_two = static_cast<std::uint32_t>(frs >> 32) & 0xc000'0000;
        return top_two | (static_cast<std::uint32_t>(frs >> 29) & 0x3fff'ffff);
    }
    if (field < least_denormal) return sign;
    const std::uint64_t significand = (frs & fraction_mask) | quiet_bit << 1;
    return sign | static_cast<std::uint32_t>(significand >> (29 + least_normal - field));
}

} // namespace untrap::fp
