// SPDX-License-Identifier: GPL-2.0-only
// Shared by the guest benchmarks: times a loop by the guest's clock and prints the one line the drivers read.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <time.h>

static inline uint64_t nanoseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void bench_report(const char* name, uint32_t operations, uint64_t started) {
    printf("bench: %s operations %u nanoseconds %llu\n", name, (unsigned)operations,
           (unsigned long long)(nanoseconds_now() - started));
    fflush(stdout);
}
