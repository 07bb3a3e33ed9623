// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <functional>
#include <string>

#include "code_generator.h"
#include "machine.h"

namespace untrap::tests {

// Random register contents for code generated under use. pointer gives addresses for storage accesses; pc, MSR and
// PID are the caller's.
isa::CpuState random_state(Random& random, const RegisterUse& use, const std::function<std::uint32_t()>& pointer);

// Bits of MSR that unprivileged code notices, FP mostly on; translation spaces as given by percent.
std::uint32_t random_msr(Random& random, unsigned other_space_percent);

// Runs about count instructions in pieces of random length. Instructions that trap are stepped over. Returns true if
// it ended because no instruction can be fetched at pc.
bool run_in_pieces(Pair& pair, Random& random, std::uint64_t count, const std::string& context,
                   const std::function<void()>& between_pieces = {});

} // namespace untrap::tests
