// SPDX-License-Identifier: GPL-2.0-only
// Matrices in double and single precision: product, LU factors with pivoting, and the residual of a solved system.
#include "checksum.h"

#include <math.h>

enum { order = 64 };

static double a[order][order], b[order][order], product[order][order], factors[order][order];
static float a_single[order][order], product_single[order][order];

static int solve(double* x) {
    for (int k = 0; k < order; ++k) {
        int pivot = k;
        for (int row = k + 1; row < order; ++row)
            if (fabs(factors[row][k]) > fabs(factors[pivot][k])) pivot = row;
        if (factors[pivot][k] == 0.0) return 0;
        for (int column = 0; column < order; ++column) {
            const double kept = factors[k][column];
            factors[k][column] = factors[pivot][column];
            factors[pivot][column] = kept;
        }
        const double kept = x[k];
        x[k] = x[pivot];
        x[pivot] = kept;
        for (int row = k + 1; row < order; ++row) {
            const double factor = factors[row][k] / factors[k][k];
            for (int column = k; column < order; ++column) factors[row][column] -= factor * factors[k][column];
            x[row] -= factor * x[k];
        }
    }
    for (int row = order - 1; row >= 0; --row) {
        for (int column = row + 1; column < order; ++column) x[row] -= factors[row][column] * x[column];
        x[row] /= factors[row][row];
    }
    return 1;
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    double right[order], x[order], worst = 0.0;
    for (int row = 0; row < order; ++row) {
        for (int column = 0; column < order; ++column) {
            a[row][column] = factors[row][column] = random_signed_unit();
            b[row][column] = random_signed_unit();
            a_single[row][column] = (float)a[row][column];
        }
        right[row] = x[row] = random_signed_unit();
    }
    for (int row = 0; row < order; ++row) {
        for (int column = 0; column < order; ++column) {
            double sum = 0.0;
            float sum_single = 0.0f;
            for (int k = 0; k < order; ++k) {
                sum += a[row][k] * b[k][column];
                sum_single += a_single[row][k] * a_single[k][column];
            }
            product[row][column] = sum;
            product_single[row][column] = sum_single;
            checksum_double(sum);
            checksum_double(sum_single);
        }
    }
    checksum_report("product");
    if (!solve(x)) {
        puts("matrix: singular");
        return 1;
    }
    for (int row = 0; row < order; ++row) {
        double sum = -right[row];
        for (int column = 0; column < order; ++column) sum += a[row][column] * x[column];
        worst = fmax(worst, fabs(sum));
        checksum_double(x[row]);
    }
    if (!(worst < 1e-9)) {
        printf("matrix: residual %g\n", worst);
        return 1;
    }
    printf("trace %.17g %.9g residual %.3g\n", product[1][1], (double)product_single[1][1], worst);
    checksum_report("solution");
    return 0;
}
