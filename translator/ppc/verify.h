// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/ppc/liveness.h"
#include "translator/ppc/restart.h"

namespace untrap::ppc {

// Why a stub is not to be used.
enum class Flaw : std::uint8_t {
    none,
    shape,        // lengths and numbers of the restart entry do not fit together
    original,     // no privileged instruction, or not the one behind the line
    instruction,  // one that stubs have no use for
    privileged,   // a privileged one
    storage,      // an access to anything but the guest's page, or to a field that is not its to access
    commit,       // not exactly one store that commits, or not where the restart entry says, or a trap behind it
    branch,       // a branch other than the last word, or to anything but the site's next instruction
    lost_register // a register that is neither in place nor where the restart entry says
};
const char* name(Flaw flaw);

// Follows a stub at address `at`, without looking at how it was made: what it executes, what it stores to, where it
// goes, and that before each of its words the guest's registers, but for the dead ones, are in place or in the slot
// that the restart entry names. Registers that the original instruction reads count as alive before it.
Flaw verify(const std::uint32_t* words, std::uint32_t at, const Restart& restart, std::uint32_t original,
            Registers dead);

} // namespace untrap::ppc
