// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/x64/block.h"
#include "translator/x64/layout.h"
#include "translator/x64/per_instruction.h"

namespace untrap::x64 {

// How the storage accesses of a block find their pages. Those at known distances from each other share a look into the
// software TLB: the first of them looks for all and keeps a host address in a slot; where they are not all in one page,
// or the page may not be had so easily, each looks for itself. An access that probably finds the page that it found the
// last time (stack frames, pointers that a loop moves on) asks a page window before the software TLB.
struct PageCheck {
    enum class Role : std::uint8_t { alone, leads, follows } role = Role::alone;
    std::uint8_t slot = 0;
    std::uint8_t window = no_page_window; // of an access that does not follow
    bool loads = false, stores = false;   // what the page must allow
    std::int32_t low = 0, high = 0;       // first byte and last byte of all, relative to its own EA
    bool known = false;                   // its EA is this one
    std::uint32_t ea = 0;
    std::int32_t distance = 0; // follows: of its EA from the first byte of all
};

inline constexpr unsigned page_check_slots = 8;

// Bytes of an access that generated code does and that may share, 0 for all other instructions. FP accesses are among
// them where they go to host registers.
unsigned access_bytes(isa::Op op);
unsigned fp_access_bytes(isa::Op op);

struct PageCheckRules {
    bool share = false;   // accesses share a look
    bool windows = false; // accesses use page windows
    bool fp = false;      // FP accesses too
    bool known = false;   // addresses may be known
};

void plan_page_checks(const BlockSource& source, PageCheckRules rules, PerInstruction<PageCheck>& checks);

} // namespace untrap::x64
