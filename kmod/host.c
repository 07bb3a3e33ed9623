// SPDX-License-Identifier: GPL-2.0-only
// What the core asks of Linux: time, waiting, scheduling, the FPU.

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>

#include <asm/reg.h>
#include <asm/switch_to.h>
#include <asm/time.h>

#include "kmod/compat.h"
#include "kmod/trace.h"
#include "kmod/vm.h"

void untrap_host_warn(void* host, const char* message, u32 pc, u32 word) {
    const struct untrap_vcpu* vcpu = host;

    pr_warn("untrap: VM of %d: guest at 0x%08x: %s (0x%08x)\n", vcpu->vm->pid, pc, message, word);
}

// ---- time ----------------------------------------------------------------------------------------------------------

#define NEVER (~0ull)

// Nanoseconds for so many ticks of the timebase, rounded up; at most an hour, after which the caller looks again.
static ktime_t ticks_to_ktime(u64 ticks) {
    const u64 longest = (u64)tb_ticks_per_sec * 3600;

    return ns_to_ktime(tb_to_ns(min(ticks, longest)) + 1);
}

static enum hrtimer_restart timer_expired(struct hrtimer* timer) {
    struct untrap_vcpu* vcpu = container_of(timer, struct untrap_vcpu, timer);
    const u64 until = vcpu->timer_until;
    const u64 now = get_tb();

    if (until == NEVER) return HRTIMER_NORESTART;
    if (now < until) {
        hrtimer_forward_now(timer, ticks_to_ktime(until - now));
        return HRTIMER_RESTART;
    }
    vcpu->timer_until = NEVER;
    untrap_vcpu_kick(vcpu);
    return HRTIMER_NORESTART;
}

void untrap_host_timer_init(struct untrap_vcpu* vcpu) {
    untrap_hrtimer_setup(&vcpu->timer, timer_expired);
    vcpu->timer_until = NEVER;
}

void untrap_host_timer_stop(struct untrap_vcpu* vcpu) { hrtimer_cancel(&vcpu->timer); }

void untrap_host_arm_timer(void* host, u64 until) {
    struct untrap_vcpu* vcpu = host;
    u64 now;

    if (vcpu->timer_until == until) return;
    // The handler runs on this processor: it is not under way, and does not start between these lines in a way that
    // matters, since it looks at timer_until.
    hrtimer_try_to_cancel(&vcpu->timer);
    vcpu->timer_until = until;
    if (until == NEVER) return;
    now = get_tb();
    if (now < until) {
        hrtimer_start(&vcpu->timer, ticks_to_ktime(until - now), HRTIMER_MODE_REL);
        return;
    }
    vcpu->timer_until = NEVER;
    untrap_core_attention(vcpu->core);
}

// ---- waiting and scheduling ----------------------------------------------------------------------------------------

static bool must_leave(const struct untrap_vcpu* vcpu) {
    return signal_pending(current) || untrap_immediate_exit(vcpu->run);
}

// In a wait for nothing but events, or with a limit; as long as the state set by prepare_to_wait stands.
static void sleep_until(u64 until, u64 now) {
    ktime_t time;

    if (until == NEVER) {
        schedule();
        return;
    }
    time = ticks_to_ktime(until - now);
    schedule_hrtimeout(&time, HRTIMER_MODE_REL);
}

void untrap_host_wait(void* host, u64 until) {
    struct untrap_vcpu* vcpu = host;
    struct untrap_vm* vm = vcpu->vm;
    bool slept = false;
    DEFINE_WAIT(entry);

    for (;;) {
        u64 now;

        prepare_to_wait(&vcpu->wait, &entry, TASK_INTERRUPTIBLE);
        if (untrap_core_wake_requested(vcpu->core)) {
            vcpu->halt_wakeups += slept;
            break;
        }
        now = get_tb();
        if (now >= until || must_leave(vcpu)) break;
        if (untrap_vm_core_is_wanted(vm)) {
            finish_wait(&vcpu->wait, &entry);
            untrap_vm_yield_core(vm);
            continue;
        }
        sleep_until(until, now);
        slept = true;
    }
    finish_wait(&vcpu->wait, &entry);
}

int untrap_host_poll(void* host) {
    struct untrap_vcpu* vcpu = host;

    cond_resched();
    if (untrap_vm_core_is_wanted(vcpu->vm)) untrap_vm_yield_core(vcpu->vm);
    return must_leave(vcpu);
}

// ---- FPU -----------------------------------------------------------------------------------------------------------

void untrap_host_fpu_take(void* host) { enable_kernel_fp(); }

// Not disable_kernel_fp: without strict_msr_control that one leaves MSR[FP] on.
void untrap_host_fpu_give(void* host) { __msr_check_and_clear(MSR_FP); }

// ---- memory
// ----------------------------------------------------------------------------------------------------------

void* untrap_host_allocate(void* host, u32 shift) {
    const gfp_t flags = GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_NORETRY;

    if (!untrap_host_can_spare(1ull << (shift - PAGE_SHIFT))) return NULL;
    return (void*)__get_free_pages(flags, shift - PAGE_SHIFT);
}

void untrap_host_release(void* host, void* block, u32 shift) { free_pages((unsigned long)block, shift - PAGE_SHIFT); }

u64 untrap_host_real(const void* linear) { return virt_to_phys((void*)linear); }

// ---- devices and tracepoints ---------------------------------------------------------------------------------------

int untrap_host_mmio_write(void* host, u64 real, u32 size, u64 value) {
    struct untrap_vcpu* vcpu = host;

    return untrap_ioeventfd_write(vcpu->vm, real, size, value);
}

void untrap_host_trace_entry(void* host, u32 pc, u32 msr, u32 pid) {
    const struct untrap_vcpu* vcpu = host;

    trace_untrap_entry(vcpu->vm->serial, pc, msr, pid);
}

void untrap_host_trace_exit(void* host, u32 reason, u32 pc, u32 word) {
    const struct untrap_vcpu* vcpu = host;

    trace_untrap_exit(vcpu->vm->serial, reason, pc, word);
}

void untrap_host_trace_tlb(void* host, u32 index, u32 word0, u32 word1, u32 word2, u32 shadow_pid, int written) {
    const struct untrap_vcpu* vcpu = host;

    trace_untrap_tlb(vcpu->vm->serial, index, word0, word1, word2, shadow_pid, written);
}

void untrap_host_trace_patch(void* host, u64 real, u32 word, u32 level, int patched) {
    const struct untrap_vcpu* vcpu = host;

    trace_untrap_patch(vcpu->vm->serial, real, word, level, patched);
}
