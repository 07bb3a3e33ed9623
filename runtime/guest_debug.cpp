// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/guest_debug.h"

#include "runtime/debug.h"
#include "runtime/guest_storage.h"

namespace untrap::runtime {

namespace {

bool watched(const GuestDebug& config, const isa::CpuState& state, GuestStorage& storage, isa::Instruction instruction,
             DebugStop& stop) {
    const debug::DataAccess access = debug::data_access(state, instruction);
    for (unsigned index = 0; index < config.watchpoint_count; ++index) {
        const GuestDebug::Watchpoint& point = config.watchpoints[index];
        if (point.ea - access.ea >= access.size || !(access.is_store ? point.stores : point.loads)) continue;
        isa::Trap fault;
        if (!storage.check(access.ea, access.is_store, fault)) return false;
        stop = {access.is_store ? DebugStop::Kind::watched_store : DebugStop::Kind::watched_load, point.ea};
        return true;
    }
    return false;
}

} // namespace

bool stops_before(const GuestDebug& config, const isa::CpuState& state, GuestStorage& storage,
                  isa::Instruction instruction, DebugStop& stop) {
    for (unsigned index = 0; index < config.breakpoint_count; ++index) {
        if (config.breakpoints[index] != state.pc) continue;
        stop = {DebugStop::Kind::breakpoint, state.pc};
        return true;
    }
    return config.watchpoint_count != 0 && watched(config, state, storage, instruction, stop);
}

} // namespace untrap::runtime
