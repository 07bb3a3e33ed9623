// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/msr.h"
#include "translator/isa/trap.h"

namespace untrap::runtime {

class Vcpu;

// Delivery of interrupts to the guest: save registers, MSR and vector as the 440EP does it (user's manual, chapter on
// interrupts and exceptions).
namespace interrupts {

// Critical-class interrupts save to CSRR0/1 and return by rfci. The 440EP's machine check is one of them.
constexpr bool is_critical(isa::Interrupt which) {
    return which == isa::Interrupt::critical_input || which == isa::Interrupt::machine_check ||
           which == isa::Interrupt::watchdog || which == isa::Interrupt::debug;
}

// MSR bits that survive an interrupt; all others are cleared.
constexpr std::uint32_t surviving_msr(isa::Interrupt which) {
    if (which == isa::Interrupt::machine_check) return 0;
    if (is_critical(which)) return isa::msr::me;
    return isa::msr::ce | isa::msr::me | isa::msr::de;
}

// Enters the handler of an interrupt that returns to return_address; ESR and DEAR are the caller's. The reservation
// is dropped.
void deliver(Vcpu& vcpu, isa::Interrupt which, std::uint32_t return_address);

// The same with ESR, for program, storage and alignment interrupts.
void deliver_with_esr(Vcpu& vcpu, isa::Interrupt which, std::uint32_t return_address, std::uint32_t esr);

// The asynchronous interrupt of highest priority that is pending and enabled by MSR; false if there is none.
// Order: debug, critical input, watchdog, external, fixed-interval timer, decrementer.
bool next_pending(const Vcpu& vcpu, isa::Interrupt& which);

// Reports a synchronous exception of the instruction at state.pc to the guest. Counts the exit unless already_counted.
// Not for privileged (in supervisor state), mmio and budget, which are no exceptions.
// False if the guest cannot take it: a machine check with MSR[ME] clear.
bool reflect(Vcpu& vcpu, const isa::Trap& trap, bool already_counted);

// reflect() for a data TLB miss, the most frequent. The exit is counted.
void reflect_data_miss(Vcpu& vcpu, const isa::Trap& trap);

} // namespace interrupts
} // namespace untrap::runtime
