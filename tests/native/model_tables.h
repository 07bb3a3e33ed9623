// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "machine.h"
#include "runtime/native/world.h"
#include "translator/isa/state.h"

namespace untrap::tests::native {

// What tells contexts apart on the whole machine; never 0.
inline std::uint64_t meaning_of(Machine& machine, const runtime::native::World& world) {
    const isa::StatePage& page = machine.state().page;
    const std::uint32_t guest = page.msr;
    std::uint16_t key =
        runtime::native::ShadowContexts::key(page.pid, (guest & isa::msr::is) != 0, (guest & isa::msr::pr) != 0);
    if (world.kernel_pids == 0 && (key & 3) == 0) key = 0; // a kernel with one context for all PIDs
    return std::uint64_t{machine.vm()} << 16 | key;
}

// What struct World gives the assembly the address of: machines lie in the lowest 4 GB.
template <typename T>
const T* table_at(std::uint32_t address) {
    return reinterpret_cast<const T*>(std::uintptr_t{address});
}

} // namespace untrap::tests::native
