// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include <vector>

#include "model.h"
#include "translator/ppc/encode.h"
#include "translator/ppc/liveness.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

namespace spr = isa::spr;

ppc::Registers dead(std::vector<std::uint32_t> words) {
    return ppc::dead_after(words.data(), static_cast<unsigned>(words.size()));
}
constexpr std::uint32_t gpr(unsigned number) { return 1U << number; }
std::uint32_t addi(unsigned rt, unsigned ra) { return immediate(Op::addi, rt, ra, 1); }
std::uint32_t record(Op op, unsigned rt, unsigned ra, unsigned rb) {
    return match(op) | field_rt(rt) | field_ra(ra) | field_rb(rb) | 1;
}

} // namespace

TEST_CASE("a register is dead if it is written before it is read") {
    CHECK(dead({wrteei(true)}).gpr == 0);
    CHECK(dead({wrteei(true), addi(3, 4)}).gpr == gpr(3));
    CHECK(dead({wrteei(true), addi(3, 3)}).gpr == 0);
    CHECK(dead({wrteei(true), addi(3, 0), addi(0, 3)}).gpr == (gpr(3) | gpr(0))); // r0 as a base is no register
    CHECK(dead({wrteei(true), addi(5, 3), addi(3, 4)}).gpr == gpr(5));
    CHECK(dead({wrtee(9), mfmsr(9), mfspr(10, spr::srr0)}).gpr == (gpr(9) | gpr(10)));
    CHECK(dead({wrtee(9), ppc::encode::rlwimi(4, 5, 0, 3, 6)}).gpr == 0); // keeps part of r4
    CHECK(dead({wrtee(9), match(Op::machhw) | field_rt(4) | field_ra(5)}).gpr == 0);
}

TEST_CASE("a CR field is dead if all of it is written") {
    CHECK(dead({wrteei(true), ppc::encode::cmpwi(0, 3, 0)}).cr == 1);
    CHECK(dead({wrteei(true), ppc::encode::cmpwi(7, 3, 0), record(Op::add, 3, 4, 5)}).cr == 0x81);
    CHECK(dead({wrteei(true), ppc::encode::mfcr(3), ppc::encode::cmpwi(0, 3, 0)}).cr == 0);
    CHECK(dead({wrteei(true), ppc::encode::mtcrf(0xC1, 3)}).cr == 0x83);
    CHECK(dead({wrteei(true), match(Op::crxor) | field_rt(6) | field_ra(6) | field_rb(6)}).cr == 0);
    CHECK(dead({wrteei(true), match(Op::mcrf) | 2U << 23 | 5U << 18, ppc::encode::cmpwi(5, 3, 0)}).cr == 4);
}

TEST_CASE("nothing is dead behind what may raise an exception or go elsewhere") {
    const std::uint32_t kills = addi(3, 4);
    for (const std::uint32_t word :
         {ppc::encode::lwz(5, 1, 0), ppc::encode::stw(5, 1, 0), ppc::encode::b(8), match(Op::sc), match(Op::rfi),
          match(Op::twi) | field_ra(5), match(Op::fadd), match(Op::dcbz), match(Op::tlbwe), mtmsr(5),
          mtspr(spr::pid, 5), mfspr(5, 1000), mtspr(spr::dbcr0, 5), std::uint32_t{0}, match(Op::mfdcr),
          ppc::encode::bc(ppc::encode::if_set, 2, 8), mtspr(spr::dec, 5), match(Op::icbi), match(Op::lmw)}) {
        INFO(std::hex << word);
        CHECK((dead({wrteei(true), word, kills}).gpr & gpr(3)) == 0);
        CHECK((dead({wrteei(true), kills, word}).gpr & gpr(3)) != 0);
    }
    // The code behind these may be other code, or not there.
    CHECK(dead({mtmsr(5), kills}).gpr == 0);
    CHECK(dead({mtspr(spr::pid, 5), kills}).gpr == 0);
    CHECK(ppc::dead_after(nullptr, 0).gpr == 0);
}

// Simple instructions are run twice, from states that differ in all but what they are said to read.
TEST_CASE("operands are what an instruction really reads and writes") {
    Random random = seeded_random(0x11FE);
    RegisterUse use;
    CodeGenerator generator(random, use);
    generator.set_uniform_percent(100);
    Model model;
    std::array<unsigned, isa::op_count + 1> seen{};
    unsigned simple = 0;
    for (unsigned round = 0; round < 60'000; ++round) {
        const std::uint32_t word = generator.instruction(0, 64);
        const isa::Instruction insn = isa::decode(word);
        const ppc::Operands operands = ppc::operands(insn);
        if (!operands.simple) continue;
        ++simple;
        ++seen[static_cast<std::size_t>(insn.op)];
        INFO(insn.info().mnemonic << ' ' << std::hex << word);
        isa::CpuState first = random_guest(random, Model::code_ea), second = first;
        for (unsigned number = 0; number < 32; ++number)
            if ((operands.reads.gpr >> number & 1) == 0) second.gpr[number] = random.word();
        for (unsigned field = 0; field < 8; ++field)
            if ((operands.reads.cr >> field & 1) == 0) second.crf[field] = isa::cr::encodings[random.below(16)];
        const isa::CpuState first_before = first, second_before = second;
        const auto execute = [&](isa::CpuState& state) {
            if (insn.privileged()) {
                REQUIRE(model.emulate(state, word) == runtime::Emulator::Outcome::completed);
                return;
            }
            REQUIRE(interp::execute(state, model, insn).kind == isa::TrapKind::none);
        };
        execute(first);
        execute(second);
        REQUIRE(first.pc == Model::code_ea + 4);
        // What it does is the same...
        ppc::Registers not_written{~operands.writes.gpr, static_cast<std::uint8_t>(~operands.writes.cr)};
        REQUIRE(difference(first, second, not_written) == "");
        // ... and all that it does.
        for (const auto& [after, before] : {std::pair{&first, &first_before}, std::pair{&second, &second_before}}) {
            for (unsigned number = 0; number < 32; ++number)
                if ((not_written.gpr >> number & 1) != 0) REQUIRE(after->gpr[number] == before->gpr[number]);
            for (unsigned field = 0; field < 8; ++field)
                // Fields written in part count as read, and stay what they were but for the bit.
                if ((not_written.cr >> field & 1) != 0 && (operands.reads.cr >> field & 1) == 0)
                    REQUIRE(isa::cr::decode(after->crf[field]) == isa::cr::decode(before->crf[field]));
        }
    }
    CHECK(simple > 10'000);
    for (std::size_t op = 0; op < isa::op_count; ++op) {
        INFO(isa::instruction_table[op].mnemonic);
        // Every computing instruction of the table is followed.
        const std::uint32_t flags = isa::instruction_table[op].flags;
        if ((flags & ~(isa::flag::rc | isa::flag::rc_always | isa::flag::oe | isa::flag::ca_in | isa::flag::ca_out)) ==
                0 &&
            isa::instruction_table[op].form != isa::Form::cache)
            CHECK(seen[op] > 0);
    }
}

} // namespace untrap::tests::ppc440
