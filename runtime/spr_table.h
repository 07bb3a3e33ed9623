// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/isa/state.h"

namespace untrap::runtime {

// How a privileged special-purpose register is accessed. Most are plain storage, which needs no more than this row;
// for the others, and those that do not exist, the row says no and Emulator decides.
struct SprRow {
    // followed: mtspr stores to the word, under the mask, as for plain; an engine may keep what depends on it.
    enum class Write : std::uint8_t { special, plain, followed };

    std::uint16_t offset = 0; // of the register's word in isa::CpuState
    bool plain_read = false;  // mfspr reads that word
    Write write = Write::special;
    std::uint32_t mask = 0;

    bool plain_write() const { return write != Write::special; }
};
static_assert(sizeof(SprRow) == 8);

inline constexpr unsigned spr_count = 1024;
extern const std::array<SprRow, spr_count> spr_table; // by SPR number

inline const SprRow& spr_row(unsigned number) { return spr_table[number & (spr_count - 1)]; }

// The word of a row that is plain for some access.
inline std::uint32_t& spr_word(isa::CpuState& state, const SprRow& row) {
    return *reinterpret_cast<std::uint32_t*>(reinterpret_cast<unsigned char*>(&state) + row.offset);
}

} // namespace untrap::runtime
