// SPDX-License-Identifier: GPL-2.0-only
// What the interpreter adds to translator/fp: operands, targets, records, memory formats and interrupts. Arithmetic
// itself is tested in tests/fp.
#include <catch2/catch_test_macros.hpp>

#include "tests/interp/machine.h"
#include "translator/fp/fp.h"

using namespace untrap::test;
namespace isa = untrap::isa;
namespace fp = untrap::fp;

namespace {

constexpr std::uint64_t one = 0x3FF0000000000000, two = 0x4000000000000000, three = 0x4008000000000000,
                        four = 0x4010000000000000, five = 0x4014000000000000, ten = 0x4024000000000000,
                        minus_one = 0xBFF0000000000000, infinity = 0x7FF0000000000000;

std::uint32_t a_form(Op op, unsigned frt, unsigned fra, unsigned frb, unsigned frc, std::uint32_t others = 0) {
    return word(op, frt, fra, frb, frc << 6 | others);
}

// frA = f2 = 2, frB = f3 = 3, frC = f4 = 4; the target is f1.
Machine with_operands() {
    Machine machine;
    machine.cpu.fpr[2] = two;
    machine.cpu.fpr[3] = three;
    machine.cpu.fpr[4] = four;
    return machine;
}

} // namespace

TEST_CASE("operands go where the form has them") {
    struct Case {
        Op op;
        std::uint64_t result;
    };
    for (const Case& test : {Case{Op::fadd, five},
                             Case{Op::fadds, five},
                             Case{Op::fsub, minus_one},
                             Case{Op::fsubs, minus_one},
                             Case{Op::fmul, 0x4020000000000000}, // 8
                             Case{Op::fmuls, 0x4020000000000000},
                             Case{Op::fmadd, 0x4026000000000000}, // 11
                             Case{Op::fmadds, 0x4026000000000000},
                             Case{Op::fmsub, five},
                             Case{Op::fmsubs, five},
                             Case{Op::fnmadd, 0xC026000000000000},
                             Case{Op::fnmadds, 0xC026000000000000},
                             Case{Op::fnmsub, five | fp::sign_bit},
                             Case{Op::fnmsubs, five | fp::sign_bit},
                             Case{Op::fsel, four},
                             Case{Op::fmr, three},
                             Case{Op::fneg, three | fp::sign_bit},
                             Case{Op::fabs, three},
                             Case{Op::fnabs, three | fp::sign_bit},
                             Case{Op::frsp, three},
                             Case{Op::fctiw, 3},
                             Case{Op::fctiwz, 3}}) {
        Machine machine = with_operands();
        CAPTURE(isa::instruction_table[static_cast<std::size_t>(test.op)].mnemonic);
        const isa::Form form = isa::instruction_table[static_cast<std::size_t>(test.op)].form;
        const bool uses_frc = form == isa::Form::a_ac || form == isa::Form::a_abc;
        const bool uses_fra = form != isa::Form::x_fb;
        REQUIRE(
            machine.completes(a_form(test.op, 1, uses_fra ? 2 : 0, form == isa::Form::a_ac ? 0 : 3, uses_frc ? 4 : 0)));
        CHECK(machine.cpu.fpr[1] == test.result);
        CHECK(machine.cpu.cr() == 0);
    }
    Machine machine = with_operands();
    machine.cpu.fpr[2] = ten;
    REQUIRE(machine.completes(a_form(Op::fdiv, 1, 2, 4, 0)));
    CHECK(machine.cpu.fpr[1] == 0x4004000000000000); // 2.5
    REQUIRE(machine.completes(a_form(Op::fdivs, 1, 2, 4, 0)));
    CHECK(machine.cpu.fpr[1] == 0x4004000000000000);
    for (const Op op : {Op::fsqrt, Op::fsqrts}) {
        REQUIRE(machine.completes(a_form(op, 1, 0, 4, 0)));
        CHECK(machine.cpu.fpr[1] == two);
    }
    REQUIRE(machine.completes(a_form(Op::fres, 1, 0, 4, 0)));
    CHECK(machine.cpu.fpr[1] == 0x3FD0000000000000); // 1/4
    REQUIRE(machine.completes(a_form(Op::frsqrte, 1, 0, 4, 0)));
    CHECK(machine.cpu.fpr[1] == 0x3FE0000000000000); // 1/2
}

TEST_CASE("Rc records FX, FEX, VX and OX in CR1") {
    Machine machine = with_operands();
    machine.cpu.fpscr = fp::with_summaries(fp::fpscr_fx | fp::fpscr_ox);
    REQUIRE(machine.completes(a_form(Op::fadd, 1, 2, 3, 0, rc)));
    CHECK(machine.cpu.cr() == 0x09000000);
    machine.cpu.fpr[2] = infinity;
    machine.cpu.fpr[3] = infinity;
    machine.cpu.fpscr = 0;
    REQUIRE(machine.completes(a_form(Op::fsub, 1, 2, 3, 0, rc)));
    CHECK(machine.cpu.cr() == 0x0A000000);
    CHECK(machine.cpu.fpr[1] == fp::default_nan);
    machine.cpu.fpscr = 0;
    REQUIRE(machine.completes(word(Op::fmr, 5, 0, 2, rc)));
    CHECK(machine.cpu.cr() == 0);
    REQUIRE(machine.completes(word(Op::mtfsb1, 3, 0, 0, rc))); // OX
    CHECK(machine.cpu.cr() == 0x09000000);
}

TEST_CASE("FPSCR instructions") {
    Machine machine;
    machine.cpu.fpr[2] = 0xFFFFFFFF00000003;
    REQUIRE(machine.completes(word(Op::mtfsf, 0, 0, 2, 0x01 << 17)));
    CHECK(machine.cpu.fpscr == 3);
    REQUIRE(machine.completes(word(Op::mtfsfi, 4 << 2, 0, 0, 9 << 12)));
    CHECK(machine.cpu.fpscr == 0x9003);
    REQUIRE(machine.completes(word(Op::mtfsb0, 30, 0)));
    REQUIRE(machine.completes(word(Op::mtfsb1, 29, 0)));
    CHECK(machine.cpu.fpscr == 0x9005);
    REQUIRE(machine.completes(word(Op::mffs, 1, 0)));
    CHECK(machine.cpu.fpr[1] == 0x9005);
    REQUIRE(machine.completes(word(Op::mtfsb1, 6, 0))); // XX, and FX with it
    REQUIRE(machine.completes(word(Op::mcrfs, 3 << 2, 0 << 2)));
    CHECK(machine.cr_field(3) == 8);
    REQUIRE(machine.completes(word(Op::mcrfs, 3 << 2, 1 << 2)));
    CHECK(machine.cr_field(3) == 2);
    CHECK(machine.cpu.fpscr == 0x9005);
}

TEST_CASE("fcmpu and fcmpo") {
    Machine machine = with_operands();
    for (const Op op : {Op::fcmpu, Op::fcmpo}) {
        REQUIRE(machine.completes(word(op, 6 << 2, 2, 3)));
        CHECK(machine.cr_field(6) == isa::cr::lt);
        REQUIRE(machine.completes(word(op, 6 << 2, 3, 2)));
        CHECK(machine.cr_field(6) == isa::cr::gt);
        REQUIRE(machine.completes(word(op, 6 << 2, 3, 3)));
        CHECK(machine.cr_field(6) == isa::cr::eq);
        machine.cpu.fpr[5] = fp::default_nan;
        REQUIRE(machine.completes(word(op, 6 << 2, 3, 5)));
        CHECK(machine.cr_field(6) == isa::cr::so);
    }
}

TEST_CASE("memory formats") {
    Machine machine;
    machine.cpu.gpr[4] = 0x1100;
    machine.cpu.gpr[5] = 9;
    machine.write(0x1109, 8, ten);
    machine.write(0x1120, 4, 0x41200000); // 10
    REQUIRE(machine.completes(word(Op::lfdx, 1, 4, 5)));
    CHECK(machine.cpu.fpr[1] == ten);
    REQUIRE(machine.completes(immediate(Op::lfd, 2, 4, 9)));
    CHECK(machine.cpu.fpr[2] == ten);
    REQUIRE(machine.completes(immediate(Op::lfs, 3, 4, 0x20)));
    CHECK(machine.cpu.fpr[3] == ten);
    machine.cpu.gpr[5] = 0x20;
    REQUIRE(machine.completes(word(Op::lfsx, 6, 4, 5)));
    CHECK(machine.cpu.fpr[6] == ten);
    REQUIRE(machine.completes(immediate(Op::stfs, 1, 4, 0x40)));
    CHECK(machine.read(0x1140, 4) == 0x41200000);
    REQUIRE(machine.completes(immediate(Op::stfd, 1, 4, 0x48)));
    CHECK(machine.read(0x1148, 8) == ten);
    machine.cpu.gpr[5] = 0x60;
    REQUIRE(machine.completes(word(Op::stfsx, 1, 4, 5)));
    CHECK(machine.read(0x1160, 4) == 0x41200000);
    REQUIRE(machine.completes(word(Op::stfdx, 1, 4, 5)));
    CHECK(machine.read(0x1160, 8) == ten);
    machine.cpu.fpr[1] = 0x1122334455667788;
    REQUIRE(machine.completes(word(Op::stfiwx, 1, 4, 5)));
    CHECK(machine.read(0x1160, 8) == 0x5566778800000000);
}

TEST_CASE("memory forms with update") {
    constexpr Op displaced[] = {Op::lfsu, Op::lfdu, Op::stfsu, Op::stfdu};
    constexpr Op indexed[] = {Op::lfsux, Op::lfdux, Op::stfsux, Op::stfdux};
    for (const Op op : displaced) {
        Machine machine;
        machine.cpu.gpr[4] = 0x1100;
        REQUIRE(machine.completes(immediate(op, 1, 4, 16)));
        CHECK(machine.cpu.gpr[4] == 0x1110);
        CHECK(machine.step(immediate(op, 1, 0, 0x1100)).kind == TrapKind::illegal);
        machine.cpu.gpr[4] = 0x8000;
        CHECK(machine.step(immediate(op, 1, 4, 16)).kind == TrapKind::data_miss);
        CHECK(machine.cpu.gpr[4] == 0x8000);
    }
    for (const Op op : indexed) {
        Machine machine;
        machine.cpu.gpr[4] = 0x1100;
        machine.cpu.gpr[5] = 0x1100;
        machine.cpu.gpr[6] = 0x10;
        REQUIRE(machine.completes(word(op, 4, 4, 6))); // f4 and r4 are not the same
        CHECK(machine.cpu.gpr[4] == 0x1110);
        CHECK(machine.step(word(op, 1, 0, 5)).kind == TrapKind::illegal);
    }
}

TEST_CASE("without MSR[FP] nothing of an FP instruction happens") {
    unsigned rows = 0;
    for (std::size_t row = 0; row < isa::op_count; ++row) {
        const isa::InstructionInfo& info = isa::instruction_table[row];
        if ((info.flags & isa::flag::fp) == 0) continue;
        ++rows;
        Machine machine = with_operands();
        machine.cpu.page.msr = isa::msr::fe0;
        CAPTURE(info.mnemonic);
        const Trap trap = machine.step(info.match); // RA = 0: also an invalid form for some
        CHECK(trap.kind == TrapKind::fp_unavailable);
        CHECK(trap.word == info.match);
        CHECK(machine.accesses == 0);
        CHECK(machine.cpu.pc == 0x1000);
        CHECK(machine.cpu.retired == 0);
    }
    CHECK(rows > 50);
    Machine machine;
    machine.cpu.page.msr = 0;
    CHECK(machine.step(immediate(Op::lwz, 3, 0, 0x1000)).kind == TrapKind::none);
}

TEST_CASE("enabled exceptions interrupt when MSR[FE0,FE1] say so") {
    const auto divide_by_zero = [](std::uint32_t msr, std::uint32_t enables) {
        Machine machine = with_operands();
        machine.cpu.fpr[3] = 0;
        machine.cpu.fpr[1] = ten;
        machine.cpu.fpscr = enables;
        machine.cpu.page.msr = msr;
        const Trap trap = machine.step(a_form(Op::fdiv, 1, 2, 3, 0, rc));
        return std::pair{machine.cpu, trap};
    };
    {
        const auto [cpu, trap] = divide_by_zero(isa::msr::fp | isa::msr::fe0 | isa::msr::fe1, 0);
        CHECK(trap.kind == TrapKind::none);
        CHECK(cpu.fpr[1] == infinity);
        CHECK(cpu.cr() == 0x08000000);
    }
    {
        const auto [cpu, trap] = divide_by_zero(isa::msr::fp, fp::fpscr_ze);
        CHECK(trap.kind == TrapKind::none);
        CHECK(cpu.fpr[1] == ten); // not written all the same
        CHECK(cpu.cr() == 0x0C000000);
        CHECK(cpu.pc == 0x1004);
    }
    for (const std::uint32_t mode : {isa::msr::fe0, isa::msr::fe1, isa::msr::fe0 | isa::msr::fe1}) {
        const auto [cpu, trap] = divide_by_zero(isa::msr::fp | mode, fp::fpscr_ze);
        CHECK(trap.kind == TrapKind::fp_exception);
        CHECK(trap.word == a_form(Op::fdiv, 1, 2, 3, 0, rc));
        CHECK(cpu.fpr[1] == ten);
        CHECK(cpu.fpscr == (fp::fpscr_fx | fp::fpscr_fex | fp::fpscr_zx | fp::fpscr_ze));
        CHECK(cpu.cr() == 0x0C000000);
        CHECK(cpu.pc == 0x1000);
        CHECK(cpu.retired == 0);
    }
}

TEST_CASE("an exception enabled after the fact interrupts too") {
    Machine machine;
    machine.cpu.page.msr = isa::msr::fp | isa::msr::fe1;
    machine.cpu.fpscr = fp::with_summaries(fp::fpscr_fx | fp::fpscr_ox);
    CHECK(machine.step(word(Op::mtfsb1, 25, 0)).kind == TrapKind::fp_exception); // OE
    CHECK(machine.cpu.fpscr == (fp::fpscr_fx | fp::fpscr_fex | fp::fpscr_ox | fp::fpscr_oe));
    CHECK(machine.cpu.pc == 0x1000);
    // What does not touch FPSCR goes on.
    CHECK(machine.completes(word(Op::fmr, 1, 0, 2)));
    CHECK(machine.completes(word(Op::mffs, 1, 0)));
    CHECK(machine.completes(word(Op::mtfsb0, 25, 0)));
}
