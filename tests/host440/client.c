// SPDX-License-Identifier: GPL-2.0-only
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "snippets.h"

int open_kvm(void) { return (int)REQUIRE_SUCCESS(open("/dev/kvm", O_RDWR | O_CLOEXEC)); }

uint8_t* map_memory(size_t bytes) {
    uint8_t* memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    REQUIRE(memory != MAP_FAILED);
    return memory;
}

int set_region(int vm, uint32_t slot, uint32_t flags, uint64_t guest, uint64_t bytes, const void* memory) {
    const struct kvm_userspace_memory_region region = {
        .slot = slot,
        .flags = flags,
        .guest_phys_addr = guest,
        .memory_size = bytes,
        .userspace_addr = (uintptr_t)memory,
    };

    return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

void vm_open(struct vm* vm, size_t memory_bytes) {
    memset(vm, 0, sizeof(*vm));
    vm->kvm = open_kvm();
    vm->fd = (int)REQUIRE_SUCCESS(ioctl(vm->kvm, KVM_CREATE_VM, 0));
    vm->vcpu = (int)REQUIRE_SUCCESS(ioctl(vm->fd, KVM_CREATE_VCPU, 0));
    vm->run_bytes = (size_t)REQUIRE_SUCCESS(ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
    REQUIRE(vm->run_bytes >= sizeof(struct kvm_run));
    vm->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
    REQUIRE(vm->run != MAP_FAILED);
    if (memory_bytes == 0) return;
    vm->memory = map_memory(memory_bytes);
    vm->memory_bytes = memory_bytes;
    REQUIRE_SUCCESS(set_region(vm->fd, 0, 0, 0, memory_bytes, vm->memory));
}

void vm_close(struct vm* vm) {
    munmap(vm->run, vm->run_bytes);
    close(vm->vcpu);
    close(vm->fd);
    close(vm->kvm);
    if (vm->memory != NULL) munmap(vm->memory, vm->memory_bytes);
}

void vm_load(struct vm* vm, uint32_t real, const void* code, size_t bytes) {
    REQUIRE(vm->memory != NULL && real <= vm->memory_bytes && bytes <= vm->memory_bytes - real);
    memcpy(vm->memory + real, code, bytes);
    // The guest executes from this memory: out of the data cache, and no stale instructions.
    __builtin___clear_cache((char*)vm->memory + real, (char*)vm->memory + real + bytes);
}

struct kvm_regs vm_regs(struct vm* vm) {
    struct kvm_regs regs;

    REQUIRE_SUCCESS(ioctl(vm->vcpu, KVM_GET_REGS, &regs));
    return regs;
}

void vm_set_regs(struct vm* vm, const struct kvm_regs* regs) { REQUIRE_SUCCESS(ioctl(vm->vcpu, KVM_SET_REGS, regs)); }

void vm_start_at(struct vm* vm, uint32_t pc, uint32_t r3, uint32_t r4, uint32_t r5) {
    struct kvm_regs regs;

    memset(&regs, 0, sizeof(regs));
    regs.pc = pc;
    regs.gpr[3] = r3;
    regs.gpr[4] = r4;
    regs.gpr[5] = r5;
    vm_set_regs(vm, &regs);
}

static size_t register_bytes(uint64_t id) { return (size_t)1 << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT); }

uint64_t vm_one_reg(struct vm* vm, uint64_t id) {
    uint64_t value = 0;
    uint32_t word = 0;
    const bool is_word = register_bytes(id) == 4;
    const struct kvm_one_reg request = {.id = id, .addr = is_word ? (uintptr_t)&word : (uintptr_t)&value};

    REQUIRE_SUCCESS(ioctl(vm->vcpu, KVM_GET_ONE_REG, &request));
    return is_word ? word : value;
}

void vm_set_one_reg(struct vm* vm, uint64_t id, uint64_t value) {
    uint32_t word = (uint32_t)value;
    const struct kvm_one_reg request = {.id = id,
                                        .addr = register_bytes(id) == 4 ? (uintptr_t)&word : (uintptr_t)&value};

    REQUIRE_SUCCESS(ioctl(vm->vcpu, KVM_SET_ONE_REG, &request));
}

int vm_interrupt(struct vm* vm, uint32_t irq) {
    const struct kvm_interrupt request = {.irq = irq};

    return ioctl(vm->vcpu, KVM_INTERRUPT, &request);
}

int vm_run(struct vm* vm) { return ioctl(vm->vcpu, KVM_RUN, 0); }

const char* exit_name(uint32_t reason) {
    switch (reason) {
    case KVM_EXIT_UNKNOWN: return "UNKNOWN";
    case KVM_EXIT_DEBUG: return "DEBUG";
    case KVM_EXIT_HLT: return "HLT";
    case KVM_EXIT_MMIO: return "MMIO";
    case KVM_EXIT_SHUTDOWN: return "SHUTDOWN";
    case KVM_EXIT_FAIL_ENTRY: return "FAIL_ENTRY";
    case KVM_EXIT_INTR: return "INTR";
    case KVM_EXIT_DCR: return "DCR";
    case KVM_EXIT_INTERNAL_ERROR: return "INTERNAL_ERROR";
    case KVM_EXIT_SYSTEM_EVENT: return "SYSTEM_EVENT";
    default: return "another";
    }
}

void vm_run_to(struct vm* vm, uint32_t reason) {
    REQUIRE_SUCCESS(vm_run(vm));
    if (vm->run->exit_reason == reason) return;
    {
        const struct kvm_regs regs = vm_regs(vm);
        const struct kvm_run* run = vm->run;

        check_failed(__FILE__, __LINE__,
                     "exit %s (%u), not %s; pc %08llx msr %08llx srr0 %08llx r3 %08llx; mmio %llx dcr %x data %x; %s",
                     exit_name(run->exit_reason), run->exit_reason, exit_name(reason), regs.pc, regs.msr, regs.srr0,
                     regs.gpr[3], run->mmio.phys_addr, run->dcr.dcrn, run->dcr.data,
                     run->exit_reason == KVM_EXIT_INTERNAL_ERROR ? (const char*)&run->internal.data[2] : "");
    }
    check_stop();
}

uint32_t vm_run_to_done(struct vm* vm) {
    vm_run_to(vm, KVM_EXIT_DCR);
    REQUIRE_EQUAL(vm->run->dcr.dcrn, DCR_DONE);
    REQUIRE_EQUAL(vm->run->dcr.is_write, 1);
    return vm->run->dcr.data;
}

uint32_t vm_word(struct vm* vm, uint32_t real) {
    uint32_t value;

    memcpy(&value, vm->memory + real, sizeof(value));
    return value;
}

void vm_set_word(struct vm* vm, uint32_t real, uint32_t value) { memcpy(vm->memory + real, &value, sizeof(value)); }

bool a_guest_runs(void) {
    struct vm vm;
    bool right;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, sum);
    vm_start_at(&vm, 0x1000, 1000, 0, 0);
    right = vm_run_to_done(&vm) == 500500;
    vm_close(&vm);
    return right;
}

double seconds_now(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void sleep_ms(unsigned milliseconds) {
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

uint64_t timebase(void) {
    uint32_t high, low, again;

    do {
        __asm__ volatile("mftbu %0\n\tmftb %1\n\tmftbu %2" : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

uint32_t random_word(uint64_t* state) {
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return (uint32_t)(x >> 16);
}
