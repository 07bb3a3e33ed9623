/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the Linux side of the module (C) and the core (C++): the one header that both include.
 *
 * untrap_core_* are the core's, called by the Linux side; untrap_host_* are the Linux side's, called by the core. All
 * structures of the KVM ABI are those of <linux/kvm.h> (the core has its own definitions of them in runtime/kvm/abi.h;
 * tests/abi compares the two).
 *
 * Locking. "Owner": the caller holds the vCPU's mutex, so KVM_RUN is not under way. "Any": any thread, at any time,
 * interrupt handlers included.
 *
 * Errors are negative errno values.
 */
#ifndef UNTRAP_KMOD_CORE_API_H
#define UNTRAP_KMOD_CORE_API_H

#ifdef __cplusplus
#include <cstddef>
#include <cstdint>
using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using size_t = std::size_t;
extern "C" {
#else
#include <linux/types.h>
#endif

struct kvm_run;
struct kvm_coalesced_mmio_zone;
struct kvm_regs;
struct kvm_sregs;
struct kvm_fpu;
struct kvm_translation;
struct kvm_guest_debug;

struct untrap_core_vm;
struct untrap_core_vcpu;

/* ---- module load and unload ------------------------------------------------------------------------------------ */

/*
 * Start: reads the TLB to find the host's pinned entries and lays the world switch into `vectors`, which is
 * untrap_core_vectors_bytes() long, aligned to that, and mapped by the kernel's linear mapping (__get_free_pages).
 * -ENODEV if this is no 440 or its TLB is not laid out as expected.
 */
size_t untrap_core_vectors_bytes(void);
/*
 * The module's text, and room in the linear mapping for a copy of it. A module lies in vmalloc space, in pages of 4 KB
 * that would take half of the TLB from the guests; pinned entries map the copy. Exits and the run loop run there, and
 * come back to the text itself for the Linux side, which is never called by a relative branch from there: the kernel
 * knows exception tables, static keys and symbols of the text alone. copy NULL: everything runs from the text.
 */
struct untrap_core_text {
    const void* begin;
    size_t bytes;
    void* copy;
};
int untrap_core_load(void* vectors, const struct untrap_core_text* text);
/* Every shadow entry leaves the TLB. No vCPU may exist. */
void untrap_core_unload(void);

/* ---- VM ---------------------------------------------------------------------------------------------------------- */

/* The Linux side allocates (zeroed, any kernel memory), the core constructs in it. */
size_t untrap_core_vm_bytes(void);
struct untrap_core_vm* untrap_core_vm_create(void* memory);
void untrap_core_vm_destroy(struct untrap_core_vm* vm);

/* A memory slot as the core sees it. The arrays stay valid until the slot is changed or the VM is destroyed. */
struct untrap_core_slot {
    u64 base; /* guest real address, bytes; size 0: the slot is freed */
    u64 size;
    /* One per 4 KB page: kernel virtual address of the pinned page. */
    u8* const* pages;
    /*
     * One per 4 KB page: host real address >> 12 in bits 31-8; bits 7-0: log2 of the largest naturally aligned block
     * (in guest real and in host real addresses alike, inside the slot) of contiguous host memory that holds the
     * page, one of 12 14 16 18 20 24 28.
     */
    const u32* frames;
    /* Dirty log: a bit per page, set by the core (bit n & 31 of word n / 32); NULL: not logged. */
    u32* dirty;
    int read_only;
};
/* Owner. -EINVAL or -EEXIST (overlap) leave everything as it was. Shadow entries made from the old slot are gone. */
int untrap_core_set_slot(struct untrap_core_vm* vm, u32 number, const struct untrap_core_slot* slot);
u32 untrap_core_slot_count(void);
/* Owner. The dirty bits of a slot were taken: pages are write-protected again. */
void untrap_core_dirty_log_taken(struct untrap_core_vm* vm, u32 number);

/* KVM_CHECK_EXTENSION for what the core decides (untrap's own capabilities); 0 for unknown ones. */
int untrap_core_check_extension(u32 capability);
/* KVM_ENABLE_CAP on a VM. -EINVAL, -EBUSY once the vCPU has run. */
int untrap_core_enable_cap(struct untrap_core_vm* vm, u32 capability, const u64* args);
/*
 * The table of exits by site, in memory of the Linux side's that stays until the VM is destroyed or other memory takes
 * its place: bytes for so many sites, 0 for none, -EINVAL for too many.
 */
int untrap_core_exit_sites_bytes(u64 sites);
/* Owner. The memory is zeroed, any kernel memory, NULL for none. -EBUSY once the vCPU has run. */
int untrap_core_keep_exit_sites(struct untrap_core_vm* vm, void* memory, u64 sites);
/*
 * Owner. Sites known from earlier VMs, struct untrap_hot_site[count], in memory of the Linux side's that the core may
 * change and that stays as above; NULL for none. -EINVAL for what is no such array, -EBUSY once the vCPU has run.
 */
int untrap_core_set_known_sites(struct untrap_core_vm* vm, void* sites, u32 count);
/*
 * Owner. KVM_REGISTER_COALESCED_MMIO (add: 1) and KVM_UNREGISTER_COALESCED_MMIO. -EINVAL for what is no range, -ENOSPC.
 */
int untrap_core_coalesced_zone(struct untrap_core_vm* vm, const struct kvm_coalesced_mmio_zone* zone, int add);
/* Any. Userspace wrote this range of guest real memory (DMA). */
int untrap_core_memory_written(struct untrap_core_vm* vm, u64 base, u64 bytes);

/* ---- vCPU -------------------------------------------------------------------------------------------------------- */

/* Zeroed memory in the kernel's linear mapping (kmalloc), page-aligned. `host` is handed back to untrap_host_*. One
 * vCPU per VM. */
size_t untrap_core_vcpu_bytes(void);
struct untrap_core_vcpu* untrap_core_vcpu_create(void* memory, struct untrap_core_vm* vm, void* host);
void untrap_core_vcpu_destroy(struct untrap_core_vcpu* vcpu);
/*
 * Before the first untrap_core_run: pages of the linear mapping that userspace may write at any time, which stay as
 * long as the vCPU. A store that waits in the ring ends KVM_RUN after so many ticks of the timebase.
 */
void untrap_core_device_pages(struct untrap_core_vcpu* vcpu, void* ring, const void* registers, u64 ticks);

/*
 * Owner. KVM_RUN: completes the access that `run` reported last, runs the guest, fills `run`. 0, or -EINTR with
 * KVM_EXIT_INTR. May sleep. run->immediate_exit is honoured after the completion.
 */
int untrap_core_run(struct untrap_core_vcpu* vcpu, struct kvm_run* run);

/* Owner. */
void untrap_core_get_regs(struct untrap_core_vcpu* vcpu, struct kvm_regs* regs);
void untrap_core_set_regs(struct untrap_core_vcpu* vcpu, const struct kvm_regs* regs);
void untrap_core_get_sregs(struct untrap_core_vcpu* vcpu, struct kvm_sregs* sregs);
int untrap_core_set_sregs(struct untrap_core_vcpu* vcpu, const struct kvm_sregs* sregs);
void untrap_core_get_fpu(struct untrap_core_vcpu* vcpu, struct kvm_fpu* fpu);
void untrap_core_set_fpu(struct untrap_core_vcpu* vcpu, const struct kvm_fpu* fpu);
int untrap_core_get_one_reg(struct untrap_core_vcpu* vcpu, u64 id, u64* value);
int untrap_core_set_one_reg(struct untrap_core_vcpu* vcpu, u64 id, u64 value);
/* Registers of KVM_GET_REG_LIST: how many, and the identifier of each. */
u32 untrap_core_reg_count(void);
u64 untrap_core_reg_id(u32 index);
void untrap_core_translate(struct untrap_core_vcpu* vcpu, struct kvm_translation* translation);
u32 untrap_core_get_mp_state(struct untrap_core_vcpu* vcpu);
int untrap_core_set_mp_state(struct untrap_core_vcpu* vcpu, u32 mp_state);
int untrap_core_set_guest_debug(struct untrap_core_vcpu* vcpu, const struct kvm_guest_debug* debug);

/* Any. KVM_INTERRUPT: irq is KVM_INTERRUPT_SET, _UNSET or _SET_LEVEL; -EINVAL. The Linux side wakes the vCPU after. */
int untrap_core_interrupt(struct untrap_core_vcpu* vcpu, u32 irq);
/* Any. The vCPU looks at its interrupt lines, timers and signals before it runs guest code again. */
void untrap_core_attention(struct untrap_core_vcpu* vcpu);
/* The vCPU's thread, in untrap_host_wait: whether an enabled input line ends the wait. */
int untrap_core_wake_requested(struct untrap_core_vcpu* vcpu);

/* ---- statistics -------------------------------------------------------------------------------------------------- */

#define UNTRAP_CORE_EXIT_SLOTS 32
struct untrap_core_statistics {
    u64 exits_total;
    u64 exits[UNTRAP_CORE_EXIT_SLOTS]; /* by reason, see untrap_core_exit_name */
    u64 shadow_refills;                /* entries written into the hardware TLB */
    u64 shadow_drops;                  /* entries taken out again */
    u64 large_refills;                 /* of shadow_refills: above 4 KB */
    u64 shadow_pid_recycles;
    u64 patched_sites;
    u64 known_sites;       /* patched because the cache of hot sites knew them */
    u64 left_alone_pages;  /* whose patched words kept changing */
    u64 patches_installed; /* words written into copies of code, ever */
    u64 patches_backed_out;
    u64 code_copy_bytes;
    u64 stubs;
    u64 stub_exits;        /* taken from inside a stub, see docs/architecture.md; entries of stubs are not counted */
    u64 host_instructions; /* timebase ticks spent outside the guest's own code; 0 while not measured */
    /*
     * With exit timing on (untrap_core_set_timing): per reason, timebase ticks from leaving the guest to entering it
     * again: shortest, longest, sum, and sum of squares.
     */
    u64 time_min[UNTRAP_CORE_EXIT_SLOTS];
    u64 time_max[UNTRAP_CORE_EXIT_SLOTS];
    u64 time_sum[UNTRAP_CORE_EXIT_SLOTS];
    u64 time_squares[UNTRAP_CORE_EXIT_SLOTS];
    u64 time_in_guest;
};
u32 untrap_core_exit_reason_count(void);
/* "MMIO", "DCR", … : the fixed names. */
const char* untrap_core_exit_name(u32 reason);
/* Any; a snapshot, not exact while the vCPU runs. */
void untrap_core_statistics(struct untrap_core_vcpu* vcpu, struct untrap_core_statistics* statistics);
/*
 * Owner. The part of the table of exits by site that begins at *next (0: all of it), as struct
 * untrap_exit_site[*count]; *count: how many were written; *next: where the next part begins, 0 after the last.
 * -ENOENT, -EINVAL.
 */
int untrap_core_read_exit_sites(struct untrap_core_vcpu* vcpu, u32* next, u32* count, void* sites);
/*
 * Owner. A part of the sites that are patched now, as struct untrap_hot_site[*count]; *count is at least
 * UNTRAP_HOT_SITES_IN_PAGE; *next as above. -EINVAL.
 */
int untrap_core_read_hot_sites(struct untrap_core_vcpu* vcpu, u32* next, u32* count, void* sites);
/* Any. Exit timing costs some forty instructions an exit, so it is off unless asked for. Switching on clears the times.
 */
void untrap_core_set_timing(struct untrap_core_vcpu* vcpu, int on);

/* Tracepoints that are on: the core calls untrap_host_trace_* only for these. */
#define UNTRAP_TRACE_ENTRY 1u
#define UNTRAP_TRACE_EXIT 2u
#define UNTRAP_TRACE_TLB 4u
#define UNTRAP_TRACE_PATCH 8u
extern u32 untrap_core_trace; /* written by the Linux side */

/* ---- services of the Linux side -----------------------------------------------------------------------------------
 */

/* pr_warn, rate limited. */
void untrap_host_warn(void* host, const char* message, u32 pc, u32 word);
/*
 * Sleeps until the timebase reaches `until` (all ones: no limit), untrap_core_wake_requested(), a signal, or
 * immediate_exit.
 */
void untrap_host_wait(void* host, u64 until);
/*
 * The vCPU's thread, interrupts on, at least once after each host interrupt that ended guest execution: gives the CPU
 * away if the scheduler wants it. Not 0: a signal is pending or immediate_exit is set, so KVM_RUN shall end. Memory
 * slots may change inside this call and untrap_host_wait.
 */
int untrap_host_poll(void* host);
/* Calls untrap_core_attention at this timebase value, replacing what was asked before; all ones: never. */
void untrap_host_arm_timer(void* host, u64 until);
/*
 * The vCPU's thread, interrupts off. take: the host's use of the FPU by this thread is saved, MSR[FP] is on afterwards
 * and the registers are the core's. give: the core saved them, MSR[FP] goes off.
 */
void untrap_host_fpu_take(void* host);
void untrap_host_fpu_give(void* host);
/*
 * Interrupts on: 2^shift bytes (12 to 20) of the linear mapping, aligned to that; NULL if the host has none or `host`
 * has enough of them. real: host real address of what lies in the linear mapping.
 */
void* untrap_host_allocate(void* host, u32 shift);
void untrap_host_release(void* host, void* block, u32 shift);
u64 untrap_host_real(const void* linear);
/* A store to a guest real address without memory: not 0 if an ioeventfd took it. value is right-aligned. */
int untrap_host_mmio_write(void* host, u64 real, u32 size, u64 value);
/* Tracepoints, see untrap_core_trace. */
void untrap_host_trace_entry(void* host, u32 pc, u32 msr, u32 pid);
void untrap_host_trace_exit(void* host, u32 reason, u32 pc, u32 word);
/* written: 1 an entry came into the hardware TLB, 0 it left. */
void untrap_host_trace_tlb(void* host, u32 index, u32 word0, u32 word1, u32 word2, u32 shadow_pid, int written);
void untrap_host_trace_patch(void* host, u64 real, u32 word, u32 level, int patched);

#ifdef __cplusplus
}
#endif

#endif
