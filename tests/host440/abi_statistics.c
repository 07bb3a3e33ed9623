// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

// The whole file of a statistics descriptor, checked against the format; *bytes long.
static uint8_t* read_statistics(int fd, size_t* bytes, const char* id_prefix) {
    static uint8_t buffer[65536];
    struct kvm_stats_header header;
    void* volatile nowhere = BAD_POINTER;
    uint8_t again[64];
    ssize_t got;
    uint32_t i;
    size_t used = 0;

    got = pread(fd, buffer, sizeof(buffer), 0);
    REQUIRE(got > (ssize_t)sizeof(header));
    *bytes = (size_t)got;
    memcpy(&header, buffer, sizeof(header));
    CHECK_EQUAL(header.flags, 0);
    REQUIRE(header.name_size > 0 && header.name_size <= 256);
    REQUIRE(header.num_desc > 0 && header.num_desc < 1000);
    REQUIRE(header.id_offset >= sizeof(header) && header.id_offset + header.name_size <= *bytes);
    REQUIRE(memchr(buffer + header.id_offset, 0, header.name_size) != NULL);
    CHECK_EQUAL(strncmp((char*)buffer + header.id_offset, id_prefix, strlen(id_prefix)), 0);
    CHECK_EQUAL(header.desc_offset % 8, 0);
    CHECK_EQUAL(header.data_offset % 8, 0);
    REQUIRE(header.desc_offset + header.num_desc * (sizeof(struct kvm_stats_desc) + header.name_size) <= *bytes);
    for (i = 0; i != header.num_desc; ++i) {
        const size_t at = header.desc_offset + i * (sizeof(struct kvm_stats_desc) + header.name_size);
        struct kvm_stats_desc desc;
        const char* name = (const char*)buffer + at + sizeof(desc);

        memcpy(&desc, buffer + at, sizeof(desc));
        REQUIRE(memchr(name, 0, header.name_size) != NULL && name[0] != '\0');
        CHECK((desc.flags & KVM_STATS_TYPE_MASK) <= KVM_STATS_TYPE_MAX);
        CHECK((desc.flags & KVM_STATS_UNIT_MASK) <= KVM_STATS_UNIT_MAX);
        CHECK((desc.flags & KVM_STATS_BASE_MASK) <= KVM_STATS_BASE_MAX);
        CHECK(desc.size >= 1 && desc.offset % 8 == 0);
        REQUIRE(header.data_offset + desc.offset + 8 * desc.size <= *bytes);
        used += 8 * desc.size;
    }
    CHECK_EQUAL(header.data_offset + used, *bytes);
    // Parts of it at any place, and nothing behind its end.
    REQUIRE_EQUAL(pread(fd, again, 17, header.desc_offset + 3), 17);
    CHECK_EQUAL(memcmp(again, buffer + header.desc_offset + 3, 17), 0);
    CHECK_EQUAL(pread(fd, again, 8, (off_t)*bytes), 0);
    CHECK_EQUAL(pread(fd, again, sizeof(again), (off_t)*bytes - 8), 8);
    CHECK_ERROR(pread(fd, nowhere, 100, 0), EFAULT);
    return buffer;
}

uint64_t statistic(int fd, const char* id_prefix, const char* wanted) {
    size_t bytes;
    const uint8_t* file = read_statistics(fd, &bytes, id_prefix);
    struct kvm_stats_header header;
    uint32_t i;

    memcpy(&header, file, sizeof(header));
    for (i = 0; i != header.num_desc; ++i) {
        const size_t at = header.desc_offset + i * (sizeof(struct kvm_stats_desc) + header.name_size);
        struct kvm_stats_desc desc;
        uint64_t value;

        memcpy(&desc, file + at, sizeof(desc));
        memcpy(&value, file + header.data_offset + desc.offset, sizeof(value));
        if (strcmp((const char*)file + at + sizeof(desc), wanted) == 0) return value;
    }
    return ~0ull;
}

static void test_vcpu(void) {
    struct vm vm;
    uint64_t exits;
    uint8_t byte;
    int fd;

    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, 0x1000, dcr);
    fd = (int)REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_STATS_FD, 0));
    CHECK_EQUAL(statistic(fd, "kvm-", "dcr_exits"), 0);
    exits = statistic(fd, "kvm-", "sum_exits");
    vm_start_at(&vm, 0x1000, 0, 0, 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    vm_run_to(&vm, KVM_EXIT_DCR);
    vm_run_to_done(&vm);
    CHECK_EQUAL(statistic(fd, "kvm-", "dcr_exits"), 3);
    CHECK(statistic(fd, "kvm-", "sum_exits") >= exits + 3);
    CHECK(write(fd, &byte, 1) == -1);
    CHECK_ERROR(ioctl(fd, KVM_RUN, 0), ENOTTY);
    // Read in sequence, byte by byte, it is the same; and it outlives the other descriptors.
    CHECK_EQUAL(read(fd, &byte, 1), 1);
    vm_close(&vm);
    CHECK_EQUAL(statistic(fd, "kvm-", "dcr_exits"), 3);
}

static void test_vm(void) {
    struct vm vm;
    int fd;

    vm_open(&vm, 64 * KB);
    fd = (int)REQUIRE_SUCCESS(ioctl(vm.fd, KVM_GET_STATS_FD, 0));
    CHECK_EQUAL(statistic(fd, "kvm-", "memory_slots"), 1);
    CHECK_EQUAL(statistic(fd, "kvm-", "pinned_pages"), 16);
    REQUIRE_SUCCESS(set_region(vm.fd, 0, 0, 0, 0, NULL));
    CHECK_EQUAL(statistic(fd, "kvm-", "pinned_pages"), 0);
    CHECK_ERROR(ioctl(vm.kvm, KVM_GET_STATS_FD, 0), ENOTTY);
}

// ---- debugfs and tracepoints
// -----------------------------------------------------------------------------------------

char* read_text(const char* path) {
    static char text[262144];
    const int fd = (int)REQUIRE_SUCCESS(open(path, O_RDONLY));
    size_t length = 0;
    ssize_t got;

    while (length + 1 < sizeof(text) && (got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    text[length] = '\0';
    return text;
}

void write_text(const char* path, const char* text) {
    const int fd = (int)REQUIRE_SUCCESS(open(path, O_WRONLY));

    REQUIRE_EQUAL(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void run_dcr_guest(struct vm* vm) {
    VM_LOAD(vm, 0x1000, dcr);
    vm_start_at(vm, 0x1000, 0, 0, 0);
    vm_run_to(vm, KVM_EXIT_DCR);
    vm_run_to(vm, KVM_EXIT_DCR);
    vm_run_to_done(vm);
}

// Sums over all VMs, and the exit timing of each vCPU, by the names that they had in the days of KVM for the 440.
static void test_debugfs(void) {
    static const char* const names[] = {"exits",
                                        "mmio",
                                        "dcr",
                                        "sig",
                                        "light",
                                        "itlb_r",
                                        "itlb_v",
                                        "dtlb_r",
                                        "dtlb_v",
                                        "sysc",
                                        "isi",
                                        "dsi",
                                        "inst_emu",
                                        "dec",
                                        "ext_intr",
                                        "halt_wakeup",
                                        "patched_sites",
                                        "patches_installed",
                                        "patches_backed_out",
                                        "code_copy_bytes",
                                        "stubs",
                                        "stub_exits"};
    char timing[100], path[100];
    const char* row;
    unsigned long count = 0;
    struct vm vm;
    long before;
    size_t i;
    int fd;

    vm_open(&vm, 64 * KB);
    for (i = 0; i != sizeof(names) / sizeof(names[0]); ++i) {
        snprintf(path, sizeof(path), DEBUGFS "%s", names[i]);
        CHECK(read_text(path)[0] >= '0');
    }
    before = atol(read_text(DEBUGFS "dcr"));
    run_dcr_guest(&vm);
    CHECK_EQUAL(atol(read_text(DEBUGFS "dcr")), before + 3);

    snprintf(timing, sizeof(timing), DEBUGFS "vm%d_vcpu0_timing", getpid());
    write_text(timing, "1");
    run_dcr_guest(&vm);
    row = strstr(read_text(timing), "DCR");
    REQUIRE(row != NULL);
    CHECK(sscanf(row, "DCR%lu", &count) == 1 && count == 3);
    CHECK(strstr(read_text(timing), "TIMEINGUEST") != NULL);
    fd = (int)REQUIRE_SUCCESS(open(timing, O_WRONLY));
    CHECK_ERROR(write(fd, "x", 1), EINVAL);
    CHECK_ERROR(write(fd, "cc", 2), EINVAL);
    CHECK_EQUAL(write(fd, "c", 1), 1);
    CHECK_EQUAL(write(fd, "0", 1), 1);
    vm_close(&vm);
    // The file goes with the vCPU, whoever has it open.
    CHECK(access(timing, F_OK) != 0);
    CHECK(write(fd, "1", 1) == -1);
    close(fd);
}

static void test_tracepoints(void) {
    struct vm vm;
    const char* text;

    if (access(TRACING "events", F_OK) != 0) {
        check_figures("this kernel has no tracing");
        return;
    }
    vm_open(&vm, 64 * KB);
    write_text(TRACING "events/untrap/enable", "1");
    run_dcr_guest(&vm);
    write_text(TRACING "events/untrap/enable", "0");
    text = read_text(TRACING "trace");
    CHECK(strstr(text, "untrap_entry:") != NULL);
    CHECK(strstr(text, "untrap_exit:") != NULL);
    CHECK(strstr(text, "untrap_tlb:") != NULL);
    CHECK(access(TRACING "events/untrap/untrap_patch", F_OK) == 0);
    write_text(TRACING "trace", " ");
    CHECK(a_guest_runs());
}

void abi_statistics(void) {
    check_test("KVM_GET_STATS_FD of a vCPU", TEST_SECONDS, test_vcpu);
    check_test("KVM_GET_STATS_FD of a VM", TEST_SECONDS, test_vm);
    check_test("debugfs", TEST_SECONDS, test_debugfs);
    check_test("tracepoints", TEST_SECONDS, test_tracepoints);
}
