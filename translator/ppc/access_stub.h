// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/ppc/stub.h"
#include "translator/ppc/verify.h"

// A guest kernel's access to a process's memory, as a stub that looks for the page in a *window* first.
//
// Linux opens that memory by a write of PID and closes it by another, so the CPU cannot have it mapped at its own
// address without being told of both. A window is a page of a process at an address of the host's, which the guest's
// kernel reaches through this stub alone: it compares page and PID with the tag of the window that may have them, and
// adds the window's distance to the address, or nothing. So the access is one instruction either way, and what the
// windows do not have is accessed as it would be without a patch.
//
// Tags are in the guest's page: they are hints. What a window maps is the host's to decide, as with any mapping.
namespace untrap::ppc {

// Windows lie so far apart that an access over a page's end finds nothing.
inline constexpr unsigned window_shift = 12, window_distance_shift = 13;
// The registers that a stub saves and uses are some of these, which the world switch can put back where it stands.
inline constexpr unsigned access_first_gpr = 5, access_last_gpr = 12;

// Whether there is a stub for this instruction: a plain load or store of an integer register.
bool has_access_stub(std::uint32_t original);

// The stub for the access `original` at `site`, to stand at address `at`, which uses this group of windows. It takes no
// register as dead.
Emitted emit_access_stub(std::uint32_t original, unsigned group, std::uint32_t site, std::uint32_t at, Stub& stub);

// Follows a stub as verify() does: nothing is executed but what finds a window and what puts registers back, the access
// is the original's at the original's address plus the distance of a window whose tag agrees, and the guest's registers
// are in place or where the restart entry says before each word.
Flaw verify_access(const std::uint32_t* words, std::uint32_t at, const Restart& restart, std::uint32_t original);

} // namespace untrap::ppc
