// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "vmm/report/statistics.h"

namespace untrap::vmm {

// The table of `untrap ab` for a terminal: exits by reason in both modes and their ratio, then the totals. Reasons that
// neither mode has are left out. Both runs have statistics.
std::string comparison_table(const Comparison& comparison);

// The same as a self-contained HTML page with a bar per reason and mode.
std::string comparison_html(const Comparison& comparison);

} // namespace untrap::vmm
