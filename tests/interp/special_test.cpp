// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "tests/interp/machine.h"

using namespace untrap::test;
namespace isa = untrap::isa;
namespace spr = untrap::isa::spr;

namespace {

std::uint32_t move(Op op, unsigned gpr, unsigned number) { return word(op, gpr, number & 31, number >> 5); }

} // namespace

TEST_CASE("special registers of problem state") {
    Machine machine;
    machine.cpu.gpr[4] = 0xFFFFFFFF;
    REQUIRE(machine.completes(move(Op::mtspr, 4, spr::xer)));
    REQUIRE(machine.completes(move(Op::mfspr, 3, spr::xer)));
    CHECK(machine.cpu.gpr[3] == 0xE000007F); // what is not there reads as zero
    machine.cpu.gpr[4] = 0x12345677;
    REQUIRE(machine.completes(move(Op::mtspr, 4, spr::lr)));
    CHECK(machine.cpu.lr == 0x12345677);
    REQUIRE(machine.completes(move(Op::mtspr, 4, spr::ctr)));
    CHECK(machine.cpu.ctr == 0x12345677);
    REQUIRE(machine.completes(move(Op::mtspr, 4, spr::usprg0)));
    machine.cpu.lr = 1;
    machine.cpu.ctr = 2;
    REQUIRE(machine.completes(move(Op::mfspr, 3, spr::lr)));
    CHECK(machine.cpu.gpr[3] == 1);
    REQUIRE(machine.completes(move(Op::mfspr, 3, spr::ctr)));
    CHECK(machine.cpu.gpr[3] == 2);
    REQUIRE(machine.completes(move(Op::mfspr, 3, spr::usprg0)));
    CHECK(machine.cpu.gpr[3] == 0x12345677);
    for (unsigned number = 4; number < 8; ++number) {
        machine.cpu.page.sprg[number] = 0x100 + number;
        REQUIRE(machine.completes(move(Op::mfspr, 3, 256 + number)));
        CHECK(machine.cpu.gpr[3] == 0x100 + number);
        CHECK(machine.step(move(Op::mtspr, 3, 256 + number)).kind == TrapKind::illegal);
    }
}

TEST_CASE("timebase") {
    Machine machine;
    machine.time = 0x0123456789ABCDEF;
    for (const Op op : {Op::mfspr, Op::mftb}) {
        REQUIRE(machine.completes(move(op, 3, spr::tbl_read)));
        CHECK(machine.cpu.gpr[3] == 0x89ABCDEF);
        REQUIRE(machine.completes(move(op, 3, spr::tbu_read)));
        CHECK(machine.cpu.gpr[3] == 0x01234567);
    }
    CHECK(machine.step(move(Op::mftb, 3, spr::lr)).kind == TrapKind::illegal);
    CHECK(machine.step(move(Op::mtspr, 3, spr::tbl_read)).kind == TrapKind::illegal);
}

TEST_CASE("other special registers are privileged or illegal by their number") {
    const auto readable = [](unsigned number) {
        return number == spr::xer || number == spr::lr || number == spr::ctr || number == spr::usprg0 ||
               (number >= 260 && number <= 263) || number == spr::tbl_read || number == spr::tbu_read;
    };
    const auto writable = [](unsigned number) {
        return number == spr::xer || number == spr::lr || number == spr::ctr || number == spr::usprg0;
    };
    for (unsigned number = 0; number < 1024; ++number)
        for (const bool problem_state : {false, true}) {
            CAPTURE(number, problem_state);
            Machine machine;
            machine.cpu.page.msr = problem_state ? isa::msr::pr : 0;
            machine.cpu.gpr[3] = 0xDEAD;
            const TrapKind otherwise = (number & 16) != 0 ? TrapKind::privileged : TrapKind::illegal;
            const Trap read = machine.step(move(Op::mfspr, 3, number));
            CHECK(read.kind == (readable(number) ? TrapKind::none : otherwise));
            if (read.kind != TrapKind::none) {
                CHECK(read.word == move(Op::mfspr, 3, number));
                CHECK(machine.cpu.gpr[3] == 0xDEAD);
            }
            CHECK(machine.step(move(Op::mtspr, 3, number)).kind == (writable(number) ? TrapKind::none : otherwise));
        }
}

TEST_CASE("privileged instructions are left to the runtime, in either state") {
    unsigned rows = 0;
    for (std::size_t row = 0; row < isa::op_count; ++row) {
        const isa::InstructionInfo& info = isa::instruction_table[row];
        if ((info.flags & isa::flag::priv) == 0) continue;
        ++rows;
        for (const std::uint32_t msr : {0U, isa::msr::pr}) {
            CAPTURE(info.mnemonic);
            Machine machine;
            machine.cpu.page.msr = msr;
            const Trap trap = machine.step(info.match | 3 << 21);
            CHECK(trap.kind == TrapKind::privileged);
            CHECK(trap.word == (info.match | 3 << 21));
            CHECK(machine.cpu.pc == 0x1000);
            CHECK(machine.cpu.retired == 0);
            CHECK(machine.accesses == 0);
        }
    }
    CHECK(rows == 18);
}

TEST_CASE("synchronisation changes nothing") {
    Machine machine;
    for (const Op op : {Op::isync, Op::msync, Op::mbar}) REQUIRE(machine.completes(word(op, 0, 0)));
    CHECK(machine.accesses == 0);
}
