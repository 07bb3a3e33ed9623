// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "translator/interp/storage.h"
#include "translator/isa/state.h"
#include "translator/isa/table.h"
#include "translator/isa/trap.h"

namespace untrap::interp {

// The reference semantics of every unprivileged 440EP instruction, independent of the JIT. Privileged instructions
// are not executed here: they give TrapKind::privileged, and the runtime emulates them.

// Executes one decoded instruction at state.pc. On TrapKind::none pc is advanced (or branched) and retired counts
// one; otherwise the state is as before the instruction, but for what the architecture leaves partly done in
// multiple and string accesses and for FPSCR on fp_exception.
isa::Trap execute(isa::CpuState& state, Storage& storage, isa::Instruction instruction);

// Fetches, decodes and executes up to count instructions; TrapKind::budget when all completed.
isa::Trap run(isa::CpuState& state, Storage& storage, std::uint64_t count);

} // namespace untrap::interp
