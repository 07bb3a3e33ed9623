// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/comparison_rows.h"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>

#include "runtime/exit_reason.h"
#include "vmm/machine/kvm_vm.h"

namespace untrap::vmm {

std::vector<ComparisonRow> exit_rows(const Comparison& comparison) {
    std::vector<ComparisonRow> rows;
    for (std::size_t i = 0; i < runtime::exit_reason_count; ++i) {
        const std::uint64_t trap = comparison.trap.statistics->exits[i];
        const std::uint64_t patch = comparison.patch.statistics->exits[i];
        if (trap != 0 || patch != 0) rows.push_back({runtime::exit_reason_names[i], trap, patch});
    }
    std::stable_sort(rows.begin(), rows.end(),
                     [](const ComparisonRow& a, const ComparisonRow& b) { return a.trap > b.trap; });
    return rows;
}

std::vector<ComparisonRow> total_rows(const Comparison& comparison) {
    const abi::UntrapStats& trap = *comparison.trap.statistics;
    const abi::UntrapStats& patch = *comparison.patch.statistics;
    return {{"all exits", trap.exits_total, patch.exits_total},
            {"emulation exits", emulation_exits(trap), emulation_exits(patch)},
            {"guest instructions", trap.guest_instructions, patch.guest_instructions},
            {"patched sites", trap.patched_sites, patch.patched_sites}};
}

std::string grouped(std::uint64_t value) {
    std::string digits = fmt::format("{}", value);
    for (std::size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, 1, ',');
    }
    return digits;
}

std::string ratio_text(double trap, double patch) {
    if (patch <= 0) return trap <= 0 ? "-" : "gone";
    const double times = trap / patch;
    return times < 100 ? fmt::format("{:.2f}x", times) : fmt::format("{:.0f}x", times);
}

std::vector<std::string> comparison_facts(const Comparison& comparison) {
    const MachineOptions& machine = comparison.patch_machine;
    const std::string levels = level_list(comparison.patch.levels);
    return {fmt::format("kernel {}", machine.boot.kernel),
            fmt::format("host {}, {} clock, {} MiB, patch levels {}", comparison.patch.host,
                        machine.clock == ClockKind::guest ? "guest" : "host", machine.memory_mib,
                        levels.empty() ? "none" : levels)};
}

} // namespace untrap::vmm
