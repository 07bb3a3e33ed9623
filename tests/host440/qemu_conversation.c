// SPDX-License-Identifier: GPL-2.0-only
// What a stock QEMU 7.2 `-M bamboo -accel kvm` asks, in its order, with a small kernel as its guest.
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "client.h"
#include "guest/protocol.h"
#include "guest_images.h"

#define TEST_SECONDS 30
#define MEMORY (4 * MB)

static struct vm vm;

static int extension(int fd, unsigned capability) {
    return (int)CHECK_SUCCESS(ioctl(fd, KVM_CHECK_EXTENSION, capability));
}

static void on_kick(int signal) { (void)signal; }

// Up to the first KVM_RUN.
static void begin(void) {
    uint8_t* space;
    uint8_t* page;

    vm.kvm = open_kvm();
    REQUIRE_EQUAL(ioctl(vm.kvm, KVM_GET_API_VERSION, 0), 12);
    CHECK(extension(vm.kvm, KVM_CAP_NR_MEMSLOTS) >= 8);
    vm.fd = (int)REQUIRE_SUCCESS(ioctl(vm.kvm, KVM_CREATE_VM, 0));
    CHECK(extension(vm.kvm, KVM_CAP_USER_MEMORY) == 1);
    CHECK(extension(vm.kvm, KVM_CAP_DESTROY_MEMORY_REGION_WORKS) == 1);
    CHECK(extension(vm.kvm, KVM_CAP_JOIN_MEMORY_REGIONS_WORKS) == 1);
    // Asked for, and done without.
    CHECK_EQUAL(extension(vm.fd, KVM_CAP_COALESCED_MMIO), 1);
    CHECK_EQUAL(extension(vm.fd, KVM_CAP_MULTI_ADDRESS_SPACE), 0);
    CHECK_EQUAL(extension(vm.fd, KVM_CAP_DIRTY_LOG_RING), 0);
    CHECK_EQUAL(extension(vm.fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2), 0);
    extension(vm.kvm, KVM_CAP_READONLY_MEM);
    extension(vm.fd, KVM_CAP_IOEVENTFD);
    // The processor's.
    CHECK(extension(vm.kvm, KVM_CAP_PPC_UNSET_IRQ) == 1);
    CHECK(extension(vm.kvm, KVM_CAP_PPC_IRQ_LEVEL) == 1);
    CHECK_EQUAL(extension(vm.kvm, KVM_CAP_PPC_SEGSTATE), 0);
    CHECK(extension(vm.kvm, KVM_CAP_PPC_BOOKE_SREGS) == 1);
    CHECK_EQUAL(extension(vm.fd, KVM_CAP_PPC_SMT), 0);
    CHECK_EQUAL(extension(vm.kvm, KVM_CAP_SPAPR_TCE), 0);
    CHECK_EQUAL(extension(vm.kvm, KVM_CAP_PPC_HIOR), 0);
    CHECK(extension(vm.kvm, KVM_CAP_ONE_REG) == 1);
    CHECK_EQUAL(extension(vm.kvm, KVM_CAP_PPC_EPR), 0);
    CHECK_EQUAL(extension(vm.kvm, KVM_CAP_PPC_BOOKE_WATCHDOG), 0);
    CHECK_EQUAL(extension(vm.fd, KVM_CAP_PPC_HTAB_FD), 0);

    // The vCPU before any memory.
    vm.vcpu = (int)REQUIRE_SUCCESS(ioctl(vm.fd, KVM_CREATE_VCPU, 0));
    vm.run_bytes = (size_t)REQUIRE_SUCCESS(ioctl(vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
    vm.run = mmap(NULL, vm.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm.vcpu, 0);
    REQUIRE(vm.run != MAP_FAILED);
    CHECK(vm_one_reg(&vm, KVM_REG_PPC_DEBUG_INST) != 0);
    {
        // Of a signal that ends KVM_RUN, where there is no immediate_exit.
        struct {
            struct kvm_signal_mask header;
            uint8_t sigset[8];
        } __attribute__((packed)) mask;

        memset(&mask, 0, sizeof(mask));
        mask.header.len = 8;
        REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_SIGNAL_MASK, &mask));
        REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_SIGNAL_MASK, NULL));
    }
    CHECK(extension(vm.kvm, KVM_CAP_IMMEDIATE_EXIT) == 1);

    // Memory at a host address that is aligned to 4 KB, no more.
    space = map_memory(MEMORY + 64 * KB);
    page = (uint8_t*)(((uintptr_t)space + 0xFFFF) & ~(uintptr_t)0xFFFF) + 4 * KB;
    vm.memory = page;
    vm.memory_bytes = MEMORY;
    REQUIRE_SUCCESS(set_region(vm.fd, 0, 0, 0, MEMORY, page));
}

// Registers of a machine that starts: all of them.
static void put_registers(uint32_t pc, uint32_t r1, uint32_t r3) {
    struct kvm_regs regs = vm_regs(&vm);
    struct kvm_sregs sregs;
    unsigned i;

    memset(&regs, 0, sizeof(regs));
    vm_set_regs(&vm, &regs);
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs));
    regs.pc = pc;
    regs.gpr[1] = r1;
    regs.gpr[3] = r3;
    vm_set_regs(&vm, &regs);
    vm_set_one_reg(&vm, KVM_REG_PPC_FPSCR, 0);
    for (i = 0; i != 32; ++i) vm_set_one_reg(&vm, KVM_REG_PPC_FPR(i), 0);
    vm_set_one_reg(&vm, KVM_REG_PPC_TCR, 0);
    vm_set_one_reg(&vm, KVM_REG_PPC_CLEAR_TSR, 0xFFFFFFFF);
}

// And all of them read, as QEMU does before its monitor or its debugger looks.
static void get_registers(void) {
    struct kvm_sregs sregs;
    unsigned i;

    (void)vm_regs(&vm);
    vm_one_reg(&vm, KVM_REG_PPC_FPSCR);
    for (i = 0; i != 32; ++i) vm_one_reg(&vm, KVM_REG_PPC_FPR(i));
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs));
}

// ---- the machine ---------------------------------------------------------------------------------------------------

static char console[2000];
static size_t console_length;
static uint32_t dcrs[1024];
static uint32_t interrupts, mmio_exits, dcr_exits, kicks;
static pthread_t vcpu_thread;

static void* interrupt_soon(void* unused) {
    (void)unused;
    sleep_ms(10);
    REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_SET_LEVEL));
    return NULL;
}

static void device(void) {
    struct kvm_run* run = vm.run;
    const uint32_t offset = (uint32_t)(run->mmio.phys_addr - DEVICE_REAL);

    ++mmio_exits;
    REQUIRE(run->mmio.phys_addr >= DEVICE_REAL && offset < 0x1000);
    if (run->mmio.is_write && offset == DEVICE_UART) {
        REQUIRE_EQUAL(run->mmio.len, 1);
        if (console_length + 1 < sizeof(console)) console[console_length++] = (char)run->mmio.data[0];
    } else if (!run->mmio.is_write && offset == DEVICE_UART + 5) {
        run->mmio.data[0] = 0x60;
    } else if (!run->mmio.is_write && offset == DEVICE_STATUS) {
        ++interrupts;
        memcpy(run->mmio.data, &interrupts, 4);
    } else if (run->mmio.is_write && offset == DEVICE_STATUS) {
        uint32_t value;

        memcpy(&value, run->mmio.data, 4);
        CHECK_EQUAL(value, interrupts);
        REQUIRE_SUCCESS(vm_interrupt(&vm, KVM_INTERRUPT_UNSET));
    } else {
        check_failed(__FILE__, __LINE__, "device access at %x", offset);
        check_stop();
    }
}

static void control_register(void) {
    struct kvm_run* run = vm.run;

    ++dcr_exits;
    if (run->dcr.dcrn == DCR_SIGNAL) {
        pthread_t other;

        REQUIRE_EQUAL(run->dcr.data, SIGNAL_INTERRUPT_SOON);
        REQUIRE_EQUAL(pthread_create(&other, NULL, interrupt_soon, NULL), 0);
        pthread_detach(other);
    } else if (run->dcr.dcrn == DCR_DONE) {
        check_failed(__FILE__, __LINE__, "the guest gave up with %x: %s", run->dcr.data, console);
        check_stop();
    } else if (run->dcr.is_write) {
        dcrs[run->dcr.dcrn & 1023] = run->dcr.data;
    } else {
        run->dcr.data = dcrs[run->dcr.dcrn & 1023];
    }
}

// Until the guest resets itself.
static void run_machine(void) {
    for (;;) {
        if (vm_run(&vm) != 0) {
            REQUIRE_EQUAL(errno, EINTR);
            ++kicks;
            vm.run->immediate_exit = 0;
            get_registers(); // the main loop had something to look at
            continue;
        }
        switch (vm.run->exit_reason) {
        case KVM_EXIT_MMIO: device(); break;
        case KVM_EXIT_DCR: control_register(); break;
        case KVM_EXIT_SHUTDOWN: return;
        default:
            check_failed(__FILE__, __LINE__, "exit %s at %llx: %s", exit_name(vm.run->exit_reason), vm_regs(&vm).pc,
                         console);
            check_stop();
        }
    }
}

static void one_round(uint32_t number) {
    char wanted[200];

    console_length = 0;
    memset(console, 0, sizeof(console));
    interrupts = 0;
    put_registers(0, MEMORY - 16, number);
    run_machine();
    snprintf(wanted, sizeof(wanted), "round %08x\ntimers\nexternal interrupts\nfloating point\ngood\n", number);
    if (strcmp(console, wanted) != 0) check_failed(__FILE__, __LINE__, "the console says: %s", console);
    CHECK_EQUAL(interrupts, 3);
}

// A guest from its start to its reset, and again.
static void test_rounds(void) {
    uint32_t number;

    begin();
    for (number = 1; number != 4; ++number) {
        struct kvm_translation translation;

        // QEMU loads its images anew for each start.
        memset(vm.memory, 0, MEMORY);
        VM_LOAD(&vm, 0, conversation);
        one_round(number);
        // The vCPU is reset, and its mapping is there again: nothing else could write a TLB.
        memset(&translation, 0, sizeof(translation));
        translation.linear_address = 0x00345678;
        REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
        CHECK_EQUAL(translation.valid, 1);
        CHECK_EQUAL(translation.physical_address, 0x00345678);
        translation.linear_address = 0xE0000000;
        REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
        CHECK_EQUAL(translation.valid, 0);
        CHECK_EQUAL(vm_regs(&vm).msr, 0);
        CHECK_EQUAL(vm_one_reg(&vm, KVM_REG_PPC_TCR), 0);
    }
    check_figures("%u MMIO and %u DCR exits", mmio_exits, dcr_exits);
}

static void* kick_often(void* stop) {
    while (!__atomic_load_n((bool*)stop, __ATOMIC_RELAXED)) {
        sleep_ms(2);
        vm.run->immediate_exit = 1;
        pthread_kill(vcpu_thread, SIGUSR1);
    }
    return NULL;
}

// The same, while another thread wants the vCPU's attention all the time.
static void test_kicks(void) {
    const struct sigaction action = {.sa_handler = on_kick};
    bool stop = false;
    pthread_t other;

    sigaction(SIGUSR1, &action, NULL);
    vcpu_thread = pthread_self();
    begin();
    VM_LOAD(&vm, 0, conversation);
    REQUIRE_EQUAL(pthread_create(&other, NULL, kick_often, &stop), 0);
    one_round(7);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(other, NULL);
    CHECK(kicks > 10);
    check_figures("%u KVM_RUN ended by a signal", kicks);
}

// QEMU without immediate_exit: the signal is blocked but during KVM_RUN.
static void* signal_often(void* stop) {
    while (!__atomic_load_n((bool*)stop, __ATOMIC_RELAXED)) {
        sleep_ms(2);
        pthread_kill(vcpu_thread, SIGUSR1);
    }
    return NULL;
}

static void test_signal_mask(void) {
    const struct sigaction action = {.sa_handler = on_kick};
    struct {
        struct kvm_signal_mask header;
        uint8_t sigset[8];
    } __attribute__((packed)) mask;
    struct timespec none = {0, 0};
    sigset_t set;
    bool stop = false;
    pthread_t other;
    unsigned taken = 0;

    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    vcpu_thread = pthread_self();
    begin();
    VM_LOAD(&vm, 0, conversation);
    memset(&mask, 0, sizeof(mask));
    mask.header.len = 8;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_SIGNAL_MASK, &mask));
    put_registers(0, MEMORY - 16, 9);
    REQUIRE_EQUAL(pthread_create(&other, NULL, signal_often, &stop), 0);
    for (;;) {
        if (vm_run(&vm) == 0) {
            if (vm.run->exit_reason == KVM_EXIT_SHUTDOWN) break;
            if (vm.run->exit_reason == KVM_EXIT_MMIO)
                device();
            else if (vm.run->exit_reason == KVM_EXIT_DCR)
                control_register();
            else
                REQUIRE_EQUAL(vm.run->exit_reason, KVM_EXIT_SHUTDOWN);
            continue;
        }
        REQUIRE_EQUAL(errno, EINTR);
        // It is still pending, and is eaten here.
        if (sigtimedwait(&set, NULL, &none) == SIGUSR1) ++taken;
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(other, NULL);
    CHECK(strstr(console, "good\n") != NULL);
    CHECK(taken > 10);
    check_figures("%u signals", taken);
}

int main(void) {
    check_program("qemu");
    check_test("a guest from start to reset, three times", TEST_SECONDS, test_rounds);
    check_test("kicked by signals with immediate_exit", TEST_SECONDS, test_kicks);
    check_test("kicked by signals through KVM_SET_SIGNAL_MASK", TEST_SECONDS, test_signal_mask);
    return check_end();
}
