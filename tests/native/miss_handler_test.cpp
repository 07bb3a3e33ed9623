// SPDX-License-Identifier: GPL-2.0-only
// Level 4: a TLB miss of the guest is one exit, handler included; and what the compiled handler rests on may change at
// any time.
#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "comparison.h"
#include "tests/jit/machine.h"
#include "tests/runtime/guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using native::Comparison;
using runtime::ExitReason;
using runtime::RunExit;

constexpr std::uint32_t origin = Comparison::origin, table = 0x4000, counter = 0x3F00, touched = 0x40000000,
                        data_real = 0x100000;
constexpr unsigned pages = 64;
constexpr unsigned data_miss = static_cast<unsigned>(isa::Interrupt::data_tlb_error);
constexpr std::uint32_t handler = Comparison::handlers + data_miss * 0x100;
constexpr Word rlwinm(Word ra, Word rs, Word sh, Word mb, Word me) {
    return 21U << 26 | rs << 21 | ra << 16 | sh << 11 | mb << 6 | me << 1;
}
constexpr Word mfcr(Word rt) { return x_form(rt, 0, 0, 19); }
constexpr Word mtcr(Word rs) { return 31U << 26 | rs << 21 | 0xFFU << 12 | 144U << 1; }
constexpr Word cmpwi(Word ra, Word value) { return d_form(11, 0, ra, value); }

// Entries 0 to 15 in turn, from a table of pages.
const std::vector<Word> refill = {
    mtspr(272, 10),
    mtspr(276, 11),
    mtspr(277, 12),
    mfcr(11),
    mtspr(279, 11),
    mfspr(10, 61),
    rlwinm(11, 10, 22, 22, 29),
    lwz(11, 11, table),
    cmpwi(11, 0),
    beq(4 * 17), // no such page
    lwz(12, 0, counter),
    addi(12, 12, 1),
    rlwinm(12, 12, 0, 28, 31),
    stw(12, 0, counter),
    tlbwe(11, 12, 1),
    rlwinm(10, 10, 0, 0, 19),
    ori(10, 10, 0x210),
    tlbwe(10, 12, 0),
    li(11, 0x3F),
    tlbwe(11, 12, 2),
    mfspr(11, 263),
    mtcr(11),
    mfspr(12, 261),
    mfspr(11, 260),
    mfspr(10, 272),
    rfi,
    mtdcr(Comparison::dcr_handler + data_miss, 0),
};
constexpr unsigned li_place = 18; // of the permissions

class Misses {
  public:
    Misses() : random_(seeded_random(41)), guest_(random_) {
        guest_.cpu.interrupt_interval = 0;
        guest_.both([](native::Machine& machine) {
            machine.remove_slot(Comparison::slot);
            machine.set_slot(Comparison::slot, 0, 0x400000, {.largest_block = 20, .bank = 0});
        });
        guest_.native->set_levels(1U << 4, 1);
        guest_.start(Comparison::first_state());
        put(origin, {lwz(4, 21, 0), addi(5, 5, 1), addi(21, 21, 0x1000), 0x4200FFF4, mtdcr(Comparison::dcr_done, 0)});
        put(handler, refill);
        for (unsigned page = 0; page < pages; ++page) put(table + 4 * page, {data_real + 0x1000 * page});
    }

    void put(std::uint32_t address, const std::vector<Word>& words) { guest_.put_code(address, words); }
    // The guest runs from `at` to its next exit with CTR = count; both guests are the same then.
    void run(std::uint32_t at = origin, unsigned count = pages, unsigned expected_dcr = Comparison::dcr_done) {
        guest_.both([&](native::Machine& machine) {
            machine.vcpu().abandon_instruction();
            machine.state().pc = at;
            machine.state().page.msr = isa::msr::me;
            machine.state().ctr = count;
            machine.state().gpr[21] = touched;
        });
        REQUIRE(guest_.interpreted->vcpu().run() == RunExit::dcr);
        REQUIRE(guest_.native->vcpu().run() == RunExit::dcr);
        CHECK(guest_.native->vcpu().dcr().number == expected_dcr);
        REQUIRE(difference(*guest_.interpreted, *guest_.native) == "");
        guest_.both([](native::Machine& machine) { machine.vcpu().complete_dcr(0); });
    }
    void warm_up() {
        for (unsigned round = 0; round < 4; ++round) run();
        REQUIRE(native().native().handlers().compiled > 0);
    }
    // One run with nothing but one exit for each page, and its end.
    void expect_one_exit_a_miss() {
        const std::uint64_t total = native().exits(), misses = native().exits(ExitReason::dtlb_real);
        const std::uint64_t finished = guest_.cpu.handlers_finished;
        run();
        CHECK(native().exits(ExitReason::dtlb_real) == misses + pages);
        CHECK(native().exits() == total + pages + 1);
        CHECK(guest_.cpu.handlers_finished == finished + pages);
    }
    native::Machine& native() { return *guest_.native; }
    Comparison& guest() { return guest_; }

  private:
    Random random_;
    Comparison guest_;
};

TEST_CASE("a TLB miss is one exit at level 4", "[handler]") {
    Misses misses;
    misses.warm_up();
    for (unsigned round = 0; round < 3; ++round) misses.expect_one_exit_a_miss();
}

TEST_CASE("a page that is not in the guest's table leaves its compiled handler", "[handler]") {
    Misses misses;
    misses.warm_up();
    misses.run(origin, pages + 1, Comparison::dcr_handler + data_miss);
    CHECK(misses.guest().cpu.handlers_left > 0);
    misses.run();
    misses.expect_one_exit_a_miss();
}

TEST_CASE("a handler that the guest rewrites is compiled anew", "[handler]") {
    Misses misses;
    misses.warm_up();
    const auto before = misses.native().native().handlers().dropped;
    // The guest itself stores into its handler: pages without stores from now on.
    misses.put(0x2000, {lis(6, li(11, 0x2D) >> 16), ori(6, 6, li(11, 0x2D) & 0xFFFF), lis(7, handler >> 16),
                        ori(7, 7, handler & 0xFFFF), stw(6, 7, 4 * li_place), mtdcr(Comparison::dcr_done, 0)});
    misses.run(0x2000);
    CHECK(misses.native().native().handlers().dropped > before);
    CHECK(misses.native().word(handler + 4 * li_place) == li(11, 0x2D));
    for (unsigned round = 0; round < 40; ++round) misses.run(); // as above: the entries are compared
    CHECK(misses.native().native().handlers().compiled > 1);
    misses.expect_one_exit_a_miss();
}

TEST_CASE("a handler somewhere else is another one", "[handler]") {
    Misses misses;
    misses.warm_up();
    constexpr std::uint32_t other = Comparison::handlers + 0x1800;
    std::vector<Word> words = refill;
    words[li_place] = li(11, 0x09);
    misses.put(other, words);
    misses.put(0x2000, {li(6, other & 0xFFFF), mtspr(413, 6), mtdcr(Comparison::dcr_done, 0)});
    misses.run(0x2000);
    for (unsigned round = 0; round < 4; ++round) misses.run();
    misses.expect_one_exit_a_miss();
}

TEST_CASE("what maps the guest's tables may change", "[handler]") {
    Misses misses;
    misses.warm_up();
    // The entry that everything is mapped by is written once more, as it is; then another table is found by it.
    misses.put(0x2000, {li(7, Comparison::boot_entry), li(6, 0x3F), tlbwe(6, 7, 2), mtdcr(Comparison::dcr_done, 0)});
    misses.run(0x2000);
    for (unsigned round = 0; round < 30; ++round) misses.run();
    misses.expect_one_exit_a_miss();
    // Memory elsewhere: slots change under the guest.
    misses.guest().both([](native::Machine& machine) {
        const std::vector<std::uint8_t> bytes = machine.contents(Comparison::slot);
        machine.remove_slot(Comparison::slot);
        machine.set_slot(Comparison::slot, 0, 0x400000, {.largest_block = 20, .bank = 0});
        machine.fill(Comparison::slot, bytes);
    });
    for (unsigned round = 0; round < 30; ++round) misses.run();
    misses.expect_one_exit_a_miss();
}

TEST_CASE("a handler reads its tables no more than what maps them allows", "[handler]") {
    constexpr unsigned denied = Comparison::dcr_handler + static_cast<unsigned>(isa::Interrupt::data_storage);
    Misses misses;
    misses.warm_up();
    // Supervisor loads, which only its own tables are read by: taken away, given back.
    for (const bool allowed : {false, true, false}) {
        misses.put(0x2000, {li(7, Comparison::boot_entry), li(6, allowed ? 0x3F : 0x3E), tlbwe(6, 7, 2),
                            mtdcr(Comparison::dcr_done, 0)});
        for (unsigned again = 0; again < 2; ++again) misses.run(0x2000);
        for (unsigned round = 0; round < 4; ++round)
            misses.run(origin, pages, allowed ? unsigned{Comparison::dcr_done} : denied);
    }
}

TEST_CASE("stores of compiled handlers are in the dirty log", "[handler]") {
    Misses misses;
    misses.warm_up();
    misses.guest().both([](native::Machine& machine) { machine.log_slot(Comparison::slot, true); });
    for (unsigned round = 0; round < 8; ++round) {
        misses.guest().both([](native::Machine& machine) { machine.take_log(Comparison::slot); });
        misses.run();
        const std::vector<std::uint32_t> log = misses.native().take_log(Comparison::slot);
        CHECK((log[0] >> (counter >> 12) & 1) != 0);
    }
    misses.guest().both([](native::Machine& machine) { machine.log_slot(Comparison::slot, false); });
    for (unsigned round = 0; round < 30; ++round) misses.run();
    misses.expect_one_exit_a_miss();
}

TEST_CASE("memory that is not in the linear mapping is left to the guest itself", "[handler]") {
    Misses misses;
    misses.guest().both([](native::Machine& machine) {
        const std::vector<std::uint8_t> bytes = machine.contents(Comparison::slot);
        machine.remove_slot(Comparison::slot);
        machine.set_slot(Comparison::slot, 0, 0x400000, {.largest_block = 20, .bank = 1});
        machine.fill(Comparison::slot, bytes);
    });
    for (unsigned round = 0; round < 10; ++round) misses.run();
    CHECK(misses.guest().cpu.handlers_finished == 0);
}

} // namespace
