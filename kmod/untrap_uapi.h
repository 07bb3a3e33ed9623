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

// args[0]: traps of a site before it is patched; args[1]: sites patched at a time, 0: no limit but the table;
// args[2]: changes of patched words in a page until it is left alone, 0: the default.
#define UNTRAP_CAP_THRESHOLD 0x55540004u
#define UNTRAP_DEFAULT_THRESHOLD 4

// args[0]: exits are told apart by guest instruction, in a table for this many of them; 0: they are not.
#define UNTRAP_CAP_EXIT_SITES 0x55540005u

// args[0]: bytes that copies of guest code and stubs may take; KVM_CHECK_EXTENSION answers the most.
#define UNTRAP_CAP_PATCH_MEMORY 0x55540009u

// KVM_CHECK_EXTENSION answers where the page of device registers is in the vCPU's mapping; see
// runtime/kvm/untrap_abi.h.
#define UNTRAP_CAP_REGISTERS 0x5554000Au

// Pages of a vCPU's mapping: kvm_run, the ring of coalesced MMIO, device registers.
#define UNTRAP_RING_PAGE 1
#define UNTRAP_REGISTERS_PAGE 2
#define UNTRAP_VCPU_PAGES 3

// An ioctl of the vCPU.
struct untrap_stats {
    __u64 guest_instructions;
    __u64 exits_total;
    __u64 exits[32];
    __u64 patched_sites;
    __u64 translated_blocks;
    __u64 host_instructions;
    __u64 shadow_refills;
    __u64 known_sites;
    __u64 left_alone_pages;
    __u64 reserved[8];
};
#define UNTRAP_GET_STATS _IOR(KVMIO, 0xF0, struct untrap_stats)

// Exits of one reason at one guest instruction.
struct untrap_exit_site {
    __u64 real;
    __u64 exits;
    __u64 instructions;
    __u64 host_ticks;
    __u32 ea;
    __u32 word;
    __u8 reason;
    __u8 flags;
    __u8 level;
    __u8 span;
    __u32 reserved;
};

// An ioctl of the vCPU: reads a part of the table.
struct untrap_exit_sites {
    __u64 sites; // address
    __u32 count; // in: room; out: how many were written, which may be fewer than there was room for
    __u32 next;  // in: 0 or what the last answer gave; out: 0 after the last part
};
#define UNTRAP_GET_EXIT_SITES _IOWR(KVMIO, 0xF2, struct untrap_exit_sites)

static_assert(sizeof(struct untrap_exit_site) == 48 && sizeof(struct untrap_exit_sites) == 16);

// A patched site by the content of its page.
struct untrap_hot_site {
    __u64 page_hash;
    __u32 word;
    __u16 offset;
    __u16 reserved;
};
struct untrap_hot_sites {
    __u64 sites; // address
    __u32 count;
    __u32 next;
};
#define UNTRAP_MOST_HOT_SITES 65536u
#define UNTRAP_HOT_SITES_IN_PAGE 1024u
#define UNTRAP_GET_HOT_SITES _IOWR(KVMIO, 0xF3, struct untrap_hot_sites)  // vCPU: a part of what is patched now
#define UNTRAP_SET_KNOWN_SITES _IOW(KVMIO, 0xF4, struct untrap_hot_sites) // VM, before the vCPU has run

static_assert(sizeof(struct untrap_hot_site) == 16 && sizeof(struct untrap_hot_sites) == 16);

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
