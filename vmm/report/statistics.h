// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "vmm/machine/machine.h"
#include "vmm/machine/options.h"

namespace untrap::vmm {

// Exits that exist only because a privileged guest instruction trapped (EMUL_*).
std::uint64_t emulation_exits(const abi::UntrapStats& statistics);

// The highest level of a mask, 0 for none.
unsigned highest_level(std::uint64_t levels);

// One run as the JSON of --stats. Keys are fixed; every exit reason has its key, zero or not. Without statistics from
// the host the keys about the guest are missing.
nlohmann::ordered_json statistics_json(const MachineOptions& machine, const RunResult& result);

// Both runs of `untrap ab`.
struct Comparison {
    MachineOptions trap_machine;
    MachineOptions patch_machine;
    RunResult trap;
    RunResult patch;
};

// How many times as much trap mode has; none when patch mode has nothing of it.
std::optional<double> ratio(double trap, double patch);

// The JSON of `untrap ab --json`.
nlohmann::ordered_json comparison_json(const Comparison& comparison);

} // namespace untrap::vmm
