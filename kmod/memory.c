// SPDX-License-Identifier: GPL-2.0-only
// Memory slots.

#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod/backing.h"
#include "kmod/compat.h"
#include "kmod/vm.h"

struct untrap_slot {
    u64 base;
    u64 user; // address in the process
    unsigned long page_count;
    u32 flags;
    struct untrap_backing* backing;
    u32* frames;
    u32* dirty;       // NULL: not logged
    u32* dirty_taken; // the last log that userspace took, as large
};

// ---- frames --------------------------------------------------------------------------------------------------------

// log2 of what one TLB entry of a 440 can map, largest first, without the pages below 4 KB.
static const u8 block_sizes[] = {28, 24, 20, 18, 16, 14, 12};

// From page `first` on, `count` pages lie in order in host memory: each gets the largest aligned block around it.
static void fill_run(struct untrap_slot* slot, unsigned long first, unsigned long count) {
    const u64 guest = (slot->base >> PAGE_SHIFT) + first;
    const u64 host = page_to_pfn(slot->backing->host_pages[first]);
    const u64 difference = guest ^ host;
    unsigned long done = 0;

    while (done != count) {
        unsigned int i = 0;
        unsigned int order = 0;

        for (; i != ARRAY_SIZE(block_sizes); ++i) {
            const u64 mask = (1ull << (block_sizes[i] - PAGE_SHIFT)) - 1;

            order = block_sizes[i];
            // Blocks nest, and those before this page are done, so the block starts at this page.
            if (!(difference & mask) && !((guest + done) & mask) && mask < count - done) break;
        }
        for (i = 0; i != 1u << (order - PAGE_SHIFT); ++i, ++done)
            slot->frames[first + done] = (u32)(host + done) << 8 | order;
    }
}

static int fill_frames(struct untrap_slot* slot) {
    struct page** pages = slot->backing->host_pages;
    unsigned long first = 0;

    slot->frames = kvcalloc(slot->page_count, sizeof(*slot->frames), GFP_KERNEL_ACCOUNT);
    if (!slot->frames) return -ENOMEM;
    while (first != slot->page_count) {
        const unsigned long frame = page_to_pfn(pages[first]);
        unsigned long count = 1;

        if (WARN_ON_ONCE(frame >> 24)) return -EFAULT; // above 64 GB: no such memory on a 440
        while (first + count != slot->page_count && page_to_pfn(pages[first + count]) == frame + count) ++count;
        fill_run(slot, first, count);
        first += count;
    }
    return 0;
}

// ---- dirty log -----------------------------------------------------------------------------------------------------

static size_t dirty_bytes(const struct untrap_slot* slot) {
    return DIV_ROUND_UP(slot->page_count, BITS_PER_TYPE(u32)) * sizeof(u32);
}

static int allocate_dirty(struct untrap_slot* slot) {
    slot->dirty = kvzalloc(dirty_bytes(slot), GFP_KERNEL_ACCOUNT);
    slot->dirty_taken = kvzalloc(dirty_bytes(slot), GFP_KERNEL_ACCOUNT);
    return slot->dirty && slot->dirty_taken ? 0 : -ENOMEM;
}

int untrap_vm_get_dirty_log(struct untrap_vm* vm, const struct kvm_dirty_log* log) {
    struct untrap_slot* slot;
    int result;

    if (log->slot >= untrap_core_slot_count()) return -EINVAL;
    result = mutex_lock_killable(&vm->lock);
    if (result) return result;
    slot = vm->slots[log->slot];
    result = -ENOENT;
    if (!slot || !slot->dirty) goto unlock;
    result = untrap_vm_lock_core(vm);
    if (result) goto unlock;
    memcpy(slot->dirty_taken, slot->dirty, dirty_bytes(slot));
    memset(slot->dirty, 0, dirty_bytes(slot));
    untrap_core_dirty_log_taken(vm->core, log->slot);
    untrap_vm_unlock_core(vm);
    if (copy_to_user(log->dirty_bitmap, slot->dirty_taken, dirty_bytes(slot))) result = -EFAULT;
unlock:
    mutex_unlock(&vm->lock);
    return result;
}

// ---- slots ---------------------------------------------------------------------------------------------------------

// Without what it took over from another slot: see change().
static void free_slot(struct untrap_vm* vm, struct untrap_slot* slot) {
    if (!slot) return;
    untrap_backing_free(vm, slot->backing);
    kvfree(slot->frames);
    kvfree(slot->dirty);
    kvfree(slot->dirty_taken);
    kfree(slot);
}

void untrap_vm_free_slots(struct untrap_vm* vm) {
    u32 i;

    for (i = 0; i != untrap_core_slot_count(); ++i) free_slot(vm, vm->slots[i]);
}

// Hands a slot to the core; NULL: the slot goes.
static int give_to_core(struct untrap_vm* vm, u32 number, const struct untrap_slot* slot) {
    struct untrap_core_slot core_slot = {};
    int result;

    if (slot) {
        core_slot.base = slot->base;
        core_slot.size = (u64)slot->page_count << PAGE_SHIFT;
        core_slot.pages = slot->backing->addresses;
        core_slot.frames = slot->frames;
        core_slot.dirty = slot->dirty;
        core_slot.read_only = (slot->flags & KVM_MEM_READONLY) != 0;
    }
    result = untrap_vm_lock_core(vm);
    if (result) return result;
    result = untrap_core_set_slot(vm->core, number, &core_slot);
    untrap_vm_unlock_core(vm);
    return result;
}

static void count_slot(struct untrap_vm* vm, const struct untrap_slot* slot, int sign) {
    vm->slot_count += sign;
    vm->slot_pages += (s64)sign * (s64)slot->page_count;
    if (!slot->backing->file) vm->pinned_pages += (s64)sign * (s64)slot->page_count;
}

static struct untrap_slot* new_slot(const struct kvm_userspace_memory_region* region) {
    struct untrap_slot* slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);

    if (!slot) return NULL;
    slot->base = region->guest_phys_addr;
    slot->user = region->userspace_addr;
    slot->page_count = region->memory_size >> PAGE_SHIFT;
    slot->flags = region->flags;
    return slot;
}

static int create(struct untrap_vm* vm, const struct kvm_userspace_memory_region* region) {
    struct untrap_slot* slot = new_slot(region);
    int result;

    if (!slot) return -ENOMEM;
    slot->backing = untrap_backing_create(vm, slot->user, slot->page_count, (slot->flags & KVM_MEM_READONLY) != 0);
    if (IS_ERR(slot->backing)) {
        result = PTR_ERR(slot->backing);
        slot->backing = NULL;
        goto fail;
    }
    result = fill_frames(slot);
    if (!result && slot->flags & KVM_MEM_LOG_DIRTY_PAGES) result = allocate_dirty(slot);
    if (!result) result = give_to_core(vm, region->slot, slot);
    if (result) goto fail;
    vm->slots[region->slot] = slot;
    count_slot(vm, slot, 1);
    return 0;

fail:
    free_slot(vm, slot);
    return result;
}

static int remove_slot(struct untrap_vm* vm, u32 number) {
    struct untrap_slot* slot = vm->slots[number];
    int result = give_to_core(vm, number, NULL);

    if (result) return result;
    vm->slots[number] = NULL;
    count_slot(vm, slot, -1);
    free_slot(vm, slot);
    return 0;
}

// Another place in guest memory, or other flags, for the same host memory.
static int change(struct untrap_vm* vm, const struct kvm_userspace_memory_region* region) {
    struct untrap_slot* old = vm->slots[region->slot];
    struct untrap_slot* slot = new_slot(region);
    struct untrap_slot* unused;
    bool keeps_frames, keeps_log;
    int result = 0;

    if (!slot) return -ENOMEM;
    slot->backing = old->backing;
    keeps_frames = old->base == slot->base;
    if (keeps_frames)
        slot->frames = old->frames;
    else
        result = fill_frames(slot);
    keeps_log = (old->flags & slot->flags & KVM_MEM_LOG_DIRTY_PAGES) != 0;
    if (keeps_log) {
        slot->dirty = old->dirty;
        slot->dirty_taken = old->dirty_taken;
    } else if (!result && slot->flags & KVM_MEM_LOG_DIRTY_PAGES) {
        result = allocate_dirty(slot);
    }
    if (!result) result = give_to_core(vm, region->slot, slot);
    if (!result) vm->slots[region->slot] = slot;

    // Of the two, one goes, without what both have.
    unused = result ? slot : old;
    unused->backing = NULL;
    if (keeps_frames) unused->frames = NULL;
    if (keeps_log) {
        unused->dirty = NULL;
        unused->dirty_taken = NULL;
    }
    free_slot(vm, unused);
    return result;
}

static bool overlaps(const struct untrap_vm* vm, const struct kvm_userspace_memory_region* region) {
    const u64 end = region->guest_phys_addr + region->memory_size;
    u32 i;

    for (i = 0; i != untrap_core_slot_count(); ++i) {
        const struct untrap_slot* slot = vm->slots[i];

        if (!slot || i == region->slot) continue;
        if (slot->base < end && region->guest_phys_addr < slot->base + ((u64)slot->page_count << PAGE_SHIFT))
            return true;
    }
    return false;
}

static int set_memory_region(struct untrap_vm* vm, const struct kvm_userspace_memory_region* region) {
    const struct untrap_slot* old = vm->slots[region->slot];

    if (region->memory_size == 0) return old ? remove_slot(vm, region->slot) : -EINVAL;
    if (old) {
        if (region->userspace_addr != old->user || region->memory_size >> PAGE_SHIFT != old->page_count ||
            (region->flags ^ old->flags) & KVM_MEM_READONLY)
            return -EINVAL;
        if (region->guest_phys_addr == old->base && region->flags == old->flags) return 0;
    }
    if (overlaps(vm, region)) return -EEXIST;
    return old ? change(vm, region) : create(vm, region);
}

// Real addresses of a 440 have 36 bits.
#define REAL_SPACE (1ull << 36)

int untrap_vm_set_memory_region(struct untrap_vm* vm, const struct kvm_userspace_memory_region* region) {
    const u64 bytes = region->memory_size;
    int result;

    if (region->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)) return -EINVAL;
    if (region->slot >= untrap_core_slot_count()) return -EINVAL;
    if ((bytes | region->guest_phys_addr | region->userspace_addr) & ~PAGE_MASK) return -EINVAL;
    if (bytes != (unsigned long)bytes || region->userspace_addr != (unsigned long)region->userspace_addr)
        return -EINVAL;
    if (!access_ok((void __user*)(unsigned long)region->userspace_addr, bytes)) return -EINVAL;
    if (region->guest_phys_addr >= REAL_SPACE || bytes > REAL_SPACE - region->guest_phys_addr) return -EINVAL;

    result = mutex_lock_killable(&vm->lock);
    if (result) return result;
    result = set_memory_region(vm, region);
    mutex_unlock(&vm->lock);
    return result;
}
