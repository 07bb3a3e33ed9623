// SPDX-License-Identifier: GPL-2.0-only
// A VM: its descriptor, its ioctls, and who may call into the core.

#include <linux/anon_inodes.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod/vm.h"

static DEFINE_MUTEX(list_lock);
static LIST_HEAD(all_vms);
static u32 last_serial;

void untrap_vm_for_each(void (*call)(struct untrap_vm* vm, void* data), void* data) {
    struct untrap_vm* vm;

    mutex_lock(&list_lock);
    list_for_each_entry(vm, &all_vms, link) { call(vm, data); }
    mutex_unlock(&list_lock);
}

// ---- the core's lock -----------------------------------------------------------------------------------------------

int untrap_vm_lock_core(struct untrap_vm* vm) {
    struct untrap_vcpu* vcpu;
    int result;

    atomic_inc(&vm->core_wanted);
    vcpu = smp_load_acquire(&vm->vcpu);
    if (vcpu) untrap_vcpu_kick(vcpu);
    result = mutex_lock_killable(&vm->core_lock);
    if (atomic_dec_and_test(&vm->core_wanted)) wake_up_all(&vm->core_given);
    return result;
}

void untrap_vm_unlock_core(struct untrap_vm* vm) { mutex_unlock(&vm->core_lock); }

void untrap_vm_yield_core(struct untrap_vm* vm) {
    mutex_unlock(&vm->core_lock);
    // Without this wait the mutex could be taken back before the others even run. Threads that never stop asking
    // must not keep a killed one from its end.
    if (wait_event_killable(vm->core_given, !untrap_vm_core_is_wanted(vm))) cond_resched();
    // It is held for a short time, and never while user memory is touched, so this sleep needs no way out.
    mutex_lock(&vm->core_lock);
}

// ---- interrupts from irqfds ----------------------------------------------------------------------------------------

void untrap_vm_pulse(struct untrap_vm* vm) {
    struct untrap_vcpu* vcpu;
    unsigned long flags;

    spin_lock_irqsave(&vm->interrupt_lock, flags);
    vcpu = vm->vcpu;
    if (!vcpu) vm->early_pulse = true;
    spin_unlock_irqrestore(&vm->interrupt_lock, flags);
    if (!vcpu) return;
    untrap_core_interrupt(vcpu->core, KVM_INTERRUPT_SET);
    untrap_vcpu_kick(vcpu);
}

// ---- life ----------------------------------------------------------------------------------------------------------

static struct untrap_vm* create(void) {
    struct untrap_vm* vm;

    if (!untrap_host_can_spare(untrap_core_vm_bytes() >> PAGE_SHIFT)) return NULL;
    vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
    if (!vm) return NULL;
    vm->core_memory = kvzalloc(untrap_core_vm_bytes(), GFP_KERNEL_ACCOUNT);
    vm->slots = kcalloc(untrap_core_slot_count(), sizeof(*vm->slots), GFP_KERNEL_ACCOUNT);
    if (!vm->core_memory || !vm->slots) goto fail;
    vm->core = untrap_core_vm_create(vm->core_memory);
    if (!vm->core) goto fail;
    WARN_ON_ONCE(untrap_patch_limits_apply(vm->core)); // loading has checked them

    refcount_set(&vm->users, 1);
    mmgrab(current->mm);
    vm->mm = current->mm;
    vm->pid = task_pid_nr(current);
    mutex_init(&vm->lock);
    mutex_init(&vm->core_lock);
    init_waitqueue_head(&vm->core_given);
    spin_lock_init(&vm->interrupt_lock);
    mutex_init(&vm->irqfd_lock);
    INIT_LIST_HEAD(&vm->irqfds);
    spin_lock_init(&vm->ioeventfd_lock);
    INIT_LIST_HEAD(&vm->ioeventfds);

    mutex_lock(&list_lock);
    vm->serial = ++last_serial;
    list_add_tail(&vm->link, &all_vms);
    mutex_unlock(&list_lock);
    return vm;

fail:
    kfree(vm->slots);
    kvfree(vm->core_memory);
    kfree(vm);
    return NULL;
}

// The last descriptor is gone: no thread is in the VM, and the irqfds went with the VM's own descriptor.
static void destroy(struct untrap_vm* vm) {
    // First, so that no other VM takes the name while it is there.
    if (vm->vcpu) untrap_debugfs_remove_vcpu(vm->vcpu);
    mutex_lock(&list_lock);
    list_del(&vm->link);
    mutex_unlock(&list_lock);
    if (vm->vcpu) untrap_vcpu_destroy(vm->vcpu);
    untrap_core_vm_destroy(vm->core);
    untrap_vm_free_slots(vm);
    untrap_ioeventfd_release(vm);
    mmdrop(vm->mm);
    kfree(vm->slots);
    kvfree(vm->core_memory);
    kvfree(vm->exit_sites);
    kvfree(vm->known_sites);
    kfree(vm);
}

void untrap_vm_put(struct untrap_vm* vm) {
    if (refcount_dec_and_test(&vm->users)) destroy(vm);
}

// ---- ioctls --------------------------------------------------------------------------------------------------------

static int keep_exit_sites(struct untrap_vm* vm, u64 sites) {
    const int bytes = untrap_core_exit_sites_bytes(sites);
    void* memory = NULL;
    int result;

    if (bytes < 0) return bytes;
    if (bytes > 0) {
        if (!untrap_host_can_spare((u64)bytes >> PAGE_SHIFT)) return -ENOMEM;
        memory = kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
        if (!memory) return -ENOMEM;
    }
    result = untrap_vm_lock_core(vm);
    if (!result) {
        result = untrap_core_keep_exit_sites(vm->core, memory, sites);
        if (!result) swap(vm->exit_sites, memory);
        untrap_vm_unlock_core(vm);
    }
    kvfree(memory);
    return result;
}

static int enable_cap(struct untrap_vm* vm, const struct kvm_enable_cap* request) {
    u64 args[ARRAY_SIZE(request->args)];
    int result;

    if (request->flags) return -EINVAL;
    if (request->cap == UNTRAP_CAP_EXIT_SITES) return keep_exit_sites(vm, request->args[0]);
    memcpy(args, request->args, sizeof(args));
    result = untrap_vm_lock_core(vm);
    if (result) return result;
    result = untrap_core_enable_cap(vm->core, request->cap, args);
    untrap_vm_unlock_core(vm);
    return result;
}

static int memory_written(struct untrap_vm* vm, const struct untrap_memory_range* range) {
    int result = untrap_core_memory_written(vm->core, range->gpa, range->len);
    struct untrap_vcpu* vcpu = smp_load_acquire(&vm->vcpu);

    if (!result && vcpu) untrap_vcpu_kick(vcpu);
    return result;
}

static int coalesced_zone(struct untrap_vm* vm, const struct kvm_coalesced_mmio_zone* zone, int add) {
    int result = untrap_vm_lock_core(vm);

    if (result) return result;
    result = untrap_core_coalesced_zone(vm->core, zone, add);
    untrap_vm_unlock_core(vm);
    return result;
}

static long copying_ioctl(struct untrap_vm* vm, unsigned int ioctl, const void __user* argument) {
    union {
        struct kvm_userspace_memory_region region;
        struct kvm_dirty_log log;
        struct kvm_enable_cap cap;
        struct kvm_coalesced_mmio_zone zone;
        struct kvm_irqfd irqfd;
        struct kvm_ioeventfd ioeventfd;
        struct kvm_create_guest_memfd memory;
        struct untrap_memory_range range;
        struct untrap_hot_sites sites;
    } data;

    if (_IOC_SIZE(ioctl) > sizeof(data) || copy_from_user(&data, argument, _IOC_SIZE(ioctl))) return -EFAULT;
    switch (ioctl) {
    case KVM_SET_USER_MEMORY_REGION: return untrap_vm_set_memory_region(vm, &data.region);
    case KVM_GET_DIRTY_LOG: return untrap_vm_get_dirty_log(vm, &data.log);
    case KVM_ENABLE_CAP: return enable_cap(vm, &data.cap);
    case KVM_REGISTER_COALESCED_MMIO:
    case KVM_UNREGISTER_COALESCED_MMIO: return coalesced_zone(vm, &data.zone, ioctl == KVM_REGISTER_COALESCED_MMIO);
    case KVM_IRQFD: return untrap_irqfd(vm, &data.irqfd);
    case KVM_IOEVENTFD: return untrap_ioeventfd(vm, &data.ioeventfd);
    case KVM_CREATE_GUEST_MEMFD: return untrap_guest_memory_create(&data.memory);
    case UNTRAP_MEMORY_WRITTEN: return memory_written(vm, &data.range);
    case UNTRAP_SET_KNOWN_SITES: return untrap_vm_set_known_sites(vm, &data.sites);
    default: return -ENOTTY;
    }
}

static long vm_ioctl(struct file* file, unsigned int ioctl, unsigned long argument) {
    struct untrap_vm* vm = file->private_data;

    // Guest memory belongs to one process, and so does the VM.
    if (vm->mm != current->mm) return -EIO;
    switch (ioctl) {
    case KVM_CREATE_VCPU: return untrap_vcpu_create_fd(vm, argument);
    case KVM_CHECK_EXTENSION: return untrap_check_extension(argument);
    case KVM_GET_STATS_FD: return untrap_vm_stats_fd(vm);
    case KVM_SET_USER_MEMORY_REGION:
    case KVM_GET_DIRTY_LOG:
    case KVM_ENABLE_CAP:
    case KVM_REGISTER_COALESCED_MMIO:
    case KVM_UNREGISTER_COALESCED_MMIO:
    case KVM_IRQFD:
    case KVM_IOEVENTFD:
    case KVM_CREATE_GUEST_MEMFD:
    case UNTRAP_SET_KNOWN_SITES:
    case UNTRAP_MEMORY_WRITTEN: return copying_ioctl(vm, ioctl, (const void __user*)argument);
    default: return -ENOTTY;
    }
}

static int vm_release(struct inode* inode, struct file* file) {
    struct untrap_vm* vm = file->private_data;

    untrap_irqfd_release(vm);
    untrap_vm_put(vm);
    return 0;
}

static const struct file_operations vm_fops = {
    .owner = THIS_MODULE,
    .release = vm_release,
    .unlocked_ioctl = vm_ioctl,
    .llseek = noop_llseek,
};

int untrap_vm_create_fd(void) {
    struct untrap_vm* vm = create();
    int fd;

    if (!vm) return -ENOMEM;
    fd = anon_inode_getfd("kvm-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
    if (fd < 0) untrap_vm_put(vm);
    return fd;
}
