// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "vmm/report/profile.h"

namespace untrap::vmm {

// Both modes as flame graphs in one SVG: exits by reason, function and site, from the top down, as wide as they are
// many. It needs nothing else, follows the viewer's colour scheme, and may stand alone or in a page.
std::string flame_graph(const Profile& profile);

} // namespace untrap::vmm
