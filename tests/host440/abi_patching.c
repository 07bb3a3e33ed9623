// SPDX-License-Identifier: GPL-2.0-only
// What patching may take, and what is told of it.

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

// As runtime/kvm/untrap_abi.h has it.
#define CAP_LEVELS 0x55540001u
#define CAP_PATCH_MEMORY 0x55540009u
#define MOST_MEMORY (32 * MB)
#define ARENA_BYTES (64 * KB)
struct memory_range {
    uint64_t gpa, len;
};
#define MEMORY_WRITTEN _IOW(KVMIO, 0xF1, struct memory_range)

// guest_patched: its sites, by the level that patches them. Level 1 needs a stub for SRR0, whose low bits are dropped.
#define LOADED 0x1000u
#define SITE_WORD (LOADED + 8)
#define SITE_SRR0 (LOADED + 12)
#define SITE_WRTEEI (LOADED + 16)

static int enable(struct vm* vm, uint32_t capability, uint64_t argument) {
    struct kvm_enable_cap request;

    memset(&request, 0, sizeof(request));
    request.cap = capability;
    request.args[0] = argument;
    return ioctl(vm->fd, KVM_ENABLE_CAP, &request);
}

static void open_at_level_2(struct vm* vm) {
    vm_open(vm, 64 * KB);
    REQUIRE_SUCCESS(enable(vm, CAP_LEVELS, 6));
    VM_LOAD(vm, LOADED, patched);
}

// Its answer is right whatever is patched.
static void run_patched(struct vm* vm, uint32_t rounds) {
    struct kvm_regs regs;

    vm_start_at(vm, LOADED, 0, 0, rounds);
    regs = vm_regs(vm);
    regs.sprg0 = 0x01234567;
    vm_set_regs(vm, &regs);
    CHECK_EQUAL(vm_run_to_done(vm), (uint32_t)(rounds * 0x01234567u));
}

static uint64_t in_vm(struct vm* vm, const char* name) {
    const int fd = (int)REQUIRE_SUCCESS(ioctl(vm->vcpu, KVM_GET_STATS_FD, 0));
    const uint64_t value = statistic(fd, "kvm-", name);

    close(fd);
    REQUIRE(value != ~0ull);
    return value;
}

static long in_all(const char* name) {
    char path[100];

    snprintf(path, sizeof(path), DEBUGFS "%s", name);
    return atol(read_text(path));
}

static void test_memory(void) {
    static const uint64_t wrong[] = {0, 4095, MOST_MEMORY + 1, 1ull << 32, 1ull << 63, ~0ull};
    static const struct {
        uint64_t bytes, installed, stubs;
    } cases[] = {{4096, 1, 0}, {ARENA_BYTES, 1, 0}, {ARENA_BYTES + 4096, 3, 2}, {MOST_MEMORY, 3, 2}};
    struct vm vm;
    size_t i;

    vm_open(&vm, 64 * KB);
    CHECK_EQUAL(ioctl(vm.kvm, KVM_CHECK_EXTENSION, CAP_PATCH_MEMORY), MOST_MEMORY);
    for (i = 0; i != sizeof(wrong) / sizeof(wrong[0]); ++i)
        CHECK_ERROR(enable(&vm, CAP_PATCH_MEMORY, wrong[i]), EINVAL);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_ENABLE_CAP, NULL), EFAULT);
    vm_close(&vm);
    for (i = 0; i != sizeof(cases) / sizeof(cases[0]); ++i) {
        open_at_level_2(&vm);
        CHECK_SUCCESS(enable(&vm, CAP_PATCH_MEMORY, cases[i].bytes));
        run_patched(&vm, 100);
        CHECK_EQUAL(in_vm(&vm, "patches_installed"), cases[i].installed);
        CHECK_EQUAL(in_vm(&vm, "stubs"), cases[i].stubs);
        CHECK(in_vm(&vm, "code_copy_bytes") >= 4096);
        CHECK(in_vm(&vm, "code_copy_bytes") + (cases[i].stubs != 0 ? ARENA_BYTES : 0) <= cases[i].bytes);
        CHECK_ERROR(enable(&vm, CAP_PATCH_MEMORY, 4096), EBUSY);
        run_patched(&vm, 1000);
        vm_close(&vm);
    }
}

static void test_statistics(void) {
    static const char* const counts[] = {"patches_installed", "patches_backed_out", "stub_exits"};
    const struct memory_range range = {LOADED, 4};
    long before[3];
    struct vm vm;
    size_t i;

    open_at_level_2(&vm);
    for (i = 0; i != 3; ++i) before[i] = in_all(counts[i]);
    run_patched(&vm, 100);
    CHECK_EQUAL(in_vm(&vm, "patched_sites"), 3);
    CHECK_EQUAL(in_vm(&vm, "patches_installed"), 3);
    CHECK_EQUAL(in_vm(&vm, "patches_backed_out"), 0);
    CHECK_EQUAL(in_vm(&vm, "stubs"), 2);
    CHECK(in_vm(&vm, "code_copy_bytes") % 4096 == 0);
    // Its code is written: all goes, and comes again.
    REQUIRE_SUCCESS(ioctl(vm.fd, MEMORY_WRITTEN, &range));
    run_patched(&vm, 2);
    CHECK_EQUAL(in_vm(&vm, "patches_backed_out"), 3);
    CHECK_EQUAL(in_vm(&vm, "stubs"), 0);
    CHECK_EQUAL(in_vm(&vm, "code_copy_bytes"), 0);
    run_patched(&vm, 100);
    CHECK_EQUAL(in_vm(&vm, "patches_installed"), 6);
    CHECK_EQUAL(in_vm(&vm, "stubs"), 2);
    // The host's ticks find it in a stub now and then, which costs it nothing.
    run_patched(&vm, 1000000);
    CHECK(in_vm(&vm, "stub_exits") > 0);
    CHECK(in_vm(&vm, "stub_exits") <= in_vm(&vm, "sum_exits"));
    for (i = 0; i != 3; ++i) CHECK_EQUAL(in_all(counts[i]) - before[i], in_vm(&vm, counts[i]));
    CHECK(in_all("stubs") >= 2 && in_all("code_copy_bytes") >= 4096 && in_all("patched_sites") >= 3);
    check_figures("%llu exits from stubs", (unsigned long long)in_vm(&vm, "stub_exits"));
}

// How many lines of the trace say this of a site.
static unsigned traced(const char* what, uint32_t real, uint32_t word, unsigned level) {
    char line[100];
    const char* at = read_text(TRACING "trace");
    unsigned count = 0;

    snprintf(line, sizeof(line), " %s real=%09x word=%08x level=%u\n", what, real, word, level);
    while ((at = strstr(at, line)) != NULL) {
        ++count;
        ++at;
    }
    return count;
}

static void test_trace(void) {
    static const struct { uint32_t real, level; } sites[] = {{SITE_WORD, 1}, {SITE_SRR0, 1}, {SITE_WRTEEI, 2}};
    const struct memory_range range = {LOADED, 4};
    struct vm vm;
    size_t i;

    if (access(TRACING "events", F_OK) != 0) {
        check_figures("this kernel has no tracing");
        return;
    }
    open_at_level_2(&vm);
    write_text(TRACING "trace", " ");
    write_text(TRACING "events/untrap/untrap_patch/enable", "1");
    run_patched(&vm, 100);
    for (i = 0; i != 3; ++i) {
        CHECK_EQUAL(traced("patch", sites[i].real, vm_word(&vm, sites[i].real), sites[i].level), 1);
        CHECK_EQUAL(traced("remove", sites[i].real, vm_word(&vm, sites[i].real), sites[i].level), 0);
    }
    REQUIRE_SUCCESS(ioctl(vm.fd, MEMORY_WRITTEN, &range));
    run_patched(&vm, 2);
    write_text(TRACING "events/untrap/untrap_patch/enable", "0");
    for (i = 0; i != 3; ++i)
        CHECK_EQUAL(traced("remove", sites[i].real, vm_word(&vm, sites[i].real), sites[i].level), 1);
    write_text(TRACING "trace", " ");
}

void abi_patching(void) {
    check_test("memory of patches", TEST_SECONDS, test_memory);
    check_test("statistics of patches", TEST_SECONDS, test_statistics);
    check_test("patches traced", TEST_SECONDS, test_trace);
}
