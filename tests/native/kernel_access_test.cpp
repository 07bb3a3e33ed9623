// SPDX-License-Identifier: GPL-2.0-only
// A patched kernel that opens a process's memory by PID, uses it and closes it again, as Linux does: what that costs in
// exits, and that memory is closed when it should be.
#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "comparison.h"
#include "tests/runtime/guest.h"
#include "translator/isa/spr.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using code::Word;
using mmu::TlbEntry;
using native::Comparison;
using runtime::ExitReason;
using runtime::RunExit;

constexpr std::uint32_t origin = Comparison::origin, page = 0x80000000;
constexpr std::uint64_t real = 0x40000;
constexpr unsigned process = 3, rounds = 40;
constexpr unsigned data_miss = static_cast<unsigned>(isa::Interrupt::data_tlb_error);
constexpr Word lwzu(Word rt, Word ra, Word d) { return code::d_form(33, rt, ra, d); }
constexpr Word stwu(Word rt, Word ra, Word d) { return code::d_form(37, rt, ra, d); }
const Word opens = code::mtspr(isa::spr::pid, 10), closes = code::mtspr(isa::spr::pid, 11);

class Kernel {
  public:
    Kernel() : random_(seeded_random(51)), guest_(random_) {
        guest_.cpu.interrupt_interval = 0;
        guest_.native->set_level(3, 1);
        guest_.start(Comparison::first_state());
        guest_.both([](native::Machine& machine) {
            machine.map(5, page, real, 1, TlbEntry::sr | TlbEntry::sw, process);
            for (unsigned word = 0; word < 64; ++word) machine.put(real + 4 * word, 0x01010101 * word);
        });
    }

    // `body` is run so often, by CTR; at its end comes the exit.
    void run(std::vector<Word> body, unsigned count = rounds, unsigned expected_dcr = Comparison::dcr_done) {
        body.push_back(code::bdnz(-4 * static_cast<std::int32_t>(body.size())));
        body.push_back(code::mtdcr(Comparison::dcr_done, 0));
        guest_.put_code(origin, body);
        again(count, expected_dcr);
    }
    void again(unsigned count = rounds, unsigned expected_dcr = Comparison::dcr_done) {
        guest_.both([&](native::Machine& machine) {
            isa::CpuState& state = machine.state();
            machine.vcpu().abandon_instruction();
            state.pc = origin;
            state.page.msr = isa::msr::me;
            state.page.pid = 0;
            state.ctr = count;
            state.gpr[4] = page;
            state.gpr[6] = 0x2000;
            state.gpr[10] = process;
            state.gpr[11] = 0;
            machine.stop_after = machine.progress() + 100000;
        });
        REQUIRE(guest_.interpreted->vcpu().run() == RunExit::dcr);
        REQUIRE(guest_.native->vcpu().run() == RunExit::dcr);
        CHECK(guest_.native->vcpu().dcr().number == expected_dcr);
        REQUIRE(difference(*guest_.interpreted, *guest_.native) == "");
        guest_.both([](native::Machine& machine) { machine.vcpu().complete_dcr(0); });
    }
    // Exits for shadow entries, this time.
    std::uint64_t virtual_exits_of_another_run(unsigned count = rounds) {
        const std::uint64_t before = guest_.native->exits(ExitReason::dtlb_virt);
        again(count);
        return guest_.native->exits(ExitReason::dtlb_virt) - before;
    }
    Comparison& guest() { return guest_; }

  private:
    Random random_;
    Comparison guest_;
};

} // namespace

TEST_CASE("a single access to a process's memory is one exit", "[access]") {
    constexpr unsigned few = 10; // not enough to make it hot
    for (const Word access : {code::lbz(7, 4, 5), code::lwz(7, 4, 8), code::stw(7, 4, 12), code::stb(7, 4, 3),
                              code::lwbrx(7, 0, 4), code::x_form(7, 0, 4, 662)}) { // stwbrx
        Kernel kernel;
        kernel.run({opens, access, closes}, 2);
        CHECK(kernel.virtual_exits_of_another_run(few) == few);
    }
    // What follows directly is done in the same exit.
    Kernel kernel;
    kernel.run({opens, code::lwz(7, 4, 0), code::lwz(8, 4, 4), closes}, 2);
    CHECK(kernel.virtual_exits_of_another_run(few) == few);
}

TEST_CASE("a copy from a process's memory maps the page, and the write of PID takes it out", "[access]") {
    Kernel kernel;
    std::vector<Word> body{opens};
    for (unsigned word = 0; word < 16; ++word) {
        body.push_back(lwzu(7, 4, 4));
        body.push_back(stwu(7, 6, 4));
    }
    body.push_back(closes);
    body.push_back(code::addi(4, 4, 0xFFC0));
    body.push_back(code::addi(6, 6, 0xFFC0));
    kernel.run(body);
    kernel.again();
    // The miss and the write; a few rounds find out anew whether the page is worth it.
    const std::uint64_t exits = kernel.virtual_exits_of_another_run();
    CHECK(exits >= 2 * rounds);
    CHECK(exits <= 2 * rounds + 4 * (rounds / 32 + 1));
}

TEST_CASE("a process's memory is closed when its PID is", "[access]") {
    Kernel kernel;
    const std::vector<Word> bodies[] = {
        {opens, code::lbz(7, 4, 0), closes, code::lbz(7, 4, 0)},
        // As often as it takes to have the page mapped.
        {opens, code::lwz(7, 4, 0), code::nop, code::lwz(7, 4, 4), code::nop, code::lwz(7, 4, 8), code::nop,
         code::lwz(7, 4, 12), closes, code::lbz(7, 4, 0)},
    };
    for (const std::vector<Word>& body : bodies) {
        std::vector<Word> closed = body;
        closed.pop_back();
        kernel.run(closed);
        kernel.again();
        kernel.run(body, rounds, Comparison::dcr_handler + data_miss);
        CHECK(kernel.guest().native->state().page.dear == page);
        CHECK(kernel.guest().native->state().page.pid == 0);
    }
}

TEST_CASE("another process's memory is not the one that was open", "[access]") {
    Kernel kernel;
    kernel.guest().both([](native::Machine& machine) {
        machine.map(6, page, real + 0x1000, 1, TlbEntry::sr | TlbEntry::sw, process + 1);
        machine.put(real + 0x1000, 0x12345678);
    });
    const Word other = code::mtspr(isa::spr::pid, 12);
    kernel.run({code::li(12, process + 1), opens, code::lwz(7, 4, 0), code::nop, code::lwz(7, 4, 4), code::nop,
                code::lwz(7, 4, 8), code::nop, code::lwz(7, 4, 12), other, code::lwz(8, 4, 0), closes});
    kernel.again();
    CHECK(kernel.guest().native->state().gpr[8] == 0x12345678);
}
