// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "translator/isa/state.h"

namespace untrap::x64 {

// Brings fpscr up to date: what generated code executed and left pending is executed again by translator/fp, for its
// FPRF, FR and FI; exceptions come from the host's flags. The FPRs must be home (FpPending::loaded clear).
void settle_fpscr(isa::CpuState& state);

inline bool fpscr_pending(const isa::CpuState& state) {
    const isa::FpPending& pending = state.fp_pending;
    return (pending.word | ~pending.later | pending.flags) != 0;
}

} // namespace untrap::x64
