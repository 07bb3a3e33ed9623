// SPDX-License-Identifier: GPL-2.0-only
// Floating-point numbers as text and back: every printf conversion over ordinary, tiny, huge and special values,
// strtod of what was printed, and conversions between integers and floats.
#include "checksum.h"

#include <math.h>
#include <string.h>

static double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int same(double a, double b) { return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)); }

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    static const char* const formats[] = {"%f", "%.0f",  "%e",      "%.17g", "%g",
                                          "%a", "%+.3e", "%012.4f", "%#.3g", "%-20.6f|"};
    double values[64] = {0.0,
                         -0.0,
                         1.0,
                         -1.5,
                         0.1,
                         1.0 / 3.0,
                         1e100,
                         -1e-100,
                         5e-324,
                         2.2250738585072014e-308,
                         1.7976931348623157e308,
                         0.5,
                         1.5,
                         2.5,
                         123456789.125,
                         4294967296.0};
    values[16] = INFINITY;
    values[17] = -INFINITY;
    values[18] = NAN;
    for (size_t i = 19; i < 64; ++i)
        values[i] = from_bits(((uint64_t)random_word() << 32 | random_word()) &
                              ~(0x300ULL << 52 & (uint64_t) - (int64_t)(i & 1)));
    char text[512];
    for (size_t i = 0; i < 64; ++i) {
        for (size_t f = 0; f < sizeof formats / sizeof *formats; ++f) {
            const int length = snprintf(text, sizeof text, formats[f], values[i]);
            checksum_bytes(text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
        }
        snprintf(text, sizeof text, "%.17g", values[i]);
        if (!same(strtod(text, NULL), values[i])) {
            printf("numbers: %s reads back as %.17g\n", text, strtod(text, NULL));
            return 1;
        }
        if (i < 24) printf("%s %.6g %a\n", text, values[i], values[i]);
        snprintf(text, sizeof text, "%.9g", (double)(float)values[i]);
        checksum_double(strtof(text, NULL));
    }
    checksum_report("text");
    for (unsigned i = 0; i < 5000; ++i) {
        const uint64_t word = (uint64_t)random_word() << 32 | random_word();
        const uint64_t shifted = word >> (random_word() & 63);
        checksum_double((double)shifted);
        checksum_double((double)(int64_t)word);
        checksum_double((double)(float)(int64_t)shifted);
        checksum_double((double)(uint32_t)word);
        checksum_double((double)(int32_t)word);
        const double value = (double)(int64_t)word / 4294967296.0 / 1.0625;
        checksum_word((uint32_t)(int32_t)value);
        checksum_word((uint32_t)(int64_t)(value * 65536.0));
        checksum_double(floor(value) + ceil(value * 0.5) + trunc(value * 0.25) + rint(value * 0.125));
    }
    checksum_report("conversions");
    return 0;
}
