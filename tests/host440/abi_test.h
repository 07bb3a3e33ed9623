// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// The parts of abi_test. Each runs its tests.

#include <linux/kvm.h>
#include <stdint.h>

void abi_system(void);       // /dev/kvm, descriptors, what every ioctl has in common
void abi_memory(void);       // slots
void abi_dirty_log(void);    //
void abi_guest_memory(void); // files of guest memory
void abi_registers(void);    //
void abi_run(void);          // KVM_RUN, its exits, signals, interrupts
void abi_debug(void);        // KVM_SET_GUEST_DEBUG
void abi_events(void);       // KVM_IRQFD, KVM_IOEVENTFD
void abi_coalesced(void);    // KVM_REGISTER_COALESCED_MMIO, UNTRAP_CAP_REGISTERS
void abi_statistics(void);   // KVM_GET_STATS_FD
void abi_exit_sites(void);   // UNTRAP_GET_EXIT_SITES
void abi_hot_sites(void);    // UNTRAP_GET_HOT_SITES, UNTRAP_SET_KNOWN_SITES
void abi_patching(void);     // UNTRAP_CAP_PATCH_MEMORY, what is told of patches

// abi_statistics.c: a value of a statistics descriptor whose name begins so, ~0 if there is none; text of files.
uint64_t statistic(int fd, const char* id_prefix, const char* name);
char* read_text(const char* path);
void write_text(const char* path, const char* text);
#define DEBUGFS "/sys/kernel/debug/kvm/"
#define TRACING "/sys/kernel/tracing/"

// Seconds of the host's time for a test.
#define TEST_SECONDS 20

// Nothing is there, in any process.
#define BAD_POINTER ((void*)8)

// What the headers of Linux 6.1 do not have yet.
#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
    __u64 size;
    __u64 flags;
    __u64 reserved[6];
};
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif
#ifndef KVM_CAP_GUEST_MEMFD
#define KVM_CAP_GUEST_MEMFD 234
#endif
