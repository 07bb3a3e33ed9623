// SPDX-License-Identifier: GPL-2.0-only
// The verifier accepts what the emitter makes, and nothing that could lose a register, commit twice or get away.
#include <catch2/catch_test_macros.hpp>

#include <set>
#include <vector>

#include "model.h"
#include "translator/ppc/encode.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

using isa::CpuState;
using isa::TrapKind;
using ppc::Flaw;
using ppc::Registers;
namespace encode = ppc::encode;
namespace spr = isa::spr;

constexpr std::uint32_t site = Model::code_ea, at = Model::arena_ea;

ppc::Stub make(std::uint32_t word, Registers dead = {}) {
    ppc::Stub stub;
    REQUIRE(ppc::emit_stub(plan_of(word), word, site, at, dead, stub) == ppc::Emitted::done);
    REQUIRE(ppc::verify(stub.words.data(), at, stub.restart, word, dead) == Flaw::none);
    return stub;
}
Flaw check(const ppc::Stub& stub, std::uint32_t word, Registers dead = {}) {
    return ppc::verify(stub.words.data(), at, stub.restart, word, dead);
}

// Runs a stub that the verifier has accepted as a CPU would, and says what it does wrong, "" if nothing.
std::string misbehaves(Model& model, Random& random, const ppc::Stub& stub, std::uint32_t original, Registers dead) {
    for (unsigned index = 0; index < ppc::Stub::max_words; ++index)
        model.stub_words[index] = index < stub.restart.length ? stub.words[index] : 0;
    const CpuState guest = random_guest(random, site);
    model.enter(guest, random.below(2) != 0 ? ppc::GuestPage::no_pid : random.below(4));
    model.page.state.pending = random.below(2) != 0 ? random.word() : 0;
    model.cpu.pc = at;
    Registers before = dead;
    const isa::Instruction insn = isa::decode(original);
    if (insn.op != Op::wrteei) before.gpr &= ~(1U << insn.rt());
    bool committed = false;
    for (unsigned steps = 0; steps < 100; ++steps) {
        const std::uint32_t pc = model.cpu.pc;
        const unsigned index = (pc - at) / 4;
        if (pc == site + 4) {
            if (!committed) return "did not commit";
            CpuState now = model.cpu;
            now.page = guest.page;
            now.pc = site;
            return difference(now, guest, dead);
        }
        if (index >= stub.restart.length) return "left the stub";
        CpuState now = model.cpu;
        ppc::restore(now, stub.restart, index, model.page.state);
        if (now.pc != (committed ? site + 4 : site)) return "wrong pc";
        now.pc = guest.pc;
        now.page = guest.page;
        if (const std::string lost = difference(now, guest, committed ? dead : before); !lost.empty()) return lost;
        const ppc::GuestPage page = model.page;
        const isa::Trap trap = model.step();
        const auto* const was = reinterpret_cast<const std::uint32_t*>(&page);
        const auto* const is = reinterpret_cast<const std::uint32_t*>(&model.page);
        for (unsigned word = 0; word < sizeof page / 4; ++word) {
            const bool slot = word * 4 >= ppc::slot_field(0) && word * 4 < ppc::slot_field(8);
            if (was[word] != is[word] && !slot && !ppc::may_commit(word * 4)) return "stored elsewhere";
        }
        const isa::Instruction executed = isa::decode(model.stub_words[index]);
        if (executed.op == Op::stw && index == stub.restart.commit) {
            if (committed) return "committed twice";
            committed = true;
        }
        if (trap.kind == TrapKind::none) continue;
        if (trap.kind != TrapKind::trap_condition || index >= stub.restart.line) return "another trap";
        return committed ? "trap after the commit" : "";
    }
    return "endless";
}

} // namespace

TEST_CASE("the verifier accepts only stubs that behave, with any bit of them changed") {
    Random random = seeded_random(0x7E21);
    Model model;
    model.set_code({0x60000000, 0x60000000});
    unsigned accepted = 0, refused = 0;
    for (const std::uint32_t original : {wrteei(false), wrteei(true), wrtee(0), wrtee(9), mtmsr(0), mtmsr(31),
                                         mtspr(spr::pid, 4), mtspr(spr::mmucr, 12), mtspr(spr::srr0, 1)}) {
        for (const Registers dead : {Registers{}, Registers{0x00000800, 0x02}, Registers{0xFFFFF7F0, 0x01}}) {
            const ppc::Stub good = make(original, dead);
            const auto attempt = [&](const ppc::Stub& stub, unsigned position) {
                if (check(stub, original, dead) != Flaw::none) {
                    ++refused;
                    return;
                }
                ++accepted;
                INFO("word " << std::hex << original << " dead " << dead.gpr << " changed " << std::dec << position);
                for (unsigned round = 0; round < 12; ++round)
                    REQUIRE(misbehaves(model, random, stub, original, dead) == "");
            };
            for (unsigned bit = 0; bit < good.restart.length * 32U; ++bit) {
                ppc::Stub stub = good;
                stub.words[bit / 32] ^= 1U << bit % 32;
                attempt(stub, bit);
            }
            // Words exchanged, repeated and dropped.
            for (unsigned round = 0; round < 400; ++round) {
                ppc::Stub stub = good;
                const unsigned from = random.below(good.restart.length), to = random.below(good.restart.length);
                if (random.chance(50))
                    std::swap(stub.words[from], stub.words[to]);
                else
                    stub.words[to] = stub.words[from];
                attempt(stub, 10'000 + from * 100 + to);
            }
            // The restart entry.
            for (unsigned position = 4; position < sizeof(ppc::Restart); ++position)
                for (unsigned value = 0; value < 256; ++value) {
                    ppc::Stub stub = good;
                    reinterpret_cast<std::uint8_t*>(&stub.restart)[position] = static_cast<std::uint8_t>(value);
                    attempt(stub, 20'000 + position * 1000 + value);
                }
        }
    }
    CHECK(refused > 10'000);
    CHECK(accepted > 100);
}

// The arena is executable for the guest's kernel, its page writable: whatever it makes of that, only its own registers
// and page suffer, and it is never told an address of the host's choosing.
TEST_CASE("a guest that jumps into stubs and writes all over its page harms only itself") {
    Random random = seeded_random(0x3A12);
    Model model;
    unsigned returned = 0, trapped = 0;
    for (const std::uint32_t original : {wrteei(false), wrteei(true), wrtee(9), mtmsr(31), mtspr(spr::pid, 4),
                                         mtspr(spr::mmucr, 12), mtspr(spr::srr0, 1)}) {
        model.set_code({original, 0x60000000});
        REQUIRE(model.patch(site, words_and_stubs, {random.word(), 0}));
        const auto data = model.data;
        const auto code = model.stub_words;
        for (unsigned entry = 0; entry < 2 * ppc::StubArena::granule_words; ++entry) {
            for (unsigned round = 0; round < 40; ++round) {
                model.enter(random_guest(random, site), 0);
                auto* const words = reinterpret_cast<std::uint32_t*>(&model.page);
                for (unsigned word = 0; word < sizeof model.page / 4; ++word) words[word] = random.word();
                model.cpu.pc = at + 4 * entry;
                unsigned index = 0;
                isa::Trap trap;
                for (unsigned steps = 0; model.in_stub() && trap.kind == TrapKind::none; ++steps) {
                    REQUIRE(steps < 40);
                    trap = model.step();
                }
                if (trap.kind == TrapKind::illegal) {
                    // Behind a stub: the host sees that this is no stub of its own.
                    REQUIRE(model.arena.find(model.cpu.pc, index) == nullptr);
                    continue;
                }
                if (trap.kind == TrapKind::none) {
                    REQUIRE(model.cpu.pc == site + 4);
                    ++returned;
                } else {
                    REQUIRE(trap.kind == TrapKind::privileged);
                    REQUIRE(trap.word == original);
                    ++trapped;
                }
                const CpuState view = model.leave();
                REQUIRE(view.pc == (trap.kind == TrapKind::none ? site + 4 : site));
                REQUIRE((view.page.msr & ~isa::msr::defined) == 0);
                REQUIRE(view.page.pid <= 0xFF);
            }
        }
        REQUIRE(model.data == data);
        REQUIRE(model.stub_words == code);
    }
    CHECK(returned > 1000);
    CHECK(trapped > 100);
}

TEST_CASE("the verifier says what is wrong") {
    const std::uint32_t word = wrteei(true);
    const ppc::Stub good = make(word);
    const auto with = [&](unsigned index, std::uint32_t replacement) {
        ppc::Stub stub = good;
        stub.words[index] = replacement;
        return check(stub, word);
    };
    const unsigned last = good.restart.line - 1U, commit = good.restart.commit, trap = good.restart.length - 1U;
    CHECK(with(0, encode::nop) == Flaw::lost_register);
    CHECK(with(0, encode::stw(0, 1, -8)) == Flaw::storage);
    CHECK(with(0, encode::stw(0, 0, 0)) == Flaw::storage);
    CHECK(with(0, encode::stw(0, 0, -4096 + static_cast<int>(sizeof(ppc::GuestPage)))) == Flaw::storage);
    CHECK(with(0, encode::stw(0, 0, -4092)) == Flaw::storage); // pending
    CHECK(with(commit, encode::nop) == Flaw::commit);
    CHECK(with(commit - 1, good.words[commit]) == Flaw::commit);
    CHECK(with(last, encode::b(4)) == Flaw::branch);
    CHECK(with(last, good.words[last] | 1) == Flaw::branch);
    CHECK(with(last, encode::nop) == Flaw::branch);
    CHECK(with(last - 1, good.words[last]) == Flaw::branch);
    CHECK(with(trap, mtmsr(3)) == Flaw::original);
    CHECK(with(trap, 0) == Flaw::original);
    CHECK(with(last - 1, encode::twnei(0, 0)) == Flaw::commit);
    CHECK(with(4, word) == Flaw::privileged);
    CHECK(with(4, match(Op::sc)) == Flaw::instruction);
    CHECK(with(4, encode::recording(encode::rlwinm(0, 0, 0, 0, 30))) == Flaw::instruction);
    CHECK(with(4, encode::cmpwi(0, 0, 0)) == Flaw::instruction);
    CHECK(with(4, encode::mtcrf(1, 0)) == Flaw::instruction);
    CHECK(with(4, encode::bc(encode::if_clear, 2, 4)) == Flaw::instruction);
    CHECK(with(4, match(Op::mfspr) | field_spr(spr::lr)) == Flaw::instruction);
    CHECK(check(good, encode::nop) == Flaw::original);
    ppc::Stub stub = good;
    stub.restart.site += 4;
    CHECK(check(stub, word) == Flaw::branch);
    stub = good;
    stub.restart.commit = stub.restart.line;
    CHECK(check(stub, word) == Flaw::shape);
    stub = good;
    stub.restart.length = stub.restart.line; // no word to tell what a trap stands for
    CHECK(check(stub, word) == Flaw::commit);
    // What was dead when it was made must be dead.
    CHECK(check(make(word, {~0U, 0xFF}), word) == Flaw::lost_register);
    // An operand of the original is alive, whatever the caller says.
    stub = make(wrtee(0), {2, 1});
    for (std::uint32_t& code : stub.words)
        if (isa::decode(code).op == Op::lwz) code &= ~field_rt(31);
    CHECK(check(stub, wrtee(0), {~0U, 0xFF}) == Flaw::lost_register);
    std::set<std::string> names;
    for (unsigned flaw = 0; flaw <= static_cast<unsigned>(Flaw::lost_register); ++flaw)
        names.insert(ppc::name(static_cast<Flaw>(flaw)));
    CHECK(names.size() == static_cast<unsigned>(Flaw::lost_register) + 1);
}

// A trap instruction of a stub stands for the site's instruction: as long as that has not been done, and where the word
// that tells what it is lies behind the line.
TEST_CASE("a stub traps before its commit, with the original behind the line") {
    for (const std::uint32_t word : {wrteei(true), wrtee(9), mtmsr(31), mtspr(spr::pid, 4), mtspr(spr::srr0, 1)}) {
        const ppc::Stub good = make(word);
        CAPTURE(word);
        bool traps = false;
        for (unsigned index = 0; index < good.restart.line; ++index)
            traps = traps || isa::decode(good.words[index]).op == Op::twi;
        CHECK((!traps || good.restart.has_original()));
        for (unsigned index = 0; index < good.restart.line - 1U; ++index) {
            ppc::Stub stub = good;
            stub.words[index] = encode::twnei(0, 0);
            if (index >= good.restart.commit) CHECK(check(stub, word) == Flaw::commit);
            // Room for the original, so that nothing but its lack can be wrong.
            stub.restart.length = stub.restart.line;
            CHECK(check(stub, word) != Flaw::none);
            if (isa::decode(good.words[index]).op == Op::twi) CHECK(check(stub, word) == Flaw::commit);
        }
        // One that is added, the original with it: a trap in a slot of the code that does nothing else is no flaw.
        ppc::Stub stub = good;
        stub.restart.length = static_cast<std::uint8_t>(stub.restart.line + 1);
        stub.words[stub.restart.line] = word;
        CHECK(check(stub, word) == Flaw::none);
        stub.words[stub.restart.line] = word ^ field_rt(1);
        CHECK(check(stub, word) == Flaw::original);
    }
}

} // namespace untrap::tests::ppc440
