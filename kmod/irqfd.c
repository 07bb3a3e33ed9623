// SPDX-License-Identifier: GPL-2.0-only
// KVM_IRQFD: an eventfd that pulses the vCPU's external interrupt input, which is GSI 0, the only one.

#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/list.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "kmod/vm.h"

struct irqfd {
    struct untrap_vm* vm;
    struct list_head link;
    struct eventfd_ctx* eventfd;
    u32 gsi;
    bool closed; // the eventfd's last descriptor is gone
    wait_queue_entry_t wait;
    poll_table table;
};

// With the eventfd's wait queue locked and interrupts off.
static int signalled(wait_queue_entry_t* wait, unsigned int mode, int sync, void* key) {
    struct irqfd* irqfd = container_of(wait, struct irqfd, wait);
    const __poll_t events = key_to_poll(key);
    int result = 0;

    if (events & EPOLLIN) {
        u64 count;

        eventfd_ctx_do_read(irqfd->eventfd, &count);
        untrap_vm_pulse(irqfd->vm);
        result = 1;
    }
    if (events & EPOLLHUP) {
        list_del_init(&wait->entry);
        WRITE_ONCE(irqfd->closed, true);
    }
    return result;
}

static void register_wait(struct file* file, wait_queue_head_t* queue, poll_table* table) {
    add_wait_queue_priority(queue, &container_of(table, struct irqfd, table)->wait);
}

// irqfd_lock held. After it no pulse comes from this eventfd.
static void remove(struct irqfd* irqfd) {
    u64 count;

    eventfd_ctx_remove_wait_queue(irqfd->eventfd, &irqfd->wait, &count);
    eventfd_ctx_put(irqfd->eventfd);
    list_del(&irqfd->link);
    kfree(irqfd);
}

static void remove_closed(struct untrap_vm* vm) {
    struct irqfd *irqfd, *next;

    list_for_each_entry_safe(irqfd, next, &vm->irqfds, link) {
        if (READ_ONCE(irqfd->closed)) remove(irqfd);
    }
}

static bool is_used(struct untrap_vm* vm, const struct eventfd_ctx* eventfd) {
    struct irqfd* irqfd;

    list_for_each_entry(irqfd, &vm->irqfds, link) {
        if (irqfd->eventfd == eventfd) return true;
    }
    return false;
}

static int assign(struct untrap_vm* vm, struct irqfd* irqfd, struct file* file) {
    remove_closed(vm);
    if (is_used(vm, irqfd->eventfd)) return -EBUSY;
    init_waitqueue_func_entry(&irqfd->wait, signalled);
    init_poll_funcptr(&irqfd->table, register_wait);
    list_add_tail(&irqfd->link, &vm->irqfds);
    // What was signalled before counts.
    if (vfs_poll(file, &irqfd->table) & EPOLLIN) untrap_vm_pulse(vm);
    return 0;
}

static int assign_fd(struct untrap_vm* vm, const struct kvm_irqfd* request) {
    struct file* file = fget(request->fd);
    struct irqfd* irqfd;
    int result;

    if (!file) return -EBADF;
    irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
    result = -ENOMEM;
    if (!irqfd) goto put_file;
    irqfd->vm = vm;
    irqfd->gsi = request->gsi;
    irqfd->eventfd = eventfd_ctx_fileget(file);
    if (IS_ERR(irqfd->eventfd)) {
        result = PTR_ERR(irqfd->eventfd);
        kfree(irqfd);
        goto put_file;
    }
    mutex_lock(&vm->irqfd_lock);
    result = assign(vm, irqfd, file);
    mutex_unlock(&vm->irqfd_lock);
    if (result) {
        eventfd_ctx_put(irqfd->eventfd);
        kfree(irqfd);
    }
put_file:
    // Only now, so that the eventfd is not closed while it is being registered.
    fput(file);
    return result;
}

static int deassign_fd(struct untrap_vm* vm, const struct kvm_irqfd* request) {
    struct eventfd_ctx* eventfd = eventfd_ctx_fdget(request->fd);
    struct irqfd *irqfd, *next;

    if (IS_ERR(eventfd)) return PTR_ERR(eventfd);
    mutex_lock(&vm->irqfd_lock);
    list_for_each_entry_safe(irqfd, next, &vm->irqfds, link) {
        if (irqfd->eventfd == eventfd && irqfd->gsi == request->gsi) remove(irqfd);
    }
    mutex_unlock(&vm->irqfd_lock);
    eventfd_ctx_put(eventfd);
    return 0;
}

int untrap_irqfd(struct untrap_vm* vm, const struct kvm_irqfd* request) {
    // No resampling: the input has no acknowledgement that the host sees.
    if (request->flags & ~KVM_IRQFD_FLAG_DEASSIGN) return -EINVAL;
    if (request->flags & KVM_IRQFD_FLAG_DEASSIGN) return deassign_fd(vm, request);
    if (request->gsi != 0) return -EINVAL;
    return assign_fd(vm, request);
}

void untrap_irqfd_release(struct untrap_vm* vm) {
    struct irqfd *irqfd, *next;

    mutex_lock(&vm->irqfd_lock);
    list_for_each_entry_safe(irqfd, next, &vm->irqfds, link) { remove(irqfd); }
    mutex_unlock(&vm->irqfd_lock);
}
