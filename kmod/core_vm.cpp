// SPDX-License-Identifier: GPL-2.0-only
// A VM of the module: its memory slots and settings.
#include <new>

#include "kmod/core_vm.h"

#include "runtime/kvm/errno_values.h"
#include "runtime/kvm/exit_sites.h"
#include "runtime/kvm/untrap_abi.h"
#include "runtime/native/hardware.h"

namespace abi = untrap::abi;
namespace errno_values = untrap::runtime::errno_values;
using untrap::runtime::Memslot;
using untrap::runtime::PhysicalMemory;
using untrap::runtime::native::CodeCopies;

namespace {

constexpr u64 real_space = u64{1} << 36;
// Bit n: level n can be asked for.
constexpr u64 available_levels = untrap::abi::untrap_levels_up_to(4);

} // namespace

size_t untrap_core_vm_bytes(void) { return sizeof(untrap_core_vm); }

untrap_core_vm* untrap_core_vm_create(void* memory) {
    auto* const vm = new (memory) untrap_core_vm;
    vm->patches.configure(vm->levels, vm->threshold);
    return vm;
}

void untrap_core_vm_destroy(untrap_core_vm* vm) { vm->~untrap_core_vm(); }

u32 untrap_core_slot_count(void) { return PhysicalMemory::slot_count; }

int untrap_core_set_slot(untrap_core_vm* vm, u32 number, const untrap_core_slot* slot) {
    if (number >= PhysicalMemory::slot_count) return -errno_values::einval;
    Memslot region;
    region.base = slot->base;
    region.size = slot->size;
    region.pages = slot->pages;
    region.frames = slot->frames;
    region.dirty = slot->dirty;
    region.read_only = slot->read_only != 0;
    if (region.size != 0 && (region.base >= real_space || region.size > real_space - region.base))
        return -errno_values::einval;
    if (!vm->memory.set_slot(number, region)) return -errno_values::eexist;
    if (vm->vcpu != nullptr) vm->vcpu->engine.flush();
    return 0;
}

void untrap_core_dirty_log_taken(untrap_core_vm* vm, u32) {
    if (vm->vcpu != nullptr) vm->vcpu->engine.dirty_log_taken();
}

int untrap_core_coalesced_zone(untrap_core_vm* vm, const kvm_coalesced_mmio_zone* zone, int add) {
    const auto& range = *reinterpret_cast<const abi::kvm_coalesced_mmio_zone*>(zone);
    return add != 0 ? vm->device_pages.add_zone(range) : vm->device_pages.remove_zone(range);
}

int untrap_core_check_extension(u32 capability) {
    switch (capability) {
    case abi::cap_untrap_levels: return static_cast<int>(available_levels);
    case abi::cap_untrap:
    case abi::cap_untrap_clock:
    case abi::cap_untrap_threshold:
    case abi::cap_untrap_exit_sites: return 1;
    case abi::cap_coalesced_mmio: return abi::vcpu_ring_page;
    case abi::cap_untrap_registers: return abi::vcpu_registers_page;
    case abi::cap_untrap_hot_sites: return static_cast<int>(abi::untrap_most_hot_sites);
    case abi::cap_untrap_patch_memory: return static_cast<int>(CodeCopies::most_bytes);
    default: return 0;
    }
}

int untrap_core_enable_cap(untrap_core_vm* vm, u32 capability, const u64* args) {
    bool good = false;
    switch (capability) {
    case abi::cap_untrap_levels: good = (args[0] & ~available_levels) == 0; break;
    // The guest reads the timebase of the CPU: there is no other clock.
    case abi::cap_untrap_clock: good = args[0] == abi::untrap_clock_host && args[1] <= 1; break;
    case abi::cap_untrap_threshold: good = args[0] >= 1 && (args[0] | args[1] | args[2]) <= 0xFFFFFFFF; break;
    case abi::cap_untrap_patch_memory:
        good = args[0] >= abi::untrap_least_patch_memory && args[0] <= CodeCopies::most_bytes;
        break;
    default: break;
    }
    if (!good) return -errno_values::einval;
    if (vm->started) return -errno_values::ebusy;
    if (capability == abi::cap_untrap_levels) vm->levels = static_cast<unsigned>(args[0]);
    if (capability == abi::cap_untrap_patch_memory) vm->patching.copies.limit(args[0]);
    if (capability == abi::cap_untrap_threshold) {
        vm->patches.limit(static_cast<u32>(args[1]), static_cast<unsigned>(args[2]));
        vm->threshold = static_cast<unsigned>(args[0]);
    }
    vm->patches.configure(vm->levels, vm->threshold);
    return 0;
}

int untrap_core_exit_sites_bytes(u64 sites) {
    using namespace untrap::runtime;
    const std::int64_t capacity = kvm_exit_sites::capacity(sites);
    if (capacity <= 0) return static_cast<int>(capacity);
    const auto elements = static_cast<std::size_t>(ExitSites::elements(static_cast<u32>(capacity)));
    static_assert(std::uint64_t{sizeof(ExitSite)} * ExitSites::elements(ExitSites::most) < 0x7FFFFFFF);
    return static_cast<int>(elements * sizeof(ExitSite));
}

int untrap_core_keep_exit_sites(untrap_core_vm* vm, void* memory, u64 sites) {
    using namespace untrap::runtime;
    if (vm->started) return -errno_values::ebusy;
    const auto capacity = static_cast<u32>(kvm_exit_sites::capacity(sites));
    vm->keeps_exit_sites = memory != nullptr;
    vm->exit_sites = ExitSites(static_cast<ExitSite*>(memory), capacity);
    return 0;
}

int untrap_core_memory_written(untrap_core_vm* vm, u64 base, u64 bytes) {
    namespace hardware = untrap::runtime::native::hardware;
    using untrap::runtime::native::WrittenMemory;
    if (base >= real_space || bytes > real_space - base) return -errno_values::einval;
    const u32 saved = hardware::irq_save();
    WrittenMemory& written = vm->written;
    if (written.count < WrittenMemory::capacity) written.ranges[written.count] = {base, bytes};
    if (written.count <= WrittenMemory::capacity) ++written.count;
    hardware::irq_restore(saved);
    return 0;
}
