// SPDX-License-Identifier: GPL-2.0-only
// Level 4: a TLB miss of the guest is one exit, handler included; and what the compiled handler rests on may change at
// any time.
#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "misses.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using native::Comparison;
using native::Misses;

constexpr std::uint32_t origin = Misses::origin, handler = Misses::handler, counter = Misses::counter;
constexpr unsigned pages = Misses::pages, data_miss = Misses::data_miss, li_place = Misses::li_place;

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
    misses.put(0x2000, {{lis(6, li(11, 0x2D) >> 16), ori(6, 6, li(11, 0x2D) & 0xFFFF), lis(7, handler >> 16),
                         ori(7, 7, handler & 0xFFFF), stw(6, 7, 4 * li_place), mtdcr(Comparison::dcr_done, 0)}});
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
    std::vector<Word> words = Misses::refill();
    words[li_place] = li(11, 0x09);
    misses.put(other, words);
    misses.put(0x2000, {{li(6, other & 0xFFFF), mtspr(413, 6), mtdcr(Comparison::dcr_done, 0)}});
    misses.run(0x2000);
    for (unsigned round = 0; round < 4; ++round) misses.run();
    misses.expect_one_exit_a_miss();
}

TEST_CASE("what maps the guest's tables may change", "[handler]") {
    Misses misses;
    misses.warm_up();
    // The entry that everything is mapped by is written once more, as it is; then another table is found by it.
    misses.put(0x2000, {{li(7, Comparison::boot_entry), li(6, 0x3F), tlbwe(6, 7, 2), mtdcr(Comparison::dcr_done, 0)}});
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
        misses.put(0x2000, {{li(7, Comparison::boot_entry), li(6, allowed ? 0x3F : 0x3E), tlbwe(6, 7, 2),
                             mtdcr(Comparison::dcr_done, 0)}});
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
