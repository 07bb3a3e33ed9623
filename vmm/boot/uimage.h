// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace untrap::vmm {

// A legacy U-Boot kernel image, unpacked.
struct UImage {
    std::uint32_t load_address; // physical
    std::uint32_t entry;        // physical
    std::vector<std::uint8_t> payload;
};

bool looks_like_uimage(std::span<const std::uint8_t> bytes);

// Checks header and data CRC, takes the image apart and inflates it if it is gzip. Throws Error, naming the file
// as `name`, for anything but a single-component PowerPC kernel, and when
// it does not fit in a memory of `memory_bytes`.
UImage read_uimage(const std::string& name, std::span<const std::uint8_t> bytes, std::uint64_t memory_bytes);

} // namespace untrap::vmm
