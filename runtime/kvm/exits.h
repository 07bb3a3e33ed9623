// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "runtime/kvm/abi.h"
#include "runtime/vcpu.h"

// KVM_RUN around Vcpu::run, for both hosts. kvm_run is shared with userspace, which may write to it at any time:
// nothing that is read from it is trusted.
namespace untrap::runtime::kvm_exits {

// Before Vcpu::run: takes userspace's answer to the device access that was reported last, if there is one open.
void complete_access(Vcpu& vcpu, const abi::kvm_run& run);

// After Vcpu::run: says in `run` why it returned. What KVM_RUN returns: 0, or -EINTR.
// A reset (KVM_EXIT_SHUTDOWN; KVM_EXIT_SYSTEM_EVENT of type reset when it was the watchdog's) leaves a CPU after reset,
// with the boot mapping in its TLB, but for the registers of KVM_SET_REGS: those are userspace's to set, and tell until
// then where the guest was.
int report(Vcpu& vcpu, RunExit exit, abi::kvm_run& run);

} // namespace untrap::runtime::kvm_exits
