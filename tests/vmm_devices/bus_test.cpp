// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/bus.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/vmm_devices/captured_reports.h"
#include "vmm/devices/board_map.h"
#include "vmm/devices/dcr_blocks.h"
#include "vmm/devices/power.h"
#include "vmm/devices/uic.h"

using namespace untrap::vmm;

namespace {

struct Probe : MmioDevice {
    std::uint64_t offset = 0, value = 0;
    unsigned size = 0;
    std::uint64_t read(std::uint64_t o, unsigned s) override {
        offset = o;
        size = s;
        return 0xffff'ffff'ffff'ff12;
    }
    void write(std::uint64_t o, unsigned s, std::uint64_t v) override {
        offset = o;
        size = s;
        value = v;
    }
};

std::uint32_t indirect(DcrBus& bus, std::uint32_t address, std::uint32_t reg) {
    bus.write(address, reg);
    return bus.read(address + 1);
}

} // namespace

TEST_CASE("bus finds devices and treats the rest like an undriven bus") {
    test::CapturedReports reports;
    Probe probe;
    Bus bus;
    bus.map(0xef600300, 8, probe, "probe");
    CHECK(bus.read(0xef600303, 1) == 0x12);
    CHECK((probe.offset == 3 && probe.size == 1));
    bus.write(0xef600304, 2, 0x123456);
    CHECK((probe.offset == 4 && probe.size == 2 && probe.value == 0x3456));
    CHECK(reports.lines().empty());

    CHECK(bus.read(0xef600306, 4) == 0xffffffff); // leaves the device
    CHECK(bus.read(0xef6002ff, 2) == 0xffff);
    CHECK(bus.read(0, 8) == ~0ull);
    CHECK(bus.read(~0ull, 1) == 0xff);
    CHECK(bus.read(0xef600300, 3) == 0xffffff); // no such access
    CHECK(reports.lines().size() == 5);
    bus.write(0xef600310, 4, 1);
    bus.write(0xef600310, 4, 2);
    CHECK(reports.lines().size() == 6);
    for (std::uint64_t i = 0; i < 1000; ++i) bus.read(0x1000 + i, 4);
    CHECK(reports.lines().size() < 40);
    CHECK(reports.mentions("silent"));
}

TEST_CASE("bus refuses overlaps and impossible ranges") {
    Probe probe;
    Bus bus;
    bus.map(0x1000, 0x100, probe, "a");
    CHECK_THROWS_AS(bus.map(0x10ff, 1, probe, "b"), Error);
    CHECK_THROWS_AS(bus.map(0x0fff, 2, probe, "b"), Error);
    CHECK_THROWS_AS(bus.map(0x2000, 0, probe, "b"), Error);
    CHECK_THROWS_AS(bus.map(~0ull, 2, probe, "b"), Error);
    bus.map(~0ull, 1, probe, "top");
    bus.map(0x1100, 1, probe, "c");
}

TEST_CASE("board's DCRs: clocks, memory banks, unknown registers") {
    test::CapturedReports reports;
    DcrBus bus;
    BoardDcrs dcrs(200ull << 20);
    dcrs.attach(bus);

    // The clock arithmetic of a boot wrapper, from the PLL registers.
    const std::uint32_t plld = indirect(bus, 0x00c, 0x060);
    const std::uint32_t feedback = plld >> 24 & 0x1f, forward_a = plld >> 16 & 0xf, forward_b = plld >> 8 & 7,
                        local = plld & 0x3f;
    CHECK((indirect(bus, 0x00c, 0x040) & 0x47000000) == 0x40000000);
    const std::uint32_t vco = board::sys_clock_hz * forward_a * local * feedback;
    const std::uint32_t cpu = vco / forward_a / (indirect(bus, 0x00c, 0x080) >> 24 & 7);
    const std::uint32_t plb = vco / forward_b / (indirect(bus, 0x00c, 0x0a0) >> 24 & 7);
    CHECK(cpu == board::cpu_clock_hz);
    CHECK(plb == board::plb_clock_hz);
    CHECK(plb / (indirect(bus, 0x00c, 0x0c0) >> 24 & 3) == board::opb_clock_hz);
    CHECK((indirect(bus, 0x00e, 0x121) & 0x00800000) != 0);

    std::uint64_t memory = 0;
    for (std::uint32_t bank = 0; bank < 4; ++bank) {
        const std::uint32_t config = indirect(bus, 0x010, 0x40 + 4 * bank);
        if (!(config & 1)) continue;
        CHECK((config & 0xff800000) == memory);
        memory += 0x400000ull << ((config & 0xe0000) >> 17);
    }
    CHECK(memory == 200ull << 20);
    CHECK(reports.lines().empty());

    bus.write(0x081, 0x12345678);
    CHECK(bus.read(0x081) == 0x12345678);
    bus.write(0x180, 0x80000001); // MAL reset ends at once
    CHECK(bus.read(0x180) == 1);
    bus.write(0x00e, 0x4000);
    bus.write(0x00f, 77);
    CHECK(indirect(bus, 0x00e, 0x4000) == 77);
    dcrs.reset();
    CHECK(indirect(bus, 0x00e, 0x4000) == 0);
    CHECK(bus.read(0x081) == 0);
    CHECK(reports.lines().empty());

    CHECK(indirect(bus, 0x00c, 0x777) == 0);
    CHECK(indirect(bus, 0x00c, 0x777) == 0);
    CHECK(bus.read(0x3ff) == 0);
    CHECK(bus.read(0x3ff) == 0);
    CHECK(bus.read(5000) == 0);
    bus.write(0x3ff, 1);
    CHECK(reports.lines().size() == 4);
}

TEST_CASE("memory banks: every size up to 1 GiB that four banks can say") {
    test::CapturedReports reports;
    CHECK(Sdram0(512ull << 20).described_bytes() == 512ull << 20);
    CHECK(Sdram0(1024ull << 20).described_bytes() == 1024ull << 20);
    CHECK(Sdram0(4ull << 20).described_bytes() == 4ull << 20);
    CHECK(reports.lines().empty());
    CHECK(Sdram0(127ull << 20).described_bytes() == 120ull << 20);
    CHECK(Sdram0(2048ull << 20).described_bytes() == 1024ull << 20);
    CHECK(reports.lines().size() == 2);
}

TEST_CASE("DCR ranges do not overlap, the two UICs fit beside the rest") {
    DcrBus bus;
    BoardDcrs dcrs(128ull << 20);
    dcrs.attach(bus);
    Uic uic0(board::uic0_dcr.first, board::uic0_idle_high, IrqLine(), IrqLine());
    Uic uic1(board::uic1_dcr.first, board::uic1_idle_high, IrqLine(), IrqLine());
    bus.map(board::uic0_dcr.first, board::uic0_dcr.count, uic0, "UIC0");
    bus.map(board::uic1_dcr.first, board::uic1_dcr.count, uic1, "UIC1");
    bus.write(0x0d2, 0x55);
    CHECK(bus.read(0x0d2) == 0x55);
    CHECK_THROWS_AS(bus.map(0x0c8, 1, uic0, "again"), Error);
    CHECK_THROWS_AS(bus.map(0x3ff, 2, uic0, "beyond"), Error);
    CHECK_THROWS_AS(bus.map(0x300, 0, uic0, "empty"), Error);
}

TEST_CASE("power switch answers its one value only") {
    unsigned pressed = 0;
    PowerSwitch power([&pressed] { ++pressed; });
    CHECK(power.read(0, 4) == 0);
    power.write(0, 4, 1);
    power.write(0, 2, PowerSwitch::power_off_value);
    CHECK(pressed == 0);
    power.write(0, 4, PowerSwitch::power_off_value);
    CHECK(pressed == 1);
}
