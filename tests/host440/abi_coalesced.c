// SPDX-License-Identifier: GPL-2.0-only
// Device accesses that do not end KVM_RUN: the ring of coalesced MMIO and the page of device registers.
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

#define DEVICE 0x00F00000u
#define TEXT 0x8000u
#define CAP_REGISTERS 0x5554000A
#define RING_ENTRIES 170

// As runtime/kvm/untrap_abi.h has it.
struct registers {
    uint32_t count;
    uint32_t reserved[7];
    struct {
        uint64_t base;
        uint8_t loads, exits, keeps, end_count, ends[4], values[8];
        uint64_t reserved2;
    } blocks[8];
};

static struct vm vm;
static struct kvm_coalesced_mmio_ring* ring;
static struct registers* registers;

static int zone(unsigned long request, uint64_t address, uint32_t size, uint32_t pio) {
    struct kvm_coalesced_mmio_zone argument;

    memset(&argument, 0, sizeof(argument));
    argument.addr = address;
    argument.size = size;
    argument.pio = pio;
    return ioctl(vm.fd, request, &argument);
}

static void open_device(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const int ring_page = ioctl(vm.kvm, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
    const int register_page = ioctl(vm.kvm, KVM_CHECK_EXTENSION, CAP_REGISTERS);

    REQUIRE_EQUAL(ring_page, 1);
    REQUIRE_EQUAL(register_page, 2);
    REQUIRE_EQUAL(vm.run_bytes, 3 * page);
    ring = (void*)((uint8_t*)vm.run + (size_t)ring_page * page);
    registers = (void*)((uint8_t*)vm.run + (size_t)register_page * page);
    CHECK_EQUAL(ring->first, 0);
    CHECK_EQUAL(ring->last, 0);
    CHECK_EQUAL(registers->count, 0);
    VM_LOAD(&vm, SNIPPET_BASE, print);
    registers->blocks[0].base = DEVICE;
    registers->blocks[0].values[5] = 0x60;
    registers->blocks[0].loads = 1 << 5;
    registers->count = 1;
}

static void print(const char* text, size_t length) {
    memcpy(vm.memory + TEXT, text, length);
    vm_start_at(&vm, SNIPPET_BASE, DEVICE, TEXT, (uint32_t)length);
}

// What is in the ring, which is empty then.
static size_t take(char* to) {
    size_t length = 0;

    while (ring->first != ring->last) {
        const struct kvm_coalesced_mmio* entry = &ring->coalesced_mmio[ring->first];

        CHECK_EQUAL(entry->phys_addr, DEVICE);
        CHECK_EQUAL(entry->len, 1);
        to[length++] = (char)entry->data[0];
        ring->first = (ring->first + 1) % RING_ENTRIES;
    }
    to[length] = 0;
    return length;
}

static void test_ring(void) {
    static const char text[] = "a line that ends\nand another";
    char got[RING_ENTRIES + 1];

    vm_open(&vm, 64 * KB);
    open_device();
    REQUIRE_SUCCESS(zone(KVM_REGISTER_COALESCED_MMIO, DEVICE, 1, 0));
    registers->blocks[0].ends[0] = '\n';
    registers->blocks[0].end_count = 1;
    print(text, sizeof(text) - 1);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.phys_addr, DEVICE);
    CHECK_EQUAL(vm.run->mmio.data[0], '\n');
    take(got);
    CHECK(strcmp(got, "a line that ends") == 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 0x20);
    take(got);
    CHECK(strcmp(got, "and another") == 0);
    // Loads end the run where the register is not known.
    registers->blocks[0].loads = 0;
    print("b", 1);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.phys_addr, DEVICE + 5);
    CHECK_EQUAL(vm.run->mmio.is_write, 0);
    vm.run->mmio.data[0] = 0x20;
    CHECK_EQUAL(vm_run_to_done(&vm), 0x20);
    CHECK_EQUAL(take(got), 1);
    // Stores, where the zone is gone.
    registers->blocks[0].loads = 1 << 5;
    REQUIRE_SUCCESS(zone(KVM_UNREGISTER_COALESCED_MMIO, DEVICE, 1, 0));
    print("c", 1);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.data[0], 'c');
    CHECK_EQUAL(take(got), 0);
    // And with it, where userspace wants them.
    REQUIRE_SUCCESS(zone(KVM_REGISTER_COALESCED_MMIO, DEVICE, 1, 0));
    registers->blocks[0].exits = 1;
    vm_run_to_done(&vm);
    print("d", 1);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.data[0], 'd');
    // What the register holds anyway is nobody's business.
    registers->blocks[0].values[0] = 'e';
    registers->blocks[0].loads = 1 << 5 | 1;
    registers->blocks[0].keeps = 1;
    vm_run_to_done(&vm);
    print("ee", 2);
    vm_run_to_done(&vm);
    CHECK_EQUAL(take(got), 0);
}

static void test_full(void) {
    char text[4 * RING_ENTRIES], got[sizeof(text) + RING_ENTRIES];
    size_t done = 0, i;

    for (i = 0; i != sizeof(text); ++i) text[i] = (char)('a' + i % 26);
    vm_open(&vm, 64 * KB);
    open_device();
    REQUIRE_SUCCESS(zone(KVM_REGISTER_COALESCED_MMIO, DEVICE, 8, 0));
    print(text, sizeof(text));
    do {
        char part[RING_ENTRIES + 1];
        size_t length;

        if (vm_run(&vm) != 0) REQUIRE_EQUAL(errno, EINTR); // it took its time
        length = take(part);
        REQUIRE(done + length < sizeof(got));
        memcpy(got + done, part, length);
        done += length;
        if (vm.run->exit_reason == KVM_EXIT_MMIO) got[done++] = (char)vm.run->mmio.data[0];
    } while (vm.run->exit_reason != KVM_EXIT_DCR);
    CHECK_EQUAL(done, sizeof(text));
    CHECK(memcmp(got, text, sizeof(text)) == 0);
    // Numbers that only a hostile userspace writes.
    ring->last = RING_ENTRIES;
    print("x", 1);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.data[0], 'x');
    ring->last = 0xFFFFFFFF;
    vm_run_to_done(&vm);
    print("y", 1);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    vm_run_to_done(&vm);
    ring->last = 5;
    ring->first = 0xFFFFFFFF;
    registers->count = 0xFFFFFFFF;
    print(text, sizeof(text));
    while (vm_run(&vm) != 0) REQUIRE_EQUAL(errno, EINTR);
    CHECK_EQUAL(vm.run->exit_reason, KVM_EXIT_DCR);
    CHECK(ring->last < RING_ENTRIES);
    CHECK(a_guest_runs());
}

// A guest that prints a part of a line and then computes for ever.
static void test_time(void) {
    const size_t bytes = (size_t)(guest_print_end - guest_print);
    char got[RING_ENTRIES + 1];
    double before;
    size_t at;

    vm_open(&vm, 64 * KB);
    open_device();
    REQUIRE_SUCCESS(zone(KVM_REGISTER_COALESCED_MMIO, DEVICE, 1, 0));
    // A branch to itself in place of the mtdcr of DONE.
    for (at = 0; at + 4 <= bytes; at += 4) {
        const uint32_t word = vm_word(&vm, SNIPPET_BASE + (uint32_t)at);

        if (word >> 26 == 31 && (word >> 1 & 0x3FF) == 451) vm_set_word(&vm, SNIPPET_BASE + (uint32_t)at, 0x48000000);
    }
    print("part", 4);
    before = seconds_now();
    CHECK_ERROR(vm_run(&vm), EINTR);
    CHECK(seconds_now() - before < 0.1);
    CHECK_EQUAL(vm.run->exit_reason, KVM_EXIT_INTR);
    take(got);
    CHECK(strcmp(got, "part") == 0);
}

static void test_arguments(void) {
    unsigned i;

    vm_open(&vm, 0);
    CHECK_ERROR(zone(KVM_REGISTER_COALESCED_MMIO, DEVICE, 8, 1), EINVAL);
    CHECK_ERROR(zone(KVM_REGISTER_COALESCED_MMIO, DEVICE, 0, 0), EINVAL);
    CHECK_ERROR(zone(KVM_REGISTER_COALESCED_MMIO, ~0ull - 2, 4, 0), EINVAL);
    CHECK_ERROR(zone(KVM_UNREGISTER_COALESCED_MMIO, DEVICE, 8, 7), EINVAL);
    CHECK_ERROR(ioctl(vm.fd, KVM_REGISTER_COALESCED_MMIO, NULL), EFAULT);
    CHECK_ERROR(ioctl(vm.fd, KVM_UNREGISTER_COALESCED_MMIO, (void*)0xC0000000), EFAULT);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_REGISTER_COALESCED_MMIO, &vm), ENOTTY);
    CHECK_SUCCESS(zone(KVM_UNREGISTER_COALESCED_MMIO, DEVICE, 8, 0));
    for (i = 0; zone(KVM_REGISTER_COALESCED_MMIO, DEVICE + 8 * i, 8, 0) == 0; ++i) REQUIRE(i < 1000);
    CHECK_EQUAL(errno, ENOSPC);
    CHECK(i >= 8);
    while (i != 0) {
        --i;
        CHECK_SUCCESS(zone(KVM_UNREGISTER_COALESCED_MMIO, DEVICE + 8 * i, 8, 0));
    }
    CHECK_SUCCESS(zone(KVM_REGISTER_COALESCED_MMIO, DEVICE, 8, 0));
}

void abi_coalesced(void) {
    check_test("coalesced MMIO and device registers", TEST_SECONDS, test_ring);
    check_test("coalesced MMIO: a ring that is full or spoilt", TEST_SECONDS, test_full);
    check_test("coalesced MMIO: what waits ends KVM_RUN", TEST_SECONDS, test_time);
    check_test("coalesced MMIO: arguments", TEST_SECONDS, test_arguments);
}
