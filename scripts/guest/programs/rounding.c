// SPDX-License-Identifier: GPL-2.0-only
// The FPU's corners: every arithmetic operation in all four rounding modes over special and random operands, with
// the status bits (FPSCR sticky bits, FPRF, FI) and the record bit's CR1 taken after each. The output is compared with
// qemu-ppc's, so what that is known to do otherwise than the architecture stays out: FR, FPRF of single results, NaNs
// wider than a single in single arithmetic, fnmadd and fnmsub in the directed rounding modes, FPSCR after compares.
// tests/fp compares all of that exactly.
#include "checksum.h"

#include <stdbool.h>
#include <string.h>

static double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void set_fpscr(uint32_t word) {
    const double value = from_bits(0xfff8000000000000u | word);
    __asm__ volatile("mtfsf 255, %0" : : "f"(value));
}

static uint32_t fpscr(void) {
    double value;
    uint64_t bits;
    __asm__ volatile("mffs %0" : "=f"(value));
    memcpy(&bits, &value, sizeof bits);
    return (uint32_t)bits;
}

enum { fraction_rounded = 0x00040000, result_flags = 0x0001f000 };

#define OPERATION(name, text)                                                                                          \
    static double name(double a, double b, double c) {                                                                 \
        double result;                                                                                                 \
        uint32_t condition;                                                                                            \
        __asm__ volatile(text "\n\tmfcr %1" : "=&f"(result), "=r"(condition) : "f"(a), "f"(b), "f"(c) : "cr1");        \
        checksum_word(condition & 0x0f000000u);                                                                        \
        return result;                                                                                                 \
    }

OPERATION(add, "fadd. %0, %2, %3")
OPERATION(add_single, "fadds. %0, %2, %3")
OPERATION(subtract, "fsub. %0, %2, %3")
OPERATION(multiply, "fmul. %0, %2, %3")
OPERATION(multiply_single, "fmuls. %0, %2, %3")
OPERATION(divide, "fdiv. %0, %2, %3")
OPERATION(divide_single, "fdivs. %0, %2, %3")
OPERATION(multiply_add, "fmadd. %0, %2, %3, %4")
OPERATION(multiply_subtract_single, "fmsubs. %0, %2, %3, %4")
OPERATION(negative_multiply_add, "fnmadd. %0, %2, %3, %4")
OPERATION(negative_multiply_subtract_single, "fnmsubs. %0, %2, %3, %4")
OPERATION(round_to_single, "frsp. %0, %2")
OPERATION(to_integer, "fctiw. %0, %2")
OPERATION(to_integer_truncated, "fctiwz. %0, %2")
OPERATION(negate, "fneg. %0, %2")
OPERATION(absolute, "fabs. %0, %2")
OPERATION(negative_absolute, "fnabs. %0, %2")

static const uint64_t special[] = {
    0x0000000000000000u, 0x8000000000000000u, 0x3ff0000000000000u, 0xbff0000000000001u, 0x7ff0000000000000u,
    0xfff0000000000000u, 0x7ff8000000000000u, 0x7ff0000020000000u, 0xfff8123460000000u, 0x0000000000000001u,
    0x800fffffffffffffu, 0x0010000000000000u, 0x7fefffffffffffffu, 0x47efffffe0000000u, 0x36a0000000000000u,
    0x380fffffffffffffu, 0x41dfffffffe00000u, 0xc1e0000000100000u, 0x3fe0000000000000u, 0x4330000000000001u,
};
enum { specials = sizeof special / sizeof *special };

static double operand(unsigned index) {
    if (index < specials) return from_bits(special[index]);
    const uint64_t exponent = 1023u - 40u + random_word() % 80u;
    return from_bits((uint64_t)(random_word() & 1) << 63 | exponent << 52 | (uint64_t)(random_word() & 0xfffff) << 32 |
                     random_word());
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    static const struct {
        const char* name;
        double (*run)(double, double, double);
        unsigned modes;
        bool is_single;
    } operations[] = {
        {"fadd", add, 4, false},
        {"fadds", add_single, 4, true},
        {"fsub", subtract, 4, false},
        {"fmul", multiply, 4, false},
        {"fmuls", multiply_single, 4, true},
        {"fdiv", divide, 4, false},
        {"fdivs", divide_single, 4, true},
        {"fmadd", multiply_add, 4, false},
        {"fmsubs", multiply_subtract_single, 4, true},
        {"fnmadd", negative_multiply_add, 2, false},
        {"fnmsubs", negative_multiply_subtract_single, 2, true},
        {"frsp", round_to_single, 4, true},
        {"fctiw", to_integer, 4, false},
        {"fctiwz", to_integer_truncated, 4, false},
        {"fneg", negate, 4, false},
        {"fabs", absolute, 4, false},
        {"fnabs", negative_absolute, 4, false},
    };
    for (size_t n = 0; n < sizeof operations / sizeof *operations; ++n) {
        checksum_state = 0x811c9dc5u;
        for (uint32_t mode = 0; mode < operations[n].modes; ++mode) {
            for (unsigned i = 0; i < specials + 8; ++i) {
                for (unsigned j = 0; j < specials + 8; ++j) {
                    const double a = operand(i), b = operand(j), c = operand((i + j) % (specials + 4));
                    set_fpscr(mode);
                    uint64_t bits;
                    const double result = operations[n].run(a, b, c);
                    uint32_t status = fpscr() & ~(uint32_t)fraction_rounded;
                    memcpy(&bits, &result, sizeof bits);
                    // The upper word and FPRF of a conversion to integer are undefined.
                    if (operations[n].run == to_integer || operations[n].run == to_integer_truncated) {
                        bits &= 0xffffffffu;
                        status &= ~(uint32_t)result_flags;
                    }
                    if (operations[n].is_single) status &= ~(uint32_t)result_flags;
                    checksum_double_word(bits);
                    checksum_word(status);
                }
            }
        }
        set_fpscr(0);
        checksum_report(operations[n].name);
    }
    checksum_state = 0x811c9dc5u;
    for (unsigned i = 0; i < specials; ++i) {
        for (unsigned j = 0; j < specials; ++j) {
            uint32_t ordered, unordered;
            set_fpscr(0);
            __asm__ volatile("fcmpo 5, %1, %2\n\tmfcr %0" : "=r"(ordered) : "f"(operand(i)), "f"(operand(j)) : "cr5");
            set_fpscr(0);
            __asm__ volatile("fcmpu 6, %1, %2\n\tmfcr %0" : "=r"(unordered) : "f"(operand(i)), "f"(operand(j)) : "cr6");
            checksum_word((ordered & 0xf00u) | (unordered & 0xf0u));
        }
    }
    set_fpscr(0);
    checksum_report("compare");
    return 0;
}
