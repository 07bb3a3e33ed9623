// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "tests/jit/code_generator.h"
#include "translator/isa/spr.h"
#include "translator/plan/plan.h"

// The privileged instructions that get stubs and patched words.
namespace untrap::tests::ppc440 {

using isa::Op;

inline std::uint32_t mfmsr(unsigned rt) { return match(Op::mfmsr) | field_rt(rt); }
inline std::uint32_t mtmsr(unsigned rs) { return match(Op::mtmsr) | field_rt(rs); }
inline std::uint32_t wrtee(unsigned rs) { return match(Op::wrtee) | field_rt(rs); }
inline std::uint32_t wrteei(bool enable) { return match(Op::wrteei) | (enable ? 0x8000U : 0); }
inline std::uint32_t mfspr(unsigned rt, unsigned number) { return match(Op::mfspr) | field_rt(rt) | field_spr(number); }
inline std::uint32_t mtspr(unsigned number, unsigned rs) { return match(Op::mtspr) | field_rt(rs) | field_spr(number); }

inline constexpr unsigned words_and_stubs = 1U << 1 | 1U << 2, all_levels = words_and_stubs | 1U << 3;

inline plan::Patch plan_of(std::uint32_t word, unsigned levels = words_and_stubs) {
    return plan::make_patch(&word, 1, levels);
}

} // namespace untrap::tests::ppc440
