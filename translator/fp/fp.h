// SPDX-License-Identifier: GPL-2.0-only
// Floating-point arithmetic of the 440EP FPU, bit for bit, in integer arithmetic alone: the interpreter and the slow
// paths of generated code use it, and it runs where no FPU may be touched.
//
// Operands and results are FPR images (double format, as stfd would store them). Every function that takes the FPSCR
// by reference leaves it as the instruction does: FR, FI, FPRF, sticky exceptions, FX, VX, FEX. Whether FEX becomes a
// program interrupt is MSR[FE0,FE1]'s affair and the caller's.
//
// Where the architecture leaves room, the choice is:
// - FPSCR[NI] changes nothing: the architecture does not oblige an implementation to differ, and QEMU does not.
// - Tininess is detected before rounding (that much is architecture), loss of accuracy is inexactness.
// - FR after an overflow that is not enabled: 1 when the result is an infinity, 0 when it is the largest number.
// - Single-precision instructions round the exact result once even when an operand is no single-precision number.
// - An exponent still out of range after the adjustment of an enabled overflow or underflow (such operands only)
//   wraps modulo 2048, as in QEMU.
// - fctiw, fctiwz: the upper word of frT holds the sign of the integer, zero for a NaN; FPRF stays as it was unless
//   VXCVI is raised, then it says QNaN. All as in QEMU.
// - fres is the correctly rounded single-precision reciprocal; frsqrte divides 1 by the rounded square root, rounding
//   again. Both are well within the architecture's bounds (1/256, 1/32) and equal QEMU's bits. Inexactness shows in
//   FI and XX.
// - fsqrt, fsqrts are optional in the architecture; QEMU's 440EP models have them.
#pragma once

#include "translator/fp/fpscr.h"

#include <cstdint>

namespace untrap::fp {

// What an instruction gives its target. write is false when an enabled invalid-operation or zero-divide exception
// suppresses the update of frT; value is 0 then and means nothing.
struct Result {
    std::uint64_t value;
    bool write;
};

inline constexpr std::uint64_t sign_bit = 0x8000'0000'0000'0000;
inline constexpr std::uint64_t default_nan = 0x7ff8'0000'0000'0000;

// CR field values of the compares.
inline constexpr std::uint32_t cr_lt = 8;
inline constexpr std::uint32_t cr_gt = 4;
inline constexpr std::uint32_t cr_eq = 2;
inline constexpr std::uint32_t cr_un = 1;

// Operand order is the mnemonic's: frA, frB for add, subtract and divide; frA, frC for multiply; frA, frC, frB for the
// fused forms (frA * frC +- frB, one rounding; fnm* negate the rounded result unless it is a NaN).
Result fadd(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr);
Result fadds(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr);
Result fsub(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr);
Result fsubs(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr);
Result fmul(std::uint64_t fra, std::uint64_t frc, std::uint32_t& fpscr);
Result fmuls(std::uint64_t fra, std::uint64_t frc, std::uint32_t& fpscr);
Result fdiv(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr);
Result fdivs(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr);
Result fmadd(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr);
Result fmadds(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr);
Result fmsub(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr);
Result fmsubs(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr);
Result fnmadd(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr);
Result fnmadds(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr);
Result fnmsub(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr);
Result fnmsubs(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb, std::uint32_t& fpscr);

Result fsqrt(std::uint64_t frb, std::uint32_t& fpscr);
Result fsqrts(std::uint64_t frb, std::uint32_t& fpscr);
Result fres(std::uint64_t frb, std::uint32_t& fpscr);
Result frsqrte(std::uint64_t frb, std::uint32_t& fpscr);

Result frsp(std::uint64_t frb, std::uint32_t& fpscr);
Result fctiw(std::uint64_t frb, std::uint32_t& fpscr);
Result fctiwz(std::uint64_t frb, std::uint32_t& fpscr);

// Compares return the CR field and set FPCC; C, FR and FI stay. The CR field is written even when an enabled
// invalid-operation exception is raised.
std::uint32_t fcmpu(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr);
std::uint32_t fcmpo(std::uint64_t fra, std::uint64_t frb, std::uint32_t& fpscr);

// Moves: no FPSCR, NaNs pass as they are.
constexpr std::uint64_t fmr(std::uint64_t frb) { return frb; }
constexpr std::uint64_t fneg(std::uint64_t frb) { return frb ^ sign_bit; }
constexpr std::uint64_t fabs(std::uint64_t frb) { return frb & ~sign_bit; }
constexpr std::uint64_t fnabs(std::uint64_t frb) { return frb | sign_bit; }
// frC when frA >= 0 (either zero included), frB when it is less or a NaN.
constexpr std::uint64_t fsel(std::uint64_t fra, std::uint64_t frc, std::uint64_t frb) {
    const std::uint64_t magnitude = fra & ~sign_bit;
    const bool nan = magnitude > 0x7ff0'0000'0000'0000;
    const bool negative = (fra & sign_bit) && magnitude != 0;
    return nan || negative ? frb : frc;
}

// lfs: single format to double format, exact; NaNs keep their bits, signalling ones stay signalling.
std::uint64_t load_single(std::uint32_t word);

// stfs: double format to single format as the store does it: no rounding, no exceptions. Values that no single holds
// come out as the architecture's bit selection gives them, and as a signed zero below the range it defines.
std::uint32_t store_single(std::uint64_t frs);

} // namespace untrap::fp
