// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// What the host has in use: whether guests leave something behind.

struct host_state {
    long free_kb; // what could be had at once: free, cached, and kept by the allocator for the processor
    long slab_kb;
    long pins;   // pages pinned and not unpinned
    long pinned; // pages pinned so far
    long vmalloc_kb;
    long locked_kb; // of this process
};

// Waits until what closed descriptors leave to the kernel's workers is done, and drops caches.
void settle(void);
struct host_state host_state(void);
// Fails the test if more is in use than before by more than the noise.
void check_same_state(const struct host_state* before, long noise_kb);
