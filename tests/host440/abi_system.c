// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"

static void test_api_version(void) {
    const int kvm = open_kvm();

    CHECK_EQUAL(ioctl(kvm, KVM_GET_API_VERSION, 0), 12);
    CHECK_ERROR(ioctl(kvm, KVM_GET_API_VERSION, 1), EINVAL);
}

static void test_create_vm(void) {
    const int kvm = open_kvm();
    const int vm = (int)REQUIRE_SUCCESS(ioctl(kvm, KVM_CREATE_VM, 0));
    const int other = (int)REQUIRE_SUCCESS(ioctl(kvm, KVM_CREATE_VM, 0));

    CHECK(vm != other);
    CHECK_EQUAL(fcntl(vm, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    CHECK_ERROR(ioctl(kvm, KVM_CREATE_VM, 1), EINVAL);
    CHECK_ERROR(ioctl(kvm, KVM_CREATE_VM, -1), EINVAL);
    CHECK_SUCCESS(close(vm));
    CHECK_SUCCESS(close(other));
    CHECK_ERROR(ioctl(vm, KVM_CREATE_VCPU, 0), EBADF);
}

static void test_capabilities(void) {
    static const struct {
        unsigned long capability;
        const char* name;
        int at_least;
        int at_most;
    } wanted[] = {
#define CAP(name, at_least, at_most) {KVM_CAP_##name, #name, at_least, at_most}
        CAP(USER_MEMORY, 1, 1),
        CAP(DESTROY_MEMORY_REGION_WORKS, 1, 1),
        CAP(JOIN_MEMORY_REGIONS_WORKS, 1, 1),
        CAP(READONLY_MEM, 1, 1),
        CAP(NR_VCPUS, 1, 1),
        CAP(MAX_VCPUS, 1, 1),
        CAP(NR_MEMSLOTS, 8, 32767),
        CAP(MP_STATE, 1, 1),
        CAP(SET_GUEST_DEBUG, 1, 1),
        CAP(PPC_GUEST_DEBUG_SSTEP, 1, 1),
        CAP(GUEST_DEBUG_HW_BPS, 1, 4),
        CAP(GUEST_DEBUG_HW_WPS, 1, 2),
        CAP(IRQFD, 1, 1),
        CAP(IOEVENTFD, 1, 1),
        CAP(INTERNAL_ERROR_DATA, 1, 1),
        CAP(PPC_UNSET_IRQ, 1, 1),
        CAP(PPC_IRQ_LEVEL, 1, 1),
        CAP(PPC_BOOKE_SREGS, 1, 1),
        CAP(ONE_REG, 1, 1),
        CAP(ENABLE_CAP, 1, 1),
        CAP(ENABLE_CAP_VM, 1, 1),
        CAP(CHECK_EXTENSION_VM, 1, 1),
        CAP(IMMEDIATE_EXIT, 1, 1),
        CAP(BINARY_STATS_FD, 1, 1),
        CAP(GUEST_MEMFD, 1, 1),
        CAP(COALESCED_MMIO, 1, 1), // the page of the ring
        // What such a CPU has not, or this host does not do: a client that asks must not be misled.
        CAP(PPC_SEGSTATE, 0, 0),
        CAP(PPC_HIOR, 0, 0),
        CAP(SYNC_MMU, 0, 0),
        CAP(IRQCHIP, 0, 0),
        CAP(SW_TLB, 0, 0),
        CAP(PPC_PAPR, 0, 0),
        CAP(SYNC_REGS, 0, 0),
        CAP(IRQFD_RESAMPLE, 0, 0),
#undef CAP
    };
    struct vm vm;
    size_t i;

    vm_open(&vm, 0);
    for (i = 0; i != sizeof(wanted) / sizeof(wanted[0]); ++i) {
        const int answer = ioctl(vm.kvm, KVM_CHECK_EXTENSION, wanted[i].capability);

        if (answer < wanted[i].at_least || answer > wanted[i].at_most)
            check_failed(__FILE__, __LINE__, "KVM_CAP_%s is %d, not %d to %d", wanted[i].name, answer,
                         wanted[i].at_least, wanted[i].at_most);
        if (ioctl(vm.fd, KVM_CHECK_EXTENSION, wanted[i].capability) != answer)
            check_failed(__FILE__, __LINE__, "KVM_CAP_%s: a VM has another answer", wanted[i].name);
    }
    CHECK_EQUAL(ioctl(vm.kvm, KVM_CHECK_EXTENSION, 0x7FFFFFFF), 0);
    CHECK_EQUAL(ioctl(vm.kvm, KVM_CHECK_EXTENSION, -1), 0);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), ENOTTY);
}

static void test_run_page(void) {
    struct vm vm;
    int status;
    pid_t child;

    vm_open(&vm, 0);
    CHECK_ERROR(ioctl(vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 1), EINVAL);
    CHECK_EQUAL(vm.run_bytes % (size_t)sysconf(_SC_PAGESIZE), 0);
    // What is behind the size cannot be reached.
    child = fork();
    if (child == 0) {
        volatile uint8_t* more = mmap(NULL, vm.run_bytes, PROT_READ, MAP_SHARED, vm.vcpu, (off_t)vm.run_bytes);

        _exit(more == MAP_FAILED ? 42 : more[0]);
    }
    REQUIRE_EQUAL(waitpid(child, &status, 0), child);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 42) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS));
}

static void test_create_vcpu(void) {
    const int kvm = open_kvm();
    const int vm = (int)REQUIRE_SUCCESS(ioctl(kvm, KVM_CREATE_VM, 0));

    CHECK_ERROR(ioctl(vm, KVM_CREATE_VCPU, 1), EINVAL);
    CHECK_ERROR(ioctl(vm, KVM_CREATE_VCPU, -1), EINVAL);
    CHECK_SUCCESS(ioctl(vm, KVM_CREATE_VCPU, 0));
    CHECK_ERROR(ioctl(vm, KVM_CREATE_VCPU, 0), EEXIST);
}

// No descriptor answers ioctls of the others, nor unknown ones.
static void test_wrong_ioctls(void) {
    static const unsigned long system_wide[] = {KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE};
    static const unsigned long of_vm[] = {KVM_CREATE_VCPU, KVM_SET_USER_MEMORY_REGION, KVM_GET_DIRTY_LOG, KVM_IRQFD,
                                          KVM_IOEVENTFD};
    static const unsigned long of_vcpu[] = {
        KVM_RUN,          KVM_GET_REGS,     KVM_SET_REGS,        KVM_GET_SREGS,      KVM_SET_SREGS, KVM_GET_FPU,
        KVM_SET_FPU,      KVM_GET_ONE_REG,  KVM_SET_ONE_REG,     KVM_GET_REG_LIST,   KVM_TRANSLATE, KVM_INTERRUPT,
        KVM_GET_MP_STATE, KVM_SET_MP_STATE, KVM_SET_GUEST_DEBUG, KVM_SET_SIGNAL_MASK};
    // Those of other machines, of sizes that are wrong by a little, and of nobody.
    static const unsigned long unknown[] = {KVM_CREATE_IRQCHIP,
                                            KVM_SET_TSS_ADDR,
                                            KVM_NMI,
                                            KVM_CREATE_DEVICE,
                                            KVM_PPC_GET_PVINFO,
                                            _IO(KVMIO, 0xFF),
                                            _IO(0, 0),
                                            _IO('T', 1),
                                            _IOR(KVMIO, 0x81, char[391]),
                                            _IOW(KVMIO, 0x46, char[31]),
                                            _IOW(KVMIO, 0x80, int),
                                            0,
                                            0xFFFFFFFF};
    struct vm vm;
    size_t i;
    char buffer[4096];

    memset(buffer, 0, sizeof(buffer));
    vm_open(&vm, 0);
#define EACH(list) for (i = 0; i != sizeof(list) / sizeof(list[0]); ++i)
    EACH(system_wide) {
        CHECK_ERROR(ioctl(vm.fd, system_wide[i], 0), ENOTTY);
        CHECK_ERROR(ioctl(vm.vcpu, system_wide[i], 0), ENOTTY);
    }
    EACH(of_vm) {
        CHECK_ERROR(ioctl(vm.kvm, of_vm[i], buffer), ENOTTY);
        CHECK_ERROR(ioctl(vm.vcpu, of_vm[i], buffer), ENOTTY);
    }
    EACH(of_vcpu) {
        CHECK_ERROR(ioctl(vm.kvm, of_vcpu[i], buffer), ENOTTY);
        CHECK_ERROR(ioctl(vm.fd, of_vcpu[i], buffer), ENOTTY);
    }
    EACH(unknown) {
        CHECK_ERROR(ioctl(vm.kvm, unknown[i], buffer), ENOTTY);
        CHECK_ERROR(ioctl(vm.fd, unknown[i], buffer), ENOTTY);
        CHECK_ERROR(ioctl(vm.vcpu, unknown[i], buffer), ENOTTY);
    }
}

// Structures at addresses where nothing is, in the kernel, and half in nothing.
static void test_bad_pointers(void) {
    static const unsigned long of_vm[] = {
        KVM_SET_USER_MEMORY_REGION, KVM_IRQFD, KVM_IOEVENTFD, KVM_ENABLE_CAP, KVM_GET_DIRTY_LOG,
        KVM_CREATE_GUEST_MEMFD};
    static const unsigned long of_vcpu[] = {KVM_GET_REGS,     KVM_SET_REGS,   KVM_GET_SREGS,       KVM_SET_SREGS,
                                            KVM_GET_FPU,      KVM_SET_FPU,    KVM_GET_ONE_REG,     KVM_SET_ONE_REG,
                                            KVM_GET_REG_LIST, KVM_TRANSLATE,  KVM_INTERRUPT,       KVM_GET_MP_STATE,
                                            KVM_SET_MP_STATE, KVM_ENABLE_CAP, KVM_SET_SIGNAL_MASK, KVM_SET_GUEST_DEBUG};
    uint8_t* pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vm vm;
    size_t i, j;

    vm_open(&vm, 0);
    REQUIRE(pages != MAP_FAILED);
    REQUIRE_SUCCESS(munmap(pages + 4096, 4096));
    {
        void* const bad[] = {BAD_POINTER, (void*)0xC0000000u, (void*)0xFFFFFFFCu, pages + 4095};

        for (j = 0; j != sizeof(bad) / sizeof(bad[0]); ++j) {
            EACH(of_vm) CHECK_ERROR(ioctl(vm.fd, of_vm[i], bad[j]), EFAULT);
            EACH(of_vcpu) CHECK_ERROR(ioctl(vm.vcpu, of_vcpu[i], bad[j]), EFAULT);
            CHECK_ERROR(ioctl(vm.kvm, KVM_CREATE_GUEST_MEMFD, bad[j]), EFAULT);
        }
    }
    REQUIRE_SUCCESS(mprotect(pages, 4096, PROT_READ));
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_REGS, pages), EFAULT);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_SREGS, pages), EFAULT);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_FPU, pages), EFAULT);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_TRANSLATE, pages), EFAULT);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_REG_LIST, pages), EFAULT);
#undef EACH
}

static void test_enable_cap(void) {
    struct kvm_enable_cap request;
    struct vm vm;

    vm_open(&vm, 0);
    memset(&request, 0, sizeof(request));
    request.cap = KVM_CAP_PPC_PAPR;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EINVAL);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_ENABLE_CAP, &request), EINVAL);
    request.cap = 0x7FFFFFFF;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EINVAL);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_ENABLE_CAP, &request), EINVAL);
    CHECK_ERROR(ioctl(vm.kvm, KVM_ENABLE_CAP, &request), ENOTTY);
}

// What untrap adds (runtime/kvm/untrap_abi.h): the one thing here that is not of <linux/kvm.h>.
static void test_untrap_caps(void) {
    enum { levels = 0x55540001, clock = 0x55540002, engine = 0x55540003, threshold = 0x55540004 };
    struct kvm_enable_cap request;
    struct vm vm;
    int available;

    vm_open(&vm, 64 * KB);
    available = ioctl(vm.kvm, KVM_CHECK_EXTENSION, levels);
    CHECK(available >= 0 && (available & ~0x1E) == 0);
    memset(&request, 0, sizeof(request));
    request.cap = levels;
    request.args[0] = (uint64_t)available;
    CHECK_SUCCESS(ioctl(vm.fd, KVM_ENABLE_CAP, &request));
    request.args[0] = 0x20;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EINVAL);
    request.args[0] = 1;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EINVAL);
    request.args[0] = 0;
    request.flags = 1;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EINVAL);
    request.flags = 0;
    CHECK_SUCCESS(ioctl(vm.fd, KVM_ENABLE_CAP, &request));
    // The guest reads the timebase of the CPU: no clock that counts its instructions.
    request.cap = clock;
    request.args[0] = 1;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EINVAL);
    request.args[0] = 0;
    CHECK_SUCCESS(ioctl(vm.fd, KVM_ENABLE_CAP, &request));
    request.cap = engine;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EINVAL);
    request.cap = threshold;
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EINVAL);
    request.args[0] = 100;
    CHECK_SUCCESS(ioctl(vm.fd, KVM_ENABLE_CAP, &request));

    REQUIRE(vm.memory != NULL);
    vm_set_word(&vm, 0x1000, 0x7C70FB86); // mtdcr DCR_DONE,r3
    vm_start_at(&vm, 0x1000, 0, 0, 0);
    vm_run_to_done(&vm);
    CHECK_ERROR(ioctl(vm.fd, KVM_ENABLE_CAP, &request), EBUSY);
}

// Guest memory belongs to one process: another gets nowhere with the descriptors.
static void test_other_process(void) {
    struct kvm_regs regs;
    struct vm vm;
    int status;
    pid_t child;

    vm_open(&vm, 64 * KB);
    child = fork();
    if (child == 0) {
        int bad = 0;

        bad |= ioctl(vm.vcpu, KVM_RUN, 0) != -1 || errno != EIO;
        bad |= (ioctl(vm.vcpu, KVM_GET_REGS, &regs) != -1 || errno != EIO) << 1;
        bad |= (set_region(vm.fd, 1, 0, MB, 4096, vm.memory) != -1 || errno != EIO) << 2;
        bad |= (ioctl(vm.fd, KVM_CREATE_VCPU, 0) != -1 || errno != EIO) << 3;
        _exit(bad);
    }
    REQUIRE_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_SUCCESS(ioctl(vm.vcpu, KVM_GET_REGS, &regs));
}

// Any order of closing, with descriptors in doubles.
static void test_closing(void) {
    struct kvm_regs regs;
    unsigned order;

    for (order = 0; order != 6; ++order) {
        struct vm vm;
        int fds[3];
        unsigned left = 3, i, rest = order;

        vm_open(&vm, 64 * KB);
        fds[0] = vm.kvm;
        fds[1] = vm.fd;
        fds[2] = vm.vcpu;
        for (; left != 0; --left) {
            const unsigned take = rest % left;

            rest /= left;
            CHECK_SUCCESS(close(fds[take]));
            for (i = take; i + 1 < left; ++i) fds[i] = fds[i + 1];
        }
        munmap(vm.run, vm.run_bytes);
    }
    {
        struct vm vm;
        int other;

        vm_open(&vm, 64 * KB);
        other = (int)REQUIRE_SUCCESS(dup(vm.vcpu));
        close(vm.vcpu);
        close(vm.fd);
        close(vm.kvm);
        CHECK_SUCCESS(ioctl(other, KVM_GET_REGS, &regs));
        // The page is the vCPU's as long as it is mapped.
        close(other);
        vm.run->immediate_exit = 1;
        CHECK_EQUAL(vm.run->immediate_exit, 1);
    }
    CHECK(a_guest_runs());
}

void abi_system(void) {
    check_test("API version", TEST_SECONDS, test_api_version);
    check_test("KVM_CREATE_VM", TEST_SECONDS, test_create_vm);
    check_test("KVM_CHECK_EXTENSION", TEST_SECONDS, test_capabilities);
    check_test("kvm_run's page", TEST_SECONDS, test_run_page);
    check_test("KVM_CREATE_VCPU", TEST_SECONDS, test_create_vcpu);
    check_test("ioctls of other descriptors, unknown ioctls", TEST_SECONDS, test_wrong_ioctls);
    check_test("bad pointers", TEST_SECONDS, test_bad_pointers);
    check_test("KVM_ENABLE_CAP", TEST_SECONDS, test_enable_cap);
    check_test("capabilities of untrap", TEST_SECONDS, test_untrap_caps);
    check_test("another process", TEST_SECONDS, test_other_process);
    check_test("descriptors closed in any order", TEST_SECONDS, test_closing);
}
