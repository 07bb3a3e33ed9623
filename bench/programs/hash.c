// SPDX-License-Identifier: GPL-2.0-only
// Hashes: an operation is SHA-256 and CRC-32 of 4 KB; the digest becomes part of the next operation's input.
#include "bench/programs/load.h"

#include <math.h>

enum { size = 4096 };

static uint32_t constants[64], crc_table[256];
static uint8_t data[size];

static void make_tables(void) {
    uint32_t found = 0;
    // The constants are the first 32 fraction bits of the cube roots of the first primes.
    for (uint32_t n = 2; found < 64; ++n) {
        int prime = 1;
        for (uint32_t d = 2; d * d <= n && prime; ++d) prime = n % d != 0;
        const double root = cbrt(n);
        if (prime) constants[found++] = (uint32_t)((root - floor(root)) * 4294967296.0);
    }
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t rest = i;
        for (int bit = 0; bit < 8; ++bit) rest = rest >> 1 ^ ((rest & 1) ? 0xedb88320u : 0);
        crc_table[i] = rest;
    }
}

static uint32_t rotated(uint32_t word, int by) { return word >> by | word << (32 - by); }

static void compress_block(uint32_t* state, const uint8_t* block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; ++i)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; ++i)
        w[i] = w[i - 16] + (rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 8; ++i) s[i] = state[i];
    for (int i = 0; i < 64; ++i) {
        const uint32_t one = s[7] + (rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25)) +
                             ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
        const uint32_t two = (rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22)) +
                             ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        for (int k = 7; k > 0; --k) s[k] = s[k - 1];
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; ++i) state[i] += s[i];
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    make_tables();
    if (constants[0] != 0x428a2f98u || constants[63] != 0xc67178f2u) {
        fprintf(stderr, "hash: the constants are wrong: %08x, %08x\n", (unsigned)constants[0], (unsigned)constants[63]);
        return 1;
    }
    for (int i = 0; i < size; ++i) data[i] = (uint8_t)random_word();
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        uint32_t state[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                             0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
        uint32_t crc = ~0u;
        for (int at = 0; at < size; at += 64) compress_block(state, data + at);
        for (int i = 0; i < size; ++i) crc = crc >> 8 ^ crc_table[(crc ^ data[i]) & 0xff];
        for (int i = 0; i < 8; ++i) data[(crc ^ (uint32_t)i * 512) % size] ^= (uint8_t)state[i];
        checksum_word(state[0] ^ state[7] ^ crc);
    }
    load_report("hash", count, nanoseconds_now() - started);
    return 0;
}
