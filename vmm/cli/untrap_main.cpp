// SPDX-License-Identifier: GPL-2.0-only
#include <csignal>
#include <cstdio>
#include <exception>
#include <fmt/format.h>
#include <new>
#include <string>
#include <variant>
#include <vector>

#include "vmm/cli/commands.h"
#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

int print_help(const HelpCommand& help) {
    fmt::print("{}", help.text);
    return std::fflush(stdout) == 0 ? 0 : status_failed;
}

struct Dispatch {
    int operator()(const RunCommand& command) const { return do_run(command); }
    int operator()(const CompareCommand& command) const { return do_compare(command); }
    int operator()(const ProfileCommand& command) const { return do_profile(command); }
    int operator()(const ScanCommand& command) const { return do_scan(command); }
    int operator()(const HelpCommand& command) const { return print_help(command); }
};

} // namespace

int untrap_main(int argc, char** argv) {
    // A reader of the console that went away is seen as an error of write().
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return std::visit(Dispatch{}, parse_command_line(std::vector<std::string>(argv + 1, argv + argc)));
    } catch (const Error& error) {
        fmt::print(stderr, "untrap: {}\n", error.what());
        return status_bad_input;
    } catch (const std::bad_alloc&) {
        fmt::print(stderr, "untrap: out of memory\n");
    } catch (const std::exception& error) {
        fmt::print(stderr, "untrap: {}\n", error.what());
    }
    return status_failed;
}

} // namespace untrap::vmm
