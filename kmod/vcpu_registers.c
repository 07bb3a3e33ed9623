// SPDX-License-Identifier: GPL-2.0-only
// The ioctls of the vCPU that read or write its state.

#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod/vm.h"

// Each is called with a kernel copy of the ioctl's structure and, but for those that copy more themselves, under the
// core's lock.
static int get_regs(struct untrap_vcpu* vcpu, void* data) {
    untrap_core_get_regs(vcpu->core, data);
    return 0;
}

static int set_regs(struct untrap_vcpu* vcpu, void* data) {
    untrap_core_set_regs(vcpu->core, data);
    return 0;
}

static int get_sregs(struct untrap_vcpu* vcpu, void* data) {
    untrap_core_get_sregs(vcpu->core, data);
    return 0;
}

static int set_sregs(struct untrap_vcpu* vcpu, void* data) { return untrap_core_set_sregs(vcpu->core, data); }

static int get_fpu(struct untrap_vcpu* vcpu, void* data) {
    untrap_core_get_fpu(vcpu->core, data);
    return 0;
}

static int set_fpu(struct untrap_vcpu* vcpu, void* data) {
    untrap_core_set_fpu(vcpu->core, data);
    return 0;
}

static int translate(struct untrap_vcpu* vcpu, void* data) {
    untrap_core_translate(vcpu->core, data);
    return 0;
}

static int get_mp_state(struct untrap_vcpu* vcpu, void* data) {
    struct kvm_mp_state* state = data;

    state->mp_state = untrap_core_get_mp_state(vcpu->core);
    return 0;
}

static int set_mp_state(struct untrap_vcpu* vcpu, void* data) {
    const struct kvm_mp_state* state = data;

    return untrap_core_set_mp_state(vcpu->core, state->mp_state);
}

static int set_guest_debug(struct untrap_vcpu* vcpu, void* data) {
    return untrap_core_set_guest_debug(vcpu->core, data);
}

// No capability is the vCPU's own.
static int enable_cap(struct untrap_vcpu* vcpu, void* data) { return -EINVAL; }

static const struct {
    unsigned int ioctl;
    int (*call)(struct untrap_vcpu* vcpu, void* data);
} calls[] = {
    {KVM_GET_REGS, get_regs},         {KVM_SET_REGS, set_regs},
    {KVM_GET_SREGS, get_sregs},       {KVM_SET_SREGS, set_sregs},
    {KVM_GET_FPU, get_fpu},           {KVM_SET_FPU, set_fpu},
    {KVM_TRANSLATE, translate},       {KVM_GET_MP_STATE, get_mp_state},
    {KVM_SET_MP_STATE, set_mp_state}, {KVM_SET_GUEST_DEBUG, set_guest_debug},
    {KVM_ENABLE_CAP, enable_cap},
};

static int structure_ioctl(struct untrap_vcpu* vcpu, unsigned int ioctl, void __user* argument,
                           int (*call)(struct untrap_vcpu* vcpu, void* data)) {
    const size_t bytes = _IOC_SIZE(ioctl);
    void* data = kzalloc(bytes, GFP_KERNEL_ACCOUNT);
    int result = -EFAULT;

    if (!data) return -ENOMEM;
    if (_IOC_DIR(ioctl) & _IOC_WRITE && copy_from_user(data, argument, bytes)) goto free;
    result = mutex_lock_killable(&vcpu->vm->core_lock);
    if (result) goto free;
    result = call(vcpu, data);
    mutex_unlock(&vcpu->vm->core_lock);
    if (!result && _IOC_DIR(ioctl) & _IOC_READ && copy_to_user(argument, data, bytes)) result = -EFAULT;
free:
    kfree(data);
    return result;
}

// ---- single registers ----------------------------------------------------------------------------------------------

static int get_one_reg(struct untrap_vcpu* vcpu, u64 id, u64* value) {
    int result = mutex_lock_killable(&vcpu->vm->core_lock);

    if (result) return result;
    result = untrap_core_get_one_reg(vcpu->core, id, value);
    mutex_unlock(&vcpu->vm->core_lock);
    return result;
}

static int set_one_reg(struct untrap_vcpu* vcpu, u64 id, u64 value) {
    int result = mutex_lock_killable(&vcpu->vm->core_lock);

    if (result) return result;
    result = untrap_core_set_one_reg(vcpu->core, id, value);
    mutex_unlock(&vcpu->vm->core_lock);
    return result;
}

static int one_reg_ioctl(struct untrap_vcpu* vcpu, unsigned int ioctl, const void __user* argument) {
    struct kvm_one_reg request;
    void __user* at;
    u64 value = 0;
    u32 word;
    size_t bytes;
    int result;

    if (copy_from_user(&request, argument, sizeof(request))) return -EFAULT;
    bytes = (size_t)1 << ((request.id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
    if (bytes != sizeof(word) && bytes != sizeof(value)) return -EINVAL;
    if (request.addr != (unsigned long)request.addr) return -EFAULT;
    at = (void __user*)(unsigned long)request.addr;

    if (ioctl == KVM_GET_ONE_REG) {
        result = get_one_reg(vcpu, request.id, &value);
        if (result) return result;
        word = (u32)value;
        if (bytes == sizeof(word)) return copy_to_user(at, &word, bytes) ? -EFAULT : 0;
        return copy_to_user(at, &value, bytes) ? -EFAULT : 0;
    }
    if (bytes == sizeof(word)) {
        if (copy_from_user(&word, at, bytes)) return -EFAULT;
        value = word;
    } else if (copy_from_user(&value, at, bytes)) {
        return -EFAULT;
    }
    return set_one_reg(vcpu, request.id, value);
}

static int reg_list_ioctl(struct kvm_reg_list __user* argument) {
    struct kvm_reg_list list;
    const u32 count = untrap_core_reg_count();
    u64 room;
    u32 i;

    if (copy_from_user(&list, argument, sizeof(list))) return -EFAULT;
    room = list.n;
    list.n = count;
    if (copy_to_user(argument, &list, sizeof(list))) return -EFAULT;
    if (room < count) return -E2BIG;
    for (i = 0; i != count; ++i)
        if (put_user(untrap_core_reg_id(i), &argument->reg[i])) return -EFAULT;
    return 0;
}

int untrap_vcpu_register_ioctl(struct untrap_vcpu* vcpu, unsigned int ioctl, void __user* argument) {
    unsigned int i;

    switch (ioctl) {
    case KVM_GET_ONE_REG:
    case KVM_SET_ONE_REG: return one_reg_ioctl(vcpu, ioctl, argument);
    case KVM_GET_REG_LIST: return reg_list_ioctl(argument);
    default: break;
    }
    for (i = 0; i != ARRAY_SIZE(calls); ++i)
        if (calls[i].ioctl == ioctl) return structure_ioctl(vcpu, ioctl, argument, calls[i].call);
    return -ENOTTY;
}
