// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/device_pages.h"
#include "runtime/kvm/untrap_abi.h"
#include "runtime/patch_registry.h"
#include "runtime/physical_memory.h"
#include "runtime/timers.h"
#include "runtime/vcpu.h"
#include "translator/x64/optimisations.h"

namespace untrap::runtime::soft {

class SoftVcpu;

// Patch levels this host has, as a bit mask.
inline constexpr int available_levels = static_cast<int>(abi::untrap_levels_up_to(4));

// What KVM_ENABLE_CAP sets. A plain KVM client gets patching and real time.
struct VmConfiguration {
    unsigned levels = available_levels;
    unsigned threshold = abi::untrap_default_threshold;
    std::uint32_t most_patched = 0; // 0: the registry's own
    unsigned changes = 0;           // likewise
    Clock clock = Clock::host;
    bool pace_idle = false;
    bool interpreter = false;
    std::span<const std::uint8_t> translations; // of another VM; userspace's
    x64::Optimisations optimisations;           // of the JIT
    std::uint32_t exit_sites = 0;               // capacity of the table of exits by site; 0: none is kept
};

// A VM: guest memory, the patch registry, and what was configured.
class SoftVm {
  public:
    // The one vCPU; -EEXIST if there is one already. self is this object's owner.
    int create_vcpu(const std::shared_ptr<SoftVm>& self, std::shared_ptr<SoftVcpu>& created);
    int ioctl(std::uint32_t request, void* arg);

    // The vCPU is about to run for the first time: the configuration is final.
    VmConfiguration start();
    // The vCPU's thread takes what others wrote to guest memory. Cheap if there is nothing.
    bool has_written_ranges() const { return written_pending_.load(std::memory_order_acquire); }
    std::vector<abi::UntrapMemoryRange> take_written_ranges();

    PhysicalMemory memory;
    PatchRegistry patches;
    DevicePages device_pages; // changed with the vCPU at rest

  private:
    int set_memory_region(const abi::kvm_userspace_memory_region& region);
    int get_dirty_log(const abi::kvm_dirty_log& request);
    int enable_cap(const abi::kvm_enable_cap& request);
    int set_known_sites(const abi::UntrapHotSites& request);
    int set_translations(const abi::UntrapTranslations& request);
    int coalesced_zone(const abi::kvm_coalesced_mmio_zone& zone, bool add);
    int memory_written(const abi::UntrapMemoryRange& range);

    std::mutex mutex_; // configuration, creation
    std::weak_ptr<SoftVcpu> vcpu_;
    bool has_vcpu_ = false;
    bool started_ = false;
    VmConfiguration configuration_;
    std::vector<abi::UntrapHotSite> known_sites_; // the registry's while the vCPU runs
    // Of the slots that are logged; changed as the slots are.
    std::array<std::vector<std::uint32_t>, PhysicalMemory::slot_count> dirty_;

    std::mutex written_mutex_;
    std::vector<abi::UntrapMemoryRange> written_;
    std::atomic<bool> written_pending_ = false;
};

} // namespace untrap::runtime::soft
