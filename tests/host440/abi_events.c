// SPDX-License-Identifier: GPL-2.0-only
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

#define DEVICE 0x00F00000u

static struct vm vm;

static int irqfd(int fd, uint32_t gsi, uint32_t flags) {
    struct kvm_irqfd request;

    memset(&request, 0, sizeof(request));
    request.fd = (uint32_t)fd;
    request.gsi = gsi;
    request.flags = flags;
    return ioctl(vm.fd, KVM_IRQFD, &request);
}

static int new_eventfd(void) { return (int)REQUIRE_SUCCESS(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

static void signal_event(int fd) {
    const uint64_t one = 1;

    REQUIRE_EQUAL(write(fd, &one, sizeof(one)), sizeof(one));
}

static uint64_t event_count(int fd) {
    uint64_t count = 0;

    return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void* signal_later(void* fd) {
    sleep_ms(30);
    signal_event(*(const int*)fd);
    return NULL;
}

static void test_irqfd(void) {
    const int event = new_eventfd();
    pthread_t other;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, SNIPPET_BASE, wait_unmasked);
    REQUIRE_SUCCESS(irqfd(event, 0, 0));
    // Before the guest runs, while it waits, and while it spins.
    signal_event(event);
    vm_start_at(&vm, SNIPPET_BASE, 5, 0, 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm.run->dcr.dcrn, DCR_EXTERNAL);
    CHECK_EQUAL(vm_run_to_done(&vm), 5);
    vm_start_at(&vm, SNIPPET_BASE, 6, 0, 0);
    REQUIRE_EQUAL(pthread_create(&other, NULL, signal_later, (void*)&event), 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm_run_to_done(&vm), 6);
    pthread_join(other, NULL);
    VM_LOAD(&vm, SNIPPET_BASE, spin_unmasked);
    vm_start_at(&vm, SNIPPET_BASE, 0, 0, 0);
    REQUIRE_EQUAL(pthread_create(&other, NULL, signal_later, (void*)&event), 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm.run->dcr.dcrn, DCR_EXTERNAL);
    pthread_join(other, NULL);
    CHECK_EQUAL(event_count(event), 0); // taken by the kernel
    // No longer.
    REQUIRE_SUCCESS(irqfd(event, 0, KVM_IRQFD_FLAG_DEASSIGN));
    signal_event(event);
    CHECK_EQUAL(event_count(event), 1);
    VM_LOAD(&vm, 0x3000, sum);
    vm_start_at(&vm, 0x3000, 10, 0, 0);
    vm_run_to_done(&vm);
    // Ends in any order.
    REQUIRE_SUCCESS(irqfd(event, 0, 0));
    close(event);
    vm_close(&vm);
}

static void test_irqfd_arguments(void) {
    const int event = new_eventfd(), second = new_eventfd();
    int early;
    unsigned i;

    vm_open(&vm, 0);
    CHECK_ERROR(irqfd(-1, 0, 0), EBADF);
    CHECK_ERROR(irqfd(1000, 0, 0), EBADF);
    CHECK_ERROR(irqfd(vm.fd, 0, 0), EINVAL);
    CHECK_ERROR(irqfd(0, 0, KVM_IRQFD_FLAG_RESAMPLE), EINVAL);
    CHECK_ERROR(irqfd(event, 0, 0x80), EINVAL);
    CHECK_ERROR(irqfd(event, 1, 0), EINVAL);
    CHECK_ERROR(irqfd(event, 0xFFFFFFFF, 0), EINVAL);
    CHECK_SUCCESS(irqfd(event, 0, 0));
    CHECK_ERROR(irqfd(event, 0, 0), EBUSY);
    CHECK_SUCCESS(irqfd(second, 0, 0));
    CHECK_SUCCESS(irqfd(event, 0, KVM_IRQFD_FLAG_DEASSIGN));
    CHECK_ERROR(irqfd(-1, 0, KVM_IRQFD_FLAG_DEASSIGN), EBADF);
    CHECK_ERROR(irqfd(vm.fd, 0, KVM_IRQFD_FLAG_DEASSIGN), EINVAL);
    // An eventfd that is closed while it is registered.
    early = new_eventfd();
    CHECK_SUCCESS(irqfd(early, 0, 0));
    close(early);
    for (i = 0; i != 50; ++i) {
        early = new_eventfd();
        CHECK_SUCCESS(irqfd(early, 0, 0));
        signal_event(early);
        if (i % 2 != 0) CHECK_SUCCESS(irqfd(early, 0, KVM_IRQFD_FLAG_DEASSIGN));
        close(early);
    }
}

static int ioeventfd(int fd, uint64_t address, uint32_t length, uint32_t flags, uint64_t match) {
    struct kvm_ioeventfd request;

    memset(&request, 0, sizeof(request));
    request.fd = fd;
    request.addr = address;
    request.len = length;
    request.flags = flags;
    request.datamatch = match;
    return ioctl(vm.fd, KVM_IOEVENTFD, &request);
}

static void store(uint32_t address, uint32_t value) { vm_start_at(&vm, 0x1000, address, value, 0); }

static void test_ioeventfd(void) {
    const int any = new_eventfd(), seven = new_eventfd(), no_length = new_eventfd();

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, store_word);
    VM_LOAD(&vm, 0x2000, load_word);
    REQUIRE_SUCCESS(ioeventfd(any, DEVICE, 4, 0, 0));
    REQUIRE_SUCCESS(ioeventfd(seven, DEVICE + 4, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 7));
    REQUIRE_SUCCESS(ioeventfd(no_length, DEVICE + 8, 0, 0, 0));
    REQUIRE_SUCCESS(ioeventfd(any, DEVICE + 12, 2, 0, 0));
    store(DEVICE, 123);
    vm_run_to_done(&vm); // no exit
    CHECK_EQUAL(event_count(any), 1);
    store(DEVICE + 4, 7);
    vm_run_to_done(&vm);
    CHECK_EQUAL(event_count(seven), 1);
    store(DEVICE + 4, 8);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(vm.run->mmio.data[3], 8);
    CHECK_EQUAL(event_count(seven), 0);
    store(DEVICE + 8, 9);
    vm_run_to_done(&vm);
    CHECK_EQUAL(event_count(no_length), 1);
    // Another length, a load, another address: a device's.
    store(DEVICE + 12, 9);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    vm_start_at(&vm, 0x2000, DEVICE, 0, 0);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    store(DEVICE + 2, 0);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    CHECK_EQUAL(event_count(any), 0);
    // Taken away again.
    REQUIRE_SUCCESS(ioeventfd(any, DEVICE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
    store(DEVICE, 1);
    vm_run_to(&vm, KVM_EXIT_MMIO);
    vm_run_to_done(&vm);
    // Where there is memory, a store is a store.
    REQUIRE_SUCCESS(ioeventfd(any, 0x5000, 4, 0, 0));
    store(0x5000, 5);
    vm_run_to_done(&vm);
    CHECK_EQUAL(vm_word(&vm, 0x5000), 5);
    CHECK_EQUAL(event_count(any), 0);
}

static void test_ioeventfd_arguments(void) {
    const int event = new_eventfd(), other = new_eventfd();

    vm_open(&vm, 0);
    CHECK_ERROR(ioeventfd(event, DEVICE, 3, 0, 0), EINVAL);
    CHECK_ERROR(ioeventfd(event, DEVICE, 16, 0, 0), EINVAL);
    CHECK_ERROR(ioeventfd(event, DEVICE, 0, KVM_IOEVENTFD_FLAG_DATAMATCH, 0), EINVAL);
    CHECK_ERROR(ioeventfd(event, ~0ull - 1, 4, 0, 0), EINVAL);
    CHECK_ERROR(ioeventfd(event, DEVICE, 4, KVM_IOEVENTFD_FLAG_PIO, 0), EINVAL);
    CHECK_ERROR(ioeventfd(event, DEVICE, 4, 0x100, 0), EINVAL);
    CHECK_ERROR(ioeventfd(-1, DEVICE, 4, 0, 0), EBADF);
    CHECK_ERROR(ioeventfd(vm.fd, DEVICE, 4, 0, 0), EINVAL);
    CHECK_ERROR(ioeventfd(event, DEVICE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0), ENOENT);
    CHECK_SUCCESS(ioeventfd(event, DEVICE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 1));
    CHECK_SUCCESS(ioeventfd(event, DEVICE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 2));
    CHECK_ERROR(ioeventfd(other, DEVICE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 1), EEXIST);
    CHECK_ERROR(ioeventfd(other, DEVICE, 4, 0, 0), EEXIST);
    CHECK_ERROR(ioeventfd(other, DEVICE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN | KVM_IOEVENTFD_FLAG_DATAMATCH, 1), ENOENT);
    CHECK_ERROR(ioeventfd(event, DEVICE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN | KVM_IOEVENTFD_FLAG_DATAMATCH, 3), ENOENT);
    CHECK_SUCCESS(ioeventfd(event, DEVICE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN | KVM_IOEVENTFD_FLAG_DATAMATCH, 1));
    CHECK_SUCCESS(ioeventfd(other, DEVICE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 1));
    close(event);
    close(other);
}

void abi_events(void) {
    check_test("KVM_IRQFD", TEST_SECONDS, test_irqfd);
    check_test("KVM_IRQFD: arguments", TEST_SECONDS, test_irqfd_arguments);
    check_test("KVM_IOEVENTFD", TEST_SECONDS, test_ioeventfd);
    check_test("KVM_IOEVENTFD: arguments", TEST_SECONDS, test_ioeventfd_arguments);
}
