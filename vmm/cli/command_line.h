// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include "vmm/machine/options.h"

namespace untrap::vmm {

struct RunCommand {
    MachineOptions machine;
    RunOptions run;
    std::string statistics_file; // empty: none
};

struct CompareCommand {
    MachineOptions machine; // of the patch run; the trap run differs in its mode alone
    RunOptions run;
    std::string json_file; // empty: none
    std::string html_file; // empty: none
};

struct ProfileCommand {
    MachineOptions machine; // as for CompareCommand
    RunOptions run;
    std::size_t top = 30;   // rows of a table of sites
    std::string json_file;  // empty: none
    std::string html_file;  // empty: none
    std::string flame_file; // empty: none
};

struct ScanCommand {
    std::string kernel;
    bool list_sites = false;
};

// Text that was asked for instead of anything being done.
struct HelpCommand {
    std::string text;
};

using Command = std::variant<RunCommand, CompareCommand, ProfileCommand, ScanCommand, HelpCommand>;

// What the arguments (without the program's name) ask for. Throws Error with one line for anything unknown, missing,
// out of range or in conflict.
Command parse_command_line(const std::vector<std::string>& arguments);

} // namespace untrap::vmm
