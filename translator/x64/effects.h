// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/table.h"

namespace untrap::x64 {

// What an instruction does to the state that a block keeps elsewhere than at home, as far as its host code goes.
struct Effects {
    std::uint32_t gpr_written = 0;                  // bit n: rn
    std::uint8_t cr_written = 0;                    // bit n: field n, all of it
    std::uint8_t cr_read = 0;                       // bit n: field n as it is in memory; branches not included
    bool carry_written = false, carry_read = false; // XER[CA]
    bool observes = false;                          // may leave the block, or be seen by another: all state counts
    bool opaque = false;                            // wants and leaves all state at home
};

// Compares and recording instructions copy XER[SO] to CR; where it is set, the interpreter does them.
bool copies_summary_overflow(isa::Instruction insn);

// For an instruction in a block of this mode.
Effects effects_of(isa::Instruction insn, std::uint32_t mode);

// Whether an access has its address from RA and a displacement.
inline bool has_displacement(isa::Instruction insn) {
    return insn.info().form == isa::Form::d_mem || insn.info().form == isa::Form::d_fmem;
}

} // namespace untrap::x64
