// SPDX-License-Identifier: GPL-2.0-only
// Calls and branches: doubly recursive numbers, Ackermann's function, eight queens, indirect calls and a bytecode
// interpreter that computes primes through a dispatch table.
#include "checksum.h"

static uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static uint32_t ackermann(uint32_t m, uint32_t n) {
    if (m == 0) return n + 1;
    return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

static uint32_t queens(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
    uint32_t solutions = 0;
    if (columns == all) return 1;
    for (uint32_t free = all & ~(columns | left | right); free; free &= free - 1) {
        const uint32_t place = free & -free;
        solutions += queens(all, columns | place, (left | place) << 1, (right | place) >> 1);
    }
    return solutions;
}

static uint32_t twice(uint32_t x) { return x * 2; }
static uint32_t square(uint32_t x) { return x * x; }
static uint32_t invert(uint32_t x) { return ~x; }
static uint32_t turn(uint32_t x) { return x << 5 | x >> 27; }

enum opcode { op_push, op_load, op_store, op_add, op_remainder, op_less, op_jump_zero, op_jump, op_emit, op_halt };

static uint32_t interpret(const int16_t* code) {
    static const void* const table[] = {&&push, &&load,      &&store, &&add,  &&remainder,
                                        &&less, &&jump_zero, &&jump,  &&emit, &&halt};
    int32_t stack[16], variables[8] = {0}, *top = stack;
    uint32_t emitted = 0;
    const int16_t* at = code;
#define NEXT goto* table[*at++]
    NEXT;
push:
    *top++ = *at++;
    NEXT;
load:
    *top++ = variables[*at++];
    NEXT;
store:
    variables[*at++] = *--top;
    NEXT;
add:
    --top;
    top[-1] += *top;
    NEXT;
remainder:
    --top;
    top[-1] %= *top;
    NEXT;
less:
    --top;
    top[-1] = top[-1] < *top;
    NEXT;
jump_zero:
    at = *--top == 0 ? code + *at : at + 1;
    NEXT;
jump:
    at = code + *at;
    NEXT;
emit:
    checksum_word((uint32_t) * --top);
    ++emitted;
    NEXT;
halt:
    return emitted;
#undef NEXT
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    static uint32_t (*const indirect[])(uint32_t) = {twice, square, invert, turn};
    // n = 2; while n < 3000 { d = 2; while d < n and n % d { d = d + 1 } if not d < n emit n; n = n + 1 }
    static const int16_t primes[] = {
        op_push, 2, op_store, 0,                                                              //  0
        op_load, 0, op_push,  3000, op_less,      op_jump_zero, 50, op_push, 2,  op_store, 1, //  4
        op_load, 1, op_load,  0,    op_less,      op_jump_zero, 38,                           // 15
        op_load, 0, op_load,  1,    op_remainder, op_jump_zero, 41,                           // 22
        op_load, 1, op_push,  1,    op_add,       op_store,     1,  op_jump, 15,              // 29
        op_load, 0, op_emit,                                                                  // 38
        op_load, 0, op_push,  1,    op_add,       op_store,     0,  op_jump, 4,               // 41
        op_halt,                                                                              // 50
    };
    const uint32_t found = interpret(primes);
    uint32_t value = 1;
    for (int i = 0; i < 1000000; ++i) value = indirect[(value ^ (uint32_t)i) & 3](value) + 1;
    printf("primes %u\n", (unsigned)found);
    printf("fibonacci %u ackermann %u queens %u\n", (unsigned)fibonacci(25), (unsigned)ackermann(2, 200),
           (unsigned)queens(0xff, 0, 0, 0));
    checksum_word(value);
    checksum_report("calls");
    return found == 430 && queens(0x3f, 0, 0, 0) == 4 ? 0 : 1;
}
