// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/memory/file_buffer.h"

namespace untrap::vmm {

// The whole of a regular file. `role` ("kernel", "initrd", …) is how errors name it. Throws Error when the file
// cannot be read, is not a regular file, is empty, or is longer than `most_bytes`.
FileBuffer read_input_file(std::string_view role, const std::string& path, std::uint64_t most_bytes);

} // namespace untrap::vmm
