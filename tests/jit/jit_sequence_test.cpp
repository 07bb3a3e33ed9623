// SPDX-License-Identifier: GPL-2.0-only
// Level 3 in the run loop: a guest that goes round its TLB by a loop of one tlbwe leaves once for it, and time, which
// is the count of its instructions, goes on as if it had left each time.
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <vector>

#include "machine.h"
#include "random.h"
#include "runtime/exit_reason.h"
#include "tests/runtime/guest.h"
#include "translator/plan/plan.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using isa::Interrupt;
using mmu::TlbEntry;
using runtime::ExitReason;
using runtime::RunExit;

constexpr std::uint32_t base = 0x10000000, handlers = base + 0x10000;
constexpr unsigned level3 = 1U << 3, code_entry = 62;
constexpr Word done = mtdcr(0x100, 0);
constexpr Word branch(Word bo, Word bi, std::int32_t offset) {
    return 16U << 26 | bo << 21 | bi << 16 | (static_cast<Word>(offset) & 0xFFFC);
}
constexpr Word cmpw(Word field, Word ra, Word rb) { return x_form(field << 2, ra, rb, 0); }
constexpr Word cmplwi(Word field, Word ra, Word imm) { return d_form(10, field << 2, ra, imm); }
// r4: entry, r5: what is written, r6: the last entry.
const std::vector<Word> sweep = {tlbwe(5, 4, 0), addi(4, 4, 1), cmpw(0, 4, 6), branch(4, 1, -12), done};

struct Start {
    std::uint32_t first = 0, last = 0, value = 0, ctr = 0, xer = 0;
    std::uint32_t deadline = 0; // instructions until the decrementer strikes; 0: never
};

// What there is after a run.
struct Result {
    isa::CpuState state;
    std::vector<TlbEntry> tlb;
    std::uint64_t tlbwe = 0, retired = 0;
    bool interrupted = false;
};

// The guest's kernel, on one engine.
class Kernel {
  public:
    Kernel(Machine::Kind kind, unsigned levels, const std::vector<Word>& words)
        : machine_(std::make_unique<Machine>(kind)) {
        runtime::Vcpu& vcpu = machine_->vcpu();
        machine_->patches().configure(levels, 1);
        machine_->host().vcpu = &vcpu;
        for (std::size_t i = 0; i < words.size(); ++i) machine_->write_word(Layout::code + 4 * i, words[i]);
        // Interrupts come back after the place was noted, timers acknowledged: r20, r22 and r23 are theirs.
        const std::uint64_t decrementer =
            Layout::code + (handlers - base) + 0x100 * static_cast<unsigned>(Interrupt::decrementer);
        std::uint64_t at = decrementer;
        for (const Word word : {addi(22, 22, 1), mfspr(23, 26), lis(20, 0x0800), mtspr(336, 20), rfi}) {
            machine_->write_word(at, word);
            at += 4;
        }
    }

    Result run(const Start& start) {
        runtime::Vcpu& vcpu = machine_->vcpu();
        vcpu.abandon_instruction();
        isa::CpuState state;
        state.reset();
        state.retired = vcpu.state.retired;
        state.pc = base;
        state.ivpr = handlers;
        for (unsigned i = 0; i < isa::interrupt_count; ++i) state.ivor[i] = i * 0x100;
        state.page.msr = isa::msr::me | (start.deadline != 0 ? isa::msr::ee : 0);
        state.gpr[4] = start.first;
        state.gpr[5] = start.value;
        state.gpr[6] = start.last;
        state.ctr = start.ctr;
        state.set_xer(start.xer);
        for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index)
            vcpu.set_tlb_entry(index, {0x40000210 + 0x1000 * index, 0x1000 * index, 0x3F});
        vcpu.set_tlb_entry(code_entry,
                           {base | TlbEntry::valid_bit | 5U << 4, static_cast<std::uint32_t>(Layout::code), 0x3F});
        machine_->set_state(state);
        vcpu.timers.reset();
        if (start.deadline != 0) {
            vcpu.timers.set_tcr(isa::tcr::die);
            vcpu.timers.write_dec(start.deadline);
        }
        Result result;
        const std::uint64_t retired = vcpu.state.retired, exits = tlbwe_exits();
        REQUIRE(vcpu.run() == RunExit::dcr);
        vcpu.timers.advance();
        result.state = vcpu.state;
        result.state.engine_slots = {};
        result.tlbwe = tlbwe_exits() - exits;
        result.retired = vcpu.state.retired - retired;
        result.interrupted = vcpu.state.gpr[22] != 0;
        for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index)
            result.tlb.push_back(vcpu.tlb.entry(index));
        return result;
    }

  private:
    std::uint64_t tlbwe_exits() const {
        return machine_->vcpu().exits.by_reason[static_cast<std::size_t>(ExitReason::emul_tlbwe)];
    }

    std::unique_ptr<Machine> machine_;
};

void check_same(const Result& expected, const Result& got) {
    // Both may have begun at another time.
    isa::CpuState left = expected.state, right = got.state;
    left.retired = right.retired = 0;
    CHECK(state_difference(left, right) == "");
    CHECK(expected.retired == got.retired);
    CHECK(expected.tlb == got.tlb);
    CHECK(expected.interrupted == got.interrupted);
}

constexpr Machine::Kind kinds[] = {Machine::Kind::interpreter, Machine::Kind::jit};

} // namespace

TEST_CASE("a sweep over the TLB is one exit of the run loop", "[sequence]") {
    for (const Machine::Kind kind : kinds) {
        Kernel trapping(Machine::Kind::interpreter, 0, sweep), other(kind, 0, sweep), patched(kind, level3, sweep),
            all(kind, 14, sweep);
        for (const unsigned last : {0U, 10U, 30U, 61U}) {
            const Start start{.first = 0, .last = last, .value = 0, .xer = last == 10 ? 0x80000000 : 0};
            for (unsigned round = 0; round < 3; ++round) {
                CAPTURE(static_cast<int>(kind), last, round);
                const Result expected = trapping.run(start);
                CHECK(expected.retired == 4 * (last + 1));
                CHECK(expected.tlbwe == last + 1);
                const Result without = other.run(start), with = patched.run(start);
                check_same(expected, without);
                CHECK(without.tlbwe == last + 1);
                check_same(expected, with);
                CHECK(with.tlbwe == 1);
                const Result with_all = all.run(start);
                check_same(expected, with_all);
                CHECK(with_all.tlbwe == 1);
            }
        }
    }
}

TEST_CASE("a sweep in the run loop goes round no more often than it may", "[sequence]") {
    const std::vector<Word> by_count = {tlbwe(5, 4, 1), addi(4, 4, 1), branch(16, 0, -8), done};
    const std::vector<Word> compared = {tlbwe(5, 4, 3), addi(4, 4, 1), cmpw(5, 4, 6), branch(4, 21, -12), done};
    for (const auto& words : {by_count, compared}) {
        for (const Machine::Kind kind : kinds) {
            Kernel trapping(Machine::Kind::interpreter, 0, words), patched(kind, level3, words);
            for (const unsigned rounds : {1U, 2U, 63U, 64U, 65U, 129U, 640U}) {
                CAPTURE(static_cast<int>(kind), words[0], rounds);
                // What maps the code stays as it is.
                const Start start{
                    .first = 0, .last = rounds - 1, .value = static_cast<std::uint32_t>(Layout::code), .ctr = rounds};
                const Result expected = trapping.run(start), got = patched.run(start);
                check_same(expected, got);
                CHECK(expected.tlbwe == rounds);
                CHECK(got.tlbwe == (rounds + plan::sequence_rounds - 1) / plan::sequence_rounds);
            }
        }
    }
}

TEST_CASE("loops of every kind do the same in one exit", "[sequence]") {
    const std::vector<std::vector<Word>> loops = {
        {tlbwe(5, 4, 0), addi(4, 4, 1), cmplwi(6, 4, 20), branch(12, 24, -12), done},
        {tlbwe(5, 4, 0), addi(4, 4, 1), cmpw(1, 4, 6), branch(8, 4, -12), done},  // bdnzt
        {tlbwe(5, 4, 0), addi(4, 4, 1), cmpw(1, 4, 6), branch(0, 5, -12), done},  // bdnzf
        {tlbwe(5, 4, 0), addi(4, 4, 1), cmpw(7, 4, 6), branch(4, 31, -12), done}, // until SO
        {tlbwe(5, 4, 0), addi(4, 4, 1), cmpw(3, 4, 6), branch(12, 13, 8), branch(20, 0, -16), done},
        {tlbwe(5, 4, 0), tlbwe(5, 4, 1), tlbwe(5, 4, 2), addi(4, 4, 1), branch(16, 0, -16), done},
        {tlbwe(5, 4, 1), mfspr(7, 272), addi(7, 7, 3), mtspr(272, 7), addi(4, 4, 1), branch(16, 0, -20), done},
    };
    for (const Machine::Kind kind : kinds) {
        for (const auto& words : loops) {
            Kernel trapping(Machine::Kind::interpreter, 0, words), patched(kind, level3, words);
            for (const std::uint32_t xer : {0x80000000U, 0U}) {
                if (xer == 0 && words[3] == branch(4, 31, -12)) continue; // forever
                const Start start{.first = 0, .last = 40, .value = 0x123, .ctr = 33, .xer = xer};
                for (unsigned round = 0; round < 3; ++round) {
                    CAPTURE(static_cast<int>(kind), words[3], xer, round);
                    const Result expected = trapping.run(start), got = patched.run(start);
                    check_same(expected, got);
                    CHECK(got.tlbwe == 1);
                }
            }
        }
    }
}

TEST_CASE("the decrementer strikes at the same instruction of a sweep", "[sequence]") {
    for (const Machine::Kind kind : kinds) {
        Kernel trapping(Machine::Kind::interpreter, 0, sweep), patched(kind, level3, sweep);
        patched.run({.first = 0, .last = 61});
        std::uint32_t struck = 0;
        for (std::uint32_t deadline = 1; deadline < 4 * 62; ++deadline) {
            CAPTURE(static_cast<int>(kind), deadline);
            const Start start{.first = 0, .last = 61, .deadline = deadline};
            const Result expected = trapping.run(start), got = patched.run(start);
            check_same(expected, got); // with r23, where it came from
            struck += got.interrupted ? 1 : 0;
            CHECK(got.state.gpr[23] == base + 4 * (deadline % 4));
            // Back in the middle of a loop, the guest comes to its site by itself.
            CHECK(got.tlbwe <= 2);
        }
        CHECK(struck == 4 * 62 - 1);
    }
}
