// SPDX-License-Identifier: GPL-2.0-only
// 64-bit arithmetic on a 32-bit machine: carries, multiplications, divisions, shifts and comparisons, with the
// identity (a / b) * b + a % b == a checked throughout, and the carry and overflow bits of XER read out.
#include "checksum.h"

static uint64_t random_double_word(void) {
    uint64_t word = (uint64_t)random_word() << 32;
    word |= random_word();
    return word >> (random_word() & 63);
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    for (unsigned i = 0; i < 20000; ++i) {
        const uint64_t a = random_double_word(), b = random_double_word() | 1;
        const int64_t signed_a = (int64_t)a, signed_b = (int64_t)b;
        const unsigned shift = random_word() & 63;
        if ((a / b) * b + a % b != a) {
            printf("arith64: %llx / %llx\n", (unsigned long long)a, (unsigned long long)b);
            return 1;
        }
        checksum_double_word(a + b);
        checksum_double_word(a - b);
        checksum_double_word(a * b);
        checksum_double_word(a / b);
        checksum_double_word(a % b);
        if (signed_b != -1) checksum_double_word((uint64_t)(signed_a / signed_b) ^ (uint64_t)(signed_a % signed_b));
        checksum_double_word(a << shift);
        checksum_double_word(a >> shift);
        checksum_double_word((uint64_t)(signed_a >> shift));
        checksum_byte((uint8_t)((a < b) | (signed_a < signed_b) << 1));
        checksum_byte((uint8_t)(a ? __builtin_clzll(a) : 64));
    }
    checksum_report("arith64");
    for (unsigned i = 0; i < 20000; ++i) {
        const uint32_t a = random_word(), b = random_word();
        uint32_t sum, extended, difference, xer, condition, product, product_xer;
        __asm__ volatile("mtxer %7\n\t"
                         "addco %0, %5, %6\n\t"
                         "addeo. %1, %5, %6\n\t"
                         "subfeo %2, %5, %6\n\t"
                         "mfxer %3\n\t"
                         "mfcr %4"
                         : "=&r"(sum), "=&r"(extended), "=&r"(difference), "=&r"(xer), "=&r"(condition)
                         : "r"(a), "r"(b), "r"(0)
                         : "xer", "cr0");
        __asm__ volatile("mtxer %4\n\t"
                         "mullwo %0, %2, %3\n\t"
                         "srawi %1, %0, 7\n\t"
                         "addze %1, %1\n\t"
                         "mfxer %0"
                         : "=&r"(product_xer), "=&r"(product)
                         : "r"(a), "r"(b), "r"(0)
                         : "xer");
        checksum_word(sum);
        checksum_word(extended);
        checksum_word(difference);
        checksum_word(xer);
        checksum_word(condition & 0xf0000000u);
        checksum_word(product);
        checksum_word(product_xer);
    }
    checksum_report("carries");
    return 0;
}
