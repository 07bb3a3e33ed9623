// SPDX-License-Identifier: GPL-2.0-only
// Guests that try what they must not: they harm themselves, and nobody else. Usage: isolation [SEED]
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"
#include "client.h"
#include "guest/protocol.h"
#include "guest_images.h"

static struct vm vm;

// ---- what must stay as it is ---------------------------------------------------------------------------------------

#define CANARY_BYTES (256 * KB)
static uint8_t* canaries[2]; // before and behind the guest's memory
static uint64_t file_sum;

static uint32_t canary_word(size_t index) { return 0xC0FFEE00u ^ (uint32_t)(index * 2654435761u); }

static uint64_t sum_of_file(const char* path) {
    static uint8_t buffer[65536];
    uint64_t sum = 14695981039346656037ull;
    const int fd = (int)REQUIRE_SUCCESS(open(path, O_RDONLY));
    ssize_t got;

    while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
        ssize_t i;

        for (i = 0; i != got; ++i) sum = (sum ^ buffer[i]) * 1099511628211ull;
    }
    close(fd);
    return sum;
}

// Guest memory between two canaries.
static void open_guarded(size_t bytes) {
    uint8_t* space = map_memory(bytes + 2 * CANARY_BYTES);
    size_t i;

    vm_open(&vm, 0);
    canaries[0] = space;
    vm.memory = space + CANARY_BYTES;
    vm.memory_bytes = bytes;
    canaries[1] = vm.memory + bytes;
    for (i = 0; i != CANARY_BYTES / 4; ++i) {
        ((uint32_t*)canaries[0])[i] = canary_word(i);
        ((uint32_t*)canaries[1])[i] = ~canary_word(i);
    }
    REQUIRE_SUCCESS(set_region(vm.fd, 0, 0, 0, bytes, vm.memory));
    file_sum = sum_of_file("/bin/busybox");
}

static void check_canaries(void) {
    size_t i, bad = 0;

    for (i = 0; i != CANARY_BYTES / 4; ++i)
        if (((uint32_t*)canaries[0])[i] != canary_word(i) || ((uint32_t*)canaries[1])[i] != ~canary_word(i)) ++bad;
    CHECK_EQUAL(bad, 0);
    CHECK(sum_of_file("/bin/busybox") == file_sum); // in the host's page cache
}

// ---- the tests of guest/isolation.c --------------------------------------------------------------------------------

static uint32_t loads, stores, value;
static uint64_t address;

static void answer_mmio(void) {
    struct kvm_run* run = vm.run;
    const uint32_t pattern = MMIO_PATTERN(run->mmio.phys_addr);

    address = run->mmio.phys_addr;
    REQUIRE(run->mmio.len == 1 || run->mmio.len == 2 || run->mmio.len == 4 || run->mmio.len == 8);
    if (run->mmio.is_write) {
        ++stores;
    } else {
        ++loads;
        memcpy(run->mmio.data, &pattern, 4);
        memcpy(run->mmio.data + 4, &pattern, 4);
    }
    // Nothing that is memory of the guest's, as far as it can be written or read.
    if (run->mmio.phys_addr < vm.memory_bytes) check_failed(__FILE__, __LINE__, "exit for memory at %llx", address);
}

static unsigned texts;
static unsigned bad_texts;

static void take_text(void) {
    const uint32_t at = vm.run->dcr.data;
    const char* text = (const char*)vm.memory + at;

    REQUIRE(at < vm.memory_bytes - 200);
    ++texts;
    if (strncmp(text, "ok ", 3) == 0) {
        printf("# isolation: %s (%u interrupts)\n", text + 3, value);
        return;
    }
    ++bad_texts;
    check_failed("guest", 0, "%s: 0x%x", text, value);
}

static void control_register(void) {
    struct kvm_run* run = vm.run;

    switch (run->dcr.dcrn) {
    case DCR_VALUE: value = run->dcr.data; break;
    case DCR_TEXT: take_text(); break;
    case DCR_MMIO_LOADS:
        run->dcr.data = loads;
        loads = 0;
        break;
    case DCR_MMIO_STORES:
        run->dcr.data = stores;
        stores = 0;
        break;
    case DCR_MMIO_ADDRESS: run->dcr.data = (uint32_t)address; break;
    case DCR_MMIO_ADDRESS_HIGH: run->dcr.data = (uint32_t)(address >> 32); break;
    default: run->dcr.data = 0; break; // user mode's attempts do not come here
    }
}

static void test_guest(void) {
    uint32_t* read_only = (uint32_t*)map_memory(ISOLATION_READ_ONLY_BYTES);
    double own[18], after[18];
    unsigned i;

    open_guarded(ISOLATION_MEMORY);
    for (i = 0; i != ISOLATION_READ_ONLY_BYTES / 4; ++i) read_only[i] = ISOLATION_READ_ONLY + 4 * i;
    REQUIRE_SUCCESS(set_region(vm.fd, 1, KVM_MEM_READONLY, ISOLATION_READ_ONLY, ISOLATION_READ_ONLY_BYTES, read_only));
    VM_LOAD(&vm, 0, isolation);
    vm_start_at(&vm, 0, 0, 0, 0);
    for (i = 0; i != 18; ++i) own[i] = 1e6 + i;
    for (;;) {
        int result;

        // This process's own FPU registers: those that a call keeps.
        __asm__ volatile("lfd 14,0(%0); lfd 15,8(%0); lfd 20,48(%0); lfd 31,136(%0)"
                         :
                         : "b"(own)
                         : "fr14", "fr15", "fr20", "fr31", "memory");
        result = vm_run(&vm);
        __asm__ volatile("stfd 14,0(%0); stfd 15,8(%0); stfd 20,48(%0); stfd 31,136(%0)" : : "b"(after) : "memory");
        if (after[0] != own[0] || after[1] != own[1] || after[6] != own[6] || after[17] != own[17]) {
            check_failed(__FILE__, __LINE__, "the process's FPU registers changed in KVM_RUN");
            check_stop();
        }
        REQUIRE_EQUAL(result, 0);
        if (vm.run->exit_reason == KVM_EXIT_MMIO) {
            answer_mmio();
        } else if (vm.run->exit_reason == KVM_EXIT_DCR) {
            if (vm.run->dcr.dcrn == DCR_DONE) break;
            control_register();
        } else {
            const struct kvm_regs regs = vm_regs(&vm);

            check_failed(__FILE__, __LINE__, "exit %s, pc %llx msr %llx lr %llx srr0 %llx, after %u tests",
                         exit_name(vm.run->exit_reason), regs.pc, regs.msr, regs.lr, regs.srr0, texts);
            check_stop();
        }
    }
    CHECK_EQUAL(texts, 13);
    check_canaries();
    for (i = 0; i != ISOLATION_READ_ONLY_BYTES / 4; ++i)
        if (read_only[i] != ISOLATION_READ_ONLY + 4 * i) REQUIRE_EQUAL(read_only[i], ISOLATION_READ_ONLY + 4 * i);
    CHECK(a_guest_runs());
    check_figures("%u tests", texts);
}

// ---- random programs -----------------------------------------------------------------------------------------------

static uint64_t seed = 0x4405EED1ull;
static uint64_t random_state;
static uint32_t any(void) { return random_word(&random_state); }

// A word of a program. Not of VSX (primary opcode 60): QEMU 10 raises "VSX unavailable" for xscvdpspn, xxspltib and
// some of their neighbours before it looks whether the CPU has VSX; a 440 has no vector for that, and QEMU ends itself.
static uint32_t any_instruction(void) {
    const uint32_t word = any();

    return word >> 26 == 60 ? word ^ 1u << 31 : word;
}

// Words that do something: of privileged instructions, loads, stores, and branches, with any operands.
static uint32_t random_instruction(void) {
    static const uint32_t opcodes[] = {323, 451,  83,  146, 131, 163, 946, 978, 978, 978, 914, 566,
                                       470, 454,  966, 486, 998, 339, 467, 467, 86,  54,  278, 246,
                                       982, 1014, 20,  150, 662, 661, 725, 533, 597, 371, 598, 854};
    const uint32_t operands = any() & 0x03FFF800;

    switch (any() % 8) {
    case 0:
    case 1:
    case 2: return 31u << 26 | operands | opcodes[any() % (sizeof(opcodes) / sizeof(opcodes[0]))] << 1 | (any() & 1);
    case 3: return (32 + any() % 24) << 26 | (any() & 0x03FFFFFF); // loads and stores
    case 4: return (14 + any() % 2) << 26 | (any() & 0x03FFFFFF);  // addi, addis
    case 5:
        // Short branches, sc, rfi, blr and the like.
        switch (any() % 6) {
        case 0: return 18u << 26 | ((any() % 256) << 2);
        case 1: return 16u << 26 | (any() & 0x03FF0000) | ((any() % 64) << 2);
        case 2: return 0x44000002;
        case 3: return any() % 2 != 0 ? 0x4C000064 : 0x4C000066;
        case 4: return 19u << 26 | (any() & 0x03FFF800) | (any() % 2 != 0 ? 16u : 528u) << 1;
        default: return 0x7FE00008; // trap
        }
    case 6: {
        // mtspr of what matters most.
        static const uint32_t numbers[] = {22,  26,  27,  48,  54,  58,  59,  304, 308, 309,
                                           310, 312, 316, 336, 340, 400, 406, 414, 946};
        const uint32_t number = numbers[any() % (sizeof(numbers) / sizeof(numbers[0]))];

        return 31u << 26 | (any() & 0x03E00000) | (number & 31) << 16 | number >> 5 << 11 | 467u << 1;
    }
    default: return any_instruction();
    }
}

// Handlers that let a program go on behind what faulted, or somewhere else after a bad fetch. It may overwrite them.
#define HANDLERS 0xF000u
static void set_handlers(struct kvm_sregs* sregs) {
    enum { machine_check = 1, instruction_storage = 3, instruction_miss = 14 };
    static const uint32_t words[] = {
        0x7C7043A6, // mtspr SPRG0,r3
        0x7C7A02A6, // mfspr r3,SRR0
        0x38630004, // addi r3,r3,4
        0x7C7A03A6, // mtspr SRR0,r3
        0x38601000, // li r3,MSR[ME]
        0x7C7B03A6, // mtspr SRR1,r3
        0x7C7042A6, // mfspr r3,SPRG0
        0x4C000064, // rfi
    };
    const uint32_t critical = 0x9003; // CSRR0 and 1
    unsigned i;

    for (i = 0; i != 16; ++i) {
        const uint32_t at = HANDLERS + 0x40 * i;
        uint32_t* const handler = (uint32_t*)(vm.memory + at);

        memcpy(handler, words, sizeof(words));
        if (i == machine_check || i == instruction_storage || i == instruction_miss)
            handler[2] = 0x5463043A; // rlwinm r3,r3,0,16,29
        else if (any() % 4 != 0)
            handler[4] = handler[5] = 0x60000000; // in the mode that it was in
        if ((critical >> i & 1) != 0) {
            handler[1] ^= 0x800; // SPR + 32
            handler[3] ^= 0x800;
            if (handler[5] != 0x60000000) handler[5] ^= 0x800;
            handler[7] ^= 2; // rfci
        }
        sregs->u.e.ivor_low[i] = at;
    }
    __builtin___clear_cache((char*)vm.memory + HANDLERS, (char*)vm.memory + HANDLERS + 0x400);
}

static volatile bool time_is_up;
static void on_alarm(int signal) {
    (void)signal;
    time_is_up = true;
    vm.run->immediate_exit = 1;
}

static void random_start(void) {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    uint64_t* fields = (uint64_t*)&regs;
    size_t i;

    for (i = 0; i != sizeof(regs) / sizeof(*fields); ++i) {
        switch (any() % 4) {
        case 0: fields[i] = any() % MB; break;
        case 1: fields[i] = any(); break;
        case 2: fields[i] = 0xC0000000u + any() % (256 * MB); break;
        default: fields[i] = any() % 64; break;
        }
    }
    regs.pc = any() % (64 * KB) & ~3u;
    regs.msr = any() & 0x0002F930;
    if (any() % 4 != 0) regs.msr = 0x1000;
    vm_set_regs(&vm, &regs);
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs));
    sregs.u.e.ivpr = 0;
    for (i = 0; i != 16; ++i) sregs.u.e.ivor_low[i] = any() % (64 * KB) & ~15u;
    if (any() % 4 != 0) set_handlers(&sregs);
    sregs.u.e.update_special = KVM_SREGS_E_UPDATE_TSR | KVM_SREGS_E_UPDATE_DEC;
    sregs.u.e.dec = any() % 100000;
    sregs.u.e.tcr = any() & 0x07C00000;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_SREGS, &sregs));
}

#define PROGRAMS 60
#define STARTS 12
static void test_random_programs(void) {
    const struct sigaction action = {.sa_handler = on_alarm};
    unsigned exits[64] = {0}, program, start;

    sigaction(SIGALRM, &action, NULL);
    random_state = seed * 0x9E3779B97F4A7C15ull + 1; // not 0
    printf("# isolation: random programs from seed 0x%llx\n", (unsigned long long)seed);
    open_guarded(MB);
    for (program = 0; program != PROGRAMS; ++program) {
        size_t i;

        for (i = 0; i != MB / 4; ++i)
            ((uint32_t*)vm.memory)[i] = i < 16 * KB ? random_instruction() : any_instruction();
        __builtin___clear_cache((char*)vm.memory, (char*)vm.memory + 64 * KB);
        for (start = 0; start != STARTS; ++start) {
            const struct itimerval limit = {.it_value = {0, 8000}};

            time_is_up = false;
            vm.run->immediate_exit = 0;
            random_start();
            setitimer(ITIMER_REAL, &limit, NULL);
            while (!time_is_up) {
                if (vm_run(&vm) != 0) {
                    REQUIRE_EQUAL(errno, EINTR);
                    continue;
                }
                ++exits[vm.run->exit_reason % 64];
                if (vm.run->exit_reason == KVM_EXIT_MMIO || vm.run->exit_reason == KVM_EXIT_DCR) {
                    const uint32_t answer = any();

                    if (vm.run->exit_reason == KVM_EXIT_DCR)
                        vm.run->dcr.data = answer;
                    else
                        memcpy(vm.run->mmio.data, &answer, sizeof(answer));
                    continue;
                }
                if (vm.run->exit_reason == KVM_EXIT_INTERNAL_ERROR && getenv("VERBOSE") != NULL)
                    printf("# %u.%u: pc %llx msr %llx: %s\n", program, start, vm.run->internal.data[0],
                           vm.run->internal.data[1], (const char*)&vm.run->internal.data[2]);
                // The program's reset, its watchdog's, or its end.
                if (vm.run->exit_reason == KVM_EXIT_SHUTDOWN || vm.run->exit_reason == KVM_EXIT_SYSTEM_EVENT ||
                    vm.run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
                    break;
                check_failed(__FILE__, __LINE__, "exit %u", vm.run->exit_reason);
                check_stop();
            }
        }
        // No signal while there is no vCPU.
        setitimer(ITIMER_REAL, &(const struct itimerval){.it_value = {0, 0}}, NULL);
        if (program % 16 == 15) check_canaries();
        // A dead vCPU stays dead: a new one.
        vm_close(&(struct vm){vm.kvm, vm.fd, vm.vcpu, vm.run, vm.run_bytes, NULL, 0});
        munmap(canaries[0], MB + 2 * CANARY_BYTES);
        open_guarded(MB);
    }
    check_canaries();
    CHECK(a_guest_runs());
    check_figures("%u MMIO, %u DCR, %u resets, %u dead ends", exits[KVM_EXIT_MMIO], exits[KVM_EXIT_DCR],
                  exits[KVM_EXIT_SHUTDOWN] + exits[KVM_EXIT_SYSTEM_EVENT], exits[KVM_EXIT_INTERNAL_ERROR]);
}

int main(int argc, char** argv) {
    check_program("isolation");
    if (argc > 1) seed = strtoull(argv[1], NULL, 0);
    check_test("a guest that tries everything", 120, test_guest);
    check_test("random programs", 200, test_random_programs);
    return check_end();
}
