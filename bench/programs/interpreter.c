// SPDX-License-Identifier: GPL-2.0-only
// An interpreter's loop: an operation runs a program of a small stack machine that finds the longest Collatz chain
// below 60 and mixes what it passes into a sum (some 40 thousand dispatched instructions).
#include "bench/programs/load.h"

enum op { PUSH, LOAD, STORE, ADD, MUL, AND, XOR, SHR, LESS, EQUAL, JUMP, UNLESS, STOP, LABEL };
enum variable { SUM, START, N, LENGTH, BEST, MASK, VARIABLES };
enum label { NEXT_START, CHAIN, CHAIN_STEP, HALVE, STEPPED, CHAIN_END, NOT_BEST, END, LABELS };

// Each instruction with its operand; LABEL marks a place and is no instruction.
static const int32_t source[][2] = {{PUSH, 1},
                                    {STORE, START},
                                    // while (start < 60) { n = start; length = 0;
                                    {LABEL, NEXT_START},
                                    {LOAD, START},
                                    {PUSH, 60},
                                    {LESS, 0},
                                    {UNLESS, END},
                                    {LOAD, START},
                                    {STORE, N},
                                    {PUSH, 0},
                                    {STORE, LENGTH},
                                    // while (n != 1) {
                                    {LABEL, CHAIN},
                                    {LOAD, N},
                                    {PUSH, 1},
                                    {EQUAL, 0},
                                    {UNLESS, CHAIN_STEP},
                                    {JUMP, CHAIN_END},
                                    // n = n & 1 ? 3 * n + 1 : n >> 1;
                                    {LABEL, CHAIN_STEP},
                                    {LOAD, N},
                                    {PUSH, 1},
                                    {AND, 0},
                                    {UNLESS, HALVE},
                                    {LOAD, N},
                                    {PUSH, 3},
                                    {MUL, 0},
                                    {PUSH, 1},
                                    {ADD, 0},
                                    {JUMP, STEPPED},
                                    {LABEL, HALVE},
                                    {LOAD, N},
                                    {SHR, 0},
                                    // ++length; sum += n ^ mask; }
                                    {LABEL, STEPPED},
                                    {STORE, N},
                                    {LOAD, LENGTH},
                                    {PUSH, 1},
                                    {ADD, 0},
                                    {STORE, LENGTH},
                                    {LOAD, N},
                                    {LOAD, MASK},
                                    {XOR, 0},
                                    {LOAD, SUM},
                                    {ADD, 0},
                                    {STORE, SUM},
                                    {JUMP, CHAIN},
                                    // if (best < length) best = length;
                                    {LABEL, CHAIN_END},
                                    {LOAD, BEST},
                                    {LOAD, LENGTH},
                                    {LESS, 0},
                                    {UNLESS, NOT_BEST},
                                    {LOAD, LENGTH},
                                    {STORE, BEST},
                                    // sum *= 5; ++start; }
                                    {LABEL, NOT_BEST},
                                    {LOAD, SUM},
                                    {PUSH, 5},
                                    {MUL, 0},
                                    {STORE, SUM},
                                    {LOAD, START},
                                    {PUSH, 1},
                                    {ADD, 0},
                                    {STORE, START},
                                    {JUMP, NEXT_START},
                                    {LABEL, END},
                                    {STOP, 0}};

enum { source_size = sizeof source / sizeof *source };

static int32_t program[source_size][2];

static void assemble(void) {
    int32_t places[LABELS], size = 0;
    for (int i = 0; i < source_size; ++i)
        if (source[i][0] == LABEL)
            places[source[i][1]] = size;
        else
            ++size;
    size = 0;
    for (int i = 0; i < source_size; ++i) {
        if (source[i][0] == LABEL) continue;
        const int jumps = source[i][0] == JUMP || source[i][0] == UNLESS;
        program[size][0] = source[i][0];
        program[size++][1] = jumps ? places[source[i][1]] : source[i][1];
    }
}

static uint32_t run(uint32_t* variables) {
    uint32_t stack[8], dispatched = 0;
    int top = 0;
    for (int32_t at = 0;;) {
        const int32_t operand = program[at][1];
        ++dispatched;
        switch (program[at++][0]) {
        case PUSH: stack[top++] = (uint32_t)operand; break;
        case LOAD: stack[top++] = variables[operand]; break;
        case STORE: variables[operand] = stack[--top]; break;
        case ADD: --top, stack[top - 1] += stack[top]; break;
        case MUL: --top, stack[top - 1] *= stack[top]; break;
        case AND: --top, stack[top - 1] &= stack[top]; break;
        case XOR: --top, stack[top - 1] ^= stack[top]; break;
        case SHR: stack[top - 1] >>= 1; break;
        case LESS: --top, stack[top - 1] = stack[top - 1] < stack[top]; break;
        case EQUAL: --top, stack[top - 1] = stack[top - 1] == stack[top]; break;
        case JUMP: at = operand; break;
        case UNLESS: at = stack[--top] ? at : operand; break;
        default: return dispatched;
        }
    }
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    uint32_t sum = 0;
    assemble();
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        uint32_t variables[VARIABLES] = {[SUM] = sum, [MASK] = n};
        const uint32_t dispatched = run(variables);
        // 54 takes 112 steps, the most below 60.
        if (variables[BEST] != 112) {
            fprintf(stderr, "interpreter: longest chain %u, not 112\n", (unsigned)variables[BEST]);
            return 1;
        }
        sum = variables[SUM];
        checksum_word(sum ^ dispatched);
    }
    load_report("interpreter", count, nanoseconds_now() - started);
    return 0;
}
