// SPDX-License-Identifier: GPL-2.0-only
// Compression: an operation packs 32 KB of text by matching against what went before, unpacks it and compares.
#include "bench/programs/load.h"

#include <string.h>

enum { size = 32768, table_bits = 12, shortest = 4, longest = 130, chain = 8 };

static uint8_t plain[size], packed[size + size / 64 + 64], unpacked[size];
static int32_t last[1 << table_bits], before[size];

static void make_text(void) {
    static const char syllables[16][4] = {"ta",  "ri", "mo", "len", "su", "qua", "d",   "es",
                                          "ing", "er", "no", "the", "o",  "an",  "pel", "vi"};
    for (size_t at = 0; at < size;) {
        // The square makes some syllables frequent and others rare.
        const uint32_t choice = random_word();
        const char* syllable = syllables[(choice & 15) * (choice >> 4 & 15) / 15];
        for (; *syllable != '\0' && at < size; ++syllable) plain[at++] = (uint8_t)*syllable;
        if ((choice & 0x300) == 0 && at < size) plain[at++] = ' ';
    }
}

static uint32_t slot_of(const uint8_t* at) {
    return ((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]) * 0x9e3779b1u >>
           (32 - table_bits);
}

// A control byte below 128 announces that many literals plus one; above, a match of (byte - 128 + shortest) bytes whose
// distance follows in two bytes.
static size_t pack(void) {
    size_t out = 0;
    int32_t literals = 0, at = 0;
    memset(last, 0xff, sizeof last);
    while (at < size) {
        int32_t best = 0, where = 0;
        if (at + shortest <= size) {
            const uint32_t slot = slot_of(plain + at);
            int32_t candidate = last[slot];
            for (int tries = 0; candidate >= 0 && tries < chain; ++tries, candidate = before[candidate]) {
                int32_t length = 0;
                while (length < longest && at + length < size && plain[candidate + length] == plain[at + length])
                    ++length;
                if (length > best) {
                    best = length;
                    where = candidate;
                }
            }
            before[at] = last[slot];
            last[slot] = at;
        }
        if (best < shortest) {
            if (literals == 0 || literals == 128) {
                packed[out++] = 0;
                literals = 0;
            }
            packed[out - (size_t)literals - 1] = (uint8_t)literals;
            packed[out++] = plain[at++];
            ++literals;
            continue;
        }
        literals = 0;
        packed[out++] = (uint8_t)(128 + best - shortest);
        packed[out++] = (uint8_t)((at - where) >> 8);
        packed[out++] = (uint8_t)(at - where);
        at += best;
    }
    return out;
}

static size_t unpack(size_t bytes) {
    size_t out = 0;
    for (size_t in = 0; in < bytes;) {
        const size_t control = packed[in++];
        if (control < 128) {
            for (size_t i = 0; i <= control; ++i) unpacked[out++] = packed[in++];
        } else {
            const size_t distance = (size_t)packed[in] << 8 | packed[in + 1];
            in += 2;
            for (size_t i = 0; i < control - 128 + shortest; ++i, ++out) unpacked[out] = unpacked[out - distance];
        }
    }
    return out;
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    make_text();
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        for (int i = 0; i < 64; ++i) plain[random_word() % size] = (uint8_t)random_word();
        const size_t bytes = pack();
        if (unpack(bytes) != size || memcmp(plain, unpacked, size) != 0) {
            fprintf(stderr, "compress: operation %u does not come back as it was\n", (unsigned)n);
            return 1;
        }
        checksum_word((uint32_t)bytes);
        checksum_bytes(packed + bytes / 2, 16);
    }
    load_report("compress", count, nanoseconds_now() - started);
    return 0;
}
