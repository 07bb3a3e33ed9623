// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/state.h"
#include "translator/ppc/guest_page.h"

namespace untrap::ppc {

// How any word of a stub is told to the guest. A stub is a straight line that ends in a branch to site + 4, with one
// store in it that commits; behind the line stand slow paths, all of them before the commit. Registers that it saves
// are saved in the line before any test, and their slots keep them until the stub ends. So one number for each says
// from where on it is to be found in its slot.
struct Restart {
    static constexpr std::uint8_t none = 0xFF;

    std::uint32_t site = 0;
    std::uint8_t length = 0;       // words; 0: no stub
    std::uint8_t line = 0;         // words of the straight line
    std::uint8_t commit = 0;       // the store that commits
    std::uint8_t gpr = none;       // saved in gpr_slot
    std::uint8_t gpr_saved = none; // by this word
    std::uint8_t cr_field = none;  // saved in cr_slot, which holds the whole CR
    std::uint8_t cr_saved = none;  // by this word
    std::uint8_t continuation = 0; // in StubArena: granules back to the stub's first

    constexpr bool committed(unsigned index) const { return index > commit && index < line; }
    constexpr bool gpr_in_slot(unsigned index) const { return gpr != none && index > gpr_saved; }
    constexpr bool cr_in_slot(unsigned index) const { return cr_field != none && index > cr_saved; }
};
static_assert(sizeof(Restart) == 12);

// The guest's registers as they are when its CPU stands before word `index` of a stub.
struct GuestView {
    std::uint32_t pc = 0;
    std::uint8_t gpr = Restart::none; // this register is gpr_value
    std::uint32_t gpr_value = 0;
    std::uint32_t cr_mask = 0, cr_value = 0; // CR bits to replace
};

constexpr GuestView view(const Restart& restart, unsigned index, const isa::StatePage& page) {
    GuestView found;
    found.pc = restart.committed(index) ? restart.site + 4 : restart.site;
    if (restart.gpr_in_slot(index)) {
        found.gpr = restart.gpr;
        found.gpr_value = page.scratch[gpr_slot];
    }
    if (restart.cr_in_slot(index)) {
        found.cr_mask = 0xF0000000U >> 4 * restart.cr_field;
        found.cr_value = page.scratch[cr_slot] & found.cr_mask;
    }
    return found;
}

// Rewrites the CPU's registers to the guest's. page: as the guest left it.
inline void restore(isa::CpuState& state, const Restart& restart, unsigned index, const isa::StatePage& page) {
    const GuestView found = view(restart, index, page);
    state.pc = found.pc;
    if (found.gpr < state.gpr.size()) state.gpr[found.gpr] = found.gpr_value;
    if (restart.cr_in_slot(index) && restart.cr_field < state.crf.size())
        state.crf[restart.cr_field] = isa::cr::encodings[found.cr_value >> (28 - 4 * restart.cr_field) & 15];
}

} // namespace untrap::ppc
