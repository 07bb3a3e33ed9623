// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "tests/interp/machine.h"

using namespace untrap::test;
namespace cr = untrap::isa::cr;

namespace {

// Runs op r3,r4,r5 with OE and Rc; the outcome as RT, CA, OV.
struct Outcome {
    std::uint32_t value;
    unsigned carry, overflow;
    bool operator==(const Outcome&) const = default;
};

Outcome arithmetic(Op op, std::uint32_t a, std::uint32_t b, unsigned carry = 0) {
    Machine machine;
    machine.cpu.gpr[4] = a;
    machine.cpu.gpr[5] = b;
    machine.cpu.xer_ca = static_cast<std::uint8_t>(carry);
    REQUIRE(machine.completes(word(op, 3, 4, 5, oe | rc)));
    const auto value = machine.cpu.gpr[3];
    const auto as_signed = static_cast<std::int32_t>(value);
    CHECK(machine.cr_field(0) == ((as_signed < 0 ? cr::lt : as_signed > 0 ? cr::gt : cr::eq) | machine.cpu.xer_so));
    CHECK(machine.cpu.xer_so == machine.cpu.xer_ov);
    return {value, machine.cpu.xer_ca, machine.cpu.xer_ov};
}

// Runs op r3,r4,r5 on rs = r4 or with an immediate in place of r5; the outcome in r3.
std::uint32_t logical(Op op, std::uint32_t s, std::uint32_t b = 0) {
    Machine machine;
    machine.cpu.gpr[4] = s;
    machine.cpu.gpr[5] = b;
    REQUIRE(machine.completes(word(op, 4, 3, 5)));
    return machine.cpu.gpr[3];
}

} // namespace

TEST_CASE("addition: carry and overflow") {
    CHECK(arithmetic(Op::add, 1, 2) == Outcome{3, 0, 0});
    CHECK(arithmetic(Op::add, 0xFFFFFFFF, 1) == Outcome{0, 0, 0}); // leaves CA alone
    CHECK(arithmetic(Op::add, 0x7FFFFFFF, 1) == Outcome{0x80000000, 0, 1});
    CHECK(arithmetic(Op::addc, 0xFFFFFFFF, 1) == Outcome{0, 1, 0});
    CHECK(arithmetic(Op::addc, 0x80000000, 0x80000000) == Outcome{0, 1, 1});
    CHECK(arithmetic(Op::addc, 1, 1, 1) == Outcome{2, 0, 0});
    CHECK(arithmetic(Op::adde, 0xFFFFFFFF, 0, 1) == Outcome{0, 1, 0});
    CHECK(arithmetic(Op::adde, 0x7FFFFFFF, 0, 1) == Outcome{0x80000000, 0, 1});
    CHECK(arithmetic(Op::adde, 0xFFFFFFFF, 0xFFFFFFFF, 1) == Outcome{0xFFFFFFFF, 1, 0});
    CHECK(arithmetic(Op::addme, 0, 99, 0) == Outcome{0xFFFFFFFF, 0, 0});
    CHECK(arithmetic(Op::addme, 0x80000000, 99, 0) == Outcome{0x7FFFFFFF, 1, 1});
    CHECK(arithmetic(Op::addze, 0x7FFFFFFF, 99, 1) == Outcome{0x80000000, 0, 1});
    CHECK(arithmetic(Op::addze, 0xFFFFFFFF, 99, 1) == Outcome{0, 1, 0});
}

TEST_CASE("subtraction: carry and overflow") {
    CHECK(arithmetic(Op::subf, 2, 5) == Outcome{3, 0, 0});
    CHECK(arithmetic(Op::subf, 1, 0x80000000) == Outcome{0x7FFFFFFF, 0, 1});
    CHECK(arithmetic(Op::subfc, 5, 5) == Outcome{0, 1, 0});
    CHECK(arithmetic(Op::subfc, 6, 5) == Outcome{0xFFFFFFFF, 0, 0});
    CHECK(arithmetic(Op::subfc, 0x80000000, 0) == Outcome{0x80000000, 0, 1});
    CHECK(arithmetic(Op::subfe, 5, 5, 0) == Outcome{0xFFFFFFFF, 0, 0});
    CHECK(arithmetic(Op::subfe, 5, 5, 1) == Outcome{0, 1, 0});
    CHECK(arithmetic(Op::subfme, 0, 99, 1) == Outcome{0xFFFFFFFF, 1, 0});
    CHECK(arithmetic(Op::subfme, 0x7FFFFFFF, 99, 0) == Outcome{0x7FFFFFFF, 1, 1});
    CHECK(arithmetic(Op::subfze, 0, 99, 1) == Outcome{0, 1, 0});
    CHECK(arithmetic(Op::subfze, 0x80000000, 99, 1) == Outcome{0x80000000, 0, 1});
    CHECK(arithmetic(Op::neg, 1, 99) == Outcome{0xFFFFFFFF, 0, 0});
    CHECK(arithmetic(Op::neg, 0x80000000, 99) == Outcome{0x80000000, 0, 1});
}

TEST_CASE("multiplication and division") {
    CHECK(arithmetic(Op::mullw, 0x10000, 0x8000) == Outcome{0x80000000, 0, 1});
    CHECK(arithmetic(Op::mullw, 0xFFFF0000, 0x8000) == Outcome{0x80000000, 0, 0});
    CHECK(arithmetic(Op::mullw, 0xFFFFFFFF, 5) == Outcome{0xFFFFFFFB, 0, 0});
    CHECK(arithmetic(Op::divw, 0xFFFFFFF9, 2) == Outcome{0xFFFFFFFD, 0, 0});
    CHECK(arithmetic(Op::divw, 7, 0) == Outcome{7, 0, 1});
    CHECK(arithmetic(Op::divw, 0x80000000, 0xFFFFFFFF) == Outcome{0x80000000, 0, 1});
    CHECK(arithmetic(Op::divwu, 0xFFFFFFF9, 2) == Outcome{0x7FFFFFFC, 0, 0});
    CHECK(arithmetic(Op::divwu, 7, 0) == Outcome{7, 0, 1});
    Machine machine;
    machine.cpu.gpr[4] = 0xFFFFFFFF;
    machine.cpu.gpr[5] = 2;
    REQUIRE(machine.completes(word(Op::mulhw, 3, 4, 5, rc)));
    CHECK(machine.cpu.gpr[3] == 0xFFFFFFFF);
    CHECK(machine.cr_field(0) == cr::lt);
    REQUIRE(machine.completes(word(Op::mulhwu, 3, 4, 5, rc)));
    CHECK(machine.cpu.gpr[3] == 1);
    REQUIRE(machine.completes(immediate(Op::mulli, 3, 4, -3)));
    CHECK(machine.cpu.gpr[3] == 3);
}

TEST_CASE("OV follows the last OE form, SO stays, other forms touch neither") {
    Machine machine;
    machine.cpu.gpr[4] = 0x7FFFFFFF;
    machine.cpu.gpr[5] = 1;
    REQUIRE(machine.completes(word(Op::add, 3, 4, 5)));
    CHECK(machine.cpu.xer() == 0);
    REQUIRE(machine.completes(word(Op::add, 3, 4, 5, oe)));
    CHECK(machine.cpu.xer() == 0xC0000000);
    REQUIRE(machine.completes(word(Op::add, 3, 5, 5)));
    CHECK(machine.cpu.xer() == 0xC0000000);
    REQUIRE(machine.completes(word(Op::add, 3, 5, 5, oe | rc)));
    CHECK(machine.cpu.xer() == 0x80000000);
    CHECK(machine.cr_field(0) == (cr::gt | cr::so));
    REQUIRE(machine.completes(word(Op::subf, 3, 5, 5, rc)));
    CHECK(machine.cr_field(0) == (cr::eq | cr::so));
    REQUIRE(machine.completes(word(Op::neg, 3, 5, 0, rc)));
    CHECK(machine.cr_field(0) == (cr::lt | cr::so));
}

TEST_CASE("immediate arithmetic") {
    Machine machine;
    machine.cpu.gpr[0] = 77;
    machine.cpu.gpr[4] = 0xFFFFFFFF;
    REQUIRE(machine.completes(immediate(Op::addi, 3, 0, -5))); // li
    CHECK(machine.cpu.gpr[3] == 0xFFFFFFFB);
    REQUIRE(machine.completes(immediate(Op::addis, 3, 0, 0x8000)));
    CHECK(machine.cpu.gpr[3] == 0x80000000);
    REQUIRE(machine.completes(immediate(Op::addis, 3, 4, 1)));
    CHECK(machine.cpu.gpr[3] == 0xFFFF);
    CHECK(machine.cpu.xer_ca == 0);
    REQUIRE(machine.completes(immediate(Op::addic, 3, 0, 1))); // r0, not zero
    CHECK(machine.cpu.gpr[3] == 78);
    REQUIRE(machine.completes(immediate(Op::addic_rc, 3, 4, 1)));
    CHECK(machine.cpu.gpr[3] == 0);
    CHECK(machine.cpu.xer_ca == 1);
    CHECK(machine.cr_field(0) == cr::eq);
    REQUIRE(machine.completes(immediate(Op::subfic, 3, 4, -1)));
    CHECK(machine.cpu.gpr[3] == 0);
    CHECK(machine.cpu.xer_ca == 1);
    REQUIRE(machine.completes(immediate(Op::subfic, 3, 4, 0x401))); // what would be OE and Rc is immediate
    CHECK(machine.cpu.gpr[3] == 0x402);
    CHECK(machine.cpu.xer_ca == 0);
    CHECK(machine.cr_field(0) == cr::eq);
}

TEST_CASE("compares") {
    Machine machine;
    machine.cpu.gpr[4] = 0xFFFFFFFF;
    machine.cpu.gpr[5] = 1;
    const auto field = [](unsigned number) { return number << 2; };
    REQUIRE(machine.completes(word(Op::cmp, field(7), 4, 5)));
    CHECK(machine.cr_field(7) == cr::lt);
    REQUIRE(machine.completes(word(Op::cmpl, field(7), 4, 5)));
    CHECK(machine.cr_field(7) == cr::gt);
    REQUIRE(machine.completes(immediate(Op::cmpi, field(3), 4, -1)));
    CHECK(machine.cr_field(3) == cr::eq);
    REQUIRE(machine.completes(immediate(Op::cmpli, field(3), 4, -1))); // 0xFFFF
    CHECK(machine.cr_field(3) == cr::gt);
    machine.cpu.xer_so = 1;
    REQUIRE(machine.completes(word(Op::cmpl, field(1), 4, 4)));
    CHECK(machine.cr_field(1) == (cr::eq | cr::so));
    REQUIRE(machine.completes(word(Op::cmp, field(1), 4, 5)));
    CHECK(machine.cr_field(1) == (cr::lt | cr::so));
    REQUIRE(machine.completes(word(Op::cmp, field(1), 5, 4)));
    CHECK(machine.cr_field(1) == (cr::gt | cr::so));
}

TEST_CASE("logical instructions") {
    constexpr std::uint32_t s = 0xF0F0CC01, b = 0xFF00AA80;
    CHECK(logical(Op::and_, s, b) == (s & b));
    CHECK(logical(Op::andc, s, b) == (s & ~b));
    CHECK(logical(Op::or_, s, b) == (s | b));
    CHECK(logical(Op::orc, s, b) == (s | ~b));
    CHECK(logical(Op::xor_, s, b) == (s ^ b));
    CHECK(logical(Op::nand, s, b) == ~(s & b));
    CHECK(logical(Op::nor, s, b) == ~(s | b));
    CHECK(logical(Op::eqv, s, b) == ~(s ^ b));
    CHECK(logical(Op::extsb, 0x1280) == 0xFFFFFF80);
    CHECK(logical(Op::extsb, 0xFF7F) == 0x7F);
    CHECK(logical(Op::extsh, 0x18000) == 0xFFFF8000);
    CHECK(logical(Op::cntlzw, 0) == 32);
    CHECK(logical(Op::cntlzw, 1) == 31);
    CHECK(logical(Op::cntlzw, 0x80000000) == 0);
    Machine machine;
    machine.cpu.gpr[4] = s;
    REQUIRE(machine.completes(immediate(Op::ori, 4, 3, 0x8001)));
    CHECK(machine.cpu.gpr[3] == (s | 0x8001));
    REQUIRE(machine.completes(immediate(Op::oris, 4, 3, 0x8001)));
    CHECK(machine.cpu.gpr[3] == (s | 0x80010000));
    REQUIRE(machine.completes(immediate(Op::xori, 4, 3, 0x8001)));
    CHECK(machine.cpu.gpr[3] == (s ^ 0x8001));
    REQUIRE(machine.completes(immediate(Op::xoris, 4, 3, 0x8001)));
    CHECK(machine.cpu.gpr[3] == (s ^ 0x80010000));
    CHECK(machine.cr_field(0) == 0);
    REQUIRE(machine.completes(immediate(Op::andi_rc, 4, 3, 0xC000)));
    CHECK(machine.cpu.gpr[3] == 0xC000);
    CHECK(machine.cr_field(0) == cr::gt);
    REQUIRE(machine.completes(immediate(Op::andis_rc, 4, 3, 0x8000)));
    CHECK(machine.cpu.gpr[3] == 0x80000000);
    CHECK(machine.cr_field(0) == cr::lt);
}

TEST_CASE("rotates and shifts") {
    Machine machine;
    machine.cpu.gpr[4] = 0x12345678;
    machine.cpu.gpr[5] = 36; // rlwnm uses five bits
    REQUIRE(machine.completes(word(Op::rlwinm, 4, 3, 8, 24 << 6 | 31 << 1)));
    CHECK(machine.cpu.gpr[3] == 0x12);
    REQUIRE(machine.completes(word(Op::rlwinm, 4, 3, 4, 28 << 6 | 3 << 1)));
    CHECK(machine.cpu.gpr[3] == 0x20000001);
    REQUIRE(machine.completes(word(Op::rlwnm, 4, 3, 5, 0 << 6 | 31 << 1)));
    CHECK(machine.cpu.gpr[3] == 0x23456781);
    machine.cpu.gpr[3] = 0xAAAAAAAA;
    REQUIRE(machine.completes(word(Op::rlwimi, 4, 3, 0, 8 << 6 | 15 << 1 | rc)));
    CHECK(machine.cpu.gpr[3] == 0xAA34AAAA);
    CHECK(machine.cr_field(0) == cr::lt);

    CHECK(logical(Op::slw, 0x80000001, 1) == 2);
    CHECK(logical(Op::slw, 1, 31) == 0x80000000);
    CHECK(logical(Op::slw, 1, 32) == 0);
    CHECK(logical(Op::slw, 1, 63) == 0);
    CHECK(logical(Op::slw, 1, 64) == 1);
    CHECK(logical(Op::srw, 0x80000000, 31) == 1);
    CHECK(logical(Op::srw, 0x80000000, 32) == 0);
    CHECK(logical(Op::srw, 0x80000000, 64) == 0x80000000);
}

TEST_CASE("algebraic shifts: CA is negative and bits lost") {
    struct Case {
        std::uint32_t value;
        unsigned amount;
        std::uint32_t result;
        unsigned carry;
    };
    for (const Case& test : {Case{0x80000000, 0, 0x80000000, 0}, Case{0x80000001, 1, 0xC0000000, 1},
                             Case{0x80000000, 31, 0xFFFFFFFF, 0}, Case{0xC0000000, 31, 0xFFFFFFFF, 1},
                             Case{0x7FFFFFFF, 4, 0x07FFFFFF, 0}, Case{0xFFFFFFF0, 4, 0xFFFFFFFF, 0}}) {
        Machine machine;
        machine.cpu.xer_ca = 1;
        machine.cpu.gpr[4] = test.value;
        machine.cpu.gpr[5] = test.amount;
        CAPTURE(test.value, test.amount);
        REQUIRE(machine.completes(word(Op::srawi, 4, 3, test.amount)));
        CHECK(machine.cpu.gpr[3] == test.result);
        CHECK(machine.cpu.xer_ca == test.carry);
        REQUIRE(machine.completes(word(Op::sraw, 4, 3, 5)));
        CHECK(machine.cpu.gpr[3] == test.result);
        CHECK(machine.cpu.xer_ca == test.carry);
    }
    Machine machine;
    machine.cpu.gpr[4] = 0x80000000;
    machine.cpu.gpr[5] = 32;
    REQUIRE(machine.completes(word(Op::sraw, 4, 3, 5, rc)));
    CHECK(machine.cpu.gpr[3] == 0xFFFFFFFF);
    CHECK(machine.cpu.xer_ca == 1);
    CHECK(machine.cr_field(0) == cr::lt);
    machine.cpu.gpr[4] = 0x7FFFFFFF;
    REQUIRE(machine.completes(word(Op::sraw, 4, 3, 5)));
    CHECK(machine.cpu.gpr[3] == 0);
    CHECK(machine.cpu.xer_ca == 0);
}

TEST_CASE("dlmzb") {
    struct Case {
        std::uint32_t high, low;
        unsigned position, field;
    };
    for (const Case& test : {Case{0x00112233, 0, 1, cr::gt}, Case{0x11002200, 0, 2, cr::gt},
                             Case{0x11223300, 0, 4, cr::gt}, Case{0x11223344, 0x00556677, 5, cr::lt},
                             Case{0x11223344, 0x55667700, 8, cr::lt}, Case{0x11223344, 0x55667788, 8, cr::eq}}) {
        Machine machine;
        machine.cpu.set_xer(0x8000007F);
        machine.cpu.gpr[4] = test.high;
        machine.cpu.gpr[5] = test.low;
        CAPTURE(test.high, test.low);
        REQUIRE(machine.completes(word(Op::dlmzb, 4, 3, 5)));
        CHECK(machine.cr_field(0) == 0);
        REQUIRE(machine.completes(word(Op::dlmzb, 4, 3, 5, rc)));
        CHECK(machine.cpu.gpr[3] == test.position);
        CHECK(machine.cpu.xer() == (0x80000000 | test.position));
        CHECK(machine.cr_field(0) == (test.field | cr::so));
    }
}
