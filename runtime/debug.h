// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/state.h"
#include "translator/isa/table.h"

namespace untrap::runtime {

class Vcpu;

// The 440's internal debug mode, for a guest's own ptrace: instruction complete, branch taken, trap, instruction and
// data address compare, interrupt and return events. Events are noticed while MSR[DE] and DBCR0[IDM] are set; the run
// loop then executes one instruction at a time. (With DE clear the 440 would record some of them as imprecise.)
namespace debug {

// What an instruction is about to do to data memory (or to a cache line).
struct DataAccess {
    std::uint32_t ea = 0;
    std::uint32_t size = 0; // bytes; 0: nothing
    bool is_store = false;
};
DataAccess data_access(const isa::CpuState& state, isa::Instruction instruction);

// Whether some event may occur now, so that instructions have to be looked at one by one.
bool stepping(const isa::CpuState& state);
// DBSR holds an event that interrupts as soon as MSR[DE] allows it.
bool event_recorded(const isa::CpuState& state);

// DBSR bits of the events that the instruction at pc causes before it executes (it is then suppressed): IAC, DAC,
// branch taken and return.
std::uint32_t events_before(Vcpu& vcpu, isa::Instruction instruction);
// Records events and, with MSR[DE], enters the debug handler, which returns to return_address.
void raise(Vcpu& vcpu, std::uint32_t events, std::uint32_t return_address);
// Whether the completion of the instruction that begins now is an event; to be handed to completed().
bool completion_watched(const isa::CpuState& state);
// An instruction completed. The event needs MSR[DE] before and after it, so that neither the rfi into a stepped program
// nor the instruction that ends stepping counts.
void completed(Vcpu& vcpu, bool watched);
// A trap instruction's condition holds: true if that was a debug event, raised here, and no program interrupt.
bool trap_event(Vcpu& vcpu);
// A non-critical interrupt was delivered.
void interrupt_taken(Vcpu& vcpu);
// DBCR0 or DBSR changed: DBCR0[FT] stops the timers while an event is recorded.
void control_changed(Vcpu& vcpu);

} // namespace debug
} // namespace untrap::runtime
