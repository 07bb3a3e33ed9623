// SPDX-License-Identifier: GPL-2.0-only
// Recursive calls: an operation is a Fibonacci number, an Ackermann value and the seven queens, each by plain
// recursion.
#include "bench/programs/load.h"

// Without this the compiler unrolls calls into each other, differently for each machine, or makes fewer of them.
#define CALLED __attribute__((noipa))

static CALLED uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static CALLED uint32_t ackermann(uint32_t m, uint32_t n) {
    if (m == 0) return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

static CALLED uint32_t queens(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
    if (columns == all) return 1;
    uint32_t ways = 0;
    for (uint32_t open = all & ~(columns | left | right); open != 0;) {
        const uint32_t place = open & -open;
        open ^= place;
        ways += queens(all, columns | place, (left | place) << 1, (right | place) >> 1);
    }
    return ways;
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        const uint32_t a = fibonacci(15 + (n & 1)), b = ackermann(2, 20 + (n & 3)), c = queens(127, 0, 0, 0);
        if (c != 40) {
            fprintf(stderr, "recursion: %u ways to place seven queens, not 40\n", (unsigned)c);
            return 1;
        }
        checksum_word(a * 31 + b);
    }
    load_report("recursion", count, nanoseconds_now() - started);
    return 0;
}
