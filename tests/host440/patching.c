// SPDX-License-Identifier: GPL-2.0-only
// A guest that is hard on patched code (guest/patching.c), at every level that the module has: it must find the machine
// as it is, and print the same at each. What it prints in trap mode is shown as `# console: LINE`, to be compared with
// the machine itself. Then it writes all over the place of the state page: it may harm itself, and nobody else.
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"
#include "client.h"
#include "guest/protocol.h"
#include "guest_images.h"

// As runtime/kvm/untrap_abi.h has it.
#define CAP_LEVELS 0x55540001u
#define HIGHEST 4u
struct stats {
    uint64_t guest_instructions, exits_total, exits[32], patched_sites, others[13];
};
#define GET_STATS _IOR(KVMIO, 0xF0, struct stats)

#define MEMORY (4 * MB)
#define CANARY (256 * KB)

static struct vm vm;
static uint8_t* space;
static char console[4096];
static size_t console_length;
static unsigned level;
// Places where the guest found stubs, and how often they were gone when it had mapped a page there.
static unsigned places_of_stubs, stubs_gave_way;

static uint32_t offered(void) {
    const int kvm = open_kvm();

    return (uint32_t)REQUIRE_SUCCESS(ioctl(kvm, KVM_CHECK_EXTENSION, CAP_LEVELS));
}

// Memory between two canaries, and the level.
static void begin(uint32_t argument) {
    const uint32_t levels = offered();
    size_t i;

    vm_open(&vm, 0);
    space = map_memory(MEMORY + 2 * CANARY);
    for (i = 0; i != CANARY; ++i) space[i] = space[CANARY + MEMORY + i] = (uint8_t)(i * 7 + 3);
    vm.memory = space + CANARY;
    vm.memory_bytes = MEMORY;
    REQUIRE_SUCCESS(set_region(vm.fd, 0, 0, 0, MEMORY, vm.memory));
    if (levels != 0) {
        struct kvm_enable_cap request;

        memset(&request, 0, sizeof(request));
        request.cap = CAP_LEVELS;
        request.args[0] = levels & ((2u << level) - 1);
        REQUIRE_SUCCESS(ioctl(vm.fd, KVM_ENABLE_CAP, &request));
    }
    VM_LOAD(&vm, 0, patching);
    vm_start_at(&vm, 0, argument, 0, 0);
    console_length = 0;
    places_of_stubs = stubs_gave_way = 0;
    memset(console, 0, sizeof(console));
}

static void check_canaries(void) {
    size_t i, bad = 0;

    for (i = 0; i != CANARY; ++i)
        if (space[i] != (uint8_t)(i * 7 + 3) || space[CANARY + MEMORY + i] != (uint8_t)(i * 7 + 3)) ++bad;
    CHECK_EQUAL(bad, 0);
}

// Stubs that there are, from debugfs: this is the only VM.
static unsigned long stubs(void) {
    char text[32] = "";
    const int fd = (int)REQUIRE_SUCCESS(open("/sys/kernel/debug/kvm/stubs", O_RDONLY));

    CHECK(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return strtoul(text, NULL, 10);
}

static void place_of_stubs(uint8_t what) {
    static bool there;
    const bool now = stubs() != 0;

    if (what == PATCHING_BEFORE && now) ++places_of_stubs;
    if (what == PATCHING_MAPPED && there && !now) ++stubs_gave_way;
    there = now;
}

static void device(void) {
    struct kvm_run* run = vm.run;
    const uint64_t offset = run->mmio.phys_addr - DEVICE_REAL;

    // Nothing that is memory of the guest's.
    if (run->mmio.phys_addr < MEMORY) check_failed(__FILE__, __LINE__, "exit for memory at %llx", run->mmio.phys_addr);
    if (!run->mmio.is_write) {
        memset(run->mmio.data, 0, sizeof(run->mmio.data));
        if (offset == DEVICE_UART + 5) run->mmio.data[0] = 0x60;
    } else if (offset == DEVICE_UART + 7) {
        place_of_stubs(run->mmio.data[0]);
    } else if (offset == DEVICE_UART && console_length + 1 < sizeof(console)) {
        console[console_length++] = (char)run->mmio.data[0];
    }
}

static volatile bool time_is_up;
static void on_alarm(int signal) {
    (void)signal;
    time_is_up = true;
    vm.run->immediate_exit = 1;
}

// Until the guest's reset; false: it came to no end, or a bad one.
static bool run_guest(unsigned seconds) {
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval limit = {.it_value = {seconds, 0}}, none = {.it_value = {0, 0}};
    bool ended = false;

    sigaction(SIGALRM, &action, NULL);
    time_is_up = false;
    setitimer(ITIMER_REAL, &limit, NULL);
    while (!time_is_up) {
        if (vm_run(&vm) != 0) {
            REQUIRE_EQUAL(errno, EINTR);
        } else if (vm.run->exit_reason == KVM_EXIT_MMIO) {
            device();
        } else if (vm.run->exit_reason == KVM_EXIT_DCR) {
            vm.run->dcr.data = 0;
        } else {
            ended = vm.run->exit_reason == KVM_EXIT_SHUTDOWN;
            break;
        }
    }
    setitimer(ITIMER_REAL, &none, NULL);
    return ended;
}

static void test_level(void) {
    struct stats stats;

    begin(level == 0 ? 0 : PATCHING_IN_QEMU);
    if (!run_guest(30)) {
        const struct kvm_regs regs = vm_regs(&vm);

        check_failed(__FILE__, __LINE__, "%s, pc %llx msr %llx srr0 %llx; the console: %s",
                     time_is_up ? "no end" : exit_name(vm.run->exit_reason), regs.pc, regs.msr, regs.srr0, console);
        check_stop();
    }
    REQUIRE_SUCCESS(ioctl(vm.vcpu, GET_STATS, &stats));
    if (strstr(console, "not ok") != NULL || strstr(console, "done\n") == NULL)
        check_failed(__FILE__, __LINE__, "the console: %s", console);
    if (level == 0) {
        const char* line = console;
        const char* end;

        for (; (end = strchr(line, '\n')) != NULL; line = end + 1) printf("# console: %.*s\n", (int)(end - line), line);
    }
    check_canaries();
    // Where a level is, it has something to do here.
    if (level != 0)
        CHECK(stats.patched_sites != 0);
    else
        CHECK_EQUAL(stats.patched_sites, 0);
    // Four places that a page was mapped over, and the one that was left.
    CHECK_EQUAL(places_of_stubs, level >= 2 ? 5 : 0);
    CHECK_EQUAL(stubs_gave_way, level >= 2 ? 4 : 0);
    CHECK(a_guest_runs());
    check_figures("%llu exits, %llu sites patched, stubs gave way %u times", (unsigned long long)stats.exits_total,
                  (unsigned long long)stats.patched_sites, stubs_gave_way);
}

static void test_scribbling(void) {
    bool ended;

    begin(PATCHING_SCRIBBLE);
    ended = run_guest(20);
    check_canaries();
    // What it did before.
    CHECK(strstr(console, "ok the guest's own code") != NULL);
    CHECK(strstr(console, "not ok") == NULL || level != 0);
    if (level == 0) CHECK(ended);
    CHECK(a_guest_runs());
    check_figures("%s", ended ? "it came to its end" : time_is_up ? "it came to no end" : "it died of it");
}

int main(void) {
    const uint32_t levels = offered() | 1;
    char name[80];

    check_program("patching");
    for (level = 0; level <= HIGHEST; ++level) {
        if ((levels >> level & 1) == 0) continue;
        snprintf(name, sizeof(name), "a guest hard on patched code, level %u", level);
        check_test(name, 120, test_level);
        snprintf(name, sizeof(name), "a guest that writes over the state page, level %u", level);
        check_test(name, 60, test_scribbling);
    }
    return check_end();
}
