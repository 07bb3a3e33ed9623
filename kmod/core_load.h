// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/native/shadow_tlb.h"
#include "runtime/native/world.h"

namespace untrap::runtime::native {

// What untrap_core_load found and laid out; the same for every VM.
struct LoadedWorld {
    std::uint32_t host_ivpr = 0, guest_ivpr = 0;
    void (*enter)(World*) = nullptr;
    // What compiled handlers of the guest end with, and the linear mapping as far as pinned entries cover it: first
    // address, bytes.
    std::uint32_t handler_leave = 0, handler_finish = 0, handler_return = 0, handler_end = 0;
    std::uint32_t handler_commit[2] = {}, handler_record = 0, handler_recall = 0;
    std::uint32_t linear = 0, linear_bytes = 0;
    // The vectors that lead elsewhere while there is a compiled handler for data: of data and of instruction TLB
    // errors, and of program interrupts. Where the branch is, and what it is with such a handler and without.
    struct Vector {
        std::uint32_t *branch = nullptr, with = 0, without = 0;
    };
    Vector handler_vectors[3];
    // From the module's text to the copy of it that runs.
    std::uint32_t to_copy = 0;
};
const LoadedWorld& loaded_world();
inline auto world_entry() { return loaded_world().enter; }
ShadowTlb& shadow_tlb();

// A function of the core as the copy of the text has it.
template <typename Function>
Function* in_copy(Function* function) {
    return reinterpret_cast<Function*>(reinterpret_cast<std::uintptr_t>(function) + loaded_world().to_copy);
}

} // namespace untrap::runtime::native
