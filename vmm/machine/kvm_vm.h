// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/boot/boot.h"
#include "vmm/kvm/backend.h"
#include "vmm/machine/options.h"
#include "vmm/memory/file_buffer.h"
#include "vmm/memory/guest_memory.h"

namespace untrap::vmm {

// Which clock `options` come to on the host they choose: never repeatable. Throws Error where there is no such host.
ClockKind settled_clock(const MachineOptions& options);

// A VM with one vCPU on a KVM host. Throws Error when the host refuses something, naming what was asked.
class KvmVm {
  public:
    // Sets mode, clock, engine and threshold as `options` say. `real_time_idle`: event sources outside the guest exist.
    KvmVm(std::unique_ptr<KvmBackend> backend, const MachineOptions& options, bool real_time_idle, bool want_statistics,
          bool want_exit_sites);
    ~KvmVm();
    KvmVm(const KvmVm&) = delete;
    KvmVm& operator=(const KvmVm&) = delete;

    std::string_view host_name() const { return backend_->name(); }
    // Patch levels in use, bit n for level n; 0 in trap mode.
    std::uint64_t levels() const { return levels_; }
    // Frequency of the guest's timebase.
    std::uint32_t timebase_hz() const { return timebase_hz_; }

    void add_memory(std::span<const GuestMemory::Region> regions);
    void set_boot_registers(const BootRegisters& registers);

    abi::kvm_run& run_page() { return *run_; }
    // KVM_RUN: 0, or -errno.
    int run();
    // Where the host finds the registers of devices; null where it does not look, or does not keep stores for later.
    abi::UntrapRegisters* device_registers();
    // Stores there may be kept for later. Throws Error.
    void coalesce(std::uint64_t base, std::uint32_t bytes);
    // What was kept since the last call, in order, after each run() and before anything else of what it came back with.
    template <typename Take>
    void take_stores(Take&& take);
    bool has_stores() const { return ring_ != nullptr && ring_->first != ring_->last; }

    // From any thread, also while the vCPU runs.
    void set_external_interrupt(bool asserted);
    // The VMM wrote guest memory. Nothing to do on a host without untrap's additions.
    void memory_written(std::uint64_t gpa, std::uint64_t bytes);

    // Only while the vCPU is not in KVM_RUN. None: the host has no such thing.
    std::optional<abi::UntrapStats> statistics();
    // What wanted exit sites came to. Throws Error.
    std::vector<abi::UntrapExitSite> exit_sites();
    // Before the first run: sites that were hot elsewhere, in order. Throws Error if the host has no such cache.
    void set_known_sites(std::span<const abi::UntrapHotSite> sites);
    // The sites that are patched now, in no order. Throws Error.
    std::vector<abi::UntrapHotSite> hot_sites();
    // Translated code of an earlier VM, before run(); it has to stay. What is wrong with it, empty: nothing. Throws
    // Error where the host has no such thing.
    std::string set_translations(std::span<const std::uint8_t> image);
    // The translations there are, if some are new.
    FileBuffer translations();
    std::optional<abi::kvm_regs> registers();
    std::optional<abi::kvm_sregs> special_registers();
    std::optional<std::uint64_t> translate(std::uint32_t effective_address);

  private:
    int check_extension(std::uint32_t capability);
    void enable(std::uint32_t capability, std::uint64_t arg0, std::uint64_t arg1, const std::string& what);
    void choose_levels(const MachineOptions& options);
    void configure(const MachineOptions& options, bool real_time_idle, bool want_statistics);
    void keep_exit_sites();
    void* device_page(std::uint32_t capability, std::size_t bytes);
    int call(int fd, std::uint32_t request, void* argument, std::string_view what);
    void release();

    std::unique_ptr<KvmBackend> backend_;
    int kvm_fd_ = -1;
    int vm_fd_ = -1;
    int vcpu_fd_ = -1;
    abi::kvm_run* run_ = nullptr;
    std::size_t run_bytes_ = 0;
    abi::kvm_coalesced_mmio_ring* ring_ = nullptr;
    bool has_additions_ = false;
    std::uint64_t levels_ = 0;
    std::uint32_t timebase_hz_ = abi::timebase_hz;
};

template <typename Take>
void KvmVm::take_stores(Take&& take) {
    // The vCPU is at rest: nothing is added.
    std::uint32_t first = ring_->first;
    for (const std::uint32_t last = ring_->last; first != last && first < abi::coalesced_mmio_max;) {
        take(ring_->coalesced_mmio[first]);
        first = first + 1 == abi::coalesced_mmio_max ? 0 : first + 1;
    }
    ring_->first = first;
}

// The levels of a mask as "1 2 3".
std::string level_list(std::uint64_t levels);

} // namespace untrap::vmm
