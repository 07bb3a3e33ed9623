// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

// As runtime/kvm/untrap_abi.h has it.
#define CAP_EXIT_SITES 0x55540005u
#define MOST_SITES (1u << 20)
struct exit_site {
    uint64_t real, exits, instructions, host_ticks;
    uint32_t ea, word;
    uint8_t reason, flags, level, span;
    uint32_t reserved;
};
struct exit_sites {
    uint64_t sites;
    uint32_t count, next;
};
struct stats {
    uint64_t guest_instructions, exits_total, exits[32], others[14];
};
#define GET_EXIT_SITES _IOWR(KVMIO, 0xF2, struct exit_sites)
#define GET_STATS _IOR(KVMIO, 0xF0, struct stats)
#define REASON_DCR 1

static int enable(struct vm* vm, uint64_t sites) {
    struct kvm_enable_cap request;

    memset(&request, 0, sizeof(request));
    request.cap = CAP_EXIT_SITES;
    request.args[0] = sites;
    return ioctl(vm->fd, KVM_ENABLE_CAP, &request);
}

static int read_sites(struct vm* vm, struct exit_site* sites, uint32_t room, struct exit_sites* request) {
    request->sites = (uintptr_t)sites;
    request->count = room;
    return ioctl(vm->vcpu, GET_EXIT_SITES, request);
}

static void test_errors(void) {
    struct exit_site sites[4];
    struct exit_sites request = {0};
    struct vm vm;

    vm_open(&vm, 64 * KB);
    CHECK_EQUAL(ioctl(vm.kvm, KVM_CHECK_EXTENSION, CAP_EXIT_SITES), 1);
    CHECK_ERROR(enable(&vm, MOST_SITES + 1), EINVAL);
    CHECK_ERROR(enable(&vm, ~0ull), EINVAL);
    CHECK_ERROR(read_sites(&vm, sites, 4, &request), ENOENT);
    // Another table takes the place of the first, none that of the second.
    REQUIRE_SUCCESS(enable(&vm, 5000));
    REQUIRE_SUCCESS(enable(&vm, 1));
    REQUIRE_SUCCESS(enable(&vm, 0));
    VM_LOAD(&vm, 0x1000, dcr);
    vm_start_at(&vm, 0x1000, 0, 0, 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_ERROR(enable(&vm, 1000), EBUSY);
    CHECK_ERROR(read_sites(&vm, sites, 4, &request), ENOENT);
    vm_close(&vm);
}

// Every exit has its site, and those of a DCR their instructions.
static void test_sites(void) {
    struct exit_site sites[3];
    struct exit_sites request = {0};
    struct stats stats;
    struct vm vm;
    uint64_t exits = 0, dcr = 0, ticks = 0;
    uint32_t i;

    vm_open(&vm, 64 * KB);
    REQUIRE_SUCCESS(enable(&vm, 1000));
    VM_LOAD(&vm, 0x1000, dcr);
    vm_start_at(&vm, 0x1000, 0, 0, 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    vm_run_to(&vm, KVM_EXIT_DCR);
    vm_run_to_done(&vm);
    REQUIRE_SUCCESS(ioctl(vm.vcpu, GET_STATS, &stats));
    do {
        REQUIRE_SUCCESS(read_sites(&vm, sites, 3, &request));
        REQUIRE(request.count <= 3);
        for (i = 0; i != request.count; ++i) {
            exits += sites[i].exits;
            ticks += sites[i].host_ticks;
            CHECK(sites[i].exits != 0 && sites[i].reason < 32 && sites[i].reserved == 0);
            if (sites[i].reason != REASON_DCR) continue;
            dcr += sites[i].exits;
            CHECK(sites[i].ea >= 0x1000 && sites[i].ea < 0x1100);
            CHECK_EQUAL(sites[i].real, sites[i].ea);
            CHECK_EQUAL(sites[i].word, vm_word(&vm, sites[i].ea));
        }
    } while (request.next != 0);
    CHECK_EQUAL(dcr, 3);
    CHECK_EQUAL(exits, stats.exits_total);
    CHECK(ticks != 0);

    CHECK_ERROR(read_sites(&vm, sites, 0, &request), EINVAL);
    CHECK_ERROR(read_sites(&vm, BAD_POINTER, 3, &request), EFAULT);
    request.next = 1u << 30;
    CHECK_ERROR(read_sites(&vm, sites, 3, &request), EINVAL);
    CHECK_ERROR(ioctl(vm.vcpu, GET_EXIT_SITES, BAD_POINTER), EFAULT);
    vm_close(&vm);
}

void abi_exit_sites(void) {
    check_test("exits by site: errors", TEST_SECONDS, test_errors);
    check_test("exits by site: a guest", TEST_SECONDS, test_sites);
}
