// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

// Condition-register fields in a form that a compare produces with one subtraction and one store.
//
// A field is a 64-bit integer: a compare of a with b stores the difference of both operands extended to 64 bits
// (sign-extended for cmp, zero-extended for cmpl), a recording instruction stores its sign-extended result. Then
//   LT <=> bit 62,   GT <=> value > 0 (signed),   EQ <=> low word is 0,   SO <=> bit 61 differs from bit 63.
// A difference has bits 63-61 equal, so SO is clear in what a compare stores; SO, and combinations of LT, GT and EQ
// that no compare gives (mtcrf, crxor, fcmpu's unordered), have encodings of their own. All 16 values exist.
namespace untrap::isa {

using CrField = std::int64_t;

namespace cr {
inline constexpr unsigned lt = 8, gt = 4, eq = 2, so = 1; // a field as a number of four bits

constexpr CrField encode(unsigned nibble) {
    std::uint64_t value = 0;
    if ((nibble & gt) == 0) value |= 1ULL << 63; // not positive
    if ((nibble & lt) != 0) value |= 1ULL << 62;
    if ((nibble & eq) == 0)
        value |= 1; // low word not zero
    else
        value |= 1ULL << 32; // keeps a "greater and equal" value positive
    const bool negative = (value >> 63) != 0;
    if (negative != ((nibble & so) != 0)) value |= 1ULL << 61;
    return static_cast<CrField>(value);
}

constexpr bool is_lt(CrField field) { return (static_cast<std::uint64_t>(field) >> 62 & 1) != 0; }
constexpr bool is_gt(CrField field) { return field > 0; }
constexpr bool is_eq(CrField field) { return static_cast<std::uint32_t>(field) == 0; }
constexpr bool is_so(CrField field) {
    const auto bits = static_cast<std::uint64_t>(field);
    return ((bits >> 61 ^ bits >> 63) & 1) != 0;
}

constexpr unsigned decode(CrField field) {
    return (is_lt(field) ? lt : 0) | (is_gt(field) ? gt : 0) | (is_eq(field) ? eq : 0) | (is_so(field) ? so : 0);
}

constexpr CrField compare_signed(std::uint32_t a, std::uint32_t b) {
    return CrField{static_cast<std::int32_t>(a)} - CrField{static_cast<std::int32_t>(b)};
}
constexpr CrField compare_unsigned(std::uint32_t a, std::uint32_t b) { return CrField{a} - CrField{b}; }

inline constexpr std::array<CrField, 16> encodings = [] {
    std::array<CrField, 16> table{};
    for (unsigned nibble = 0; nibble < 16; ++nibble) table[nibble] = encode(nibble);
    return table;
}();

constexpr bool encodings_are_exact() {
    for (unsigned nibble = 0; nibble < 16; ++nibble)
        if (decode(encodings[nibble]) != nibble) return false;
    return decode(compare_signed(1, 2)) == lt && decode(compare_signed(2, 1)) == gt &&
           decode(compare_signed(7, 7)) == eq && decode(compare_signed(0x80000000U, 0x7FFFFFFFU)) == lt &&
           decode(compare_unsigned(0x80000000U, 0x7FFFFFFFU)) == gt && decode(compare_unsigned(0, 0xFFFFFFFFU)) == lt;
}
static_assert(encodings_are_exact());

} // namespace cr
} // namespace untrap::isa
