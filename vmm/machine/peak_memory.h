// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace untrap::vmm {

// Largest resident set of this process since the last reset_peak_rss(), in bytes; 0 when the host does not tell.
std::uint64_t peak_rss_bytes();

// Starts counting anew, so that the second of two runs in one process is not charged with the first. Where the host
// cannot, the count goes on from the program's start.
void reset_peak_rss();

// Of [from, from + bytes), whole pages: how many bytes are resident; 0 when the host does not tell.
std::uint64_t resident_bytes(void* from, std::uint64_t bytes);

} // namespace untrap::vmm
