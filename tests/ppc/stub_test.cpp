// SPDX-License-Identifier: GPL-2.0-only
// Every kind of stub, against emulation of the instruction that it stands for: undisturbed, interrupted before each of
// its words, and with a fault in each of its accesses.
#include <catch2/catch_test_macros.hpp>

#include <bit>
#include <vector>

#include "model.h"
#include "translator/ppc/encode.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

using isa::CpuState;
using isa::TrapKind;
using ppc::GuestPage;
using ppc::Registers;
namespace msr = isa::msr;
namespace spr = isa::spr;

constexpr std::uint32_t site = Model::code_ea + 4;

struct Case {
    std::uint32_t original;
    Registers dead;
    CpuState guest;
    std::uint32_t live_pid;
};

// The guest's registers that the site's instruction names.
std::uint32_t operand(std::uint32_t original) {
    const isa::Instruction insn = isa::decode(original);
    return insn.op == Op::wrteei ? 0 : 1U << insn.rt();
}

// Whether the stub has to take the trap.
bool must_trap(const Case& test) {
    const isa::Instruction insn = isa::decode(test.original);
    const isa::StatePage& page = test.guest.page;
    const std::uint32_t value = test.guest.gpr[insn.rt()];
    switch (insn.op) {
    case Op::wrteei: return insn.e() && page.pending != 0;
    case Op::wrtee: return (value & page.pending) != 0;
    case Op::mtmsr: return ((value ^ page.msr) & msr::mode) != 0 || (value & page.pending) != 0;
    case Op::mtspr: return insn.spr() == spr::pid && test.live_pid != GuestPage::no_pid;
    default: return false;
    }
}

struct Result {
    CpuState guest;
    unsigned instructions = 0;
    unsigned traps = 0, interrupts = 0, faults = 0;
};

// What the guest does to its page while a stub is interrupted, as far as it is not its state.
void scribble(Random& random, isa::StatePage& page) {
    for (std::uint32_t& slot : page.scratch) slot = random.word();
}

// Runs from the site to the next instruction. interrupt_at: before this instruction of the CPU, -1 for never.
Result run(Model& model, Random& random, const Case& test, int interrupt_at, int fault_at) {
    Result result;
    model.fault_at = fault_at;
    model.enter(test.guest, test.live_pid);
    // What the guest sees when it is stopped before its site, and after it.
    const auto check_view = [&](const CpuState& view) {
        if (view.pc == site + 4) return;
        REQUIRE(view.pc == site);
        Registers dead = test.dead;
        dead.gpr &= ~operand(test.original);
        REQUIRE(difference(view, test.guest, dead) == "");
    };
    while (model.cpu.pc != site + 4) {
        REQUIRE(result.instructions < 200);
        if (static_cast<int>(result.instructions++) == interrupt_at) {
            CpuState view = model.leave();
            check_view(view);
            scribble(random, view.page);
            model.enter(view, test.live_pid);
            ++result.interrupts;
            continue;
        }
        const std::uint32_t pc = model.cpu.pc;
        const isa::Trap trap = model.step();
        if (trap.kind == TrapKind::none) continue;
        CpuState view = model.leave();
        check_view(view);
        if (trap.kind == TrapKind::data_miss) {
            REQUIRE(model.arena.holds(pc));
            REQUIRE(view.pc == site); // nothing fails after the commit but the way back, which can be done again
            scribble(random, view.page);
            model.enter(view, test.live_pid);
            ++result.faults;
            continue;
        }
        REQUIRE(trap.kind == TrapKind::privileged);
        REQUIRE(trap.word == test.original);
        REQUIRE(view.pc == site);
        ++result.traps;
        REQUIRE(model.emulate(view, test.original) == runtime::Emulator::Outcome::completed);
        model.enter(view, view.page.pid);
    }
    result.guest = model.leave();
    return result;
}

std::vector<std::uint32_t> stub_instructions() {
    std::vector<std::uint32_t> words = {wrteei(false), wrteei(true)};
    for (unsigned gpr = 0; gpr < 32; ++gpr)
        for (std::uint32_t word : {wrtee(gpr), mtmsr(gpr), mtspr(spr::pid, gpr), mtspr(spr::mmucr, gpr),
                                   mtspr(spr::srr0, gpr), mtspr(spr::csrr0, gpr)})
            words.push_back(word);
    return words;
}

CpuState guest_for(Random& random, std::uint32_t original, std::uint32_t pending) {
    CpuState guest = random_guest(random, site);
    guest.page.pending = pending;
    const isa::Instruction insn = isa::decode(original);
    // Often an MSR that differs in no mode bit, or in one.
    if (insn.op == Op::mtmsr && random.chance(80)) {
        std::uint32_t value = guest.page.msr ^ (random.word() & (msr::ee | msr::ce | msr::me | ~msr::defined));
        if (random.chance(30)) value ^= isa::ppc_bit(random.below(32)) & ~(msr::pr | msr::is | msr::ds);
        guest.gpr[insn.rt()] = value;
    } else if (insn.op == Op::mtmsr) {
        guest.gpr[insn.rt()] &= ~(msr::pr | msr::is | msr::ds);
    }
    if (insn.op == Op::mtspr && random.chance(50)) guest.gpr[insn.rt()] = random.below(4) | (random.word() & ~0xFFU);
    return guest;
}

} // namespace

TEST_CASE("stubs do what emulation does, interrupted and faulting anywhere") {
    Random random = seeded_random(0x570B);
    Model model;
    std::uint64_t runs = 0, traps = 0;
    for (const std::uint32_t original : stub_instructions()) {
        for (unsigned variant = 0; variant < 4; ++variant) {
            Registers dead;
            if (variant != 0)
                dead = {random.word() & random.word(), static_cast<std::uint8_t>(random.word() & random.word())};
            if (variant == 3) dead = {~0U, 0xFF};
            dead.gpr &= ~operand(original);
            model.set_code({0x60000000, original, 0x60000000});
            REQUIRE(model.patch(site, words_and_stubs, dead));
            for (unsigned kinds = 0; kinds < 8; ++kinds) {
                const std::uint32_t pending = ((kinds & 1) != 0 ? isa::pending::external : 0) |
                                              ((kinds & 2) != 0 ? isa::pending::critical : 0) |
                                              ((kinds & 4) != 0 ? isa::pending::debug : 0);
                Case test{original, dead, guest_for(random, original, pending), GuestPage::no_pid};
                if (random.chance(60)) test.live_pid = test.guest.page.pid;
                INFO("word " << std::hex << original << " dead " << dead.gpr << ' ' << unsigned{dead.cr} << " pending "
                             << pending << " live pid " << test.live_pid);
                CpuState expected = test.guest;
                REQUIRE(model.emulate(expected, original) == runtime::Emulator::Outcome::completed);

                const Result plain = run(model, random, test, -1, -1);
                REQUIRE(difference(plain.guest, expected, dead) == "");
                REQUIRE(plain.traps == (must_trap(test) ? 1 : 0));
                traps += plain.traps;
                for (int at = 0; at < static_cast<int>(plain.instructions); ++at) {
                    const Result interrupted = run(model, random, test, at, -1);
                    REQUIRE(interrupted.interrupts == 1);
                    REQUIRE(difference(interrupted.guest, expected, dead) == "");
                    ++runs;
                }
                model.page_accesses = 0;
                run(model, random, test, -1, -1);
                const int accesses = static_cast<int>(model.page_accesses);
                const bool saves = !model.restarts.empty() && model.restarts[0].gpr != ppc::Restart::none;
                // The last access of a stub that ends well and saves a register reads it back: after the commit.
                const int before_commit = accesses - (saves && plain.traps == 0 ? 1 : 0);
                for (int at = 0; at < before_commit; ++at) {
                    const Result faulted = run(model, random, test, -1, at);
                    REQUIRE(faulted.faults == 1);
                    REQUIRE(difference(faulted.guest, expected, dead) == "");
                    ++runs;
                }
            }
        }
    }
    CHECK(runs > 50'000);
    CHECK(traps > 1'000);
}

TEST_CASE("a fault in a stub after its commit leaves the guest at the next instruction") {
    Random random = seeded_random(0x570C);
    Model model;
    for (const std::uint32_t original : stub_instructions()) {
        model.set_code({0x60000000, original, 0x60000000});
        REQUIRE(model.patch(site, words_and_stubs, {}));
        Case test{original, {}, guest_for(random, original, 0), GuestPage::no_pid};
        if (must_trap(test)) continue;
        CpuState expected = test.guest;
        model.emulate(expected, original);
        model.page_accesses = 0;
        run(model, random, test, -1, -1);
        model.enter(test.guest, test.live_pid);
        model.fault_at = static_cast<int>(model.page_accesses) - 1;
        isa::Trap trap;
        while (trap.kind == TrapKind::none) trap = model.step();
        REQUIRE(trap.kind == TrapKind::data_miss);
        REQUIRE(model.in_stub());
        REQUIRE(difference(model.leave(), expected) == "");
    }
}

TEST_CASE("patched words do what emulation does, with every register") {
    Random random = seeded_random(0x570D);
    Model model;
    unsigned stores = 0;
    for (unsigned gpr = 0; gpr < 32; ++gpr) {
        std::vector<std::uint32_t> words = {mfmsr(gpr),
                                            isa::instruction_table[static_cast<std::size_t>(Op::tlbsync)].match};
        for (unsigned number :
             {26U, 27U, 48U, 58U, 59U, 61U, 62U, 272U, 273U, 274U, 275U, 276U, 277U, 278U, 279U, 946U})
            words.push_back(mfspr(gpr, number));
        for (unsigned number : {27U, 59U, 61U, 62U, 272U, 273U, 274U, 275U}) words.push_back(mtspr(number, gpr));
        for (const std::uint32_t word : words) {
            INFO(std::hex << word);
            model.set_code({0x60000000, word, 0x60000000});
            REQUIRE(ppc::shape_of(plan_of(word)) == ppc::Shape::word);
            REQUIRE(model.patch(site, words_and_stubs, {}));
            const CpuState guest = random_guest(random, site);
            CpuState expected = guest;
            model.emulate(expected, word);
            for (const int fault : {-1, 0}) {
                model.enter(guest, GuestPage::no_pid);
                model.fault_at = fault;
                isa::Trap trap = model.step();
                if (trap.kind != TrapKind::none) {
                    REQUIRE(trap.kind == TrapKind::data_miss);
                    REQUIRE(difference(model.leave(), guest) == "");
                    trap = model.step();
                }
                REQUIRE(trap.kind == TrapKind::none);
                REQUIRE(difference(model.leave(), expected) == "");
                model.fault_at = -1;
            }
            ++stores;
        }
    }
    CHECK(stores == 32 * 26);
}

TEST_CASE("what is read of the CPU itself keeps its trap") {
    for (unsigned number = spr::sprg4; number <= spr::sprg7; ++number)
        CHECK(ppc::shape_of(plan_of(mtspr(number, 3))) == ppc::Shape::trap);
    CHECK(ppc::shape_of(plan_of(mtspr(spr::dec, 3))) == ppc::Shape::trap);
    plan::Patch sequence;
    sequence.level = 3;
    sequence.span = 3;
    CHECK(ppc::shape_of(sequence) == ppc::Shape::trap);
}

TEST_CASE("programs that are none are refused") {
    using plan::Step;
    using plan::StepKind;
    const auto shape = [](std::initializer_list<Step> steps) {
        plan::Patch patch;
        patch.level = 2;
        unsigned index = 0;
        for (const Step& step : steps) patch.steps[index++] = step;
        return ppc::shape_of(patch);
    };
    const Step set{StepKind::set_msr_bits, 0, 0, msr::ee}, test{StepKind::trap_if_pending, plan::any_gpr, 0, msr::ee};
    const Step changes{StepKind::trap_if_msr_changes, 3, 0, msr::mode};
    CHECK(shape({test, set}) == ppc::Shape::stub);
    CHECK(shape({changes, test, set}) == ppc::Shape::stub);
    CHECK(shape({set, set}) == ppc::Shape::trap);  // two commits
    CHECK(shape({set, test}) == ppc::Shape::trap); // a test behind the commit
    CHECK(shape({test}) == ppc::Shape::trap);
    CHECK(shape({changes, {StepKind::nothing, 0, 0, 0}}) == ppc::Shape::trap);
    CHECK(shape({{StepKind::store_field, 3, offsetof(isa::StatePage, pending), ~0U}}) == ppc::Shape::trap);
    CHECK(shape({{StepKind::store_field, 3, offsetof(isa::StatePage, scratch), ~0U}}) == ppc::Shape::trap);
    CHECK(shape({{StepKind::store_field, 3, 2, ~0U}}) == ppc::Shape::trap);
    CHECK(shape({{StepKind::store_field, 40, 0, ~0U}}) == ppc::Shape::trap);
    CHECK(shape({{StepKind::load_field, 3, sizeof(isa::StatePage), 0}}) == ppc::Shape::trap);
    CHECK(shape({{StepKind::clear_msr_bits, 0, 0, 0}}) == ppc::Shape::trap);
    // The longest program of a plan does not fit, and is not cut short either.
    plan::Patch longest;
    longest.level = 2;
    for (unsigned index = 0; index < 5; ++index)
        longest.steps[index] = {StepKind::trap_if_msr_changes, 3, 0, 0x55555555};
    longest.steps[5] = {StepKind::copy_msr_bits, 3, 0, 0x55555555};
    ppc::Stub stub;
    CHECK(ppc::shape_of(longest) == ppc::Shape::stub);
    CHECK(ppc::emit_stub(longest, mtmsr(3), site, Model::arena_ea, {}, stub) == ppc::Emitted::no_stub);
}

TEST_CASE("site and stub are within 32 MB of each other, both ways") {
    const plan::Patch patch = plan_of(wrteei(true));
    ppc::Stub stub;
    const auto emit = [&](std::uint32_t from, std::uint32_t at) {
        const ppc::Emitted result = ppc::emit_stub(patch, wrteei(true), from, at, {}, stub);
        std::uint32_t word = 0;
        if (result == ppc::Emitted::done) {
            REQUIRE(ppc::branch_to_stub(from, at, word));
            REQUIRE(from + static_cast<std::uint32_t>(isa::decode(word).li()) == at);
            REQUIRE(ppc::verify(stub.words.data(), at, stub.restart, wrteei(true), {}) == ppc::Flaw::none);
        }
        return result;
    };
    constexpr std::uint32_t base = 0xC0000000, reach = 32U << 20;
    REQUIRE(emit(base, base - 0x10000) == ppc::Emitted::done);
    const std::uint32_t line = 4 * (stub.restart.line - 1U);
    // Ahead: the way there is a word shorter than the way back.
    CHECK(emit(base, base + reach - 4 - line) == ppc::Emitted::done);
    CHECK(emit(base, base + reach + 4 - line) == ppc::Emitted::done);
    CHECK(emit(base, base + reach + 8 - line) == ppc::Emitted::out_of_reach);
    CHECK(emit(base, base + reach) == ppc::Emitted::out_of_reach);
    // Behind it.
    CHECK(emit(base, base - reach) == ppc::Emitted::done);
    CHECK(emit(base, base - reach - 4) == ppc::Emitted::out_of_reach);
    CHECK(emit(base, base + 0x40000000) == ppc::Emitted::out_of_reach);
    // Around the end of the address space, but not in the guest's page.
    CHECK(emit(0xFFFFE000, 0x1000) == ppc::Emitted::done);
    CHECK(emit(0x1000, 0xFFFF0000) == ppc::Emitted::done);
    CHECK(emit(0xFFFFF800, 0xFFFF0000) == ppc::Emitted::out_of_reach);
    CHECK(emit(0xFFFFEFFC, 0xFFFF0000) == ppc::Emitted::out_of_reach);
    CHECK(emit(0xFFFF0000, 0xFFFFEFC0) == ppc::Emitted::out_of_reach);
    CHECK(emit(0xFFFFFF00, 0xFFFFF000) == ppc::Emitted::out_of_reach);
    // Neither on top of each other nor between words.
    CHECK(emit(base, base) == ppc::Emitted::out_of_reach);
    CHECK(emit(base + 8, base) == ppc::Emitted::out_of_reach);
    CHECK(emit(base + 2, base + 0x100) == ppc::Emitted::out_of_reach);
}

TEST_CASE("stubs are as short as the registers allow") {
    ppc::Stub stub;
    const auto length = [&](std::uint32_t word, Registers dead) {
        REQUIRE(ppc::emit_stub(plan_of(word), word, site, Model::arena_ea, dead, stub) == ppc::Emitted::done);
        return unsigned{stub.restart.line};
    };
    constexpr Registers everything{~0U, 0xFF}, nothing{};
    CHECK(length(wrteei(false), everything) == 4);
    CHECK(length(wrteei(false), nothing) == 6);
    CHECK(length(wrteei(true), everything) == 6);
    CHECK(length(wrteei(true), nothing) == 8);
    CHECK(length(wrtee(5), everything) == 7);
    CHECK(length(wrtee(5), nothing) == 9);
    CHECK(length(mtspr(spr::srr0, 5), everything) == 3);
    CHECK(length(mtspr(spr::pid, 5), nothing) == 7);
    // All but mtmsr fit one granule with everything saved.
    for (const std::uint32_t word : stub_instructions()) {
        length(word, nothing);
        if (isa::decode(word).op != Op::mtmsr) CHECK(stub.restart.length <= ppc::StubArena::granule_words);
        CHECK(stub.restart.length <= ppc::Stub::max_words);
    }
}

} // namespace untrap::tests::ppc440
