// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <asmjit/x86.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "translator/fp/fpscr.h"
#include "translator/x64/layout.h"
#include "translator/x64/optimisations.h"

// Where generated code keeps floating point: host registers, and the part of CpuState that is owed to fpscr.
//
// FPRs are loaded into host registers by the first FP instruction that generated code comes to (FpPending::loaded),
// with MXCSR set for FPSCR[RN], and go home before any C++ code runs: thunks do that, so that code without FP pays a
// test.
namespace untrap::x64 {

// What the host's vector unit can do.
struct FpHost {
    bool avx = false;    // without it FP arithmetic is the interpreter's
    bool fma = false;    // without it the fused forms are
    bool avx512 = false; // F, VL, BW and DQ: 32 vector registers

    static FpHost detect(Optimisations optimisations);
};

// xmm0-xmm2: scratch.
inline constexpr unsigned first_saved_xmm = 3; // xmm3, xmm4: FpPending::saved
inline constexpr unsigned first_fpr_xmm = 5;

// Guest FPRs in host registers, in gcc's order of use: volatile ones from f0 and f12 down, arguments, then f31 down.
inline constexpr std::array<std::uint8_t, 27> pinned_fprs = {0,  12, 11, 10, 9,  8,  1,  2,  7,  13, 6,  5,  4, 3,
                                                             31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19};
constexpr unsigned pinned_fpr_count(const FpHost& host) { return host.avx512 ? 27 : 11; }
inline constexpr std::uint8_t fpr_in_memory = 0xFF;
// Vector register of an FPR, or fpr_in_memory.
constexpr unsigned xmm_of_fpr(const FpHost& host, unsigned fpr) {
    constexpr std::array<std::uint8_t, 32> places = [] {
        std::array<std::uint8_t, 32> map{};
        map.fill(fpr_in_memory);
        for (unsigned i = 0; i < pinned_fprs.size(); ++i) map[pinned_fprs[i]] = static_cast<std::uint8_t>(i);
        return map;
    }();
    return places[fpr] < pinned_fpr_count(host) ? first_fpr_xmm + places[fpr] : fpr_in_memory;
}

// Operands in memory, beside the thunks; 16 bytes each, so that vector instructions may name any of them.
struct FpConstants {
    alignas(16) std::array<std::uint64_t, 2> sign{0x8000'0000'0000'0000, 0};
    std::array<std::uint64_t, 2> magnitude{0x7fff'ffff'ffff'ffff, 0};
    std::array<std::uint64_t, 2> least_double{0x0010'0000'0000'0000, 0}; // least normalised numbers
    std::array<std::uint64_t, 2> least_single{0x3810'0000'0000'0000, 0};
    std::array<std::uint64_t, 2> one{0x3ff0'0000'0000'0000, 0};
    std::array<std::uint64_t, 2> beyond_single{0x1fff'ffff, 0};
    // vpshufb: big-endian doublewords and words
    std::array<std::uint64_t, 2> reverse8{0x0001'0203'0405'0607, ~std::uint64_t{0}};
    std::array<std::uint64_t, 2> reverse4{0xffff'ffff'0001'0203, ~std::uint64_t{0}};
};

// FPSCR bits with which FP arithmetic is the interpreter's: every enabled exception.
inline constexpr std::uint32_t fpscr_enables = fp::fpscr_ve | fp::fpscr_oe | fp::fpscr_ue | fp::fpscr_ze | fp::fpscr_xe;

constexpr std::size_t fpr_offset(unsigned fpr) { return offsetof(isa::CpuState, fpr) + fpr * sizeof(std::uint64_t); }
constexpr std::size_t pending_offset(std::size_t field) { return offsetof(isa::CpuState, fp_pending) + field; }

// FPRs and MXCSR into host registers, and home again. Both are called from generated code, keep all general registers,
// and set or clear FpPending::loaded. C++ code must not be called while it is set.
struct FpThunks {
    FpHost host;
    std::uint64_t load = 0;
    std::uint64_t save = 0;
    std::uint64_t constants = 0; // FpConstants
};
void emit_fp_thunks(asmjit::x86::Assembler& a, std::uint8_t* base, const FpHost& host, FpThunks& thunks);
// Before a call of C++ code: save if need be. Spoils the host's flags only.
void emit_fp_save(asmjit::x86::Assembler& a, const FpThunks& thunks);

} // namespace untrap::x64
