// SPDX-License-Identifier: GPL-2.0-only
// Pointer chase: an operation is one step along a cycle that visits 32768 lines of 32 bytes (1 MB, 256 pages) in random
// order. Links are indices, so that they have 32 bits everywhere.
#include "bench/programs/load.h"

enum { lines = 32768 };

static struct { uint32_t next, rest[7]; } line[lines];

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    // A random cycle through all lines: Sattolo's shuffle.
    for (uint32_t i = 0; i < lines; ++i) line[i].next = i;
    for (uint32_t i = lines - 1; i > 0; --i) {
        const uint32_t other = random_word() % i, kept = line[i].next;
        line[i].next = line[other].next;
        line[other].next = kept;
    }
    uint32_t at = 0;
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) at = line[at].next;
    const uint64_t taken = nanoseconds_now() - started;
    checksum_word(at);
    load_report("chase", count, taken);
    return 0;
}
