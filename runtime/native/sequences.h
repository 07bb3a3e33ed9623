// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "mmu/tlb_entry.h"
#include "translator/plan/plan.h"

namespace untrap::runtime::native {

// A sequence of level 3, decoded once: the words behind its site, and what says that they still are the guest's code.
struct Sequence {
    enum class Kind : std::uint8_t {
        stop,              // the exit ends before it
        nothing,           // it orders what is in order in an exit anyway
        add,               // addi, addis: rt = ra + value, or value where ra is 0
        compare,           // cmpi, cmpli: ra with value
        compare_registers, // cmp, cmpl: ra with the register that is value
        rotate,            // rlwinm: ra = rs rotated by shift, under value
        insert,            // rlwimi: likewise, into ra
        or_immediate,      // ori, oris: ra = rs | value
        and_immediate,     // andi., andis.: ra = rs & value
        or_registers,      // or: ra = rs | the register that is value
        and_registers,     // and: ra = rs & the register that is value
        branch,            // bc without CTR
        read_cr,           // mfcr
        write_cr,          // mtcrf: those bits of value
        read_sprg,         // mfspr of SPRG4-7 under their user numbers: that of number value
        tlb_word,          // tlbwe
        privileged,        // what quick exits emulate
        last,              // rfi
        plain,             // the interpreter's, without CR or XER
        other,             // the interpreter's
    };
    struct Step {
        std::uint32_t word = 0, value = 0;
        Kind kind = Kind::stop;
        std::uint8_t rt = 0, ra = 0, shift = 0; // rs where rt is
        bool is_signed = false;                 // compare
        bool records = false;                   // the result is compared with 0 in CR0
    };

    static constexpr std::uint32_t none = 1; // no address of an instruction
    std::uint32_t site = none;
    std::uint8_t count = 0; // steps, the site's own included, that lie in its page
    bool loops = false;
    // A loop that writes words 0 one after the other: tlbwe, addi of the entry's number, a comparison, the branch back.
    // What it empties is emptied without looking at each step.
    bool sweeps = false;
    std::uint8_t index = 0; // of the guest TLB entry that maps them, which is `entry`
    mmu::TlbEntry entry;
    std::uint32_t memory_version = 0;
    // As long as this is NativeEngine's, nothing of all that has changed; `never`: somebody has to look.
    static constexpr std::uint32_t never = 0;
    std::uint32_t generation = never, asked = never; // asked: when it was looked whether that can be
    const std::uint8_t* code = nullptr;              // of the site
    std::array<Step, plan::sequence_window> steps{};
    std::array<std::uint32_t, plan::sequence_window> words{}; // theirs, as they are compared
};

// By the low bits of the site's address.
struct Sequences {
    static constexpr unsigned count = 32;
    std::array<Sequence, count> all{};

    Sequence& at(std::uint32_t site) { return all[(site >> 2 ^ site >> 7) & (count - 1)]; }
};

} // namespace untrap::runtime::native
