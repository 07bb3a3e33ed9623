// SPDX-License-Identifier: GPL-2.0-only
// Matrices: an operation multiplies two matrices of 64 by 64 doubles and keeps the scaled product as the next left one.
#include "bench/programs/load.h"

#include <string.h>

enum { size = 64 };

static double left[size][size], right[size][size], product[size][size];

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    for (int i = 0; i < size; ++i)
        for (int k = 0; k < size; ++k) {
            left[i][k] = random_signed_unit();
            // Near the identity, so that products neither vanish nor grow without end.
            right[i][k] = (i == k) + random_signed_unit() / 1024;
        }
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        for (int i = 0; i < size; ++i)
            for (int j = 0; j < size; ++j) {
                double sum = 0.0;
                for (int k = 0; k < size; ++k) sum += left[i][k] * right[k][j];
                product[i][j] = sum;
            }
        memcpy(left, product, sizeof left);
        for (int i = 0; i < size; ++i) left[i][n % size] *= 0.9375;
    }
    const uint64_t taken = nanoseconds_now() - started;
    for (int i = 0; i < size; ++i) checksum_rounded(left[i][i] + left[i][size - 1 - i]);
    load_report("matrix", count, taken);
    return 0;
}
