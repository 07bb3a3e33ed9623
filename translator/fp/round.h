// SPDX-License-Identifier: GPL-2.0-only
// Inside translator/fp only: how results leave an instruction, with the FPSCR brought up to date.
#pragma once

#include "translator/fp/number.h"

#include <cstdint>

namespace untrap::fp {

enum class RoundingMode : std::uint32_t { nearest, toward_zero, upward, downward };
constexpr RoundingMode rounding_mode(std::uint32_t fpscr) { return static_cast<RoundingMode>(fpscr & fpscr_rn); }

// Exponents of the format's smallest and largest normalised numbers, and what an enabled underflow or overflow adds to
// or subtracts from the exponent.
struct Format {
    int precision;
    int least_exponent;
    int greatest_exponent;
    int adjustment;
};
inline constexpr Format double_format{53, -1022, 1023, 1536};
inline constexpr Format single_format{24, -126, 127, 192};

// Whether rounding moves the magnitude up; rest is what lies below the last bit kept, half the weight halfway to it.
bool rounds_up(RoundingMode mode, bool sign, bool odd, std::uint64_t rest, std::uint64_t half);

// Rounds an exact value. negated: the rounded result changes sign (fnmadd, fnmsub).
Result round(const Number& exact, const Format& format, std::uint32_t& fpscr, bool negated = false);

// An exact result of zero or infinity, or a quiet NaN from an operand that raised nothing.
Result exact_special(std::uint64_t image, std::uint32_t& fpscr);

// The invalid operations in causes (vx bits, not empty): nan is the result if VE leaves room for one.
Result invalid(std::uint32_t causes, std::uint64_t nan, std::uint32_t& fpscr);

// A NaN operand decided the result: quieted, with causes (maybe empty) raised.
Result nan_operand(std::uint32_t causes, std::uint64_t nan, std::uint32_t& fpscr);

// A finite number divided by zero: image is the infinity.
Result zero_divide(std::uint64_t image, std::uint32_t& fpscr);

// The sign of an exact zero sum of terms with these signs.
constexpr bool zero_sum_sign(bool a, bool b, std::uint32_t fpscr) {
    return a == b ? a : rounding_mode(fpscr) == RoundingMode::downward;
}

} // namespace untrap::fp
