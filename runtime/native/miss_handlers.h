// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/isa/msr.h"
#include "translator/ppc/handler.h"

namespace untrap::runtime::native {

// What a vCPU's compiled TLB-miss handlers (level 4) need: their code, and the tables by which it finds memory. In the
// host's linear mapping, under pinned TLB entries, as World is.
struct MissHandlers {
    static constexpr unsigned count = 2; // for data, for instructions
    static constexpr isa::Interrupt interrupt(unsigned which) {
        return which == 0 ? isa::Interrupt::data_tlb_error : isa::Interrupt::instruction_tlb_error;
    }

    // Guest memory by real address that is mapped without further ado: 1 MB, in one piece on the host too. word1 is
    // that of a TLB entry for its beginning. Real addresses as in word 1. linear: where the host has it, 0 if not in
    // its linear mapping. refused: as tag, what was found not to be so.
    struct Block {
        std::uint32_t tag = no_tag, word1 = 0, linear = 0, refused = no_tag;
        static constexpr std::uint32_t no_tag = 0x10;
    };
    static constexpr unsigned block_shift = 20, block_count = 256, page_shift = 12;
    static constexpr std::uint32_t tag_mask = 0xFFF0000F;
    Block& block(std::uint32_t word1) { return blocks[word1 >> block_shift & (block_count - 1)]; }

    static constexpr std::uint32_t none = 1; // no address of an instruction
    struct Program {
        std::uint32_t entry = none; // of the guest's handler; none: there is no code
        std::uint64_t real = 0;     // what it was made from
        std::uint32_t bytes = 0;
        std::uint64_t not_before = 0; // misses, before it is tried again
        std::uint32_t tries = 0;
        unsigned length = 0, declined = 0; // words of the code, and after which recalls go on that were declined
        unsigned fixed = 0;                // addresses that it has to have, all of them, before it runs
        std::array<ppc::FixedAddress, ppc::handler_fixed> addresses{};
        std::array<std::uint32_t, ppc::handler_max_words> words{};
    };

    ppc::Windows windows;
    alignas(sizeof(ppc::Walk)) std::array<ppc::Walk, ppc::walk_count> walks{};
    std::array<Block, block_count> blocks{};
    std::array<Program, count> programs{};
    ppc::HandlerWork work;
    std::array<std::uint32_t, ppc::handler_window> guest_code{};
    std::array<std::uint64_t, 8> rfi_real{}; // of World::rfi_sites
    std::uint64_t search_real = 0;           // of World::search
    std::uint32_t compiled = 0, dropped = 0; // statistics
};

} // namespace untrap::runtime::native
