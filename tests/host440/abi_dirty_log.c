// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include <sys/ioctl.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

#define PAGE 4096u
#define PAGES 100u
#define LOGGED 0x100000u

static struct vm vm;
static uint8_t* memory;

static void start(void) {
    vm_open(&vm, 64 * KB);
    memory = map_memory(PAGES * PAGE);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, KVM_MEM_LOG_DIRTY_PAGES, LOGGED, PAGES * PAGE, memory));
    VM_LOAD(&vm, 0x1000, walk);
    VM_LOAD(&vm, 0x2000, walk_loads);
    VM_LOAD(&vm, 0x3000, store_multiple);
    VM_LOAD(&vm, 0x4000, clear_block);
}

static void take(uint32_t* bits) {
    struct kvm_dirty_log log;

    memset(&log, 0, sizeof(log));
    memset(bits, 0xFF, 4 * sizeof(*bits));
    log.slot = 1;
    log.dirty_bitmap = bits;
    REQUIRE_SUCCESS(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
}

// Words of the host's long, bit 0 the lowest.
static bool is_dirty(const uint32_t* bits, uint32_t page) { return (bits[page / 32] >> (page % 32) & 1) != 0; }

static void expect(const uint32_t* bits, const char* when, bool (*dirty)(uint32_t page)) {
    uint32_t page;

    for (page = 0; page != PAGES; ++page) {
        if (is_dirty(bits, page) == dirty(page)) continue;
        check_failed(__FILE__, __LINE__, "%s: page %u is %sdirty", when, page, dirty(page) ? "not " : "");
        return;
    }
    if (bits[3] >> 4 != 0) check_failed(__FILE__, __LINE__, "%s: bits behind the last page", when);
}

static bool none(uint32_t page) {
    (void)page;
    return false;
}
static bool every_third(uint32_t page) { return page % 3 == 0 && page < 90; }
static bool from_five(uint32_t page) { return page >= 5 && page < 12; }
static bool all(uint32_t page) {
    (void)page;
    return true;
}

static void walk(uint32_t code, uint32_t first, uint32_t stride, uint32_t count) {
    vm_start_at(&vm, code, LOGGED + first * PAGE, stride * PAGE, count);
    vm_run_to_done(&vm);
}

static void test_exact(void) {
    uint32_t bits[4];

    start();
    take(bits);
    expect(bits, "at first", none);
    walk(0x2000, 0, 1, PAGES);
    take(bits);
    expect(bits, "after loads", none);
    walk(0x1000, 0, 3, 30);
    take(bits);
    expect(bits, "after stores", every_third);
    take(bits);
    expect(bits, "once taken", none);
    walk(0x1000, 0, 3, 30);
    take(bits);
    expect(bits, "the same stores again", every_third);
    walk(0x1000, 5, 1, 7);
    walk(0x2000, 0, 1, PAGES);
    walk(0x1000, 5, 1, 7);
    take(bits);
    expect(bits, "stores and loads", from_five);
    memset(memory, 1, PAGES * PAGE);
    take(bits);
    expect(bits, "after the process's own stores", none);
    walk(0x1000, 0, 1, PAGES);
    take(bits);
    expect(bits, "stores everywhere", all);
}

static bool two_and_three(uint32_t page) { return page == 2 || page == 3; }
static bool nine(uint32_t page) { return page == 9; }

// Stores that are not plain: across pages, and of cache lines.
static void test_other_stores(void) {
    uint32_t bits[4];

    start();
    vm_start_at(&vm, 0x3000, LOGGED + 3 * PAGE - 8, 0, 0);
    vm_run_to_done(&vm);
    take(bits);
    expect(bits, "stmw across two pages", two_and_three);
    vm_start_at(&vm, 0x4000, LOGGED + 9 * PAGE + 64, 0, 0);
    vm_run_to_done(&vm);
    take(bits);
    expect(bits, "dcbz", nine);
}

// Switched on and off for the same memory, moved meanwhile.
static void test_switching(void) {
    struct kvm_dirty_log log;
    uint32_t bits[4];

    start();
    memset(&log, 0, sizeof(log));
    log.slot = 1;
    log.dirty_bitmap = bits;
    walk(0x1000, 0, 1, 10);
    REQUIRE_SUCCESS(set_region(vm.fd, 1, 0, LOGGED, PAGES * PAGE, memory));
    CHECK_ERROR(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
    walk(0x1000, 0, 1, PAGES); // by entries that allow stores
    REQUIRE_SUCCESS(set_region(vm.fd, 1, KVM_MEM_LOG_DIRTY_PAGES, LOGGED, PAGES * PAGE, memory));
    take(bits);
    expect(bits, "switched on", none);
    walk(0x1000, 0, 3, 30);
    take(bits);
    expect(bits, "switched on, after stores", every_third);
}

static void test_bad_arguments(void) {
    struct kvm_dirty_log log;
    uint32_t bits[4];

    start();
    memset(&log, 0, sizeof(log));
    log.dirty_bitmap = bits;
    log.slot = 0;
    CHECK_ERROR(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
    log.slot = 5;
    CHECK_ERROR(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
    log.slot = (uint32_t)ioctl(vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
    CHECK_ERROR(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log), EINVAL);
    log.slot = 0xFFFFFFFF;
    CHECK_ERROR(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log), EINVAL);
    log.slot = 1;
    log.dirty_bitmap = BAD_POINTER;
    CHECK_ERROR(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log), EFAULT);
    log.dirty_bitmap = (void*)0xC0000000u;
    CHECK_ERROR(ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log), EFAULT);
}

void abi_dirty_log(void) {
    check_test("dirty log: exactly the pages that were written", TEST_SECONDS, test_exact);
    check_test("dirty log: stores across pages, dcbz", TEST_SECONDS, test_other_stores);
    check_test("dirty log: on and off", TEST_SECONDS, test_switching);
    check_test("dirty log: bad arguments", TEST_SECONDS, test_bad_arguments);
}
