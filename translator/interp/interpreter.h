// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "translator/interp/storage.h"
#include "translator/isa/state.h"
#include "translator/isa/table.h"
#include "translator/isa/trap.h"

namespace untrap::interp {

// The reference semantics of every unprivileged 440EP instruction, independent of the JIT. Privileged instructions
// are not executed here: they give TrapKind::privileged, and the runtime emulates them.
//
// Where the architecture leaves a result undefined, the choice is:
// - Reserved bits are ignored, as the 440 does.
// - Loads with update and RA = 0 or RA = RT, other accesses with update and RA = 0, and bcctr with a decrement of CTR
//   are illegal instructions, as in QEMU.
// - RA or RB among the registers of lmw, lswi and lswx: they are loaded, but only after the last access.
// - divw and divwu by zero, and -2^31 / -1, give the dividend, as in QEMU.
// - lwarx and stwcx. at an unaligned address are alignment interrupts. stwcx. succeeds only at the effective address of
//   the reservation, and without one looks at no address.
// - dcba does nothing, as on the 440. lswx and stswx of no bytes do nothing.
// - Unprivileged SPR numbers that the 440 does not have, or not for writing, are illegal.

// Executes one decoded instruction at state.pc. On TrapKind::none pc is advanced (or branched) and retired counts
// one; otherwise the state is as before the instruction, but for what the architecture leaves partly done in
// multiple and string accesses and for FPSCR on fp_exception.
isa::Trap execute(isa::CpuState& state, Storage& storage, isa::Instruction instruction);

// Fetches, decodes and executes up to count instructions; TrapKind::budget when all completed.
isa::Trap run(isa::CpuState& state, Storage& storage, std::uint64_t count);

} // namespace untrap::interp
