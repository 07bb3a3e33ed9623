// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>
#include <pthread.h>

#include "runtime/kvm/abi.h"

namespace untrap::vmm {

enum class StopCause : int { none, power_off, until_seen, timeout, quit_key, signal, console_lost, io_failed };

// The way for any thread to end a run: the first cause wins, the vCPU leaves the guest.
class StopRequest {
  public:
    // The vCPU thread, before any other thread uses this object.
    void attach(abi::kvm_run* run, pthread_t vcpu_thread) {
        run_ = run;
        vcpu_thread_ = vcpu_thread;
    }

    // `detail`: the signal's number for StopCause::signal. Safe from any thread.
    void request(StopCause cause, int detail = 0) {
        int expected = static_cast<int>(StopCause::none);
        if (cause_.compare_exchange_strong(expected, static_cast<int>(cause))) detail_.store(detail);
        std::atomic_ref<std::uint8_t>(run_->immediate_exit).store(1);
    }

    // Gets the vCPU thread out of KVM_RUN or a blocking system call. A signal that comes just before the call does
    // nothing, so whoever waits for the vCPU repeats it.
    void kick() const { ::pthread_kill(vcpu_thread_, kick_signal); }

    bool requested() const { return cause() != StopCause::none; }
    StopCause cause() const { return static_cast<StopCause>(cause_.load()); }
    int detail() const { return detail_.load(); }

    static constexpr int kick_signal = SIGUSR1;

  private:
    abi::kvm_run* run_ = nullptr;
    pthread_t vcpu_thread_{};
    std::atomic<int> cause_{static_cast<int>(StopCause::none)};
    std::atomic<int> detail_{0};
};

} // namespace untrap::vmm
