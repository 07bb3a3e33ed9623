// SPDX-License-Identifier: GPL-2.0-only

// `untrap ab`: the same guest in trap mode, then in patch mode, each in a fresh VM on private copies of the disks.
// stdout has both consoles, one after the other, and ends with the table; messages are on stderr. Someone who looks at
// a terminal while stdout goes elsewhere sees the table there too.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "vmm/cli/commands.h"
#include "vmm/cli/output_file.h"
#include "vmm/devices/diagnostics.h"
#include "vmm/machine/disk_copy.h"
#include "vmm/machine/machine.h"
#include "vmm/report/comparison_report.h"
#include "vmm/report/statistics.h"

namespace untrap::vmm {
namespace {

RunResult run_on_copies(MachineOptions machine, RunOptions run, const char* mode) {
    run.announcement = fmt::format("ab: {} mode", mode);
    const DiskCopies copies(machine.disks);
    machine.disks = copies.disks();
    RunResult result = run_machine(machine, run);
    if (!result.message.empty()) report(fmt::format("ab: {} mode: {}", mode, result.message));
    // A guest that was stopped inside a line leaves it open.
    [[maybe_unused]] const ssize_t wrote = ::write(STDOUT_FILENO, "\n", 1);
    return result;
}

} // namespace

int do_compare(const CompareCommand& command) {
    OutputFile json("--json", command.json_file);
    OutputFile html("--html", command.html_file);

    Comparison comparison{.trap_machine = command.machine, .patch_machine = command.machine, .trap = {}, .patch = {}};
    comparison.trap_machine.patch = false;
    comparison.trap_machine.levels.reset();
    comparison.trap_machine.hot_threshold.reset();

    comparison.trap = run_on_copies(comparison.trap_machine, command.run, "trap");
    if (const int status = comparison.trap.exit_status(); status != 0) return status;
    comparison.patch = run_on_copies(comparison.patch_machine, command.run, "patch");
    if (const int status = comparison.patch.exit_status(); status != 0) return status;
    if (!comparison.trap.statistics || !comparison.patch.statistics) {
        report("ab: the host gave no statistics, so there is nothing to compare");
        return status_failed;
    }
    const std::string table = comparison_table(comparison);
    bool shown = false;
    try {
        fmt::print("{}", table);
        shown = std::fflush(stdout) == 0;
    } catch (const std::system_error&) {
    }
    if (!shown) report(fmt::format("stdout: {}", std::strerror(errno)));
    if (::isatty(STDOUT_FILENO) == 0 && ::isatty(STDERR_FILENO) == 1) fmt::print(stderr, "{}", table);
    const bool json_written = json.write(comparison_json(comparison).dump(2) + "\n");
    const bool html_written = html.write(command.html_file.empty() ? "" : comparison_html(comparison));
    return shown && json_written && html_written ? 0 : status_failed;
}

} // namespace untrap::vmm
