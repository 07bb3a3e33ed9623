// SPDX-License-Identifier: GPL-2.0-only
// The ioctls of /dev/kvm.

#include <linux/module.h>
#include <linux/uaccess.h>

#include "kmod/vm.h"

int untrap_check_extension(unsigned long capability) {
    switch (capability) {
    case KVM_CAP_USER_MEMORY:
    case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
    case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
    case KVM_CAP_READONLY_MEM:
    case KVM_CAP_GUEST_MEMFD:
    case KVM_CAP_NR_VCPUS:
    case KVM_CAP_MAX_VCPUS:
    case KVM_CAP_MAX_VCPU_ID:
    case KVM_CAP_MP_STATE:
    case KVM_CAP_SET_GUEST_DEBUG:
    case KVM_CAP_PPC_GUEST_DEBUG_SSTEP:
    case KVM_CAP_IRQFD:
    case KVM_CAP_IOEVENTFD:
    case KVM_CAP_IOEVENTFD_ANY_LENGTH:
    case KVM_CAP_INTERNAL_ERROR_DATA:
    case KVM_CAP_SYSTEM_EVENT_DATA:
    case KVM_CAP_PPC_UNSET_IRQ:
    case KVM_CAP_PPC_IRQ_LEVEL:
    case KVM_CAP_PPC_BOOKE_SREGS:
    case KVM_CAP_ONE_REG:
    case KVM_CAP_ENABLE_CAP:
    case KVM_CAP_ENABLE_CAP_VM:
    case KVM_CAP_CHECK_EXTENSION_VM:
    case KVM_CAP_IMMEDIATE_EXIT:
    case KVM_CAP_BINARY_STATS_FD: return 1;
    case KVM_CAP_NR_MEMSLOTS: return untrap_core_slot_count();
    // IAC1 to IAC4, DAC1 and DAC2.
    case KVM_CAP_GUEST_DEBUG_HW_BPS: return 4;
    case KVM_CAP_GUEST_DEBUG_HW_WPS: return 2;
    default: return untrap_core_check_extension(capability);
    }
}

static long create_guest_memory(const void __user* argument) {
    struct kvm_create_guest_memfd request;

    if (copy_from_user(&request, argument, sizeof(request))) return -EFAULT;
    return untrap_guest_memory_create(&request);
}

static long system_ioctl(struct file* file, unsigned int ioctl, unsigned long argument) {
    switch (ioctl) {
    case KVM_GET_API_VERSION: return argument == 0 ? KVM_API_VERSION : -EINVAL;
    case KVM_CREATE_VM: return argument == 0 ? untrap_vm_create_fd() : -EINVAL;
    case KVM_CHECK_EXTENSION: return untrap_check_extension(argument);
    case KVM_GET_VCPU_MMAP_SIZE: return argument == 0 ? UNTRAP_VCPU_PAGES * PAGE_SIZE : -EINVAL;
    case KVM_CREATE_GUEST_MEMFD: return create_guest_memory((void __user*)argument);
    default: return -ENOTTY;
    }
}

const struct file_operations untrap_system_fops = {
    .owner = THIS_MODULE,
    .unlocked_ioctl = system_ioctl,
    .llseek = noop_llseek,
};
