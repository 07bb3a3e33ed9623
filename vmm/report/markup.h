// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>
#include <string_view>

namespace untrap::vmm {

// Text as it may stand in HTML and SVG, between tags or in quotes.
std::string escaped(std::string_view text);

} // namespace untrap::vmm
