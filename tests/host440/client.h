// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// A plain KVM client: one VM with one vCPU and memory in slot 0 from guest real address 0. Whatever fails here ends the
// test.

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Guests end a step by writing this device control register.
#define DCR_DONE 0x3F0

#define KB 1024u
#define MB (1024u * KB)

struct vm {
    int kvm; // /dev/kvm
    int fd;
    int vcpu;
    struct kvm_run* run;
    size_t run_bytes;
    uint8_t* memory; // NULL: no slot 0
    size_t memory_bytes;
};

int open_kvm(void);
// memory_bytes 0: without memory.
void vm_open(struct vm* vm, size_t memory_bytes);
// Descriptors, kvm_run and the memory.
void vm_close(struct vm* vm);
uint8_t* map_memory(size_t bytes);
// KVM_SET_USER_MEMORY_REGION: -1 with errno.
int set_region(int vm, uint32_t slot, uint32_t flags, uint64_t guest, uint64_t bytes, const void* memory);

// Copies code to guest real address `real` of slot 0.
void vm_load(struct vm* vm, uint32_t real, const void* code, size_t bytes);
#define VM_LOAD(vm, real, name) vm_load(vm, real, guest_##name, (size_t)(guest_##name##_end - guest_##name))
// All registers zero but these.
void vm_start_at(struct vm* vm, uint32_t pc, uint32_t r3, uint32_t r4, uint32_t r5);
struct kvm_regs vm_regs(struct vm* vm);
void vm_set_regs(struct vm* vm, const struct kvm_regs* regs);
uint64_t vm_one_reg(struct vm* vm, uint64_t id);
void vm_set_one_reg(struct vm* vm, uint64_t id, uint64_t value);
int vm_interrupt(struct vm* vm, uint32_t irq);

// KVM_RUN: 0, or -1 with errno.
int vm_run(struct vm* vm);
// Runs until the guest writes DCR_DONE, and gives the value; other exits end the test.
uint32_t vm_run_to_done(struct vm* vm);
// Runs, and requires that exit.
void vm_run_to(struct vm* vm, uint32_t reason);
const char* exit_name(uint32_t reason);

// Big-endian, as in guest memory.
uint32_t vm_word(struct vm* vm, uint32_t real);
void vm_set_word(struct vm* vm, uint32_t real, uint32_t value);

// A guest that counts and reports by DCR_DONE runs and gives the right answer: the host is in order.
bool a_guest_runs(void);

double seconds_now(void);
void sleep_ms(unsigned milliseconds);
uint64_t timebase(void);

// xorshift, for repeatable randomness; state is not 0.
uint32_t random_word(uint64_t* state);
