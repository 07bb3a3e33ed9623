// SPDX-License-Identifier: GPL-2.0-only
// Compiled TLB-miss handlers whose code has addresses: they run while the host has plain memory for each of those, and
// only then. And the two places where a handler's entry may be written.
#include "misses.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using native::Comparison;
using native::Misses;
using runtime::ExitReason;
using runtime::RunExit;
namespace msr = isa::msr;

constexpr std::uint32_t far_slot = Misses::memory_bytes;
constexpr unsigned program = Comparison::dcr_handler + static_cast<unsigned>(isa::Interrupt::program);

class Handler : public Misses {
  public:
    // The counter's 1 MB is a slot of its own, or what the kernel's code is in.
    explicit Handler(std::uint32_t counter_ea = far_slot + 0xF00, const native::SlotOptions& options = {.bank = 0})
        : Misses(refill(counter_ea)) {
        guest().both([&](native::Machine& machine) { machine.set_slot(1, far_slot, 0x100000, options); });
    }
    bool compiled() { return engine().handlers().programs[0].entry == handler; }
    bool runs() { return native().world().handler_code[0] != 0; }
    std::uint32_t times_compiled() { return engine().handlers().compiled; }
    void warm_up() {
        Misses::warm_up();
        for (unsigned round = 0; round < 4; ++round) run();
        REQUIRE(runs());
        REQUIRE(engine().handlers().programs[0].fixed == 4);
    }
    bool executes_copy(std::uint32_t ea) {
        return guest().cpu.memory.find(mapping(ea).rpn())->slot >= native::HostMemory::own_slot;
    }
    // Rounds in which the guest's own handler does everything.
    void expect_none(unsigned rounds) {
        const std::uint64_t finished = guest().cpu.handlers_finished, left = guest().cpu.handlers_left;
        for (unsigned round = 0; round < rounds; ++round) run();
        CHECK(guest().cpu.handlers_finished == finished);
        CHECK(guest().cpu.handlers_left == left);
        CHECK(!runs());
    }
};

} // namespace

TEST_CASE("a handler with constant addresses is one exit", "[handler]") {
    Handler guest;
    guest.warm_up();
    for (unsigned round = 0; round < 3; ++round) guest.expect_one_exit_a_miss();
    CHECK(guest.native().word(far_slot + 0xF00) < 16);
}

TEST_CASE("a handler waits for the end of the dirty log of what it stores to", "[handler]") {
    Handler guest;
    guest.warm_up();
    for (unsigned again = 0; again < 2; ++again) {
        guest.guest().both([](native::Machine& machine) { machine.log_slot(1, true); });
        guest.expect_none(8);
        CHECK(guest.compiled()); // and nothing more is made of it meanwhile
        const std::uint32_t times = guest.times_compiled();
        guest.expect_none(4);
        CHECK(guest.times_compiled() == times);
        CHECK((guest.native().take_log(1)[0] & 1) != 0);
        CHECK(!guest.runs());
        guest.guest().both([](native::Machine& machine) { machine.log_slot(1, false); });
        for (unsigned round = 0; round < 30; ++round) guest.run();
        guest.expect_one_exit_a_miss();
    }
}

TEST_CASE("taking the log of other memory does not keep a handler from running", "[handler]") {
    Handler guest;
    guest.guest().both(
        [](native::Machine& machine) { machine.set_slot(2, 2 * far_slot, 0x100000, {.logged = true, .bank = 0}); });
    guest.warm_up();
    const std::uint32_t times = guest.times_compiled();
    for (unsigned again = 0; again < 3; ++again) {
        guest.native().take_log(2);
        CHECK(guest.runs()); // at once
        guest.run();         // which opens its windows
        guest.expect_one_exit_a_miss();
    }
    CHECK(guest.times_compiled() == times);
}

TEST_CASE("a handler does not run while what it stores to is read-only", "[handler]") {
    Handler guest(far_slot + 0xF00, {.read_only = true, .bank = 0});
    for (unsigned round = 0; round < 40; ++round) {
        guest.run(Misses::origin, 1, 0, {.exit = RunExit::mmio});
        CHECK(guest.native().vcpu().mmio().is_write);
        CHECK(!guest.runs());
    }
    CHECK(guest.compiled());
    CHECK(guest.guest().cpu.handlers_finished == 0);
    CHECK(guest.guest().cpu.handlers_left == 0);
    guest.guest().both([](native::Machine& machine) { machine.set_slot(1, far_slot, 0x100000, {.bank = 0}); });
    for (unsigned round = 0; round < 30; ++round) guest.run();
    guest.expect_one_exit_a_miss();
}

TEST_CASE("a handler does not run while what it needs is in no linear mapping", "[handler]") {
    Handler guest(far_slot + 0xF00, {.bank = 1});
    guest.expect_none(20);
    CHECK(guest.compiled());
}

// The counter's page has code, too: where that is executed from a copy, a store must be noticed.
TEST_CASE("a handler waits while the page that it stores to is executed from a copy", "[handler]") {
    constexpr std::uint32_t page = 0x30000;
    Handler guest(page + 0xF00);
    guest.put(page, {{addi(3, 3, 1), Misses::done}});
    guest.warm_up();
    for (unsigned again = 0; again < 3; ++again) {
        CAPTURE(again);
        guest.expect_one_exit_a_miss();
        const std::uint32_t times = guest.times_compiled(), dropped = guest.engine().handlers().dropped;
        bool copied = false;
        for (unsigned round = 0; round < 64 && !copied; ++round) {
            guest.push_out(page);
            guest.run(page);
            copied = guest.executes_copy(page);
            CHECK(guest.runs() != copied);
        }
        REQUIRE(copied);
        // The guest's own store makes it data again, and the handler goes on by itself.
        for (unsigned round = 0; round < 3; ++round) guest.run();
        CHECK(guest.runs());
        CHECK(guest.times_compiled() == times);
        CHECK(guest.engine().handlers().dropped == dropped);
    }
}

TEST_CASE("a handler and patches in the page that it stores to go together", "[handler]") {
    constexpr std::uint32_t page = 0x30000;
    Handler guest(page + 0xF00);
    guest.native().set_levels(1U << 1 | 1U << 4, 4);
    guest.put(page, {{mfspr(3, 272), mfspr(5, 273), bdnz(-8), Misses::done}});
    bool patched = false;
    std::uint64_t ran = 0;
    for (unsigned round = 0; round < 60; ++round) {
        guest.run(page, 20);
        patched = patched || guest.engine().patches_in() != 0;
        if (guest.executes_copy(page)) CHECK(!guest.runs());
        const std::uint64_t finished = guest.guest().cpu.handlers_finished;
        guest.run();
        ran += guest.guest().cpu.handlers_finished - finished;
    }
    CHECK(patched);
    CHECK(ran > 0);
}

TEST_CASE("a handler that has written nothing to the TLB leaves to the guest's own", "[handler]") {
    Handler guest;
    guest.warm_up();
    for (unsigned round = 0; round < 3; ++round) {
        const std::uint64_t left = guest.guest().cpu.handlers_left, total = guest.native().exits();
        const std::uint32_t version = guest.native().vcpu().tlb.version();
        const std::uint32_t count = guest.native().word(far_slot + 0xF00);
        guest.guest().both([](native::Machine& machine) { machine.put(Misses::table, 0); });
        guest.run(Misses::origin, 1, Comparison::dcr_handler + Misses::data_miss);
        guest.guest().both([](native::Machine& machine) { machine.put(Misses::table, Misses::data_real); });
        CHECK(guest.guest().cpu.handlers_left == left + 1);
        CHECK(guest.native().world().handler_flags == 0);
        CHECK(guest.native().vcpu().tlb.version() == version);
        CHECK(guest.native().word(far_slot + 0xF00) == ((count + 1) & 15));
        CHECK(guest.native().exits() <= total + 3); // the miss, the DCR
        guest.expect_one_exit_a_miss();
    }
}

TEST_CASE("a handler's entry is written before registers are put back, or by its rfi", "[handler]") {
    for (const bool constant : {false, true}) {
        CAPTURE(constant);
        Misses guest(constant ? Misses::refill(0x300F00) : Misses::refill());
        guest.warm_up();
        guest.expect_one_exit_a_miss();
        native::ModelCpu& cpu = guest.guest().cpu;
        const auto round = [&](std::uint32_t mode, unsigned pid) {
            cpu.commits = cpu.commits_declined = cpu.handlers_finished = 0;
            const std::uint64_t virtual_misses = guest.native().exits(ExitReason::dtlb_virt);
            guest.run(Misses::origin, Misses::pages, mode == 0 ? unsigned{Comparison::dcr_done} : program,
                      {.pid = pid, .msr = msr::me | mode});
            CHECK(cpu.handlers_finished == Misses::pages);
            CHECK(cpu.commits + cpu.commits_declined == Misses::pages);
            // Either way the access that missed finds its page.
            CHECK(guest.native().exits(ExitReason::dtlb_virt) == virtual_misses);
        };
        for (const unsigned pid : {0U, 9U}) {
            round(msr::pr, pid);
            CHECK(cpu.commits == Misses::pages);
            round(0, pid);
            CHECK(cpu.commits == 0);
            cpu.decline_percent = 50;
            round(msr::pr, pid);
            CHECK(cpu.commits != 0);
            CHECK(cpu.commits_declined != 0);
            cpu.decline_percent = 0;
        }
    }
}

TEST_CASE("a handler does not go on with an address that is mapped otherwise", "[handler]") {
    constexpr std::uint32_t ea = 0x70000000, change = Misses::program;
    Handler guest(ea + 0xF00);
    guest.put(change, {{li(7, 40), tlbwe(4, 7, 1), Misses::done}});
    guest.guest().both([](native::Machine& machine) { machine.map(40, ea, 0x200000, 5, 0x3F); });
    guest.warm_up();
    // By the run loop first, and in quick exits.
    for (const std::uint32_t real : {0x300000U, 0x200000U, 0x300000U}) {
        guest.run(change, 1, Comparison::dcr_done, {.operand = real});
        guest.run(Misses::origin, 5);
        for (const std::uint32_t at : {0x200F00U, 0x300F00U})
            CHECK(guest.native().word(at) == guest.guest().interpreted->word(at));
        for (unsigned round = 0; round < 60; ++round) guest.run();
        guest.expect_one_exit_a_miss();
    }
}

// A refill that writes over an entry that a window for stores was made from: another one maps that page, too.
TEST_CASE("a handler that writes over what it rests on is not used any more", "[handler]") {
    Misses guest;
    guest.warm_up();
    for (unsigned again = 0; again < 2; ++again) {
        guest.guest().both([](native::Machine& machine) {
            machine.map(5, Misses::counter & ~0xFFFU, Misses::counter & ~0xFFFU, 1, 0x3F);
            machine.engine().flush();
        });
        const std::uint32_t compiled = guest.engine().handlers().compiled;
        const std::uint32_t dropped = guest.engine().handlers().dropped;
        guest.run();
        CHECK(guest.engine().handlers().compiled > compiled);
        CHECK(guest.engine().handlers().dropped > dropped);
        for (unsigned round = 0; round < 60; ++round) guest.run();
        guest.expect_one_exit_a_miss();
    }
}

// Its code lies in a block that was copied for it and for patches: with the last of these the block goes.
TEST_CASE("a handler does not outlive the copy that its code is executed from", "[handler]") {
    constexpr std::uint32_t stores = Misses::program + 0x2000, allowed = Misses::handler + 4 * 25;
    constexpr Word changed = li(11, 0x3D);
    Handler guest;
    REQUIRE(guest.native().word(allowed) == li(11, 0x3F));
    guest.warm_up(); // it has no patches itself
    guest.native().set_levels(1U << 1 | 1U << 4, 4);
    guest.put(Misses::program, {{mfspr(3, 272), mfspr(5, 273), bdnz(-8), Misses::done}});
    guest.put(stores,
              {{lis(3, changed >> 16), ori(3, 3, changed & 0xFFFF), stw(3, 4, 0), x_form(0, 0, 4, 982), Misses::done}});
    for (unsigned round = 0; round < 60; ++round) {
        guest.run(Misses::program, 20);
        guest.run();
    }
    REQUIRE(guest.engine().patches_in() != 0);
    REQUIRE(guest.runs());
    REQUIRE(guest.executes_copy(Misses::program));
    guest.run(stores, 1, Comparison::dcr_done, {.operand = Misses::program + 0x400});
    CHECK(guest.engine().patches_in() == 0);
    guest.run(stores, 1, Comparison::dcr_done, {.operand = allowed});
    REQUIRE(guest.native().word(allowed) == changed);
    for (unsigned round = 0; round < 3; ++round) {
        guest.run();
        for (unsigned index = 0; index < 16; ++index)
            CHECK(guest.native().vcpu().tlb.entry(index).word2 == (changed & 0xFFFF));
    }
}
