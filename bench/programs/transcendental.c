// SPDX-License-Identifier: GPL-2.0-only
// The mathematical library: an operation takes sine, cosine, arc tangent, exponential, logarithm and power of 64
// numbers.
#include "bench/programs/load.h"

#include <math.h>

enum { size = 64 };

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    double numbers[size], sum = 0.0;
    for (int i = 0; i < size; ++i) numbers[i] = 4.0 * random_signed_unit();
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        const double shift = (double)(n & 63) / 64;
        for (int i = 0; i < size; ++i) {
            const double x = numbers[i] + shift;
            sum += sin(x) + cos(x) * atan(x) + exp(-x * x) + log(x * x + 1.0) + pow(fabs(x) + 0.5, 0.75);
        }
    }
    const uint64_t taken = nanoseconds_now() - started;
    checksum_rounded(sum);
    load_report("transcendental", count, taken);
    return 0;
}
