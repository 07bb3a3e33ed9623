// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/soft_vm.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "runtime/kvm/exit_sites.h"
#include "runtime/kvm/hot_sites.h"
#include "runtime/soft/code_image.h"
#include "runtime/soft/soft_vcpu.h"

namespace untrap::runtime::soft {

namespace {

constexpr std::uint64_t real_space = std::uint64_t{1} << 36;
constexpr std::uint64_t page_bytes = 4096;

// A bit per page, rounded up to 64 of them.
std::size_t dirty_log_words(std::uint64_t bytes) {
    return static_cast<std::size_t>((bytes / page_bytes + 63) / 64 * 2);
}
// Userspace reads 64-bit words where the core has written 32-bit ones.
static_assert(std::endian::native == std::endian::little);

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
                       request == abi::ioctl_get_dirty_log || request == abi::untrap_memory_written ||
                       request == abi::untrap_set_known_sites || request == abi::untrap_set_translations ||
                       request == abi::ioctl_register_coalesced_mmio || request == abi::ioctl_unregister_coalesced_mmio;
    if (!known) return -ENOTTY;
    if (arg == nullptr) return -EFAULT;
    switch (request) {
    case abi::ioctl_set_user_memory_region:
        return set_memory_region(*static_cast<const abi::kvm_userspace_memory_region*>(arg));
    case abi::ioctl_get_dirty_log: return get_dirty_log(*static_cast<const abi::kvm_dirty_log*>(arg));
    case abi::ioctl_enable_cap: return enable_cap(*static_cast<const abi::kvm_enable_cap*>(arg));
    case abi::ioctl_register_coalesced_mmio:
    case abi::ioctl_unregister_coalesced_mmio:
        return coalesced_zone(*static_cast<const abi::kvm_coalesced_mmio_zone*>(arg),
                              request == abi::ioctl_register_coalesced_mmio);
    case abi::untrap_set_known_sites: return set_known_sites(*static_cast<const abi::UntrapHotSites*>(arg));
    case abi::untrap_set_translations: return set_translations(*static_cast<const abi::UntrapTranslations*>(arg));
    default: return memory_written(*static_cast<const abi::UntrapMemoryRange*>(arg));
    }
}

int SoftVm::set_memory_region(const abi::kvm_userspace_memory_region& region) {
    constexpr std::uint32_t known_flags = abi::mem_readonly | abi::mem_log_dirty_pages;
    if (region.slot >= PhysicalMemory::slot_count || (region.flags & ~known_flags) != 0) return -EINVAL;
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
    const auto change = [&]() -> int {
        if (slot.size == 0 && memory.slot(region.slot).size == 0) return -EINVAL; // nothing to delete
        const Memslot before = memory.slot(region.slot);
        std::vector<std::uint32_t> log;
        if (slot.size != 0 && (region.flags & abi::mem_log_dirty_pages) != 0) {
            // A log goes on while its slot stays what it is.
            if (before.dirty != nullptr && before.base == slot.base && before.size == slot.size)
                log = dirty_[region.slot];
            else
                log.resize(dirty_log_words(slot.size));
            slot.dirty = log.data();
        }
        if (!memory.set_slot(region.slot, slot)) return -EEXIST;
        dirty_[region.slot] = std::move(log); // keeps its address
        return 0;
    };
    return vcpu != nullptr ? vcpu->change_memory(change) : change();
}

int SoftVm::get_dirty_log(const abi::kvm_dirty_log& request) {
    if (request.slot >= PhysicalMemory::slot_count) return -EINVAL;
    std::shared_ptr<SoftVcpu> vcpu;
    // Pages are write-protected first, so that a store is in this log or in the next.
    const auto take = [&]() -> int {
        std::vector<std::uint32_t>& log = dirty_[request.slot];
        if (memory.slot(request.slot).dirty == nullptr) return -ENOENT;
        if (request.dirty_bitmap == nullptr) return -EFAULT;
        if (vcpu != nullptr) vcpu->dirty_log_taken();
        std::memcpy(request.dirty_bitmap, log.data(), log.size() * sizeof(log[0]));
        std::ranges::fill(log, 0U);
        return 0;
    };
    {
        const std::lock_guard guard(mutex_);
        vcpu = vcpu_.lock();
        if (vcpu == nullptr) return take();
    }
    // A running vCPU may need our lock before it comes to rest. While it lives, slots change only with it at rest.
    return vcpu->at_rest(take);
}

int SoftVm::coalesced_zone(const abi::kvm_coalesced_mmio_zone& zone, bool add) {
    const auto change = [&]() -> int { return add ? device_pages.add_zone(zone) : device_pages.remove_zone(zone); };
    std::shared_ptr<SoftVcpu> vcpu;
    {
        const std::lock_guard guard(mutex_);
        vcpu = vcpu_.lock();
        if (vcpu == nullptr) return change();
    }
    return vcpu->at_rest(change); // as for a dirty log
}

int SoftVm::enable_cap(const abi::kvm_enable_cap& request) {
    const std::uint64_t value = request.args[0];
    if (request.flags != 0) return -EINVAL;
    const std::lock_guard guard(mutex_);
    const auto allowed = [&](bool good) { return !good ? -EINVAL : started_ ? -EBUSY : 0; };
    constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
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
        result = allowed(value >= 1 && value <= most && request.args[1] <= most && request.args[2] <= most);
        if (result != 0) break;
        configuration_.threshold = static_cast<unsigned>(value);
        configuration_.most_patched = static_cast<std::uint32_t>(request.args[1]);
        configuration_.changes = static_cast<unsigned>(request.args[2]);
        break;
    case abi::cap_untrap_disable:
        result = allowed((value & ~std::uint64_t{x64::Optimisations::known}) == 0);
        if (result == 0) configuration_.optimisations = x64::Optimisations(static_cast<std::uint32_t>(value));
        break;
    case abi::cap_untrap_exit_sites: {
        const std::int64_t capacity = kvm_exit_sites::capacity(value);
        result = allowed(capacity >= 0);
        if (result == 0) configuration_.exit_sites = static_cast<std::uint32_t>(capacity);
        break;
    }
    default: break;
    }
    return result;
}

int SoftVm::set_known_sites(const abi::UntrapHotSites& request) {
    if (request.count > abi::untrap_most_hot_sites || request.next != 0) return -EINVAL;
    const auto* from = reinterpret_cast<const abi::UntrapHotSite*>(request.sites);
    if (from == nullptr && request.count != 0) return -EFAULT;
    const std::lock_guard guard(mutex_);
    if (started_) return -EBUSY;
    std::vector<abi::UntrapHotSite> sites(from, from + request.count);
    const HotSite* known = kvm_hot_sites::take(sites.data(), request.count);
    if (known == nullptr && request.count != 0) return -EINVAL;
    known_sites_ = std::move(sites); // keeps its address
    patches.set_known(known, request.count);
    return 0;
}

int SoftVm::set_translations(const abi::UntrapTranslations& request) {
    const auto* image = reinterpret_cast<const std::uint8_t*>(request.image);
    if (image == nullptr) return -EFAULT;
    const std::lock_guard guard(mutex_);
    if (started_) return -EBUSY;
    const std::span<const std::uint8_t> bytes(image, static_cast<std::size_t>(request.bytes));
    configuration_.translations = {};
    switch (code_image::examine(bytes, code_image::key(configuration_.optimisations, configuration_.levels))) {
    case code_image::Verdict::good: configuration_.translations = bytes; return 0;
    case code_image::Verdict::damaged: return -EINVAL;
    case code_image::Verdict::foreign: break;
    }
    return -ESTALE;
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
