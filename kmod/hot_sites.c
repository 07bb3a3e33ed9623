// SPDX-License-Identifier: GPL-2.0-only
// The cache of hot sites: read from a vCPU, given to a VM before it runs.

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod/vm.h"

int untrap_vm_set_known_sites(struct untrap_vm* vm, const struct untrap_hot_sites* request) {
    const size_t bytes = (size_t)request->count * sizeof(struct untrap_hot_site);
    void* memory = NULL;
    int result;

    if (request->count > UNTRAP_MOST_HOT_SITES || request->next) return -EINVAL;
    if (request->sites != (unsigned long)request->sites) return -EFAULT;
    if (bytes) {
        if (!untrap_host_can_spare((u64)bytes >> PAGE_SHIFT)) return -ENOMEM;
        memory = kvmalloc(bytes, GFP_KERNEL_ACCOUNT);
        if (!memory) return -ENOMEM;
        if (copy_from_user(memory, u64_to_user_ptr(request->sites), bytes)) {
            kvfree(memory);
            return -EFAULT;
        }
    }
    result = untrap_vm_lock_core(vm);
    if (!result) {
        result = untrap_core_set_known_sites(vm->core, memory, request->count);
        if (!result) swap(vm->known_sites, memory);
        untrap_vm_unlock_core(vm);
    }
    kvfree(memory);
    return result;
}

// Pages read at a time: userspace asks again.
#define ROOM (4 * UNTRAP_HOT_SITES_IN_PAGE)

int untrap_vcpu_get_hot_sites(struct untrap_vcpu* vcpu, void __user* argument) {
    struct untrap_hot_sites request;
    struct untrap_hot_site* sites;
    int result;

    if (copy_from_user(&request, argument, sizeof(request))) return -EFAULT;
    if (request.count < UNTRAP_HOT_SITES_IN_PAGE) return -EINVAL;
    if (request.sites != (unsigned long)request.sites) return -EFAULT;
    request.count = min(request.count, ROOM);
    sites = kvmalloc_array(request.count, sizeof(*sites), GFP_KERNEL_ACCOUNT);
    if (!sites) return -ENOMEM;
    result = mutex_lock_killable(&vcpu->vm->core_lock);
    if (!result) {
        result = untrap_core_read_hot_sites(vcpu->core, &request.next, &request.count, sites);
        mutex_unlock(&vcpu->vm->core_lock);
    }
    if (!result && (copy_to_user(u64_to_user_ptr(request.sites), sites, request.count * sizeof(*sites)) ||
                    copy_to_user(argument, &request, sizeof(request))))
        result = -EFAULT;
    kvfree(sites);
    return result;
}
