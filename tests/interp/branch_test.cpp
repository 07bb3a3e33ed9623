// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "tests/interp/machine.h"

using namespace untrap::test;
namespace isa = untrap::isa;

TEST_CASE("unconditional branches") {
    Machine machine;
    CHECK(machine.step(0x48000010).kind == TrapKind::none); // b .+16
    CHECK(machine.cpu.pc == 0x1010);
    CHECK(machine.cpu.lr == 0);
    CHECK(machine.step(0x4BFFFFF1).kind == TrapKind::none); // bl .-16
    CHECK(machine.cpu.pc == 0x1000);
    CHECK(machine.cpu.lr == 0x1014);
    CHECK(machine.step(0x4BFFFFFF).kind == TrapKind::none); // bla -4
    CHECK(machine.cpu.pc == 0xFFFFFFFC);
    CHECK(machine.cpu.lr == 0x1004);
    CHECK(machine.step(0x48000008).kind == TrapKind::none); // wraps
    CHECK(machine.cpu.pc == 4);
    CHECK(machine.cpu.retired == 4);
}

TEST_CASE("every BO, with CTR and condition either way") {
    for (unsigned bo = 0; bo < 32; ++bo)
        for (const std::uint32_t ctr : {0U, 1U, 2U})
            for (const bool condition : {false, true})
                for (const bool link : {false, true}) {
                    CAPTURE(bo, ctr, condition, link);
                    Machine machine;
                    machine.cpu.ctr = ctr;
                    machine.cpu.lr = 0x1803; // low bits are ignored
                    machine.cpu.set_cr_bit(9, condition);
                    const bool counts = (bo & 4) == 0;
                    const std::uint32_t left = counts ? ctr - 1 : ctr;
                    const bool ctr_ok = !counts || (left == 0) == ((bo & 2) != 0);
                    const bool cr_ok = (bo & 16) != 0 || condition == ((bo & 8) != 0);
                    const bool taken = ctr_ok && cr_ok;
                    CpuState before = machine.cpu;

                    CHECK(machine.step(word(Op::bc, bo, 9, 0, 0x40 | link)).kind == TrapKind::none);
                    CHECK(machine.cpu.pc == (taken ? 0x1040 : 0x1004));
                    CHECK(machine.cpu.ctr == left);
                    CHECK(machine.cpu.lr == (link ? 0x1004 : 0x1803));

                    machine.cpu = before;
                    CHECK(machine.step(word(Op::bclr, bo, 9, 0, link)).kind == TrapKind::none);
                    CHECK(machine.cpu.pc == (taken ? 0x1800 : 0x1004));
                    CHECK(machine.cpu.ctr == left);
                    CHECK(machine.cpu.lr == (link ? 0x1004 : 0x1803));

                    machine.cpu = before;
                    machine.cpu.ctr = 0x1402;
                    const Trap trap = machine.step(word(Op::bcctr, bo, 9, 0, link));
                    CHECK(machine.cpu.ctr == 0x1402);
                    if (counts) {
                        CHECK(trap.kind == TrapKind::illegal);
                        CHECK(machine.cpu.pc == 0x1000);
                        CHECK(machine.cpu.lr == 0x1803);
                    } else {
                        CHECK(trap.kind == TrapKind::none);
                        CHECK(machine.cpu.pc == (cr_ok ? 0x1400 : 0x1004));
                        CHECK(machine.cpu.lr == (link ? 0x1004 : 0x1803));
                    }
                }
}

TEST_CASE("absolute conditional branches") {
    Machine machine;
    CHECK(machine.step(word(Op::bc, 20, 0, 0, 0x8002)).kind == TrapKind::none);
    CHECK(machine.cpu.pc == 0xFFFF8000);
}

TEST_CASE("system call and traps leave everything as it was") {
    Machine machine;
    const Trap call = machine.step(0x44000002);
    CHECK(call.kind == TrapKind::system_call);
    CHECK(call.word == 0x44000002);
    CHECK(machine.cpu.pc == 0x1000);
    CHECK(machine.cpu.retired == 0);

    machine.cpu.gpr[4] = 0xFFFFFFFF;
    machine.cpu.gpr[5] = 1;
    struct Case {
        unsigned a, b;
        unsigned holds; // TO bits that make it trap
    };
    for (const Case& test : {Case{4, 5, 16 | 1}, Case{5, 4, 8 | 2}, Case{4, 4, 4}})
        for (unsigned to = 0; to < 32; ++to) {
            CAPTURE(test.a, test.b, to);
            Machine copy = machine;
            const Trap trap = copy.step(word(Op::tw, to, test.a, test.b));
            CHECK(trap.kind == ((to & test.holds) != 0 ? TrapKind::trap_condition : TrapKind::none));
            CHECK(copy.cpu.pc == ((to & test.holds) != 0 ? 0x1000 : 0x1004));
        }
    CHECK(machine.step(immediate(Op::twi, 4, 4, -1)).kind == TrapKind::trap_condition);
    CHECK(machine.completes(immediate(Op::twi, 31 & ~4U, 4, -1)));
}

TEST_CASE("condition register logic") {
    struct Case {
        Op op;
        unsigned truth; // results for (0,0) (0,1) (1,0) (1,1), first in bit 0
    };
    for (const Case& test : {Case{Op::crand, 8}, Case{Op::cror, 14}, Case{Op::crxor, 6}, Case{Op::crnand, 7},
                             Case{Op::crnor, 1}, Case{Op::creqv, 9}, Case{Op::crandc, 4}, Case{Op::crorc, 13}})
        for (unsigned inputs = 0; inputs < 4; ++inputs) {
            Machine machine;
            machine.cpu.set_cr(inputs % 2 != 0 ? 0xFFFFFFFF : 0);
            machine.cpu.set_cr_bit(5, (inputs & 2) != 0);
            machine.cpu.set_cr_bit(18, (inputs & 1) != 0);
            const std::uint32_t before = machine.cpu.cr();
            REQUIRE(machine.completes(word(test.op, 31, 5, 18)));
            const std::uint32_t expected = (before & ~1U) | (test.truth >> inputs & 1);
            CAPTURE(isa::instruction_table[static_cast<std::size_t>(test.op)].mnemonic, inputs);
            CHECK(machine.cpu.cr() == expected);
        }
}

TEST_CASE("condition register moves") {
    Machine machine;
    machine.cpu.set_cr(0x12345678);
    REQUIRE(machine.completes(word(Op::mfcr, 3, 0)));
    CHECK(machine.cpu.gpr[3] == 0x12345678);
    REQUIRE(machine.completes(word(Op::mcrf, 0 << 2, 7 << 2)));
    CHECK(machine.cpu.cr() == 0x82345678);
    machine.cpu.gpr[4] = 0xABCDEF09;
    REQUIRE(machine.completes(word(Op::mtcrf, 4, 0, 0, 0x81 << 12)));
    CHECK(machine.cpu.cr() == 0xA2345679);
    machine.cpu.set_xer(0xA0000055);
    REQUIRE(machine.completes(word(Op::mcrxr, 2 << 2, 0)));
    CHECK(machine.cpu.cr() == 0xA2A45679);
    CHECK(machine.cpu.xer() == 0x55);
}
