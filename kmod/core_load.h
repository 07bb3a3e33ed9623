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
};
const LoadedWorld& loaded_world();
inline auto world_entry() { return loaded_world().enter; }
ShadowTlb& shadow_tlb();

} // namespace untrap::runtime::native
