// SPDX-License-Identifier: GPL-2.0-only
// Fourier transforms: an operation transforms 1024 complex doubles there and back.
#include "bench/programs/load.h"

#include <math.h>

enum { bits = 10, size = 1 << bits };

static double re[size], im[size], cosine[size / 2], sine[size / 2];

static void transform(double sign) {
    for (unsigned i = 0; i < size; ++i) {
        unsigned reversed = 0;
        for (unsigned bit = 0; bit < bits; ++bit) reversed |= (i >> bit & 1) << (bits - 1 - bit);
        if (reversed <= i) continue;
        const double r = re[i], q = im[i];
        re[i] = re[reversed], im[i] = im[reversed];
        re[reversed] = r, im[reversed] = q;
    }
    for (unsigned half = 1; half < size; half *= 2) {
        for (unsigned start = 0; start < size; start += 2 * half) {
            for (unsigned k = 0; k < half; ++k) {
                const unsigned low = start + k, high = low + half, turn = k * (size / 2 / half);
                const double c = cosine[turn], s = sign * sine[turn];
                const double r = re[high] * c - im[high] * s, q = re[high] * s + im[high] * c;
                re[high] = re[low] - r, im[high] = im[low] - q;
                re[low] += r, im[low] += q;
            }
        }
    }
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    for (int k = 0; k < size / 2; ++k) {
        cosine[k] = cos(2 * M_PI * k / size);
        sine[k] = sin(2 * M_PI * k / size);
    }
    for (int i = 0; i < size; ++i) re[i] = random_signed_unit(), im[i] = random_signed_unit();
    const double first = re[1];
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        transform(-1.0);
        transform(1.0);
        for (int i = 0; i < size; ++i) re[i] /= size, im[i] /= size;
    }
    const uint64_t taken = nanoseconds_now() - started;
    if (!(fabs(re[1] - first) < 1e-9)) {
        fprintf(stderr, "fft: comes back as %g, not %g\n", re[1], first);
        return 1;
    }
    transform(-1.0);
    for (int i = 0; i < size; i += 16) checksum_rounded(re[i] + im[i]);
    load_report("fft", count, taken);
    return 0;
}
