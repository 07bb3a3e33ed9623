// SPDX-License-Identifier: GPL-2.0-only
// Sieve of Eratosthenes over 2 MB of bytes (more than 64 pages of 4 KB at any stride above a page), COUNT times.
#include "checksum.h"
#include "stopwatch.h"

#include <string.h>

enum { limit = 2 * 1024 * 1024, primes_below_limit = 155611 };

static uint8_t composite[limit];

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    const uint64_t started = bench_start("sieve");
    for (uint32_t pass = 0; pass < count; ++pass) {
        memset(composite, 0, sizeof composite);
        uint32_t primes = 0;
        for (uint32_t i = 2; i < limit; ++i) {
            if (composite[i]) continue;
            ++primes;
            if ((uint64_t)i * i < limit)
                for (uint32_t multiple = i * i; multiple < limit; multiple += i) composite[multiple] = 1;
        }
        if (primes != primes_below_limit) {
            fprintf(stderr, "sieve: found %u primes, not %u\n", (unsigned)primes, (unsigned)primes_below_limit);
            return 1;
        }
    }
    bench_report("sieve", count, started);
    return 0;
}
