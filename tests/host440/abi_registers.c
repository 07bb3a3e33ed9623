// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "abi_test.h"
#include "check.h"
#include "client.h"
#include "snippets.h"

#define MSR_EE 0x8000u
#define MSR_PR 0x4000u
#define MSR_WE 0x40000u

static void test_regs(void) {
    struct kvm_regs set, got;
    struct vm vm;
    unsigned i;

    vm_open(&vm, 0);
    memset(&set, 0, sizeof(set));
    vm_set_regs(&vm, &set);
    got = vm_regs(&vm);
    CHECK_EQUAL(memcmp(&set, &got, sizeof(set)), 0);
    set.pc = 0x12345678;
    set.cr = 0xFEDCBA98;
    set.ctr = 0x11111111;
    set.lr = 0x22222223;
    set.xer = 0xE000007F;
    set.msr = MSR_EE | MSR_PR;
    set.srr0 = 0x33333330;
    set.srr1 = 0x44444444;
    set.pid = 0x55;
    set.sprg0 = 0x60;
    set.sprg1 = 0x61;
    set.sprg2 = 0x62;
    set.sprg3 = 0x63;
    set.sprg4 = 0x64;
    set.sprg5 = 0x65;
    set.sprg6 = 0x66;
    set.sprg7 = 0x67;
    for (i = 0; i != 32; ++i) set.gpr[i] = 0xA0000000u + i;
    vm_set_regs(&vm, &set);
    got = vm_regs(&vm);
    CHECK_EQUAL(memcmp(&set, &got, sizeof(set)), 0);
    // Registers of 32 bits in fields of 64.
    memset(&set, 0xFF, sizeof(set));
    vm_set_regs(&vm, &set);
    got = vm_regs(&vm);
    CHECK_EQUAL(got.pc, 0xFFFFFFFCu);
    CHECK_EQUAL(got.gpr[7], 0xFFFFFFFFu);
    CHECK_EQUAL(got.pid, 0xFF);
    CHECK_EQUAL(got.xer & ~0xE000007Full, 0);
}

static void test_reset_state(void) {
    struct kvm_translation translation;
    struct kvm_sregs sregs;
    struct vm vm;

    vm_open(&vm, 0);
    CHECK_EQUAL(vm_regs(&vm).pc, 0xFFFFFFFCu);
    CHECK_EQUAL(vm_regs(&vm).msr, 0);
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs));
    CHECK_EQUAL(sregs.u.e.tcr, 0);
    CHECK_EQUAL(sregs.u.e.dec, 0);
    memset(&translation, 0, sizeof(translation));
    translation.linear_address = 0x01234567;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
    CHECK_EQUAL(translation.valid, 1);
    CHECK_EQUAL(translation.physical_address, 0x01234567);
}

static void test_sregs(void) {
    struct kvm_sregs sregs, got;
    struct kvm_regs regs;
    struct vm vm;
    unsigned i;

    vm_open(&vm, 64 * KB);
    memset(&sregs, 0xAA, sizeof(sregs));
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs));
    CHECK((sregs.u.e.features & KVM_SREGS_E_BASE) != 0);
    CHECK((sregs.u.e.features & KVM_SREGS_E_IVOR) != 0);
    CHECK(sregs.pvr != 0);
    for (i = sizeof(sregs.u.e); i != sizeof(sregs.u.pad); ++i)
        if (sregs.u.pad[i] != 0) REQUIRE_EQUAL(sregs.u.pad[i], 0); // nothing of the kernel's stack
    sregs.u.e.csrr0 = 0x1230;
    sregs.u.e.dear = 0x4567;
    sregs.u.e.esr = 0x800000;
    sregs.u.e.tcr = 0x04000000;
    sregs.u.e.decar = 0x99;
    sregs.u.e.ivpr = 0x00120000;
    for (i = 0; i != 16; ++i) sregs.u.e.ivor_low[i] = 0x100 * i;
    sregs.u.e.iac[0] = 0x1004;
    sregs.u.e.dac[1] = 0x2001;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_SREGS, &sregs));
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &got));
    CHECK_EQUAL(got.u.e.csrr0, 0x1230);
    CHECK_EQUAL(got.u.e.dear, 0x4567);
    CHECK_EQUAL(got.u.e.esr, 0x800000);
    CHECK_EQUAL(got.u.e.tcr, 0x04000000);
    CHECK_EQUAL(got.u.e.decar, 0x99);
    CHECK_EQUAL(got.u.e.ivpr, 0x00120000);
    CHECK_EQUAL(memcmp(got.u.e.ivor_low, sregs.u.e.ivor_low, sizeof(got.u.e.ivor_low)), 0);
    CHECK_EQUAL(got.u.e.iac[0], 0x1004);
    CHECK_EQUAL(got.u.e.dac[1], 0x2001);
    // And the guest reads them.
    VM_LOAD(&vm, 0x1000, special_registers);
    vm_start_at(&vm, 0x1000, 0, 0, 0);
    regs = vm_regs(&vm);
    regs.sprg0 = 0xCAFE;
    regs.pid = 0x12;
    regs.srr0 = 0x88;
    vm_set_regs(&vm, &regs);
    vm_run_to_done(&vm);
    regs = vm_regs(&vm);
    CHECK_EQUAL(regs.gpr[10], 0xCAFE);
    CHECK_EQUAL(regs.gpr[11], 0x1230);
    CHECK_EQUAL(regs.gpr[12], 0x00120000);
    CHECK_EQUAL(regs.gpr[13], 0x300);
    CHECK_EQUAL(regs.gpr[14], 0x12);
    CHECK_EQUAL(regs.gpr[15], 0x88);
    CHECK_EQUAL(regs.gpr[16], 0x1004);
    // The wrong processor, and sections that it has not.
    got.pvr ^= 1;
    CHECK_ERROR(ioctl(vm.vcpu, KVM_SET_SREGS, &got), EINVAL);
    got.pvr ^= 1;
    got.u.e.features |= KVM_SREGS_E_SPE;
    CHECK_ERROR(ioctl(vm.vcpu, KVM_SET_SREGS, &got), EINVAL);
    // DEC and TSR only when asked for.
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &got));
    got.u.e.dec = 0x70000000;
    got.u.e.update_special = 0;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_SREGS, &got));
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs));
    CHECK(sregs.u.e.dec < 0x60000000);
    got.u.e.update_special = KVM_SREGS_E_UPDATE_DEC;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_SREGS, &got));
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs));
    CHECK(sregs.u.e.dec > 0x60000000 && sregs.u.e.dec <= 0x70000000);
}

static void test_fpu(void) {
    struct kvm_fpu set, got;
    struct kvm_regs regs;
    struct vm vm;
    double values[32], result;
    unsigned i;

    vm_open(&vm, 64 * KB);
    for (i = 0; i != 32; ++i) values[i] = 1.5 * i + 0.25;
    memcpy(set.fpr, values, sizeof(set.fpr));
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_FPU, &set));
    memset(&got, 0, sizeof(got));
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_FPU, &got));
    CHECK_EQUAL(memcmp(&set, &got, sizeof(set)), 0);
    CHECK_EQUAL(vm_one_reg(&vm, KVM_REG_PPC_FPR(5)), set.fpr[5]);
    VM_LOAD(&vm, 0x1000, fp);
    result = 3.0;
    memcpy(vm.memory + 0x4000, &result, sizeof(result));
    vm_start_at(&vm, 0x1000, 0x4000, 0, 0);
    vm_run_to_done(&vm);
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_FPU, &got));
    memcpy(values, got.fpr, sizeof(values));
    CHECK(values[3] == 1.75 + 3.25);
    CHECK(values[5] == 9.0);
    CHECK(values[31] == 1.5 * 31 + 0.25);
    memcpy(&result, vm.memory + 0x4008, sizeof(result));
    CHECK(result == 9.0);
    regs = vm_regs(&vm);
    CHECK_EQUAL(regs.msr & 0x2000, 0x2000);
}

static void test_one_reg(void) {
    static const uint64_t settable[] = {KVM_REG_PPC_IAC1, KVM_REG_PPC_IAC4,  KVM_REG_PPC_DAC1,  KVM_REG_PPC_DAC2,
                                        KVM_REG_PPC_FPR0, KVM_REG_PPC_FPR31, KVM_REG_PPC_VRSAVE};
    static const uint64_t unknown[] = {0,
                                       KVM_REG_PPC | KVM_REG_SIZE_U64 | 0x7000,
                                       KVM_REG_PPC_HIOR,
                                       KVM_REG_PPC_EPR,
                                       KVM_REG_PPC_VR0,
                                       KVM_REG_PPC_FPR0 ^ KVM_REG_SIZE_U64 ^ KVM_REG_SIZE_U32,
                                       KVM_REG_PPC_FPR0 ^ KVM_REG_PPC ^ KVM_REG_X86,
                                       ~0ull,
                                       KVM_REG_PPC | KVM_REG_SIZE_U8 | 1,
                                       KVM_REG_PPC | KVM_REG_SIZE_U2048 | 1};
    struct kvm_one_reg request;
    struct vm vm;
    uint8_t value[256];
    size_t i;

    vm_open(&vm, 0);
    for (i = 0; i != sizeof(settable) / sizeof(settable[0]); ++i) {
        vm_set_one_reg(&vm, settable[i], 0x12345678);
        CHECK_EQUAL(vm_one_reg(&vm, settable[i]), 0x12345678);
    }
    memset(value, 0, sizeof(value));
    request.addr = (uintptr_t)value;
    for (i = 0; i != sizeof(unknown) / sizeof(unknown[0]); ++i) {
        request.id = unknown[i];
        CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_ONE_REG, &request), EINVAL);
        CHECK_ERROR(ioctl(vm.vcpu, KVM_SET_ONE_REG, &request), EINVAL);
    }
    request.id = KVM_REG_PPC_FPSCR;
    request.addr = (uintptr_t)BAD_POINTER;
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_ONE_REG, &request), EFAULT);
    CHECK_ERROR(ioctl(vm.vcpu, KVM_SET_ONE_REG, &request), EFAULT);
    request.addr = (1ull << 32) + (uintptr_t)value;
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_ONE_REG, &request), EFAULT);
    request.addr = 0xC0000000u;
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_ONE_REG, &request), EFAULT);
    // What can be read only.
    request.id = KVM_REG_PPC_DEBUG_INST;
    request.addr = (uintptr_t)value;
    CHECK_SUCCESS(ioctl(vm.vcpu, KVM_GET_ONE_REG, &request));
    CHECK_ERROR(ioctl(vm.vcpu, KVM_SET_ONE_REG, &request), EINVAL);
    // A word is written, no more.
    memset(value, 0xEE, sizeof(value));
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_ONE_REG, &request));
    CHECK_EQUAL(value[4], 0xEE);
}

static void test_timer_registers(void) {
    struct vm vm;

    vm_open(&vm, 0);
    vm_set_one_reg(&vm, KVM_REG_PPC_TCR, 0x04000000);
    CHECK_EQUAL(vm_one_reg(&vm, KVM_REG_PPC_TCR), 0x04000000);
    vm_set_one_reg(&vm, KVM_REG_PPC_OR_TSR, 0x08000000);
    CHECK_EQUAL(vm_one_reg(&vm, KVM_REG_PPC_TSR) & 0x08000000, 0x08000000);
    vm_set_one_reg(&vm, KVM_REG_PPC_CLEAR_TSR, 0x08000000);
    CHECK_EQUAL(vm_one_reg(&vm, KVM_REG_PPC_TSR) & 0x08000000, 0);
    vm_set_one_reg(&vm, KVM_REG_PPC_CLEAR_TSR, 0xFFFFFFFF);
    CHECK_EQUAL(vm_one_reg(&vm, KVM_REG_PPC_TSR), 0);
}

static void test_reg_list(void) {
    struct kvm_reg_list* list = calloc(1, sizeof(*list) + 1000 * sizeof(uint64_t));
    struct kvm_reg_list empty;
    struct vm vm;
    uint64_t count, i, j, value[4];

    vm_open(&vm, 0);
    empty.n = 0;
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_REG_LIST, &empty), E2BIG);
    count = empty.n;
    REQUIRE(count >= 32 && count < 1000);
    empty.n = count - 1;
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_REG_LIST, &empty), E2BIG);
    CHECK_EQUAL(empty.n, count);
    list->n = 1000;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_REG_LIST, list));
    REQUIRE_EQUAL(list->n, count);
    for (i = 0; i != count; ++i) {
        const struct kvm_one_reg request = {.id = list->reg[i], .addr = (uintptr_t)value};

        if (ioctl(vm.vcpu, KVM_GET_ONE_REG, &request) != 0)
            check_failed(__FILE__, __LINE__, "%llx of the list cannot be read", list->reg[i]);
        for (j = 0; j != i; ++j) CHECK(list->reg[i] != list->reg[j]);
    }
    CHECK_EQUAL(list->reg[count], 0);
    // Room for the header alone, at the end of what is mapped.
    CHECK_ERROR(ioctl(vm.vcpu, KVM_GET_REG_LIST, BAD_POINTER), EFAULT);
}

static void test_translate(void) {
    struct kvm_translation translation;
    struct vm vm;

    vm_open(&vm, 0);
    memset(&translation, 0xFF, sizeof(translation));
    translation.linear_address = 0x0FFFFFFF;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
    CHECK_EQUAL(translation.valid, 1);
    CHECK_EQUAL(translation.physical_address, 0x0FFFFFFF);
    CHECK_EQUAL(translation.linear_address, 0x0FFFFFFF);
    // By any process, but not in the other address space, nor behind the mapping.
    translation.linear_address = 0x1000 | 0x33ull << 32;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
    CHECK_EQUAL(translation.valid, 1);
    translation.linear_address = 0x1000 | 1ull << 40;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
    CHECK_EQUAL(translation.valid, 0);
    translation.linear_address = 0x10000000;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
    CHECK_EQUAL(translation.valid, 0);
    translation.linear_address = 0xC0000000;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_TRANSLATE, &translation));
    CHECK_EQUAL(translation.valid, 0);
}

static void test_mp_state(void) {
    struct kvm_mp_state state;
    struct vm vm;

    vm_open(&vm, 0);
    state.mp_state = 99;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_MP_STATE, &state));
    CHECK_EQUAL(state.mp_state, KVM_MP_STATE_RUNNABLE);
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_MP_STATE, &state));
    state.mp_state = KVM_MP_STATE_HALTED;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_MP_STATE, &state));
    CHECK_EQUAL(vm_regs(&vm).msr & MSR_WE, MSR_WE);
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_GET_MP_STATE, &state));
    CHECK_EQUAL(state.mp_state, KVM_MP_STATE_HALTED);
    state.mp_state = KVM_MP_STATE_RUNNABLE;
    REQUIRE_SUCCESS(ioctl(vm.vcpu, KVM_SET_MP_STATE, &state));
    CHECK_EQUAL(vm_regs(&vm).msr & MSR_WE, 0);
    for (state.mp_state = 0; state.mp_state != 12; ++state.mp_state) {
        if (state.mp_state == KVM_MP_STATE_RUNNABLE || state.mp_state == KVM_MP_STATE_HALTED) continue;
        CHECK_ERROR(ioctl(vm.vcpu, KVM_SET_MP_STATE, &state), EINVAL);
    }
    state.mp_state = 0xFFFFFFFF;
    CHECK_ERROR(ioctl(vm.vcpu, KVM_SET_MP_STATE, &state), EINVAL);
}

void abi_registers(void) {
    check_test("KVM_GET_REGS, KVM_SET_REGS", TEST_SECONDS, test_regs);
    check_test("registers after reset", TEST_SECONDS, test_reset_state);
    check_test("KVM_GET_SREGS, KVM_SET_SREGS", TEST_SECONDS, test_sregs);
    check_test("KVM_GET_FPU, KVM_SET_FPU", TEST_SECONDS, test_fpu);
    check_test("KVM_GET_ONE_REG, KVM_SET_ONE_REG", TEST_SECONDS, test_one_reg);
    check_test("timers by KVM_SET_ONE_REG", TEST_SECONDS, test_timer_registers);
    check_test("KVM_GET_REG_LIST", TEST_SECONDS, test_reg_list);
    check_test("KVM_TRANSLATE", TEST_SECONDS, test_translate);
    check_test("KVM_GET_MP_STATE, KVM_SET_MP_STATE", TEST_SECONDS, test_mp_state);
}
