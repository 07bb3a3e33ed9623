// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "guest.h"
#include "runtime/interrupts.h"

using namespace untrap;
using isa::Interrupt;
using runtime::ExitReason;
using runtime::RunExit;
namespace msr = isa::msr;
namespace esr = isa::esr;

namespace {

// A handler that ends the run: its number is in r30.
void put_handlers(Guest& g) {
    for (std::uint32_t i = 0; i < isa::interrupt_count; ++i)
        g.put(Guest::vector(static_cast<Interrupt>(i)), {code::li(30, i), END_BY_RESET(31)});
}

std::uint32_t taken(const Guest& g) { return g.vcpu.state.gpr[30]; }

} // namespace

TEST_CASE("each class of interrupt keeps its own MSR bits") {
    for (std::uint32_t i = 0; i < isa::interrupt_count; ++i) {
        Guest g;
        const auto which = static_cast<Interrupt>(i);
        g.vcpu.set_msr(msr::defined);
        g.vcpu.state.reserve_valid = 1;
        runtime::interrupts::deliver(g.vcpu, which, 0x4444);
        const isa::StatePage& page = g.vcpu.state.page;
        const bool critical = which == Interrupt::critical_input || which == Interrupt::machine_check ||
                              which == Interrupt::watchdog || which == Interrupt::debug;
        CHECK(page.msr == (which == Interrupt::machine_check ? 0 : critical ? msr::me : msr::ce | msr::me | msr::de));
        CHECK((critical ? page.csrr0 : page.srr0) == 0x4444);
        CHECK((critical ? page.csrr1 : page.srr1) == msr::defined);
        CHECK((critical ? page.srr1 : page.csrr1) == 0);
        CHECK(g.vcpu.state.pc == Guest::vector(which));
        CHECK(g.vcpu.state.reserve_valid == 0);
    }
}

TEST_CASE("synchronous exceptions: vector, return address, ESR, DEAR") {
    struct Case {
        std::uint32_t word;
        std::uint32_t msr;
        Interrupt which;
        std::uint32_t esr;
        std::uint32_t return_offset;
        ExitReason reason;
    };
    const Case cases[] = {
        {code::illegal, 0, Interrupt::program, esr::pil, 0, ExitReason::usr_pr_inst},
        {code::trap, 0, Interrupt::program, esr::ptr, 0, ExitReason::usr_pr_inst},
        {code::mfmsr(3), msr::pr, Interrupt::program, esr::ppr, 0, ExitReason::usr_pr_inst},
        {code::mtspr(27, 3), msr::pr, Interrupt::program, esr::ppr, 0, ExitReason::usr_pr_inst},
        {code::sc, 0, Interrupt::system_call, 0x55, 4, ExitReason::syscall},
        {code::stfd(1, 0, 0), 0, Interrupt::fp_unavailable, 0x55, 0, ExitReason::fp_unavail},
        {code::mfspr(3, 999 | 16), 0, Interrupt::program, esr::pil, 0, ExitReason::emul_mfspr},
        {code::mtspr(287, 3), 0, Interrupt::program, esr::pil, 0, ExitReason::emul_mtspr}, // PVR
    };
    for (const Case& c : cases) {
        Guest g;
        put_handlers(g);
        g.map(1, 0, 0, 9, 0x3F);
        g.vcpu.set_tlb_entry(0, {});
        g.put(Guest::origin, {c.word});
        g.vcpu.set_msr(c.msr);
        g.vcpu.state.page.esr = 0x55;
        REQUIRE(g.finish());
        CHECK(taken(g) == static_cast<std::uint32_t>(c.which));
        CHECK(g.vcpu.state.page.esr == c.esr);
        CHECK(g.vcpu.state.page.srr0 == Guest::origin + c.return_offset);
        CHECK(g.vcpu.state.page.srr1 == c.msr);
        CHECK(g.exits(c.reason) == (c.reason == ExitReason::emul_mtspr ? 2 : 1)); // the handler's reset is one, too
    }
}

TEST_CASE("storage faults: DEAR and ESR") {
    Guest g;
    put_handlers(g);
    g.map(1, 0x20000000, 0x4000, 1, mmu::TlbEntry::sr);
    SECTION("data TLB miss of a load") {
        g.put(Guest::origin, {code::lis(5, 0x3000), code::lwz(4, 5, 8)});
        REQUIRE(g.finish());
        CHECK(taken(g) == static_cast<std::uint32_t>(Interrupt::data_tlb_error));
        CHECK(g.vcpu.state.page.dear == 0x30000008);
        CHECK(g.vcpu.state.page.esr == 0);
        CHECK(g.exits(ExitReason::dtlb_real) == 1);
    }
    SECTION("store that is not permitted") {
        g.put(Guest::origin, {code::lis(5, 0x2000), code::stw(4, 5, 16)});
        REQUIRE(g.finish());
        CHECK(taken(g) == static_cast<std::uint32_t>(Interrupt::data_storage));
        CHECK(g.vcpu.state.page.dear == 0x20000010);
        CHECK(g.vcpu.state.page.esr == esr::st);
        CHECK(g.vcpu.state.page.srr0 == Guest::origin + 4);
        CHECK(g.exits(ExitReason::dsi) == 1);
    }
    SECTION("floating-point store") {
        g.vcpu.set_msr(msr::fp);
        g.put(Guest::origin, {code::lis(5, 0x2000), code::stfd(4, 5, 16)});
        REQUIRE(g.finish());
        CHECK(g.vcpu.state.page.esr == (esr::st | esr::fp));
    }
    SECTION("instruction TLB miss") {
        g.put(Guest::origin, {code::lis(5, 0x3000), code::mtspr(26, 5), code::mtspr(27, 6), code::rfi});
        REQUIRE(g.finish());
        CHECK(taken(g) == static_cast<std::uint32_t>(Interrupt::instruction_tlb_error));
        CHECK(g.vcpu.state.page.srr0 == 0x30000000);
        CHECK(g.exits(ExitReason::itlb_real) == 1);
    }
    SECTION("fetch without permission") {
        g.put(Guest::origin, {code::lis(5, 0x2000), code::mtspr(26, 5), code::mtspr(27, 6), code::rfi});
        REQUIRE(g.finish());
        CHECK(taken(g) == static_cast<std::uint32_t>(Interrupt::instruction_storage));
        CHECK(g.exits(ExitReason::isi) == 1);
    }
    SECTION("fetch from where there is no memory") {
        g.vcpu.set_msr(msr::me);
        g.vcpu.state.pc = 0x00200000;
        REQUIRE(g.finish());
        CHECK(taken(g) == static_cast<std::uint32_t>(Interrupt::machine_check));
        CHECK(g.vcpu.state.page.csrr0 == 0x00200000);
        CHECK((g.vcpu.state.page.esr & esr::mci) != 0);
    }
}

TEST_CASE("a guest that cannot go on is found dead") {
    Guest g;
    SECTION("no handler can be reached") {
        g.vcpu.tlb.clear();
        g.engine.flush();
        CHECK(g.vcpu.run() == RunExit::dead);
        CHECK(g.vcpu.run() == RunExit::dead);
    }
    SECTION("fetch bus error with machine checks disabled") {
        g.vcpu.state.pc = 0x00200000;
        CHECK(g.vcpu.run() == RunExit::dead);
    }
    SECTION("waiting with all interrupts disabled") {
        g.put(Guest::origin, {code::lis(3, 4), code::mtmsr(3)});
        CHECK(g.vcpu.run() == RunExit::dead);
        CHECK(g.exits(ExitReason::emul_wait) == 1);
    }
    CHECK(g.vcpu.dead_reason()[0] != 0);
    CHECK(g.host.waits == 0);
}

TEST_CASE("asynchronous interrupts in order of priority") {
    Guest g;
    g.vcpu.state.tsr = isa::tsr::wis | isa::tsr::dis | isa::tsr::fis;
    g.vcpu.state.tcr = isa::tcr::wie | isa::tcr::die | isa::tcr::fie;
    g.vcpu.state.dbsr = isa::dbsr::icmp;
    g.vcpu.state.dbcr0 = isa::dbcr0::idm;
    g.vcpu.set_interrupt_line(true, true);
    g.vcpu.set_interrupt_line(false, true);
    g.vcpu.update_pending();
    CHECK(g.vcpu.state.page.pending == (isa::pending::external | isa::pending::critical | isa::pending::debug));
    const auto next = [&](std::uint32_t enabled) {
        g.vcpu.set_msr(enabled);
        Interrupt which = Interrupt::count;
        runtime::interrupts::next_pending(g.vcpu, which);
        return which;
    };
    CHECK(next(0) == Interrupt::count);
    CHECK(next(msr::de | msr::ce | msr::ee) == Interrupt::debug);
    CHECK(next(msr::ce | msr::ee) == Interrupt::critical_input);
    g.vcpu.set_interrupt_line(true, false);
    CHECK(next(msr::ce | msr::ee) == Interrupt::watchdog);
    CHECK(next(msr::ee) == Interrupt::external_input);
    g.vcpu.set_interrupt_line(false, false);
    CHECK(next(msr::ee) == Interrupt::fixed_interval_timer);
    g.vcpu.timers.clear_tsr(isa::tsr::fis);
    CHECK(next(msr::ee) == Interrupt::decrementer);
    g.vcpu.state.tcr = 0;
    CHECK(next(msr::ee) == Interrupt::count);
}

TEST_CASE("the decrementer interrupts at an exact instruction, whatever the slices") {
    Guest g;
    put_handlers(g);
    for (std::uint32_t a = Guest::origin; a < Guest::origin + 0x2000; a += 4) g.put(a, {code::nop});
    g.put(Guest::origin,
          {code::li(3, 1000), code::mtspr(22, 3), code::lis(4, 0x400), code::mtspr(340, 4), code::wrteei(1)});
    REQUIRE(g.finish());
    CHECK(taken(g) == static_cast<std::uint32_t>(Interrupt::decrementer));
    // mtdec is the second instruction: time 1. It runs out at time 1001, before the 1002nd instruction.
    CHECK(g.vcpu.state.page.srr0 == Guest::origin + 4 * 1001);
    CHECK(g.exits(ExitReason::dec) == 1);
    CHECK(g.exits(ExitReason::emul_wrtee) == 1);
    CHECK(g.exits(ExitReason::emul_mtspr) == 3); // the handler's reset is one
}

TEST_CASE("a wait is skipped under the guest clock and ends with the decrementer") {
    Guest g;
    put_handlers(g);
    g.put(Guest::origin, {code::lis(3, 100), code::mtspr(22, 3), code::lis(4, 0x400), code::mtspr(340, 4),
                          code::lis(5, 4), code::ori(5, 5, 0x8000), code::mtmsr(5), code::nop});
    REQUIRE(g.finish());
    CHECK(taken(g) == static_cast<std::uint32_t>(Interrupt::decrementer));
    CHECK(g.vcpu.state.page.srr0 == Guest::origin + 28);
    CHECK(g.vcpu.state.page.srr1 == (msr::we | msr::ee));
    CHECK(g.host.waits == 0);
    CHECK(g.vcpu.timers.now() >= 100U << 16);
    CHECK(g.exits(ExitReason::emul_wait) == 1);
}

TEST_CASE("a paced wait takes real time, and an early end counts what passed") {
    Guest g;
    put_handlers(g);
    g.vcpu.set_clock(runtime::Clock::guest, true);
    g.put(Guest::origin, {code::lis(5, 4), code::ori(5, 5, 0x8000), code::mtmsr(5), code::nop});
    g.host.context = &g.vcpu;
    g.host.on_wait = [](FakeHost& host) {
        host.time += 5000;
        static_cast<runtime::Vcpu*>(host.context)->pulse_external();
    };
    REQUIRE(g.finish());
    CHECK(taken(g) == static_cast<std::uint32_t>(Interrupt::external_input));
    CHECK(g.host.waits == 1);
    CHECK(g.vcpu.timers.now() >= 5000);
    CHECK_FALSE(g.vcpu.line(false)); // the pulse took itself back
    CHECK(g.exits(ExitReason::extint) == 1);
}

TEST_CASE("a stop request ends the run before the next instruction") {
    Guest g;
    g.put(Guest::origin, {code::b(0)});
    g.vcpu.request_stop();
    CHECK(g.vcpu.run() == RunExit::interrupted);
    CHECK(g.vcpu.state.retired == 0);
    CHECK(g.exits(ExitReason::signal) == 1);
}
