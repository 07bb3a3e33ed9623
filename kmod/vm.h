// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// The Linux side's objects.
//
// Locks, outermost first:
//   vcpu->mutex     an ioctl of the vCPU, KVM_RUN for as long as it runs.
//   vm->lock        memory slots, creation of the vCPU, capabilities.
//   vm->core_lock   "owner" in core_api.h: whoever calls into the core. KVM_RUN holds it too, but gives it up in
//                   untrap_host_poll and untrap_host_wait while others wait for it (core_wanted), so that memory
//                   can be changed while the guest runs.
//   vm->interrupt_lock, vm->ioeventfd_lock: spinlocks, the first one with interrupts off.
// Nothing that can fault on user memory happens under core_lock.

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/kvm.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "kmod/core_api.h"
#include "kmod/untrap_uapi.h"

struct dentry;
struct untrap_slot;

struct untrap_vm {
    refcount_t users; // descriptors: VM, vCPU, statistics
    struct mm_struct* mm;
    pid_t pid;  // of the thread that created the VM: names in debugfs and statistics
    u32 serial; // different in every VM
    struct list_head link;

    struct mutex lock;
    struct mutex core_lock;
    atomic_t core_wanted;
    wait_queue_head_t core_given;

    void* core_memory;
    struct untrap_core_vm* core;
    struct untrap_vcpu* vcpu;   // set once
    struct untrap_slot** slots; // untrap_core_slot_count()

    spinlock_t interrupt_lock; // vcpu's first setting, early_pulse
    bool early_pulse;          // an irqfd was signalled before there was a vCPU

    struct mutex irqfd_lock;
    struct list_head irqfds;

    spinlock_t ioeventfd_lock;
    struct list_head ioeventfds;
    u32 ioeventfd_count;

    void* exit_sites;  // the core's table
    void* known_sites; // likewise

    // For statistics.
    u64 slot_pages;
    u64 pinned_pages;
    u32 slot_count;
};

// Counts that exit timing started from, and ended with: the core's times belong to the exits in between.
struct untrap_timing {
    bool on;
    u64 first[UNTRAP_CORE_EXIT_SLOTS];
    u64 last[UNTRAP_CORE_EXIT_SLOTS];
    u64 first_total;
    u64 last_total;
};

struct untrap_vcpu {
    struct untrap_vm* vm;
    struct mutex mutex;
    void* core_memory;
    struct untrap_core_vcpu* core;
    struct kvm_run* run; // UNTRAP_VCPU_PAGES, mapped by userspace
    wait_queue_head_t wait;
    struct hrtimer timer;
    u64 timer_until; // timebase; all ones: not armed
    bool has_sigset;
    sigset_t sigset; // during KVM_RUN

    u64 halt_wakeups; // waits ended by an interrupt
    u64 run_returns;  // KVM_RUN that went back to userspace
    struct mutex timing_lock;
    struct untrap_timing timing;
    struct dentry* timing_file;
};

static inline void untrap_vm_get(struct untrap_vm* vm) { refcount_inc(&vm->users); }

// ---- module.c ------------------------------------------------------------------------------------------------------

// Parameters.
extern bool untrap_exit_timing; // a new vCPU has exit timing on

// ---- patch_limits.c ------------------------------------------------------------------------------------------------

// The module's parameters: -EINVAL, and a line that says which is wrong.
int untrap_patch_limits_check(void);
// For a new VM.
int untrap_patch_limits_apply(struct untrap_core_vm* core);

// ---- system.c ------------------------------------------------------------------------------------------------------

extern const struct file_operations untrap_system_fops;
int untrap_check_extension(unsigned long capability);

// ---- vm.c ----------------------------------------------------------------------------------------------------------

int untrap_vm_create_fd(void);
void untrap_vm_put(struct untrap_vm* vm);

// vm->core_lock, taken from a running vCPU when it comes by. -EINTR: the thread is being killed.
int untrap_vm_lock_core(struct untrap_vm* vm);
void untrap_vm_unlock_core(struct untrap_vm* vm);
// The vCPU's thread in KVM_RUN, holding core_lock: lets those who wait for it have it.
void untrap_vm_yield_core(struct untrap_vm* vm);
static inline bool untrap_vm_core_is_wanted(struct untrap_vm* vm) { return atomic_read(&vm->core_wanted) != 0; }

// Any context: the external interrupt input pulses.
void untrap_vm_pulse(struct untrap_vm* vm);

// Calls for each VM, under a mutex.
void untrap_vm_for_each(void (*call)(struct untrap_vm* vm, void* data), void* data);

// ---- hot_sites.c ---------------------------------------------------------------------------------------------------

int untrap_vm_set_known_sites(struct untrap_vm* vm, const struct untrap_hot_sites* request);
int untrap_vcpu_get_hot_sites(struct untrap_vcpu* vcpu, void __user* argument);

// ---- memory.c ------------------------------------------------------------------------------------------------------

int untrap_vm_set_memory_region(struct untrap_vm* vm, const struct kvm_userspace_memory_region* region);
int untrap_vm_get_dirty_log(struct untrap_vm* vm, const struct kvm_dirty_log* log);
// At the end of a VM, when the core has forgotten the slots.
void untrap_vm_free_slots(struct untrap_vm* vm);

// ---- guest_memory.c ------------------------------------------------------------------------------------------------

// Whether the host keeps enough memory if so much is taken from it that it cannot get back by killing a process.
bool untrap_host_can_spare(u64 page_count);

int untrap_guest_memory_create(const struct kvm_create_guest_memfd* request);
// If `bytes` at `address` of the current process are mapped from one guest-memory file, shared, and writable unless
// read_only: that file, with a reference, and its page array from the first page on. NULL if not.
struct file* untrap_guest_memory_find(unsigned long address, unsigned long bytes, bool read_only, struct page*** pages);

// ---- vcpu.c, vcpu_registers.c --------------------------------------------------------------------------------------

int untrap_vcpu_create_fd(struct untrap_vm* vm, unsigned long id);
void untrap_vcpu_destroy(struct untrap_vcpu* vcpu);
// Any context: the vCPU looks at what changed before it runs guest code again.
void untrap_vcpu_kick(struct untrap_vcpu* vcpu);

// The ioctls that copy a structure; data is a kernel copy of it. -ENOIOCTLCMD: not one of them.
int untrap_vcpu_register_ioctl(struct untrap_vcpu* vcpu, unsigned int ioctl, void __user* argument);

// ---- host.c --------------------------------------------------------------------------------------------------------

void untrap_host_timer_init(struct untrap_vcpu* vcpu);
void untrap_host_timer_stop(struct untrap_vcpu* vcpu);

// ---- irqfd.c, ioeventfd.c ------------------------------------------------------------------------------------------

int untrap_irqfd(struct untrap_vm* vm, const struct kvm_irqfd* request);
void untrap_irqfd_release(struct untrap_vm* vm);
int untrap_ioeventfd(struct untrap_vm* vm, const struct kvm_ioeventfd* request);
void untrap_ioeventfd_release(struct untrap_vm* vm);
bool untrap_ioeventfd_write(struct untrap_vm* vm, u64 address, u32 size, u64 value);

// ---- stats_fd.c, debugfs.c -----------------------------------------------------------------------------------------

int untrap_stats_init(void);
void untrap_stats_exit(void);
int untrap_vm_stats_fd(struct untrap_vm* vm);
int untrap_vcpu_stats_fd(struct untrap_vcpu* vcpu);

void untrap_debugfs_init(void);
void untrap_debugfs_exit(void);
void untrap_debugfs_add_vcpu(struct untrap_vcpu* vcpu);
void untrap_debugfs_remove_vcpu(struct untrap_vcpu* vcpu);
