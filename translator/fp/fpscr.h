// SPDX-License-Identifier: GPL-2.0-only
// The floating-point status and control register: bits, classes, and what the instructions that name it do.
#pragma once

#include <cstdint>

namespace untrap::fp {

// Status: exception bits are sticky, fpscr_fex and fpscr_vx are functions of the others.
inline constexpr std::uint32_t fpscr_fx = 0x8000'0000;     // some exception bit went from 0 to 1
inline constexpr std::uint32_t fpscr_fex = 0x4000'0000;    // some exception is both raised and enabled
inline constexpr std::uint32_t fpscr_vx = 0x2000'0000;     // OR of all fpscr_vx_causes
inline constexpr std::uint32_t fpscr_ox = 0x1000'0000;     // overflow
inline constexpr std::uint32_t fpscr_ux = 0x0800'0000;     // underflow
inline constexpr std::uint32_t fpscr_zx = 0x0400'0000;     // zero divide
inline constexpr std::uint32_t fpscr_xx = 0x0200'0000;     // inexact (the sticky form of fpscr_fi)
inline constexpr std::uint32_t fpscr_vxsnan = 0x0100'0000; // signalling NaN operand
inline constexpr std::uint32_t fpscr_vxisi = 0x0080'0000;  // infinity - infinity
inline constexpr std::uint32_t fpscr_vxidi = 0x0040'0000;  // infinity / infinity
inline constexpr std::uint32_t fpscr_vxzdz = 0x0020'0000;  // zero / zero
inline constexpr std::uint32_t fpscr_vximz = 0x0010'0000;  // infinity * zero
inline constexpr std::uint32_t fpscr_vxvc = 0x0008'0000;   // ordered compare with a NaN
inline constexpr std::uint32_t fpscr_fr = 0x0004'0000;     // the last rounding incremented the fraction
inline constexpr std::uint32_t fpscr_fi = 0x0002'0000;     // the last rounding was inexact
inline constexpr std::uint32_t fpscr_fprf = 0x0001'f000;   // result flags: class and sign, or a compare's outcome
inline constexpr std::uint32_t fpscr_c = 0x0001'0000;
inline constexpr std::uint32_t fpscr_fl = 0x0000'8000;
inline constexpr std::uint32_t fpscr_fg = 0x0000'4000;
inline constexpr std::uint32_t fpscr_fe = 0x0000'2000;
inline constexpr std::uint32_t fpscr_fu = 0x0000'1000;
inline constexpr std::uint32_t fpscr_fpcc = fpscr_fl | fpscr_fg | fpscr_fe | fpscr_fu;
inline constexpr std::uint32_t fpscr_reserved = 0x0000'0800; // reads as zero
inline constexpr std::uint32_t fpscr_vxsoft = 0x0000'0400;   // set by software alone
inline constexpr std::uint32_t fpscr_vxsqrt = 0x0000'0200;   // square root of a negative number
inline constexpr std::uint32_t fpscr_vxcvi = 0x0000'0100;    // conversion to an integer that cannot hold it

// Control.
inline constexpr std::uint32_t fpscr_ve = 0x0000'0080;
inline constexpr std::uint32_t fpscr_oe = 0x0000'0040;
inline constexpr std::uint32_t fpscr_ue = 0x0000'0020;
inline constexpr std::uint32_t fpscr_ze = 0x0000'0010;
inline constexpr std::uint32_t fpscr_xe = 0x0000'0008;
inline constexpr std::uint32_t fpscr_ni = 0x0000'0004; // kept as written, changes no result: see fp.h
inline constexpr std::uint32_t fpscr_rn = 0x0000'0003; // 0 nearest even, 1 toward zero, 2 toward +inf, 3 toward -inf

inline constexpr std::uint32_t fpscr_vx_causes = fpscr_vxsnan | fpscr_vxisi | fpscr_vxidi | fpscr_vxzdz | fpscr_vximz |
                                                 fpscr_vxvc | fpscr_vxsoft | fpscr_vxsqrt | fpscr_vxcvi;
// The bits whose change from 0 to 1 sets FX.
inline constexpr std::uint32_t fpscr_exceptions = fpscr_ox | fpscr_ux | fpscr_zx | fpscr_xx | fpscr_vx_causes;

// FPRF values, in place.
inline constexpr std::uint32_t fprf_qnan = fpscr_c | fpscr_fu;
inline constexpr std::uint32_t fprf_negative_infinity = fpscr_fl | fpscr_fu;
inline constexpr std::uint32_t fprf_negative_normal = fpscr_fl;
inline constexpr std::uint32_t fprf_negative_denormal = fpscr_c | fpscr_fl;
inline constexpr std::uint32_t fprf_negative_zero = fpscr_c | fpscr_fe;
inline constexpr std::uint32_t fprf_positive_zero = fpscr_fe;
inline constexpr std::uint32_t fprf_positive_denormal = fpscr_c | fpscr_fg;
inline constexpr std::uint32_t fprf_positive_normal = fpscr_fg;
inline constexpr std::uint32_t fprf_positive_infinity = fpscr_fg | fpscr_fu;

// FEX and VX recomputed from the bits they summarise, the reserved bit cleared. Every write goes through here, which
// is why no instruction can write either summary directly.
constexpr std::uint32_t with_summaries(std::uint32_t fpscr) {
    fpscr &= ~(fpscr_fex | fpscr_vx | fpscr_reserved);
    if (fpscr & fpscr_vx_causes) fpscr |= fpscr_vx;
    // VX..XX stand in the same order, 22 bits above VE..XE.
    static_assert(fpscr_vx >> 22 == fpscr_ve && fpscr_ox >> 22 == fpscr_oe && fpscr_ux >> 22 == fpscr_ue &&
                  fpscr_zx >> 22 == fpscr_ze && fpscr_xx >> 22 == fpscr_xe);
    constexpr std::uint32_t enables = fpscr_ve | fpscr_oe | fpscr_ue | fpscr_ze | fpscr_xe;
    if ((fpscr >> 22) & fpscr & enables) fpscr |= fpscr_fex;
    return fpscr;
}

// Sets the given exception bits, FX when one of them was 0, and the summaries.
constexpr void raise(std::uint32_t& fpscr, std::uint32_t exceptions) {
    if (exceptions & ~fpscr) fpscr |= fpscr_fx;
    fpscr = with_summaries(fpscr | exceptions);
}

// CR1 as the record forms (Rc=1) leave it: FX, FEX, VX, OX as a 4-bit field.
constexpr std::uint32_t cr1(std::uint32_t fpscr) { return fpscr >> 28; }

// mffs: what frT receives. The architecture leaves the upper word undefined; it is zero here, as in QEMU.
constexpr std::uint64_t mffs(std::uint32_t fpscr) { return fpscr; }

// mtfsf FLM,frB: bit 7-i of flm (0..255) selects field i. Field 0 takes FX from frB as it stands; the 0-to-1 rule
// does not apply to mtfsf and mtfsfi.
void mtfsf(std::uint32_t& fpscr, std::uint32_t flm, std::uint64_t frb);

// mtfsfi BF,U: field bf (0..7) becomes the 4-bit u.
void mtfsfi(std::uint32_t& fpscr, std::uint32_t bf, std::uint32_t u);

// mtfsb0 BT: clears bit bt (0..31, 0 the most significant). Bits 1 and 2 (FEX, VX) cannot be named to any effect.
void mtfsb0(std::uint32_t& fpscr, std::uint32_t bt);

// mtfsb1 BT: sets bit bt; an exception bit that was 0 sets FX as well.
void mtfsb1(std::uint32_t& fpscr, std::uint32_t bt);

// mcrfs BF,BFA: returns field bfa (0..7) for the CR, and clears the exception bits (and FX) in it.
std::uint32_t mcrfs(std::uint32_t& fpscr, std::uint32_t bfa);

} // namespace untrap::fp
