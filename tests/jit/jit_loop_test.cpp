// SPDX-License-Identifier: GPL-2.0-only
// Loops that are left between two passes because the budget is used up: what the next pass would write first is exact.
#include <catch2/catch_test_macros.hpp>

#include "code_generator.h"
#include "machine.h"
#include "optimisation_cases.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::Op;
using mmu::TlbEntry;

constexpr std::uint32_t code_base = 0x10000000;

std::uint32_t three(Op op, unsigned rt, unsigned ra, unsigned rb) {
    return match(op) | field_rt(rt) | field_ra(ra) | field_rb(rb);
}

// Runs the words from the one at start on, again and again, in budgets of every length.
void run(const std::vector<std::uint32_t>& words, std::uint32_t start) {
    Pair pair;
    TlbEntry entry;
    entry.word0 = code_base | TlbEntry::valid_bit | 3U << 4; // 64 KB
    entry.word1 = static_cast<std::uint32_t>(Layout::code);
    entry.word2 = 0x3F;
    pair.both([&](Machine& machine) {
        machine.vcpu().set_tlb_entry(0, entry);
        for (std::size_t i = 0; i < words.size(); ++i) machine.write_word(Layout::code + 4 * i, words[i]);
    });
    for (std::uint64_t budget = 1; budget < 60; ++budget) {
        isa::CpuState state;
        state.reset();
        for (unsigned gpr = 0; gpr < 32; ++gpr) state.gpr[gpr] = gpr * 0x11111111;
        state.pc = code_base + 4 * start;
        state.retired = pair.reference.state().retired;
        pair.both([&](Machine& machine) { machine.set_state(state); });
        pair.run(budget, "budget " + std::to_string(budget));
    }
}

} // namespace

// The path comes round without a branch: it starts in the middle of the loop.
TEST_CASE("a carry that the next pass of a loop writes first is there when the loop is left", "[loop]") {
    run({three(Op::adde, 7, 7, 8), match(Op::subfic) | field_rt(4) | field_ra(5) | 1, immediate(Op::addi, 6, 6, 1),
         match(Op::b) | (-12U & 0x03FFFFFC)},
        1);
}

TEST_CASE("a CR field that the next pass of a loop writes first is there when the loop is left", "[loop]") {
    run({three(Op::cmp, 0, 3, 4), immediate(Op::addi, 3, 3, 0x1111), three(Op::cmp, 0, 5, 6),
         immediate(Op::addi, 6, 6, 1), match(Op::b) | (-16U & 0x03FFFFFC)},
        2);
}
