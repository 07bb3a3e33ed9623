// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "runtime/kvm/untrap_abi.h"
#include "runtime/soft/engines.h"
#include "runtime/soft/soft_vm.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::soft {

// A vCPU descriptor: the core's Vcpu, its kvm_run page, and the host services it runs on.
class SoftVcpu final : private Host {
  public:
    // kvm_run, and the pages of devices behind it.
    static constexpr std::size_t page_bytes = 4096, run_bytes = abi::vcpu_pages * page_bytes;

    explicit SoftVcpu(std::shared_ptr<SoftVm> vm);
    ~SoftVcpu();
    SoftVcpu(const SoftVcpu&) = delete;
    SoftVcpu& operator=(const SoftVcpu&) = delete;

    int ioctl(std::uint32_t request, void* arg);
    void* run_page() { return run_; }
    // Does a change of the memory slots, unless the vCPU runs: -EBUSY.
    int change_memory(const std::function<int()>& change);
    // Does something that needs a vCPU at rest, soon: here, or in the vCPU's thread between two slices of a KVM_RUN in
    // progress. The caller holds no lock.
    int at_rest(const std::function<int()>& work);
    // At rest only: a dirty log was taken.
    void dirty_log_taken();

  private:
    // Host
    std::uint64_t now() override;
    void warn(const char* message, std::uint32_t pc, std::uint32_t word) override;
    void wait(std::uint64_t until) override;
    void between_slices() override;

    // What another thread waits for in at_rest().
    struct Errand {
        const std::function<int()>& work;
        int result = 0;
        bool done = false;
    };
    void run_errands();

    int run();
    bool start();
    bool exit_asked() const;
    int interrupt(const abi::kvm_interrupt& request);
    int locked_ioctl(std::uint32_t request, void* arg);
    void get_stats(abi::UntrapStats& stats) const;
    int get_hot_sites(abi::UntrapHotSites& request) const;
    int get_translations(abi::UntrapTranslations& request) const;
    int get_exit_sites(abi::UntrapExitSites& request) const;

    const std::shared_ptr<SoftVm> vm_;
    std::mutex mutex_; // of everything but interrupt(); held during KVM_RUN
    std::mutex wait_mutex_;
    std::condition_variable woken_, errand_done_;
    std::vector<Errand*> errands_;              // under wait_mutex_
    std::atomic<bool> errands_pending_ = false; // there are some
    Vcpu core_;
    std::vector<ExitSite> exit_site_memory_;
    std::optional<ExitSites> exit_sites_;
    MadeEngine engine_;
    VmConfiguration configuration_; // that the engine was made with
    abi::kvm_run* run_ = nullptr;
};

} // namespace untrap::runtime::soft
