// SPDX-License-Identifier: GPL-2.0-only
// Bodies under gravity: an operation moves six bodies through 50 steps from a new start. Starts are new and paths
// short, so that roundings cannot grow.
#include "bench/programs/load.h"

#include <math.h>

enum { bodies = 6, steps = 50 };

static struct { double place[3], speed[3], mass; } body[bodies];

static void step(double time) {
    for (int i = 0; i < bodies; ++i) {
        for (int j = i + 1; j < bodies; ++j) {
            double apart[3], squared = 0.0625;
            for (int axis = 0; axis < 3; ++axis) {
                apart[axis] = body[i].place[axis] - body[j].place[axis];
                squared += apart[axis] * apart[axis];
            }
            const double pull = time / (squared * sqrt(squared));
            for (int axis = 0; axis < 3; ++axis) {
                body[i].speed[axis] -= apart[axis] * body[j].mass * pull;
                body[j].speed[axis] += apart[axis] * body[i].mass * pull;
            }
        }
    }
    for (int i = 0; i < bodies; ++i)
        for (int axis = 0; axis < 3; ++axis) body[i].place[axis] += time * body[i].speed[axis];
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    double travelled = 0.0;
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        for (int i = 0; i < bodies; ++i) {
            body[i].mass = 1.25 + random_signed_unit();
            for (int axis = 0; axis < 3; ++axis) {
                body[i].place[axis] = 2.0 * random_signed_unit();
                body[i].speed[axis] = random_signed_unit();
            }
        }
        for (int i = 0; i < steps; ++i) step(1.0 / 1024);
        for (int i = 0; i < bodies; ++i) travelled += fabs(body[i].place[0]) + fabs(body[i].place[2]);
    }
    const uint64_t taken = nanoseconds_now() - started;
    for (int i = 0; i < bodies; ++i) checksum_rounded(body[i].place[1]);
    checksum_rounded(travelled);
    load_report("nbody", count, taken);
    return 0;
}
