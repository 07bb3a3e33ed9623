// SPDX-License-Identifier: GPL-2.0-only
// Signal delivery: COUNT times a signal to this process itself, handled and returned from.
#include "checksum.h"
#include "stopwatch.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t handled;

static void on_signal(int number) {
    (void)number;
    ++handled;
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    struct sigaction action = {.sa_handler = on_signal};
    if (sigaction(SIGUSR1, &action, NULL) != 0) {
        perror("signal: sigaction");
        return 1;
    }
    const pid_t self = getpid();
    const uint64_t started = bench_start("signal");
    for (uint32_t i = 0; i < count; ++i) kill(self, SIGUSR1);
    bench_report("signal", count, started);
    if ((uint32_t)handled != count) {
        fprintf(stderr, "signal: %u sent, %u handled\n", (unsigned)count, (unsigned)handled);
        return 1;
    }
    return 0;
}
