// SPDX-License-Identifier: GPL-2.0-only
// Round trips of one byte between two processes over a pair of pipes, COUNT times.
#include "checksum.h"
#include "stopwatch.h"

#include <sys/wait.h>
#include <unistd.h>

static void stop(const char* what) {
    perror(what);
    exit(1);
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    int there[2], back[2], status = 0;
    char byte = 0;
    if (pipe(there) != 0 || pipe(back) != 0) stop("pipe");
    const pid_t child = fork();
    if (child < 0) stop("fork");
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            ++byte;
            if (write(back[1], &byte, 1) != 1) _exit(1);
        }
        _exit(0);
    }
    close(there[0]);
    const uint64_t started = bench_start("pipe");
    for (uint32_t i = 0; i < count; ++i) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) stop("round trip");
        if ((uint8_t)byte != (uint8_t)(i + 1)) {
            fprintf(stderr, "pipe: round trip %u came back as %u\n", (unsigned)i, (unsigned)(uint8_t)byte);
            return 1;
        }
    }
    bench_report("pipe", count, started);
    close(there[1]);
    if (waitpid(child, &status, 0) != child) stop("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
