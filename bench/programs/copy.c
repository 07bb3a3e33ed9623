// SPDX-License-Identifier: GPL-2.0-only
// Copies: an operation is the C library's memcpy of 64 KB to another place and back, one of them out of alignment.
#include "bench/programs/load.h"

#include <string.h>

enum { size = 65536 };

static uint8_t here[size + 16], there[size + 16];

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    for (int i = 0; i < size; ++i) here[i] = (uint8_t)random_word();
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        memcpy(there + (n & 7), here, size);
        there[n % size] ^= (uint8_t)n;
        memcpy(here, there + (n & 7), size);
    }
    const uint64_t taken = nanoseconds_now() - started;
    checksum_bytes(here, size);
    load_report("copy", count, taken);
    return 0;
}
