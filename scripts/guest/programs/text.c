// SPDX-License-Identifier: GPL-2.0-only
// Strings and memory: the C library's copies, moves, compares and searches at every alignment and many lengths,
// and the load and store string instructions, which compilers do not emit by themselves.
#include "checksum.h"

#include <string.h>

enum { area = 4096, span = 96 };

static uint8_t from[area], to[area], expected[area];

static int copies(void) {
    for (unsigned source = 0; source < 8; ++source) {
        for (unsigned target = 0; target < 8; ++target) {
            for (unsigned length = 0; length < span; ++length) {
                memset(to, 0xee, 256);
                memset(expected, 0xee, 256);
                for (unsigned i = 0; i < length; ++i) expected[target + i] = from[source + i];
                memcpy(to + target, from + source, length);
                if (memcmp(to, expected, 256) != 0) return 0;
                memmove(to + source, to + target, length);
                checksum_bytes(to, 128);
            }
        }
    }
    return 1;
}

static void searches(void) {
    char text[512];
    for (unsigned round = 0; round < 200; ++round) {
        const unsigned length = 1 + random_word() % 400;
        for (unsigned i = 0; i < length; ++i) text[i] = (char)('a' + random_word() % 4);
        text[length] = '\0';
        const char* found = strstr(text, "abca");
        checksum_word((uint32_t)strlen(text));
        checksum_word(found ? (uint32_t)(found - text) : 0xffffffffu);
        found = strchr(text, 'd');
        checksum_word(found ? (uint32_t)(found - text) : 0xffffffffu);
        checksum_word((uint32_t)strspn(text, "abc"));
        checksum_word(strcmp(text, text + length / 2) < 0);
        checksum_word(memcmp(text, text + length / 2, length / 2) < 0);
    }
}

#ifdef __powerpc__
// lswx and stswx take the byte count from XER; five registers hold up to 20 bytes.
static void string_instructions(void) {
    for (unsigned length = 0; length <= 20; ++length) {
        for (unsigned at = 0; at < 4; ++at) {
            memset(to, 0x55, 64);
            __asm__ volatile("mtxer %2\n\t"
                             "lswx 14, 0, %0\n\t"
                             "stswx 14, 0, %1"
                             :
                             : "r"(from + at), "r"(to + 3 - at), "r"(length)
                             : "r14", "r15", "r16", "r17", "r18", "memory", "xer");
            checksum_bytes(to, 32);
        }
    }
    __asm__ volatile("lswi 14, %0, 11\n\t"
                     "stswi 14, %1, 11\n\t"
                     "lswi 14, %0, 0\n\t"
                     "stswi 14, %2, 32"
                     :
                     : "b"(from + 5), "b"(to), "b"(to + 16)
                     : "r14", "r15", "r16", "r17", "r18", "r19", "r20", "r21", "memory");
    checksum_bytes(to, 64);
}

static void reversed_bytes(void) {
    for (unsigned at = 0; at < 16; ++at) {
        uint32_t word, half;
        __asm__ volatile("lwbrx %0, 0, %1" : "=r"(word) : "r"(from + at), "m"(from));
        __asm__ volatile("lhbrx %0, 0, %1" : "=r"(half) : "r"(from + at), "m"(from));
        __asm__ volatile("stwbrx %1, 0, %0" : : "r"(to + at), "r"(word ^ half) : "memory");
        __asm__ volatile("sthbrx %1, 0, %0" : : "r"(to + at + 20), "r"(half) : "memory");
        checksum_word(word);
        checksum_word(half);
    }
    checksum_bytes(to, 64);
}
#else
#error "these programs are for PowerPC"
#endif

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    for (unsigned i = 0; i < area; ++i) from[i] = (uint8_t)(random_word() >> 7);
    if (!copies()) {
        puts("text: memcpy differs from a byte loop");
        return 1;
    }
    checksum_report("copies");
    searches();
    checksum_report("searches");
    string_instructions();
    checksum_report("string-instructions");
    reversed_bytes();
    checksum_report("reversed-bytes");
    return 0;
}
