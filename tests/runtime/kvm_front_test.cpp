// SPDX-License-Identifier: GPL-2.0-only
// The KVM front in process: runs and how they end.
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "front_machine.h"

using namespace untrap;
using namespace untrap::tests;
using runtime::soft::KvmFront;
using Machine = FrontMachine;

namespace {

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
