// SPDX-License-Identifier: GPL-2.0-only
// Hash functions over 1 MB: CRC-32 by table, Adler-32, FNV-1a, a 64-bit multiply-xorshift mix and MD4-like rounds
// of rotations and additions. The CRC of "123456789" is known, so that a wrong result is seen without a reference.
#include "checksum.h"

#include <string.h>

enum { size = 1 << 20 };

static uint8_t data[size];
static uint32_t crc_table[256];

static void make_crc_table(void) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t remainder = byte;
        for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) ? 0xedb88320u : 0);
        crc_table[byte] = remainder;
    }
}

static uint32_t crc32(const uint8_t* bytes, size_t count) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < count; ++i) crc = (crc >> 8) ^ crc_table[(crc ^ bytes[i]) & 0xff];
    return ~crc;
}

static uint32_t adler32(const uint8_t* bytes, size_t count) {
    uint32_t low = 1, high = 0;
    for (size_t i = 0; i < count; ++i) {
        low = (low + bytes[i]) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

static uint64_t mix64(const uint8_t* bytes, size_t count) {
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i + 8 <= count; i += 8) {
        uint64_t word = 0;
        for (int byte = 0; byte < 8; ++byte) word = word << 8 | bytes[i + byte];
        state = (state ^ word) * 0xff51afd7ed558ccdu;
        state ^= state >> 29;
    }
    return state;
}

static uint32_t rotate_left(uint32_t value, unsigned amount) {
    return value << (amount & 31) | value >> (-amount & 31);
}

static uint32_t rounds(const uint8_t* bytes, size_t count) {
    uint32_t a = 0x67452301, b = 0xefcdab89, c = 0x98badcfe, d = 0x10325476;
    for (size_t i = 0; i + 4 <= count; i += 4) {
        const uint32_t word = (uint32_t)bytes[i] << 24 | bytes[i + 1] << 16 | bytes[i + 2] << 8 | bytes[i + 3];
        const uint32_t selected = (i & 16) ? (b & c) | (~b & d) : b ^ c ^ d;
        const uint32_t turned = rotate_left(a + selected + word, (unsigned)(i >> 2) % 31 + 1);
        a = d;
        d = c;
        c = b;
        b += turned;
    }
    return a ^ b ^ c ^ d;
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    make_crc_table();
    const uint32_t known = crc32((const uint8_t*)"123456789", 9);
    if (known != 0xcbf43926u) {
        printf("hashes: crc of the known text is %08x\n", (unsigned)known);
        return 1;
    }
    for (size_t i = 0; i < size; ++i) data[i] = (uint8_t)(random_word() >> 11);
    printf("crc32 %08x\n", (unsigned)crc32(data, size));
    printf("adler32 %08x\n", (unsigned)adler32(data, size));
    printf("mix64 %016llx\n", (unsigned long long)mix64(data, size));
    printf("rounds %08x\n", (unsigned)rounds(data, size));
    checksum_bytes(data, size);
    checksum_report("fnv1a");
    return 0;
}
