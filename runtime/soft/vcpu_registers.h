// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "runtime/kvm/abi.h"
#include "runtime/vcpu.h"

// A vCPU's registers in the structures of the KVM interface. Setting them gives up an instruction that waits for a
// device. 32-bit registers take the low half of the interface's 64-bit fields.
namespace untrap::runtime::soft::vcpu_registers {

void get(Vcpu& vcpu, abi::kvm_regs& regs);
void set(Vcpu& vcpu, const abi::kvm_regs& regs);
void get(Vcpu& vcpu, abi::kvm_sregs& sregs);
// -EINVAL for another processor version or sections that this CPU does not have.
int set(Vcpu& vcpu, const abi::kvm_sregs& sregs);
void get(const Vcpu& vcpu, abi::kvm_fpu& fpu);
void set(Vcpu& vcpu, const abi::kvm_fpu& fpu);
// -EINVAL for an unknown register, -EFAULT without an address.
int get_one(Vcpu& vcpu, const abi::kvm_one_reg& request);
int set_one(Vcpu& vcpu, const abi::kvm_one_reg& request);
// -E2BIG if there is no room for all identifiers; n is set in any case.
int list(abi::kvm_reg_list& registers);
// linear_address: effective address, PID in bits 32-39, address space in bit 40, as KVM on Book E has it.
void translate(const Vcpu& vcpu, abi::kvm_translation& translation);

} // namespace untrap::runtime::soft::vcpu_registers
