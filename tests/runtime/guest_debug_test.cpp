// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "guest.h"

using namespace untrap;
using runtime::DebugStop;
using runtime::ExitReason;
using runtime::GuestDebug;
using runtime::RunExit;
using Kind = DebugStop::Kind;
namespace dbcr0 = isa::dbcr0;
namespace msr = isa::msr;

namespace {

// Memory-mapped device at 0x20000000, r5.
struct Fixture : Guest {
    Fixture() {
        map(1, 0x20000000, 0x1EF600000, 1, 3);
        vcpu.state.gpr[5] = 0x20000000;
        vcpu.guest_debug.single_step = true;
    }
    // Runs up to the next stop, serving devices, and says where that is; 1: the guest ended.
    std::uint32_t next() {
        for (;;) {
            switch (vcpu.run()) {
            case RunExit::debug: CHECK(vcpu.debug_stop().address == stop_pc()); return vcpu.debug_stop().address;
            case RunExit::mmio: vcpu.complete_mmio(42); break;
            case RunExit::dcr: vcpu.complete_dcr(43); break;
            default: return 1;
            }
        }
    }
    std::uint32_t stop_pc() const {
        const Kind kind = vcpu.debug_stop().kind;
        const bool watched = kind == Kind::watched_load || kind == Kind::watched_store;
        return watched ? vcpu.debug_stop().address : vcpu.state.pc;
    }
};

} // namespace

TEST_CASE("a debugger's steps: whatever an instruction needs to complete, and then a stop") {
    Fixture f;
    f.put(Guest::origin, {code::li(3, 5), code::lwz(4, 5, 0), code::mfdcr(6, 0x12), code::mtspr(272, 3), code::sc});
    f.put(Guest::vector(isa::Interrupt::system_call), {code::mfspr(7, 272), code::illegal});
    f.put(Guest::vector(isa::Interrupt::program), {code::li(8, 8), END_BY_RESET(31)});
    for (std::uint32_t step = 1; step <= 4; ++step) CHECK(f.next() == Guest::origin + 4 * step);
    CHECK(f.vcpu.state.gpr[4] == 42);
    CHECK(f.vcpu.state.gpr[6] == 43);
    // What enters a handler stops at its first instruction.
    CHECK(f.next() == Guest::vector(isa::Interrupt::system_call));
    CHECK(f.next() == Guest::vector(isa::Interrupt::system_call) + 4);
    CHECK(f.vcpu.state.gpr[7] == 5);
    CHECK(f.next() == Guest::vector(isa::Interrupt::program));
    CHECK(f.vcpu.state.gpr[8] == 0);
    f.vcpu.guest_debug.single_step = false;
    CHECK(f.next() == 1);
    CHECK(f.vcpu.state.gpr[8] == 8);
    CHECK(f.vcpu.state.dbsr == isa::dbsr::mrr);
    CHECK(f.exits(ExitReason::debug) == 7);
}

TEST_CASE("a debugger's steps take no sequences") {
    Fixture f;
    f.patches->configure(0xE, 1);
    f.put(Guest::origin, {code::tlbwe(4, 3, 2), code::tlbwe(4, 3, 1), code::tlbwe(4, 3, 0), code::b(-12)});
    f.vcpu.state.gpr[3] = 9;
    for (std::uint32_t step = 1; step < 16; ++step) CHECK(f.next() == Guest::origin + 4 * (step % 4));
}

TEST_CASE("software breakpoints stop before the planted word, and only when asked for") {
    const bool user = GENERATE(false, true);
    Fixture f;
    f.vcpu.set_tlb_entry(0, {});
    f.map(0, 0, 0, 9, 0x3F);
    f.vcpu.guest_debug = {};
    f.vcpu.guest_debug.software_breakpoints = true;
    if (user) f.vcpu.set_msr(msr::pr);
    f.put(Guest::origin, {code::li(3, 5), GuestDebug::breakpoint_word, code::trap});
    f.put(Guest::vector(isa::Interrupt::program), {END_BY_RESET(31)});
    CHECK(f.next() == Guest::origin + 4);
    CHECK(f.vcpu.debug_stop().kind == Kind::software_breakpoint);
    CHECK(f.vcpu.state.gpr[3] == 5);
    CHECK(f.next() == Guest::origin + 4); // it stays
    f.put(Guest::origin + 4, {code::li(3, 6)});
    SECTION("a guest's own trap is the guest's") {
        CHECK(f.next() == 1);
        CHECK(f.vcpu.state.gpr[3] == 6);
        CHECK(f.vcpu.state.page.esr == isa::esr::ptr);
    }
    SECTION("without a debugger it is an illegal instruction") {
        f.put(Guest::origin + 4, {GuestDebug::breakpoint_word});
        f.vcpu.guest_debug.software_breakpoints = false;
        CHECK(f.next() == 1);
        CHECK(f.vcpu.state.page.srr0 == Guest::origin + 4);
        CHECK(f.vcpu.state.page.esr == isa::esr::pil);
    }
}

TEST_CASE("hardware breakpoints stop before the instruction") {
    Fixture f;
    f.vcpu.guest_debug = {};
    f.vcpu.guest_debug.breakpoint_count = 2;
    f.vcpu.guest_debug.breakpoints = {Guest::origin + 8, Guest::origin + 4};
    f.put(Guest::origin, {code::li(3, 1), code::li(3, 2), code::li(3, 3), END_BY_RESET(31)});
    CHECK(f.next() == Guest::origin + 4);
    CHECK(f.vcpu.debug_stop().kind == Kind::breakpoint);
    CHECK(f.vcpu.state.gpr[3] == 1);
    CHECK(f.next() == Guest::origin + 4); // it stays
    f.vcpu.guest_debug.breakpoint_count = 1;
    CHECK(f.next() == Guest::origin + 8);
    CHECK(f.vcpu.state.gpr[3] == 2);
    f.vcpu.guest_debug.breakpoint_count = 0;
    CHECK(f.next() == 1);
}

TEST_CASE("watchpoints stop before a load or store of their byte") {
    Fixture f;
    GuestDebug& debug = f.vcpu.guest_debug;
    debug = {};
    debug.watchpoint_count = 2;
    debug.watchpoints = {{{0x4003, true, false}, {0x5000, false, true}}};
    f.put(Guest::origin,
          {code::li(4, 0x4000), code::stw(3, 4, 0), code::lwz(3, 4, 4), code::lwz(3, 4, 0), code::li(4, 0x5000),
           code::lwz(3, 4, 0), code::stw(3, 4, -4 & 0xFFFF), code::stmw(30, 4, -4 & 0xFFFF),
           // a fault comes first
           code::lis(4, 0x3000), code::lwz(3, 4, 0)});
    f.put(Guest::vector(isa::Interrupt::data_tlb_error), {END_BY_RESET(31)});
    CHECK(f.next() == 0x4003);
    CHECK(f.vcpu.debug_stop().kind == Kind::watched_load);
    CHECK(f.vcpu.state.pc == Guest::origin + 12);
    debug.watchpoints[0] = {0x30000000, true, true};
    CHECK(f.next() == 0x5000);
    CHECK(f.vcpu.debug_stop().kind == Kind::watched_store);
    CHECK(f.vcpu.state.pc == Guest::origin + 28);
    CHECK(f.word(0x4FFC) == 0);
    debug.watchpoints[1] = {};
    CHECK(f.next() == 1);
    CHECK(f.vcpu.state.page.dear == 0x30000000);
}

TEST_CASE("the guest's own debug facility is as without a debugger on the host") {
    std::uint32_t csrr0 = 0, dbsr = 0;
    std::uint64_t retired = 0;
    for (const bool debugged : {false, true}) {
        Fixture f;
        f.vcpu.guest_debug = {};
        if (debugged) {
            f.vcpu.guest_debug.single_step = true;
            f.vcpu.guest_debug.breakpoint_count = 1;
            f.vcpu.guest_debug.breakpoints = {0x80000000};
        }
        f.vcpu.state.dbcr0 = dbcr0::idm | dbcr0::iac1 | dbcr0::brt;
        f.vcpu.state.iac[0] = Guest::origin + 8;
        f.vcpu.set_msr(msr::de | msr::me);
        f.put(Guest::origin, {code::li(3, 5), code::b(4), code::li(4, 6), code::li(4, 7)});
        // Counts its calls in r20 and goes on until the second, without branch events.
        f.put(Guest::vector(isa::Interrupt::debug),
              {code::addi(20, 20, 1), code::d_form(11, 0, 20, 2), code::beq(24), code::lis(21, 0x4080),
               code::mtspr(308, 21), code::lis(21, 0xFFFF), code::mtspr(304, 21), code::rfci, END_BY_RESET(31)});
        while (f.next() != 1) {
        }
        CHECK(f.vcpu.state.gpr[20] == 2);
        if (debugged) {
            CHECK(f.vcpu.state.page.csrr0 == csrr0);
            CHECK(f.vcpu.state.dbsr == dbsr);
            CHECK(f.vcpu.state.retired == retired);
        }
        csrr0 = f.vcpu.state.page.csrr0;
        dbsr = f.vcpu.state.dbsr;
        retired = f.vcpu.state.retired;
        CHECK(csrr0 == Guest::origin + 8);
    }
}
