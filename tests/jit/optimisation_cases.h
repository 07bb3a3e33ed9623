// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "translator/x64/optimisations.h"

namespace untrap::tests {

// Each optimisation off by itself, and all of them off.
inline std::vector<std::pair<std::string_view, x64::Optimisations>> optimisation_cases() {
    std::vector<std::pair<std::string_view, x64::Optimisations>> cases;
    for (const x64::OptimisationRow& row : x64::optimisation_table)
        cases.emplace_back(row.name, x64::Optimisations(x64::Optimisations::bit(row.which)));
    cases.emplace_back("all", x64::Optimisations(x64::Optimisations::known));
    return cases;
}

} // namespace untrap::tests
