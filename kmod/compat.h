// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// Where the kernels that the module builds for (6.1 to 6.12) differ.

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/kvm.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/version.h>

#ifndef CONFIG_44x
#error "untrap runs on a 44x kernel"
#endif
#ifdef CONFIG_SMP
#error "untrap counts on a kernel for one processor: the vCPU's thread runs no guest code while another thread runs"
#endif
#ifndef CONFIG_PPC_FPU
#error "untrap needs a host kernel with CONFIG_PPC_FPU"
#endif
#if PAGE_SHIFT != 12
#error "untrap needs a host kernel with 4 KB pages"
#endif

// Order of the largest block that the page allocator hands out.
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define UNTRAP_LARGEST_ORDER MAX_PAGE_ORDER
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define UNTRAP_LARGEST_ORDER MAX_ORDER
#else
#define UNTRAP_LARGEST_ORDER (MAX_ORDER - 1)
#endif

// The module's own text.
static inline const void* untrap_text(size_t* bytes) {
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
    *bytes = THIS_MODULE->mem[MOD_TEXT].size;
    return THIS_MODULE->mem[MOD_TEXT].base;
#else
    *bytes = THIS_MODULE->core_layout.text_size;
    return THIS_MODULE->core_layout.base;
#endif
}

static inline void untrap_vm_flags_set(struct vm_area_struct* vma, unsigned long flags) {
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
    vm_flags_set(vma, flags);
#else
    vma->vm_flags |= flags;
#endif
}

static inline void untrap_eventfd_signal(struct eventfd_ctx* eventfd) {
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
    eventfd_signal(eventfd);
#else
    eventfd_signal(eventfd, 1);
#endif
}

static inline void untrap_hrtimer_setup(struct hrtimer* timer, enum hrtimer_restart (*function)(struct hrtimer*)) {
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
    hrtimer_setup(timer, function, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
    hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
    timer->function = function;
#endif
}

// The second byte of kvm_run, by 6.12 under another name for the kernel's side.
static inline bool untrap_immediate_exit(const struct kvm_run* run) {
    return READ_ONCE(*((const __u8*)run + offsetof(struct kvm_run, request_interrupt_window) + 1)) != 0;
}
