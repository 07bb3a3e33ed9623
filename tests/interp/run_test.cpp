// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "tests/interp/machine.h"

using namespace untrap::test;
namespace interp = untrap::interp;

namespace {

// Sums 1 to r3 into r4.
void put_loop(Machine& machine) {
    machine.write(0x1000, 4, word(Op::mtspr, 3, 9));         // mtctr r3
    machine.write(0x1004, 4, immediate(Op::addi, 4, 0, 0));  // li r4,0
    machine.write(0x1008, 4, word(Op::add, 4, 4, 3));        // add r4,r4,r3
    machine.write(0x100C, 4, immediate(Op::addi, 3, 3, -1)); // addi r3,r3,-1
    machine.write(0x1010, 4, immediate(Op::bc, 16, 0, -8));  // bdnz
    machine.write(0x1014, 4, 0x44000002);                    // sc
}

} // namespace

TEST_CASE("a loop runs to its system call") {
    Machine machine;
    put_loop(machine);
    machine.cpu.gpr[3] = 100;
    const Trap trap = interp::run(machine.cpu, machine, 100'000);
    CHECK(trap.kind == TrapKind::system_call);
    CHECK(trap.word == 0x44000002);
    CHECK(machine.cpu.gpr[4] == 5050);
    CHECK(machine.cpu.pc == 0x1014);
    CHECK(machine.cpu.retired == 302);
}

TEST_CASE("the budget is exact") {
    Machine whole, parts;
    put_loop(whole);
    put_loop(parts);
    whole.cpu.gpr[3] = parts.cpu.gpr[3] = 100;
    const Trap trap = interp::run(whole.cpu, whole, 77);
    CHECK(trap.kind == TrapKind::budget);
    CHECK(trap.word == 0);
    CHECK(whole.cpu.retired == 77);
    for (unsigned count = 0; count < 7; ++count) CHECK(interp::run(parts.cpu, parts, 11).kind == TrapKind::budget);
    CHECK(parts.cpu.pc == whole.cpu.pc);
    CHECK(parts.cpu.gpr == whole.cpu.gpr);
    CHECK(parts.cpu.ctr == whole.cpu.ctr);
    CHECK(interp::run(parts.cpu, parts, 0).kind == TrapKind::budget);
    CHECK(parts.cpu.retired == 77);
}

TEST_CASE("a fetch that fails is reported as the storage has it") {
    Machine machine;
    machine.cpu.pc = 0x5000;
    const Trap trap = interp::run(machine.cpu, machine, 10);
    CHECK(trap.kind == TrapKind::fetch_miss);
    CHECK(trap.word == 0);
    CHECK(machine.cpu.pc == 0x5000);
    CHECK(machine.cpu.retired == 0);
}

TEST_CASE("an illegal word") {
    Machine machine;
    machine.write(0x1000, 4, 0x60000000);
    const Trap trap = interp::run(machine.cpu, machine, 10); // followed by zeros
    CHECK(trap.kind == TrapKind::illegal);
    CHECK(trap.word == 0);
    CHECK(machine.cpu.pc == 0x1004);
    CHECK(machine.cpu.retired == 1);
}
