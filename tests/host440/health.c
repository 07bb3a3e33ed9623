// SPDX-License-Identifier: GPL-2.0-only
// The host goes on while guests spin with interrupts off, nothing is left of a VMM that is killed, and the module comes
// and goes as it should. Usage: health [SEED [MODULE [MODULE ARGUMENTS]]]; without MODULE it stays loaded.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "guest/protocol.h"
#include "guest_images.h"
#include "host_state.h"
#include "snippets.h"

static uint64_t seed = 0x440BEA7ull;
static const char *module_file, *module_arguments = "";

// ---- guests that spin
// ------------------------------------------------------------------------------------------------

// A process whose guest spins with MSR[EE] off, for ever.
static pid_t start_spinner(void) {
    const pid_t child = fork();

    if (child == 0) {
        struct vm vm;

        vm_open(&vm, MB);
        VM_LOAD(&vm, 0x1000, spin);
        vm_start_at(&vm, 0x1000, 0, 0, 0);
        (void)vm_run(&vm);
        _exit(1);
    }
    REQUIRE(child > 0);
    return child;
}

static void end_process(pid_t child) {
    int status;

    kill(child, SIGKILL);
    REQUIRE_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static double clock_seconds(clockid_t clock) {
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

// The clock against the timebase, the ticks against the clock, and timers.
static void test_clock(void) {
    pid_t spinners[2];
    double start, ticks, coarse, took, late = 0, worst = 0;
    uint64_t start_ticks;
    unsigned i;

    spinners[0] = start_spinner();
    spinners[1] = start_spinner();
    start = clock_seconds(CLOCK_MONOTONIC);
    start_ticks = timebase();
    coarse = clock_seconds(CLOCK_MONOTONIC_COARSE);
    for (i = 0; i != 40; ++i) {
        const double before = clock_seconds(CLOCK_MONOTONIC);

        sleep_ms(20);
        took = clock_seconds(CLOCK_MONOTONIC) - before - 0.020;
        late += took;
        if (took > worst) worst = took;
    }
    took = clock_seconds(CLOCK_MONOTONIC) - start;
    ticks = (double)(timebase() - start_ticks) / 400e6;
    coarse = clock_seconds(CLOCK_MONOTONIC_COARSE) - coarse;
    CHECK(took > 0.8);
    CHECK(ticks > took * 0.999 && ticks < took * 1.001);
    CHECK(coarse > took - 0.012 && coarse < took + 0.012); // jiffies of 4 ms: none is lost
    CHECK(worst < 0.05);
    check_figures("%.2f s; timers late by %.2f ms on average, %.2f at most", took, late / 40 * 1e3, worst * 1e3);
    end_process(spinners[0]);
    end_process(spinners[1]);
}

// Another process gets its half of the CPU, and the guest the other.
static void test_share(void) {
    struct rusage usage;
    double start, took, mine;
    volatile unsigned work = 0;
    const pid_t spinner = start_spinner();

    sleep_ms(50);
    getrusage(RUSAGE_SELF, &usage);
    mine = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6;
    start = seconds_now();
    while (seconds_now() - start < 1.0)
        for (unsigned i = 0; i != 1000; ++i) work += i;
    took = seconds_now() - start;
    getrusage(RUSAGE_SELF, &usage);
    mine = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6 - mine;
    CHECK(mine / took > 0.35 && mine / took < 0.65);
    check_figures("%.0f %% of the CPU beside a guest that spins", mine / took * 100);
    end_process(spinner);
}

// The console's port works by interrupts: a text goes out in about the same time.
static double send_text(int port) {
    static char text[2000];
    double start;
    size_t i;

    for (i = 0; i != sizeof(text); ++i) text[i] = i % 64 == 63 ? '\n' : "serial "[i % 7];
    start = seconds_now();
    REQUIRE_EQUAL(write(port, text, sizeof(text)), sizeof(text));
    REQUIRE_SUCCESS(tcdrain(port));
    return seconds_now() - start;
}

static void test_serial(void) {
    const int port = (int)REQUIRE_SUCCESS(open("/dev/ttyS0", O_WRONLY | O_NOCTTY));
    const double idle = send_text(port);
    const pid_t spinner = start_spinner();
    double busy;

    sleep_ms(50);
    busy = send_text(port);
    CHECK(busy < idle * 2 + 0.05);
    check_figures("2000 characters in %.0f ms, %.0f beside a guest that spins", idle * 1e3, busy * 1e3);
    end_process(spinner);
}

// ---- two VMs
// ---------------------------------------------------------------------------------------------------------

static void sum_in(struct vm* vm, uint32_t count, uint32_t* result) {
    vm_start_at(vm, 0x1000, count, 0, 0);
    *result = vm_run_to_done(vm);
}

static void* second_machine(void* result) {
    struct vm vm;

    vm_open(&vm, MB);
    VM_LOAD(&vm, 0x1000, sum);
    sum_in(&vm, 3000000, result);
    vm_close(&vm);
    return NULL;
}

// In one process, at the same time, and in turns.
static void test_two_vms(void) {
    struct vm one, two;
    uint32_t result = 0, other = 0;
    pthread_t thread;
    unsigned i;

    vm_open(&one, MB);
    VM_LOAD(&one, 0x1000, sum);
    REQUIRE_EQUAL(pthread_create(&thread, NULL, second_machine, &other), 0);
    sum_in(&one, 2000000, &result);
    pthread_join(thread, NULL);
    CHECK_EQUAL(result, (uint32_t)(2000000ull * 2000001 / 2));
    CHECK_EQUAL(other, (uint32_t)(3000000ull * 3000001 / 2));
    vm_open(&two, MB);
    VM_LOAD(&two, 0x1000, load_word);
    VM_LOAD(&one, 0x2000, load_word);
    for (i = 0; i != 100; ++i) {
        // The same addresses, other memory.
        vm_set_word(&one, 0x8000, i);
        vm_set_word(&two, 0x8000, ~i);
        vm_start_at(&one, 0x2000, 0x8000, 0, 0);
        vm_start_at(&two, 0x1000, 0x8000, 0, 0);
        REQUIRE_EQUAL(vm_run_to_done(&one), i);
        REQUIRE_EQUAL(vm_run_to_done(&two), ~i);
    }
}

// ---- registers under preemption
// --------------------------------------------------------------------------------------

// Guests and processes that fill their registers and look after them, while the host's ticks make them take turns.
static bool register_guest(uint32_t salt) {
    const uint32_t rounds = 400000;
    struct kvm_regs regs;
    uint32_t wanted = 0;
    struct vm vm;
    unsigned i;

    vm_open(&vm, MB);
    VM_LOAD(&vm, 0x1000, all_registers);
    memset(&regs, 0, sizeof(regs));
    for (i = 1; i != 32; ++i) regs.gpr[i] = salt * 2654435761u + i * 40503u;
    regs.pc = 0x1000;
    regs.cr = 0x12345678 ^ salt;
    regs.lr = 0x8000 + salt * 4;
    regs.xer = 0x40000000 | salt % 128;
    regs.sprg4 = 0x5A000000 + salt;
    regs.sprg5 = 0xA5000000 + salt;
    regs.gpr[5] = rounds;
    vm_set_regs(&vm, &regs);
    for (i = 1; i != 32; ++i)
        if (i != 3 && i != 5) wanted += (uint32_t)regs.gpr[i];
    wanted += (uint32_t)(regs.cr + regs.lr + regs.xer + regs.sprg4 + regs.sprg5);
    return vm_run_to_done(&vm) == wanted * rounds;
}

static bool fp_guest(uint32_t salt) {
    const uint32_t rounds = 5000000;
    const double step = 0.5 * salt;
    double result;
    struct vm vm;

    vm_open(&vm, MB);
    VM_LOAD(&vm, 0x1000, fp_sum);
    memcpy(vm.memory + 0x8000, &step, sizeof(step));
    vm_start_at(&vm, 0x1000, 0x8000, 0, rounds);
    vm_run_to_done(&vm);
    memcpy(&result, vm.memory + 0x8008, sizeof(result));
    return result == step * rounds;
}

static bool fp_process(uint32_t salt) {
    const double step = 0.25 * salt;
    double sum = 0;
    unsigned i;

    for (i = 0; i != 5000000; ++i) {
        sum += step;
        __asm__ volatile("" : "+f"(sum));
    }
    return sum == step * 5000000;
}

static void test_registers(void) {
    static bool (*const kinds[])(uint32_t) = {register_guest, fp_guest, fp_process};
    static const char* const names[] = {"a guest's registers", "a guest's FPU", "a process's FPU"};
    pid_t children[8];
    unsigned i;

    for (i = 0; i != 8; ++i) {
        children[i] = fork();
        if (children[i] == 0) _exit(kinds[i % 3](i + 1) ? 0 : 1);
        REQUIRE(children[i] > 0);
    }
    for (i = 0; i != 8; ++i) {
        int status;

        REQUIRE_EQUAL(waitpid(children[i], &status, 0), children[i]);
        if (status != 0) check_failed(__FILE__, __LINE__, "%s: status 0x%x", names[i % 3], status);
    }
}

// ---- killed at random
// ------------------------------------------------------------------------------------------------

// A VMM that does a bit of all: its memory pinned or from a guest-memory file, threads, eventfds, a running guest.
static void* kick_or_change(void* argument) {
    struct vm* vm = argument;
    uint64_t state = seed + (uint64_t)getpid();
    uint8_t* more = map_memory(64 * KB);

    for (;;) {
        (void)vm_interrupt(vm, KVM_INTERRUPT_SET);
        if (random_word(&state) % 2 != 0) {
            (void)set_region(vm->fd, 1, KVM_MEM_LOG_DIRTY_PAGES, 16 * MB, 64 * KB, more);
            (void)set_region(vm->fd, 1, 0, 0, 0, NULL);
        }
        sched_yield();
    }
    return NULL;
}

static void victim(uint32_t kind) {
    struct vm vm;
    pthread_t thread;

    vm_open(&vm, kind % 4 == 0 ? 0 : (1 + kind / 4 % 4) * MB);
    if (vm.memory == NULL) {
        struct kvm_create_guest_memfd request;
        int file;

        memset(&request, 0, sizeof(request));
        request.size = 4 * MB;
        file = (int)REQUIRE_SUCCESS(ioctl(vm.kvm, KVM_CREATE_GUEST_MEMFD, &request));
        vm.memory_bytes = request.size;
        vm.memory = mmap(NULL, vm.memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        REQUIRE(vm.memory != MAP_FAILED);
        REQUIRE_SUCCESS(set_region(vm.fd, 0, 0, 0, vm.memory_bytes, vm.memory));
    }
    switch (kind / 16 % 4) {
    case 0: VM_LOAD(&vm, 0x1000, spin); break;
    case 1: VM_LOAD(&vm, 0x1000, spin_unmasked); break;
    case 2: VM_LOAD(&vm, 0x1000, wait_unmasked); break;
    default: VM_LOAD(&vm, 0x1000, walk); break;
    }
    if (kind / 64 % 2 != 0) REQUIRE_EQUAL(pthread_create(&thread, NULL, kick_or_change, &vm), 0);
    for (;;) {
        vm_start_at(&vm, 0x1000, 0x4000, 0x1000, 200);
        do {
            if (vm_run(&vm) != 0) break;
        } while (vm.run->exit_reason == KVM_EXIT_DCR && vm.run->dcr.dcrn != DCR_DONE);
    }
}

static struct host_state before;

static void kill_some(unsigned count) {
    uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
    unsigned i;

    for (i = 0; i != count; ++i) {
        const uint32_t kind = random_word(&state);
        // Sometimes long enough for all to be set up.
        const uint32_t longest = random_word(&state) % 2 != 0 ? 8000000 : 100000000;
        const struct timespec nap = {0, (long)(random_word(&state) % longest)};
        const pid_t child = fork();

        if (child == 0) victim(kind);
        REQUIRE(child > 0);
        nanosleep(&nap, NULL);
        end_process(child);
    }
}

static void test_kills(void) {
    const double start = seconds_now();

    kill_some(200);
    CHECK(a_guest_runs());
    check_figures("200 in %.1f s, seed 0x%llx", seconds_now() - start, (unsigned long long)seed);
}

static void test_nothing_left(void) { check_same_state(&before, 512); }

// ---- the module
// ------------------------------------------------------------------------------------------------------

static int unload(void) { return (int)syscall(SYS_delete_module, "untrap", O_NONBLOCK); }

static uint64_t code_copy_bytes(void) {
    char text[32] = "";
    const int fd = (int)REQUIRE_SUCCESS(open("/sys/kernel/debug/kvm/code_copy_bytes", O_RDONLY));

    CHECK(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return strtoull(text, NULL, 10);
}

static int load_with(const char* arguments) {
    const int fd = open(module_file, O_RDONLY);
    int result;

    REQUIRE(fd >= 0);
    result = (int)syscall(SYS_finit_module, fd, arguments, 0);
    close(fd);
    return result;
}

static int load(void) { return load_with(module_arguments); }

static void test_unload_refused(void) {
    struct vm vm;
    int kvm = open_kvm(), statistics, file;
    struct kvm_create_guest_memfd request;
    void* run;
    pid_t spinner;

    CHECK_ERROR(unload(), EWOULDBLOCK);
    vm_open(&vm, MB);
    close(kvm);
    CHECK_ERROR(unload(), EWOULDBLOCK);
    // Each descriptor alone keeps it, and a mapping of one.
    statistics = (int)REQUIRE_SUCCESS(ioctl(vm.fd, KVM_GET_STATS_FD, 0));
    memset(&request, 0, sizeof(request));
    request.size = 64 * KB;
    file = (int)REQUIRE_SUCCESS(ioctl(vm.kvm, KVM_CREATE_GUEST_MEMFD, &request));
    close(vm.kvm);
    close(vm.vcpu);
    CHECK_ERROR(unload(), EWOULDBLOCK);
    close(vm.fd);
    close(file);
    CHECK_ERROR(unload(), EWOULDBLOCK);
    close(statistics);
    CHECK_ERROR(unload(), EWOULDBLOCK); // kvm_run is still mapped
    run = vm.run;
    ((volatile struct kvm_run*)run)->immediate_exit = 1;
    munmap(run, vm.run_bytes);
    spinner = start_spinner();
    sleep_ms(50);
    CHECK_ERROR(unload(), EWOULDBLOCK);
    end_process(spinner);
}

// What was closed last may still be on its way.
static void unload_at_last(void) {
    unsigned attempt;

    for (attempt = 0; unload() != 0; ++attempt) {
        REQUIRE_EQUAL(errno, EWOULDBLOCK);
        REQUIRE(attempt < 20);
        sleep_ms(50);
    }
}

// Bytes of code copies of a guest that runs patched code in each of 16 MB.
static uint64_t copied_bytes(void) {
    struct kvm_create_guest_memfd request;
    struct vm vm;
    unsigned place;
    uint64_t bytes;
    int file;

    vm_open(&vm, 0);
    memset(&request, 0, sizeof(request));
    request.size = vm.memory_bytes = 16 * MB;
    file = (int)REQUIRE_SUCCESS(ioctl(vm.kvm, KVM_CREATE_GUEST_MEMFD, &request));
    vm.memory = mmap(NULL, request.size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    REQUIRE(vm.memory != MAP_FAILED);
    REQUIRE_SUCCESS(set_region(vm.fd, 0, 0, 0, vm.memory_bytes, vm.memory));
    for (place = 0; place != 16; ++place) {
        VM_LOAD(&vm, place * MB + 0x1000, patched);
        vm_start_at(&vm, place * MB + 0x1000, 0, 0, 100);
        CHECK_EQUAL(vm_run_to_done(&vm), 0);
    }
    bytes = code_copy_bytes();
    close(file);
    vm_close(&vm);
    return bytes;
}

// The module's parameters: what is none is refused, and what is one holds.
static void test_parameters(void) {
    static const char* const wrong[] = {
        "patch_memory=0", "patch_memory=33",  "patch_memory=4294967295", "patch_memory=-1",    "patch_memory=much",
        "level=5",        "level=2147483647", "hot_threshold=-1",        "patched_sites=many",
    };
    size_t i;

    unload_at_last();
    for (i = 0; i != sizeof(wrong) / sizeof(wrong[0]); ++i) {
        CHECK_ERROR(load_with(wrong[i]), EINVAL);
        CHECK(access("/dev/kvm", F_OK) != 0);
    }
    REQUIRE_SUCCESS(load_with("patch_memory=1"));
    CHECK(copied_bytes() <= MB);
    unload_at_last();
    REQUIRE_SUCCESS(load_with("level=0"));
    CHECK_EQUAL(copied_bytes(), 0);
    unload_at_last();
    REQUIRE_SUCCESS(load_with(""));
    CHECK(copied_bytes() > MB);
    unload_at_last();
    REQUIRE_SUCCESS(load());
}

// Gone without a trace, and back, several times; then it works as before.
static void test_reload(void) {
    unsigned i;

    for (i = 0; i != 5; ++i) {
        unload_at_last();
        CHECK(access("/dev/kvm", F_OK) != 0);
        CHECK(access("/sys/kernel/debug/kvm", F_OK) != 0);
        REQUIRE_SUCCESS(load());
        REQUIRE(a_guest_runs());
    }
    CHECK_ERROR(load(), EEXIST);
}

int main(int argc, char** argv) {
    check_program("health");
    if (argc > 1) seed = strtoull(argv[1], NULL, 0);
    if (argc > 2) module_file = argv[2];
    if (argc > 3) module_arguments = argv[3];
    printf("# health: seed 0x%llx\n", (unsigned long long)seed);
    check_test("clock, ticks and timers beside guests that spin", 60, test_clock);
    check_test("another process beside a guest that spins", 60, test_share);
    check_test("the serial console beside a guest that spins", 60, test_serial);
    check_test("two VMs at once", 60, test_two_vms);
    check_test("registers of guests and processes that take turns", 60, test_registers);
    // The first few fill what the kernel keeps for good.
    kill_some(10);
    before = host_state();
    check_test("a VMM killed at random", 300, test_kills);
    check_test("nothing is left of those", 60, test_nothing_left);
    if (module_file != NULL) {
        check_test("unloading is refused while it is in use", 60, test_unload_refused);
        check_test("parameters", 60, test_parameters);
        if (check_test("unloaded and loaded again", 60, test_reload)) {
            before = host_state();
            check_test("unloaded and loaded again, once more", 60, test_reload);
            check_test("nothing is left of unloading", 60, test_nothing_left);
        }
    }
    return check_end();
}
