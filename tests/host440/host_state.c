// SPDX-License-Identifier: GPL-2.0-only
#include "host_state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "client.h"

// The sum of the numbers behind a name at the beginning of lines, or behind blanks there.
static long value_in(const char* path, const char* name) {
    static char text[32768];
    const int fd = open(path, O_RDONLY);
    size_t length = 0;
    const char* line = text;
    ssize_t got;
    long sum = 0;

    REQUIRE(fd >= 0);
    while (length + 1 < sizeof(text) && (got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    text[length] = '\0';
    for (; line != NULL; line = strchr(line, '\n')) {
        line += strspn(line, " \n");
        if (strncmp(line, name, strlen(name)) == 0) sum += strtol(line + strlen(name), NULL, 10);
    }
    return sum;
}

void settle(void) {
    unsigned i;

    for (i = 0; i != 3; ++i) {
        const int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

        sleep_ms(200);
        sync();
        if (fd < 0) return;
        if (write(fd, "3\n", 2) != 2) perror("drop_caches");
        close(fd);
    }
    sleep_ms(200);
}

struct host_state host_state(void) {
    struct host_state state;

    settle();
    state.free_kb = value_in("/proc/meminfo", "MemFree:") + value_in("/proc/meminfo", "Cached:") +
                    value_in("/proc/meminfo", "Buffers:") + 4 * value_in("/proc/zoneinfo", "count:");
    state.slab_kb = value_in("/proc/meminfo", "Slab:");
    state.vmalloc_kb = value_in("/proc/meminfo", "VmallocUsed:");
    state.pinned = value_in("/proc/vmstat", "nr_foll_pin_acquired ");
    state.pins = state.pinned - value_in("/proc/vmstat", "nr_foll_pin_released ");
    state.locked_kb = value_in("/proc/self/status", "VmLck:") + value_in("/proc/self/status", "VmPin:");
    return state;
}

void check_same_state(const struct host_state* before, long noise_kb) {
    struct host_state now = host_state();
    unsigned attempt;

    // The kernel frees some of it late.
    for (attempt = 0; attempt != 5 && before->free_kb - now.free_kb > noise_kb; ++attempt) {
        sleep_ms(1000);
        now = host_state();
    }
    CHECK_EQUAL(now.pins, before->pins);
    CHECK_EQUAL(now.locked_kb, before->locked_kb);
    if (before->free_kb - now.free_kb > noise_kb)
        check_failed(__FILE__, __LINE__, "%ld KB less are free", before->free_kb - now.free_kb);
    if (now.slab_kb - before->slab_kb > noise_kb)
        check_failed(__FILE__, __LINE__, "%ld KB more of slabs", now.slab_kb - before->slab_kb);
    if (now.vmalloc_kb - before->vmalloc_kb > noise_kb)
        check_failed(__FILE__, __LINE__, "%ld KB more from vmalloc", now.vmalloc_kb - before->vmalloc_kb);
    check_figures("free %+ld KB, slabs %+ld KB, vmalloc %+ld KB, pinned pages %+ld of %ld",
                  now.free_kb - before->free_kb, now.slab_kb - before->slab_kb, now.vmalloc_kb - before->vmalloc_kb,
                  now.pins - before->pins, now.pinned - before->pinned);
}
