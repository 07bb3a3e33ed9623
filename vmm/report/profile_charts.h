// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "vmm/report/profile.h"

namespace untrap::vmm {

// Charts of the profile's page, as SVG that takes its colours from the page's style: classes trap, patch, left0 …,
// axis, and text.

// A pair of bars for each of the first `most` costs.
std::string bar_chart(const std::vector<NamedCost>& costs, std::size_t most);

// The exits of patch mode as one bar, in parts by why they are left.
std::string left_chart(const Profile& profile);

// What share of the exits the n sites with most of them have, for both modes.
std::string concentration_chart(const Profile& profile);

} // namespace untrap::vmm
