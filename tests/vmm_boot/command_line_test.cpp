// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "translator/x64/optimisations.h"
#include "vmm/cli/command_line.h"
#include "vmm/devices/diagnostics.h"

using namespace untrap::vmm;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

using Arguments = std::vector<std::string>;

RunCommand run(Arguments arguments) {
    arguments.insert(arguments.begin(), {"run", "-k", "kernel"});
    return std::get<RunCommand>(parse_command_line(arguments));
}

void refused(const Arguments& arguments, const std::string& why) {
    CAPTURE(arguments);
    CHECK_THROWS_MATCHES(parse_command_line(arguments), Error, MessageMatches(ContainsSubstring(why)));
}

void run_refused(Arguments arguments, const std::string& why) {
    arguments.insert(arguments.begin(), {"run", "-k", "kernel"});
    refused(arguments, why);
}

} // namespace

TEST_CASE("command line: defaults of run") {
    const RunCommand command = run({});
    CHECK(command.machine.boot.kernel == "kernel");
    CHECK(command.machine.memory_mib == 128);
    CHECK(command.machine.net == NetKind::none);
    CHECK(command.machine.host == HostChoice::automatic);
    CHECK(command.machine.patch);
    CHECK_FALSE(command.machine.levels);
    CHECK(command.machine.clock == ClockKind::host);
    CHECK(command.machine.engine == EngineKind::jit);
    CHECK_FALSE(command.machine.hot_threshold);
    CHECK(command.machine.console == ConsoleKind::serial);
    CHECK(command.run.console_input);
    CHECK_FALSE(command.run.timeout);
    CHECK_FALSE(command.run.want_statistics);
}

TEST_CASE("command line: everything at once, short and long names") {
    for (const Arguments& arguments :
         {Arguments{"run", "-k", "k", "-i", "i", "-p", "a b", "-d", "x", "-d", "y,ro", "-n", "tap=tap0"},
          Arguments{"run", "--kernel", "k", "--initrd", "i", "--append", "a b", "--drive",
                    "file=x,format=raw,if=virtio", "--drive", "y,readonly=on", "--net", "tap=tap0"}}) {
        const auto command = std::get<RunCommand>(parse_command_line(arguments));
        CHECK(command.machine.boot.kernel == "k");
        CHECK(command.machine.boot.initrd == "i");
        CHECK(command.machine.command_line == "a b");
        REQUIRE(command.machine.disks.size() == 2);
        CHECK(command.machine.disks[0].path == "x");
        CHECK_FALSE(command.machine.disks[0].read_only);
        CHECK(command.machine.disks[1].path == "y");
        CHECK(command.machine.disks[1].read_only);
        CHECK(command.machine.net == NetKind::tap);
        CHECK(command.machine.tap_interface == "tap0");
    }
    const RunCommand command =
        run({"-m",       "1G",          "--dtb",           "t",      "--host",    "soft",  "--level", "2",
             "--clock",  "guest",       "--until",         "login:", "--timeout", "2.5",   "--stats", "s",
             "--engine", "interpreter", "--hot-threshold", "7",      "--console", "virtio"});
    CHECK(command.machine.memory_mib == 1024);
    CHECK(command.machine.boot.device_tree == "t");
    CHECK(command.machine.host == HostChoice::soft);
    CHECK(command.machine.levels == 0b110u);
    CHECK(command.machine.clock == ClockKind::guest);
    CHECK(command.run.until == "login:");
    CHECK(command.run.timeout == 2.5);
    CHECK(command.statistics_file == "s");
    CHECK(command.run.want_statistics);
    CHECK(command.machine.engine == EngineKind::interpreter);
    CHECK(command.machine.hot_threshold == 7u);
    CHECK(command.machine.console == ConsoleKind::virtio);
}

TEST_CASE("command line: levels") {
    CHECK(run({"--disable", "link,jump-cache"}).machine.disabled == 0b101u);
    CHECK(run({"--disable", "all"}).machine.disabled == untrap::x64::Optimisations::known);
    run_refused({"--disable", "speed"}, "\"speed\" is no optimisation");
    CHECK(run({"--level", "0"}).machine.levels == 0u);
    CHECK(run({"--level", "4"}).machine.levels == 0b11110u);
    CHECK(run({"--levels", "1,3"}).machine.levels == 0b1010u);
    CHECK_FALSE(run({"--mode", "trap"}).machine.patch);
    run_refused({"--level", "5"}, "--level 5: must be from 0 to 4");
    run_refused({"--level", "-1"}, "--level");
    run_refused({"--levels", "0"}, "--levels 0: must be from 1 to 4");
    run_refused({"--levels", "1,,2"}, "not a number");
    run_refused({"--levels", "1,x"}, "not a number");
    run_refused({"--level", "1", "--levels", "1"}, "exclude each other");
    run_refused({"--mode", "trap", "--level", "1"}, "--mode trap and --level exclude each other");
    run_refused({"--mode", "trap", "--hot-threshold", "9"}, "exclude each other");
    CHECK(run({"--patch-memory", "3"}).machine.patch_memory == std::uint64_t{3} << 20);
    run_refused({"--mode", "trap", "--patch-memory", "9"}, "exclude each other");
}

TEST_CASE("command line: memory sizes") {
    CHECK(run({"-m", "8"}).machine.memory_mib == 8);
    CHECK(run({"-m", "2048"}).machine.memory_mib == 2048);
    CHECK(run({"-m", "64M"}).machine.memory_mib == 64);
    for (const char* size : {"0", "7", "2049", "5120", "5G", "4294967295G"}) run_refused({"-m", size}, "-m");
    for (const char* size : {"x", "", "1.5", "1K", " 64", "G", "99999999999999999999"}) {
        CAPTURE(size);
        if (*size != 0) run_refused({"-m", size}, "not a number of MiB");
    }
}

TEST_CASE("command line: what is refused") {
    refused({}, "no command");
    refused({"boot"}, "\"boot\" is no command");
    refused({"--frobnicate"}, "");
    refused({"run"}, "-k KERNEL");
    refused({"ab"}, "-k KERNEL");
    refused({"run", "-k"}, "-k");
    refused({"run", "-k", "a", "-k", "b"}, "kernel");
    run_refused({"--no-such-option"}, "--no-such-option");
    run_refused({"stray"}, "stray");
    run_refused({"-n", "bridge"}, "there are user, tap=INTERFACE, none");
    run_refused({"-n", "tap="}, "interface name");
    run_refused({"-n", "tap=averylonginterfacename"}, "interface name");
    run_refused({"-d", ",ro"}, "no file is named");
    run_refused({"-d", "x,format=qcow2"}, "format=qcow2");
    run_refused({"--host", "qemu"}, "auto, soft, kvm");
    run_refused({"--mode", "fast"}, "patch, trap");
    run_refused({"--clock", "wall"}, "host, guest");
    run_refused({"--timeout", "0"}, "--timeout");
    run_refused({"--timeout", "-1"}, "--timeout");
    run_refused({"--timeout", "nan"}, "--timeout");
    run_refused({"--timeout", "inf"}, "--timeout");
    run_refused({"--timeout", "1e300"}, "--timeout");
    run_refused({"--timeout", "soon"}, "--timeout");
    run_refused({"--hot-threshold", "0"}, "--hot-threshold");
    for (const char* size : {"0", "1025", "-1", "1.5", "much", "18446744073709551615"})
        run_refused({"--patch-memory", size}, "--patch-memory");
    refused({"ab", "-k", "k", "--mode", "trap"}, "--mode");
    refused({"run", "-k", "k", "--json", "x"}, "--json");
    refused({"scan"}, "vmlinux");
}

TEST_CASE("command line: what is not there yet says so") {
    run_refused({"--gdb", "tcp::1234"}, "--gdb is not available yet in this version");
    run_refused({"-S"}, "-S is not available yet in this version");
    refused({"prof", "-k", "k", "-S"}, "-S is not available yet");
    refused({"ab", "-k", "k", "-S"}, "-S is not available yet");
}

TEST_CASE("command line: ab, prof and scan") {
    const auto compare =
        std::get<CompareCommand>(parse_command_line({"ab", "-k", "k", "--json", "j", "--html", "h", "--level", "1"}));
    CHECK(compare.machine.clock == ClockKind::repeatable);
    CHECK(compare.machine.levels == 0b10u);
    CHECK_FALSE(compare.run.console_input);
    CHECK(compare.run.want_statistics);
    CHECK(compare.json_file == "j");
    CHECK(compare.html_file == "h");
    const auto profile = std::get<ProfileCommand>(
        parse_command_line({"prof", "-k", "k", "--top", "7", "--json", "j", "--html", "h", "--flame", "f"}));
    CHECK(profile.machine.clock == ClockKind::repeatable);
    CHECK_FALSE(profile.run.console_input);
    CHECK(profile.run.want_exit_sites);
    CHECK(profile.top == 7);
    CHECK(profile.json_file == "j");
    CHECK(profile.html_file == "h");
    CHECK(profile.flame_file == "f");
    CHECK(std::get<ProfileCommand>(parse_command_line({"prof", "-k", "k"})).top == 30);
    refused({"prof"}, "-k KERNEL");
    refused({"prof", "-k", "k", "--top", "0"}, "--top 0");
    refused({"prof", "-k", "k", "--top", "many"}, "--top many");
    refused({"prof", "-k", "k", "--mode", "trap"}, "--mode");
    refused({"ab", "-k", "k", "--flame", "x.svg"}, "--flame");
    const auto scan = std::get<ScanCommand>(parse_command_line({"scan", "vmlinux", "--sites"}));
    CHECK(scan.kernel == "vmlinux");
    CHECK(scan.list_sites);
}

TEST_CASE("command line: help") {
    CHECK_THAT(std::get<HelpCommand>(parse_command_line({"--help"})).text, ContainsSubstring("run"));
    CHECK_THAT(std::get<HelpCommand>(parse_command_line({"run", "--help"})).text, ContainsSubstring("--until"));
}
