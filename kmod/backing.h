// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// The host pages behind a memory slot: either pinned pages of the process, or pages of a guest-memory file.

#include <linux/types.h>

struct file;
struct page;
struct untrap_vm;

struct untrap_backing {
    unsigned long page_count;
    struct page** host_pages; // the file's array, or `pinned`
    u8** addresses;           // kernel virtual, one per page

    struct file* file; // NULL: pinned memory
    struct page** pinned;
    unsigned long pinned_count;
    bool writable; // pinned for writing
    bool accounted;
    void* mapping; // vmap of the pages outside the linear mapping
};

// `address` is aligned and of the current process. Error pointers: -EFAULT no such memory, -ENOMEM no memory or over
// RLIMIT_MEMLOCK, -EINTR the thread is being killed.
struct untrap_backing* untrap_backing_create(struct untrap_vm* vm, unsigned long address, unsigned long page_count,
                                             bool read_only);
void untrap_backing_free(struct untrap_vm* vm, struct untrap_backing* backing);
