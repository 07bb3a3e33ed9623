// SPDX-License-Identifier: GPL-2.0-only
// A small LZ77 compressor and its inverse over 256 KB of text-like data: hash chains, byte copies that overlap.
#include "checksum.h"

#include <string.h>

enum { size = 256 * 1024, hash_bits = 13, window = 0xffff, longest = 255 + 4, chain_limit = 16 };

static uint8_t plain[size], packed[size + size / 8 + 64], unpacked[size];
static int32_t head[1 << hash_bits], previous[size];

static void make_text(void) {
    static const char* const words[] = {"block",  "miss",   "guest", "trap", "handler", "vector", "page",    "entry",
                                        "shadow", "window", "timer", "word", "patch",   "return", "context", "a"};
    size_t used = 0;
    while (used < size) {
        const uint32_t choice = random_word();
        const char* word = words[choice & 15];
        for (; *word && used < size; ++word) plain[used++] = (uint8_t)*word;
        if (used < size) plain[used++] = (choice & 0x700) ? ' ' : (uint8_t)(choice >> 24);
    }
}

static uint32_t hash_at(const uint8_t* at) {
    const uint32_t word = (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
    return word * 2654435761u >> (32 - hash_bits);
}

// Format: a flag byte announces eight items, 1 for a match (distance in two bytes, length - 4 in one), 0 a literal.
static size_t pack(void) {
    size_t out = 0, flags = 0;
    int items = 8;
    memset(head, 0xff, sizeof head);
    for (int32_t at = 0; at < size;) {
        if (items == 8) {
            flags = out++;
            packed[flags] = 0;
            items = 0;
        }
        int32_t best = 0, distance = 0;
        if (at + 4 <= size) {
            int32_t candidate = head[hash_at(plain + at)];
            for (int tries = 0; candidate >= 0 && at - candidate <= window && tries < chain_limit; ++tries) {
                int32_t length = 0;
                while (at + length < size && length < longest && plain[candidate + length] == plain[at + length])
                    ++length;
                if (length > best) {
                    best = length;
                    distance = at - candidate;
                }
                candidate = previous[candidate];
            }
        }
        const int32_t step = best >= 4 ? best : 1;
        if (best >= 4) {
            packed[flags] |= (uint8_t)(1 << items);
            packed[out++] = (uint8_t)(distance >> 8);
            packed[out++] = (uint8_t)distance;
            packed[out++] = (uint8_t)(best - 4);
        } else {
            packed[out++] = plain[at];
        }
        ++items;
        for (int32_t end = at + step; at < end; ++at) {
            if (at + 4 <= size) {
                const uint32_t slot = hash_at(plain + at);
                previous[at] = head[slot];
                head[slot] = at;
            }
        }
    }
    return out;
}

static size_t unpack(size_t packed_size) {
    size_t in = 0, out = 0;
    while (in < packed_size && out < size) {
        const uint8_t flags = packed[in++];
        for (int item = 0; item < 8 && in < packed_size && out < size; ++item) {
            if (flags >> item & 1) {
                const size_t distance = (size_t)packed[in] << 8 | packed[in + 1];
                for (size_t left = packed[in + 2] + 4u; left > 0; --left, ++out)
                    unpacked[out] = unpacked[out - distance];
                in += 3;
            } else {
                unpacked[out++] = packed[in++];
            }
        }
    }
    return out;
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    make_text();
    const size_t packed_size = pack();
    const size_t back = unpack(packed_size);
    if (back != size || memcmp(plain, unpacked, size) != 0) {
        printf("lz: round trip gave %u bytes, not the text that went in\n", (unsigned)back);
        return 1;
    }
    checksum_bytes(packed, packed_size);
    printf("packed %u bytes\n", (unsigned)packed_size);
    checksum_report("lz");
    return 0;
}
