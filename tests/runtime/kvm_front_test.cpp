// SPDX-License-Identifier: GPL-2.0-only
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <chrono>
#include <sys/mman.h>
#include <thread>
#include <vector>

#include "guest.h"
#include "runtime/kvm/untrap_abi.h"
#include "runtime/soft/kvm_front.h"

using namespace untrap;
using runtime::soft::KvmFront;

namespace {

constexpr std::uint32_t origin = 0x1000;

void* number(std::uintptr_t value) { return reinterpret_cast<void*>(value); }

// A VM of 1 MB with a vCPU at 0x1000.
struct Machine {
    static constexpr std::size_t bytes = 1 << 20;

    explicit Machine(std::uint64_t engine = abi::untrap_engine_interpreter, bool guest_clock = true) {
        system = kvm.open();
        REQUIRE(kvm.ioctl(system, abi::ioctl_get_api_version, nullptr) == 12);
        vm = kvm.ioctl(system, abi::ioctl_create_vm, nullptr);
        REQUIRE(vm >= 0);
        REQUIRE(enable(abi::cap_untrap_engine, engine) == 0);
        REQUIRE(enable(abi::cap_untrap_clock, guest_clock ? 1 : 0) == 0);
        vcpu = kvm.ioctl(vm, abi::ioctl_create_vcpu, nullptr);
        REQUIRE(vcpu >= 0);
        const int size = kvm.ioctl(system, abi::ioctl_get_vcpu_mmap_size, nullptr);
        run = static_cast<abi::kvm_run*>(kvm.map_run(vcpu, static_cast<std::size_t>(size)));
        REQUIRE(run != nullptr);
        ram = static_cast<std::uint8_t*>(
            ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        REQUIRE(set_memory(0, 0, bytes, ram) == 0);
        abi::kvm_regs regs{};
        REQUIRE(kvm.ioctl(vcpu, abi::ioctl_get_regs, &regs) == 0);
        regs.pc = origin;
        REQUIRE(kvm.ioctl(vcpu, abi::ioctl_set_regs, &regs) == 0);
        abi::kvm_sregs sregs{};
        REQUIRE(kvm.ioctl(vcpu, abi::ioctl_get_sregs, &sregs) == 0);
        CHECK(sregs.pvr == isa::spr::pvr_440ep);
        sregs.u.e.ivpr = 0x10000;
        for (std::uint32_t i = 0; i < 16; ++i) sregs.u.e.ivor_low[i] = 0x100 * (i + 1);
        REQUIRE(kvm.ioctl(vcpu, abi::ioctl_set_sregs, &sregs) == 0);
    }
    ~Machine() { ::munmap(ram, bytes); }

    int enable(std::uint32_t cap, std::uint64_t arg0, std::uint64_t arg1 = 0) {
        abi::kvm_enable_cap request{};
        request.cap = cap;
        request.args[0] = arg0;
        request.args[1] = arg1;
        return kvm.ioctl(vm, abi::ioctl_enable_cap, &request);
    }
    int set_memory(std::uint32_t slot, std::uint64_t gpa, std::uint64_t size, void* host, std::uint32_t flags = 0) {
        abi::kvm_userspace_memory_region region{slot, flags, gpa, size, reinterpret_cast<std::uintptr_t>(host)};
        return kvm.ioctl(vm, abi::ioctl_set_user_memory_region, &region);
    }
    int interrupt(std::uint32_t irq) {
        abi::kvm_interrupt request{irq};
        return kvm.ioctl(vcpu, abi::ioctl_interrupt, &request);
    }
    void put(std::uint32_t address, std::initializer_list<std::uint32_t> words) {
        for (const std::uint32_t word : words) {
            runtime::store_big_endian(ram + address, 4, word);
            address += 4;
        }
        abi::UntrapMemoryRange range{address - words.size() * 4, words.size() * 4};
        REQUIRE(kvm.ioctl(vm, abi::untrap_memory_written, &range) == 0);
    }
    int go() { return kvm.ioctl(vcpu, abi::ioctl_run, nullptr); }
    abi::kvm_regs regs() {
        abi::kvm_regs regs{};
        kvm.ioctl(vcpu, abi::ioctl_get_regs, &regs);
        return regs;
    }
    std::uint32_t vector(isa::Interrupt which) { return 0x10000 + 0x100 * (static_cast<std::uint32_t>(which) + 1); }

    KvmFront kvm;
    int system = -1, vm = -1, vcpu = -1;
    abi::kvm_run* run = nullptr;
    std::uint8_t* ram = nullptr;
};

// ori r5, 0x2000 for EA 0x00200000: mapped by the boot entry, but no memory there.
constexpr std::uint32_t device_high = 0x0020;

void converse(std::uint64_t engine) {
    Machine m(engine);
    m.put(origin, {code::lis(5, device_high), code::lis(3, 0x1122), code::ori(3, 3, 0x3344), code::stw(3, 5, 4),
                   code::lwz(4, 5, 8), code::mtdcr(0x12, 4), code::mfdcr(6, 0x13),
                   // idle until the decrementer
                   code::li(7, 2000), code::mtspr(22, 7), code::lis(8, 0x400), code::mtspr(340, 8), code::lis(9, 4),
                   code::ori(9, 9, 0x8000), code::mtmsr(9), code::b(0)});
    m.put(m.vector(isa::Interrupt::decrementer), {code::li(20, 99), END_BY_RESET(31)});

    REQUIRE(m.go() == 0);
    REQUIRE(m.run->exit_reason == abi::exit_mmio);
    CHECK(m.run->mmio.phys_addr == 0x200004);
    CHECK(m.run->mmio.len == 4);
    CHECK(m.run->mmio.is_write == 1);
    CHECK(m.run->mmio.data[0] == 0x11);
    CHECK(m.run->mmio.data[3] == 0x44);

    REQUIRE(m.go() == 0);
    REQUIRE(m.run->exit_reason == abi::exit_mmio);
    CHECK(m.run->mmio.phys_addr == 0x200008);
    CHECK(m.run->mmio.is_write == 0);
    m.run->mmio.data[0] = 0xAA;
    m.run->mmio.data[1] = 0xBB;
    m.run->mmio.data[2] = 0xCC;
    m.run->mmio.data[3] = 0xDD;

    REQUIRE(m.go() == 0);
    REQUIRE(m.run->exit_reason == abi::exit_dcr);
    CHECK(m.run->dcr.dcrn == 0x12);
    CHECK(m.run->dcr.is_write == 1);
    CHECK(m.run->dcr.data == 0xAABBCCDD);

    REQUIRE(m.go() == 0);
    REQUIRE(m.run->exit_reason == abi::exit_dcr);
    CHECK(m.run->dcr.dcrn == 0x13);
    CHECK(m.run->dcr.is_write == 0);
    m.run->dcr.data = 0x5555;

    REQUIRE(m.go() == 0);
    REQUIRE(m.run->exit_reason == abi::exit_shutdown);
    const abi::kvm_regs regs = m.regs();
    CHECK(regs.gpr[6] == 0x5555);
    CHECK(regs.gpr[20] == 99);
    CHECK(regs.srr0 == origin + 14 * 4);

    abi::UntrapStats stats{};
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::untrap_get_stats, &stats) == 0);
    CHECK(stats.guest_instructions == 14 + 3);
    const auto exits = [&](runtime::ExitReason reason) { return stats.exits[static_cast<unsigned>(reason)]; };
    CHECK(exits(runtime::ExitReason::mmio) == 2);
    CHECK(exits(runtime::ExitReason::dcr) == 2);
    CHECK(exits(runtime::ExitReason::emul_wait) == 1);
    CHECK(exits(runtime::ExitReason::dec) == 1);
}

} // namespace

TEST_CASE("translations go from one VM to the next, if both are made alike") {
    std::vector<std::uint8_t> image;
    std::uint64_t translated[3] = {};
    for (unsigned round = 0; round < 3; ++round) {
        Machine m(abi::untrap_engine_jit);
        KvmFront& kvm = m.kvm;
        // The third is another VM to them: it does not patch.
        REQUIRE(m.enable(abi::cap_untrap_levels, round < 2 ? abi::untrap_levels_up_to(4) : 0) == 0);
        abi::UntrapTranslations request{reinterpret_cast<std::uintptr_t>(image.data()), image.size()};
        if (!image.empty())
            CHECK(kvm.ioctl(m.vm, abi::untrap_set_translations, &request) == (round == 1 ? 0 : -ESTALE));
        // A loop of ten passes: addi, cmpwi, bne.
        m.put(origin, {0x38600000, 0x38630001, 0x2C03000A, 0x4082FFF8, END_BY_RESET(31)});
        CHECK(m.go() == 0);
        abi::UntrapStats stats{};
        REQUIRE(kvm.ioctl(m.vcpu, abi::untrap_get_stats, &stats) == 0);
        translated[round] = stats.translated_blocks;
        request = {0, 0};
        const int result = kvm.ioctl(m.vcpu, abi::untrap_get_translations, &request);
        CHECK(result == (round == 1 ? 0 : -E2BIG)); // nothing is new in the second
        if (round != 0) continue;
        image.resize(request.bytes);
        request.image = reinterpret_cast<std::uintptr_t>(image.data());
        CHECK(kvm.ioctl(m.vcpu, abi::untrap_get_translations, &request) == 0);
    }
    CHECK(translated[0] > 0);
    CHECK(translated[1] == 0);
    CHECK(translated[2] == translated[0]);
}

TEST_CASE("a conversation: MMIO, DCR, idle, decrementer, reset") { converse(abi::untrap_engine_interpreter); }
TEST_CASE("the same conversation with the JIT") { converse(abi::untrap_engine_jit); }

TEST_CASE("immediate exit completes the access, then leaves") {
    Machine m;
    m.put(origin, {code::lis(5, device_high), code::lwz(4, 5, 0), code::b(0)});
    m.run->immediate_exit = 1;
    CHECK(m.go() == -EINTR);
    CHECK(m.run->exit_reason == abi::exit_intr);
    m.run->immediate_exit = 0;
    REQUIRE(m.go() == 0);
    REQUIRE(m.run->exit_reason == abi::exit_mmio);
    m.run->mmio.data[3] = 7;
    m.run->immediate_exit = 1;
    CHECK(m.go() == -EINTR);
    CHECK(m.regs().gpr[4] == 7);
    CHECK(m.regs().pc == origin + 8);
}

TEST_CASE("a run in progress ends by immediate_exit, looping or waiting") {
    for (const bool waits : {false, true}) {
        Machine m(abi::untrap_engine_interpreter, false);
        if (waits)
            m.put(origin, {code::lis(9, 4), code::ori(9, 9, 0x8000), code::mtmsr(9), code::b(0)});
        else
            m.put(origin, {code::b(0)});
        int result = 0;
        std::thread runner([&] { result = m.go(); });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        std::atomic_ref(m.run->immediate_exit).store(1);
        runner.join();
        CHECK(result == -EINTR);
    }
}

TEST_CASE("interrupts from another thread wake a waiting guest") {
    Machine m(abi::untrap_engine_interpreter, false);
    m.put(origin, {code::lis(9, 4), code::ori(9, 9, 0x8000), code::mtmsr(9), code::b(0)});
    // The handler tells of itself, then goes on waiting.
    m.put(m.vector(isa::Interrupt::external_input), {code::lis(5, device_high), code::stw(3, 5, 0), code::rfi});
    for (const std::uint32_t irq : {abi::interrupt_set, abi::interrupt_set_level}) {
        std::thread device([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            m.interrupt(irq);
        });
        CHECK(m.go() == 0);
        device.join();
        REQUIRE(m.run->exit_reason == abi::exit_mmio);
    }
    // A level stays until it is taken back.
    CHECK(m.go() == 0);
    REQUIRE(m.run->exit_reason == abi::exit_mmio);
    CHECK(m.interrupt(abi::interrupt_unset) == 0);
    std::thread stop([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        std::atomic_ref(m.run->immediate_exit).store(1);
    });
    CHECK(m.go() == -EINTR);
    stop.join();
    CHECK(m.interrupt(5) == -EINVAL);
}

TEST_CASE("a guest that cannot go on says where and why") {
    Machine m;
    m.put(origin, {code::lis(5, 0x0020), code::mtspr(26, 5), code::mtspr(27, 6), code::rfi});
    REQUIRE(m.go() == 0);
    REQUIRE(m.run->exit_reason == abi::exit_internal_error);
    CHECK(m.run->internal.ndata > 2);
    CHECK(m.run->internal.data[0] == 0x200000);
    CHECK(m.run->internal.data[1] == 0);
    CHECK(std::string(reinterpret_cast<const char*>(&m.run->internal.data[2])).find("no memory") != std::string::npos);
}

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

TEST_CASE("after a reset the vCPU is as new, but for the registers of KVM_SET_REGS") {
    for (const std::uint64_t engine : {abi::untrap_engine_interpreter, abi::untrap_engine_jit}) {
        Machine m(engine);
        // Loses the boot mapping for one of 4 KB, sets a timer, then resets.
        m.put(origin, {code::li(4, 0x210), code::li(5, 7), code::li(6, 0), code::mtspr(22, 5), code::mtspr(54, 5),
                       code::tlbwe(4, 6, 0), END_BY_RESET(31)});
        m.put(0x1800, {code::li(20, 5), END_BY_RESET(31)});
        abi::kvm_regs regs = m.regs();
        // All of the program is within the page at 0, which the entry then maps, except for what runs after the reset.
        for (std::uint32_t address = 0; address < 0x40; address += 4)
            runtime::store_big_endian(m.ram + address, 4, runtime::load_big_endian(m.ram + origin + address, 4));
        regs.pc = 0;
        REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_regs, &regs) == 0);
        REQUIRE(m.go() == 0);
        REQUIRE(m.run->exit_reason == abi::exit_shutdown);
        CHECK(m.regs().gpr[5] == 7);
        abi::kvm_sregs sregs{};
        REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_get_sregs, &sregs) == 0);
        CHECK(sregs.u.e.decar == 0);
        CHECK(sregs.u.e.dec == 0);
        CHECK(sregs.u.e.ivpr == 0);
        CHECK(sregs.u.e.dbcr[0] == 0);
        abi::kvm_translation translation{};
        translation.linear_address = 0x00234567;
        REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_translate, &translation) == 0);
        CHECK(translation.valid == 1);
        regs = {};
        regs.pc = 0x1800;
        REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_regs, &regs) == 0);
        REQUIRE(m.go() == 0);
        REQUIRE(m.run->exit_reason == abi::exit_shutdown);
        CHECK(m.regs().gpr[20] == 5);
        abi::UntrapStats stats{};
        REQUIRE(m.kvm.ioctl(m.vcpu, abi::untrap_get_stats, &stats) == 0);
        CHECK(stats.guest_instructions == 8 + 3);
    }
}

TEST_CASE("a watchdog's reset is a system event") {
    for (const std::uint64_t engine : {abi::untrap_engine_interpreter, abi::untrap_engine_jit}) {
        Machine m(engine);
        constexpr std::uint32_t tcr = 340, core_reset = 0x1000, branch_to_self = 0x48000000;
        m.put(origin, {code::lis(3, core_reset), code::mtspr(tcr, 3), branch_to_self});
        REQUIRE(m.go() == 0);
        REQUIRE(m.run->exit_reason == abi::exit_system_event);
        CHECK(m.run->system_event.type == abi::system_event_reset);
        CHECK(m.regs().pc == origin + 8);
        // And the next one is the guest's own.
        abi::kvm_regs regs = m.regs();
        regs.pc = 0x1800;
        m.put(0x1800, {END_BY_RESET(31)});
        REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_regs, &regs) == 0);
        REQUIRE(m.go() == 0);
        CHECK(m.run->exit_reason == abi::exit_shutdown);
    }
}

TEST_CASE("debug exits: single step, breakpoints of both kinds, watchpoints") {
    for (const std::uint64_t engine : {abi::untrap_engine_interpreter, abi::untrap_engine_jit}) {
        Machine m(engine);
        const auto debug = [&](std::uint32_t control,
                               std::initializer_list<abi::kvm_guest_debug_breakpoint> points = {}) {
            abi::kvm_guest_debug request{};
            request.control = control;
            std::size_t index = 0;
            for (const abi::kvm_guest_debug_breakpoint& point : points) request.arch.bp[index++] = point;
            return m.kvm.ioctl(m.vcpu, abi::ioctl_set_guest_debug, &request);
        };
        const auto stopped = [&](std::uint64_t address, std::uint32_t status) {
            return m.go() == 0 && m.run->exit_reason == abi::exit_debug && m.run->debug.arch.address == address &&
                   m.run->debug.arch.status == status;
        };
        constexpr std::uint32_t enable = abi::guestdbg_enable;
        std::uint32_t word = 0;
        abi::kvm_one_reg one{abi::reg_ppc_debug_inst, reinterpret_cast<std::uintptr_t>(&word)};
        REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_get_one_reg, &one) == 0);
        m.put(origin, {code::li(3, 0x4000), code::stw(3, 3, 0), code::lwz(4, 3, 0), word, code::nop, END_BY_RESET(31)});

        CHECK(debug(enable | abi::guestdbg_singlestep) == 0);
        CHECK(stopped(origin + 4, 0));
        CHECK(debug(enable | abi::guestdbg_use_hw_bp, {{0x4000, abi::debug_watch_write | abi::debug_watch_read, 0}}) ==
              0);
        CHECK(stopped(0x4000, abi::debug_watch_write));
        CHECK(debug(enable | abi::guestdbg_use_hw_bp, {{}, {0x4000, abi::debug_watch_read, 0}}) == 0);
        CHECK(stopped(0x4000, abi::debug_watch_read));
        CHECK(m.regs().pc == origin + 8);
        CHECK(debug(enable | abi::guestdbg_use_sw_bp) == 0);
        CHECK(stopped(origin + 12, 0));
        m.put(origin + 12, {code::nop});
        CHECK(debug(enable | abi::guestdbg_use_hw_bp | abi::guestdbg_use_sw_bp,
                    {{origin + 16, abi::debug_breakpoint, 0}}) == 0);
        CHECK(stopped(origin + 16, abi::debug_breakpoint));
        CHECK(debug(0) == 0);
        CHECK(m.go() == 0);
        CHECK(m.run->exit_reason == abi::exit_shutdown);

        const abi::kvm_guest_debug_breakpoint bp{origin, abi::debug_breakpoint, 0}, wp{0, abi::debug_watch_read, 0};
        constexpr std::uint32_t hardware = enable | abi::guestdbg_use_hw_bp;
        CHECK(debug(hardware, {bp, bp, wp, bp, bp, wp}) == 0);
        CHECK(debug(hardware, {bp, bp, bp, bp, bp}) == -EINVAL);
        CHECK(debug(hardware, {wp, wp, wp}) == -EINVAL);
        CHECK(debug(hardware, {{origin, 1, 0}}) == -EINVAL);
        CHECK(debug(hardware, {{origin, 0x10 | abi::debug_breakpoint, 0}}) == -EINVAL);
        CHECK(debug(hardware, {{std::uint64_t{1} << 32, abi::debug_breakpoint, 0}}) == -EINVAL);
        CHECK(debug(enable | 4) == -EINVAL);
        CHECK(debug(enable, {{origin, 1, 0}}) == 0); // not looked at
        const auto capability = [&](std::uint32_t cap) {
            return m.kvm.ioctl(m.system, abi::ioctl_check_extension, number(cap));
        };
        CHECK(capability(abi::cap_set_guest_debug) == 1);
        CHECK(capability(abi::cap_guest_debug_hw_bps) == 4);
        CHECK(capability(abi::cap_guest_debug_hw_wps) == 2);
    }
}

namespace {

// The dirty log of slot 0, as a set of bits.
std::uint64_t take_log(Machine& m, std::vector<std::uint64_t>& words) {
    words.assign(Machine::bytes / 0x1000 / 64, ~std::uint64_t{0});
    abi::kvm_dirty_log request{};
    request.dirty_bitmap = words.data();
    REQUIRE(m.kvm.ioctl(m.vm, abi::ioctl_get_dirty_log, &request) == 0);
    return words[0];
}

} // namespace

TEST_CASE("the dirty log has the pages stored to since it was taken last") {
    for (const std::uint64_t engine : {abi::untrap_engine_interpreter, abi::untrap_engine_jit}) {
        Machine m(engine);
        std::vector<std::uint64_t> words;
        abi::kvm_dirty_log request{};
        CHECK(m.kvm.ioctl(m.vm, abi::ioctl_get_dirty_log, &request) == -ENOENT);
        REQUIRE(m.set_memory(0, 0, Machine::bytes, m.ram, abi::mem_log_dirty_pages) == 0);
        CHECK(m.kvm.ioctl(m.vm, abi::ioctl_get_dirty_log, &request) == -EFAULT);
        request.slot = 1;
        CHECK(m.kvm.ioctl(m.vm, abi::ioctl_get_dirty_log, &request) == -ENOENT);
        request.slot = 32;
        CHECK(m.kvm.ioctl(m.vm, abi::ioctl_get_dirty_log, &request) == -EINVAL);

        // Stores to pages 2 and 3 (across), loads from 4, stores to 5 in a loop; then a device, then the loop again.
        m.put(origin, {code::li(3, 0x2FFE), code::stw(3, 3, 0), code::li(4, 0x4000), code::lwz(5, 4, 0),
                       code::li(4, 0x5000), code::li(6, 100),
                       // loop:
                       code::stw(6, 4, 0), code::stb(6, 4, 8), code::addi(6, 6, 0xFFFF), code::d_form(11, 0, 6, 0),
                       16U << 26 | 4U << 21 | 2U << 16 | (-16 & 0xFFFC), code::lis(7, device_high), code::stw(6, 7, 0),
                       code::b(-32)});
        CHECK(take_log(m, words) == 0);
        REQUIRE(m.go() == 0);
        REQUIRE(m.run->exit_reason == abi::exit_mmio);
        CHECK(take_log(m, words) == 0b101100);
        for (std::size_t index = 1; index < words.size(); ++index) CHECK(words[index] == 0);
        CHECK(take_log(m, words) == 0);
        for (int again = 0; again < 3; ++again) {
            REQUIRE(m.go() == 0);
            REQUIRE(m.run->exit_reason == abi::exit_mmio);
            if (again == 1) REQUIRE(m.set_memory(0, 0, Machine::bytes, m.ram, abi::mem_log_dirty_pages) == 0);
            CHECK(take_log(m, words) == 0b100000);
        }
        REQUIRE(m.set_memory(0, 0, Machine::bytes, m.ram) == 0);
        REQUIRE(m.go() == 0);
        request.slot = 0;
        CHECK(m.kvm.ioctl(m.vm, abi::ioctl_get_dirty_log, &request) == -ENOENT);
    }
}

TEST_CASE("the dirty log is taken while the guest runs or waits, and misses no store") {
    for (const std::uint64_t engine : {abi::untrap_engine_interpreter, abi::untrap_engine_jit}) {
        Machine m(engine, false);
        std::vector<std::uint64_t> words;
        REQUIRE(m.set_memory(0, 0, Machine::bytes, m.ram, abi::mem_log_dirty_pages) == 0);
        m.put(origin, {code::li(4, 0x5000), code::addi(6, 6, 1), code::stw(6, 4, 0), code::b(-8)});
        std::thread runner([&] { m.go(); });
        const auto counter = [&] {
            return __builtin_bswap32(std::atomic_ref(*reinterpret_cast<std::uint32_t*>(m.ram + 0x5000)).load());
        };
        while (counter() < 1000) std::this_thread::yield();
        unsigned missed = 0;
        for (int round = 0; round < 200; ++round) {
            const std::uint32_t before = counter();
            const std::uint64_t log = take_log(m, words);
            if (round != 0 && log != 0b100000) ++missed;
            while (counter() - before < 1000) std::this_thread::yield();
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        CHECK(missed == 0);
        CHECK(take_log(m, words) == 0b100000);
        std::atomic_ref(m.run->immediate_exit).store(1);
        runner.join();

        m.run->immediate_exit = 0;
        take_log(m, words);
        m.put(0x1800, {code::lis(9, 4), code::ori(9, 9, 0x8000), code::mtmsr(9), code::b(0)});
        abi::kvm_regs regs = m.regs();
        regs.pc = 0x1800;
        REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_regs, &regs) == 0);
        std::thread waiter([&] { m.go(); });
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        CHECK(take_log(m, words) == 0);
        std::atomic_ref(m.run->immediate_exit).store(1);
        waiter.join();
    }
}

TEST_CASE("memory does not change under a running vCPU") {
    Machine m(abi::untrap_engine_interpreter, false);
    m.put(origin, {code::b(0)});
    std::thread runner([&] { m.go(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(m.set_memory(0, 0, 0, nullptr) == -EBUSY);
    m.put(0x8000, {0}); // but the guest may be told of a device's writes
    std::atomic_ref(m.run->immediate_exit).store(1);
    runner.join();
}

TEST_CASE("a VM lives as long as its vCPU") {
    Machine m;
    m.put(origin, {END_BY_RESET(31)});
    CHECK(m.kvm.close(m.system) == 0);
    CHECK(m.kvm.close(m.vm) == 0);
    CHECK(m.kvm.close(m.vm) == -EBADF);
    CHECK(m.go() == 0);
    CHECK(m.kvm.close(m.vcpu) == 0);
}

TEST_CASE("KVM front: coalesced MMIO and device registers") {
    Machine m;
    CHECK(m.kvm.ioctl(m.system, abi::ioctl_check_extension, number(abi::cap_coalesced_mmio)) == 1);
    CHECK(m.kvm.ioctl(m.system, abi::ioctl_check_extension, number(abi::cap_untrap_registers)) == 2);
    CHECK(m.kvm.ioctl(m.system, abi::ioctl_get_vcpu_mmap_size, nullptr) == 3 * 4096);
    constexpr std::uint64_t device = 0x80000000;
    const auto zone = [&](std::uint32_t request, std::uint64_t base, std::uint32_t size, std::uint32_t pio = 0) {
        abi::kvm_coalesced_mmio_zone argument{base, size, pio};
        return m.kvm.ioctl(m.vm, request, &argument);
    };
    CHECK(m.kvm.ioctl(m.vm, abi::ioctl_register_coalesced_mmio, nullptr) == -EFAULT);
    CHECK(m.kvm.ioctl(m.vcpu, abi::ioctl_register_coalesced_mmio, m.run) == -ENOTTY);
    CHECK(zone(abi::ioctl_register_coalesced_mmio, device, 8, 1) == -EINVAL);
    CHECK(zone(abi::ioctl_register_coalesced_mmio, device, 0) == -EINVAL);
    CHECK(zone(abi::ioctl_register_coalesced_mmio, device, 8) == 0);

    auto* const pages = reinterpret_cast<std::uint8_t*>(m.run);
    auto& ring = *reinterpret_cast<abi::kvm_coalesced_mmio_ring*>(pages + 4096);
    auto& registers = *reinterpret_cast<abi::UntrapRegisters*>(pages + 2 * 4096);
    registers.blocks[0].base = device;
    registers.blocks[0].values[5] = 0x60;
    registers.blocks[0].loads = 1 << 5;
    registers.count = 1;
    abi::kvm_regs regs = m.regs();
    regs.gpr[5] = 0x0FFF0000; // the boot mapping, beyond the memory there is
    regs.gpr[6] = 'x';
    REQUIRE(m.kvm.ioctl(m.vcpu, abi::ioctl_set_regs, &regs) == 0);
    registers.blocks[0].base = 0x0FFF0000;
    REQUIRE(zone(abi::ioctl_unregister_coalesced_mmio, device, 8) == 0);
    REQUIRE(zone(abi::ioctl_register_coalesced_mmio, 0x0FFF0000, 1) == 0);
    m.put(origin, {code::d_form(34, 7, 5, 5), code::stb(6, 5, 0), code::stb(6, 5, 1), code::b(0)});
    REQUIRE(m.go() == 0);
    CHECK(m.run->exit_reason == abi::exit_mmio);
    CHECK(m.run->mmio.phys_addr == 0x0FFF0001);
    CHECK(m.regs().gpr[7] == 0x60);
    CHECK((ring.first == 0 && ring.last == 1));
    CHECK((ring.coalesced_mmio[0].phys_addr == 0x0FFF0000 && ring.coalesced_mmio[0].len == 1));
    CHECK(ring.coalesced_mmio[0].data[0] == 'x');
    // A store that nothing follows ends the run all the same.
    ring.first = 1;
    m.put(origin + 12, {code::stb(6, 5, 0), code::b(0)});
    CHECK(m.go() == -EINTR);
    CHECK(m.run->exit_reason == abi::exit_intr);
    CHECK(ring.last == 2);
    // Not any more.
    ring.first = 2;
    CHECK(zone(abi::ioctl_unregister_coalesced_mmio, 0x0FFF0000, 1) == 0);
    m.put(origin + 16, {code::stb(6, 5, 0), code::b(0)});
    REQUIRE(m.go() == 0);
    CHECK(m.run->exit_reason == abi::exit_mmio);
    CHECK(ring.last == 2);
}
