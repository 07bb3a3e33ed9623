// SPDX-License-Identifier: GPL-2.0-only
// A vCPU of the module: running it, and what others may ask of it.
#include <new>

#include "kmod/core_load.h"
#include "kmod/core_vm.h"
#include "runtime/kvm/errno_values.h"
#include "runtime/kvm/exit_sites.h"
#include "runtime/kvm/exits.h"
#include "runtime/kvm/registers.h"
#include "runtime/native/hardware.h"

namespace abi = untrap::abi;
namespace errno_values = untrap::runtime::errno_values;
namespace hardware = untrap::runtime::native::hardware;
using untrap::runtime::native::NativeEngine;
using untrap::runtime::native::NativeVcpu;
using untrap::runtime::native::World;

namespace untrap::runtime::native {

std::uint64_t LinuxHost::now() { return hardware::timebase(); }

std::uint32_t LinuxHost::linear(const void* memory, std::uint32_t bytes) {
    const auto at = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(memory));
    const LoadedWorld& facts = loaded_world();
    return at >= facts.linear && at - facts.linear <= facts.linear_bytes - bytes ? at : 0;
}

void LinuxHost::take_written_memory() {
    WrittenMemory& written = vm_->written;
    while (written.count != 0) {
        const std::uint32_t saved = hardware::irq_save();
        if (written.count > WrittenMemory::capacity) {
            written.count = 0;
            hardware::irq_restore(saved);
            vcpu_->engine().flush();
            return;
        }
        const WrittenMemory::Range range = written.ranges[--written.count];
        hardware::irq_restore(saved);
        vcpu_->engine().memory_written(range.base, range.bytes);
    }
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof" // no virtual bases here: GCC knows the offsets
static_assert(offsetof(NativeVcpu, world) == 0);
static_assert(offsetof(NativeVcpu, core) + offsetof(Vcpu, state) == WORLD_BYTES);
#pragma GCC diagnostic pop

NativeVcpu::NativeVcpu(NativeVm& owner, void* linux_host)
    : core(owner.memory, owner.patches, host), host(linux_host),
      engine(core, world, shadow_tlb(), host, owner.patching), vm(owner) {
    host.set_vcpu(owner, core, world);
    core.set_engine(engine);
    engine.set_copy(loaded_world().to_copy);
}

} // namespace untrap::runtime::native

// Called by the world switch with interrupts off and the host's world restored. Not 0: back into the guest.
extern "C" unsigned untrap_world_exit(World* world, unsigned vector) {
    return reinterpret_cast<NativeVcpu*>(world)->engine.exit(vector) ? 1 : 0;
}

size_t untrap_core_vcpu_bytes(void) { return sizeof(untrap_core_vcpu); }

untrap_core_vcpu* untrap_core_vcpu_create(void* memory, untrap_core_vm* vm, void* host) {
    auto* const vcpu = new (memory) untrap_core_vcpu(*vm, host);
    const auto& facts = untrap::runtime::native::loaded_world();
    vcpu->world.host_ivpr = facts.host_ivpr;
    vcpu->world.guest_ivpr = facts.guest_ivpr;
    vcpu->world.handler_leave = facts.handler_leave;
    vcpu->world.handler_finish = facts.handler_finish;
    vcpu->world.handler_commit[0] = facts.handler_commit[0];
    vcpu->world.handler_commit[1] = facts.handler_commit[1];
    vcpu->world.handler_end = facts.handler_end;
    vcpu->world.handler_record = facts.handler_record;
    vcpu->world.handler_recall = facts.handler_recall;
    vcpu->world.handler_return = facts.handler_return;
    vcpu->world.exit =
        static_cast<u32>(reinterpret_cast<std::uintptr_t>(untrap::runtime::native::in_copy(&untrap_world_exit)));
    vcpu->world.tlb_sets = static_cast<u32>(reinterpret_cast<std::uintptr_t>(vcpu->core.tlb.candidate_sets()));
    vcpu->world.handler_blocks = vcpu->engine.handler_blocks();
    vcpu->world.shadow_slots = untrap::runtime::native::shadow_tlb().entries();
    vcpu->world.tlb_slots = static_cast<u32>(reinterpret_cast<std::uintptr_t>(vcpu->core.tlb.slots()));
    vm->vcpu = vcpu;
    return vcpu;
}

void untrap_core_device_pages(untrap_core_vcpu* vcpu, void* ring, const void* registers, u64 ticks) {
    vcpu->vm.device_pages.attach(static_cast<abi::kvm_coalesced_mmio_ring*>(ring),
                                 static_cast<const abi::UntrapRegisters*>(registers), ticks);
    vcpu->core.device_pages = &vcpu->vm.device_pages;
}

void untrap_core_vcpu_destroy(untrap_core_vcpu* vcpu) {
    vcpu->engine.flush();
    vcpu->vm.vcpu = nullptr;
    vcpu->~untrap_core_vcpu();
}

namespace {

untrap::runtime::RunExit run_core(untrap::runtime::Vcpu& core) { return core.run(); }

} // namespace

int untrap_core_run(untrap_core_vcpu* vcpu, kvm_run* user_run) {
    auto& run = *reinterpret_cast<abi::kvm_run*>(user_run);
    if (!vcpu->clock_started) {
        vcpu->clock_started = true;
        vcpu->vm.started = true;
        if (vcpu->vm.keeps_exit_sites) vcpu->core.exit_sites = &vcpu->vm.exit_sites;
        vcpu->core.set_clock(untrap::runtime::Clock::host, false);
        vcpu->core.timers.set_timebase(hardware::timebase()); // what the guest reads from the CPU
    }
    untrap::runtime::kvm_exits::complete_access(vcpu->core, run);
    for (;;) {
        // A signal, immediate_exit: noticed before the guest runs at all.
        if (vcpu->host.poll()) vcpu->core.request_stop();
        const untrap::runtime::RunExit exit = untrap::runtime::native::in_copy(&run_core)(vcpu->core);
        if (exit == untrap::runtime::RunExit::mmio) {
            const untrap::runtime::MmioAccess& access = vcpu->core.mmio();
            if (access.is_write &&
                untrap_host_mmio_write(vcpu->host.cookie(), access.real, access.size, access.value) != 0) {
                vcpu->core.complete_mmio(0);
                continue;
            }
        }
        return untrap::runtime::kvm_exits::report(vcpu->core, exit, run);
    }
}

// -- registers -----------------------------------------------------------------------------------------------------

namespace registers = untrap::runtime::kvm_registers;

void untrap_core_get_regs(untrap_core_vcpu* vcpu, kvm_regs* regs) {
    registers::get(vcpu->core, *reinterpret_cast<abi::kvm_regs*>(regs));
}
void untrap_core_set_regs(untrap_core_vcpu* vcpu, const kvm_regs* regs) {
    registers::set(vcpu->core, *reinterpret_cast<const abi::kvm_regs*>(regs));
}
void untrap_core_get_sregs(untrap_core_vcpu* vcpu, kvm_sregs* sregs) {
    registers::get(vcpu->core, *reinterpret_cast<abi::kvm_sregs*>(sregs));
}
int untrap_core_set_sregs(untrap_core_vcpu* vcpu, const kvm_sregs* sregs) {
    return registers::set(vcpu->core, *reinterpret_cast<const abi::kvm_sregs*>(sregs));
}
void untrap_core_get_fpu(untrap_core_vcpu* vcpu, kvm_fpu* fpu) {
    registers::get(vcpu->core, *reinterpret_cast<abi::kvm_fpu*>(fpu));
}
void untrap_core_set_fpu(untrap_core_vcpu* vcpu, const kvm_fpu* fpu) {
    registers::set(vcpu->core, *reinterpret_cast<const abi::kvm_fpu*>(fpu));
}
int untrap_core_get_one_reg(untrap_core_vcpu* vcpu, u64 id, u64* value) {
    return registers::get_one(vcpu->core, id, *value);
}
int untrap_core_set_one_reg(untrap_core_vcpu* vcpu, u64 id, u64 value) {
    return registers::set_one(vcpu->core, id, value);
}
u32 untrap_core_reg_count(void) { return registers::register_count(); }
u64 untrap_core_reg_id(u32 index) { return registers::register_id(index); }
void untrap_core_translate(untrap_core_vcpu* vcpu, kvm_translation* translation) {
    registers::translate(vcpu->core, *reinterpret_cast<abi::kvm_translation*>(translation));
}
u32 untrap_core_get_mp_state(untrap_core_vcpu* vcpu) { return registers::get_mp_state(vcpu->core); }
int untrap_core_set_mp_state(untrap_core_vcpu* vcpu, u32 mp_state) {
    return registers::set_mp_state(vcpu->core, mp_state);
}
int untrap_core_set_guest_debug(untrap_core_vcpu* vcpu, const kvm_guest_debug* debug) {
    return registers::set_guest_debug(vcpu->core, *reinterpret_cast<const abi::kvm_guest_debug*>(debug));
}

// -- from outside --------------------------------------------------------------------------------------------------

int untrap_core_interrupt(untrap_core_vcpu* vcpu, u32 irq) {
    switch (irq) {
    case abi::interrupt_set: vcpu->core.pulse_external(); break;
    case abi::interrupt_set_level: vcpu->core.set_interrupt_line(false, true); break;
    case abi::interrupt_unset: vcpu->core.set_interrupt_line(false, false); break;
    default: return -errno_values::einval;
    }
    untrap_core_attention(vcpu);
    return 0;
}

void untrap_core_attention(untrap_core_vcpu* vcpu) { __atomic_store_n(&vcpu->world.attention, 1U, __ATOMIC_RELEASE); }

int untrap_core_wake_requested(untrap_core_vcpu* vcpu) { return vcpu->core.wake_requested() ? 1 : 0; }

// -- statistics ----------------------------------------------------------------------------------------------------

u32 untrap_core_exit_reason_count(void) { return untrap::runtime::exit_reason_count; }

const char* untrap_core_exit_name(u32 reason) {
    return reason < untrap::runtime::exit_reason_count ? untrap::runtime::exit_reason_names[reason] : "?";
}

void untrap_core_statistics(untrap_core_vcpu* vcpu, struct untrap_core_statistics* statistics) {
    const auto& tlb = untrap::runtime::native::shadow_tlb();
    const NativeEngine::Times& times = vcpu->engine.times();
    statistics->exits_total = 0;
    statistics->host_instructions = 0;
    for (unsigned reason = 0; reason < untrap::runtime::exit_reason_count; ++reason) {
        statistics->exits[reason] = vcpu->core.exits.by_reason[reason] + vcpu->engine.uncounted(reason);
        statistics->exits_total += statistics->exits[reason];
        statistics->time_min[reason] = times.reasons[reason].min;
        statistics->time_max[reason] = times.reasons[reason].max;
        statistics->time_sum[reason] = times.reasons[reason].sum;
        statistics->host_instructions += times.reasons[reason].sum;
        statistics->time_squares[reason] = times.reasons[reason].squares;
    }
    statistics->time_in_guest = times.guest;
    statistics->shadow_refills = tlb.inserted + vcpu->world.replaced;
    statistics->shadow_drops = tlb.dropped + vcpu->world.dropped;
    statistics->large_refills = tlb.large;
    statistics->shadow_pid_recycles = tlb.recycled;
    statistics->patched_sites = vcpu->vm.patches.patched_sites();
    statistics->known_sites = vcpu->vm.patches.patched_by_knowledge();
    statistics->left_alone_pages = vcpu->vm.patches.pages_left_alone();
    statistics->patches_backed_out = vcpu->engine.patches_out();
    statistics->patches_installed = vcpu->engine.patches_in() + statistics->patches_backed_out;
    statistics->code_copy_bytes = vcpu->engine.copied_bytes();
    statistics->stubs = vcpu->engine.stubs();
    statistics->stub_exits = vcpu->engine.stub_exits();
}

int untrap_core_read_exit_sites(untrap_core_vcpu* vcpu, u32* next, u32* count, void* sites) {
    abi::UntrapExitSites request{.sites = 0, .count = *count, .next = *next};
    const int result =
        untrap::runtime::kvm_exit_sites::read(vcpu->core, request, static_cast<abi::UntrapExitSite*>(sites));
    *next = request.next;
    *count = request.count;
    return result;
}

void untrap_core_set_timing(untrap_core_vcpu* vcpu, int on) { vcpu->engine.set_timing(on != 0); }
