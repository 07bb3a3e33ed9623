// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/soft_vm.h"

#include <cerrno>
#include <limits>
#include <utility>

#include "runtime/soft/soft_vcpu.h"

namespace untrap::runtime::soft {

namespace {

constexpr std::uint64_t real_space = std::uint64_t{1} << 36;
constexpr std::uint64_t page_bytes = 4096;

} // namespace

int SoftVm::create_vcpu(const std::shared_ptr<SoftVm>& self, std::shared_ptr<SoftVcpu>& created) {
    const std::lock_guard guard(mutex_);
    if (has_vcpu_) return -EEXIST;
    created = std::make_shared<SoftVcpu>(self);
    vcpu_ = created;
    has_vcpu_ = true;
    return 0;
}

int SoftVm::ioctl(std::uint32_t request, void* arg) {
    const bool known = request == abi::ioctl_set_user_memory_region || request == abi::ioctl_enable_cap ||
                       request == abi::untrap_memory_written;
    if (!known) return -ENOTTY;
    if (arg == nullptr) return -EFAULT;
    switch (request) {
    case abi::ioctl_set_user_memory_region:
        return set_memory_region(*static_cast<const abi::kvm_userspace_memory_region*>(arg));
    case abi::ioctl_enable_cap: return enable_cap(*static_cast<const abi::kvm_enable_cap*>(arg));
    default: return memory_written(*static_cast<const abi::UntrapMemoryRange*>(arg));
    }
}

int SoftVm::set_memory_region(const abi::kvm_userspace_memory_region& region) {
    // Dirty logging is not offered.
    if (region.slot >= PhysicalMemory::slot_count || (region.flags & ~abi::mem_readonly) != 0) return -EINVAL;
    Memslot slot;
    slot.base = region.guest_phys_addr;
    slot.size = region.memory_size;
    slot.host = reinterpret_cast<std::uint8_t*>(region.userspace_addr);
    slot.read_only = (region.flags & abi::mem_readonly) != 0;
    if (slot.size != 0) {
        if ((slot.base | slot.size | region.userspace_addr) % page_bytes != 0 || slot.host == nullptr) return -EINVAL;
        if (slot.base >= real_space || slot.size > real_space - slot.base) return -EINVAL;
        if (region.userspace_addr > std::numeric_limits<std::uint64_t>::max() - slot.size) return -EINVAL;
    }
    const std::lock_guard guard(mutex_);
    const std::shared_ptr<SoftVcpu> vcpu = vcpu_.lock();
    const auto change = [&] {
        if (slot.size == 0 && memory.slot(region.slot).size == 0) return -EINVAL; // nothing to delete
        return memory.set_slot(region.slot, slot) ? 0 : -EEXIST;
    };
    return vcpu != nullptr ? vcpu->change_memory(change) : change();
}

int SoftVm::enable_cap(const abi::kvm_enable_cap& request) {
    const std::uint64_t value = request.args[0];
    if (request.flags != 0) return -EINVAL;
    const std::lock_guard guard(mutex_);
    const auto allowed = [&](bool good) { return !good ? -EINVAL : started_ ? -EBUSY : 0; };
    int result = -EINVAL;
    switch (request.cap) {
    case abi::cap_untrap_levels:
        result = allowed((value & ~static_cast<std::uint64_t>(available_levels)) == 0);
        if (result == 0) configuration_.levels = static_cast<unsigned>(value);
        break;
    case abi::cap_untrap_clock:
        result = allowed((value == abi::untrap_clock_host || value == abi::untrap_clock_guest) && request.args[1] <= 1);
        if (result != 0) break;
        configuration_.clock = value == abi::untrap_clock_guest ? Clock::guest : Clock::host;
        configuration_.pace_idle = request.args[1] == 1;
        break;
    case abi::cap_untrap_engine:
        result = allowed(value == abi::untrap_engine_jit || value == abi::untrap_engine_interpreter);
        if (result == 0) configuration_.interpreter = value == abi::untrap_engine_interpreter;
        break;
    case abi::cap_untrap_threshold:
        result = allowed(value >= 1 && value <= std::numeric_limits<unsigned>::max());
        if (result == 0) configuration_.threshold = static_cast<unsigned>(value);
        break;
    default: break;
    }
    return result;
}

VmConfiguration SoftVm::start() {
    const std::lock_guard guard(mutex_);
    started_ = true;
    return configuration_;
}

int SoftVm::memory_written(const abi::UntrapMemoryRange& range) {
    if (range.gpa >= real_space || range.len > real_space - range.gpa) return -EINVAL;
    if (range.len == 0) return 0;
    const std::lock_guard guard(written_mutex_);
    // A device that fills memory in order makes one range.
    if (!written_.empty() && written_.back().gpa + written_.back().len == range.gpa)
        written_.back().len += range.len;
    else
        written_.push_back(range);
    written_pending_.store(true, std::memory_order_release);
    return 0;
}

std::vector<abi::UntrapMemoryRange> SoftVm::take_written_ranges() {
    const std::lock_guard guard(written_mutex_);
    written_pending_.store(false, std::memory_order_relaxed);
    return std::exchange(written_, {});
}

} // namespace untrap::runtime::soft
