// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>

#include "vmm/machine/machine.h"
#include "vmm/machine/options.h"
#include "vmm/report/statistics.h"

namespace untrap::vmm {

// The same machine before and after: the trap run differs from `patched` in its mode alone.
Comparison comparison_of(const MachineOptions& patched);

// Runs the guest in trap mode, then in patch mode, each in a fresh VM on private copies of the disks. stdout gets both
// consoles, one after the other. Returns the exit status of the first run that went wrong, else 0 with both results and
// their statistics in place. `command` is how messages begin.
int run_both_modes(std::string_view command, Comparison& comparison, const RunOptions& run);

// Puts the text behind the consoles on stdout, for someone who looks at a terminal while stdout goes elsewhere on
// stderr too. False after a message when stdout takes no more.
bool show_behind_consoles(const std::string& text);

} // namespace untrap::vmm
