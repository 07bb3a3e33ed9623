// SPDX-License-Identifier: GPL-2.0-only
// Instructions particular to the 440 and its embedded relatives: the 16-bit multiplications, dlmzb, and
// lwarx with stwcx.; rotates, masks, bit counts and condition register logic beside them. The output is compared with
// qemu-ppc's, which gets the mac and nmac instructions wrong (no result, inverted saturation): those are checked
// against wide arithmetic in tests/interp.
#include "checksum.h"

#include <string.h>

#define MULTIPLY(name)                                                                                                 \
    do {                                                                                                               \
        uint32_t result = c, flags, xer;                                                                               \
        __asm__ volatile("mtxer %5\n\t" name " %0, %3, %4\n\tmfcr %1\n\tmfxer %2"                                      \
                         : "+&r"(result), "=&r"(flags), "=&r"(xer)                                                     \
                         : "r"(a), "r"(b), "r"(0)                                                                      \
                         : "cr0", "xer");                                                                              \
        checksum_word(result);                                                                                         \
        checksum_word(flags & 0xf0000000u);                                                                            \
        checksum_word(xer);                                                                                            \
    } while (0)

static uint32_t operand(uint32_t i) {
    static const uint32_t corners[] = {0,          1,          0x7fff,     0x8000,     0xffff,
                                       0x7fff7fff, 0x80008000, 0x80000000, 0x7fffffff, ~0u};
    return i < 10 ? corners[i] : random_word();
}

static void halfword_multiply(void) {
    for (uint32_t i = 0; i < 24; ++i) {
        for (uint32_t j = 0; j < 24; ++j) {
            const uint32_t a = operand(i), b = operand(j), c = operand((i * j) % 13);
            MULTIPLY("mulchw.");
            MULTIPLY("mulchwu.");
            MULTIPLY("mulhhw.");
            MULTIPLY("mulhhwu.");
            MULTIPLY("mullhw.");
            MULTIPLY("mullhwu.");
        }
    }
}

static void leftmost_zero_byte(void) {
    for (unsigned i = 0; i < 2000; ++i) {
        uint32_t high = random_word(), low = random_word(), count, flags, xer;
        for (unsigned byte = 0; byte < 32; byte += 8) {
            if (random_word() % 5 == 0) high &= ~(0xffu << byte);
            if (random_word() % 5 == 0) low &= ~(0xffu << byte);
        }
        __asm__ volatile("mtxer %5\n\tdlmzb. %0, %3, %4\n\tmfcr %1\n\tmfxer %2"
                         : "=&r"(count), "=&r"(flags), "=&r"(xer)
                         : "r"(high), "r"(low), "r"(0)
                         : "cr0", "xer");
        checksum_word(count);
        checksum_word(flags & 0xf0000000u);
        checksum_word(xer);
    }
}

static void rotates(void) {
    for (unsigned i = 0; i < 3000; ++i) {
        const uint32_t a = random_word(), b = random_word();
        uint32_t word;
        __asm__ volatile("rlwnm %0, %1, %2, 27, 4" : "=r"(word) : "r"(a), "r"(b));
        checksum_word(word);
        word = a;
        __asm__ volatile("rlwimi %0, %1, 13, 5, 21" : "+r"(word) : "r"(b));
        checksum_word(word);
        __asm__ volatile("slw %0, %1, %2" : "=r"(word) : "r"(a), "r"(b));
        checksum_word(word);
        __asm__ volatile("sraw %0, %1, %2" : "=r"(word) : "r"(a), "r"(b) : "xer");
        checksum_word(word);
        __asm__ volatile("cntlzw %0, %1" : "=r"(word) : "r"(a >> (b & 31)));
        checksum_word(word);
        __asm__ volatile("mtcr %1\n\tcrnand 3, 17, 30\n\tcreqv 8, 1, 29\n\tcrandc 20, 4, 11\n\tmcrf 6, 2\n\tmfcr %0"
                         : "=r"(word)
                         : "r"(a)
                         : "cr0", "cr1", "cr2", "cr3", "cr4", "cr5", "cr6", "cr7");
        checksum_word(word);
    }
}

static int reservations(void) {
    static volatile uint32_t cell;
    uint32_t flags, loaded;
    for (uint32_t i = 0; i < 1000; ++i) {
        __asm__ volatile("1: lwarx %0, 0, %1\n\taddi %0, %0, 3\n\tstwcx. %0, 0, %1\n\tbne- 1b"
                         : "=&r"(loaded)
                         : "r"(&cell)
                         : "memory", "cr0");
    }
    checksum_word(cell);
    // Without a reservation the store must not happen.
    __asm__ volatile("lwarx %1, 0, %2\n\tstwcx. %1, 0, %2\n\tstwcx. %3, 0, %2\n\tmfcr %0"
                     : "=&r"(flags), "=&r"(loaded)
                     : "r"(&cell), "r"(12345)
                     : "memory", "cr0");
    checksum_word(cell);
    return cell == 3000 && (flags & 0x20000000u) == 0;
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    halfword_multiply();
    checksum_report("halfword-multiply");
    leftmost_zero_byte();
    checksum_report("dlmzb");
    rotates();
    checksum_report("rotates");
    if (!reservations()) {
        puts("integer440: a store without a reservation went through");
        return 1;
    }
    checksum_report("reservations");
    return 0;
}
