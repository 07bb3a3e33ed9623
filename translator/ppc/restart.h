// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/isa/state.h"
#include "translator/ppc/guest_page.h"

namespace untrap::ppc {

// How any word of a stub is told to the guest. A stub is a straight line that ends in a branch to site + 4, with one
// store in it that commits. What it has to look at before that it looks at by trap instructions (tw), which take no
// field of CR and no branch: a trap is the site's own, to be emulated. The register that it uses it saves first, and
// the slot keeps it until the stub ends; so one number says from where on it is to be found there. Behind the line of a
// stub that may trap stands the site's instruction.
//
// The stub of an access to a process's memory (access_stub.h) is such a line without tests. It saves what it uses with
// its first words, each in a slot of its own, and commits by the access itself. Behind its line stands the site's
// instruction, too.
struct Restart {
    static constexpr std::uint8_t none = 0xFF;
    static constexpr unsigned access_gprs = 4;

    std::uint32_t site = 0;
    std::uint8_t length = 0;       // words; 0: no stub
    std::uint8_t line = 0;         // words of the straight line
    std::uint8_t commit = 0;       // the store that commits
    std::uint8_t gpr = none;       // saved in gpr_slot
    std::uint8_t gpr_saved = none; // by this word
    std::uint8_t continuation = 0; // in StubArena: granules back to the stub's first
    // Number n is saved in access_slot + n by word n. The first is none: no access.
    std::array<std::uint8_t, access_gprs> access = {none, none, none, none};
    std::uint8_t group = 0; // of windows, for an access

    constexpr bool is_access() const { return access[0] != none; }
    constexpr bool access_gpr_in_slot(unsigned number, unsigned index) const {
        return access[number] != none && index > number;
    }

    constexpr bool has_original() const { return length > line; }
    constexpr bool committed(unsigned index) const { return index > commit && index < line; }
    constexpr bool gpr_in_slot(unsigned index) const { return gpr != none && index > gpr_saved; }
};
static_assert(sizeof(Restart) == 16);

// The guest's registers as they are when its CPU stands before word `index` of a stub.
struct GuestView {
    struct Gpr {
        std::uint32_t number = 0, value = 0;
    };
    std::uint32_t pc = 0;
    unsigned count = 0; // registers that are other than in the CPU
    std::array<Gpr, Restart::access_gprs> gprs{};
};

constexpr GuestView view(const Restart& restart, unsigned index, const isa::StatePage& page) {
    GuestView found;
    found.pc = restart.committed(index) ? restart.site + 4 : restart.site;
    if (restart.gpr_in_slot(index)) found.gprs[found.count++] = {restart.gpr, page.scratch[gpr_slot]};
    for (unsigned number = 0; number < Restart::access_gprs; ++number)
        if (restart.is_access() && restart.access_gpr_in_slot(number, index))
            found.gprs[found.count++] = {restart.access[number], page.scratch[access_slot + number]};
    return found;
}

// Rewrites the CPU's registers to the guest's. page: as the guest left it.
inline void restore(isa::CpuState& state, const Restart& restart, unsigned index, const isa::StatePage& page) {
    const GuestView found = view(restart, index, page);
    state.pc = found.pc;
    for (unsigned number = 0; number < found.count; ++number)
        state.gpr[found.gprs[number].number & 31] = found.gprs[number].value;
}

} // namespace untrap::ppc
