// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "guest.h"

using namespace untrap;
using runtime::Clock;
using runtime::Timers;

namespace {

struct Fixture {
    isa::CpuState state;
    FakeHost host;
    Timers timers{state, host};
    Fixture() { timers.set_clock(Clock::guest); }
    void pass(std::uint64_t ticks) {
        timers.skip(ticks);
        timers.advance();
    }
};

} // namespace

TEST_CASE("the decrementer runs out exactly, once") {
    Fixture f;
    f.state.tcr = isa::tcr::die;
    f.timers.write_dec(100);
    CHECK(f.timers.next_deadline() == f.timers.now() + 100);
    f.pass(99);
    CHECK(f.timers.dec() == 1);
    CHECK(f.state.tsr == 0);
    f.pass(1);
    CHECK(f.timers.dec() == 0);
    CHECK(f.state.tsr == isa::tsr::dis);
    f.timers.clear_tsr(isa::tsr::dis);
    f.pass(1'000'000);
    CHECK((f.state.tsr & isa::tsr::dis) == 0);
    CHECK(f.timers.dec() == 0);
    CHECK(f.timers.next_deadline() == Timers::never);
}

TEST_CASE("writing zero to the decrementer is no event") {
    Fixture f;
    f.timers.write_dec(5);
    f.timers.write_dec(0);
    f.pass(10);
    CHECK(f.state.tsr == 0);
}

TEST_CASE("auto-reload takes DECAR, over several periods too") {
    Fixture f;
    f.timers.write_decar(10);
    f.timers.write_tcr(isa::tcr::are | isa::tcr::die);
    f.timers.write_dec(4);
    f.pass(4);
    CHECK(f.state.tsr == isa::tsr::dis);
    CHECK(f.timers.dec() == 10);
    f.pass(3);
    CHECK(f.timers.dec() == 7);
    f.pass(1'000'000'000'007);
    CHECK(f.timers.dec() == 10);
    f.timers.clear_tsr(isa::tsr::dis);
    CHECK(f.timers.next_deadline() == f.timers.now() + 10);
}

TEST_CASE("the fixed-interval timer has its four periods") {
    for (unsigned fp = 0; fp < 4; ++fp) {
        Fixture f;
        f.timers.set_timebase(0);
        f.timers.write_tcr(fp << 24 | isa::tcr::fie);
        const std::uint64_t period = std::uint64_t{1} << (13 + 4 * fp);
        CHECK(f.timers.next_deadline() == f.timers.now() + period / 2);
        f.pass(period / 2 - 1);
        CHECK((f.state.tsr & isa::tsr::fis) == 0);
        f.pass(1);
        CHECK((f.state.tsr & isa::tsr::fis) != 0);
        f.timers.clear_tsr(isa::tsr::fis);
        CHECK(f.timers.next_deadline() == f.timers.now() + period);
        f.pass(period - 1);
        CHECK((f.state.tsr & isa::tsr::fis) == 0);
        f.pass(1);
        CHECK((f.state.tsr & isa::tsr::fis) != 0);
    }
}

TEST_CASE("software that sets the timebase bit causes the event as well") {
    Fixture f;
    f.timers.set_timebase(0);
    f.timers.write_tbl(0x1000);
    CHECK((f.state.tsr & isa::tsr::fis) != 0);
}

TEST_CASE("watchdog: enabled next, interrupt, reset") {
    Fixture f;
    f.timers.set_timebase(0);
    f.timers.write_tcr(0x20000000 | isa::tcr::wie); // WRC = 2
    const std::uint64_t period = 1 << 21;
    f.pass(period / 2);
    CHECK(f.state.tsr == (isa::tsr::enw | isa::tsr::fis));
    f.timers.clear_tsr(isa::tsr::fis);
    f.pass(period - 1);
    CHECK((f.state.tsr & isa::tsr::wis) == 0);
    f.pass(1);
    CHECK((f.state.tsr & isa::tsr::wis) != 0);
    CHECK(f.timers.watchdog_reset() == 0);
    CHECK(f.timers.next_deadline() == f.timers.now() + period);
    f.pass(period);
    CHECK(f.timers.watchdog_reset() == 2);
    CHECK((f.state.tsr & isa::tsr::wrs) == 0x20000000);
}

TEST_CASE("the watchdog's reset control cannot be taken back by software") {
    Fixture f;
    f.timers.write_tcr(0x10000000);
    f.timers.write_tcr(0);
    CHECK(f.state.tcr == 0x10000000);
    f.timers.set_tcr(0);
    CHECK(f.state.tcr == 0);
}

TEST_CASE("timebase: 64 bits, halves written alone, running on") {
    Fixture f;
    f.timers.set_timebase(0x00000001FFFFFFFF);
    f.pass(1);
    CHECK(f.timers.timebase() == 0x0000000200000000);
    f.timers.write_tbu(7);
    CHECK(f.timers.timebase() == 0x0000000700000000);
    f.timers.write_tbl(9);
    f.state.retired += 3; // instructions are time
    CHECK(f.timers.timebase() == 0x000000070000000C);
}

TEST_CASE("a change of clock does not make time jump") {
    Fixture f;
    f.timers.set_timebase(500);
    f.timers.set_clock(Clock::host);
    CHECK(f.timers.timebase() == 500);
    f.host.time += 20;
    CHECK(f.timers.timebase() == 520);
    f.timers.set_clock(Clock::guest);
    CHECK(f.timers.timebase() == 520);
}

TEST_CASE("frozen timers stand still") {
    Fixture f;
    f.state.tcr = isa::tcr::die;
    f.timers.write_dec(10);
    f.pass(4);
    f.timers.freeze(true);
    f.pass(100);
    CHECK(f.timers.dec() == 6);
    CHECK(f.timers.next_deadline() == Timers::never);
    f.timers.freeze(false);
    CHECK(f.timers.dec() == 6);
    CHECK(f.timers.next_deadline() == f.timers.now() + 6);
}
