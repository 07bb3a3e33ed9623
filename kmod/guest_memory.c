// SPDX-License-Identifier: GPL-2.0-only
// Guest-memory files: zeroed kernel memory in blocks as large as the host has them, so that one TLB entry of the guest
// can map much of it. The largest blocks come first in the file, aligned to their size, so a slot whose guest address
// is a multiple of 16 MB gets shadow entries as large as the host's memory allows, wherever the process maps it.

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "kmod/compat.h"
#include "kmod/vm.h"

struct untrap_guest_memory {
    struct mm_struct* mm; // accounted to
    unsigned long page_count;
    unsigned long allocated; // pages that there are: fewer only while it is being made
    struct page** pages;
};

static void free_memory(struct untrap_guest_memory* memory) {
    unsigned long i;

    for (i = 0; i != memory->allocated; ++i) {
        // Pages can outlive the file where something else holds them.
        put_page(memory->pages[i]);
        if (i % 1024 == 1023) cond_resched();
    }
    account_locked_vm(memory->mm, memory->page_count, false);
    mmdrop(memory->mm);
    kvfree(memory->pages);
    kfree(memory);
}

// ---- allocation ----------------------------------------------------------------------------------------------------

static struct page* allocate_block(unsigned int order) {
    const gfp_t flags = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN;

    // Large blocks are worth a look, not an effort; for single pages the host gives up its caches, but kills nothing.
    return alloc_pages(flags | (order != 0 ? __GFP_NORETRY : __GFP_RETRY_MAYFAIL), order);
}

// Fills memory->pages with blocks, each of rising frames; the private word of a block's first page holds its order.
static int allocate(struct untrap_guest_memory* memory, unsigned long* block_count) {
    unsigned int order = UNTRAP_LARGEST_ORDER;

    *block_count = 0;
    while (memory->allocated != memory->page_count) {
        struct page* block;
        unsigned int i;

        if (fatal_signal_pending(current)) return -EINTR;
        while (1ul << order > memory->page_count - memory->allocated) --order;
        block = allocate_block(order);
        if (!block) {
            if (order-- == 0) return -ENOMEM;
            continue;
        }
        split_page(block, order);
        set_page_private(block, order);
        for (i = 0; i != 1u << order; ++i) memory->pages[memory->allocated++] = block + i;
        ++*block_count;
        cond_resched();
    }
    return 0;
}

static int compare_frames(const void* left, const void* right) {
    const unsigned long a = page_to_pfn(*(struct page* const*)left);
    const unsigned long b = page_to_pfn(*(struct page* const*)right);

    return a < b ? -1 : a > b;
}

// All pages in the order of their frames. Sorts blocks, of which there are few, not pages.
static void sort_pages(struct untrap_guest_memory* memory, unsigned long block_count, struct page** blocks,
                       struct page** sorted) {
    unsigned long i, j, at;

    for (i = 0, at = 0; i != block_count; ++i) {
        blocks[i] = memory->pages[at];
        at += 1ul << page_private(blocks[i]);
    }
    sort(blocks, block_count, sizeof(*blocks), compare_frames, NULL);
    for (i = 0, at = 0; i != block_count; ++i) {
        const unsigned long pages = 1ul << page_private(blocks[i]);

        set_page_private(blocks[i], 0);
        for (j = 0; j != pages; ++j) sorted[at++] = blocks[i] + j;
    }
}

// Whether an aligned block of host memory of so many pages begins at `sorted`, of which `left` pages are left.
static bool is_block(struct page** sorted, unsigned long left, unsigned long pages) {
    const unsigned long frame = page_to_pfn(sorted[0]);

    return left >= pages && (frame & (pages - 1)) == 0 && page_to_pfn(sorted[pages - 1]) == frame + pages - 1;
}

// Puts the pages in their final order: aligned blocks of falling size, so that each begins at a multiple of its size.
// Neighbours that the allocator gave one by one become one block here.
static int arrange(struct untrap_guest_memory* memory, unsigned long block_count) {
    static const u8 orders[] = {12, 8, 6, 4, 2, 0}; // page sizes of the 440, 16 MB to 4 KB
    struct page** blocks = kvcalloc(block_count, sizeof(*blocks), GFP_KERNEL_ACCOUNT);
    struct page** sorted = kvcalloc(memory->page_count, sizeof(*sorted), GFP_KERNEL_ACCOUNT);
    unsigned long left = memory->page_count;
    unsigned long placed = 0;
    unsigned int n;

    if (!blocks || !sorted) {
        kvfree(blocks);
        kvfree(sorted);
        return -ENOMEM;
    }
    sort_pages(memory, block_count, blocks, sorted);
    for (n = 0; n != ARRAY_SIZE(orders); ++n) {
        const unsigned long pages = 1ul << orders[n];
        unsigned long kept = 0, i = 0;

        while (i != left) {
            if (is_block(sorted + i, left - i, pages)) {
                memcpy(memory->pages + placed, sorted + i, pages * sizeof(*sorted));
                placed += pages;
                i += pages;
            } else {
                sorted[kept++] = sorted[i++];
            }
        }
        left = kept;
        cond_resched();
    }
    kvfree(blocks);
    kvfree(sorted);
    return 0;
}

// ---- the file ------------------------------------------------------------------------------------------------------

static vm_fault_t memory_fault(struct vm_fault* fault) {
    const struct untrap_guest_memory* memory = fault->vma->vm_file->private_data;

    if (fault->pgoff >= memory->page_count) return VM_FAULT_SIGBUS;
    fault->page = memory->pages[fault->pgoff];
    get_page(fault->page);
    return 0;
}

static const struct vm_operations_struct memory_vm_ops = {
    .fault = memory_fault,
};

static int memory_mmap(struct file* file, struct vm_area_struct* vma) {
    vma->vm_ops = &memory_vm_ops;
    untrap_vm_flags_set(vma, VM_DONTDUMP);
    return 0;
}

static int memory_release(struct inode* inode, struct file* file) {
    free_memory(file->private_data);
    return 0;
}

static const struct file_operations memory_fops = {
    .owner = THIS_MODULE,
    .mmap = memory_mmap,
    .release = memory_release,
    .llseek = noop_llseek,
};

static struct untrap_guest_memory* create(unsigned long page_count, int* result) {
    struct untrap_guest_memory* memory = kzalloc(sizeof(*memory), GFP_KERNEL_ACCOUNT);
    unsigned long block_count;

    *result = -ENOMEM;
    if (!memory) return NULL;
    *result = account_locked_vm(current->mm, page_count, true);
    if (*result) {
        kfree(memory);
        return NULL;
    }
    mmgrab(current->mm);
    memory->mm = current->mm;
    memory->page_count = page_count;
    memory->pages = kvcalloc(page_count, sizeof(*memory->pages), GFP_KERNEL_ACCOUNT);
    *result = memory->pages ? allocate(memory, &block_count) : -ENOMEM;
    if (!*result) *result = arrange(memory, block_count);
    if (!*result) return memory;
    free_memory(memory);
    return NULL;
}

bool untrap_host_can_spare(u64 page_count) {
    const long available = si_mem_available();

    return available >= 0 && page_count + totalram_pages() / 32 <= (unsigned long)available;
}

int untrap_guest_memory_create(const struct kvm_create_guest_memfd* request) {
    struct untrap_guest_memory* memory;
    int result;

    if (request->flags || request->size == 0 || request->size & ~PAGE_MASK) return -EINVAL;
    if (!untrap_host_can_spare(request->size >> PAGE_SHIFT)) return -ENOMEM;
    memory = create(request->size >> PAGE_SHIFT, &result);
    if (!memory) return result;
    result = anon_inode_getfd("kvm-guest-memory", &memory_fops, memory, O_RDWR | O_CLOEXEC);
    if (result < 0) free_memory(memory);
    return result;
}

struct file* untrap_guest_memory_find(unsigned long address, unsigned long bytes, bool read_only,
                                      struct page*** pages) {
    const unsigned long flags = read_only ? VM_SHARED : VM_SHARED | VM_WRITE;
    struct mm_struct* mm = current->mm;
    struct vm_area_struct* vma;
    struct file* file = NULL;

    mmap_read_lock(mm);
    vma = find_vma(mm, address);
    if (vma && vma->vm_ops == &memory_vm_ops && (vma->vm_flags & flags) == flags && vma->vm_start <= address &&
        bytes <= vma->vm_end - address) {
        const struct untrap_guest_memory* memory = vma->vm_file->private_data;
        const unsigned long first = vma->vm_pgoff + ((address - vma->vm_start) >> PAGE_SHIFT);

        if (first < memory->page_count && bytes >> PAGE_SHIFT <= memory->page_count - first) {
            *pages = memory->pages + first;
            file = get_file(vma->vm_file);
        }
    }
    mmap_read_unlock(mm);
    return file;
}
