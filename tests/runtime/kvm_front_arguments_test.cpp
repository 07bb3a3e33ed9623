// SPDX-License-Identifier: GPL-2.0-only
// The KVM front in process: what ioctls take and give, and what they refuse.
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <vector>

#include "front_machine.h"

using namespace untrap;
using namespace untrap::tests;
using runtime::soft::KvmFront;
using Machine = FrontMachine;

TEST_CASE("registers go in and come out") {
    Machine m;
    abi::kvm_regs in{}, out{};
    in.pc = 0x2003;
    in.cr = 0x12345678;
    in.xer = 0xE000007F;
    in.msr = ~std::uint64_t{0};
    in.lr = 1;
    in.ctr = 2;
    in.srr0 = 0x3007;
    in.srr1 = 0xFFFFFFFF;
    in.pid = 0x1FF;
    for (unsigned i = 0; i < 8; ++i) in.sprg[i] = i + 100;
    for (unsigned i = 0; i < 32; ++i) in.gpr[i] = 0xFFFFFFFF00000000 | i;
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_regs, &in) == 0);
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_get_regs, &out) == 0);
    CHECK(out.pc == 0x2000);
    CHECK(out.cr == 0x12345678);
    CHECK(out.xer == 0xE000007F);
    CHECK(out.msr == isa::msr::defined);
    CHECK(out.srr0 == 0x3004);
    CHECK(out.pid == 0xFF);
    CHECK(out.sprg[7] == 107);
    CHECK(out.gpr[31] == 31);

    abi::kvm_fpu fpu{};
    for (unsigned i = 0; i < 32; ++i) fpu.fpr[i] = 0x3FF0000000000000 + i;
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_fpu, &fpu) == 0);
    std::uint64_t fpr = 0;
    abi::kvm_one_reg one{abi::reg_ppc_fpr(3), reinterpret_cast<std::uintptr_t>(&fpr)};
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_get_one_reg, &one) == 0);
    CHECK(fpr == 0x3FF0000000000003);

    abi::kvm_sregs sregs{};
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_get_sregs, &sregs) == 0);
    sregs.u.e.update_special = abi::sregs_e_update_dec | abi::sregs_e_update_tsr;
    sregs.u.e.dec = 12345;
    sregs.u.e.tsr = isa::tsr::dis;
    sregs.u.e.tb = 1ULL << 40;
    sregs.u.e.csrr0 = 0x1237;
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_sregs, &sregs) == 0);
    abi::kvm_sregs back{};
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_get_sregs, &back) == 0);
    CHECK(back.u.e.dec == 12345);
    CHECK(back.u.e.tsr == isa::tsr::dis);
    CHECK(back.u.e.tb == 1ULL << 40);
    CHECK(back.u.e.csrr0 == 0x1234);
    std::uint32_t clear = isa::tsr::dis, tsr = 1;
    one = {abi::reg_ppc_clear_tsr, reinterpret_cast<std::uintptr_t>(&clear)};
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_one_reg, &one) == 0);
    one = {abi::reg_ppc_tsr, reinterpret_cast<std::uintptr_t>(&tsr)};
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_get_one_reg, &one) == 0);
    CHECK(tsr == 0);

    struct {
        abi::kvm_reg_list list;
        std::uint64_t ids[64];
    } all{};
    CHECK(m.kvm.ioctl(m.vcpu, abi::ioctl_get_reg_list, &all) == -E2BIG);
    REQUIRE(all.list.n <= 64);
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_get_reg_list, &all) == 0);
    for (std::uint64_t i = 0; i < all.list.n; ++i) {
        std::uint64_t value = 0;
        one = {all.ids[i], reinterpret_cast<std::uintptr_t>(&value)};
        CHECK(m.kvm.ioctl(m.vcpu, abi::ioctl_get_one_reg, &one) == 0);
    }

    abi::kvm_translation translation{};
    translation.linear_address = 0x1234567;
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_translate, &translation) == 0);
    CHECK(translation.valid == 1);
    CHECK(translation.physical_address == 0x1234567);
    translation.linear_address = 0xC0000000;
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_translate, &translation) == 0);
    CHECK(translation.valid == 0);
}

TEST_CASE("bad arguments get their error, and nothing happens") {
    Machine m;
    KvmFront& kvm = m.kvm;
    for (const int fd : {-1, 0, 7, m.vcpu + 1}) {
        CHECK(kvm.ioctl(fd, abi::ioctl_run, nullptr) == -EBADF);
        CHECK(kvm.close(fd) == -EBADF);
        CHECK(kvm.map_run(fd, 4096) == nullptr);
    }
    CHECK(kvm.map_run(m.vm, 4096) == nullptr);
    CHECK(kvm.map_run(m.vcpu, 8192) == nullptr);
    CHECK(kvm.ioctl(m.system, abi::ioctl_create_vm, number(1)) == -EINVAL);
    CHECK(kvm.ioctl(m.system, abi::ioctl_run, nullptr) == -ENOTTY);
    CHECK(kvm.ioctl(m.vm, abi::ioctl_get_regs, nullptr) == -ENOTTY);
    CHECK(kvm.ioctl(m.vcpu, abi::ioctl_create_vm, nullptr) == -ENOTTY);
    CHECK(kvm.ioctl(m.vcpu, 0x1'0000'0000ul | abi::ioctl_run, nullptr) == -ENOTTY);
    CHECK(kvm.ioctl(m.vm, abi::ioctl_create_vcpu, number(1)) == -EINVAL);
    CHECK(kvm.ioctl(m.vm, abi::ioctl_create_vcpu, nullptr) == -EEXIST);
    CHECK(kvm.ioctl(m.vcpu, abi::ioctl_run, number(8)) == -EINVAL);
    for (const std::uint32_t request :
         {abi::ioctl_get_regs, abi::ioctl_set_regs, abi::ioctl_get_sregs, abi::ioctl_set_sregs, abi::ioctl_get_fpu,
          abi::ioctl_set_fpu, abi::ioctl_get_one_reg, abi::ioctl_set_one_reg, abi::ioctl_interrupt,
          abi::ioctl_translate, abi::ioctl_get_mp_state, abi::ioctl_set_mp_state, abi::ioctl_get_reg_list,
          abi::ioctl_set_guest_debug, abi::untrap_get_stats})
        CHECK(kvm.ioctl(m.vcpu, request, nullptr) == -EFAULT);
    for (const std::uint32_t request : {abi::ioctl_set_user_memory_region, abi::ioctl_enable_cap,
                                        abi::ioctl_get_dirty_log, abi::untrap_memory_written})
        CHECK(kvm.ioctl(m.vm, request, nullptr) == -EFAULT);

    // Memory
    CHECK(m.set_memory(32, 0x100000, 0x1000, m.ram) == -EINVAL);
    CHECK(m.set_memory(1, 0x100800, 0x1000, m.ram) == -EINVAL);
    CHECK(m.set_memory(1, 0x100000, 0x1001, m.ram) == -EINVAL);
    CHECK(m.set_memory(1, 0x100000, 0x1000, nullptr) == -EINVAL);
    CHECK(m.set_memory(1, 0x100000, 0x1000, m.ram + 1) == -EINVAL);
    CHECK(m.set_memory(1, 0x100000, 0x1000, m.ram, 4) == -EINVAL);
    CHECK(m.set_memory(1, 0xFFFFFF000, 0x2000, m.ram) == -EINVAL);
    CHECK(m.set_memory(1, 0xFFFFFFFFFFFFF000, 0x1000, m.ram) == -EINVAL);
    CHECK(m.set_memory(1, 0x100000, 0xFFFFFFFFFFFFF000, m.ram) == -EINVAL);
    CHECK(m.set_memory(1, 0x80000, 0x1000, m.ram) == -EEXIST);
    CHECK(m.set_memory(1, 0, 0, nullptr) == -EINVAL); // there is none to delete
    abi::UntrapMemoryRange range{0xFFFFFFFFF, 2};
    CHECK(kvm.ioctl(m.vm, abi::untrap_memory_written, &range) == -EINVAL);
    range = {0x1000, 0xFFFFFFFFFFFFFFFF};
    CHECK(kvm.ioctl(m.vm, abi::untrap_memory_written, &range) == -EINVAL);

    // Registers
    abi::kvm_one_reg one{abi::reg_ppc_tsr, 0};
    CHECK(kvm.ioctl(m.vcpu, abi::ioctl_get_one_reg, &one) == -EFAULT);
    CHECK(kvm.ioctl(m.vcpu, abi::ioctl_set_one_reg, &one) == -EFAULT);
    std::uint64_t value = 0;
    one = {0x1234, reinterpret_cast<std::uintptr_t>(&value)};
    CHECK(kvm.ioctl(m.vcpu, abi::ioctl_get_one_reg, &one) == -EINVAL);
    CHECK(kvm.ioctl(m.vcpu, abi::ioctl_set_one_reg, &one) == -EINVAL);
    abi::kvm_sregs sregs{};
    CHECK(kvm.ioctl(m.vcpu, abi::ioctl_set_sregs, &sregs) == -EINVAL); // PVR 0
    abi::kvm_mp_state state{abi::mp_state_stopped};
    CHECK(kvm.ioctl(m.vcpu, abi::ioctl_set_mp_state, &state) == -EINVAL);

    // Capabilities
    CHECK(m.enable(abi::cap_untrap_levels, 1) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_levels, ~std::uint64_t{0}) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_clock, 2) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_clock, 1, 2) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_engine, 2) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_threshold, 0) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_threshold, std::uint64_t{1} << 32) == -EINVAL);
    const int optimisations = kvm.ioctl(m.system, abi::ioctl_check_extension, number(abi::cap_untrap_disable));
    CHECK(optimisations > 0);
    CHECK(m.enable(abi::cap_untrap_disable, static_cast<std::uint64_t>(optimisations)) == 0);
    CHECK(m.enable(abi::cap_untrap_disable, static_cast<std::uint64_t>(optimisations) + 1) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_disable, std::uint64_t{1} << 40) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_disable, 0) == 0);
    CHECK(m.enable(abi::cap_untrap_threshold, 4, std::uint64_t{1} << 32) == -EINVAL);
    CHECK(m.enable(abi::cap_untrap_threshold, 4, 1000) == 0);
    CHECK(kvm.ioctl(m.system, abi::ioctl_check_extension, number(abi::cap_untrap_hot_sites)) == 65536);
    abi::UntrapHotSite known[2] = {{1, 0, 4, 0}, {1, 0, 0, 0}};
    abi::UntrapHotSites sites{reinterpret_cast<std::uintptr_t>(known), 2, 0};
    CHECK(kvm.ioctl(m.vm, abi::untrap_set_known_sites, &sites) == -EINVAL);
    known[1].offset = 8;
    CHECK(kvm.ioctl(m.vm, abi::untrap_set_known_sites, &sites) == 0);
    CHECK(kvm.ioctl(m.vcpu, abi::untrap_set_known_sites, &sites) == -ENOTTY);
    sites.count = abi::untrap_most_hot_sites + 1;
    CHECK(kvm.ioctl(m.vm, abi::untrap_set_known_sites, &sites) == -EINVAL);
    sites = {0, 1, 0};
    CHECK(kvm.ioctl(m.vm, abi::untrap_set_known_sites, &sites) == -EFAULT);
    CHECK(kvm.ioctl(m.vcpu, abi::untrap_get_hot_sites, &sites) == -EFAULT);
    CHECK(kvm.ioctl(m.system, abi::ioctl_check_extension, number(abi::cap_untrap_translations)) == 1);
    std::vector<std::uint8_t> image(100);
    abi::UntrapTranslations translations{reinterpret_cast<std::uintptr_t>(image.data()), image.size()};
    CHECK(kvm.ioctl(m.vm, abi::untrap_set_translations, &translations) == -EINVAL);
    CHECK(kvm.ioctl(m.vcpu, abi::untrap_set_translations, &translations) == -ENOTTY);
    translations = {0, 100};
    CHECK(kvm.ioctl(m.vm, abi::untrap_set_translations, &translations) == -EFAULT);
    CHECK(kvm.ioctl(m.vcpu, abi::untrap_get_translations, &translations) == 0);
    CHECK(translations.bytes == 0); // nothing has run
    CHECK(m.enable(12345, 0) == -EINVAL);
    CHECK(kvm.ioctl(m.system, abi::ioctl_check_extension, number(abi::cap_untrap_levels)) == 0b11110);
    CHECK(kvm.ioctl(m.vm, abi::ioctl_check_extension, number(abi::cap_one_reg)) == 1);
    CHECK(kvm.ioctl(m.vm, abi::ioctl_check_extension, number(999)) == 0);

    // After the first run the configuration is final.
    m.put(origin, {END_BY_RESET(31)});
    CHECK(m.go() == 0);
    CHECK(m.enable(abi::cap_untrap_levels, 0) == -EBUSY);
    sites = {reinterpret_cast<std::uintptr_t>(known), 2, 0};
    CHECK(kvm.ioctl(m.vm, abi::untrap_set_known_sites, &sites) == -EBUSY);
    translations = {reinterpret_cast<std::uintptr_t>(image.data()), image.size()};
    CHECK(kvm.ioctl(m.vm, abi::untrap_set_translations, &translations) == -EBUSY);
    CHECK(kvm.ioctl(m.vcpu, abi::untrap_get_translations, &translations) == 0);
    CHECK(translations.bytes == 0); // the interpreter has none
    CHECK(m.enable(abi::cap_untrap_levels, 1) == -EINVAL);
}
