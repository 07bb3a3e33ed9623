// SPDX-License-Identifier: GPL-2.0-only
// A radix-2 FFT of 8192 complex doubles there and back; the way back must give the input again.
#include "checksum.h"

#include <math.h>

enum { bits = 13, size = 1 << bits };

static double re[size], im[size], re_in[size], im_in[size];

static void transform(int sign) {
    for (unsigned i = 0; i < size; ++i) {
        unsigned reversed = 0;
        for (unsigned bit = 0; bit < bits; ++bit) reversed |= (i >> bit & 1) << (bits - 1 - bit);
        if (reversed > i) {
            double kept = re[i];
            re[i] = re[reversed];
            re[reversed] = kept;
            kept = im[i];
            im[i] = im[reversed];
            im[reversed] = kept;
        }
    }
    for (unsigned half = 1; half < size; half *= 2) {
        for (unsigned k = 0; k < half; ++k) {
            const double angle = sign * M_PI * (double)k / (double)half;
            const double c = cos(angle), s = sin(angle);
            for (unsigned i = k; i < size; i += 2 * half) {
                const double r = re[i + half] * c - im[i + half] * s;
                const double q = re[i + half] * s + im[i + half] * c;
                re[i + half] = re[i] - r;
                im[i + half] = im[i] - q;
                re[i] += r;
                im[i] += q;
            }
        }
    }
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    for (int i = 0; i < size; ++i) {
        re[i] = re_in[i] = random_signed_unit();
        im[i] = im_in[i] = random_signed_unit();
    }
    transform(-1);
    for (int i = 0; i < size; ++i) {
        checksum_double(re[i]);
        checksum_double(im[i]);
    }
    checksum_report("spectrum");
    transform(1);
    double worst = 0.0;
    for (int i = 0; i < size; ++i) {
        worst = fmax(worst, fabs(re[i] / size - re_in[i]));
        worst = fmax(worst, fabs(im[i] / size - im_in[i]));
    }
    if (!(worst < 1e-12)) {
        printf("fft: comes back %g away\n", worst);
        return 1;
    }
    printf("worst %.6g\n", worst);
    return 0;
}
