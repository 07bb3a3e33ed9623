// SPDX-License-Identifier: GPL-2.0-only
// The mathematical library over a grid of arguments, with identities that hold to rounding.
#include "checksum.h"

#include <math.h>

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    double worst = 0.0;
    for (int i = 1; i <= 2000; ++i) {
        const double x = i / 64.0 + random_signed_unit() / 128.0;
        const double s = sin(x), c = cos(x);
        worst = fmax(worst, fabs(s * s + c * c - 1.0));
        worst = fmax(worst, fabs(exp(log(x)) / x - 1.0));
        worst = fmax(worst, fabs(sqrt(x) * sqrt(x) / x - 1.0));
        worst = fmax(worst, fabs(pow(x, 1.0 / 3.0) / cbrt(x) - 1.0));
        worst = fmax(worst, fabs(atan2(s, c) - atan(tan(x))) > 1.0 ? 0.0 : fabs(tan(atan(x)) / x - 1.0));
        checksum_double(s);
        checksum_double(c);
        checksum_double(log(x));
        checksum_double(exp(-x));
        checksum_double(pow(x, -1.75));
        checksum_double(tanh(x / 8.0));
        checksum_double(lgamma(x));
        checksum_double(erf(x / 4.0));
        checksum_double(fmod(x * 1e6, 7.25));
        checksum_double((double)sinf((float)x) + (double)expf((float)-x));
        checksum_double(ldexp(frexp(x, &(int){0}), i & 31));
    }
    printf("worst %.3g\n", worst);
    checksum_report("functions");
    return worst < 1e-12 ? 0 : 1;
}
