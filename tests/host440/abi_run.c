// SPDX-License-Identifier: GPL-2.0-only
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

#define DEVICE 0x00F00000u // no memory there
#define MSR_WE 0x40000u

static struct vm vm;

static void test_arguments(void) {
    vm_open(&vm, 64 * KB);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_RUN, 1), EINVAL);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_RUN, vm.run), EINVAL);
    CHECK_ERROR(vm_interrupt(&vm, 0), EINVAL);
    CHECK_ERROR(vm_interrupt(&vm, 5), EINVAL);
    CHECK_ERROR(vm_interrupt(&vm, 0xFFFFFFFC), EINVAL);
    CHECK_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_SET));
    CHECK_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_UNSET));
    CHECK_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_SET_LEVEL));
    CHECK_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_UNSET));
}

static void test_mmio_loads(void) {
    static const struct {
        uint32_t offset, len;
        uint8_t data[4];
    } loads[] = {{0, 1, {0xA1}}, {2, 2, {0xB1, 0xB2}}, {4, 4, {0xC1, 0xC2, 0xC3, 0xC4}}, {4, 4, {1, 2, 3, 4}}};
    struct kvm_regs regs;
    size_t i;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, load_sizes);
    vm_start_at(&vm, 0x1000, DEVICE, 0, 0);
    for (i = 0; i != sizeof(loads) / sizeof(loads[0]); ++i) {
        vm_run_to(&vm, KVM_EXIT_MMIO);
        CHECK_EQUAL(vm.run->mmio.phys_addr, DEVICE + loads[i].offset);
        CHECK_EQUAL(vm.run->mmio.len, loads[i].len);
        CHECK_EQUAL(vm.run->mmio.is_write, 0);
        memcpy(vm.run->mmio.data, loads[i].data, 4);
    }
    vm_run_to_done(&vm);
    regs = vm_regs(&vm);
    CHECK_EQUAL(regs.gpr[5], 0xA1);
    CHECK_EQUAL(regs.gpr[6], 0xB1B2);
    CHECK_EQUAL(regs.gpr[7], 0xC1C2C3C4);
    CHECK_EQUAL(regs.gpr[8], 0x04030201);
}

static void test_mmio_stores(void) {
    static const struct {
        uint32_t offset, len;
        uint8_t data[4];
    } stores[] = {
        {0, 1, {0x44}}, {2, 2, {0x33, 0x44}}, {4, 4, {0x11, 0x22, 0x33, 0x44}}, {8, 4, {0x44, 0x33, 0x22, 0x11}}};
    size_t i;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, store_sizes);
    vm_start_at(&vm, 0x1000, DEVICE, 0x11223344, 0);
    for (i = 0; i != sizeof(stores) / sizeof(stores[0]); ++i) {
        vm_run_to(&vm, KVM_EXIT_MMIO);
        CHECK_EQUAL(vm.run->mmio.phys_addr, DEVICE + stores[i].offset);
        CHECK_EQUAL(vm.run->mmio.len, stores[i].len);
        CHECK_EQUAL(vm.run->mmio.is_write, 1);
        CHECK_EQUAL(memcmp(vm.run->mmio.data, stores[i].data, stores[i].len), 0);
    }
    vm_run_to_done(&vm);
}

// One instruction with several accesses, half of them in memory.
static void test_mmio_across(void) {
    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, store_multiple);
    vm_start_at(&vm, 0x1000, 64 * KB - 4, 0, 0);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.phys_addr, 64 * KB);
    CHECK_EQUAL(vm.run->mmio.data[3], 0x30);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.phys_addr, 64 * KB + 4);
    CHECK_EQUAL(vm.run->mmio.data[3], 0x31);
    vm_run_to_done(&vm);
    CHECK_EQUAL(vm_word(&vm, 64 * KB - 4), 0x29);
}

static void test_dcr(void) {
    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, dcr);
    vm_start_at(&vm, 0x1000, 0, 0, 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm.run->dcr.dcrn, 0x20);
    CHECK_EQUAL(vm.run->dcr.is_write, 0);
    vm.run->dcr.data = 0x12345677;
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm.run->dcr.dcrn, 0x21);
    CHECK_EQUAL(vm.run->dcr.is_write, 1);
    CHECK_EQUAL(vm.run->dcr.data, 0x12345677);
    CHECK_EQUAL(vm_run_to_done(&vm), 0x12345678);
}

// -EINTR at once, with what userspace was asked for completed first.
static void test_immediate_exit(void) {
    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, load_word);
    VM_LOAD(&vm, 0x2000, dcr);
    vm_start_at(&vm, 0x1000, DEVICE, 0, 0);
    vm.run->immediate_exit = 1;
    CHECK_ERROR(vm_run(&vm), EINTR);
    CHECK_EQUAL(vm_regs(&vm).pc, 0x1000);
    vm.run->immediate_exit = 0;
    vm_run_to(&vm, KVM_EXIT_MMIO);
    memcpy(vm.run->mmio.data, "\1\2\3\4", 4);
    vm.run->immediate_exit = 1;
    CHECK_ERROR(vm_run(&vm), EINTR);
    CHECK_EQUAL(vm_regs(&vm).pc, 0x1004);
    CHECK_EQUAL(vm_regs(&vm).gpr[4], 0x01020304);
    CHECK_ERROR(vm_run(&vm), EINTR);
    vm.run->immediate_exit = 0;
    CHECK_EQUAL(vm_run_to_done(&vm), 0x01020304);

    vm_start_at(&vm, 0x2000, 0, 0, 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    vm.run->dcr.data = 55;
    vm.run->immediate_exit = 1;
    CHECK_ERROR(vm_run(&vm), EINTR);
    CHECK_EQUAL(vm_regs(&vm).gpr[3], 55);
    CHECK_EQUAL(vm_regs(&vm).pc, 0x2004);
    vm.run->immediate_exit = 0;
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm.run->dcr.data, 55);
}

static void on_signal(int signal) { (void)signal; }

static void set_signal_mask(const void* argument, int wanted) {
    if (wanted == 0)
        CHECK_SUCCESS(ioctl(vm.vcpu, KVM_SET_SIGNAL_MASK, argument));
    else
        CHECK_ERROR(ioctl(vm.vcpu, KVM_SET_SIGNAL_MASK, argument), wanted);
}

// A signal that is blocked but for KVM_RUN ends that, and is still pending then.
static void test_signal_mask(void) {
    const struct sigaction action = {.sa_handler = on_signal};
    struct {
        struct kvm_signal_mask header;
        uint8_t sigset[8];
    } __attribute__((packed)) mask;
    sigset_t blocked, pending;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, load_word);
    VM_LOAD(&vm, 0x2000, spin);
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);

    memset(&mask, 0, sizeof(mask)); // all signals let through
    mask.header.len = 4;
    set_signal_mask(&mask, EINVAL);
    mask.header.len = 128;
    set_signal_mask(&mask, EINVAL);
    mask.header.len = 0;
    set_signal_mask(&mask, EINVAL);
    mask.header.len = 8;
    set_signal_mask(&mask, 0);

    vm_start_at(&vm, 0x1000, DEVICE, 0, 0);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    memcpy(vm.run->mmio.data, "\1\2\3\5", 4);
    raise(SIGUSR1);
    CHECK_ERROR(vm_run(&vm), EINTR);
    CHECK_EQUAL(vm.run->exit_reason, KVM_EXIT_INTR);
    CHECK_EQUAL(vm_regs(&vm).gpr[4], 0x01020305);
    CHECK_EQUAL(vm_regs(&vm).pc, 0x1004);
    sigpending(&pending);
    CHECK_EQUAL(sigismember(&pending, SIGUSR1), 1);
    CHECK_ERROR(vm_run(&vm), EINTR);
    // The mask is KVM_RUN's alone.
    sigprocmask(SIG_BLOCK, NULL, &pending);
    CHECK_EQUAL(sigismember(&pending, SIGUSR1), 1);
    // Without a mask of its own, the blocked signal does not disturb.
    set_signal_mask(NULL, 0);
    vm_run_to_done(&vm);
}

static void* send_signal(void* thread) {
    sleep_ms(30);
    pthread_kill(*(pthread_t*)thread, SIGUSR1);
    return NULL;
}

// A guest that spins with interrupts off is left for a signal.
static void test_signal_while_running(void) {
    const struct sigaction action = {.sa_handler = on_signal};
    pthread_t self = pthread_self(), other;
    double start;
    unsigned round;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, spin);
    sigaction(SIGUSR1, &action, NULL);
    vm_start_at(&vm, 0x1000, 0, 0, 0);
    for (round = 0; round != 4; ++round) {
        const uint32_t before = (uint32_t)vm_regs(&vm).gpr[3];

        start = seconds_now();
        REQUIRE_EQUAL(pthread_create(&other, NULL, send_signal, &self), 0);
        CHECK_ERROR(vm_run(&vm), EINTR);
        CHECK_EQUAL(vm.run->exit_reason, KVM_EXIT_INTR);
        CHECK(seconds_now() - start < 0.2);
        CHECK(vm_regs(&vm).gpr[3] != before);
        pthread_join(other, NULL);
    }
}

// ---- interrupts ----------------------------------------------------------------------------------------------------

// This thread gets a signal in 30 ms.
static void signal_soon(void) {
    const struct sigaction action = {.sa_handler = on_signal};
    static pthread_t self;
    pthread_t other;

    self = pthread_self();
    sigaction(SIGUSR1, &action, NULL);
    REQUIRE_EQUAL(pthread_create(&other, NULL, send_signal, &self), 0);
    pthread_detach(other);
}

static void test_edge_interrupt(void) {
    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, SNIPPET_BASE, wait_unmasked);
    vm_start_at(&vm, SNIPPET_BASE, 7, 0, 0);
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_SET));
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm.run->dcr.dcrn, DCR_EXTERNAL);
    // Once delivered it is gone.
    CHECK_EQUAL(vm_run_to_done(&vm), 7);
    // Taken back before it is delivered: the guest would wait for ever.
    vm_start_at(&vm, SNIPPET_BASE, 7, 0, 0);
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_SET));
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_UNSET));
    signal_soon();
    CHECK_ERROR(vm_run(&vm), EINTR);
}

static void test_level_interrupt(void) {
    unsigned i;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, SNIPPET_BASE, wait_unmasked);
    VM_LOAD(&vm, 0x3000, sum);
    vm_start_at(&vm, SNIPPET_BASE, 7, 0, 0);
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_SET_LEVEL));
    for (i = 0; i != 5; ++i) {
        vm_run_to(&vm, KVM_EXIT_DCR); // as long as it stays
        REQUIRE_EQUAL(vm.run->dcr.dcrn, DCR_EXTERNAL);
    }
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_UNSET));
    CHECK_EQUAL(vm_run_to_done(&vm), 7);
    // With MSR[EE] off nothing is delivered.
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_SET_LEVEL));
    vm_start_at(&vm, 0x3000, 10, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 55);
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_UNSET));
}

static void* send_interrupt(void* irq) {
    sleep_ms(30);
    REQUIRE_SUCCESS(vm_interrupt(&vm, *(const uint32_t*)irq));
    return NULL;
}

// From another thread, at a guest that spins and at one that waits: without the vCPU's lock, and noticed at once.
static void test_interrupt_while_running(void) {
    static const uint32_t kinds[] = {KVM_INTERRUPT_SET, KVM_INTERRUPT_SET_LEVEL};
    unsigned i;

    for (i = 0; i != 4; ++i) {
        double start = seconds_now();
        pthread_t other;

        vm_open(&vm, 64 * KB);
        if (i < 2)
            VM_LOAD(&vm, SNIPPET_BASE, spin_unmasked);
        else
            VM_LOAD(&vm, SNIPPET_BASE, wait_unmasked);
        vm_start_at(&vm, SNIPPET_BASE, 0, 0, 0);
        REQUIRE_EQUAL(pthread_create(&other, NULL, send_interrupt, (void*)&kinds[i % 2]), 0);
        vm_run_to(&vm, KVM_EXIT_DCR);
        CHECK_EQUAL(vm.run->dcr.dcrn, DCR_EXTERNAL);
        CHECK(seconds_now() - start < 0.2);
        pthread_join(other, NULL);
        vm_close(&vm);
    }
}

static void test_decrementer(void) {
    double start, took;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, SNIPPET_BASE, decrementer);
    vm_start_at(&vm, SNIPPET_BASE, 20000000, 0, 0); // 50 ms at 400 MHz
    start = seconds_now();
    CHECK_EQUAL(vm_run_to_done(&vm) & 0x08000000, 0x08000000); // DIS
    took = seconds_now() - start;
    CHECK(took >= 0.049 && took < 0.15);
    // One that is due at once.
    vm_start_at(&vm, SNIPPET_BASE, 1, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm) & 0x08000000, 0x08000000); // DIS
    check_figures("50 ms took %.1f", took * 1e3);
}

// ---- the ends of a guest
// ---------------------------------------------------------------------------------------------

static void test_shutdown(void) {
    struct kvm_translation translation;
    unsigned round;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, reset);
    VM_LOAD(&vm, 0x2000, sum);
    for (round = 0; round != 3; ++round) {
        vm_set_one_reg(&vm, KVM_REG_PPC_TCR, 0x04000000);
        vm_start_at(&vm, 0x1000, 0, 0, 0);
        vm_run_to(&vm, KVM_EXIT_SHUTDOWN);
        CHECK_EQUAL(vm_one_reg(&vm, KVM_REG_PPC_TCR), 0);
        memset(&translation, 0, sizeof(translation));
        translation.linear_address = 0x2000;
        REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
        CHECK_EQUAL(translation.valid, 1);
        vm_start_at(&vm, 0x2000, 100, 0, 0);
        CHECK_EQUAL(vm_run_to_done(&vm), 5050);
    }
}

// A guest that cannot go on is reported, and a new start is possible.
static void test_internal_error(void) {
    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, sum);
    vm_start_at(&vm, DEVICE, 0, 0, 0); // fetches where there is no memory
    vm_run_to(&vm, KVM_EXIT_INTERNAL_ERROR);
    CHECK_EQUAL(vm.run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
    CHECK(vm.run->internal.ndata >= 3 && vm.run->internal.ndata <= 16);
    vm_run_to(&vm, KVM_EXIT_INTERNAL_ERROR); // still
    // A handler that faults at once, for ever.
    vm_close(&vm);
    vm_open(&vm, 64 * KB);
    vm_set_word(&vm, 0, 0); // illegal; IVPR and IVOR6 are zero
    vm_start_at(&vm, 0, 0, 0, 0);
    vm_run_to(&vm, KVM_EXIT_INTERNAL_ERROR);
    vm_close(&vm);
    CHECK(a_guest_runs());
}

// Idle in the kernel: no exit until a signal, and none that says so.
static void test_idle(void) {
    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, SNIPPET_BASE, wait_unmasked);
    vm_start_at(&vm, SNIPPET_BASE, 3, 0, 0);
    signal_soon();
    CHECK_ERROR(vm_run(&vm), EINTR);
    CHECK_EQUAL(vm.run->exit_reason, KVM_EXIT_INTR);
    CHECK_EQUAL(vm_regs(&vm).msr & MSR_WE, MSR_WE);
    // It goes on waiting.
    vm.run->immediate_exit = 1;
    CHECK_ERROR(vm_run(&vm), EINTR);
    vm.run->immediate_exit = 0;
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_SET));
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm_run_to_done(&vm), 3);
    // One that nothing can wake.
    VM_LOAD(&vm, SNIPPET_BASE, wait_masked);
    vm_start_at(&vm, SNIPPET_BASE, 3, 0, 0);
    vm_run_to(&vm, KVM_EXIT_INTERNAL_ERROR);
}

// A hostile process writes kvm_run while and between it runs.
static void* scribble(void* stop) {
    uint64_t state = 88172645463325252ull;

    while (!__atomic_load_n((bool*)stop, __ATOMIC_RELAXED)) {
        volatile uint32_t* word = (volatile uint32_t*)vm.run;

        // Not immediate_exit, so that something happens.
        word[1 + random_word(&state) % (vm.run_bytes / 4 - 1)] = random_word(&state);
        if (random_word(&state) % 64 == 0) sleep_ms(1);
    }
    return NULL;
}

static void test_scribbled_run_page(void) {
    bool stop = false;
    pthread_t other;
    unsigned i;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, load_sizes);
    VM_LOAD(&vm, 0x2000, store_sizes);
    VM_LOAD(&vm, 0x3000, dcr);
    REQUIRE_EQUAL(pthread_create(&other, NULL, scribble, &stop), 0);
    for (i = 0; i != 3000; ++i) {
        if (i % 3 == 0) vm_start_at(&vm, 0x1000 * (1 + i / 3 % 3), DEVICE, i, 0);
        REQUIRE(vm_run(&vm) == 0 || errno == EINTR);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(other, NULL);
    CHECK(a_guest_runs());
}

void abi_run(void) {
    check_test("KVM_RUN, KVM_INTERRUPT: arguments", TEST_SECONDS, test_arguments);
    check_test("KVM_EXIT_MMIO: loads", TEST_SECONDS, test_mmio_loads);
    check_test("KVM_EXIT_MMIO: stores", TEST_SECONDS, test_mmio_stores);
    check_test("KVM_EXIT_MMIO: half in memory", TEST_SECONDS, test_mmio_across);
    check_test("KVM_EXIT_DCR", TEST_SECONDS, test_dcr);
    check_test("immediate_exit, after what is pending", TEST_SECONDS, test_immediate_exit);
    check_test("KVM_SET_SIGNAL_MASK", TEST_SECONDS, test_signal_mask);
    check_test("a signal while the guest spins", TEST_SECONDS, test_signal_while_running);
    check_test("KVM_INTERRUPT: edge", TEST_SECONDS, test_edge_interrupt);
    check_test("KVM_INTERRUPT: level", TEST_SECONDS, test_level_interrupt);
    check_test("KVM_INTERRUPT: from another thread", TEST_SECONDS, test_interrupt_while_running);
    check_test("the decrementer", TEST_SECONDS, test_decrementer);
    check_test("KVM_EXIT_SHUTDOWN", TEST_SECONDS, test_shutdown);
    check_test("KVM_EXIT_INTERNAL_ERROR", TEST_SECONDS, test_internal_error);
    check_test("idle in the kernel", TEST_SECONDS, test_idle);
    check_test("kvm_run written by another thread", TEST_SECONDS, test_scribbled_run_page);
}
