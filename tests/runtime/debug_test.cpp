// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "guest.h"

using namespace untrap;
using runtime::ExitReason;
namespace dbcr0 = isa::dbcr0;
namespace msr = isa::msr;

namespace {

// The debug handler ends the run, so each test sees the first event.
struct Fixture : Guest {
    explicit Fixture(std::uint32_t events) {
        put(vector(isa::Interrupt::debug), {END_BY_RESET(31)});
        vcpu.state.dbcr0 = dbcr0::idm | events;
        vcpu.set_msr(msr::de | msr::me);
    }
    std::uint32_t stopped_at() const { return vcpu.state.page.csrr0; }
    std::uint32_t events() const { return vcpu.state.dbsr & ~isa::dbsr::mrr; }
};

} // namespace

TEST_CASE("instruction complete: after each instruction") {
    Fixture f(dbcr0::icmp);
    f.put(Guest::origin, {code::li(3, 5), code::li(4, 6)});
    REQUIRE(f.finish());
    CHECK(f.stopped_at() == Guest::origin + 4);
    CHECK(f.events() == isa::dbsr::icmp);
    CHECK(f.vcpu.state.page.csrr1 == (msr::de | msr::me));
    CHECK(f.vcpu.state.gpr[3] == 5);
    CHECK(f.vcpu.state.gpr[4] == 0);
    CHECK(f.exits(ExitReason::debug) == 1);
}

TEST_CASE("the rfi into a stepped program does not count") {
    Fixture f(dbcr0::icmp);
    f.map(1, 0, 0, 9, 0x3F);
    f.vcpu.set_tlb_entry(0, {});
    f.vcpu.set_msr(msr::me);
    f.vcpu.state.page.srr0 = 0x2000;
    f.vcpu.state.page.srr1 = msr::pr | msr::de | msr::ee;
    f.put(Guest::origin, {code::rfi});
    f.put(0x2000, {code::li(3, 1), code::li(4, 1)});
    REQUIRE(f.finish());
    CHECK(f.stopped_at() == 0x2004);
    CHECK(f.vcpu.state.page.csrr1 == (msr::pr | msr::de | msr::ee));
}

TEST_CASE("a stepped system call stops behind the handler's first instruction") {
    Fixture f(dbcr0::icmp);
    f.put(Guest::origin, {code::sc});
    f.put(Guest::vector(isa::Interrupt::system_call), {code::nop, code::nop});
    REQUIRE(f.finish());
    CHECK(f.stopped_at() == Guest::vector(isa::Interrupt::system_call) + 4);
    CHECK(f.vcpu.state.page.srr0 == Guest::origin + 4);
}

TEST_CASE("a stepped device access completes first") {
    Fixture f(dbcr0::icmp);
    f.map(1, 0x20000000, 0x1EF600000, 1, 3);
    f.vcpu.state.gpr[5] = 0x20000000;
    f.put(Guest::origin, {code::lwz(4, 5, 0), code::nop});
    REQUIRE(f.vcpu.run() == runtime::RunExit::mmio);
    f.vcpu.complete_mmio(42);
    REQUIRE(f.finish());
    CHECK(f.stopped_at() == Guest::origin + 4);
    CHECK(f.vcpu.state.gpr[4] == 42);
}

TEST_CASE("instruction address compare: before the instruction") {
    Fixture f(dbcr0::iac2);
    f.vcpu.state.iac[1] = Guest::origin + 8;
    f.put(Guest::origin, {code::li(3, 1), code::li(3, 2), code::li(3, 3), code::b(0)});
    REQUIRE(f.finish());
    CHECK(f.stopped_at() == Guest::origin + 8);
    CHECK(f.events() == isa::dbsr::iac2);
    CHECK(f.vcpu.state.gpr[3] == 2);
}

TEST_CASE("instruction address range, inside and outside") {
    Fixture f(dbcr0::iac1);
    f.vcpu.state.iac[0] = Guest::origin + 4;
    f.vcpu.state.iac[1] = Guest::origin + 8;
    f.put(Guest::origin, {code::nop, code::nop, code::nop, code::b(0)});
    SECTION("inside") {
        f.vcpu.state.dbcr1 = 0x00800000;
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::origin + 4);
    }
    SECTION("outside") {
        f.vcpu.state.dbcr1 = 0x00C00000;
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::origin);
    }
    SECTION("user mode only: never here") {
        f.vcpu.state.dbcr1 = 0xC0800000;
        f.put(Guest::origin + 12, {END_BY_RESET(30)});
        REQUIRE(f.finish());
        CHECK(f.events() == 0);
    }
}

TEST_CASE("data address compare: the access does not happen") {
    Fixture f(dbcr0::dac1w | dbcr0::dac2r);
    f.vcpu.state.gpr[5] = 0x8000;
    f.vcpu.state.gpr[3] = 7;
    SECTION("any byte of a store") {
        f.vcpu.state.dac[0] = 0x8012;
        f.put(Guest::origin, {code::lwz(4, 5, 0x10), code::stw(3, 5, 0x10)});
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::origin + 4);
        CHECK(f.events() == isa::dbsr::dac1w);
        CHECK(f.word(0x8010) == 0);
    }
    SECTION("a load, also one of many words") {
        f.vcpu.state.dac[1] = 0x8000 + 4 * 10;
        f.put(Guest::origin, {code::stw(3, 5, 40), code::lmw(20, 5, 4)});
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::origin + 4);
        CHECK(f.events() == isa::dbsr::dac2r);
    }
    SECTION("a range") {
        f.vcpu.state.dbcr2 = 0x00800000;
        f.vcpu.state.dac[0] = 0x8100;
        f.vcpu.state.dac[1] = 0x8200;
        f.put(Guest::origin, {code::stw(3, 5, 0xFC), code::stw(3, 5, 0x200), code::stw(3, 5, 0x1FC)});
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::origin + 8);
    }
    SECTION("an access that misses the TLB misses first") {
        f.vcpu.state.dac[0] = 0x30000000;
        f.put(Guest::origin, {code::lis(5, 0x3000), code::stw(3, 5, 0)});
        f.put(Guest::vector(isa::Interrupt::data_tlb_error), {END_BY_RESET(30)});
        REQUIRE(f.finish());
        CHECK(f.events() == 0);
    }
}

TEST_CASE("branch taken and trap events: before the instruction") {
    Fixture f(dbcr0::brt | dbcr0::trap);
    SECTION("branch") {
        f.vcpu.state.set_cr(0);
        f.put(Guest::origin, {code::beq(0x100), code::b(0x40)});
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::origin + 4);
        CHECK(f.events() == isa::dbsr::brt);
    }
    SECTION("trap") {
        f.put(Guest::origin, {code::nop, code::trap});
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::origin + 4);
        CHECK(f.events() == isa::dbsr::trap);
        CHECK(f.vcpu.state.page.srr0 == 0);
    }
}

TEST_CASE("interrupt and return events") {
    SECTION("interrupt") {
        Fixture f(dbcr0::irpt);
        f.put(Guest::origin, {code::sc});
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::vector(isa::Interrupt::system_call));
        CHECK(f.events() == isa::dbsr::irpt);
    }
    SECTION("return") {
        Fixture f(dbcr0::ret);
        f.put(Guest::origin, {code::nop, code::rfi});
        REQUIRE(f.finish());
        CHECK(f.stopped_at() == Guest::origin + 4);
        CHECK(f.events() == isa::dbsr::ret);
    }
}

TEST_CASE("nothing happens without MSR[DE] or internal debug mode") {
    Fixture f(dbcr0::icmp);
    f.put(Guest::origin, {code::nop, END_BY_RESET(30)});
    SECTION("DE clear") { f.vcpu.set_msr(0); }
    SECTION("IDM clear") { f.vcpu.state.dbcr0 = dbcr0::icmp; }
    REQUIRE(f.finish());
    CHECK(f.events() == 0);
}

TEST_CASE("an event left in DBSR interrupts when DE is set") {
    Fixture f(0);
    f.vcpu.state.dbsr = isa::dbsr::icmp;
    f.vcpu.set_msr(0);
    f.put(Guest::origin, {code::li(3, 0x200), code::mtmsr(3), code::nop});
    REQUIRE(f.finish());
    CHECK(f.stopped_at() == Guest::origin + 8);
}
