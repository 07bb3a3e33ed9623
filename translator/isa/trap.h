// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace untrap::isa {

// Why execution of unprivileged guest code stopped. CpuState::pc is the instruction that did not complete
// (or, for budget, the next one); nothing of that instruction is visible, except for restartable multiple accesses.
enum class TrapKind : std::uint8_t {
    none,           // only from a single step: the instruction completed
    budget,         // the instruction budget is used up
    privileged,     // privileged instruction met (in either state; the runtime decides)
    illegal,        // no 440EP instruction
    trap_condition, // tw or twi whose condition holds
    system_call,
    fp_unavailable, // fp instruction with MSR[FP] = 0
    fp_exception,   // enabled FP exception with MSR[FE0,FE1]; FPSCR is already updated
    alignment,      // ea, is_store
    fetch_miss,     // no guest TLB entry for the instruction; pc
    fetch_denied,
    fetch_bus_error, // mapped to where there is no memory
    data_miss,       // ea, is_store
    data_denied,     // ea, is_store
    mmio,            // the access at ea goes to real, where there is no memory
    debug,           // debug condition: dbsr bits in detail
};

struct Trap {
    TrapKind kind = TrapKind::none;
    bool is_store = false;
    bool simple = false;    // mmio: the access is all that the instruction `word` has to do with memory
    std::uint8_t size = 0;  // bytes, mmio
    std::uint32_t word = 0; // instruction word, where known (0 for fetch traps)
    std::uint32_t ea = 0;
    std::uint32_t detail = 0; // debug: DBSR bits
    std::uint64_t real = 0;   // mmio: 36-bit real address
    std::uint64_t value = 0;  // mmio store: value, right-aligned
};

} // namespace untrap::isa
