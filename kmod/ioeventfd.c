// SPDX-License-Identifier: GPL-2.0-only
// KVM_IOEVENTFD: a store to a guest real address without memory signals an eventfd and does not leave the kernel.

#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "kmod/compat.h"
#include "kmod/vm.h"

// As many as KVM has.
#define MOST_IOEVENTFDS 1000

struct ioeventfd {
    struct list_head link;
    struct eventfd_ctx* eventfd;
    u64 address;
    u32 length; // 0: any
    bool any_value;
    u64 value;
};

static bool collides(const struct ioeventfd* a, const struct ioeventfd* b) {
    if (a->address != b->address) return false;
    if (a->length == 0 || b->length == 0) return true;
    return a->length == b->length && (a->any_value || b->any_value || a->value == b->value);
}

static int insert(struct untrap_vm* vm, struct ioeventfd* added) {
    struct ioeventfd* other;
    int result = -EEXIST;

    spin_lock(&vm->ioeventfd_lock);
    list_for_each_entry(other, &vm->ioeventfds, link) {
        if (collides(other, added)) goto unlock;
    }
    result = -ENOSPC;
    if (vm->ioeventfd_count == MOST_IOEVENTFDS) goto unlock;
    ++vm->ioeventfd_count;
    list_add_tail(&added->link, &vm->ioeventfds);
    result = 0;
unlock:
    spin_unlock(&vm->ioeventfd_lock);
    return result;
}

static int assign(struct untrap_vm* vm, const struct kvm_ioeventfd* request) {
    struct ioeventfd* added;
    int result;

    switch (request->len) {
    case 0:
        if (request->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) return -EINVAL;
        break;
    case 1:
    case 2:
    case 4:
    case 8: break;
    default: return -EINVAL;
    }
    if (request->addr + request->len < request->addr) return -EINVAL;
    // PIO and CCW are for other machines.
    if (request->flags & ~KVM_IOEVENTFD_FLAG_DATAMATCH) return -EINVAL;

    added = kzalloc(sizeof(*added), GFP_KERNEL_ACCOUNT);
    if (!added) return -ENOMEM;
    added->address = request->addr;
    added->length = request->len;
    added->any_value = !(request->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
    added->value = request->datamatch;
    added->eventfd = eventfd_ctx_fdget(request->fd);
    if (IS_ERR(added->eventfd)) {
        result = PTR_ERR(added->eventfd);
        kfree(added);
        return result;
    }
    result = insert(vm, added);
    if (result) {
        eventfd_ctx_put(added->eventfd);
        kfree(added);
    }
    return result;
}

static int deassign(struct untrap_vm* vm, const struct kvm_ioeventfd* request) {
    const bool any_value = !(request->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
    struct eventfd_ctx* eventfd = eventfd_ctx_fdget(request->fd);
    struct ioeventfd *entry, *found = NULL;

    if (IS_ERR(eventfd)) return PTR_ERR(eventfd);
    spin_lock(&vm->ioeventfd_lock);
    list_for_each_entry(entry, &vm->ioeventfds, link) {
        if (entry->eventfd != eventfd || entry->address != request->addr || entry->length != request->len) continue;
        if (entry->any_value != any_value || (!any_value && entry->value != request->datamatch)) continue;
        found = entry;
        list_del(&found->link);
        --vm->ioeventfd_count;
        break;
    }
    spin_unlock(&vm->ioeventfd_lock);
    eventfd_ctx_put(eventfd);
    if (!found) return -ENOENT;
    eventfd_ctx_put(found->eventfd);
    kfree(found);
    return 0;
}

int untrap_ioeventfd(struct untrap_vm* vm, const struct kvm_ioeventfd* request) {
    if (request->flags & KVM_IOEVENTFD_FLAG_DEASSIGN) return deassign(vm, request);
    return assign(vm, request);
}

void untrap_ioeventfd_release(struct untrap_vm* vm) {
    struct ioeventfd *entry, *next;

    list_for_each_entry_safe(entry, next, &vm->ioeventfds, link) {
        eventfd_ctx_put(entry->eventfd);
        list_del(&entry->link);
        kfree(entry);
    }
}

bool untrap_ioeventfd_write(struct untrap_vm* vm, u64 address, u32 size, u64 value) {
    struct ioeventfd* entry;
    bool taken = false;

    if (list_empty(&vm->ioeventfds)) return false;
    spin_lock(&vm->ioeventfd_lock);
    list_for_each_entry(entry, &vm->ioeventfds, link) {
        if (entry->address != address) continue;
        if (entry->length != 0 && (entry->length != size || (!entry->any_value && entry->value != value))) continue;
        untrap_eventfd_signal(entry->eventfd);
        taken = true;
        break;
    }
    spin_unlock(&vm->ioeventfd_lock);
    return taken;
}
