// SPDX-License-Identifier: GPL-2.0-only
// Directed cases: what the architecture's text says, value by value.
#include "translator/fp/fp.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdint>

using namespace untrap::fp;

namespace {

using Image = std::uint64_t;

constexpr Image zero = 0, minus_zero = sign_bit;
constexpr Image one = 0x3ff0'0000'0000'0000, two = 0x4000'0000'0000'0000, three = 0x4008'0000'0000'0000;
constexpr Image minus_one = one | sign_bit;
constexpr Image infinity = 0x7ff0'0000'0000'0000, minus_infinity = infinity | sign_bit;
constexpr Image largest = 0x7fef'ffff'ffff'ffff, least = 1, least_normal = 0x0010'0000'0000'0000;
constexpr Image qnan = 0xfff8'0000'8765'4321, snan = 0x7ff4'0000'1234'5678, quieted = 0x7ffc'0000'1234'5678;

using One = Result (*)(Image, std::uint32_t&);
using Two = Result (*)(Image, Image, std::uint32_t&);
using Three = Result (*)(Image, Image, Image, std::uint32_t&);

struct Outcome {
    Image value;
    std::uint32_t fpscr;
    bool write = true;
    bool operator==(const Outcome&) const = default;
};

Outcome run(One op, Image frb, std::uint32_t fpscr = 0) {
    const Result result = op(frb, fpscr);
    return {result.value, fpscr, result.write};
}
Outcome run(Two op, Image first, Image second, std::uint32_t fpscr = 0) {
    const Result result = op(first, second, fpscr);
    return {result.value, fpscr, result.write};
}
Outcome run(Three op, Image fra, Image frc, Image frb, std::uint32_t fpscr = 0) {
    const Result result = op(fra, frc, frb, fpscr);
    return {result.value, fpscr, result.write};
}

constexpr std::uint32_t invalid_status = fpscr_fx | fpscr_vx | fprf_qnan;

} // namespace

TEST_CASE("exact and inexact results set FR, FI, XX and FPRF", "[fp]") {
    CHECK(run(fadd, one, three) == Outcome{0x4010'0000'0000'0000, fprf_positive_normal});
    CHECK(run(fadd, one, three, fpscr_fr | fpscr_fi | fprf_qnan).fpscr == fprf_positive_normal);
    constexpr std::uint32_t inexact = fpscr_fx | fpscr_xx | fpscr_fi | fprf_positive_normal;
    CHECK(run(fdiv, one, three) == Outcome{0x3fd5'5555'5555'5555, inexact});
    CHECK(run(fdiv, one, three, 2) == Outcome{0x3fd5'5555'5555'5556, inexact | fpscr_fr | 2});
    CHECK(run(fdivs, one, three) == Outcome{0x3fd5'5555'6000'0000, inexact | fpscr_fr});
    // XX stays, and having been there sets no FX; FI does not stay.
    CHECK(run(fdiv, one, three, fpscr_xx).fpscr == (inexact & ~fpscr_fx));
    CHECK(run(fadd, one, one, fpscr_xx | fpscr_fi).fpscr == (fpscr_xx | fprf_positive_normal));
    CHECK(run(fdiv, one, three, fpscr_xe).fpscr == (inexact | fpscr_fex | fpscr_xe));
}

TEST_CASE("zero sums take the sign the rounding mode asks for", "[fp]") {
    for (std::uint32_t rn = 0; rn < 4; ++rn) {
        const Image expected = rn == 3 ? minus_zero : zero;
        CHECK(run(fsub, one, one, rn).value == expected);
        CHECK(run(fadd, zero, minus_zero, rn).value == expected);
        CHECK(run(fadd, minus_zero, minus_zero, rn).value == minus_zero);
        CHECK(run(fmsub, one, one, one, rn).value == expected);
        CHECK(run(fnmsub, one, one, one, rn).value == (expected ^ sign_bit));
        CHECK(run(fmadd, minus_zero, one, minus_zero, rn).value == minus_zero);
    }
}

TEST_CASE("each invalid operation has its cause", "[fp]") {
    CHECK(run(fsub, infinity, infinity) == Outcome{default_nan, invalid_status | fpscr_vxisi});
    CHECK(run(fadd, infinity, minus_infinity) == Outcome{default_nan, invalid_status | fpscr_vxisi});
    CHECK(run(fdiv, infinity, minus_infinity) == Outcome{default_nan, invalid_status | fpscr_vxidi});
    CHECK(run(fdiv, zero, minus_zero) == Outcome{default_nan, invalid_status | fpscr_vxzdz});
    CHECK(run(fmul, infinity, zero) == Outcome{default_nan, invalid_status | fpscr_vximz});
    CHECK(run(fmadd, infinity, one, minus_infinity) == Outcome{default_nan, invalid_status | fpscr_vxisi});
    CHECK(run(fnmsub, infinity, one, infinity) == Outcome{default_nan, invalid_status | fpscr_vxisi});
    CHECK(run(fsqrt, minus_one) == Outcome{default_nan, invalid_status | fpscr_vxsqrt});
    CHECK(run(frsqrte, minus_infinity) == Outcome{default_nan, invalid_status | fpscr_vxsqrt});
    CHECK(run(fadd, snan, one) == Outcome{quieted, invalid_status | fpscr_vxsnan});
    CHECK(run(fmadd, infinity, zero, snan) == Outcome{quieted, invalid_status | fpscr_vxsnan | fpscr_vximz});
    CHECK(run(fmadd, infinity, zero, qnan) == Outcome{qnan, invalid_status | fpscr_vximz});
    CHECK(run(fmadd, infinity, zero, one) == Outcome{default_nan, invalid_status | fpscr_vximz});
}

TEST_CASE("enabled invalid operations and zero divides leave the target and FPRF", "[fp]") {
    constexpr std::uint32_t before = fpscr_ve | fpscr_ze | fpscr_fr | fpscr_fi | fprf_negative_zero;
    constexpr std::uint32_t kept = fpscr_ve | fpscr_ze | fprf_negative_zero | fpscr_fx | fpscr_fex;
    CHECK(run(fsub, infinity, infinity, before) == Outcome{0, kept | fpscr_vx | fpscr_vxisi, false});
    CHECK(run(fctiw, infinity, before) == Outcome{0, kept | fpscr_vx | fpscr_vxcvi, false});
    CHECK(run(frsp, snan, before) == Outcome{0, kept | fpscr_vx | fpscr_vxsnan, false});
    CHECK(run(fdiv, one, zero, before) == Outcome{0, kept | fpscr_zx, false});
    CHECK(run(fres, minus_zero, before) == Outcome{0, kept | fpscr_zx, false});
    CHECK(run(frsqrte, zero, before) == Outcome{0, kept | fpscr_zx, false});
    CHECK(run(fdiv, minus_one, zero) == Outcome{minus_infinity, fpscr_fx | fpscr_zx | fprf_negative_infinity});
    // A quiet NaN is no exception.
    CHECK(run(fadd, one, qnan, fpscr_ve) == Outcome{qnan, fpscr_ve | fprf_qnan});
}

TEST_CASE("the first NaN of frA, frB, frC is the result", "[fp]") {
    constexpr Image other = 0x7ff8'0000'0000'0001;
    CHECK(run(fadd, qnan, snan) == Outcome{qnan, invalid_status | fpscr_vxsnan});
    CHECK(run(fmul, one, qnan).value == qnan);
    CHECK(run(fmadd, qnan, other, snan).value == qnan);
    CHECK(run(fmadd, one, other, snan).value == quieted);
    CHECK(run(fmadd, one, other, one).value == other);
    // No sign games with NaNs.
    CHECK(run(fnmadd, one, one, other).value == other);
    CHECK(run(fnmsub, one, one, qnan).value == qnan);
    CHECK(run(fmsub, one, one, qnan).value == qnan);
    CHECK(run(fsub, one, qnan).value == qnan);
    CHECK(run(fnmadd, infinity, zero, one).value == default_nan);
    // Only frsp shortens.
    CHECK(run(frsp, qnan).value == 0xfff8'0000'8000'0000);
    CHECK(run(fadds, qnan, one).value == qnan);
}

TEST_CASE("overflow without enable goes to infinity or the largest number", "[fp]") {
    constexpr std::uint32_t status = fpscr_fx | fpscr_ox | fpscr_xx | fpscr_fi;
    constexpr Image minus_largest = largest | sign_bit, largest_single = 0x47ef'ffff'e000'0000;
    CHECK(run(fadd, largest, largest) == Outcome{infinity, status | fpscr_fr | fprf_positive_infinity});
    CHECK(run(fadd, largest, largest, 1) == Outcome{largest, status | fprf_positive_normal | 1});
    CHECK(run(fadd, largest, largest, 3).value == largest);
    CHECK(run(fadd, minus_largest, minus_largest, 2).value == minus_largest);
    CHECK(run(fadd, minus_largest, minus_largest, 3).value == minus_infinity);
    CHECK(run(fnmadd, largest, two, zero, 2) ==
          Outcome{minus_infinity, status | fpscr_fr | fprf_negative_infinity | 2});
    CHECK(run(frsp, largest, 1) == Outcome{largest_single, status | fprf_positive_normal | 1});
    // Just below half a unit above the largest single: no overflow; half a unit: overflow.
    CHECK(run(frsp, 0x47ef'ffff'efff'ffff).value == largest_single);
    CHECK(run(frsp, 0x47ef'ffff'f000'0000).value == infinity);
}

TEST_CASE("enabled overflow and underflow adjust the exponent", "[fp]") {
    constexpr std::uint32_t over = fpscr_oe | fpscr_fx | fpscr_fex | fpscr_ox;
    constexpr std::uint32_t under = fpscr_ue | fpscr_fx | fpscr_fex | fpscr_ux;
    CHECK(run(fadd, largest, largest, fpscr_oe) == Outcome{0x1fff'ffff'ffff'ffff, over | fprf_positive_normal});
    CHECK(run(fmul, least, least, fpscr_ue) == Outcome{0x19b0'0000'0000'0000, under | fprf_positive_normal});
    // Tiny and exact: UX when enabled, nothing when not.
    CHECK(run(fmul, least, one, fpscr_ue) == Outcome{0x5cd0'0000'0000'0000, under | fprf_positive_normal});
    CHECK(run(fmul, least, one) == Outcome{least, fprf_positive_denormal});
    // 2^127 * 2 as a single, 2^-126 / 2.
    CHECK(run(fmuls, 0x47e0'0000'0000'0000, two, fpscr_oe) ==
          Outcome{0x3bf0'0000'0000'0000, over | fprf_positive_normal});
    CHECK(run(fdivs, 0x3810'0000'0000'0000, two, fpscr_ue) ==
          Outcome{0x4400'0000'0000'0000, under | fprf_positive_normal});
    CHECK(run(frsp, 0x4800'0000'0000'0001, fpscr_oe) ==
          Outcome{0x3c00'0000'0000'0000, over | fpscr_xx | fpscr_fi | fprf_positive_normal});
}

TEST_CASE("tininess counts before rounding", "[fp]") {
    // (1 - 2^-53) * 2^-1022 rounds up to the least normalised number and underflows all the same.
    constexpr std::uint32_t status = fpscr_fx | fpscr_ux | fpscr_xx | fpscr_fi | fpscr_fr | fprf_positive_normal;
    CHECK(run(fmul, 0x3fef'ffff'ffff'ffff, least_normal) == Outcome{least_normal, status});
    CHECK(run(frsp, 0x380f'ffff'ffff'ffff) == Outcome{0x3810'0000'0000'0000, status});
    // A single denormal is a normalised double, FPRF says denormal.
    CHECK(run(frsp, 0x36a0'0000'0000'0000) == Outcome{0x36a0'0000'0000'0000, fprf_positive_denormal});
    CHECK(run(frsp, 0xb690'0000'0000'0000) ==
          Outcome{minus_zero, fpscr_fx | fpscr_ux | fpscr_xx | fpscr_fi | fprf_negative_zero});
}

TEST_CASE("the fused forms round once", "[fp]") {
    constexpr Image a = 0x3ff0'0000'0000'0001; // 1 + 2^-52; its square less 1 + 2^-51 is 2^-104
    CHECK(run(fmsub, a, a, 0x3ff0'0000'0000'0002) == Outcome{0x3970'0000'0000'0000, fprf_positive_normal});
    CHECK(run(fnmsub, a, a, 0x3ff0'0000'0000'0002).value == 0xb970'0000'0000'0000);
    // The sum is rounded and then negated: downward leaves the smaller magnitude of a positive sum.
    CHECK(run(fnmadd, one, one, least, 3).value == minus_one);
    CHECK(run(fnmadd, one, one, least, 2).value == 0xbff0'0000'0000'0001);
}

TEST_CASE("estimates", "[fp]") {
    CHECK(run(fres, three).value == 0x3fd5'5555'6000'0000);
    CHECK(run(fres, zero) == Outcome{infinity, fpscr_fx | fpscr_zx | fprf_positive_infinity});
    CHECK(run(fres, minus_infinity) == Outcome{minus_zero, fprf_negative_zero});
    CHECK(run(fres, snan).fpscr == (invalid_status | fpscr_vxsnan));
    CHECK(run(frsqrte, three).value == 0x3fe2'79a7'4590'331d);
    CHECK(run(frsqrte, 0x4010'0000'0000'0000) == Outcome{0x3fe0'0000'0000'0000, fprf_positive_normal});
    CHECK(run(frsqrte, minus_zero) == Outcome{minus_infinity, fpscr_fx | fpscr_zx | fprf_negative_infinity});
    CHECK(run(frsqrte, infinity) == Outcome{zero, fprf_positive_zero});
    CHECK(run(fsqrt, minus_zero) == Outcome{minus_zero, fprf_negative_zero});
}

TEST_CASE("conversion to a word", "[fp]") {
    constexpr Image half = 0x3fe0'0000'0000'0000, one_and_half = 0x3ff8'0000'0000'0000;
    constexpr std::uint32_t inexact = fpscr_fx | fpscr_xx | fpscr_fi;
    CHECK(run(fctiw, half) == Outcome{0, inexact});
    CHECK(run(fctiw, one_and_half) == Outcome{2, inexact | fpscr_fr});
    CHECK(run(fctiwz, one_and_half, 2) == Outcome{1, inexact | 2});
    CHECK(run(fctiw, one_and_half | sign_bit, 3) == Outcome{0xffff'ffff'ffff'fffe, inexact | fpscr_fr | 3});
    CHECK(run(fctiw, least, 2) == Outcome{1, inexact | fpscr_fr | 2});
    CHECK(run(fctiw, minus_zero, fprf_qnan) == Outcome{0, fprf_qnan});
    CHECK(run(fctiwz, 0x41df'ffff'ffe0'0000).value == 0x7fff'ffff); // 2^31 - 0.5
    CHECK(run(fctiw, 0x41df'ffff'ffe0'0000) == Outcome{0x7fff'ffff, invalid_status | fpscr_vxcvi});
    CHECK(run(fctiw, 0xc1e0'0000'0000'0000) == Outcome{0xffff'ffff'8000'0000, 0});
    CHECK(run(fctiw, 0xc1e0'0000'0010'0000) == Outcome{0xffff'ffff'8000'0000, inexact}); // tie, to the even end
    CHECK(run(fctiw, qnan) == Outcome{0x8000'0000, invalid_status | fpscr_vxcvi});
    CHECK(run(fctiw, snan).fpscr == (invalid_status | fpscr_vxcvi | fpscr_vxsnan));
}

TEST_CASE("compares", "[fp]") {
    const auto compare = [](auto op, Image fra, Image frb, std::uint32_t before) {
        const std::uint32_t field = op(fra, frb, before);
        return Outcome{field, before};
    };
    // C, FR, FI stay.
    constexpr std::uint32_t kept = fpscr_c | fpscr_fr | fpscr_fi;
    CHECK(compare(fcmpu, one, three, kept | fpscr_fu) == Outcome{cr_lt, kept | fpscr_fl});
    CHECK(compare(fcmpu, zero, minus_zero, 0) == Outcome{cr_eq, fpscr_fe});
    CHECK(compare(fcmpu, minus_one, minus_infinity, 0) == Outcome{cr_gt, fpscr_fg});
    CHECK(compare(fcmpu, one, qnan, 0) == Outcome{cr_un, fpscr_fu});
    constexpr std::uint32_t unordered = fpscr_fu | fpscr_fx | fpscr_vx;
    CHECK(compare(fcmpu, snan, one, 0) == Outcome{cr_un, unordered | fpscr_vxsnan});
    CHECK(compare(fcmpo, one, qnan, 0) == Outcome{cr_un, unordered | fpscr_vxvc});
    CHECK(compare(fcmpo, one, snan, 0) == Outcome{cr_un, unordered | fpscr_vxvc | fpscr_vxsnan});
    CHECK(compare(fcmpo, one, snan, fpscr_ve) == Outcome{cr_un, unordered | fpscr_vxsnan | fpscr_ve | fpscr_fex});
}

TEST_CASE("moves and select leave NaNs alone", "[fp]") {
    CHECK(fneg(snan) == (snan | sign_bit));
    CHECK(untrap::fp::fabs(qnan) == (qnan & ~sign_bit));
    CHECK(fnabs(one) == minus_one);
    CHECK(fsel(minus_zero, snan, two) == snan);
    CHECK(fsel(minus_one, one, snan) == snan);
    CHECK(fsel(qnan, one, two) == two);
    CHECK(fsel(infinity, one, two) == one);
}

TEST_CASE("single loads and stores", "[fp]") {
    CHECK(load_single(0x7f80'0001) == 0x7ff0'0000'2000'0000);
    CHECK(load_single(0x8000'0001) == 0xb6a0'0000'0000'0000);
    CHECK(store_single(0x7ff0'0000'2000'0000) == 0x7f80'0001);
    CHECK(store_single(0x380f'ffff'ffff'ffff) == 0x007f'ffff); // cut, not rounded
    CHECK(store_single(0x36af'ffff'ffff'ffff) == 0x0000'0001);
    CHECK(store_single(0xb690'0000'0000'0000) == 0x8000'0000);
    CHECK(store_single(least) == 0);
}

TEST_CASE("instructions on the FPSCR", "[fp]") {
    std::uint32_t fpscr = 0;
    mtfsf(fpscr, 0xff, 0xffff'ffff);
    CHECK(fpscr == (0xffff'ffff & ~fpscr_reserved));
    // FEX and VX follow their causes whatever is written.
    fpscr = 0;
    mtfsf(fpscr, 0x80, fpscr_fx | fpscr_fex | fpscr_vx);
    CHECK(fpscr == fpscr_fx);
    // No implicit FX.
    mtfsf(fpscr, 0xff, fpscr_vxsnan | fpscr_ve);
    CHECK(fpscr == (fpscr_vxsnan | fpscr_ve | fpscr_vx | fpscr_fex));
    mtfsf(fpscr, 0x02, 0);
    CHECK(fpscr == (fpscr_vxsnan | fpscr_vx));
    CHECK(mffs(fpscr) == fpscr);

    fpscr = 0;
    mtfsfi(fpscr, 0, 0xf);
    CHECK(fpscr == (fpscr_fx | fpscr_ox));
    mtfsfi(fpscr, 6, 4);
    CHECK(fpscr == (fpscr_fx | fpscr_ox | fpscr_oe | fpscr_fex));

    fpscr = 0;
    mtfsb1(fpscr, 7);
    CHECK(fpscr == (fpscr_fx | fpscr_vx | fpscr_vxsnan));
    mtfsb0(fpscr, 0);
    CHECK(fpscr == (fpscr_vx | fpscr_vxsnan));
    mtfsb1(fpscr, 7); // was set: no FX
    CHECK(fpscr == (fpscr_vx | fpscr_vxsnan));
    mtfsb1(fpscr, 1);
    mtfsb1(fpscr, 20);
    mtfsb0(fpscr, 2);
    CHECK(fpscr == (fpscr_vx | fpscr_vxsnan));
    mtfsb1(fpscr, 31);
    CHECK(fpscr == (fpscr_vx | fpscr_vxsnan | 1));
    mtfsb0(fpscr, 7);
    CHECK(fpscr == 1);

    fpscr = with_summaries(fpscr_fx | fpscr_ox | fpscr_vxcvi | fpscr_vxsoft | fpscr_fr | fprf_qnan | fpscr_oe | 3);
    CHECK(mcrfs(fpscr, 0) == 0xf);
    CHECK(fpscr == (fpscr_vx | fpscr_vxcvi | fpscr_vxsoft | fpscr_fr | fprf_qnan | fpscr_oe | 3));
    // Field 3 (VXVC, FR, FI, C): only VXVC would be cleared. Field 5 (reserved, VXSOFT, VXSQRT, VXCVI): all.
    CHECK(mcrfs(fpscr, 3) == 5);
    CHECK(fpscr == (fpscr_vx | fpscr_vxcvi | fpscr_vxsoft | fpscr_fr | fprf_qnan | fpscr_oe | 3));
    CHECK(mcrfs(fpscr, 5) == 5);
    CHECK(fpscr == (fpscr_fr | fprf_qnan | fpscr_oe | 3));
    CHECK(mcrfs(fpscr, 7) == 3);
    CHECK(fpscr == (fpscr_fr | fprf_qnan | fpscr_oe | 3));
}

TEST_CASE("CR1 copies the summary", "[fp]") { CHECK(cr1(fpscr_fx | fpscr_ox | fpscr_xx) == 9); }
