// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "vmm/machine/kvm_vm.h"
#include "vmm/memory/guest_memory.h"

namespace untrap::vmm {

// The vCPU as text, several lines: PC and the instruction there, MSR, GPRs, the interrupt save registers, and the data
// of a KVM_EXIT_INTERNAL_ERROR if that is the last exit. Only while the vCPU is not in KVM_RUN.
std::string register_dump(KvmVm& vm, const GuestMemory& memory);

// What soft440 and native440 say about a KVM_EXIT_INTERNAL_ERROR: text in internal.data from the third word on. Empty
// when there is none.
std::string internal_error_reason(const abi::kvm_run& run);

} // namespace untrap::vmm
