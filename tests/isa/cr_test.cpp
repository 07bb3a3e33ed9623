// SPDX-License-Identifier: GPL-2.0-only
#include <random>

#include <catch2/catch_test_macros.hpp>

#include "translator/isa/state.h"

using namespace untrap::isa;

namespace {

unsigned compared(bool less, bool greater) { return less ? cr::lt : greater ? cr::gt : cr::eq; }

} // namespace

TEST_CASE("what compares and recorded results store reads as their field") {
    std::mt19937_64 random(7);
    constexpr std::uint32_t corners[] = {0, 1, 2, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF};
    for (unsigned count = 0; count < 100'000; ++count) {
        const auto pick = [&] {
            const auto bits = static_cast<std::uint32_t>(random());
            return bits % 2 == 0 ? corners[bits / 2 % 8] : bits;
        };
        const std::uint32_t a = pick(), b = pick();
        const auto signed_a = static_cast<std::int32_t>(a);
        const auto signed_b = static_cast<std::int32_t>(b);
        if (cr::decode(cr::compare_unsigned(a, b)) != compared(a<b, a> b)) FAIL(a << ' ' << b);
        if (cr::decode(cr::compare_signed(a, b)) != compared(signed_a<signed_b, signed_a> signed_b))
            FAIL(signed_a << ' ' << signed_b);
        if (cr::decode(CrField{signed_a}) != compared(signed_a<0, signed_a> 0)) FAIL(signed_a);
    }
}

TEST_CASE("all sixteen fields have an encoding") {
    for (unsigned nibble = 0; nibble < 16; ++nibble) {
        CAPTURE(nibble);
        CHECK(cr::decode(cr::encodings[nibble]) == nibble);
    }
}

TEST_CASE("the whole CR and single bits") {
    CpuState state;
    state.reset();
    CHECK(state.cr() == 0);
    std::mt19937 random(3);
    std::uint32_t value = 0;
    for (unsigned count = 0; count < 10'000; ++count) {
        const unsigned bit = random() % 32;
        const bool set = random() % 2 != 0;
        state.set_cr_bit(bit, set);
        value = set ? value | ppc_bit(bit) : value & ~ppc_bit(bit);
        if (state.cr() != value || state.cr_bit(bit) != set) FAIL(bit);
        if (count % 16 == 0) state.set_cr(value = static_cast<std::uint32_t>(random()));
    }
}

TEST_CASE("XER is its four fields") {
    CpuState state;
    for (const std::uint32_t value : {0U, 0x80000000U, 0x40000000U, 0x20000000U, 0x7FU, 0xE000007FU}) {
        state.set_xer(value);
        CHECK(state.xer() == value);
    }
    state.set_xer(0xFFFFFFFF);
    CHECK(state.xer() == 0xE000007F);
}
