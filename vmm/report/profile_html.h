// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <string>

#include "vmm/report/profile.h"

namespace untrap::vmm {

// The profile as one page: charts as inline SVG, tables of at most `top` sites, both flame graphs. It fetches nothing
// and follows the browser's colour scheme.
std::string profile_html(const Profile& profile, std::size_t top);

} // namespace untrap::vmm
