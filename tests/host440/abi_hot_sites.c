// SPDX-License-Identifier: GPL-2.0-only
// The cache of hot sites.

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

struct hot_site {
    uint64_t page_hash;
    uint32_t word;
    uint16_t offset, reserved;
};
struct hot_sites {
    uint64_t sites;
    uint32_t count, next;
};
#define CAP_THRESHOLD 0x55540004u
#define CAP_HOT_SITES 0x55540007u
#define MOST_SITES 65536u
#define IN_PAGE 1024u
#define GET_HOT_SITES _IOWR(KVMIO, 0xF3, struct hot_sites)
#define SET_KNOWN_SITES _IOW(KVMIO, 0xF4, struct hot_sites)

static int set(struct vm* vm, const struct hot_site* sites, uint32_t count) {
    struct hot_sites request = {.sites = (uintptr_t)sites, .count = count};

    return ioctl(vm->fd, SET_KNOWN_SITES, &request);
}

static int get(struct vm* vm, struct hot_site* sites, uint32_t count, uint32_t* next) {
    struct hot_sites request = {.sites = (uintptr_t)sites, .count = count, .next = *next};
    const int result = ioctl(vm->vcpu, GET_HOT_SITES, &request);

    *next = request.next;
    return result;
}

static void test_hot_sites(void) {
    static struct hot_site room[IN_PAGE];
    struct hot_site sites[3] = {{1, 5, 0, 0}, {1, 5, 8, 0}, {2, 5, 0, 0}};
    struct kvm_enable_cap limit;
    struct vm vm;
    uint32_t next = 0;

    vm_open(&vm, 64 * KB);
    CHECK_EQUAL(ioctl(vm.kvm, KVM_CHECK_EXTENSION, CAP_HOT_SITES), MOST_SITES);
    memset(&limit, 0, sizeof(limit));
    limit.cap = CAP_THRESHOLD;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &limit), EINVAL);
    limit.args[0] = 2;
    limit.args[1] = 100;
    limit.args[2] = 3;
    CHECK_SUCCESS(ioctl(vm.fd, KVM_ENABLE_CAP, &limit));
    CHECK_ERROR(set(&vm, BAD_POINTER, 1), EFAULT);
    CHECK_ERROR(set(&vm, sites, MOST_SITES + 1), EINVAL);
    CHECK_SUCCESS(set(&vm, sites, 3));
    CHECK_SUCCESS(set(&vm, NULL, 0));
    sites[1].offset = 6;
    CHECK_ERROR(set(&vm, sites, 3), EINVAL);
    sites[1].offset = 0;
    CHECK_ERROR(set(&vm, sites, 3), EINVAL);
    sites[1].offset = 4096;
    CHECK_ERROR(set(&vm, sites, 3), EINVAL);
    sites[1].offset = 4092;
    sites[2].reserved = 1;
    CHECK_ERROR(set(&vm, sites, 3), EINVAL);
    CHECK_SUCCESS(set(&vm, sites, 2));
    CHECK_ERROR(ioctl(vm.vcpu, SET_KNOWN_SITES, &limit), ENOTTY);
    CHECK_ERROR(get(&vm, room, IN_PAGE - 1, &next), EINVAL);
    do CHECK_SUCCESS(get(&vm, room, IN_PAGE, &next));
    while (next != 0);
    next = 1u << 30;
    CHECK_ERROR(get(&vm, room, IN_PAGE, &next), EINVAL);
    VM_LOAD(&vm, 0x1000, dcr);
    vm_start_at(&vm, 0x1000, 0, 0, 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_ERROR(set(&vm, sites, 2), EBUSY);
    vm_close(&vm);
}

void abi_hot_sites(void) { check_test("hot sites", TEST_SECONDS, test_hot_sites); }
