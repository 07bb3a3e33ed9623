// SPDX-License-Identifier: GPL-2.0-only

// `untrap ab`: the same guest in trap mode, then in patch mode. stdout has both consoles, one after the other, and ends
// with the table; messages are on stderr.

#include <string>

#include "vmm/cli/both_modes.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/output_file.h"
#include "vmm/report/comparison_report.h"
#include "vmm/report/statistics.h"

namespace untrap::vmm {

int do_compare(const CompareCommand& command) {
    OutputFile json("--json", command.json_file);
    OutputFile html("--html", command.html_file);

    Comparison comparison = comparison_of(command.machine);
    if (const int status = run_both_modes("ab", comparison, command.run); status != 0) return status;
    const bool shown = show_behind_consoles(comparison_table(comparison));
    const bool json_written = json.write(comparison_json(comparison).dump(2) + "\n");
    const bool html_written = html.write(command.html_file.empty() ? "" : comparison_html(comparison));
    return shown && json_written && html_written ? 0 : status_failed;
}

} // namespace untrap::vmm
