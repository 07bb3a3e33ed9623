// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/isa/state.h"
#include "translator/isa/table.h"

namespace untrap::runtime {

class GuestStorage;

// A debugger on the host (KVM_SET_GUEST_DEBUG): single step, software breakpoints, and as many hardware breakpoints and
// watchpoints as the 440 has. The guest's own debug facility is not used for it, so its registers, events and timers
// are as without a debugger. Two things differ for a guest that is being debugged: while it is stepped or has hardware
// breakpoints the interpreter runs it, slowly, which under the host clock it can tell by the time; and an illegal
// instruction that is the very word of a software breakpoint does not reach it.
struct GuestDebug {
    static constexpr unsigned breakpoint_limit = 4, watchpoint_limit = 2;
    // What a debugger plants: no 440 instruction, so a guest's own `trap` is never taken for it.
    static constexpr std::uint32_t breakpoint_word = 0x00DDDD00;

    struct Watchpoint {
        std::uint32_t ea = 0; // of one byte
        bool loads = false, stores = false;
    };

    bool single_step = false;
    bool software_breakpoints = false;
    unsigned breakpoint_count = 0, watchpoint_count = 0;
    std::array<std::uint32_t, breakpoint_limit> breakpoints{};
    std::array<Watchpoint, watchpoint_limit> watchpoints{};

    // Whether every instruction has to be looked at before it executes.
    bool one_by_one() const { return single_step || (breakpoint_count | watchpoint_count) != 0; }
};

// Where a debugger's guest stopped, and why.
struct DebugStop {
    enum class Kind : std::uint8_t {
        step,                // an instruction was executed, or an interrupt taken instead; address: the next one
        software_breakpoint, // address: of the instruction, which has not been executed; the same for
        breakpoint,
        watched_load, // address: the watched one; the instruction has not been executed
        watched_store,
    };
    Kind kind = Kind::step;
    std::uint32_t address = 0;
};

// Whether the debugger wants to stop before the instruction at pc executes. An access that faults is no stop.
bool stops_before(const GuestDebug& debug, const isa::CpuState& state, GuestStorage& storage,
                  isa::Instruction instruction, DebugStop& stop);

} // namespace untrap::runtime
