// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/kvm/exits.h"

#include <cstddef>
#include <cstdint>

#include "runtime/byte_order.h"
#include "runtime/kvm/errno_values.h"
#include "runtime/kvm/registers.h"

namespace untrap::runtime::kvm_exits {

namespace {

void report_mmio(const MmioAccess& access, abi::kvm_exit_mmio& mmio) {
    mmio = {};
    mmio.phys_addr = access.real;
    mmio.len = access.size;
    mmio.is_write = access.is_write;
    if (access.is_write) store_big_endian(mmio.data, access.size, access.value);
}

// data: pc, MSR, and the reason as text that ends with a zero byte.
void report_death(const Vcpu& vcpu, abi::kvm_exit_internal& internal) {
    constexpr std::size_t item = sizeof(internal.data[0]), before_text = 2;
    constexpr std::size_t room = sizeof(internal.data) - before_text * item - 1;
    internal = {};
    internal.suberror = abi::internal_error_emulation;
    internal.data[0] = vcpu.state.pc;
    internal.data[1] = vcpu.state.page.msr;
    auto* text = reinterpret_cast<char*>(&internal.data[before_text]);
    std::size_t length = 0;
    for (const char* reason = vcpu.dead_reason(); *reason != '\0' && length < room; ++reason) text[length++] = *reason;
    internal.ndata = static_cast<std::uint32_t>(before_text + (length + item) / item);
}

constexpr std::uint32_t debug_status(DebugStop::Kind kind) {
    switch (kind) {
    case DebugStop::Kind::step:
    case DebugStop::Kind::software_breakpoint: break;
    case DebugStop::Kind::breakpoint: return abi::debug_breakpoint;
    case DebugStop::Kind::watched_load: return abi::debug_watch_read;
    case DebugStop::Kind::watched_store: return abi::debug_watch_write;
    }
    return abi::debug_none;
}

void reset(Vcpu& vcpu) {
    abi::kvm_regs regs;
    kvm_registers::get(vcpu, regs);
    vcpu.reset();
    kvm_registers::set(vcpu, regs);
}

} // namespace

void complete_access(Vcpu& vcpu, const abi::kvm_run& run) {
    if (const unsigned size = vcpu.mmio().size; size != 0) vcpu.complete_mmio(load_big_endian(run.mmio.data, size));
    vcpu.complete_dcr(run.dcr.data);
}

int report(Vcpu& vcpu, RunExit exit, abi::kvm_run& run) {
    switch (exit) {
    case RunExit::mmio:
        run.exit_reason = abi::exit_mmio;
        report_mmio(vcpu.mmio(), run.mmio);
        return 0;
    case RunExit::dcr:
        run.exit_reason = abi::exit_dcr;
        run.dcr = {vcpu.dcr().number, vcpu.dcr().value, vcpu.dcr().is_write};
        return 0;
    case RunExit::interrupted: run.exit_reason = abi::exit_intr; return -errno_values::eintr;
    case RunExit::reset:
        // The guest's own wish (DBCR0), or its watchdog's.
        if (vcpu.timers.watchdog_reset() == 0) {
            run.exit_reason = abi::exit_shutdown;
        } else {
            run.exit_reason = abi::exit_system_event;
            run.system_event = {abi::system_event_reset, 0, {}};
        }
        reset(vcpu);
        return 0;
    case RunExit::debug:
        run.exit_reason = abi::exit_debug;
        run.debug.arch = {vcpu.debug_stop().address, debug_status(vcpu.debug_stop().kind), 0};
        return 0;
    case RunExit::dead: break;
    }
    run.exit_reason = abi::exit_internal_error;
    report_death(vcpu, run.internal);
    return 0;
}

} // namespace untrap::runtime::kvm_exits
