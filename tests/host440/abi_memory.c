// SPDX-License-Identifier: GPL-2.0-only
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

#define PAGE 4096u

static void test_bad_arguments(void) {
    struct vm vm;
    uint8_t* memory = map_memory(MB);
    int slots;

    vm_open(&vm, 0);
    slots = ioctl(vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
    CHECK_ERROR(set_region(vm.fd, (uint32_t)slots, 0, 0, PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0x10000, 0, 0, PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0xFFFFFFFF, 0, 0, PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 4, 0, PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0x80000000, 0, PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, PAGE - 1, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, 1, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0x800, PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, PAGE, memory + 0x10), EINVAL);
    // Deleting what is not there.
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, 0, memory), EINVAL);
    // Beyond 36 bits of real address, around the end of 64, and out of the process.
    CHECK_ERROR(set_region(vm.fd, 0, 0, 1ull << 36, PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, (1ull << 36) - PAGE, 2 * PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, ~0ull & ~0xFFFull, 2 * PAGE, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, 1ull << 32, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, ~0ull & ~0xFFFull, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, PAGE, (void*)0xC0000000u), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, PAGE, (void*)0xFFFFF000u), EINVAL);
    {
        const struct kvm_userspace_memory_region region = {.memory_size = PAGE,
                                                           .userspace_addr = (1ull << 32) + (uintptr_t)memory};

        CHECK_ERROR(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);
    }
    // Memory is pinned here, so it has to exist.
    REQUIRE_SUCCESS(munmap(memory + MB / 2, PAGE));
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, MB, memory), EFAULT);
    CHECK_SUCCESS(set_region(vm.fd, 0, 0, 0, MB / 2, memory));
    // The last page of the real address space is as good as any.
    CHECK_SUCCESS(set_region(vm.fd, 1, 0, (1ull << 36) - PAGE, PAGE, memory));
    CHECK_SUCCESS(set_region(vm.fd, (uint32_t)slots - 1, 0, MB, PAGE, memory));
}

static void test_overlap(void) {
    struct vm vm;
    uint8_t* memory = map_memory(MB);

    vm_open(&vm, 0);
    REQUIRE_SUCCESS(set_region(vm.fd, 0, 0, 0x10000, 0x10000, memory));
    CHECK_ERROR(set_region(vm.fd, 1, 0, 0x10000, 0x10000, memory), EEXIST);
    CHECK_ERROR(set_region(vm.fd, 1, 0, 0x1F000, 0x10000, memory), EEXIST);
    CHECK_ERROR(set_region(vm.fd, 1, 0, 0x1000, 0x10000, memory), EEXIST);
    CHECK_ERROR(set_region(vm.fd, 1, 0, 0, 0x80000, memory), EEXIST);
    CHECK_ERROR(set_region(vm.fd, 1, 0, 0x14000, 0x1000, memory), EEXIST);
    // Neighbours do not overlap.
    CHECK_SUCCESS(set_region(vm.fd, 1, 0, 0, 0x10000, memory));
    CHECK_SUCCESS(set_region(vm.fd, 2, 0, 0x20000, 0x10000, memory));
    // Nor does a slot with itself, at another place.
    CHECK_SUCCESS(set_region(vm.fd, 2, 0, 0x21000, 0x10000, memory));
    CHECK_ERROR(set_region(vm.fd, 2, 0, 0x1F000, 0x10000, memory), EEXIST);
    CHECK_SUCCESS(set_region(vm.fd, 0, 0, 0x10000, 0, memory));
    CHECK_SUCCESS(set_region(vm.fd, 2, 0, 0x1F000, 0x10000, memory));
}

// What can be changed of a slot, and what cannot.
static void test_changes(void) {
    struct vm vm;
    uint8_t* memory = map_memory(MB);

    vm_open(&vm, 0);
    REQUIRE_SUCCESS(set_region(vm.fd, 3, 0, 0, 0x10000, memory));
    CHECK_SUCCESS(set_region(vm.fd, 3, 0, 0, 0x10000, memory));
    CHECK_ERROR(set_region(vm.fd, 3, 0, 0, 0x20000, memory), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 3, 0, 0, 0x10000, memory + 0x10000), EINVAL);
    CHECK_ERROR(set_region(vm.fd, 3, KVM_MEM_READONLY, 0, 0x10000, memory), EINVAL);
    CHECK_SUCCESS(set_region(vm.fd, 3, KVM_MEM_LOG_DIRTY_PAGES, 0, 0x10000, memory));
    CHECK_SUCCESS(set_region(vm.fd, 3, 0, 0, 0x10000, memory));
    CHECK_SUCCESS(set_region(vm.fd, 3, 0, 0x40000, 0x10000, memory));
    CHECK_SUCCESS(set_region(vm.fd, 3, 0, 0, 0, NULL));
    CHECK_ERROR(set_region(vm.fd, 3, 0, 0, 0, NULL), EINVAL);
    CHECK_SUCCESS(set_region(vm.fd, 3, KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES, 0, 0x20000, memory));
}

// Slots next to each other with memory from different places, one seen twice.
static void test_several_slots(void) {
    struct vm vm;
    uint8_t *one = map_memory(PAGE), *two = map_memory(PAGE), *three = map_memory(2 * PAGE);
    static const uint32_t where[] = {0x100000, 0x101000, 0x102000, 0x103000, 0x200000};
    uint32_t i;

    vm_open(&vm, 64 * KB);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, where[0], PAGE, one));
    REQUIRE_SUCCESS(set_region(vm.fd, 2, 0, where[1], PAGE, two));
    REQUIRE_SUCCESS(set_region(vm.fd, 3, 0, where[2], 2 * PAGE, three));
    REQUIRE_SUCCESS(set_region(vm.fd, 4, 0, where[4], PAGE, one));
    VM_LOAD(&vm, 0x1000, store_word);
    VM_LOAD(&vm, 0x2000, load_word);
    for (i = 0; i != 4; ++i) {
        vm_start_at(&vm, 0x1000, where[i] + 8, 0xA0 + i, 0);
        REQUIRE_EQUAL(vm_run_to_done(&vm), 0xA0 + i);
    }
    CHECK_EQUAL(((uint32_t*)one)[2], 0xA0);
    CHECK_EQUAL(((uint32_t*)two)[2], 0xA1);
    CHECK_EQUAL(((uint32_t*)three)[2], 0xA2);
    CHECK_EQUAL(((uint32_t*)(three + PAGE))[2], 0xA3);
    vm_start_at(&vm, 0x2000, where[4] + 8, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 0xA0);
    // Stores across two slots.
    VM_LOAD(&vm, 0x3000, store_multiple);
    vm_start_at(&vm, 0x3000, where[1] - 8, 0, 0);
    vm_run_to_done(&vm);
    CHECK_EQUAL(((uint32_t*)one)[1022], 0x29);
    CHECK_EQUAL(((uint32_t*)one)[1023], 0x30);
    CHECK_EQUAL(((uint32_t*)two)[0], 0x31);
    vm_start_at(&vm, 0x1000, where[2] - 2, 0x11223344, 0);
    vm_run_to_done(&vm);
    CHECK_EQUAL(((uint16_t*)two)[2047], 0x1122);
    CHECK_EQUAL(((uint16_t*)three)[0], 0x3344);
}

// A moved slot is found at its new place, and what was its old one is a device.
static void test_move(void) {
    struct vm vm;
    uint8_t* memory = map_memory(PAGE);

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, load_word);
    *(uint32_t*)memory = 0x12345678;
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, 0x100000, PAGE, memory));
    vm_start_at(&vm, 0x1000, 0x100000, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 0x12345678);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, 0x300000, PAGE, memory));
    vm_start_at(&vm, 0x1000, 0x300000, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 0x12345678);
    vm_start_at(&vm, 0x1000, 0x100000, 0, 0);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.phys_addr, 0x100000);
    CHECK_EQUAL(vm.run->mmio.is_write, 0);
}

static void test_delete(void) {
    struct vm vm;
    uint8_t* memory = map_memory(PAGE);

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, store_word);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, 0x100000, PAGE, memory));
    vm_start_at(&vm, 0x1000, 0x100000, 1, 0);
    vm_run_to_done(&vm);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, 0, 0, NULL));
    // The pages are the process's alone again.
    REQUIRE_SUCCESS(munmap(memory, PAGE));
    vm_start_at(&vm, 0x1000, 0x100000, 2, 0);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.is_write, 1);
    CHECK_EQUAL(vm.run->mmio.len, 4);
    CHECK_EQUAL(vm.run->mmio.data[3], 2);
    vm_run_to_done(&vm);
}

// A store to a read-only slot is a device's, whose memory is as it was. Loads and fetches are plain.
static void test_read_only(void) {
    struct vm vm;
    uint8_t* memory = map_memory(2 * PAGE);

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, store_word);
    memcpy(memory, guest_load_word, (size_t)(guest_load_word_end - guest_load_word));
    __builtin___clear_cache((char*)memory, (char*)memory + PAGE);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, KVM_MEM_READONLY, 0x100000, 2 * PAGE, memory));
    *(uint32_t*)(memory + PAGE) = 77;
    vm_start_at(&vm, 0x100000, 0x101000, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 77);
    vm_start_at(&vm, 0x1000, 0x101000, 78, 0);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.phys_addr, 0x101000);
    CHECK_EQUAL(vm.run->mmio.is_write, 1);
    vm_run_to_done(&vm);
    CHECK_EQUAL(*(uint32_t*)(memory + PAGE), 77);
    // What the process writes later, the guest sees.
    *(uint32_t*)(memory + PAGE) = 79;
    vm_start_at(&vm, 0x100000, 0x101000, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 79);
    // Memory that the process itself cannot write.
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, 0, 0, NULL));
    REQUIRE_SUCCESS(mprotect(memory, 2 * PAGE, PROT_READ));
    CHECK_ERROR(set_region(vm.fd, 1, 0, 0x100000, 2 * PAGE, memory), EFAULT);
    CHECK_SUCCESS(set_region(vm.fd, 1, KVM_MEM_READONLY, 0x100000, 2 * PAGE, memory));
    vm_start_at(&vm, 0x100000, 0x101000, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 79);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, 0, 0, NULL));
    REQUIRE_SUCCESS(mprotect(memory, 2 * PAGE, PROT_NONE));
    CHECK_ERROR(set_region(vm.fd, 1, KVM_MEM_READONLY, 0x100000, 2 * PAGE, memory), EFAULT);
}

// ---- while the guest runs ------------------------------------------------------------------------------------------

static struct vm running;

static void leave(int signal) {
    (void)signal;
    running.run->immediate_exit = 1;
}

// Runs until a signal; each MMIO store is let pass. Counts them.
static void* run_until_signal(void* stores) {
    for (;;) {
        if (vm_run(&running) != 0) {
            if (errno != EINTR) check_failed(__FILE__, __LINE__, "KVM_RUN: %s", strerror(errno));
            return NULL;
        }
        if (running.run->exit_reason != KVM_EXIT_MMIO) {
            check_failed(__FILE__, __LINE__, "exit %s", exit_name(running.run->exit_reason));
            return NULL;
        }
        CHECK_EQUAL(running.run->mmio.phys_addr, 0x100000);
        __atomic_fetch_add((unsigned*)stores, 1, __ATOMIC_RELAXED);
    }
}

static void test_removal_while_running(void) {
    const struct sigaction action = {.sa_handler = leave};
    volatile uint32_t* memory = (volatile uint32_t*)map_memory(PAGE);
    unsigned stores = 0, round;
    pthread_t thread;

    sigaction(SIGUSR1, &action, NULL);
    vm_open(&running, 64 * KB);
    REQUIRE_SUCCESS(set_region(running.fd, 1, 0, 0x100000, PAGE, (const void*)memory));
    VM_LOAD(&running, 0x1000, spin_store);
    vm_start_at(&running, 0x1000, 0, 0x100000, 0);
    REQUIRE_EQUAL(pthread_create(&thread, NULL, run_until_signal, &stores), 0);
    for (round = 0; round != 8; ++round) {
        const unsigned before = __atomic_load_n(&stores, __ATOMIC_RELAXED);
        uint32_t seen = memory[0];

        sleep_ms(8);
        CHECK(memory[0] != seen); // it runs, and stores here
        REQUIRE_SUCCESS(set_region(running.fd, 1, 0, 0, 0, NULL));
        seen = memory[0];
        sleep_ms(8);
        CHECK_EQUAL(memory[0], seen); // no more
        CHECK(__atomic_load_n(&stores, __ATOMIC_RELAXED) != before);
        REQUIRE_SUCCESS(set_region(running.fd, 1, round % 2 != 0 ? KVM_MEM_LOG_DIRTY_PAGES : 0, 0x100000, PAGE,
                                   (const void*)memory));
    }
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
}

// Slots come and go by the hundred: each is unpinned.
static void test_many_changes(void) {
    struct vm vm;
    uint8_t* memory = map_memory(MB);
    unsigned i;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, walk);
    for (i = 0; i != 100; ++i) {
        const uint32_t pages = 1 + i % 16;

        REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, 0x100000, pages * PAGE, memory + i * PAGE));
        vm_start_at(&vm, 0x1000, 0x100000, PAGE, pages);
        REQUIRE_EQUAL(vm_run_to_done(&vm), 0x100000 + pages * PAGE);
        REQUIRE_EQUAL(*(uint32_t*)(memory + (i + pages - 1) * PAGE), 0x100000 + (pages - 1) * PAGE);
        REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, 0, 0, NULL));
    }
}

// Pinned memory counts against RLIMIT_MEMLOCK of a process without privileges, as long as it is pinned.
static void test_accounting(void) {
    const struct rlimit limit = {64 * KB, 64 * KB};
    struct kvm_create_guest_memfd request;
    uint8_t* memory = map_memory(MB);
    struct vm vm;
    unsigned i;

    vm_open(&vm, 0);
    REQUIRE_SUCCESS(setrlimit(RLIMIT_MEMLOCK, &limit));
    REQUIRE_SUCCESS(setuid(65534));
    CHECK_ERROR(set_region(vm.fd, 0, 0, 0, MB, memory), ENOMEM);
    for (i = 0; i != 4; ++i) {
        CHECK_SUCCESS(set_region(vm.fd, 0, 0, 0, 64 * KB, memory));
        CHECK_ERROR(set_region(vm.fd, 1, 0, MB, PAGE, memory + 512 * KB), ENOMEM);
        CHECK_SUCCESS(set_region(vm.fd, 0, 0, 0, 0, NULL));
    }
    memset(&request, 0, sizeof(request));
    request.size = 128 * KB;
    CHECK_ERROR(ioctl(vm.fd, KVM_CREATE_GUEST_MEMFD, &request), ENOMEM);
    request.size = 64 * KB;
    for (i = 0; i != 4; ++i) {
        const int file = (int)CHECK_SUCCESS(ioctl(vm.fd, KVM_CREATE_GUEST_MEMFD, &request));

        CHECK_ERROR(set_region(vm.fd, 1, 0, MB, PAGE, memory), ENOMEM);
        close(file);
    }
    CHECK_SUCCESS(set_region(vm.fd, 1, 0, MB, PAGE, memory));
}

// Descriptors that outlive their process: everything is given back by the one that closes them last.
static void test_outlived(void) {
    int ready[2], status;
    pid_t parent = fork();

    if (parent == 0) {
        struct vm vm;
        char byte;

        REQUIRE_SUCCESS(pipe(ready));
        vm_open(&vm, MB);
        VM_LOAD(&vm, 0x1000, sum);
        vm_start_at(&vm, 0x1000, 5, 0, 0);
        REQUIRE_EQUAL(vm_run_to_done(&vm), 15);
        if (fork() == 0) {
            // The heir.
            close(ready[1]);
            (void)!read(ready[0], &byte, 1); // until the other is gone
            sleep_ms(50);
            CHECK_ERROR(vm_run(&vm), EIO);
            vm_close(&vm);
            _exit(0);
        }
        _exit(0);
    }
    REQUIRE_EQUAL(waitpid(parent, &status, 0), parent);
    CHECK_EQUAL(status, 0);
    sleep_ms(200);
    CHECK(a_guest_runs());
}

void abi_memory(void) {
    check_test("slots: bad arguments", TEST_SECONDS, test_bad_arguments);
    check_test("slots: overlap", TEST_SECONDS, test_overlap);
    check_test("slots: what can change", TEST_SECONDS, test_changes);
    check_test("slots: several", TEST_SECONDS, test_several_slots);
    check_test("slots: moved", TEST_SECONDS, test_move);
    check_test("slots: deleted", TEST_SECONDS, test_delete);
    check_test("slots: read-only", TEST_SECONDS, test_read_only);
    check_test("slots: removed while the guest runs", TEST_SECONDS, test_removal_while_running);
    check_test("slots: a hundred changes", TEST_SECONDS, test_many_changes);
    check_test("slots: accounted", TEST_SECONDS, test_accounting);
    check_test("slots: a VM that outlives its process", TEST_SECONDS, test_outlived);
}
