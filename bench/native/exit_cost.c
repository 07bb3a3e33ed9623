// SPDX-License-Identifier: GPL-2.0-only
// What an exit costs on a 440 host, measured by a guest with the CPU's own timebase. Prints one line a loop: name and
// ticks per round in thousandths. Under icount, ticks are instructions by a fixed factor: bench/native/run knows it.
// Usage: exit_cost LEVELS     patch levels as a bit mask, 0: trap mode
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

extern const char guest_begin[], guest_end[];

enum { cap_untrap_levels = 0x55540001 }; // runtime/kvm/untrap_abi.h
enum { loops = 1000, results = 0x8000, memory_bytes = 0x10000, entry = 0x1000 };

static const char* const names[] = {
    "loop",        "mfspr SPRG0",
    "mtspr SPRG0", "mfmsr",
    "wrteei",      "mtspr PID",
    "sc and rfi",  "data TLB miss reflected",
    "tlbwe",       "2 tlbwe and shadow refill",
};

static int check(int result, const char* what) {
    if (result >= 0) return result;
    perror(what);
    exit(1);
}

int main(int argc, char** argv) {
    if (argc != 2) return fprintf(stderr, "exit_cost: one argument, the levels\n"), 2;
    const int kvm = check(open("/dev/kvm", O_RDWR), "/dev/kvm");
    const int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    struct kvm_enable_cap levels = {.cap = cap_untrap_levels, .args = {strtoul(argv[1], NULL, 0)}};
    check(ioctl(vm, KVM_ENABLE_CAP, &levels), "KVM_ENABLE_CAP: patch levels");
    char* const memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return perror("mmap"), 1;
    struct kvm_userspace_memory_region region = {
        .slot = 0, .guest_phys_addr = 0, .memory_size = memory_bytes, .userspace_addr = (uintptr_t)memory};
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
    const int vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    const int bytes = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run* const run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED) return perror("mmap of kvm_run"), 1;

    // Twice: the first round warms TLBs up. A host tick in a loop would show, so the best of five is kept.
    uint32_t best[sizeof(names) / sizeof(names[0])];
    memset(best, 0xFF, sizeof(best));
    for (int round = 0; round < 6; ++round) {
        memcpy(memory, guest_begin, (size_t)(guest_end - guest_begin));
        struct kvm_regs regs = {.pc = entry, .msr = 0x1000};
        check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
        check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
        if (run->exit_reason != KVM_EXIT_DCR) {
            fprintf(stderr, "exit_cost: the guest left with reason %u\n", run->exit_reason);
            return 1;
        }
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]) && round != 0; ++n) {
            uint32_t ticks;
            memcpy(&ticks, memory + results + 4 * n, sizeof(ticks));
            if (ticks < best[n]) best[n] = ticks;
        }
    }
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); ++n) printf("%s\t%u\n", names[n], best[n]);
    return 0;
}
