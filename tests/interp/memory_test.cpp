// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "tests/interp/machine.h"

using namespace untrap::test;
namespace isa = untrap::isa;

namespace {

struct Access {
    Op op;
    unsigned size;
    std::uint32_t memory, reg; // as in memory, as in the register
    bool update;
};

constexpr Access loads[] = {
    {Op::lbz, 1, 0x89, 0x89, false},
    {Op::lbzu, 1, 0x89, 0x89, true},
    {Op::lbzx, 1, 0x89, 0x89, false},
    {Op::lbzux, 1, 0x89, 0x89, true},
    {Op::lhz, 2, 0x89AB, 0x89AB, false},
    {Op::lhzu, 2, 0x89AB, 0x89AB, true},
    {Op::lhzx, 2, 0x89AB, 0x89AB, false},
    {Op::lhzux, 2, 0x89AB, 0x89AB, true},
    {Op::lha, 2, 0x89AB, 0xFFFF89AB, false},
    {Op::lhau, 2, 0x89AB, 0xFFFF89AB, true},
    {Op::lhax, 2, 0x79AB, 0x79AB, false},
    {Op::lhaux, 2, 0x89AB, 0xFFFF89AB, true},
    {Op::lhbrx, 2, 0x89AB, 0xAB89, false},
    {Op::lwz, 4, 0x89ABCDEF, 0x89ABCDEF, false},
    {Op::lwzu, 4, 0x89ABCDEF, 0x89ABCDEF, true},
    {Op::lwzx, 4, 0x89ABCDEF, 0x89ABCDEF, false},
    {Op::lwzux, 4, 0x89ABCDEF, 0x89ABCDEF, true},
    {Op::lwbrx, 4, 0x89ABCDEF, 0xEFCDAB89, false},
};
constexpr Access stores[] = {
    {Op::stb, 1, 0xEF, 0x89ABCDEF, false},        {Op::stbu, 1, 0xEF, 0x89ABCDEF, true},
    {Op::stbx, 1, 0xEF, 0x89ABCDEF, false},       {Op::stbux, 1, 0xEF, 0x89ABCDEF, true},
    {Op::sth, 2, 0xCDEF, 0x89ABCDEF, false},      {Op::sthu, 2, 0xCDEF, 0x89ABCDEF, true},
    {Op::sthx, 2, 0xCDEF, 0x89ABCDEF, false},     {Op::sthux, 2, 0xCDEF, 0x89ABCDEF, true},
    {Op::sthbrx, 2, 0xEFCD, 0x89ABCDEF, false},   {Op::stw, 4, 0x89ABCDEF, 0x89ABCDEF, false},
    {Op::stwu, 4, 0x89ABCDEF, 0x89ABCDEF, true},  {Op::stwx, 4, 0x89ABCDEF, 0x89ABCDEF, false},
    {Op::stwux, 4, 0x89ABCDEF, 0x89ABCDEF, true}, {Op::stwbrx, 4, 0xEFCDAB89, 0x89ABCDEF, false},
};

bool indexed(Op op) { return isa::instruction_table[static_cast<std::size_t>(op)].form == isa::Form::x_mem; }

// op r3,-3(r4) or op r3,r4,r5 with r5 = -3.
std::uint32_t access_word(Op op, unsigned rt, unsigned ra) {
    return indexed(op) ? word(op, rt, ra, 5) : immediate(op, rt, ra, -3);
}

} // namespace

TEST_CASE("loads, aligned or not") {
    for (const Access& access : loads)
        for (std::uint32_t base = 0x1103; base < 0x1107; ++base) {
            CAPTURE(isa::instruction_table[static_cast<std::size_t>(access.op)].mnemonic, base);
            Machine machine;
            machine.cpu.gpr[3] = 0x55555555;
            machine.cpu.gpr[4] = base;
            machine.cpu.gpr[5] = 0xFFFFFFFD;
            machine.write(base - 3, access.size, access.memory);
            REQUIRE(machine.completes(access_word(access.op, 3, 4)));
            CHECK(machine.cpu.gpr[3] == access.reg);
            CHECK(machine.cpu.gpr[4] == (access.update ? base - 3 : base));
            CHECK(machine.accesses == 1);
        }
}

TEST_CASE("stores, aligned or not") {
    for (const Access& access : stores)
        for (std::uint32_t base = 0x1103; base < 0x1107; ++base) {
            CAPTURE(isa::instruction_table[static_cast<std::size_t>(access.op)].mnemonic, base);
            Machine machine;
            machine.memory.fill(0x77);
            machine.cpu.gpr[3] = access.reg;
            machine.cpu.gpr[4] = base;
            machine.cpu.gpr[5] = 0xFFFFFFFD;
            REQUIRE(machine.completes(access_word(access.op, 3, 4)));
            CHECK(machine.read(base - 3, access.size) == access.memory);
            CHECK(machine.read(base - 4, 1) == 0x77);
            CHECK(machine.read(base - 3 + access.size, 1) == 0x77);
            CHECK(machine.cpu.gpr[4] == (access.update ? base - 3 : base));
        }
}

TEST_CASE("a store with update may store its own base, as it was") {
    Machine machine;
    machine.cpu.gpr[1] = 0x1100;
    REQUIRE(machine.completes(immediate(Op::stwu, 1, 1, -16)));
    CHECK(machine.cpu.gpr[1] == 0x10F0);
    CHECK(machine.read(0x10F0, 4) == 0x1100);
}

TEST_CASE("RA = 0 is no register") {
    Machine machine;
    machine.cpu.gpr[0] = 0x9999;
    machine.cpu.gpr[5] = 0x1100;
    machine.write(0x1100, 4, 0x1234);
    REQUIRE(machine.completes(immediate(Op::lwz, 3, 0, 0x1100)));
    CHECK(machine.cpu.gpr[3] == 0x1234);
    REQUIRE(machine.completes(word(Op::lwzx, 4, 0, 5)));
    CHECK(machine.cpu.gpr[4] == 0x1234);
}

TEST_CASE("a fault leaves every register as it was") {
    const auto check = [](const Access& access, bool is_store, std::uint32_t base, TrapKind kind) {
        CAPTURE(isa::instruction_table[static_cast<std::size_t>(access.op)].mnemonic, base);
        Machine machine;
        machine.cpu.gpr[3] = 0x55555555;
        machine.cpu.gpr[4] = base;
        machine.cpu.gpr[5] = 0xFFFFFFFD;
        const auto registers = machine.cpu.gpr;
        const Trap trap = machine.step(access_word(access.op, 3, 4));
        CHECK(trap.kind == kind);
        CHECK(trap.ea == base - 3);
        CHECK(trap.is_store == is_store);
        CHECK(trap.word == access_word(access.op, 3, 4));
        CHECK(machine.cpu.gpr == registers);
        CHECK(machine.cpu.pc == 0x1000);
        CHECK(machine.cpu.retired == 0);
    };
    for (const Access& access : loads) check(access, false, 0x8003, TrapKind::data_miss);
    for (const Access& access : stores) {
        check(access, true, 0x8003, TrapKind::data_miss);
        check(access, true, 0x1C03, TrapKind::data_denied);
    }
}

TEST_CASE("invalid forms with update are illegal") {
    for (const Access& access : loads) {
        if (!access.update) continue;
        Machine machine;
        machine.cpu.gpr[3] = machine.cpu.gpr[4] = 0x1103;
        machine.cpu.gpr[5] = 0xFFFFFFFD;
        CHECK(machine.step(access_word(access.op, 3, 0)).kind == TrapKind::illegal);
        CHECK(machine.step(access_word(access.op, 3, 3)).kind == TrapKind::illegal);
        CHECK(machine.accesses == 0);
        CHECK(machine.step(access_word(access.op, 3, 4)).kind == TrapKind::none);
    }
    for (const Access& access : stores) {
        if (!access.update) continue;
        Machine machine;
        CHECK(machine.step(access_word(access.op, 3, 0)).kind == TrapKind::illegal);
        CHECK(machine.accesses == 0);
    }
}

TEST_CASE("lmw and stmw") {
    Machine machine;
    for (unsigned number = 0; number < 32; ++number) machine.cpu.gpr[number] = 0x01010101 * number;
    machine.cpu.gpr[4] = 0x1101; // unaligned is fine
    REQUIRE(machine.completes(immediate(Op::stmw, 28, 4, 2)));
    for (unsigned number = 28; number < 32; ++number)
        CHECK(machine.read(0x1103 + 4 * (number - 28), 4) == 0x01010101 * number);
    for (unsigned number = 20; number < 32; ++number) machine.cpu.gpr[number] = 0;
    REQUIRE(machine.completes(immediate(Op::lmw, 28, 4, 2)));
    for (unsigned number = 20; number < 32; ++number)
        CHECK(machine.cpu.gpr[number] == (number < 28 ? 0 : 0x01010101 * number));

    // The base among the registers: loaded too, but only when nothing can fault any more.
    machine.cpu.gpr[30] = 0x1103;
    REQUIRE(machine.completes(immediate(Op::lmw, 28, 30, 0)));
    CHECK(machine.cpu.gpr[30] == 0x1E1E1E1E);
    machine.cpu.gpr[28] = 0x1FF8;
    const Trap trap = machine.step(immediate(Op::lmw, 28, 28, 0));
    CHECK(trap.kind == TrapKind::data_miss);
    CHECK(trap.ea == 0x2000);
    CHECK(machine.cpu.gpr[28] == 0x1FF8);
}

TEST_CASE("string loads and stores") {
    Machine machine;
    for (unsigned byte = 0; byte < 64; ++byte) machine.write(0x1100 + byte, 1, byte + 1);
    machine.cpu.gpr[4] = 0x1101;
    machine.cpu.gpr[6] = machine.cpu.gpr[7] = machine.cpu.gpr[8] = 0xFFFFFFFF;
    REQUIRE(machine.completes(word(Op::lswi, 6, 4, 6)));
    CHECK(machine.cpu.gpr[6] == 0x02030405);
    CHECK(machine.cpu.gpr[7] == 0x06070000); // what is left of the last register is zero
    CHECK(machine.cpu.gpr[8] == 0xFFFFFFFF);
    REQUIRE(machine.completes(word(Op::stswi, 6, 0, 0)) == false); // 32 bytes at address 0

    machine.cpu.gpr[5] = 0x10;
    machine.cpu.xer_count = 9;
    REQUIRE(machine.completes(word(Op::lswx, 30, 4, 5))); // r30, r31, r0
    CHECK(machine.cpu.gpr[30] == 0x12131415);
    CHECK(machine.cpu.gpr[31] == 0x16171819);
    CHECK(machine.cpu.gpr[0] == 0x1A000000);
    machine.memory.fill(0x77);
    REQUIRE(machine.completes(word(Op::stswx, 30, 4, 5)));
    CHECK(machine.read(0x1110, 8) == 0x7712131415161718);
    CHECK(machine.read(0x1118, 4) == 0x191A7777);

    machine.cpu.xer_count = 0;
    machine.accesses = 0;
    machine.cpu.gpr[5] = 0; // would miss
    const auto registers = machine.cpu.gpr;
    REQUIRE(machine.completes(word(Op::lswx, 30, 0, 5)));
    REQUIRE(machine.completes(word(Op::stswx, 30, 0, 5)));
    CHECK(machine.cpu.gpr == registers);
    CHECK(machine.accesses == 0);

    REQUIRE(machine.completes(word(Op::lswi, 8, 4, 0))); // NB = 0 is 32
    CHECK(machine.accesses == 32);
    machine.cpu.xer_count = 127;
    machine.cpu.gpr[4] = 0x1200;
    for (unsigned byte = 0; byte < 128; ++byte) machine.write(0x1200 + byte, 1, byte);
    REQUIRE(machine.completes(word(Op::lswx, 31, 0, 4))); // nearly all registers, base included
    CHECK(machine.cpu.gpr[31] == 0x00010203);
    CHECK(machine.cpu.gpr[4] == 0x14151617);
    CHECK(machine.cpu.gpr[30] == 0x7C7D7E00);
}

TEST_CASE("a string access that faults keeps its address registers") {
    Machine machine;
    machine.cpu.gpr[6] = 0x1FFB;
    machine.cpu.gpr[7] = 4;
    machine.cpu.xer_count = 8;
    const Trap trap = machine.step(word(Op::lswx, 6, 6, 7));
    CHECK(trap.kind == TrapKind::data_miss);
    CHECK(trap.ea == 0x2000);
    CHECK_FALSE(trap.is_store);
    CHECK(machine.cpu.gpr[6] == 0x1FFB);
    CHECK(machine.cpu.gpr[7] == 4);
    CHECK(machine.cpu.pc == 0x1000);
    machine.cpu.gpr[6] = 0x1BFE;
    const Trap store = machine.step(word(Op::stswi, 6, 6, 8));
    CHECK(store.kind == TrapKind::data_denied);
    CHECK(store.ea == 0x1C00);
    CHECK(store.is_store);
}

TEST_CASE("reservations") {
    Machine machine;
    machine.cpu.gpr[4] = 0x1100;
    machine.cpu.gpr[5] = 0x1104;
    machine.cpu.gpr[6] = 0xABCD;
    machine.write(0x1100, 4, 0x1234);
    // Without one nothing is stored.
    REQUIRE(machine.completes(word(Op::stwcx_rc, 6, 0, 4)));
    CHECK(machine.cr_field(0) == 0);
    CHECK(machine.read(0x1100, 4) == 0x1234);
    CHECK(machine.accesses == 0);
    // With one it is, once.
    REQUIRE(machine.completes(word(Op::lwarx, 3, 0, 4)));
    CHECK(machine.cpu.gpr[3] == 0x1234);
    machine.cpu.xer_so = 1;
    REQUIRE(machine.completes(word(Op::stwcx_rc, 6, 0, 4)));
    CHECK(machine.cr_field(0) == (isa::cr::eq | isa::cr::so));
    CHECK(machine.read(0x1100, 4) == 0xABCD);
    REQUIRE(machine.completes(word(Op::stwcx_rc, 3, 0, 4)));
    CHECK(machine.cr_field(0) == isa::cr::so);
    CHECK(machine.read(0x1100, 4) == 0xABCD);
    // For another address it is lost.
    REQUIRE(machine.completes(word(Op::lwarx, 3, 0, 4)));
    REQUIRE(machine.completes(word(Op::stwcx_rc, 6, 0, 5)));
    CHECK(machine.cr_field(0) == isa::cr::so);
    CHECK(machine.read(0x1104, 4) == 0);
    CHECK(machine.cpu.reserve_valid == 0);
}

TEST_CASE("reservations and faults") {
    Machine machine;
    machine.cpu.gpr[4] = 0x1C00;
    machine.cpu.gpr[5] = 0x1102;
    REQUIRE(machine.completes(word(Op::lwarx, 3, 0, 4)));
    machine.cpu.set_cr(0x5A5A5A5A);
    CHECK(machine.step(word(Op::stwcx_rc, 6, 0, 4)).kind == TrapKind::data_denied);
    CHECK(machine.cpu.reserve_valid == 1);
    CHECK(machine.cpu.cr() == 0x5A5A5A5A);
    for (const Op op : {Op::lwarx, Op::stwcx_rc}) {
        machine.accesses = 0;
        const Trap trap = machine.step(word(op, 6, 0, 5));
        CHECK(trap.kind == TrapKind::alignment);
        CHECK(trap.ea == 0x1102);
        CHECK(trap.is_store == (op == Op::stwcx_rc));
        CHECK(machine.accesses == 0);
        CHECK(machine.cpu.reserve_address == 0x1C00);
        CHECK(machine.cpu.reserve_valid == 1);
    }
}

TEST_CASE("dcbz clears the 32-byte line") {
    Machine machine;
    machine.memory.fill(0x77);
    machine.cpu.gpr[4] = 0x113B;
    REQUIRE(machine.completes(word(Op::dcbz, 0, 0, 4)));
    CHECK(machine.read(0x111F, 1) == 0x77);
    for (std::uint32_t ea = 0x1120; ea < 0x1140; ea += 8) CHECK(machine.read(ea, 8) == 0);
    CHECK(machine.read(0x1140, 1) == 0x77);
    machine.cpu.gpr[4] = 0x1C05;
    const Trap trap = machine.step(word(Op::dcbz, 0, 0, 4));
    CHECK(trap.kind == TrapKind::data_denied);
    CHECK(trap.is_store);
    CHECK(trap.ea == 0x1C00);
    CHECK(machine.read(0x1C00, 8) == 0x7777777777777777);
}

TEST_CASE("cache instructions that check, and those that never fault") {
    Machine machine;
    machine.cpu.gpr[4] = 0x8000;
    for (const Op op : {Op::dcba, Op::dcbt, Op::dcbtst, Op::icbt}) REQUIRE(machine.completes(word(op, 0, 0, 4)));
    CHECK(machine.accesses == 0);
    for (const Op op : {Op::dcbf, Op::dcbst, Op::icbi}) {
        const Trap trap = machine.step(word(op, 0, 0, 4));
        CHECK(trap.kind == TrapKind::data_miss);
        CHECK_FALSE(trap.is_store);
    }
    CHECK(machine.invalidated.empty());
    machine.cpu.gpr[4] = 0x1C35; // to be read is enough
    for (const Op op : {Op::dcbf, Op::dcbst, Op::icbi}) REQUIRE(machine.completes(word(op, 0, 0, 4)));
    CHECK(machine.invalidated == std::vector<std::uint32_t>{0x1C20});
}
