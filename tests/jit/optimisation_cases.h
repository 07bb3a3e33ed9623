// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "translator/x64/optimisations.h"

namespace untrap::tests {

// Code is translated at once, and with all that is done to code that runs often, or random programs, which mostly run
// once, would see little of the JIT.
inline constexpr x64::Optimisations translating_at_once{x64::Optimisations::bit(x64::Optimisation::interpret_first) |
                                                        x64::Optimisations::bit(x64::Optimisation::tiers)};
// The second time the same code is translated anew.
inline constexpr std::uint32_t plain_runs = 1;

// Each optimisation off by itself, but for code being translated at once, and all of them off; the first case has all
// on, those too, the second translates everything twice.
inline std::vector<std::pair<std::string_view, x64::Optimisations>> optimisation_cases() {
    std::vector<std::pair<std::string_view, x64::Optimisations>> cases;
    cases.emplace_back("none", x64::Optimisations());
    cases.emplace_back("interpret-first, with tiers",
                       x64::Optimisations(x64::Optimisations::bit(x64::Optimisation::interpret_first)));
    for (const x64::OptimisationRow& row : x64::optimisation_table)
        cases.emplace_back(row.name,
                           x64::Optimisations(x64::Optimisations::bit(row.which) | translating_at_once.disabled()));
    cases.emplace_back("all", x64::Optimisations(x64::Optimisations::known));
    return cases;
}

} // namespace untrap::tests
