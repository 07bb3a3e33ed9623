// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/x64/block.h"

namespace untrap::x64 {

// Which storage accesses of a block share a look into the software TLB: those at known distances from each other. The
// first of them looks for all and keeps the host address in a slot; where they are not all in one page, or the page may
// not be had so easily, each looks for itself.
struct PageCheck {
    enum class Role : std::uint8_t { alone, leads, follows } role = Role::alone;
    std::uint8_t slot = 0;
    bool loads = false, stores = false; // leads: what the page must allow
    std::int32_t low = 0, high = 0;     // leads: first byte and last byte of all, relative to its own EA
    std::int32_t distance = 0;          // follows: of its EA from that of the leader
};

inline constexpr unsigned page_check_slots = 8;

// Bytes of an integer access that generated code does, 0 for all other instructions.
unsigned access_bytes(isa::Op op);

void share_page_checks(const BlockSource& source, std::array<PageCheck, max_block_instructions>& checks);

} // namespace untrap::x64
