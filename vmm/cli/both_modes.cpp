// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/cli/both_modes.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <system_error>
#include <unistd.h>

#include "vmm/cli/commands.h"
#include "vmm/devices/diagnostics.h"
#include "vmm/machine/disk_copy.h"
#include "vmm/machine/kvm_vm.h"

namespace untrap::vmm {
namespace {

RunResult run_on_copies(std::string_view command, MachineOptions machine, RunOptions run, const char* mode) {
    run.announcement = fmt::format("{}: {} mode", command, mode);
    const DiskCopies copies(machine.disks);
    machine.disks = copies.disks();
    RunResult result = run_machine(machine, run);
    if (!result.message.empty()) report(fmt::format("{}: {} mode: {}", command, mode, result.message));
    // A guest that was stopped inside a line leaves it open.
    [[maybe_unused]] const ssize_t wrote = ::write(STDOUT_FILENO, "\n", 1);
    return result;
}

} // namespace

Comparison comparison_of(const MachineOptions& patched) {
    Comparison comparison{.trap_machine = patched, .patch_machine = patched, .trap = {}, .patch = {}};
    comparison.trap_machine.clock = comparison.patch_machine.clock = settled_clock(patched);
    comparison.trap_machine.patch = false;
    comparison.trap_machine.levels.reset();
    comparison.trap_machine.hot_threshold.reset();
    comparison.trap_machine.patch_memory.reset();
    return comparison;
}

int run_both_modes(std::string_view command, Comparison& comparison, const RunOptions& run) {
    comparison.trap = run_on_copies(command, comparison.trap_machine, run, "trap");
    if (const int status = comparison.trap.exit_status(); status != 0) return status;
    comparison.patch = run_on_copies(command, comparison.patch_machine, run, "patch");
    if (const int status = comparison.patch.exit_status(); status != 0) return status;
    if (!comparison.trap.statistics || !comparison.patch.statistics) {
        report(fmt::format("{}: the host gave no statistics, so there is nothing to compare", command));
        return status_failed;
    }
    return 0;
}

bool show_behind_consoles(const std::string& text) {
    bool shown = false;
    try {
        fmt::print("{}", text);
        shown = std::fflush(stdout) == 0;
    } catch (const std::system_error&) {
    }
    if (!shown) report(fmt::format("stdout: {}", std::strerror(errno)));
    if (::isatty(STDOUT_FILENO) == 0 && ::isatty(STDERR_FILENO) == 1) fmt::print(stderr, "{}", text);
    return shown;
}

} // namespace untrap::vmm
