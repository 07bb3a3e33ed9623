// SPDX-License-Identifier: GPL-2.0-only
// Shared by the guest programs: a checksum over everything a program computes, a generator that gives the
// same numbers on every machine, and the reading of an operation count.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t checksum_state = 0x811c9dc5u;

static inline void checksum_byte(uint8_t byte) { checksum_state = (checksum_state ^ byte) * 0x01000193u; }

// Words go in most significant byte first, so that the result does not depend on the byte order.
static inline void checksum_word(uint32_t word) {
    for (int shift = 24; shift >= 0; shift -= 8) checksum_byte((uint8_t)(word >> shift));
}

static inline void checksum_double_word(uint64_t word) {
    checksum_word((uint32_t)(word >> 32));
    checksum_word((uint32_t)word);
}

static inline void checksum_bytes(const void* data, size_t size) {
    const uint8_t* bytes = data;
    for (size_t i = 0; i < size; ++i) checksum_byte(bytes[i]);
}

// The bits, not the value: two zeros and two NaNs must not be mistaken for each other.
static inline void checksum_double(double value) {
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    checksum_double_word(bits);
}

static inline void checksum_report(const char* what) { printf("%s %08x\n", what, (unsigned)checksum_state); }

static uint32_t random_state = 2463534242u;

static inline uint32_t random_word(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

// Uniform in [-1, 1), exact in a double.
static inline double random_signed_unit(void) { return (double)(int32_t)random_word() / 2147483648.0; }

// The operation count of a benchmark, 1 to 2^31-1, from the first argument.
static inline uint32_t operation_count(int argc, char** argv) {
    char* end = NULL;
    errno = 0;
    unsigned long count = argc == 2 ? strtoul(argv[1], &end, 10) : 0;
    if (argc != 2 || errno != 0 || end == argv[1] || *end != '\0' || count == 0 || count > 0x7fffffffUL) {
        fprintf(stderr, "usage: %s COUNT (1 to 2147483647 operations)\n", argv[0]);
        exit(2);
    }
    return (uint32_t)count;
}
