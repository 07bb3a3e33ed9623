// SPDX-License-Identifier: GPL-2.0-only
// The KVM front in process: memory, its dirty log, and device accesses that userspace is not asked for.
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "front_machine.h"

using namespace untrap;
using namespace untrap::tests;
using Machine = FrontMachine;

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
