// SPDX-License-Identifier: GPL-2.0-only
// Processes: COUNT times fork, execute this program again, wait for it.
#include "checksum.h"
#include "stopwatch.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { child_status = 42 };

int main(int argc, char** argv) {
    if (argc == 2 && strcmp(argv[1], "--child") == 0) return child_status;
    const uint32_t count = operation_count(argc, argv);
    const uint64_t started = bench_start("forkexec");
    for (uint32_t i = 0; i < count; ++i) {
        int status = 0;
        const pid_t child = fork();
        if (child < 0) {
            perror("forkexec: fork");
            return 1;
        }
        if (child == 0) {
            execl("/proc/self/exe", argv[0], "--child", (char*)NULL);
            _exit(127);
        }
        if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != child_status) {
            fprintf(stderr, "forkexec: child %u ended with wait status %x\n", (unsigned)i, (unsigned)status);
            return 1;
        }
    }
    bench_report("forkexec", count, started);
    return 0;
}
