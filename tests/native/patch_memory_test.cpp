// SPDX-License-Identifier: GPL-2.0-only
// What patches may take of the host's memory, and what is counted of them.
#include <catch2/catch_test_macros.hpp>

#include "comparison.h"
#include "tests/jit/machine.h"
#include "tests/runtime/guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using native::Comparison;
using native::Machine;
using runtime::RunExit;
using runtime::native::CodeCopies;
using runtime::native::Patching;

constexpr std::uint32_t first_page = 0x20000, page_bytes = 0x1000;
constexpr unsigned pages = 20, rounds = 8;

// A page each of a word and a stub, one after the other, over and over: r5 tells what they did.
class Pages {
  public:
    explicit Pages(std::uint64_t limit) : random_(seeded_random(51)), guest_(random_) {
        guest_.cpu.interrupt_interval = 0;
        guest_.both([](Machine& machine) {
            // A block of copies is a page.
            machine.set_slot(Comparison::slot, 0, Comparison::memory_bytes, {.largest_block = 12});
        });
        guest_.native->set_level(2, 1);
        guest_.native->limit_patch_memory(limit);
        guest_.start(Comparison::first_state());
        guest_.put(Comparison::origin, {b(static_cast<std::int32_t>(first_page - Comparison::origin))});
        for (unsigned page = 0; page < pages; ++page) {
            const bool last = page + 1 == pages;
            const std::uint32_t at = first_page + page * page_bytes;
            // mfspr r6,SPRG0; r5 += r6; wrteei 0; mfmsr r7; r5 += r7; the next page
            guest_.put(at,
                       {mfspr(6, 272), 0x7CA53214, wrteei(0), mfmsr(7), 0x7CA53A14,
                        b(last ? 8 : static_cast<std::int32_t>(page_bytes) - 20), nop, mtdcr(Comparison::dcr_done, 5)});
        }
    }
    void run() {
        for (unsigned round = 0; round < rounds; ++round) {
            guest_.both([&](Machine& machine) {
                machine.vcpu().abandon_instruction();
                machine.state().pc = Comparison::origin;
                machine.state().page.sprg[0] = 0x01234567 * round;
            });
            REQUIRE(guest_.interpreted->vcpu().run() == RunExit::dcr);
            REQUIRE(guest_.native->vcpu().run() == RunExit::dcr);
            REQUIRE(difference(*guest_.interpreted, *guest_.native) == "");
            guest_.both([](Machine& machine) { machine.vcpu().complete_dcr(0); });
        }
    }
    Machine& native() { return *guest_.native; }
    std::uint64_t in_use() { return guest_.native->allocated; }

  private:
    Random random_;
    Comparison guest_;
};

constexpr std::uint64_t copied(unsigned count) { return std::uint64_t{count} * page_bytes; }

} // namespace

TEST_CASE("patches take no more of the host's memory than they may", "[patch_memory]") {
    struct Case {
        std::uint64_t limit;
        unsigned words, stubs; // patched sites, at most
    };
    // With room for all; none for stubs; some copies and no arena; an arena and some copies.
    for (const Case& at :
         {Case{CodeCopies::most_bytes, 2 * pages, pages}, Case{Patching::arena_bytes, 32, 0}, Case{page_bytes, 2, 0},
          Case{copied(7), 14, 0}, Case{Patching::arena_bytes + copied(5), 10, 5}}) {
        Pages guest(at.limit);
        guest.run();
        auto& engine = guest.native().native();
        CAPTURE(at.limit, engine.patches_in(), engine.stubs(), engine.copied_bytes());
        CHECK(guest.native().most_allocated <= at.limit);
        CHECK(engine.copied_bytes() <= guest.in_use());
        CHECK(engine.patches_in() > 0);
        CHECK(engine.patches_in() - engine.stubs() <= at.words);
        CHECK(engine.stubs() <= at.stubs);
        CHECK((engine.stubs() == 0) == (at.stubs == 0));
        if (at.limit == CodeCopies::most_bytes) {
            CHECK(engine.patches_in() == 3 * pages);
            CHECK(engine.stubs() == pages);
            CHECK(engine.copied_bytes() == copied(pages));
        }
        // What was refused stays a trap, so nothing is tried over and over.
        const std::uint64_t exits = guest.native().exits();
        guest.run();
        CHECK(guest.native().exits() - exits <= rounds * (3 * pages - engine.patches_in() + 1));
    }
}

TEST_CASE("memory of patches that went is there for others", "[patch_memory]") {
    Pages guest(Patching::arena_bytes + copied(5));
    guest.run();
    auto& engine = guest.native().native();
    const std::uint32_t installed = engine.patches_in();
    const std::uint64_t in_use = guest.in_use();
    REQUIRE(installed > 0);
    for (unsigned again = 0; again < 3; ++again) {
        engine.flush();
        CHECK(guest.in_use() == 0);
        CHECK(engine.copied_bytes() == 0);
        CHECK(engine.stubs() == 0);
        CHECK(engine.patches_out() == (again + 1) * installed);
        guest.native().patches().clear();
        guest.run();
        CHECK(engine.patches_in() == installed);
        CHECK(guest.in_use() == in_use);
    }
}
