// SPDX-License-Identifier: GPL-2.0-only
// A hundred thousand ioctls with arguments by chance, on all descriptors that /dev/kvm gives, while other threads run
// the guest and interrupt it. Usage: ioctl_fuzz [SEED [CALLS]]. The seed is printed; with the same one the calls are
// the same as far as the answers are.
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "host_state.h"
#include "snippets.h"

static uint64_t seed = 0x440F022ull;
static unsigned calls = 100000;
static uint64_t random_state;
static bool trace; // each call is printed

static uint32_t any(void) { return random_word(&random_state); }
static bool one_in(uint32_t n) { return any() % n == 0; }
static uint64_t any64(void) { return (uint64_t)any() << 32 | any(); }

// ---- descriptors
// -----------------------------------------------------------------------------------------------------

enum kind { SYSTEM, VM, VCPU, STATISTICS, GUEST_MEMORY, EVENT, KINDS };
#define SLOTS 48
static struct {
    int fd;
    enum kind kind;
} descriptors[SLOTS];
static unsigned opened[KINDS];

#define MEMORY (256 * KB)
static uint8_t* memory; // guests', and of the structures
static uint8_t* arguments;
static uint8_t* file_mapping;

static void set_descriptor(unsigned slot, int fd, enum kind kind) {
    if (descriptors[slot].fd >= 0) close(descriptors[slot].fd);
    descriptors[slot].fd = fd;
    descriptors[slot].kind = kind;
    if (fd >= 0) ++opened[kind];
}

static void add_descriptor(int fd, enum kind kind) {
    if (fd < 0) return;
    set_descriptor(any() % SLOTS, fd, kind);
}

static unsigned find_descriptor(enum kind kind) {
    unsigned slot = any() % SLOTS, i;

    for (i = 0; i != SLOTS; ++i, slot = (slot + 1) % SLOTS)
        if (descriptors[slot].fd >= 0 && descriptors[slot].kind == kind) return slot;
    return slot;
}

// ---- arguments
// -------------------------------------------------------------------------------------------------------

static uint64_t number(void) {
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     3,
                                     4,
                                     8,
                                     31,
                                     32,
                                     64,
                                     0xFFF,
                                     0x1000,
                                     0x1001,
                                     0x7FFFFFFF,
                                     0x80000000,
                                     0xC0000000,
                                     0xFFFFF000,
                                     0xFFFFFFFC,
                                     0xFFFFFFFF,
                                     0x100000000,
                                     0xFFFFFF000,
                                     0x1000000000,
                                     0x7FFFFFFFFFFFFFFF,
                                     0x8000000000000000,
                                     0xFFFFFFFFFFFFF000,
                                     0xFFFFFFFFFFFFFFFF};

    switch (any() % 5) {
    case 0: return any64();
    case 1: return any();
    case 2: return any() % 1024;
    case 3: return (uint64_t)(any() % 4096) << 12;
    default: return edges[any() % (sizeof(edges) / sizeof(edges[0]))];
    }
}

static void* address(void) {
    switch (any() % 12) {
    case 0: return NULL;
    case 1: return (void*)(uintptr_t)(0x20000000u + any() % 0x40000000u); // nothing is there
    case 2: return (void*)(uintptr_t)(0xC0000000u + any() % (512 * MB));
    case 3: return arguments + 2 * 4096 - any() % 64; // runs into nothing
    default: return arguments + any() % 1024 * 4;
    }
}

static int any_fd(void) {
    if (one_in(6)) return (int)number();
    return descriptors[any() % SLOTS].fd;
}

static uint32_t known_ioctl(void) {
    static const uint32_t all[] = {KVM_GET_API_VERSION,
                                   KVM_CREATE_VM,
                                   KVM_CHECK_EXTENSION,
                                   KVM_GET_VCPU_MMAP_SIZE,
                                   KVM_CREATE_GUEST_MEMFD,
                                   KVM_CREATE_VCPU,
                                   KVM_GET_DIRTY_LOG,
                                   KVM_SET_USER_MEMORY_REGION,
                                   KVM_SET_USER_MEMORY_REGION,
                                   KVM_IRQFD,
                                   KVM_IOEVENTFD,
                                   KVM_REGISTER_COALESCED_MMIO,
                                   KVM_UNREGISTER_COALESCED_MMIO,
                                   KVM_ENABLE_CAP,
                                   KVM_GET_STATS_FD,
                                   KVM_RUN,
                                   KVM_GET_REGS,
                                   KVM_SET_REGS,
                                   KVM_GET_SREGS,
                                   KVM_SET_SREGS,
                                   KVM_GET_FPU,
                                   KVM_SET_FPU,
                                   KVM_GET_ONE_REG,
                                   KVM_SET_ONE_REG,
                                   KVM_GET_REG_LIST,
                                   KVM_TRANSLATE,
                                   KVM_INTERRUPT,
                                   KVM_GET_MP_STATE,
                                   KVM_SET_MP_STATE,
                                   KVM_SET_GUEST_DEBUG,
                                   KVM_SET_SIGNAL_MASK,
                                   _IOR(KVMIO, 0xF0, char[384]),
                                   _IOW(KVMIO, 0xF1, char[16])};

    switch (any() % 24) {
    case 0: return any();
    case 1: return _IO(KVMIO, any() & 0xFF);
    case 2: return _IOW(KVMIO, any() & 0xFF, char[64]);
    case 3: return all[any() % (sizeof(all) / sizeof(all[0]))] ^ 1u << any() % 32;
    default: return all[any() % (sizeof(all) / sizeof(all[0]))];
    }
}

static void fill_region(struct kvm_userspace_memory_region* region) {
    region->slot = one_in(8) ? (uint32_t)number() : any() % 6;
    region->flags = one_in(16) ? any() : any() % 4;
    region->guest_phys_addr = one_in(4) ? number() : (uint64_t)(any() % 256) << 12;
    region->memory_size = one_in(4) ? 0 : one_in(12) ? number() : (uint64_t)(any() % 48) << 12;
    switch (any() % 8) {
    case 0: region->userspace_addr = number(); break;
    case 1: region->userspace_addr = (uintptr_t)arguments; break;
    case 2:
        if (file_mapping != NULL) {
            region->userspace_addr = (uintptr_t)file_mapping + any() % 16 * 4096;
            break;
        }
        __attribute__((fallthrough));
    default: region->userspace_addr = (uintptr_t)memory + any() % 32 * 4096; break;
    }
}

// What the ioctl takes, with fields that make sense now and then.
static void fill(uint32_t request, void* at) {
    const size_t bytes = _IOC_SIZE(request);
    uint32_t* words = at;
    size_t i;

    for (i = 0; i < bytes / 4 && i < 512; ++i) words[i] = one_in(3) ? (uint32_t)number() : 0;
    switch (request) {
    case KVM_SET_USER_MEMORY_REGION: fill_region(at); break;
    case KVM_GET_DIRTY_LOG: {
        struct kvm_dirty_log* log = at;

        log->slot = one_in(8) ? any() : any() % 6;
        log->dirty_bitmap = address();
        break;
    }
    case KVM_CREATE_GUEST_MEMFD: {
        struct kvm_create_guest_memfd* create = at;

        create->flags = one_in(8) ? any() : 0;
        create->size = one_in(16) ? number() & 0xFFFFFFFF00FFFFFFull : (uint64_t)(any() % 64) << 12;
        break;
    }
    case KVM_IRQFD: {
        struct kvm_irqfd* irqfd = at;

        irqfd->fd = (uint32_t)any_fd();
        if (!one_in(4)) irqfd->fd = (uint32_t)descriptors[find_descriptor(EVENT)].fd;
        irqfd->gsi = one_in(8) ? any() : 0;
        irqfd->flags = one_in(8) ? any() : any() % 2;
        break;
    }
    case KVM_IOEVENTFD: {
        struct kvm_ioeventfd* ioeventfd = at;

        ioeventfd->fd = any_fd();
        if (!one_in(4)) ioeventfd->fd = descriptors[find_descriptor(EVENT)].fd;
        ioeventfd->addr = one_in(4) ? number() : 0x00F00000 + any() % 8 * 4;
        ioeventfd->len = one_in(8) ? any() : 1u << any() % 4;
        ioeventfd->flags = one_in(8) ? any() : any() & 5;
        break;
    }
    case KVM_REGISTER_COALESCED_MMIO:
    case KVM_UNREGISTER_COALESCED_MMIO: {
        struct kvm_coalesced_mmio_zone* zone = at;

        zone->addr = one_in(4) ? number() : 0x00F00000 + any() % 8 * 4;
        zone->size = one_in(8) ? any() : any() % 16;
        zone->pio = one_in(8) ? any() : 0;
        break;
    }
    case KVM_GET_ONE_REG:
    case KVM_SET_ONE_REG: {
        struct kvm_one_reg* reg = at;

        reg->id = one_in(4) ? any64() : KVM_REG_PPC | (one_in(2) ? KVM_REG_SIZE_U64 : KVM_REG_SIZE_U32) | any() % 0xC0;
        reg->addr = (uintptr_t)address();
        break;
    }
    case KVM_GET_REG_LIST: *(uint64_t*)at = one_in(2) ? 1000 : number(); break;
    case KVM_SET_SIGNAL_MASK:
        words[0] = one_in(4) ? any() : 8;
        // The kernel's words; the signal that ends long KVM_RUNs gets through.
        words[1] = any() & ~(1u << (SIGUSR1 - 1));
        words[2] = any();
        break;
    case KVM_INTERRUPT: words[0] = one_in(8) ? any() : KVM_INTERRUPT_SET_LEVEL + any() % 3; break;
    case KVM_SET_MP_STATE: words[0] = any() % 6; break;
    case KVM_SET_REGS: {
        struct kvm_regs* regs = at;

        regs->pc = one_in(8) ? any() : 0x1000 * (1 + any() % 8);
        regs->msr = one_in(4) ? any() : 0;
        regs->gpr[3] = one_in(2) ? any() % MEMORY : 0x00F00000 + any() % 64;
        regs->gpr[4] = any() % MEMORY;
        regs->gpr[5] = any() % 64;
        break;
    }
    case KVM_GET_SREGS:
    case KVM_SET_SREGS:
        if (one_in(2)) {
            struct kvm_sregs* sregs = at;

            if (ioctl(descriptors[find_descriptor(VCPU)].fd, KVM_GET_SREGS, sregs) == 0)
                words[any() % (bytes / 4)] ^= any();
        }
        break;
    default: break;
    }
}

// ---- other threads
// ---------------------------------------------------------------------------------------------------

static volatile bool stop, runner_ended;
static volatile int runner_fd = -1;
static pthread_t main_thread, runner_thread;
static unsigned runs, interrupts_sent;

static void on_signal(int signal) { (void)signal; }

// Runs whatever vCPU there is.
static void* runner(void* unused) {
    (void)unused;
    while (!stop) {
        if (ioctl(runner_fd, KVM_RUN, 0) == 0)
            ++runs;
        else
            sched_yield();
    }
    runner_ended = true;
    return NULL;
}

// And ends each KVM_RUN sooner or later.
static void* interrupter(void* unused) {
    uint64_t state = seed * 2 + 1;

    (void)unused;
    while (!runner_ended) {
        const struct kvm_interrupt request = {.irq = KVM_INTERRUPT_SET_LEVEL + random_word(&state) % 3};

        if (ioctl(runner_fd, KVM_INTERRUPT, &request) == 0) ++interrupts_sent;
        sleep_ms(1 + random_word(&state) % 3);
        pthread_kill(runner_thread, SIGUSR1);
        pthread_kill(main_thread, SIGUSR1);
    }
    return NULL;
}

// ---- calls
// -----------------------------------------------------------------------------------------------------------

static void load_guests(void) {
    static const struct {
        const char *first, *end;
    } guests[] = {{guest_sum, guest_sum_end},
                  {guest_store_sizes, guest_store_sizes_end},
                  {guest_load_sizes, guest_load_sizes_end},
                  {guest_spin_unmasked, guest_spin_unmasked_end},
                  {guest_wait_unmasked, guest_wait_unmasked_end},
                  {guest_walk, guest_walk_end},
                  {guest_dcr, guest_dcr_end},
                  {guest_fp, guest_fp_end}};
    size_t i;

    for (i = 0; i != sizeof(guests) / sizeof(guests[0]); ++i)
        memcpy(memory + 0x1000 * (i + 1), guests[i].first, (size_t)(guests[i].end - guests[i].first));
    __builtin___clear_cache((char*)memory, (char*)memory + 0x10000);
}

// A VM with memory and a vCPU, so that the calls find something.
static void new_machine(void) {
    const int system = descriptors[0].fd;
    const int vm = ioctl(system, KVM_CREATE_VM, 0);
    int vcpu;

    if (vm < 0) return;
    set_region(vm, 0, 0, 0, MEMORY, memory);
    vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    set_descriptor(1 + any() % 20, vm, VM);
    if (vcpu < 0) return;
    set_descriptor(21 + any() % 20, vcpu, VCPU);
    load_guests();
    runner_fd = vcpu;
}

static void housekeeping(void) {
    switch (any() % 8) {
    case 0: {
        const unsigned slot = 1 + any() % (SLOTS - 1);

        set_descriptor(slot, -1, SYSTEM);
        break;
    }
    case 1: {
        const unsigned slot = any() % SLOTS;

        if (descriptors[slot].fd >= 0)
            set_descriptor(1 + any() % (SLOTS - 1), dup(descriptors[slot].fd), descriptors[slot].kind);
        break;
    }
    case 2: add_descriptor(eventfd(any() % 3, EFD_NONBLOCK | EFD_CLOEXEC), EVENT); break;
    case 3: {
        const uint64_t one = 1;

        if (write(descriptors[find_descriptor(EVENT)].fd, &one, sizeof(one)) < 0) break;
        break;
    }
    case 4: {
        static uint8_t buffer[512];

        // Statistics, at any place.
        if (pread(descriptors[find_descriptor(STATISTICS)].fd, one_in(4) ? address() : buffer, any() % 512,
                  one_in(2) ? 0 : any() % 4096) < 0)
            break;
        break;
    }
    case 5: {
        const int fd = descriptors[find_descriptor(GUEST_MEMORY)].fd;
        void* mapped;

        if (file_mapping != NULL) munmap(file_mapping, 64 * 4096);
        mapped = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, one_in(4) ? MAP_PRIVATE : MAP_SHARED, fd,
                      one_in(4) ? 0x3000 : 0);
        file_mapping = mapped != MAP_FAILED ? mapped : NULL;
        break;
    }
    case 6: {
        // kvm_run.
        const int fd = descriptors[find_descriptor(VCPU)].fd;
        uint32_t* run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (run == MAP_FAILED) break;
        run[any() % 1024] = any();
        ((struct kvm_run*)run)->immediate_exit = one_in(4);
        munmap(run, 4096);
        break;
    }
    default: new_machine(); break;
    }
}

static void note_result(uint32_t request, int result) {
    if (result < 0) return;
    switch (request) {
    case KVM_CREATE_VM: add_descriptor(result, VM); break;
    case KVM_CREATE_VCPU: add_descriptor(result, VCPU); break;
    case KVM_GET_STATS_FD: add_descriptor(result, STATISTICS); break;
    case KVM_CREATE_GUEST_MEMFD: add_descriptor(result, GUEST_MEMORY); break;
    default: break;
    }
    // A descriptor in slot 0 would be lost to new_machine.
    if (descriptors[0].kind != SYSTEM) set_descriptor(0, open("/dev/kvm", O_RDWR), SYSTEM);
}

static void one_call(unsigned* good) {
    const uint32_t request = known_ioctl();
    const unsigned nr = _IOC_NR(request);
    // Mostly where it belongs.
    const enum kind kind = nr < 0x40 ? SYSTEM : nr < 0x80 || one_in(4) ? VM : VCPU;
    const int fd = one_in(6) ? descriptors[any() % SLOTS].fd : descriptors[find_descriptor(kind)].fd;
    void* argument = address();
    int result;

    if (_IOC_SIZE(request) == 0 && !one_in(8)) argument = (void*)(uintptr_t)(one_in(4) ? number() : 0);
    if (_IOC_SIZE(request) != 0 && (uint8_t*)argument >= arguments && (uint8_t*)argument <= arguments + 4096)
        fill(request, argument);
    if (trace) printf("# %d %08x %p\n", fd, request, argument);
    result = ioctl(fd, request, argument);
    if (result >= 0) ++*good;
    note_result(request, result);
}

static void fuzz(void) {
    const struct sigaction action = {.sa_handler = on_signal};
    pthread_t other;
    unsigned i, good = 0;

    random_state = seed * 0x9E3779B97F4A7C15ull + 1;
    sigaction(SIGUSR1, &action, NULL);
    for (i = 0; i != SLOTS; ++i) descriptors[i].fd = -1;
    memory = map_memory(MEMORY);
    arguments = map_memory(3 * 4096);
    REQUIRE_SUCCESS(munmap(arguments + 2 * 4096, 4096));
    set_descriptor(0, open_kvm(), SYSTEM);
    new_machine();
    main_thread = pthread_self();
    REQUIRE_EQUAL(pthread_create(&runner_thread, NULL, runner, NULL), 0);
    REQUIRE_EQUAL(pthread_create(&other, NULL, interrupter, NULL), 0);
    for (i = 0; i != calls; ++i) {
        one_call(&good);
        if (one_in(24)) housekeeping();
        if (i % 2000 == 1999) new_machine();
        if (i % 20000 == 19999) printf("# fuzz: %u calls\n", i + 1);
    }
    stop = true;
    pthread_join(other, NULL);
    CHECK(good > calls / 10);
    CHECK(runs > 100);
    check_figures(
        "seed 0x%llx, %u calls, %u of them accepted, %u KVM_RUN and %u KVM_INTERRUPT beside; opened %u VM, %u vCPU, %u "
        "statistics, %u memory, %u eventfd",
        (unsigned long long)seed, calls, good, runs, interrupts_sent, opened[VM], opened[VCPU], opened[STATISTICS],
        opened[GUEST_MEMORY], opened[EVENT]);
}

static void alive(void) {
    unsigned i;

    for (i = 0; i != 3; ++i) CHECK(a_guest_runs());
}

static struct host_state before;
static void nothing_leaked(void) { check_same_state(&before, 768); }

int main(int argc, char** argv) {
    check_program("fuzz");
    if (argc > 1) seed = strtoull(argv[1], NULL, 0);
    trace = getenv("TRACE") != NULL;
    if (argc > 2) calls = (unsigned)strtoul(argv[2], NULL, 0);
    printf("# fuzz: seed 0x%llx\n", (unsigned long long)seed);
    settle();
    a_guest_runs();
    before = host_state();
    check_test("ioctls by chance", 600, fuzz);
    check_test("the host is alive, and a guest runs", 20, alive);
    check_test("nothing is left of it", 20, nothing_leaked);
    return check_end();
}
