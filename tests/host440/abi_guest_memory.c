// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

static int create(int fd, uint64_t bytes, uint64_t flags) {
    struct kvm_create_guest_memfd request;

    memset(&request, 0, sizeof(request));
    request.size = bytes;
    request.flags = flags;
    return ioctl(fd, KVM_CREATE_GUEST_MEMFD, &request);
}

static void test_arguments(void) {
    struct vm vm;
    int file;

    vm_open(&vm, 0);
    CHECK_ERROR(create(vm.kvm, 0, 0), EINVAL);
    CHECK_ERROR(create(vm.kvm, 1, 0), EINVAL);
    CHECK_ERROR(create(vm.kvm, 4097, 0), EINVAL);
    CHECK_ERROR(create(vm.kvm, 4096, 1), EINVAL);
    CHECK_ERROR(create(vm.kvm, 1ull << 40, 0), ENOMEM);
    CHECK_ERROR(create(vm.kvm, ~0ull & ~0xFFFull, 0), ENOMEM);
    CHECK_ERROR(create(vm.vcpu, 4096, 0), ENOTTY);
    file = (int)REQUIRE_SUCCESS(create(vm.kvm, 64 * KB, 0));
    CHECK_EQUAL(fcntl(file, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    CHECK_ERROR(ioctl(file, KVM_GET_API_VERSION, 0), ENOTTY);
    CHECK(read(file, &vm, 1) == -1);
    CHECK(write(file, &vm, 1) == -1);
    CHECK_SUCCESS(create(vm.fd, 64 * KB, 0));
}

// Zeroed, as large as asked, kept by mappings and slots after the descriptor is closed.
static void test_memory(void) {
    const size_t bytes = 4 * MB;
    struct vm vm;
    uint8_t* memory;
    size_t i;
    int file;

    vm_open(&vm, 0);
    file = (int)REQUIRE_SUCCESS(create(vm.kvm, bytes, 0));
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    REQUIRE(memory != MAP_FAILED);
    REQUIRE_SUCCESS(close(file));
    for (i = 0; i != bytes; i += 4)
        if (*(uint32_t*)(memory + i) != 0) REQUIRE_EQUAL(*(uint32_t*)(memory + i), 0);
    REQUIRE_SUCCESS(set_region(vm.fd, 0, 0, 0, bytes, memory));
    vm.memory = memory;
    vm.memory_bytes = bytes;
    VM_LOAD(&vm, 0x1000, walk);
    vm_start_at(&vm, 0x1000, 0x2000, 0x1000, bytes / 4096 - 2);
    CHECK_EQUAL(vm_run_to_done(&vm), bytes);
    for (i = 0x2000; i != bytes; i += 0x1000)
        if (vm_word(&vm, i) != i) REQUIRE_EQUAL(vm_word(&vm, i), i);
    // The slot needs no mapping.
    REQUIRE_SUCCESS(munmap(memory, bytes));
    vm_start_at(&vm, 0x1000, 0x2000, 0x1000, 16);
    CHECK_EQUAL(vm_run_to_done(&vm), 0x12000);
    vm.memory = NULL;
}

// Not all of the file, from its middle, and in two slots.
static void test_part(void) {
    struct vm vm;
    uint8_t* memory;
    const int file = create(open_kvm(), 256 * KB, 0);

    REQUIRE(file >= 0);
    vm_open(&vm, 64 * KB);
    memory = mmap(NULL, 64 * KB, PROT_READ | PROT_WRITE, MAP_SHARED, file, 128 * KB);
    REQUIRE(memory != MAP_FAILED);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, MB, 32 * KB, memory + 4 * KB));
    REQUIRE_SUCCESS(set_region(vm.fd, 2, KVM_MEM_READONLY, 2 * MB, 16 * KB, memory));
    // More than is mapped there.
    CHECK_ERROR(set_region(vm.fd, 3, 0, 3 * MB, 64 * MB, memory), EFAULT);
    VM_LOAD(&vm, 0x1000, store_word);
    VM_LOAD(&vm, 0x2000, load_word);
    vm_start_at(&vm, 0x1000, MB + 0x10, 0x1234, 0);
    vm_run_to_done(&vm);
    CHECK_EQUAL(*(uint32_t*)(memory + 4 * KB + 0x10), 0x1234);
    vm_start_at(&vm, 0x2000, 2 * MB + 4 * KB + 0x10, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 0x1234);
    vm_close(&vm);
    CHECK_EQUAL(*(uint32_t*)(memory + 4 * KB + 0x10), 0x1234);
}

// Behind the file's end there is nothing, and what a private mapping writes stays private.
static void test_mappings(void) {
    const int file = create(open_kvm(), 64 * KB, 0);
    uint8_t *shared, *private;
    int status;
    pid_t child;

    REQUIRE(file >= 0);
    shared = mmap(NULL, 128 * KB, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) {
        child = fork();
        if (child == 0) _exit(((volatile uint8_t*)shared)[64 * KB]);
        REQUIRE_EQUAL(waitpid(child, &status, 0), child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
        shared[0] = 5;
        private = mmap(NULL, 64 * KB, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
        if (private != MAP_FAILED) {
            CHECK_EQUAL(private[0], 5);
            private[0] = 6;
            CHECK_EQUAL(shared[0], 5);
        }
    }
}

void abi_guest_memory(void) {
    check_test("guest-memory file: arguments", TEST_SECONDS, test_arguments);
    check_test("guest-memory file: a guest's memory", TEST_SECONDS, test_memory);
    check_test("guest-memory file: parts of it", TEST_SECONDS, test_part);
    check_test("guest-memory file: mappings", TEST_SECONDS, test_mappings);
}
