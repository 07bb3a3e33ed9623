// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/native/code_copies.h"
#include "runtime/native/world_layout.h"
#include "translator/ppc/access_stub.h"
#include "translator/ppc/stub_arena.h"

namespace untrap::runtime::native {

// What a VM's patches are made of; lies in the VM's memory, the engine works with it.
struct Patching {
    static constexpr unsigned site_limit = 4096;
    static constexpr unsigned arena_shift = 16, arena_bytes = 1U << arena_shift;
    // The arena and, behind it, windows of processes' pages: this much address space is to be free.
    static constexpr unsigned reserved_shift = ARENA_SHIFT;
    static_assert(arena_bytes + (isa::CpuState::user_windows << ppc::window_distance_shift) <= 1U << reserved_shift);
    // What World::own_page is while the state page is not mapped.
    static constexpr std::uint32_t nowhere = 1;
    static constexpr unsigned own_page_shift = 10; // of the state page's mapping
    static constexpr unsigned flips_limit = 64;    // how often a patched page may be mapped for reads and copied again
    static constexpr unsigned arena_granules = arena_bytes / ppc::StubArena::granule_bytes;

    struct Site {
        std::uint64_t real = 0;
        std::uint32_t original = 0;
        std::uint32_t stub = 0; // 0: a word
        std::uint16_t next = CodeCopies::no_site;
        std::uint8_t level = 0;
        bool access = false; // no privileged instruction, and not known to the registry
    };

    Patching() {
        for (unsigned index = 0; index < site_limit; ++index)
            sites[index].next = static_cast<std::uint16_t>(index + 1 < site_limit ? index + 1 : CodeCopies::no_site);
    }

    CodeCopies copies;
    ppc::StubArena arena;
    std::uint32_t* arena_words = nullptr; // while there is one
    std::uint64_t arena_real = 0;
    std::array<ppc::Restart, arena_granules> restarts{};
    std::array<Site, site_limit> sites{};
    std::uint16_t free_site = 0;
    std::uint32_t installed = 0, accesses = 0; // patches; those of accesses among them
    std::uint64_t backed_out = 0;
    std::uint64_t stub_exits = 0; // exits taken from inside a stub
};

} // namespace untrap::runtime::native
