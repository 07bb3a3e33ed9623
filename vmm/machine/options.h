// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/boot/boot.h"
#include "vmm/kvm/backend.h"

namespace untrap::vmm {

inline constexpr std::uint64_t smallest_memory_mib = 8;
inline constexpr std::uint64_t largest_memory_mib = 2048;

struct DiskOption {
    std::string path;
    bool read_only = false;
};

enum class NetKind { none, user, tap };
// repeatable: guest where the host has that clock, else host (a 440 cannot count its instructions).
enum class ClockKind { host, guest, repeatable };
enum class EngineKind { jit, interpreter };

// Which device carries the console on stdio. The virtio console exists only when it is chosen.
enum class ConsoleKind { serial, virtio };

// One machine, as the command line describes it.
struct MachineOptions {
    BootFiles boot;
    std::string command_line;
    std::uint64_t memory_mib = 128;
    std::vector<DiskOption> disks;
    NetKind net = NetKind::none;
    std::string tap_interface;
    ConsoleKind console = ConsoleKind::serial;

    HostChoice host = HostChoice::automatic;
    bool patch = true;                   // false: trap mode
    std::optional<std::uint64_t> levels; // bit n: level n; none: all the host has
    ClockKind clock = ClockKind::host;
    EngineKind engine = EngineKind::jit;
    std::uint32_t disabled = 0;                 // optimisations of the JIT, x64::Optimisations::bit()
    std::string site_cache;                     // file of hot sites, read before and written after; empty: none
    std::string code_cache;                     // file of translations, likewise
    std::optional<std::uint64_t> hot_threshold; // traps before a site is patched; none: the host's choice
    std::optional<std::uint64_t> patch_memory;  // bytes that native440's patches may take; likewise
};

// How one run is driven from outside.
struct RunOptions {
    std::string until;                // ends the run when the console prints it; empty: never
    std::vector<std::string> marks{}; // the counts are noted whenever the console prints one of them
    std::optional<double> timeout;    // seconds
    bool console_input = true;        // stdin goes to the guest
    bool want_statistics = false;     // a host that has none is an error
    bool want_exit_sites = false;     // exits by guest instruction, which costs time; likewise
    std::string announcement{};       // reported when the machine is ready to run; empty: nothing
};

} // namespace untrap::vmm
