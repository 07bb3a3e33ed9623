// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <optional>
#include <string_view>

#include "vmm/cli/option_values.h"
#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

constexpr std::array<std::string_view, 4> known_commands = {"run", "ab", "scan", "prof"};
constexpr std::string_view commands = "there are run, ab, prof, scan, and --help tells more";
constexpr std::string_view not_yet = "is not available yet in this version";

// Values as they were typed; empty: not given.
struct Typed {
    std::string kernel, initrd, append, memory, net, device_tree, host, mode, level, levels, clock, engine, threshold,
        disable, site_cache, code_cache, console, until, timeout, statistics, json, html, flame, top, patch_memory;
    std::vector<std::string> disks, marks;
    bool gdb = false, stopped = false, sites = false;
};

void add_guest_options(CLI::App& command, Typed& typed) {
    command.add_option("-k,--kernel", typed.kernel, "vmlinux ELF or uImage to boot (required)");
    command.add_option("-i,--initrd", typed.initrd, "initial RAM disk");
    command.add_option("-p,--append", typed.append, "kernel command line");
    command.add_option("-m", typed.memory, "memory in MiB (8 to 2048)")->default_str("128");
    command.add_option("-d,--drive", typed.disks, "raw disk image as a virtio disk; PATH,ro is read-only")
        ->allow_extra_args(false);
    command.add_option("-n,--net", typed.net, "network: user, tap=INTERFACE or none")->default_str("none");
    command.add_option("--dtb", typed.device_tree, "device tree blob instead of the built-in one");
    command.add_option("--console", typed.console, "device on stdio: serial or virtio (hvc0)")->default_str("serial");
    command.add_option("--host", typed.host, "auto, soft or kvm")->default_str("auto");
    command.add_option("--level", typed.level, "patch levels up to this one, 0 to 4")->default_str("highest");
    command.add_option("--levels", typed.levels, "exactly these patch levels, as 1,3");
    command.add_option("--hot-threshold,--threshold", typed.threshold, "traps of a site before it is patched");
    command.add_option("--patch-memory", typed.patch_memory,
                       "MiB that patched copies of guest code and stubs may take (kvm host)");
    command.add_option("--site-cache", typed.site_cache,
                       "file of sites that were hot in earlier runs, patched at once; rewritten at the end");
    command.add_option(
        "--code-cache", typed.code_cache,
        "file of translated code of earlier runs, private to its owner; rewritten at the end (soft host)");
    command.add_option("--engine", typed.engine, "jit or interpreter (soft host)")->default_str("jit");
    command.add_option(
        "--disable", typed.disable,
        fmt::format("optimisations of the JIT to do without (soft host), with commas: {}", optimisation_list()));
    command.add_option("--until", typed.until, "end with status 0 as soon as the console prints this text");
    command.add_option("--timeout", typed.timeout, "seconds until the run ends with status 124");
    command.add_option_function<std::string>(
        "--gdb", [&typed](const std::string&) { typed.gdb = true; }, "tcp::PORT");
    command.add_flag("-S", typed.stopped, "start stopped");
}

MachineOptions machine_options(const Typed& typed) {
    if (typed.kernel.empty()) throw Error("a kernel is required: -k KERNEL");
    if (typed.gdb) throw Error(fmt::format("--gdb {}", not_yet));
    if (typed.stopped) throw Error(fmt::format("-S {}", not_yet));
    MachineOptions machine;
    machine.boot = {.kernel = typed.kernel, .initrd = typed.initrd, .device_tree = typed.device_tree};
    machine.command_line = typed.append;
    machine.site_cache = typed.site_cache;
    machine.code_cache = typed.code_cache;
    if (!typed.memory.empty()) machine.memory_mib = memory_mib(typed.memory);
    for (const std::string& disk : typed.disks) machine.disks.push_back(disk_option(disk));
    if (!typed.net.empty()) set_net(machine, typed.net);
    machine.console = choice<ConsoleKind>("--console", typed.console, ConsoleKind::serial,
                                          {{"serial", ConsoleKind::serial}, {"virtio", ConsoleKind::virtio}});
    machine.host =
        choice<HostChoice>("--host", typed.host, HostChoice::automatic,
                           {{"auto", HostChoice::automatic}, {"soft", HostChoice::soft}, {"kvm", HostChoice::kvm}});
    machine.engine = choice<EngineKind>("--engine", typed.engine, EngineKind::jit,
                                        {{"jit", EngineKind::jit}, {"interpreter", EngineKind::interpreter}});
    if (!typed.level.empty() && !typed.levels.empty()) throw Error("--level and --levels exclude each other");
    if (!typed.level.empty()) {
        machine.levels = abi::untrap_levels_up_to(
            static_cast<unsigned>(whole_number("--level", typed.level, 0, abi::untrap_highest_level)));
    }
    if (!typed.levels.empty()) machine.levels = level_mask(typed.levels);
    if (!typed.threshold.empty())
        machine.hot_threshold = whole_number("--hot-threshold", typed.threshold, 1, UINT32_MAX);
    if (!typed.patch_memory.empty())
        machine.patch_memory = whole_number("--patch-memory", typed.patch_memory, 1, 1024) << 20;
    if (!typed.disable.empty()) machine.disabled = disabled_optimisations(typed.disable);
    if (machine.disabled != 0 && machine.engine == EngineKind::interpreter)
        throw Error("--engine interpreter and --disable exclude each other");
    return machine;
}

ClockKind clock_option(const Typed& typed, ClockKind standard) {
    return choice<ClockKind>("--clock", typed.clock, standard,
                             {{"host", ClockKind::host}, {"guest", ClockKind::guest}});
}

RunOptions run_options(const Typed& typed) {
    RunOptions run;
    run.until = typed.until;
    run.marks = typed.marks;
    if (!typed.timeout.empty()) run.timeout = seconds("--timeout", typed.timeout);
    return run;
}

RunCommand run_command(const Typed& typed) {
    RunCommand command{
        .machine = machine_options(typed), .run = run_options(typed), .statistics_file = typed.statistics};
    command.machine.clock = clock_option(typed, ClockKind::host);
    command.machine.patch = choice<bool>("--mode", typed.mode, true, {{"patch", true}, {"trap", false}});
    if (!command.machine.patch) {
        for (const auto& [name, value] :
             std::initializer_list<std::pair<const char*, const std::string&>>{{"--level", typed.level},
                                                                               {"--levels", typed.levels},
                                                                               {"--hot-threshold", typed.threshold},
                                                                               {"--patch-memory", typed.patch_memory},
                                                                               {"--site-cache", typed.site_cache}}) {
            if (!value.empty()) throw Error(fmt::format("--mode trap and {} exclude each other", name));
        }
    }
    command.run.want_statistics = !typed.statistics.empty();
    for (const std::string& mark : typed.marks) {
        if (mark.empty()) throw Error("--mark: the text is empty");
        if (typed.statistics.empty()) throw Error("--mark needs --stats, where its counts are put");
    }
    return command;
}

CompareCommand compare_command(const Typed& typed) {
    CompareCommand command{
        .machine = machine_options(typed), .run = run_options(typed), .json_file = typed.json, .html_file = typed.html};
    command.machine.clock = clock_option(typed, ClockKind::repeatable);
    // Typed input would reach the two runs at different places.
    command.run.console_input = false;
    command.run.want_statistics = true;
    return command;
}

ProfileCommand profile_command(const Typed& typed) {
    ProfileCommand command{.machine = machine_options(typed),
                           .run = run_options(typed),
                           .json_file = typed.json,
                           .html_file = typed.html,
                           .flame_file = typed.flame};
    command.machine.clock = clock_option(typed, ClockKind::repeatable);
    if (!typed.top.empty()) {
        command.top = static_cast<std::size_t>(whole_number("--top", typed.top, 1, 1'000'000));
    }
    command.run.console_input = false;
    command.run.want_statistics = true;
    command.run.want_exit_sites = true;
    return command;
}

// One line of what CLI11 has to say.
std::string first_line(std::string text) {
    text.resize(std::min(text.find('\n'), text.size()));
    return text;
}

} // namespace

Command parse_command_line(const std::vector<std::string>& arguments) {
    Typed typed;
    CLI::App app("untrap: runs PowerPC 440 guests, with privileged instructions trapped or patched", "untrap");
    app.require_subcommand(1);
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);

    CLI::App& run = *app.add_subcommand("run", "boot a guest; its console is on stdin and stdout, Ctrl-A X quits");
    CLI::App& compare = *app.add_subcommand(
        "ab", "boot the same guest in trap mode and in patch mode and compare; disks stay as they are");
    CLI::App& scan = *app.add_subcommand("scan", "list the privileged sites of a vmlinux");
    CLI::App& profile = *app.add_subcommand(
        "prof", "boot the same guest in trap mode and in patch mode and tell which instructions exit, and why");

    add_guest_options(run, typed);
    run.add_option("--mode", typed.mode, "trap or patch")->default_str("patch");
    run.add_option("--clock", typed.clock, "host (real time) or guest (retired instructions)")->default_str("host");
    run.add_option("--stats", typed.statistics, "JSON file for the statistics of the run");
    run.add_option("--mark", typed.marks, "note the counts in the statistics whenever the console prints this text")
        ->allow_extra_args(false);

    add_guest_options(compare, typed);
    compare.add_option("--clock", typed.clock, "host (real time) or guest (retired instructions)")
        ->default_str("guest where the host has it");
    compare.add_option("--json", typed.json, "JSON file for both runs and their ratios");
    compare.add_option("--html", typed.html, "HTML file with the comparison as a page");

    add_guest_options(profile, typed);
    profile.add_option("--clock", typed.clock, "host (real time) or guest (retired instructions)")
        ->default_str("guest where the host has it");
    profile.add_option("--top", typed.top, "rows of each table of sites")->default_str("30");
    profile.add_option("--json", typed.json, "JSON file for both runs and every site");
    profile.add_option("--html", typed.html, "HTML file with the profile as a page");
    profile.add_option("--flame", typed.flame, "SVG file with flame graphs of both modes");

    scan.add_option("vmlinux", typed.kernel, "kernel ELF")->required();
    scan.add_flag("--sites", typed.sites, "list every site with its address, symbol and level");

    if (arguments.empty()) throw Error(fmt::format("no command; {}", commands));
    if (!arguments[0].starts_with('-') &&
        std::find(known_commands.begin(), known_commands.end(), arguments[0]) == known_commands.end()) {
        throw Error(fmt::format("\"{}\" is no command; {}", arguments[0], commands));
    }
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    try {
        app.parse(reversed);
    } catch (const CLI::CallForHelp&) {
        const std::vector<CLI::App*> chosen = app.get_subcommands();
        return HelpCommand{chosen.empty() ? app.help() : chosen.front()->help()};
    } catch (const CLI::ParseError& error) {
        throw Error(first_line(error.what()));
    }
    if (run.parsed()) return run_command(typed);
    if (compare.parsed()) return compare_command(typed);
    if (profile.parsed()) return profile_command(typed);
    return ScanCommand{.kernel = typed.kernel, .list_sites = typed.sites};
}

} // namespace untrap::vmm
