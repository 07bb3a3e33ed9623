// SPDX-License-Identifier: GPL-2.0-only
// Null system calls: COUNT times getppid, past any cache in the C library.
#include "checksum.h"
#include "stopwatch.h"

#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    const uint64_t started = bench_start("null");
    for (uint32_t i = 0; i < count; ++i) syscall(SYS_getppid);
    bench_report("null", count, started);
    return 0;
}
