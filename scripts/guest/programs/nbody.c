// SPDX-License-Identifier: GPL-2.0-only
// Eight bodies under gravity, 2000 leapfrog steps: square roots, divisions and multiply-adds in long dependent chains.
#include "checksum.h"

#include <math.h>

enum { bodies = 8, steps = 2000 };

static double place[bodies][3], speed[bodies][3], pull[bodies][3], mass[bodies];

static void accelerate(void) {
    for (int i = 0; i < bodies; ++i) pull[i][0] = pull[i][1] = pull[i][2] = 0.0;
    for (int i = 0; i < bodies; ++i) {
        for (int j = i + 1; j < bodies; ++j) {
            double apart[3], squared = 1e-2;
            for (int axis = 0; axis < 3; ++axis) {
                apart[axis] = place[j][axis] - place[i][axis];
                squared += apart[axis] * apart[axis];
            }
            const double inverse_cube = 1.0 / (squared * sqrt(squared));
            for (int axis = 0; axis < 3; ++axis) {
                pull[i][axis] += apart[axis] * mass[j] * inverse_cube;
                pull[j][axis] -= apart[axis] * mass[i] * inverse_cube;
            }
        }
    }
}

static double energy(void) {
    double sum = 0.0;
    for (int i = 0; i < bodies; ++i) {
        for (int axis = 0; axis < 3; ++axis) sum += 0.5 * mass[i] * speed[i][axis] * speed[i][axis];
        for (int j = i + 1; j < bodies; ++j) {
            double squared = 1e-2;
            for (int axis = 0; axis < 3; ++axis)
                squared += (place[i][axis] - place[j][axis]) * (place[i][axis] - place[j][axis]);
            sum -= mass[i] * mass[j] / sqrt(squared);
        }
    }
    return sum;
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    const double step = 1e-4;
    for (int i = 0; i < bodies; ++i) {
        mass[i] = 1.5 + random_signed_unit();
        for (int axis = 0; axis < 3; ++axis) {
            place[i][axis] = 4.0 * random_signed_unit();
            speed[i][axis] = random_signed_unit();
        }
    }
    const double before = energy();
    accelerate();
    for (int n = 0; n < steps; ++n) {
        for (int i = 0; i < bodies; ++i)
            for (int axis = 0; axis < 3; ++axis) {
                speed[i][axis] += 0.5 * step * pull[i][axis];
                place[i][axis] += step * speed[i][axis];
            }
        accelerate();
        for (int i = 0; i < bodies; ++i)
            for (int axis = 0; axis < 3; ++axis) speed[i][axis] += 0.5 * step * pull[i][axis];
    }
    const double after = energy();
    for (int i = 0; i < bodies; ++i)
        for (int axis = 0; axis < 3; ++axis) checksum_double(place[i][axis]);
    printf("energy %.12f before, %.12f after\n", before, after);
    checksum_report("nbody");
    return fabs(after - before) < 1e-3 * fabs(before) ? 0 : 1;
}
