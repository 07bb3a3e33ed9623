// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace untrap::vmm {

// Puts a file with these bytes, for its owner alone, in the place of what is there: whole, or not at all. 0 or an error
// number.
int replace_file(const std::string& path, std::span<const std::uint8_t> bytes);

// 0, or the error number with which that would fail for want of a folder or permission.
int cannot_replace(const std::string& path);

} // namespace untrap::vmm
