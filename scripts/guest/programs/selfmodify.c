// SPDX-License-Identifier: GPL-2.0-only
// Code that changes: functions written into memory, run, rewritten in place and run again with the cache
// instructions in between; a page of code that is remapped; code next to data that is written all the time.
#include "checksum.h"

#include <string.h>
#include <sys/mman.h>

typedef uint32_t (*function)(uint32_t);

static void publish(void* start, size_t size) {
    for (size_t at = 0; at < size; at += 32) __asm__ volatile("dcbst 0, %0" : : "r"((char*)start + at) : "memory");
    __asm__ volatile("sync" ::: "memory");
    for (size_t at = 0; at < size; at += 32) __asm__ volatile("icbi 0, %0" : : "r"((char*)start + at) : "memory");
    __asm__ volatile("sync; isync" ::: "memory");
}

// addi r3, r3, amount; blr
static void write_adder(uint32_t* code, int16_t amount) {
    code[0] = 0x38630000u | (uint16_t)amount;
    code[1] = 0x4e800020u;
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    uint32_t* code = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        perror("selfmodify: mmap");
        return 1;
    }
    uint32_t value = 0, expected = 0;
    for (int i = 0; i < 2000; ++i) {
        const int16_t amount = (int16_t)random_word();
        write_adder(code + (i % 3) * 8, amount);
        publish(code + (i % 3) * 8, 8);
        for (int repeat = 0; repeat < 3; ++repeat) {
            value = ((function)(uintptr_t)(code + (i % 3) * 8))(value);
            expected += (uint32_t)(int32_t)amount;
        }
        if (value != expected) {
            printf("selfmodify: rewrite %d gave %08x, not %08x\n", i, (unsigned)value, (unsigned)expected);
            return 1;
        }
    }
    checksum_word(value);
    // A counter in the middle of the code page, written by the code's caller each time.
    write_adder(code, 5);
    publish(code, 8);
    for (int i = 0; i < 20000; ++i) {
        code[512] = value;
        value = ((function)(uintptr_t)code)(value) ^ code[512 + (i & 1)];
    }
    checksum_word(value);
    // Code across the border of two pages, the second of which is replaced.
    for (int i = 0; i < 50; ++i) {
        uint32_t* border = code + 1023;
        border[0] = 0x38630001u;
        write_adder(border + 1, (int16_t)(i * 7));
        publish(border, 12);
        value = ((function)(uintptr_t)border)(value);
        checksum_word(value);
        if (mmap(code + 1024, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0) == MAP_FAILED)
            return 1;
    }
    checksum_report("selfmodify");
    return 0;
}
