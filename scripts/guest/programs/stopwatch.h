// SPDX-License-Identifier: GPL-2.0-only
// Shared by the guest benchmarks: times a loop by the guest's clock and prints the lines the drivers read.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <termios.h>
#include <time.h>

static inline uint64_t nanoseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Says that the loop begins, waits until the line is out, and gives the time. Between this line and bench_report's
// there is nothing but the operations, so that who counts something outside can count for them alone.
static inline uint64_t bench_start(const char* name) {
    printf("bench: %s starts\n", name);
    fflush(stdout);
    tcdrain(1);
    return nanoseconds_now();
}

static inline void bench_report(const char* name, uint32_t operations, uint64_t started) {
    printf("bench: %s operations %u nanoseconds %llu\n", name, (unsigned)operations,
           (unsigned long long)(nanoseconds_now() - started));
    fflush(stdout);
}
