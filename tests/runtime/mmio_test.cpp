// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "guest.h"

using namespace untrap;
using runtime::ExitReason;
using runtime::MmioAccess;
using runtime::RunExit;

namespace {

// Runs with a device that keeps a log and answers loads by a rule.
struct Device {
    std::vector<MmioAccess> log;
    std::uint64_t next = 0x11111111;

    RunExit run(Guest& g) {
        for (;;) {
            const RunExit exit = g.vcpu.run();
            if (exit != RunExit::mmio) return exit;
            log.push_back(g.vcpu.mmio());
            const std::uint64_t answer = next;
            if (!g.vcpu.mmio().is_write) next += 0x11111111;
            g.vcpu.complete_mmio(answer);
        }
    }
};

constexpr std::uint64_t device_base = 0x1EF600000;

struct Fixture : Guest, Device {
    Fixture() {
        map(1, 0x20000000, device_base, 1, 3);
        map(2, 0x20001000, device_base + 0x1000, 1, 3 | mmu::TlbEntry::attr_e);
        vcpu.state.gpr[5] = 0x20000000;
    }
};

} // namespace

TEST_CASE("one access, once") {
    Fixture f;
    f.put(Guest::origin, {code::lwz(4, 5, 0x10), code::stb(4, 5, 0x21), END_BY_RESET(31)});
    REQUIRE(f.Device::run(f) == RunExit::reset);
    REQUIRE(f.log.size() == 2);
    CHECK(f.log[0].real == device_base + 0x10);
    CHECK(f.log[0].size == 4);
    CHECK_FALSE(f.log[0].is_write);
    CHECK(f.vcpu.state.gpr[4] == 0x11111111);
    CHECK(f.log[1].real == device_base + 0x21);
    CHECK(f.log[1].size == 1);
    CHECK(f.log[1].is_write);
    CHECK(f.log[1].value == 0x11);
    CHECK(f.exits(ExitReason::mmio) == 2);
    CHECK(f.vcpu.state.retired == 4);
}

TEST_CASE("lmw: every register by an access of its own") {
    Fixture f;
    f.put(Guest::origin, {code::lmw(28, 5, 0), code::nop, code::b(0)});
    for (unsigned i = 0; i < 4; ++i) {
        REQUIRE(f.vcpu.run() == RunExit::mmio);
        CHECK(f.vcpu.mmio().real == device_base + 4 * i);
        CHECK(f.vcpu.state.retired == 0);
        f.vcpu.complete_mmio(0xA0 + i);
    }
    f.vcpu.request_stop();
    REQUIRE(f.vcpu.run() == RunExit::interrupted); // but not before the instruction is complete
    for (unsigned i = 0; i < 4; ++i) CHECK(f.vcpu.state.gpr[28 + i] == 0xA0 + i);
    CHECK(f.vcpu.state.pc == Guest::origin + 4);
    CHECK(f.vcpu.state.retired == 1);
}

TEST_CASE("the largest multiple and string accesses") {
    Fixture f;
    f.vcpu.state.gpr[5] = 0x20000000;
    f.vcpu.state.gpr[6] = 0;
    f.vcpu.state.set_xer(127);
    f.vcpu.state.gpr[7] = 0x01020304;
    f.put(Guest::origin, {code::stswx(7, 5, 6), code::lis(31, 0x2000), code::stmw(1, 31, 0), END_BY_RESET(30)});
    REQUIRE(f.Device::run(f) == RunExit::reset);
    std::uint64_t string_bytes = 0, words = 0;
    for (const MmioAccess& access : f.log) {
        REQUIRE(access.is_write);
        if (string_bytes < 127)
            string_bytes += access.size;
        else
            words += access.size;
    }
    CHECK(string_bytes == 127);
    CHECK(words == 31 * 4);
}

TEST_CASE("byte-reversed accesses and little-endian pages") {
    Fixture f;
    f.vcpu.state.gpr[6] = 4;
    f.next = 0x11223344;
    f.put(Guest::origin, {code::lwbrx(4, 5, 6), code::b(0)});
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    CHECK(f.vcpu.mmio().size == 4);
    f.vcpu.complete_mmio(0x11223344);
    f.vcpu.request_stop();
    REQUIRE(f.vcpu.run() == RunExit::interrupted);
    CHECK(f.vcpu.state.gpr[4] == 0x44332211);

    f.vcpu.state.pc = Guest::origin + 0x100;
    f.put(Guest::origin + 0x100, {code::stw(4, 5, 0x1000), code::lwz(7, 5, 0x1000), code::b(0)});
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    CHECK(f.vcpu.mmio().value == 0x11223344); // what the device's bytes are, big-endian
    f.vcpu.complete_mmio(0);
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    f.vcpu.complete_mmio(0xAABBCCDD);
    f.vcpu.request_stop();
    REQUIRE(f.vcpu.run() == RunExit::interrupted);
    CHECK(f.vcpu.state.gpr[7] == 0xDDCCBBAA);
}

TEST_CASE("half memory, half device") {
    Fixture f;
    // The last page of memory at 0x30000000, device behind it.
    f.map(3, 0x30000000, Guest::bytes - 0x1000, 1, 3);
    f.map(4, 0x30001000, device_base, 1, 3);
    f.vcpu.state.gpr[5] = 0x30001000;
    f.vcpu.state.gpr[4] = 0x11223344;
    f.put(Guest::origin, {code::stw(4, 5, 0xFFFE), code::lwz(6, 5, 0xFFFE), END_BY_RESET(31)});
    f.next = 0x77;
    REQUIRE(f.Device::run(f) == RunExit::reset);
    REQUIRE(f.log.size() == 4);
    CHECK(f.log[0].value == 0x33);
    CHECK(f.log[1].value == 0x44);
    CHECK(f.log[1].real == device_base + 1);
    CHECK(f.word(Guest::bytes - 4) == 0x1122);
    CHECK(f.vcpu.state.gpr[6] == 0x11227788);
}

TEST_CASE("a store to read-only memory goes to userspace, a load does not") {
    Fixture f;
    std::vector<std::uint8_t> rom(0x1000, 0x5A);
    REQUIRE(f.memory.set_slot(1, {0x200000, 0x1000, rom.data(), true}));
    f.vcpu.state.gpr[5] = 0x200000;
    f.put(Guest::origin, {code::lwz(4, 5, 0), code::stw(4, 5, 8), END_BY_RESET(31)});
    REQUIRE(f.Device::run(f) == RunExit::reset);
    REQUIRE(f.log.size() == 1);
    CHECK(f.log[0].real == 0x200008);
    CHECK(f.vcpu.state.gpr[4] == 0x5A5A5A5A);
}

TEST_CASE("an access that nobody completes is asked for again") {
    Fixture f;
    f.put(Guest::origin, {code::lwz(4, 5, 0), code::b(0)});
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    f.vcpu.complete_mmio(1);
    f.vcpu.complete_mmio(2); // too late: nothing is asked
    f.vcpu.request_stop();
    REQUIRE(f.vcpu.run() == RunExit::interrupted);
    CHECK(f.vcpu.state.gpr[4] == 1);
}

TEST_CASE("device control registers") {
    Guest g;
    g.put(Guest::origin, {code::li(3, 77), code::mtdcr(0x0C0, 3), code::mfdcr(4, 0x0C1), END_BY_RESET(31)});
    REQUIRE(g.vcpu.run() == RunExit::dcr);
    CHECK(g.vcpu.dcr().number == 0x0C0);
    CHECK(g.vcpu.dcr().is_write);
    CHECK(g.vcpu.dcr().value == 77);
    REQUIRE(g.vcpu.run() == RunExit::dcr); // not done yet
    g.vcpu.complete_dcr(0);
    REQUIRE(g.vcpu.run() == RunExit::dcr);
    CHECK(g.vcpu.dcr().number == 0x0C1);
    CHECK_FALSE(g.vcpu.dcr().is_write);
    g.vcpu.complete_dcr(0xABCD);
    REQUIRE(g.vcpu.run() == RunExit::reset);
    CHECK(g.vcpu.state.gpr[4] == 0xABCD);
    CHECK(g.exits(ExitReason::dcr) == 2);
}
