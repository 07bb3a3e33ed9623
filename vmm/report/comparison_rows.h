// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/report/statistics.h"

namespace untrap::vmm {

// One line of the comparison, as the table and the page show it.
struct ComparisonRow {
    std::string name;
    std::uint64_t trap;
    std::uint64_t patch;
};

// Exit reasons that either mode has, most frequent in trap mode first.
std::vector<ComparisonRow> exit_rows(const Comparison& comparison);

// All exits, emulation exits, guest instructions.
std::vector<ComparisonRow> total_rows(const Comparison& comparison);

// 1234567 as "1,234,567".
std::string grouped(std::uint64_t value);

// trap / patch as "12.3x"; "gone" when patch mode has none of it, "-" when neither has.
std::string ratio_text(double trap, double patch);

// What was run, one line each: host, levels, clock, kernel.
std::vector<std::string> comparison_facts(const Comparison& comparison);

} // namespace untrap::vmm
