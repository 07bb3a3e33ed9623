// SPDX-License-Identifier: GPL-2.0-only
// Seeded comparison of results and exception flags with the host's FPU, in all four rounding modes.
#include "translator/fp/fp.h"

#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fmt/format.h>
#include <limits>
#include <random>
#include <string>

namespace {

using namespace untrap::fp;
using Image = std::uint64_t;

static_assert(std::numeric_limits<double>::is_iec559 && std::numeric_limits<float>::is_iec559);

constexpr Image infinity = 0x7ff0'0000'0000'0000;
constexpr Image quiet_bit = 0x0008'0000'0000'0000;
constexpr Image least_normal_double = 0x0010'0000'0000'0000;
constexpr Image least_normal_single = 0x3810'0000'0000'0000;
constexpr int host_modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_UPWARD, FE_DOWNWARD};

Image magnitude(Image image) { return image & ~sign_bit; }
bool nan(Image image) { return magnitude(image) > infinity; }
bool snan(Image image) { return nan(image) && !(image & quiet_bit); }
double number(Image image) { return std::bit_cast<double>(image); }
Image image(double value) { return std::bit_cast<Image>(value); }

std::uint64_t seed() {
    const char* text = std::getenv("UNTRAP_SEED");
    const std::uint64_t value = text ? std::strtoull(text, nullptr, 0) : 1;
    fmt::print("seed {}\n", value);
    return value;
}

class Operands {
  public:
    explicit Operands(std::uint64_t seed) : random_(seed) {}

    std::uint64_t bits() { return random_(); }

    Image next(bool single) { return single ? next_single() : next_double(); }

  private:
    Image next_double() {
        static constexpr Image special[] = {0,
                                            0x3ff0'0000'0000'0000,
                                            0x3ff0'0000'0000'0001,
                                            0x3fef'ffff'ffff'ffff,
                                            0x4008'0000'0000'0000,
                                            infinity,
                                            0x7ff8'0000'0000'0123,
                                            0x7ff0'0000'0000'0001,
                                            1,
                                            0x000f'ffff'ffff'ffff,
                                            least_normal_double,
                                            0x0010'0000'0000'0001,
                                            0x7fef'ffff'ffff'ffff,
                                            0x1ff0'0000'0000'0001,
                                            0x5ff0'0000'0000'0000};
        const std::uint64_t choice = bits(), value = bits();
        const Image sign = choice & sign_bit;
        constexpr Image fraction = 0x000f'ffff'ffff'ffff;
        switch (choice % 6) {
        case 0: return sign | special[(choice >> 8) % std::size(special)];
        case 1: return value;
        case 2: return sign | ((0x3fd + (choice >> 8) % 6) << 52) | (value & fraction); // comparable: cancellation
        case 3: return sign | ((choice >> 8) % 64 << 52) | (value & fraction); // products and quotients underflow
        case 4:
            return sign | ((0x3ff - 0x20 + (choice >> 8) % 64) << 52) |
                   (value & (fraction << (choice >> 16) % 52) & fraction); // ties
        default: return sign | ((0x1e0 + (choice >> 8) % 64) << 52) | (value & fraction);
        }
    }

    Image next_single() {
        static constexpr std::uint32_t special[] = {0,           0x3f80'0000, 0x3f80'0001, 0x3f7f'ffff, 0x4040'0000,
                                                    0x7f80'0000, 0x7fc0'0123, 0x7f80'0001, 1,           0x007f'ffff,
                                                    0x0080'0000, 0x0080'0001, 0x7f7f'ffff, 0x1f80'0001, 0x5f80'0000};
        const std::uint64_t choice = bits();
        const auto value = static_cast<std::uint32_t>(bits());
        const auto sign = static_cast<std::uint32_t>(choice >> 32) & 0x8000'0000;
        constexpr std::uint32_t fraction = 0x007f'ffff;
        const auto field = [&](std::uint32_t base) {
            return sign | (base + static_cast<std::uint32_t>(choice >> 8) % 32) << 23;
        };
        switch (choice % 6) {
        case 0: return load_single(sign | special[(choice >> 8) % std::size(special)]);
        case 1: return load_single(value);
        case 2: return load_single(field(0x70) | (value & fraction));
        case 3: return load_single(field(0) | (value & fraction));
        case 4: return load_single(field(0x70) | (value & (fraction << (choice >> 16) % 23) & fraction));
        default: return load_single(field(0x30) | (value & fraction));
        }
    }

    std::mt19937_64 random_;
};

struct HostResult {
    Image value;
    int flags;
};

template <class Compute>
HostResult on_host(int mode, Compute compute) {
    std::fesetround(mode);
    std::feclearexcept(FE_ALL_EXCEPT);
    const volatile double result = compute();
    const int flags = std::fetestexcept(FE_ALL_EXCEPT);
    std::fesetround(FE_TONEAREST);
    return {image(result), flags};
}

enum class Kind { add, subtract, multiply, divide, madd, msub, nmadd, nmsub, root, round_to_single };

template <class Float>
double compute(Kind kind, Image fra, Image frc, Image frb) {
    const volatile Float a = static_cast<Float>(number(fra)), c = static_cast<Float>(number(frc));
    const volatile Float b = static_cast<Float>(number(frb));
    volatile Float r = 0;
    switch (kind) {
    case Kind::add: r = a + b; break;
    case Kind::subtract: r = a - b; break;
    case Kind::multiply: r = a * c; break;
    case Kind::divide: r = a / b; break;
    case Kind::madd:
    case Kind::nmadd: r = std::fma(a, c, b); break;
    case Kind::msub:
    case Kind::nmsub: r = std::fma(a, c, -b); break;
    case Kind::root: r = std::sqrt(b); break;
    case Kind::round_to_single: r = b; break;
    }
    return static_cast<double>(r);
}

struct Operation {
    const char* name;
    Kind kind;
    bool single;
    Result (*run)(Image, Image, Image, std::uint32_t&); // frA, frC, frB
};

#define AB(op) [](Image a, Image, Image b, std::uint32_t& fpscr) { return op(a, b, fpscr); }
#define AC(op) [](Image a, Image c, Image, std::uint32_t& fpscr) { return op(a, c, fpscr); }
#define B(op) [](Image, Image, Image b, std::uint32_t& fpscr) { return op(b, fpscr); }
const Operation operations[] = {{"fadd", Kind::add, false, AB(fadd)},
                                {"fadds", Kind::add, true, AB(fadds)},
                                {"fsub", Kind::subtract, false, AB(fsub)},
                                {"fsubs", Kind::subtract, true, AB(fsubs)},
                                {"fmul", Kind::multiply, false, AC(fmul)},
                                {"fmuls", Kind::multiply, true, AC(fmuls)},
                                {"fdiv", Kind::divide, false, AB(fdiv)},
                                {"fdivs", Kind::divide, true, AB(fdivs)},
                                {"fmadd", Kind::madd, false, fmadd},
                                {"fmadds", Kind::madd, true, fmadds},
                                {"fmsub", Kind::msub, false, fmsub},
                                {"fmsubs", Kind::msub, true, fmsubs},
                                {"fnmadd", Kind::nmadd, false, fnmadd},
                                {"fnmadds", Kind::nmadd, true, fnmadds},
                                {"fnmsub", Kind::nmsub, false, fnmsub},
                                {"fnmsubs", Kind::nmsub, true, fnmsubs},
                                {"fsqrt", Kind::root, false, B(fsqrt)},
                                {"fsqrts", Kind::root, true, B(fsqrts)},
                                {"frsp", Kind::round_to_single, false, B(frsp)}};
#undef AB
#undef AC
#undef B

bool uses_a(Kind kind) { return kind != Kind::root && kind != Kind::round_to_single; }
bool uses_b(Kind kind) { return kind != Kind::multiply; }
bool uses_c(Kind kind) {
    return kind == Kind::multiply || kind == Kind::madd || kind == Kind::msub || kind == Kind::nmadd ||
           kind == Kind::nmsub;
}
bool negates(Kind kind) { return kind == Kind::nmadd || kind == Kind::nmsub; }

std::uint32_t class_of(Image value, bool single) {
    const bool negative = (value & sign_bit) != 0;
    const Image size = magnitude(value);
    if (size > infinity) return fprf_qnan;
    if (size == infinity) return negative ? fprf_negative_infinity : fprf_positive_infinity;
    if (size == 0) return negative ? fprf_negative_zero : fprf_positive_zero;
    if (size < (single ? least_normal_single : least_normal_double))
        return negative ? fprf_negative_denormal : fprf_positive_denormal;
    return negative ? fprf_negative_normal : fprf_positive_normal;
}

// What the instruction must leave, from the host's arithmetic and PowerPC's NaN rules. Empty when it does.
std::string check(const Operation& op, Image fra, Image frc, Image frb, std::uint32_t before) {
    std::uint32_t after = before;
    const Result result = op.run(fra, frc, frb, after);
    const bool single = op.single || op.kind == Kind::round_to_single;

    Image expected = 0;
    std::uint32_t raised = 0, rounding = 0;
    const auto operand_nan = [&](bool used, Image operand) { return used && nan(operand); };
    const bool a_nan = operand_nan(uses_a(op.kind), fra), b_nan = operand_nan(uses_b(op.kind), frb),
               c_nan = operand_nan(uses_c(op.kind), frc);
    const auto zero_times_infinity = [&] {
        return (magnitude(fra) == 0 && magnitude(frc) == infinity) ||
               (magnitude(frc) == 0 && magnitude(fra) == infinity);
    };
    if (a_nan || b_nan || c_nan) {
        expected = (a_nan ? fra : b_nan ? frb : frc) | quiet_bit;
        if (op.kind == Kind::round_to_single) expected &= ~Image{0x1fff'ffff};
        if ((a_nan && snan(fra)) || (b_nan && snan(frb)) || (c_nan && snan(frc))) raised |= fpscr_vxsnan;
        if (uses_c(op.kind) && zero_times_infinity()) raised |= fpscr_vximz;
    } else {
        const auto host = [&](int mode) {
            return on_host(mode, [&] {
                return single ? compute<float>(op.kind, fra, frc, frb) : compute<double>(op.kind, fra, frc, frb);
            });
        };
        const HostResult there = host(host_modes[before & fpscr_rn]);
        expected = there.value;
        if (there.flags & FE_INVALID) {
            expected = default_nan;
            const std::uint32_t causes = after & fpscr_vx_causes & ~before;
            if (uses_c(op.kind) && zero_times_infinity())
                raised = fpscr_vximz;
            else if (op.kind == Kind::divide)
                raised = magnitude(fra) == 0 ? fpscr_vxzdz : fpscr_vxidi;
            else if (op.kind == Kind::root)
                raised = fpscr_vxsqrt;
            else
                raised = fpscr_vxisi;
            if (causes & ~raised) return "another cause of VX";
        } else {
            if (there.flags & FE_DIVBYZERO) raised |= fpscr_zx;
            if (there.flags & FE_OVERFLOW) raised |= fpscr_ox;
            if (there.flags & FE_INEXACT) raised |= fpscr_xx;
            // The host sees tininess behind the rounding, PowerPC before it: they differ where the least normalised
            // number is the result of rounding up.
            const bool incremented =
                (there.flags & FE_INEXACT) && magnitude(there.value) != magnitude(host(FE_TOWARDZERO).value);
            const Image least = single ? least_normal_single : least_normal_double;
            if ((there.flags & FE_UNDERFLOW) || (incremented && magnitude(there.value) == least)) raised |= fpscr_ux;
            rounding = (incremented ? fpscr_fr : 0) | (there.flags & FE_INEXACT ? fpscr_fi : 0);
            if (negates(op.kind)) expected ^= sign_bit;
        }
    }
    std::uint32_t model = (before & ~(fpscr_fr | fpscr_fi | fpscr_fprf)) | rounding | class_of(expected, single);
    raise(model, raised);
    if (result.write && result.value == expected && after == model) return {};
    return fmt::format("expected {:016x} FPSCR {:08x}, got {:016x} FPSCR {:08x}", expected, model, result.value, after);
}

} // namespace

TEST_CASE("arithmetic agrees with the host FPU", "[fp]") {
    Operands operands(seed());
    constexpr int rounds = 60'000;
    static_assert(rounds * std::size(operations) > 1'000'000);
    for (int round = 0; round < rounds; ++round) {
        for (const Operation& op : operations) {
            // Operands the instruction does not have must raise nothing on the host.
            const Image fra = uses_a(op.kind) ? operands.next(op.single) : 0;
            const Image frc = uses_c(op.kind) ? operands.next(op.single) : 0;
            Image frb = uses_b(op.kind) ? operands.next(op.single) : 0;
            const std::uint64_t choice = operands.bits();
            if (choice % 8 == 0 && !op.single && uses_a(op.kind) && uses_b(op.kind)) // near cancellation
                frb = fra ^ (choice & (sign_bit | 3));
            std::uint32_t before = static_cast<std::uint32_t>(choice >> 8) & fpscr_rn;
            if (choice % 4 == 1) before = with_summaries(before | (static_cast<std::uint32_t>(choice >> 24) & ~0xffu));
            const std::string problem = check(op, fra, frc, frb, before);
            if (!problem.empty())
                FAIL(
                    op.name << fmt::format(" frA {:016x} frC {:016x} frB {:016x} FPSCR {:08x}: ", fra, frc, frb, before)
                            << problem);
        }
    }
    SUCCEED();
}

TEST_CASE("conversions to integers agree with the host FPU", "[fp]") {
    Operands operands(seed());
    for (int round = 0; round < 300'000; ++round) {
        const std::uint64_t choice = operands.bits();
        Image frb = operands.next(false);
        if (choice % 2) frb = (choice & sign_bit) | (0x3fd + (choice >> 8) % 36) << 52 | (frb & 0x000f'ffff'ffff'ffff);
        if (nan(frb)) continue;
        const std::uint32_t before = static_cast<std::uint32_t>(choice >> 32) & fpscr_rn;
        for (const bool toward_zero : {false, true}) {
            const int mode = toward_zero ? FE_TOWARDZERO : host_modes[before];
            const HostResult rounded = on_host(mode, [&] {
                const volatile double value = number(frb);
                return std::rint(value);
            });
            std::uint32_t after = before, model = before;
            const Result result = toward_zero ? fctiwz(frb, after) : fctiw(frb, after);
            const double value = number(rounded.value);
            std::int64_t integer = 0;
            if (value < -2147483648.0 || value > 2147483647.0) {
                integer =
                    value < 0 ? std::numeric_limits<std::int32_t>::min() : std::numeric_limits<std::int32_t>::max();
                model |= fprf_qnan;
                raise(model, fpscr_vxcvi);
            } else {
                integer = static_cast<std::int64_t>(value);
                if (rounded.value != frb) {
                    model |= fpscr_fi | (magnitude(rounded.value) > magnitude(frb) ? fpscr_fr : 0);
                    raise(model, fpscr_xx);
                }
            }
            if (!result.write || result.value != static_cast<Image>(integer) || after != model)
                FAIL(fmt::format("{} frB {:016x} FPSCR {:08x}: expected {:016x} {:08x}, got {:016x} {:08x}",
                                 toward_zero ? "fctiwz" : "fctiw", frb, before, integer, model, result.value, after));
        }
    }
    SUCCEED();
}

TEST_CASE("compares agree with the host FPU", "[fp]") {
    Operands operands(seed());
    for (int round = 0; round < 200'000; ++round) {
        const Image fra = operands.next(false);
        const Image frb = operands.bits() % 4 ? operands.next(false) : fra ^ (operands.bits() & sign_bit);
        const double a = number(fra), b = number(frb);
        const std::uint32_t expected = a < b ? cr_lt : a > b ? cr_gt : a == b ? cr_eq : cr_un;
        std::uint32_t fpscr = 0;
        if (fcmpu(fra, frb, fpscr) != expected || (fpscr & fpscr_fpcc) != expected << 12 ||
            fcmpo(fra, frb, fpscr) != expected)
            FAIL(fmt::format("frA {:016x} frB {:016x} FPSCR {:08x}", fra, frb, fpscr));
    }
    SUCCEED();
}

TEST_CASE("single loads and stores agree with the host conversions", "[fp]") {
    for (std::uint64_t word = 0; word < 0x1'0000'0000; word += 977) {
        const auto bits = static_cast<std::uint32_t>(word);
        const Image loaded = load_single(bits);
        const bool is_nan = (bits & 0x7fff'ffff) > 0x7f80'0000;
        const Image expected =
            is_nan ? (std::uint64_t{bits & 0x8000'0000} << 32) | infinity | (std::uint64_t{bits & 0x7f'ffff} << 29)
                   : image(static_cast<double>(std::bit_cast<float>(bits)));
        if (loaded != expected || store_single(loaded) != bits)
            FAIL(fmt::format("word {:08x}: {:016x}, back {:08x}", bits, loaded, store_single(loaded)));
    }
    SUCCEED();
}
