// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <string>

#include "vmm/report/profile.h"

namespace untrap::vmm {

// The profile for a terminal: reasons, functions, the hottest sites of trap mode and those left in patch mode, at most
// `top` of each.
std::string profile_text(const Profile& profile, std::size_t top);

} // namespace untrap::vmm
