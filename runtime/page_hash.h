// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>

namespace untrap::runtime {

inline constexpr std::size_t hashed_page_bytes = 4096;

// XXH3 (64 bits, no seed) of a 4 KB page; the same number on every host.
std::uint64_t page_hash(const std::uint8_t* page);

} // namespace untrap::runtime
