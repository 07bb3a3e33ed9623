// SPDX-License-Identifier: GPL-2.0-only
// TLB misses: touches one word in each of 256 pages of 4 KB, round and round, COUNT touches in all. The pages are
// present before the clock starts; with 64 TLB entries replaced in turn, each touch misses.
#include "checksum.h"
#include "stopwatch.h"

#include <sys/mman.h>

enum { pages = 256, page_size = 4096 };

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    char* area = mmap(NULL, (size_t)pages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        perror("tlbmiss: mmap");
        return 1;
    }
    for (uint32_t page = 0; page < pages; ++page) *(volatile uint32_t*)(area + page * page_size) = page;
    uint32_t sum = 0, expected = 0;
    const uint64_t started = bench_start("tlbmiss");
    for (uint32_t i = 0; i < count; ++i) sum += *(volatile uint32_t*)(area + (i % pages) * page_size);
    bench_report("tlbmiss", count, started);
    for (uint32_t i = 0; i < count; ++i) expected += i % pages;
    if (sum != expected) {
        fprintf(stderr, "tlbmiss: read a sum of %08x, not %08x\n", (unsigned)sum, (unsigned)expected);
        return 1;
    }
    return 0;
}
