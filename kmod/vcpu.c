// SPDX-License-Identifier: GPL-2.0-only
// The vCPU: its descriptor, KVM_RUN and the ioctls that do not wait for it.

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/time.h>

#include "kmod/compat.h"
#include "kmod/vm.h"

void untrap_vcpu_kick(struct untrap_vcpu* vcpu) {
    // With one processor the vCPU runs no guest code now, and it looks before it does again.
    untrap_core_attention(vcpu->core);
    wake_up(&vcpu->wait);
}

// ---- KVM_RUN -------------------------------------------------------------------------------------------------------

static int run(struct untrap_vcpu* vcpu) {
    struct untrap_vm* vm = vcpu->vm;
    int result = mutex_lock_killable(&vm->core_lock);

    if (result) return result;
    // As sigsuspend does it: the mask of KVM_SET_SIGNAL_MASK is in force while the guest runs. A signal that only it
    // lets through is still pending afterwards.
    if (vcpu->has_sigset) sigprocmask(SIG_SETMASK, &vcpu->sigset, &current->real_blocked);
    result = untrap_core_run(vcpu->core, vcpu->run);
    if (vcpu->has_sigset) {
        sigprocmask(SIG_SETMASK, &current->real_blocked, NULL);
        sigemptyset(&current->real_blocked);
    }
    ++vcpu->run_returns;
    mutex_unlock(&vm->core_lock);
    return result;
}

static int set_signal_mask(struct untrap_vcpu* vcpu, const struct kvm_signal_mask __user* argument) {
    struct kvm_signal_mask header;
    sigset_t sigset;

    if (!argument) {
        vcpu->has_sigset = false;
        return 0;
    }
    if (copy_from_user(&header, argument, sizeof(header))) return -EFAULT;
    if (header.len != sizeof(sigset)) return -EINVAL;
    if (copy_from_user(&sigset, argument->sigset, sizeof(sigset))) return -EFAULT;
    sigdelsetmask(&sigset, sigmask(SIGKILL) | sigmask(SIGSTOP));
    vcpu->sigset = sigset;
    vcpu->has_sigset = true;
    return 0;
}

// ---- ioctls at any time --------------------------------------------------------------------------------------------

static int interrupt(struct untrap_vcpu* vcpu, const void __user* argument) {
    struct kvm_interrupt request;
    int result;

    if (copy_from_user(&request, argument, sizeof(request))) return -EFAULT;
    result = untrap_core_interrupt(vcpu->core, request.irq);
    if (!result) untrap_vcpu_kick(vcpu);
    return result;
}

static int get_stats(struct untrap_vcpu* vcpu, void __user* argument) {
    struct {
        struct untrap_core_statistics core;
        struct untrap_stats out;
    }* data = kzalloc(sizeof(*data), GFP_KERNEL_ACCOUNT);
    int result = 0;

    BUILD_BUG_ON(sizeof(data->core.exits) != sizeof(data->out.exits));
    if (!data) return -ENOMEM;
    untrap_core_statistics(vcpu->core, &data->core);
    data->out.exits_total = data->core.exits_total;
    memcpy(data->out.exits, data->core.exits, sizeof(data->out.exits));
    data->out.patched_sites = data->core.patched_sites;
    data->out.known_sites = data->core.known_sites;
    data->out.left_alone_pages = data->core.left_alone_pages;
    data->out.host_instructions = data->core.host_instructions;
    data->out.shadow_refills = data->core.shadow_refills;
    if (copy_to_user(argument, &data->out, sizeof(data->out))) result = -EFAULT;
    kfree(data);
    return result;
}

// Entries copied at a time: userspace asks again.
#define EXIT_SITES_AT_ONCE 1024u

static int get_exit_sites(struct untrap_vcpu* vcpu, void __user* argument) {
    struct untrap_exit_sites request;
    struct untrap_exit_site* sites;
    int result;

    if (copy_from_user(&request, argument, sizeof(request))) return -EFAULT;
    if (!request.count) return -EINVAL;
    if (request.sites != (unsigned long)request.sites) return -EFAULT;
    request.count = min(request.count, EXIT_SITES_AT_ONCE);
    sites = kvmalloc_array(request.count, sizeof(*sites), GFP_KERNEL_ACCOUNT);
    if (!sites) return -ENOMEM;
    result = mutex_lock_killable(&vcpu->vm->core_lock);
    if (!result) {
        result = untrap_core_read_exit_sites(vcpu->core, &request.next, &request.count, sites);
        mutex_unlock(&vcpu->vm->core_lock);
    }
    if (!result && (copy_to_user(u64_to_user_ptr(request.sites), sites, request.count * sizeof(*sites)) ||
                    copy_to_user(argument, &request, sizeof(request))))
        result = -EFAULT;
    kvfree(sites);
    return result;
}

static long locked_ioctl(struct untrap_vcpu* vcpu, unsigned int ioctl, unsigned long argument) {
    switch (ioctl) {
    case KVM_RUN: return argument == 0 ? run(vcpu) : -EINVAL;
    case UNTRAP_GET_EXIT_SITES: return get_exit_sites(vcpu, (void __user*)argument);
    case UNTRAP_GET_HOT_SITES: return untrap_vcpu_get_hot_sites(vcpu, (void __user*)argument);
    case KVM_SET_SIGNAL_MASK: return set_signal_mask(vcpu, (const void __user*)argument);
    default: return untrap_vcpu_register_ioctl(vcpu, ioctl, (void __user*)argument);
    }
}

static long vcpu_ioctl(struct file* file, unsigned int ioctl, unsigned long argument) {
    struct untrap_vcpu* vcpu = file->private_data;
    long result;

    if (vcpu->vm->mm != current->mm) return -EIO;
    switch (ioctl) {
    case KVM_INTERRUPT: return interrupt(vcpu, (const void __user*)argument);
    case KVM_GET_STATS_FD: return untrap_vcpu_stats_fd(vcpu);
    case UNTRAP_GET_STATS: return get_stats(vcpu, (void __user*)argument);
    default: break;
    }
    if (mutex_lock_killable(&vcpu->mutex)) return -EINTR;
    result = locked_ioctl(vcpu, ioctl, argument);
    mutex_unlock(&vcpu->mutex);
    return result;
}

// ---- the descriptor ------------------------------------------------------------------------------------------------

static vm_fault_t run_page_fault(struct vm_fault* fault) {
    struct untrap_vcpu* vcpu = fault->vma->vm_file->private_data;

    if (fault->pgoff >= UNTRAP_VCPU_PAGES) return VM_FAULT_SIGBUS;
    fault->page = virt_to_page((u8*)vcpu->run + (fault->pgoff << PAGE_SHIFT));
    get_page(fault->page);
    return 0;
}

static const struct vm_operations_struct run_page_vm_ops = {
    .fault = run_page_fault,
};

static int vcpu_mmap(struct file* file, struct vm_area_struct* vma) {
    vma->vm_ops = &run_page_vm_ops;
    return 0;
}

static int vcpu_release(struct inode* inode, struct file* file) {
    struct untrap_vcpu* vcpu = file->private_data;

    untrap_vm_put(vcpu->vm);
    return 0;
}

static const struct file_operations vcpu_fops = {
    .owner = THIS_MODULE,
    .release = vcpu_release,
    .unlocked_ioctl = vcpu_ioctl,
    .mmap = vcpu_mmap,
    .llseek = noop_llseek,
};

// ---- life: from KVM_CREATE_VCPU to the end of the VM ---------------------------------------------------------------

static void free_vcpu(struct untrap_vcpu* vcpu) {
    if (vcpu->core) untrap_core_vcpu_destroy(vcpu->core);
    if (vcpu->core_memory) free_pages_exact(vcpu->core_memory, untrap_core_vcpu_bytes());
    if (vcpu->run) free_pages_exact(vcpu->run, UNTRAP_VCPU_PAGES * PAGE_SIZE);
    kfree(vcpu);
}

// What waits in the ring of coalesced MMIO waits for a thousandth of a second at most.
#define DRAINS_PER_SECOND 1000

static struct untrap_vcpu* create(struct untrap_vm* vm) {
    struct untrap_vcpu* vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);

    BUILD_BUG_ON(sizeof(*vcpu->run) > PAGE_SIZE);
    if (!vcpu) return NULL;
    vcpu->vm = vm;
    mutex_init(&vcpu->mutex);
    mutex_init(&vcpu->timing_lock);
    init_waitqueue_head(&vcpu->wait);
    untrap_host_timer_init(vcpu);
    // Whole pages of the linear mapping.
    vcpu->run = alloc_pages_exact(UNTRAP_VCPU_PAGES * PAGE_SIZE, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
    vcpu->core_memory = alloc_pages_exact(untrap_core_vcpu_bytes(), GFP_KERNEL_ACCOUNT | __GFP_ZERO);
    if (vcpu->run && vcpu->core_memory) vcpu->core = untrap_core_vcpu_create(vcpu->core_memory, vm->core, vcpu);
    if (!vcpu->core) {
        free_vcpu(vcpu);
        return NULL;
    }
    untrap_core_device_pages(vcpu->core, (u8*)vcpu->run + UNTRAP_RING_PAGE * PAGE_SIZE,
                             (u8*)vcpu->run + UNTRAP_REGISTERS_PAGE * PAGE_SIZE, tb_ticks_per_sec / DRAINS_PER_SECOND);
    return vcpu;
}

void untrap_vcpu_destroy(struct untrap_vcpu* vcpu) {
    untrap_host_timer_stop(vcpu);
    free_vcpu(vcpu);
}

static void publish(struct untrap_vm* vm, struct untrap_vcpu* vcpu) {
    unsigned long flags;
    bool pulse;

    spin_lock_irqsave(&vm->interrupt_lock, flags);
    smp_store_release(&vm->vcpu, vcpu);
    pulse = vm->early_pulse;
    spin_unlock_irqrestore(&vm->interrupt_lock, flags);
    if (pulse) untrap_core_interrupt(vcpu->core, KVM_INTERRUPT_SET);
}

static int create_fd(struct untrap_vm* vm) {
    struct untrap_vcpu* vcpu;
    struct file* file;
    int fd;

    if (vm->vcpu) return -EEXIST;
    fd = get_unused_fd_flags(O_CLOEXEC);
    if (fd < 0) return fd;
    vcpu = create(vm);
    if (!vcpu) {
        put_unused_fd(fd);
        return -ENOMEM;
    }
    file = anon_inode_getfile("kvm-vcpu:0", &vcpu_fops, vcpu, O_RDWR);
    if (IS_ERR(file)) {
        put_unused_fd(fd);
        free_vcpu(vcpu);
        return PTR_ERR(file);
    }
    untrap_vm_get(vm);
    publish(vm, vcpu);
    untrap_debugfs_add_vcpu(vcpu);
    fd_install(fd, file);
    return fd;
}

int untrap_vcpu_create_fd(struct untrap_vm* vm, unsigned long id) {
    int result;

    if (id != 0) return -EINVAL;
    result = mutex_lock_killable(&vm->lock);
    if (result) return result;
    result = create_fd(vm);
    mutex_unlock(&vm->lock);
    return result;
}
