// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/page_hash.h"

// All of it inline: nothing of the library is linked.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace untrap::runtime {

std::uint64_t page_hash(const std::uint8_t* page) { return XXH3_64bits(page, hashed_page_bytes); }

} // namespace untrap::runtime
