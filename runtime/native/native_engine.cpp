// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/native/native_engine.h"

#include "runtime/native/hardware.h"
#include "translator/isa/table.h"

namespace untrap::runtime::native {

using isa::Interrupt;
using isa::Trap;
using isa::TrapKind;
namespace esr = isa::esr;
namespace msr = isa::msr;

namespace {

constexpr bool is_host_interrupt(Interrupt which) {
    return which == Interrupt::external_input || which == Interrupt::decrementer ||
           which == Interrupt::fixed_interval_timer || which == Interrupt::watchdog ||
           which == Interrupt::critical_input;
}

// An instruction that the interpreter is to execute where the vCPU stands.
Trap interpret() {
    Trap trap;
    trap.kind = TrapKind::mmio;
    return trap;
}

// The guest goes on where it stands.
Trap again() {
    Trap trap;
    trap.kind = TrapKind::budget;
    return trap;
}

} // namespace

NativeEngine::NativeEngine(Vcpu& vcpu, World& world, ShadowTlb& tlb, NativeHost& host, Patching& patching)
    : vcpu_(vcpu), world_(world), host_(host), patching_(patching), contexts_(tlb, world.links) {
    world_.pids = contexts_.table_address();
    world_.contexts = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(&contexts_));
    world_.context_sets = contexts_.sets_address();
    world_.of_process = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(&contexts_.of_process));
    world_.retained = retained_.address();
    vcpu_.tlb.reserve(ppc::guest_page_ea); // where the state page will be
    world_.long_runs = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(long_runs_.data()));
}

// -- registers
// ---------------------------------------------------------------------------------------------------------

void NativeEngine::to_core() {
    vcpu_.state.set_cr(world_.cr);
    vcpu_.state.set_xer(world_.xer);
}

void NativeEngine::from_core() {
    world_.cr = vcpu_.state.cr();
    world_.xer = vcpu_.state.xer();
}

void NativeEngine::select_context() {
    isa::CpuState& state = vcpu_.state;
    const bool space = (state.page.msr & msr::is) != 0, problem = (state.page.msr & msr::pr) != 0;
    std::uint16_t key = ShadowContexts::key(state.page.pid, space, problem);
    const bool kernel = one_kernel() && !space && !problem;
    if (kernel) key = ShadowContexts::key(0, false, false);
    if (world_.process_pid != isa::CpuState::no_pid && (!kernel || world_.process_pid != state.page.pid))
        drop_process();
    world_.shadow_pid = contexts_.pid(key);
    accepted_ = {}; // a shadow PID may have come to stand for another context
}

// The kernel's context has no mappings of a process any more.
void NativeEngine::drop_process() {
    contexts_.drop_process();
    world_.process_pid = vcpu_.state.live_pid = isa::CpuState::no_pid;
}

void NativeEngine::update_run_msr() {
    const std::uint32_t guest = vcpu_.state.page.msr;
    world_.run_msr = run_msr_base | (guest & world_.fpu_msr);
}

void NativeEngine::take_fpu() {
    host_.take_fpu();
    hardware::load_fpu(vcpu_.state.fpr.data(), vcpu_.state.fpscr);
    world_.fpu_msr = msr::fp | msr::fe0 | msr::fe1;
    host_.give_fpu(); // the right to use it ends here, the registers stay: interrupts are off until give_fpu()
}

void NativeEngine::give_fpu() {
    if (world_.fpu_msr == 0) return;
    hardware::store_fpu(vcpu_.state.fpr.data(), vcpu_.state.fpscr);
    world_.fpu_msr = 0;
}

// -- running
// -----------------------------------------------------------------------------------------------------------

Trap NativeEngine::run_until_trap(Vcpu& vcpu, std::uint64_t budget) {
    isa::CpuState& state = vcpu.state;
    vcpu.leave_handler(); // each exit of a CPU is one: compiled handlers are what makes them fewer here
    // Instructions and data in different spaces: one PID register cannot serve both.
    if (((state.page.msr & msr::is) != 0) != ((state.page.msr & msr::ds) != 0)) {
        // It keeps translations, and is not told of what quick exits write.
        if (interpreter_tlb_version_ != vcpu.tlb.version()) interpreter_.flush();
        interpreter_tlb_version_ = vcpu.tlb.version();
        interpreter_.report_stores(patching_.copies.any());
        return interpreter_.run(vcpu, budget);
    }
    from_core();
    patches_ = vcpu.patches.levels() != 0;
    world_.kernel_pids = (vcpu.patches.levels() & ~3U) != 0 ? 0 : 0xFF;
    quick_ = (state.dbcr0 & isa::dbcr0::idm) == 0;
    traces_ = host_.traces();
    observed_ = timing_ || traces_ != 0 || vcpu.exit_sites != nullptr;
    world_.quick = quick_ && !observed_ ? 1 : 0;
    world_.kernel_pid_at = world_.quick != 0 && one_kernel()
                               ? contexts_.table_address()
                               : static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(&world_.nothing));
    static_assert(ShadowContexts::key(0, false, false) == 0);
    consider_handlers();
    if (const std::uint64_t deadline = vcpu.next_deadline(); deadline != armed_for_) {
        armed_for_ = deadline;
        host_.arm_timer(deadline == Timers::never ? deadline : host_.now() + (deadline - vcpu.timers.now()));
    }

    Trap trap;
    for (;;) {
        const std::uint32_t saved = hardware::irq_save();
        if (world_.attention != 0) {
            world_.attention = 0;
            armed_for_ = 0; // it may have been the timer, a tick early
            hardware::irq_restore(saved);
            trap.kind = TrapKind::budget;
            break;
        }
        select_context();
        update_run_msr();
        hardware::load_user_registers(state.usprg0);
        if (observed_) observe_entry();
        const std::uint32_t entered_at = state.pc;
        hardware::enter_guest(&world_);
        state.usprg0 = hardware::read_usprg0();
        if (patched()) read_state_page_back();
        // What tells a guest that runs from one that faults at its own handlers for ever (Vcpu::note_delivery).
        if (state.pc != entered_at) ++state.retired;
        const auto which = static_cast<Interrupt>(world_.vector);
        give_fpu();
        hardware::irq_restore(saved); // the host's pending interrupts are taken here
        if (world_.vector == HANDLER_LEFT) {
            finish_tlb_writes();
            trap.kind = TrapKind::budget;
            break;
        }
        if (is_host_interrupt(which)) {
            count(ExitReason::extint); // DEC counts the guest's own
            if (vcpu.exit_sites != nullptr)
                vcpu.exit_sites->note(ExitReason::extint, vcpu.exit_place(state.pc), state.retired);
            if (host_.poll()) {
                vcpu.request_stop();
                world_.attention = 1;
            }
            continue;
        }
        trap = trap_of(world_.vector);
        break;
    }
    to_core();
    // The counters here have 32 bits.
    if ((++runs_ & 0xFFF) == 0) count_exits();
    return trap;
}

Trap NativeEngine::program_trap() {
    Trap trap;
    trap.word = world_.word;
    const isa::Instruction insn = isa::decode(world_.word);
    if ((world_.esr & esr::ptr) != 0) {
        trap.kind = TrapKind::trap_condition;
    } else if (insn.privileged()) {
        // Problem state: or what the host's CPU does not know though a 440 has it.
        if (insn.op == isa::Op::iccci) hardware::invalidate_instruction_cache();
        trap.kind = TrapKind::privileged;
    } else if ((world_.esr & esr::fp) != 0) {
        trap.kind = TrapKind::fp_exception;
    } else if ((world_.esr & esr::ppr) != 0) {
        trap.kind = TrapKind::privileged;
    } else if (insn.op == isa::Op::illegal) {
        trap.kind = TrapKind::illegal;
    } else {
        return interpret(); // a 440 instruction that this host lacks
    }
    return trap;
}

Trap NativeEngine::data_trap() {
    Trap trap;
    trap.ea = world_.dear;
    trap.is_store = (world_.esr & esr::st) != 0;
    const mmu::Access access = trap.is_store ? mmu::Access::store : mmu::Access::load;
    const Resolved at = vcpu_.storage.resolve(trap.ea, access);
    if (hot_access_ == vcpu_.state.pc) {
        change_access();
        return again();
    }
    if (settle_page(at, access)) return again();
    switch (at.status) {
    case Resolved::Status::miss: trap.kind = TrapKind::data_miss; break;
    case Resolved::Status::denied: trap.kind = TrapKind::data_denied; break;
    case Resolved::Status::no_memory:
        if (device_access(at, trap)) break;
        [[fallthrough]];
    case Resolved::Status::ok: return interpret();
    }
    return trap;
}

// An interrupt that was no quick exit, as the run loop takes it.
Trap NativeEngine::trap_of(unsigned vector) {
    Trap trap;
    switch (static_cast<Interrupt>(vector)) {
    case Interrupt::program: return program_trap();
    case Interrupt::system_call:
        vcpu_.state.pc -= 4; // the core counts from the sc itself
        trap.kind = TrapKind::system_call;
        return trap;
    case Interrupt::fp_unavailable: trap.kind = TrapKind::fp_unavailable; return trap;
    case Interrupt::data_storage:
    case Interrupt::data_tlb_error: return data_trap();
    case Interrupt::instruction_storage:
    case Interrupt::instruction_tlb_error: {
        const Resolved at = vcpu_.storage.resolve(vcpu_.state.pc, mmu::Access::fetch);
        if (settle_page(at, mmu::Access::fetch)) return again();
        switch (at.status) {
        case Resolved::Status::miss: trap.kind = TrapKind::fetch_miss; return trap;
        case Resolved::Status::denied: trap.kind = TrapKind::fetch_denied; return trap;
        case Resolved::Status::no_memory: trap.kind = TrapKind::fetch_bus_error; return trap;
        case Resolved::Status::ok: break;
        }
        return interpret();
    }
    case Interrupt::alignment: return interpret(); // the core knows what a 440EP does with it
    default: break;
    }
    host_.warn("the guest caused an interrupt that has no meaning here", vcpu_.state.pc, vector);
    return interpret();
}

void NativeEngine::count_exits() {
    // Handlers that the world switch has finished: each is an exit and a mapping.
    for (unsigned which = 0; which < MissHandlers::count; ++which) {
        std::uint32_t commits = world_.commits[which] - commits_counted_[which];
        commits_counted_[which] = world_.commits[which];
        if (which == 0) {
            commits += world_.recalls - recalls_counted_;
            recalls_counted_ = world_.recalls;
        }
        world_.exits[which == 0 ? EXIT_DTLB_REAL : EXIT_ITLB_REAL] += commits;
        world_.replaced += commits;
    }
    contexts_.count(world_.replaced, world_.dropped);
    patching_.stub_exits += world_.stub_exits;
    world_.replaced = world_.dropped = world_.stub_exits = 0;
    for (unsigned reason = 0; reason < exit_reason_count; ++reason) {
        if (world_.exits[reason] == 0) continue;
        vcpu_.exits.by_reason[reason] += world_.exits[reason];
        vcpu_.exits.total += world_.exits[reason];
        world_.exits[reason] = 0;
    }
}

// -- changes
// -----------------------------------------------------------------------------------------------------------

void NativeEngine::tlb_entry_changed(unsigned index, const mmu::TlbEntry& before) {
    const std::uint32_t saved = hardware::irq_save();
    if ((traces_ & NativeHost::traces_tlb) != 0 && contexts_.uses_guest_entry(index))
        host_.trace_tlb(index, {before.word0, before.word1, before.word2}, before.tid, false);
    contexts_.drop_guest_entry(index);
    if (contexts_.watches(index)) drop_handlers();
    retained_.clear(); // whatever it has become
    hardware::irq_restore(saved);
    if (takes_our_place(vcpu_.tlb.entry(index))) back_out_all();
}

void NativeEngine::dirty_log_taken() {
    const std::uint32_t saved = hardware::irq_save();
    drop_windows();
    retained_.clear();
    contexts_.clear();
    hardware::irq_restore(saved);
}

void NativeEngine::flush() {
    back_out_all();
    settled_ = {};
    const std::uint32_t saved = hardware::irq_save();
    drop_handlers();
    contexts_.clear();
    hardware::irq_restore(saved);
    interpreter_.flush();
}

} // namespace untrap::runtime::native
