// SPDX-License-Identifier: GPL-2.0-only
// Nothing but user instructions in a few pages: COUNT times 100 000 rounds of a loop. What it costs a hypervisor are
// the interrupts that strike meanwhile.
#include "checksum.h"
#include "stopwatch.h"

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    const uint64_t started = bench_start("spin");
    uint32_t state = 1;
    for (uint32_t i = 0; i < count; ++i)
        for (uint32_t round = 0; round < 100000; ++round) {
            state = state * 1664525u + 1013904223u;
            __asm__ volatile("" : "+r"(state));
        }
    bench_report("spin", count, started);
    return state == 0; // never for these factors and counts: 2^32 rounds come before
}
