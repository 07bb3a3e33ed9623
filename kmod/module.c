// SPDX-License-Identifier: GPL-2.0-only
// Loading and unloading, and the device.

#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "kmod/compat.h"
#include "kmod/vm.h"

bool untrap_exit_timing;
module_param_named(exit_timing, untrap_exit_timing, bool, 0644);
MODULE_PARM_DESC(exit_timing, "vCPUs start with exit timing on (default: off)");

static struct miscdevice device = {
    .minor = KVM_MINOR,
    .name = "kvm",
    .fops = &untrap_system_fops,
};

static void* vectors;
static unsigned int vectors_order;
static struct untrap_core_text text;

static int __init register_device(void) {
    int result = misc_register(&device);

    if (result == -EBUSY) {
        pr_info("untrap: minor %d is taken, /dev/kvm gets another one\n", KVM_MINOR);
        device.minor = MISC_DYNAMIC_MINOR;
        result = misc_register(&device);
    }
    return result;
}

static void free_memory(void) {
    if (text.copy) free_pages_exact(text.copy, text.bytes);
    free_pages((unsigned long)vectors, vectors_order);
}

static int __init untrap_init(void) {
    size_t bytes = untrap_core_vectors_bytes();
    int result;

    if (!is_power_of_2(bytes)) return -EINVAL;
    // A block of the page allocator is aligned to its size and lies in the linear mapping.
    vectors_order = get_order(bytes);
    vectors = (void*)__get_free_pages(GFP_KERNEL | __GFP_ZERO, vectors_order);
    if (!vectors) return -ENOMEM;

    text.begin = untrap_text(&text.bytes);
    text.copy = alloc_pages_exact(text.bytes, GFP_KERNEL | __GFP_NOWARN);
    if (!text.copy) pr_warn("untrap: no %zu bytes in one piece: exits will be slower\n", text.bytes);
    result = untrap_core_load(vectors, &text);
    if (result) {
        pr_err("untrap: this host is not one that untrap runs on (%d)\n", result);
        goto free_vectors;
    }
    result = untrap_patch_limits_check();
    if (!result) result = untrap_stats_init();
    if (result) goto unload_core;
    untrap_debugfs_init();
    result = register_device();
    if (result) {
        pr_err("untrap: no device /dev/kvm (%d)\n", result);
        goto remove_debugfs;
    }
    return 0;

remove_debugfs:
    untrap_debugfs_exit();
    untrap_stats_exit();
unload_core:
    untrap_core_unload();
free_vectors:
    free_memory();
    return result;
}

// Every descriptor holds the module, so there is no VM any more.
static void __exit untrap_exit(void) {
    misc_deregister(&device);
    untrap_debugfs_exit();
    untrap_stats_exit();
    untrap_core_unload();
    free_memory();
}

module_init(untrap_init);
module_exit(untrap_exit);

MODULE_DESCRIPTION("untrap: hypervisor for PowerPC 440 guests");
MODULE_AUTHOR("untrap contributors");
MODULE_LICENSE("GPL");
MODULE_ALIAS_MISCDEV(KVM_MINOR);
MODULE_ALIAS("devname:kvm");
