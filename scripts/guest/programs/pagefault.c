// SPDX-License-Identifier: GPL-2.0-only
// Page faults: first touches of fresh anonymous pages, COUNT in all, mapped and unmapped 64 at a time.
#include "checksum.h"
#include "stopwatch.h"

#include <sys/mman.h>

enum { pages = 64, page_size = 4096 };

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    const uint64_t started = bench_start("pagefault");
    for (uint32_t done = 0; done < count;) {
        char* area = mmap(NULL, (size_t)pages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED) {
            perror("pagefault: mmap");
            return 1;
        }
        for (uint32_t page = 0; page < pages && done < count; ++page, ++done) {
            volatile uint32_t* word = (volatile uint32_t*)(area + page * page_size + (done * 4) % page_size);
            if (*word != 0) {
                fprintf(stderr, "pagefault: fresh page %u is not zero\n", (unsigned)done);
                return 1;
            }
            *word = done;
        }
        munmap(area, (size_t)pages * page_size);
    }
    bench_report("pagefault", count, started);
    return 0;
}
