// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/kvm/abi.h"
#include "runtime/vcpu.h"

// A vCPU's registers in the structures of the KVM interface, for both hosts. The vCPU must not run. Setting general
// registers or special ones gives up an instruction that waits for a device. 32-bit registers take the low half of the
// interface's 64-bit fields. Errors are negative errno values; nothing is changed then.
namespace untrap::runtime::kvm_registers {

void get(Vcpu& vcpu, abi::kvm_regs& regs);
void set(Vcpu& vcpu, const abi::kvm_regs& regs);
void get(Vcpu& vcpu, abi::kvm_sregs& sregs);
// -EINVAL for another processor version or sections that this CPU does not have.
int set(Vcpu& vcpu, const abi::kvm_sregs& sregs);
void get(const Vcpu& vcpu, abi::kvm_fpu& fpu);
void set(Vcpu& vcpu, const abi::kvm_fpu& fpu);

// One register by its identifier; 32-bit ones are right-aligned in value. -EINVAL if there is none, or none that can be
// read (written). abi::reg_size_bytes tells how many bytes userspace has for it.
int get_one(Vcpu& vcpu, std::uint64_t id, std::uint64_t& value);
int set_one(Vcpu& vcpu, std::uint64_t id, std::uint64_t value);
// The registers that get_one can read: how many, and the identifier of each (0 behind the last).
unsigned register_count();
std::uint64_t register_id(unsigned index);

// linear_address: effective address, PID in bits 32-39, address space in bit 40, as KVM on Book E has it.
void translate(const Vcpu& vcpu, abi::kvm_translation& translation);

// Halted: MSR[WE].
std::uint32_t get_mp_state(const Vcpu& vcpu);
// -EINVAL for other states than runnable and halted.
int set_mp_state(Vcpu& vcpu, std::uint32_t mp_state);

// KVM_SET_GUEST_DEBUG. Hardware breakpoints are looked for in all entries of arch.bp, with types other than none only
// under KVM_GUESTDBG_USE_HW_BP. -EINVAL for unknown control bits or types, a 64-bit address, or more breakpoints or
// watchpoints than GuestDebug has. Without KVM_GUESTDBG_ENABLE nothing is debugged any more.
int set_guest_debug(Vcpu& vcpu, const abi::kvm_guest_debug& request);

} // namespace untrap::runtime::kvm_registers
