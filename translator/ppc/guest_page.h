// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "translator/isa/state.h"

namespace untrap::ppc {

// The state page of a 440 host: where patched code of the guest's kernel finds its privileged registers. The guest can
// write all of it, so what comes back is checked (read_back), and nothing in it is the host's only copy.
struct GuestPage {
    isa::StatePage state;
    // The guest PID whose own mappings (TID not 0) the CPU runs with, or no_pid if it runs with global mappings alone.
    // Writing a PID that agrees with it is no more than a store; so is any PID as long as it is no_pid: the first
    // access to a mapping of that PID misses, and the hypervisor changes over.
    std::uint32_t live_pid = no_pid;
    // Hints for the stubs of accesses to a process's memory (access_stub.h), by window_of(): a page's address with the
    // PID in its low bits, and what to add to an address in it. 0 and 0 are no window: nothing is added.
    struct Window {
        std::uint32_t tag = 0, distance = 0;
    };
    std::array<Window, isa::CpuState::user_windows> windows{};

    static constexpr std::uint32_t no_pid = 0xFFFFFFFF;
};
// It fits a 1 KB TLB entry, so that the rest of the page at its address, error pointers above all, faults as ever.
static_assert(sizeof(GuestPage) <= 1024);

// Where guest-kernel contexts see it: in reach of a load without a base register.
inline constexpr std::uint32_t guest_page_ea = 0xFFFFF000;
inline constexpr std::int32_t guest_page_displacement = -4096;

constexpr std::int32_t displacement_of(std::size_t field) {
    return guest_page_displacement + static_cast<std::int32_t>(field);
}

// Whether bytes at ea are words outside of it.
constexpr bool usable_place(std::uint32_t ea, std::uint32_t bytes) {
    return ea % 4 == 0 && ea <= guest_page_ea - bytes;
}

// Slots of StatePage::scratch that stubs use.
inline constexpr unsigned gpr_slot = 0, access_slot = 2;
constexpr std::size_t slot_field(unsigned slot) { return offsetof(isa::StatePage, scratch) + slot * 4; }

// The window that a tag belongs to. There are four groups of sixteen, and a site uses the windows of one: in each they
// are told apart by two bits of the PID, so that processes which take turns have their own, and two of the page's
// number.
inline constexpr unsigned window_groups = 4, windows_in_group = isa::CpuState::user_windows / window_groups;
inline constexpr std::array<unsigned, window_groups> group_pid_bit = {0, 1, 0, 2}, group_page_bit = {12, 14, 16, 12};
constexpr unsigned window_of(std::uint32_t tag, unsigned group) {
    return group * windows_in_group | (tag >> group_page_bit[group] & 3) << 2 | (tag >> group_pid_bit[group] & 3);
}

// Whether patched code may store to this field.
constexpr bool may_commit(std::size_t field) {
    if (field % 4 != 0) return false;
    switch (field) {
    case offsetof(isa::StatePage, msr):
    case offsetof(isa::StatePage, srr0):
    case offsetof(isa::StatePage, srr1):
    case offsetof(isa::StatePage, csrr0):
    case offsetof(isa::StatePage, csrr1):
    case offsetof(isa::StatePage, dear):
    case offsetof(isa::StatePage, esr):
    case offsetof(isa::StatePage, pid):
    case offsetof(isa::StatePage, mmucr): return true;
    default: break;
    }
    // Not SPRG4-7: under their user numbers they are read from the CPU itself.
    constexpr std::size_t sprg = offsetof(isa::StatePage, sprg);
    return field >= sprg && field < sprg + 4 * sizeof(std::uint32_t);
}

// Takes the registers over that the guest may have changed, as if it had written them by their instructions: bits that
// do not exist are dropped. pending and scratch are not read. True if MSR or PID came out other than they were, so that
// the guest's context has to be chosen anew.
inline bool read_back(isa::StatePage& own, const isa::StatePage& guest) {
    const std::uint32_t msr = guest.msr & isa::msr::defined, pid = guest.pid & 0xFF;
    const bool changed = msr != own.msr || pid != own.pid;
    own.msr = msr;
    own.pid = pid;
    own.srr0 = guest.srr0 & ~3U;
    own.srr1 = guest.srr1;
    own.csrr0 = guest.csrr0 & ~3U;
    own.csrr1 = guest.csrr1;
    own.dear = guest.dear;
    own.esr = guest.esr;
    own.mmucr = guest.mmucr & isa::mmucr::writable;
    for (unsigned number = 0; number < 4; ++number) own.sprg[number] = guest.sprg[number];
    return changed;
}

} // namespace untrap::ppc
