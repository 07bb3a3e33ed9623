// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include <sys/ioctl.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

#define CODE 0x1000u
#define DATA 0x4000u

static struct vm vm;

static int set_debug(const struct kvm_guest_debug* debug) { return ioctl(vm.vcpu, KVM_SET_GUEST_DEBUG, debug); }

static void start(void) {
    vm_open(&vm, 64 * KB);
    VM_LOAD(&vm, CODE, debug);
    vm_start_at(&vm, CODE, DATA, 0, 0);
}

static void control(uint32_t bits) {
    struct kvm_guest_debug debug;

    memset(&debug, 0, sizeof(debug));
    debug.control = bits;
    REQUIRE_SUCCESS(set_debug(&debug));
}

static void test_arguments(void) {
    struct kvm_guest_debug debug;
    unsigned i;

    start();
    memset(&debug, 0, sizeof(debug));
    CHECK_SUCCESS(set_debug(&debug));
    debug.control = KVM_GUESTDBG_ENABLE;
    CHECK_SUCCESS(set_debug(&debug));
    debug.control = KVM_GUESTDBG_ENABLE | 4;
    CHECK_ERROR(set_debug(&debug), EINVAL);
    debug.control = KVM_GUESTDBG_ENABLE | 0x80000000;
    CHECK_ERROR(set_debug(&debug), EINVAL);
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    debug.arch.bp[0].addr = CODE;
    debug.arch.bp[0].type = 0x40;
    CHECK_ERROR(set_debug(&debug), EINVAL);
    for (i = 0; i != 16; ++i) {
        debug.arch.bp[i].addr = CODE + 4 * i;
        debug.arch.bp[i].type = KVMPPC_DEBUG_BREAKPOINT;
    }
    CHECK_ERROR(set_debug(&debug), EINVAL); // a 440 has four
    for (i = 0; i != 16; ++i) debug.arch.bp[i].type = i < 3 ? KVMPPC_DEBUG_WATCH_WRITE : KVMPPC_DEBUG_NONE;
    CHECK_ERROR(set_debug(&debug), EINVAL); // and two of these
    for (i = 0; i != 16; ++i) debug.arch.bp[i].type = i < 4 ? KVMPPC_DEBUG_BREAKPOINT : KVMPPC_DEBUG_NONE;
    CHECK_SUCCESS(set_debug(&debug));
}

static void test_single_step(void) {
    static const uint32_t path[] = {0x04, 0x08, 0x0C, 0x10, 0x14, 0x1C, 0x20};
    size_t i;

    start();
    control(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
    for (i = 0; i != sizeof(path) / sizeof(path[0]); ++i) {
        vm_run_to(&vm, KVM_EXIT_DEBUG);
        CHECK_EQUAL(vm.run->debug.arch.address, CODE + path[i]);
        CHECK_EQUAL(vm.run->debug.arch.status & (KVMPPC_DEBUG_BREAKPOINT | KVMPPC_DEBUG_WATCH_READ), 0);
        CHECK_EQUAL(vm_regs(&vm).pc, CODE + path[i]);
    }
    CHECK_EQUAL(vm_word(&vm, DATA), 1);
    // The device's access is done, then the step is complete.
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm.run->dcr.data, 2);
    vm_run_to(&vm, KVM_EXIT_DEBUG);
    CHECK_EQUAL(vm_regs(&vm).pc, CODE + 0x24);
    // The guest does not see it.
    CHECK_EQUAL(vm_regs(&vm).msr, 0);
    control(0);
    vm_start_at(&vm, CODE, DATA, 0, 0);
    CHECK_EQUAL(vm_run_to_done(&vm), 2);
}

static void test_hardware_breakpoint(void) {
    struct kvm_guest_debug debug;

    start();
    memset(&debug, 0, sizeof(debug));
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    debug.arch.bp[0].addr = CODE + 0x0C;
    debug.arch.bp[0].type = KVMPPC_DEBUG_BREAKPOINT;
    debug.arch.bp[1].addr = CODE + 0x1C;
    debug.arch.bp[1].type = KVMPPC_DEBUG_BREAKPOINT;
    REQUIRE_SUCCESS(set_debug(&debug));
    vm_run_to(&vm, KVM_EXIT_DEBUG);
    CHECK_EQUAL(vm.run->debug.arch.address, CODE + 0x0C);
    CHECK_EQUAL(vm.run->debug.arch.status & KVMPPC_DEBUG_BREAKPOINT, KVMPPC_DEBUG_BREAKPOINT);
    CHECK_EQUAL(vm_regs(&vm).pc, CODE + 0x0C);
    CHECK_EQUAL(vm_regs(&vm).gpr[6], 2);
    CHECK_EQUAL(vm_regs(&vm).gpr[7], 0); // before it
    // As a debugger goes on: over it by a step, then with it again.
    control(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
    vm_run_to(&vm, KVM_EXIT_DEBUG);
    CHECK_EQUAL(vm_regs(&vm).pc, CODE + 0x10);
    REQUIRE_SUCCESS(set_debug(&debug));
    vm_run_to(&vm, KVM_EXIT_DEBUG);
    CHECK_EQUAL(vm.run->debug.arch.address, CODE + 0x1C);
    control(0);
    CHECK_EQUAL(vm_run_to_done(&vm), 2);
}

static void watch(uint32_t type, uint32_t pc) {
    struct kvm_guest_debug debug;

    memset(&debug, 0, sizeof(debug));
    vm_start_at(&vm, CODE, DATA, 0, 0);
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    debug.arch.bp[0].addr = DATA;
    debug.arch.bp[0].type = type;
    REQUIRE_SUCCESS(set_debug(&debug));
    vm_run_to(&vm, KVM_EXIT_DEBUG);
    CHECK_EQUAL(vm.run->debug.arch.address, DATA);
    CHECK_EQUAL(vm.run->debug.arch.status & type, type);
    // At the instruction, or behind it: QEMU does not mind.
    if (vm_regs(&vm).pc != pc) CHECK_EQUAL(vm_regs(&vm).pc, pc + 4);
    control(0);
    CHECK_EQUAL(vm_run_to_done(&vm), 2);
}

static void test_watchpoints(void) {
    start();
    watch(KVMPPC_DEBUG_WATCH_WRITE, CODE + 0x08);
    watch(KVMPPC_DEBUG_WATCH_READ, CODE + 0x0C);
}

// The word that a client plants: an exit when it asked for those, else the guest's own program interrupt.
static void test_software_breakpoint(void) {
    const uint32_t word = (uint32_t)vm_one_reg((start(), &vm), KVM_REG_PPC_DEBUG_INST);
    const uint32_t before = vm_word(&vm, CODE + 0x10);

    vm_set_word(&vm, CODE + 0x10, word);
    __builtin___clear_cache((char*)vm.memory + CODE, (char*)vm.memory + CODE + 64);
    control(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP);
    vm_run_to(&vm, KVM_EXIT_DEBUG);
    CHECK_EQUAL(vm.run->debug.arch.address, CODE + 0x10);
    CHECK_EQUAL(vm.run->debug.arch.status, 0);
    CHECK_EQUAL(vm_regs(&vm).pc, CODE + 0x10);
    vm_set_word(&vm, CODE + 0x10, before);
    __builtin___clear_cache((char*)vm.memory + CODE, (char*)vm.memory + CODE + 64);
    CHECK_EQUAL(vm_run_to_done(&vm), 2);

    control(0);
    VM_LOAD(&vm, SNIPPET_BASE, program);
    vm_set_word(&vm, 0x3000, word);
    vm_set_word(&vm, 0x3004, 0x7C70FB86); // mtdcr DCR_DONE,r3
    __builtin___clear_cache((char*)vm.memory, (char*)vm.memory + 64 * KB);
    vm_start_at(&vm, SNIPPET_BASE, 0x3000, 0, 0);
    vm_run_to(&vm, KVM_EXIT_DCR);
    CHECK_EQUAL(vm.run->dcr.dcrn, DCR_PROGRAM);
    CHECK_EQUAL(vm.run->dcr.data, 0x3000);
    CHECK_EQUAL(vm_run_to_done(&vm), 0x3000);
}

void abi_debug(void) {
    check_test("KVM_SET_GUEST_DEBUG: arguments", TEST_SECONDS, test_arguments);
    check_test("KVM_SET_GUEST_DEBUG: single step", TEST_SECONDS, test_single_step);
    check_test("KVM_SET_GUEST_DEBUG: hardware breakpoint", TEST_SECONDS, test_hardware_breakpoint);
    check_test("KVM_SET_GUEST_DEBUG: watchpoints", TEST_SECONDS, test_watchpoints);
    check_test("KVM_SET_GUEST_DEBUG: software breakpoint", TEST_SECONDS, test_software_breakpoint);
}
