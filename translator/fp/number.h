// SPDX-License-Identifier: GPL-2.0-only
// Inside translator/fp only: FPR images taken apart, and the wide integers exact results are computed in.
#pragma once

#include "translator/fp/fp.h"

#include <cstdint>

namespace untrap::fp {

inline constexpr std::uint64_t infinity = 0x7ff0'0000'0000'0000;
inline constexpr std::uint64_t quiet_bit = 0x0008'0000'0000'0000;
inline constexpr std::uint64_t fraction_mask = 0x000f'ffff'ffff'ffff;
inline constexpr std::uint64_t top_bit = 0x8000'0000'0000'0000;

constexpr bool sign_of(std::uint64_t image) { return (image & sign_bit) != 0; }
constexpr std::uint64_t magnitude_of(std::uint64_t image) { return image & ~sign_bit; }
constexpr bool is_nan(std::uint64_t image) { return magnitude_of(image) > infinity; }
constexpr bool is_snan(std::uint64_t image) { return is_nan(image) && !(image & quiet_bit); }
constexpr bool is_infinity(std::uint64_t image) { return magnitude_of(image) == infinity; }
constexpr bool is_zero(std::uint64_t image) { return magnitude_of(image) == 0; }
constexpr std::uint64_t with_sign(bool sign, std::uint64_t magnitude) {
    return sign ? magnitude | sign_bit : magnitude;
}

// From 32-bit counts: the 64-bit builtin would call libgcc on a 32-bit host. Undefined for 0.
constexpr int leading_zeros(std::uint64_t value) {
    const auto high = static_cast<std::uint32_t>(value >> 32);
    return high ? __builtin_clz(high) : 32 + __builtin_clz(static_cast<std::uint32_t>(value));
}

// A finite number other than zero: significand / 2^63 * 2^exponent, the top bit of significand set. A number that
// stands for an inexact value has bit 0 set ("sticky"): always far below the last bit any rounding looks at alone.
struct Number {
    bool sign;
    int exponent;
    std::uint64_t significand;
};

// image: finite, not zero.
constexpr Number number_of(std::uint64_t image) {
    const std::uint64_t fraction = image & fraction_mask;
    const int field = static_cast<int>(magnitude_of(image) >> 52);
    if (field != 0) return {sign_of(image), field - 1023, top_bit | fraction << 11};
    const int shift = leading_zeros(fraction);
    return {sign_of(image), -1022 + 11 - shift, fraction << shift};
}

struct Wide {
    std::uint64_t high;
    std::uint64_t low;
};

constexpr Wide multiply(std::uint64_t a, std::uint64_t b) {
    const std::uint64_t a_low = static_cast<std::uint32_t>(a), a_high = a >> 32;
    const std::uint64_t b_low = static_cast<std::uint32_t>(b), b_high = b >> 32;
    const std::uint64_t low = a_low * b_low;
    const std::uint64_t middle = a_high * b_low + (low >> 32); // cannot overflow: (2^32-1)^2 + 2^32-1 < 2^64
    const std::uint64_t cross = a_low * b_high + static_cast<std::uint32_t>(middle);
    return {a_high * b_high + (middle >> 32) + (cross >> 32), cross << 32 | static_cast<std::uint32_t>(low)};
}

constexpr Wide add(Wide a, Wide b) {
    const std::uint64_t low = a.low + b.low;
    return {a.high + b.high + (low < a.low), low};
}

constexpr Wide subtract(Wide a, Wide b) { return {a.high - b.high - (a.low < b.low), a.low - b.low}; }

constexpr bool less(Wide a, Wide b) { return a.high != b.high ? a.high < b.high : a.low < b.low; }

// distance >= 0; whatever leaves at the right stays as bit 0.
constexpr Wide shift_right_sticky(Wide value, int distance) {
    if (distance == 0) return value;
    if (distance >= 128) return {0, static_cast<std::uint64_t>((value.high | value.low) != 0)};
    if (distance >= 64) {
        const int rest = distance - 64;
        const std::uint64_t lost = value.low | (rest ? value.high << (64 - rest) : 0);
        return {0, value.high >> rest | (lost != 0)};
    }
    const std::uint64_t lost = value.low << (64 - distance);
    return {value.high >> distance, value.high << (64 - distance) | value.low >> distance | (lost != 0)};
}

constexpr std::uint64_t shift_right_sticky(std::uint64_t value, int distance) {
    if (distance == 0) return value;
    if (distance >= 64) return value != 0;
    return value >> distance | (value << (64 - distance) != 0);
}

// value: not zero. Bit 127 of value weighs 2^exponent.
constexpr Number number_of(bool sign, int exponent, Wide value) {
    if (value.high == 0) {
        value = {value.low, 0};
        exponent -= 64;
    }
    const int shift = leading_zeros(value.high);
    if (shift != 0) value = {value.high << shift | value.low >> (64 - shift), value.low << shift};
    return {sign, exponent - shift, value.high | (value.low != 0)};
}

static_assert(multiply(~0ull, ~0ull).high == ~0ull - 1 && multiply(~0ull, ~0ull).low == 1);
static_assert(number_of(1).exponent == -1074 && number_of(0x3ff0'0000'0000'0000).exponent == 0);

} // namespace untrap::fp
