// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// What untrap adds to the KVM ioctls, as runtime/kvm/untrap_abi.h has it, and what kernels up to 6.7 lack in
// <linux/kvm.h>.

#include <linux/build_bug.h>
#include <linux/kvm.h>
#include <linux/types.h>

// KVM_ENABLE_CAP on a VM. args[0]: patch levels as a bit mask, bit n for level n (1 to 4); 0 is trap mode.
// KVM_CHECK_EXTENSION answers the levels that there are.
#define UNTRAP_CAP_LEVELS 0x55540001u

// An ioctl of the vCPU.
struct untrap_stats {
    __u64 guest_instructions;
    __u64 exits_total;
    __u64 exits[32];
    __u64 patched_sites;
    __u64 translated_blocks;
    __u64 host_instructions;
    __u64 shadow_refills;
    __u64 reserved[10];
};
#define UNTRAP_GET_STATS _IOR(KVMIO, 0xF0, struct untrap_stats)

// An ioctl of the VM.
struct untrap_memory_range {
    __u64 gpa;
    __u64 len; // bytes
};
#define UNTRAP_MEMORY_WRITTEN _IOW(KVMIO, 0xF1, struct untrap_memory_range)

static_assert(sizeof(struct untrap_stats) == 384);
static_assert(sizeof(struct untrap_memory_range) == 16);

// An ioctl of /dev/kvm and of a VM: a file of guest memory. Other than mainline's, its memory is mapped with mmap and
// given to KVM_SET_USER_MEMORY_REGION as any other memory.
#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
    __u64 size; // bytes, a multiple of 4096
    __u64 flags;
    __u64 reserved[6];
};
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif
#ifndef KVM_CAP_GUEST_MEMFD
#define KVM_CAP_GUEST_MEMFD 234
#endif
