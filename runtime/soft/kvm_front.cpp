// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/kvm_front.h"

#include <cerrno>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <variant>

#include "runtime/kvm/untrap_abi.h"
#include "runtime/soft/soft_vcpu.h"
#include "runtime/soft/soft_vm.h"

namespace untrap::runtime::soft {

namespace {

struct System {};

int check_extension(std::uint64_t capability) {
    switch (capability) {
    case abi::cap_user_memory:
    case abi::cap_nr_vcpus:
    case abi::cap_max_vcpus:
    case abi::cap_max_vcpu_id:
    case abi::cap_mp_state:
    case abi::cap_set_guest_debug:
    case abi::cap_ppc_guest_debug_sstep:
    case abi::cap_destroy_memory_region_works:
    case abi::cap_join_memory_regions_works:
    case abi::cap_internal_error_data:
    case abi::cap_ppc_unset_irq:
    case abi::cap_ppc_irq_level:
    case abi::cap_ppc_booke_sregs:
    case abi::cap_one_reg:
    case abi::cap_readonly_mem:
    case abi::cap_enable_cap_vm:
    case abi::cap_check_extension_vm:
    case abi::cap_immediate_exit:
    case abi::cap_untrap:
    case abi::cap_untrap_engine:
    case abi::cap_untrap_threshold:
    case abi::cap_untrap_exit_sites:
    case abi::cap_untrap_translations: return 1;
    case abi::cap_guest_debug_hw_bps: return GuestDebug::breakpoint_limit;
    case abi::cap_guest_debug_hw_wps: return GuestDebug::watchpoint_limit;
    case abi::cap_nr_memslots: return PhysicalMemory::slot_count;
    case abi::cap_untrap_levels: return available_levels;
    case abi::cap_untrap_clock: return 2; // the host's, and the guest's
    case abi::cap_coalesced_mmio: return abi::vcpu_ring_page;
    case abi::cap_untrap_registers: return abi::vcpu_registers_page;
    case abi::cap_untrap_hot_sites: return static_cast<int>(abi::untrap_most_hot_sites);
    case abi::cap_untrap_disable: return static_cast<int>(x64::Optimisations::known);
    default: return 0;
    }
}

} // namespace

struct KvmFront::Descriptors {
    using Object = std::variant<System, std::shared_ptr<SoftVm>, std::shared_ptr<SoftVcpu>>;

    // Far from the numbers of real descriptors, so that mixing them up is noticed.
    static constexpr int first = 1'000'000;

    std::mutex mutex;
    std::map<int, Object> objects;
    int next = first;

    int add(Object object) {
        const std::lock_guard guard(mutex);
        if (next == std::numeric_limits<int>::max()) return -EMFILE;
        objects.emplace(next, std::move(object));
        return next++;
    }
    // A copy keeps the object alive during the call.
    bool find(int fd, Object& object) {
        const std::lock_guard guard(mutex);
        const auto found = objects.find(fd);
        if (found == objects.end()) return false;
        object = found->second;
        return true;
    }

    int system_ioctl(std::uint32_t request, std::uint64_t number) {
        switch (request) {
        case abi::ioctl_get_api_version: return number == 0 ? abi::api_version : -EINVAL;
        case abi::ioctl_check_extension: return check_extension(number);
        case abi::ioctl_get_vcpu_mmap_size: return number == 0 ? static_cast<int>(SoftVcpu::run_bytes) : -EINVAL;
        case abi::ioctl_create_vm: return number == 0 ? add(std::make_shared<SoftVm>()) : -EINVAL;
        default: return -ENOTTY;
        }
    }

    int vm_ioctl(const std::shared_ptr<SoftVm>& vm, std::uint32_t request, void* arg) {
        const auto number = reinterpret_cast<std::uintptr_t>(arg);
        switch (request) {
        case abi::ioctl_check_extension: return check_extension(number);
        case abi::ioctl_create_vcpu: {
            if (number != 0) return -EINVAL;
            std::shared_ptr<SoftVcpu> vcpu;
            const int result = vm->create_vcpu(vm, vcpu);
            return result < 0 ? result : add(std::move(vcpu));
        }
        default: break;
        }
        return vm->ioctl(request, arg);
    }
};

KvmFront::KvmFront() : descriptors_(std::make_unique<Descriptors>()) {}
KvmFront::~KvmFront() = default;

int KvmFront::open() { return descriptors_->add(System{}); }

int KvmFront::ioctl(int fd, unsigned long request, void* arg) {
    Descriptors::Object object;
    if (!descriptors_->find(fd, object)) return -EBADF;
    if (request > std::numeric_limits<std::uint32_t>::max()) return -ENOTTY;
    const auto number = static_cast<std::uint32_t>(request);
    if (const auto* vcpu = std::get_if<std::shared_ptr<SoftVcpu>>(&object)) return (*vcpu)->ioctl(number, arg);
    if (const auto* vm = std::get_if<std::shared_ptr<SoftVm>>(&object)) return descriptors_->vm_ioctl(*vm, number, arg);
    return descriptors_->system_ioctl(number, reinterpret_cast<std::uintptr_t>(arg));
}

void* KvmFront::map_run(int vcpu_fd, std::size_t size) {
    Descriptors::Object object;
    if (size != SoftVcpu::run_bytes || !descriptors_->find(vcpu_fd, object)) return nullptr;
    const auto* vcpu = std::get_if<std::shared_ptr<SoftVcpu>>(&object);
    return vcpu != nullptr ? (*vcpu)->run_page() : nullptr;
}

int KvmFront::close(int fd) {
    Descriptors::Object object; // goes after the lock does
    if (!descriptors_->find(fd, object)) return -EBADF;
    const std::lock_guard guard(descriptors_->mutex);
    return descriptors_->objects.erase(fd) != 0 ? 0 : -EBADF;
}

} // namespace untrap::runtime::soft
