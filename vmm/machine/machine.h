// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/kvm/untrap_abi.h"
#include "vmm/machine/options.h"

namespace untrap::vmm {

// How a run came to its end.
enum class RunEnd {
    guest_ended,  // reset or power-off
    until_seen,   // the console printed RunOptions::until
    timed_out,    // RunOptions::timeout
    quit_key,     // Ctrl-A X
    signal,       // SIGINT, SIGTERM, SIGHUP or SIGQUIT
    guest_died,   // nothing sensible can be run any more
    console_lost, // stdout takes no more
    host_failed,  // the host or a device backend broke
};

// The counts when the console had just printed a text of RunOptions::marks.
struct Mark {
    std::string text{};
    double seconds = 0;     // since the first guest instruction
    double cpu_seconds = 0; // of that, those in which this process ran
    std::optional<abi::UntrapStats> statistics{};
};

struct RunResult {
    RunEnd end = RunEnd::guest_ended;
    int signal = 0;        // the number, for RunEnd::signal
    std::string message{}; // one line; several for a register dump; empty where there is nothing to say

    // What was really used.
    std::string host{};
    std::uint64_t levels = 0; // bit n: patch level n
    double wall_seconds = 0;  // from the first guest instruction on
    std::uint64_t peak_rss_bytes = 0;
    std::uint64_t guest_resident_bytes = 0;        // of the guest's memory, at the end; part of the above
    std::optional<abi::UntrapStats> statistics{};  // none: the host keeps none
    std::vector<abi::UntrapExitSite> exit_sites{}; // with RunOptions::want_exit_sites
    std::vector<Mark> marks{};                     // in the order printed

    // 0, 1, 124, or 128 + the signal's number.
    int exit_status() const;
};

// Builds the machine, boots the guest and runs it to its end, with the console on stdin and stdout. Throws Error for
// everything wrong with what the user gave.
RunResult run_machine(const MachineOptions& machine, const RunOptions& options);

} // namespace untrap::vmm
