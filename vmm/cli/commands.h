// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "vmm/cli/command_line.h"

namespace untrap::vmm {

// Exit statuses beyond those of RunResult::exit_status().
inline constexpr int status_failed = 1;
inline constexpr int status_bad_input = 2;

// Each does what was asked and returns the exit status. They throw Error for bad input.
int do_run(const RunCommand& command);
int do_compare(const CompareCommand& command);
int do_profile(const ProfileCommand& command);
int do_scan(const ScanCommand& command);

// The whole program: parses, dispatches, and turns an Error into one line on stderr and status 2.
int untrap_main(int argc, char** argv);

} // namespace untrap::vmm
