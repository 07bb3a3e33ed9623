// SPDX-License-Identifier: GPL-2.0-only
#include "kmod/backing.h"

#include <linux/err.h>
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kmod/vm.h"

// Pages of one request to pin: between two of them the thread can be killed, and others run.
#define PIN_BATCH 512ul

static int pin_pages(struct untrap_backing* backing, unsigned long address, unsigned int flags) {
    while (backing->pinned_count < backing->page_count) {
        const unsigned long left = backing->page_count - backing->pinned_count;
        const unsigned long at = address + (backing->pinned_count << PAGE_SHIFT);
        int count;

        if (fatal_signal_pending(current)) return -EINTR;
        count = pin_user_pages_fast(at, min(left, PIN_BATCH), flags | FOLL_LONGTERM,
                                    backing->pinned + backing->pinned_count);
        if (count < 0) return count;
        if (count == 0) return -EFAULT;
        backing->pinned_count += count;
        cond_resched();
    }
    return 0;
}

static void unpin_pages(struct untrap_backing* backing) {
    while (backing->pinned_count != 0) {
        const unsigned long count = min(backing->pinned_count, PIN_BATCH);

        backing->pinned_count -= count;
        unpin_user_pages_dirty_lock(backing->pinned + backing->pinned_count, count, backing->writable);
        cond_resched();
    }
}

static int pin(struct untrap_vm* vm, struct untrap_backing* backing, unsigned long address, bool read_only) {
    int result;

    if (backing->page_count > totalram_pages()) return -ENOMEM;
    result = account_locked_vm(vm->mm, backing->page_count, true);
    if (result) return result;
    backing->accounted = true;
    backing->pinned = kvcalloc(backing->page_count, sizeof(*backing->pinned), GFP_KERNEL_ACCOUNT);
    if (!backing->pinned) return -ENOMEM;
    backing->host_pages = backing->pinned;

    // Read-only slots too, where the process can write: what it writes later shall be in the page that the guest sees,
    // not in a private copy made by the first write.
    backing->writable = true;
    result = pin_pages(backing, address, FOLL_WRITE);
    if (result != -EFAULT || !read_only) return result;
    unpin_pages(backing);
    backing->writable = false;
    return pin_pages(backing, address, 0);
}

// Where the kernel has each page: in the linear mapping, or else mapped here.
static int find_addresses(struct untrap_backing* backing) {
    unsigned long i;
    unsigned long high_count = 0;
    struct page** high;

    backing->addresses = kvcalloc(backing->page_count, sizeof(*backing->addresses), GFP_KERNEL_ACCOUNT);
    if (!backing->addresses) return -ENOMEM;
    for (i = 0; i != backing->page_count; ++i) {
        if (PageHighMem(backing->host_pages[i]))
            ++high_count;
        else
            backing->addresses[i] = page_address(backing->host_pages[i]);
    }
    if (high_count == 0) return 0;

    high = kvcalloc(high_count, sizeof(*high), GFP_KERNEL_ACCOUNT);
    if (!high) return -ENOMEM;
    high_count = 0;
    for (i = 0; i != backing->page_count; ++i)
        if (!backing->addresses[i]) high[high_count++] = backing->host_pages[i];
    backing->mapping = vmap(high, high_count, VM_MAP, PAGE_KERNEL);
    kvfree(high);
    if (!backing->mapping) return -ENOMEM;
    high_count = 0;
    for (i = 0; i != backing->page_count; ++i)
        if (!backing->addresses[i]) backing->addresses[i] = (u8*)backing->mapping + (high_count++ << PAGE_SHIFT);
    return 0;
}

struct untrap_backing* untrap_backing_create(struct untrap_vm* vm, unsigned long address, unsigned long page_count,
                                             bool read_only) {
    struct untrap_backing* backing = kzalloc(sizeof(*backing), GFP_KERNEL_ACCOUNT);
    int result = 0;

    if (!backing) return ERR_PTR(-ENOMEM);
    backing->page_count = page_count;
    backing->file = untrap_guest_memory_find(address, page_count << PAGE_SHIFT, read_only, &backing->host_pages);
    if (!backing->file) result = pin(vm, backing, address, read_only);
    if (!result) result = find_addresses(backing);
    if (!result) return backing;
    untrap_backing_free(vm, backing);
    return ERR_PTR(result);
}

void untrap_backing_free(struct untrap_vm* vm, struct untrap_backing* backing) {
    if (!backing) return;
    if (backing->mapping) vunmap(backing->mapping);
    unpin_pages(backing);
    kvfree(backing->pinned);
    kvfree(backing->addresses);
    if (backing->accounted) account_locked_vm(vm->mm, backing->page_count, false);
    if (backing->file) fput(backing->file);
    kfree(backing);
}
