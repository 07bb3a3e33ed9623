// SPDX-License-Identifier: GPL-2.0-only
// Loops that are left between two passes because the budget is used up: what the next pass would write first is exact.
// And loops with side ways that come back to them, which are left anywhere.
#include <catch2/catch_test_macros.hpp>

#include "code_generator.h"
#include "machine.h"
#include "optimisation_cases.h"
#include "random.h"

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

constexpr std::uint32_t data_base = 0x20000000;

// A loop of stretches with a branch behind each, to a side way behind the loop that comes back to a stretch; side ways
// have branches to others.
class TangledLoop {
  public:
    explicit TangledLoop(Random& random) : random_(random) {}
    std::vector<std::uint32_t> words();

  private:
    std::uint32_t simple();
    std::uint32_t branch(std::size_t from, std::size_t to);
    unsigned gpr() { return 3 + random_.below(10); }

    Random& random_;
};

std::uint32_t TangledLoop::simple() {
    constexpr Op arithmetic[] = {Op::add, Op::subf, Op::addc, Op::adde, Op::subfe, Op::subfc};
    switch (random_.below(10)) {
    case 0: return immediate(Op::addi, gpr(), gpr(), static_cast<int>(random_.below(64)) - 32);
    case 1: return immediate(Op::addic_rc, gpr(), gpr(), static_cast<int>(random_.below(64)) - 32);
    case 2: return match(Op::cmp) | random_.below(3) << 23 | field_ra(gpr()) | field_rb(gpr());
    case 3: return match(Op::cmpl) | random_.below(3) << 23 | field_ra(gpr()) | field_rb(gpr());
    case 4: return match(Op::cmpi) | random_.below(3) << 23 | field_ra(gpr()) | random_.below(64);
    case 5: return immediate(Op::lwz, gpr(), 28, static_cast<int>(random_.below(16) * 4));
    case 6: return immediate(Op::stw, gpr(), 28, static_cast<int>(random_.below(16) * 4));
    case 7: return three(Op::rlwinm, gpr(), gpr(), 0) | random_.below(32) << 11 | random_.below(1024) << 1 | 1;
    default: return three(random_.any(arithmetic), gpr(), gpr(), gpr());
    }
}

std::uint32_t TangledLoop::branch(std::size_t from, std::size_t to) {
    const std::uint32_t displacement = static_cast<std::uint32_t>(to - from) * 4 & 0xFFFC;
    if (random_.chance(10)) return match(Op::bc) | 16U << 21 | displacement; // bdnz
    return match(Op::bc) | (random_.chance(50) ? 12U : 4U) << 21 | random_.below(12) << 16 | displacement;
}

std::vector<std::uint32_t> TangledLoop::words() {
    std::vector<std::uint32_t> code;
    const auto stretch = [&] {
        for (unsigned n = random_.between(1, 4); n != 0; --n) code.push_back(simple());
    };
    std::vector<std::size_t> starts, branches;
    for (unsigned n = random_.between(1, 4); n != 0; --n) {
        starts.push_back(code.size());
        stretch();
        branches.push_back(code.size());
        code.push_back(0);
    }
    code.push_back(match(Op::b) | (static_cast<std::uint32_t>(0 - code.size()) * 4 & 0x03FFFFFC));
    const std::size_t side_ways = code.size();
    for (unsigned n = random_.between(1, 4); n != 0; --n) {
        starts.push_back(code.size());
        stretch();
        if (random_.chance(60)) {
            branches.push_back(code.size());
            code.push_back(0);
            stretch();
        }
        const std::size_t to = random_.chance(70) ? 0 : random_.any(starts);
        code.push_back(match(Op::b) | (static_cast<std::uint32_t>(to - code.size()) * 4 & 0x03FFFFFC));
    }
    for (const std::size_t at : branches) {
        std::size_t to = random_.any(starts);
        while (to < side_ways && random_.chance(80)) to = random_.any(starts);
        code[at] = branch(at, to);
    }
    return code;
}

void run_tangled_loops(std::uint64_t salt, std::uint64_t goal, x64::Optimisations optimisations) {
    Random random = seeded_random(salt);
    TlbEntry code, data;
    code.word0 = code_base | TlbEntry::valid_bit | 3U << 4;
    code.word1 = static_cast<std::uint32_t>(Layout::code);
    data.word0 = data_base | TlbEntry::valid_bit | 1U << 4; // 4 KB
    data.word1 = static_cast<std::uint32_t>(Layout::data);
    code.word2 = data.word2 = 0x3F;
    std::uint64_t executed = 0;
    for (unsigned number = 0; executed < goal; ++number) {
        const auto words = TangledLoop(random).words();
        Pair pair(4 << 20, optimisations);
        pair.both([&](Machine& machine) {
            machine.vcpu().set_tlb_entry(0, code);
            machine.vcpu().set_tlb_entry(1, data);
            for (std::size_t i = 0; i < words.size(); ++i) machine.write_word(Layout::code + 4 * i, words[i]);
        });
        for (unsigned start = 0; start < 12; ++start) {
            isa::CpuState state;
            state.reset();
            for (unsigned gpr = 0; gpr < 32; ++gpr) state.gpr[gpr] = random_gpr(random);
            state.gpr[28] = data_base + random.below(64) * (random.chance(90) ? 4 : 0x1000);
            state.ctr = random.below(20);
            state.pc = code_base + 4 * random.below(static_cast<unsigned>(words.size()));
            state.retired = pair.reference.state().retired;
            pair.both([&](Machine& machine) { machine.set_state(state); });
            for (unsigned part = 0; part < 12; ++part)
                pair.run(random.between(1, 120), "tangled loop " + std::to_string(number));
        }
        pair.compare_memory("tangled loop " + std::to_string(number));
        executed += pair.executed();
    }
}

} // namespace

// The branch of the loop that is always taken is a forward one, and the one backward is never taken.
TEST_CASE("a path goes where plain code went", "[loop]") {
    const std::vector<std::uint32_t> words = {
        immediate(Op::addi, 3, 3, 1),
        match(Op::cmpi) | field_ra(29) | 0,       // r29 is 0
        match(Op::bc) | 12U << 21 | 2 << 16 | 12, // beq, over the next two
        immediate(Op::addi, 4, 4, 1),
        match(Op::b) | (-16U & 0x03FFFFFC),
        immediate(Op::addi, 5, 5, 1),
        match(Op::bc) | 4U << 21 | 2 << 16 | (-24U & 0xFFFC), // bne
        immediate(Op::addi, 6, 6, 1),
        match(Op::b) | (-32U & 0x03FFFFFC),
    };
    TlbEntry entry;
    entry.word0 = code_base | TlbEntry::valid_bit | 3U << 4;
    entry.word1 = static_cast<std::uint32_t>(Layout::code);
    entry.word2 = 0x3F;
    for (const bool counts : {true, false}) {
        const x64::Optimisations optimisations(counts ? 0 : x64::Optimisations::bit(x64::Optimisation::branch_counts));
        Pair pair(4 << 20, optimisations);
        pair.both([&](Machine& machine) {
            machine.vcpu().set_tlb_entry(0, entry);
            for (std::size_t i = 0; i < words.size(); ++i) machine.write_word(Layout::code + 4 * i, words[i]);
            isa::CpuState state;
            state.reset();
            state.pc = code_base;
            machine.set_state(state);
        });
        for (unsigned part = 0; part < 20; ++part) pair.run(37 + part, "a loop with branches");
        CHECK((pair.jit.jit_engine().translations().choice_count() != 0) == counts);
        CHECK(pair.jit.state().gpr[4] == 0);
    }
}

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

TEST_CASE("loops with side ways that come back are exact wherever they are left", "[loop]") {
    run_tangled_loops(1, instruction_goal(5'000'000), translating_at_once);
}

TEST_CASE("so they are where their paths go by what ran more often", "[loop]") {
    run_tangled_loops(3, instruction_goal(2'000'000),
                      x64::Optimisations(x64::Optimisations::bit(x64::Optimisation::interpret_first)));
}

TEST_CASE("so they are whatever is switched off", "[loop]") {
    for (const auto& [name, optimisations] : optimisation_cases()) {
        INFO(name);
        run_tangled_loops(2, instruction_goal(30'000), optimisations);
    }
}
