// SPDX-License-Identifier: GPL-2.0-only
// Shared by the loads of the suite: the one line that the driver reads, and checksums of floating-point results.
//
// Two checksums: `checksum` must be the same everywhere, natively too; of a double it takes nine digits, because a 440
// multiplies and adds with one rounding where x86-64 rounds twice. `bits` takes every bit and must be the same on
// everything that says it is a 440.
#pragma once

#include "scripts/guest/programs/checksum.h"
#include "scripts/guest/programs/stopwatch.h"

static uint32_t bits_state = 0x811c9dc5u;

static inline void checksum_rounded(double value) {
    char digits[32];
    uint64_t bits;
    const int length = snprintf(digits, sizeof digits, "%.8e", value);
    checksum_bytes(digits, (size_t)length);
    __builtin_memcpy(&bits, &value, sizeof bits);
    for (int shift = 56; shift >= 0; shift -= 8) bits_state = (bits_state ^ (uint8_t)(bits >> shift)) * 0x01000193u;
}

static inline void load_report(const char* name, uint32_t operations, uint64_t nanoseconds) {
    printf("bench: %s operations %u nanoseconds %llu checksum %08x bits %08x\n", name, (unsigned)operations,
           (unsigned long long)nanoseconds, (unsigned)checksum_state, (unsigned)bits_state);
    fflush(stdout);
}
