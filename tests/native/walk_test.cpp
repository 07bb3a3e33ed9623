// SPDX-License-Identifier: GPL-2.0-only
// What compiled handlers have found for the pages of a process, used again: for that process alone, not for the kernel,
// and not where the guest's tables say something else by now.
#include "misses.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using native::Comparison;
using native::Misses;
using runtime::ExitReason;
namespace msr = isa::msr;

constexpr std::uint32_t counter = 0x300F00;
constexpr unsigned privileged = Comparison::dcr_handler + static_cast<unsigned>(isa::Interrupt::program);

// The table first, then the next entry; it belongs to the process that has missed.
std::vector<Misses::Word> walking_refill() {
    constexpr Misses::Word high = counter >> 16, low = counter & 0xFFFF;
    return {
        mtspr(272, 10),
        mtspr(276, 11),
        mtspr(277, 12),
        Misses::mfcr(11),
        mtspr(279, 11),
        mfspr(10, 61),
        mfspr(12, 48),
        mtspr(946, 12),
        Misses::rlwinm(11, 10, 22, 22, 29),
        lwz(11, 11, Misses::table),
        Misses::cmpwi(11, 0),
        beq(4 * 22), // no such page
        lis(12, high),
        lwz(12, 12, low),
        addi(12, 12, 1),
        Misses::rlwinm(12, 12, 0, 28, 31),
        lis(10, high),
        stw(12, 10, low),
        mfspr(10, 61),
        tlbwe(11, 12, 1),
        Misses::rlwinm(10, 10, 0, 0, 19),
        ori(10, 10, 0x210),
        tlbwe(10, 12, 0),
        li(11, 0x3F),
        tlbwe(11, 12, 2),
        mfspr(11, 263),
        Misses::mtcr(11),
        mfspr(12, 261),
        mfspr(11, 260),
        mfspr(10, 272),
        rfi,
        nop,
        nop,
        mtdcr(Comparison::dcr_handler + Misses::data_miss, 0),
    };
}

class Walks : public Misses {
  public:
    Walks() : Misses(walking_refill()) { Misses::warm_up(); }
    native::ModelCpu& cpu() { return guest().cpu; }
    // All pages, once each.
    void round(std::uint32_t mode, unsigned pid) {
        run(origin, pages, mode == 0 ? unsigned{Comparison::dcr_done} : privileged,
            {.pid = pid, .msr = msr::me | mode});
    }
    void learn(unsigned pid) {
        for (unsigned again = 0; again < 20; ++again) round(msr::pr, pid);
    }
};

} // namespace

TEST_CASE("a page that a process has missed before is found without its handler", "[handler]") {
    Walks guest;
    guest.learn(5);
    for (unsigned again = 0; again < 3; ++again) {
        const std::uint64_t recalls = guest.cpu().recalls, misses = guest.native().exits(ExitReason::dtlb_real);
        const std::uint64_t total = guest.native().exits();
        guest.round(msr::pr, 5);
        CHECK(guest.cpu().recalls == recalls + Misses::pages);
        CHECK(guest.native().exits(ExitReason::dtlb_real) == misses + Misses::pages);
        CHECK(guest.native().exits() == total + Misses::pages + 2); // the end is a program interrupt and a DCR
    }
    // Nobody else's: neither that of another process nor of the kernel.
    const std::uint64_t recalls = guest.cpu().recalls;
    guest.round(msr::pr, 6);
    CHECK(guest.cpu().recalls == recalls);
    guest.round(0, 5);
    CHECK(guest.cpu().recalls == recalls);
    guest.round(msr::pr, 5);
    CHECK(guest.cpu().recalls > recalls);
}

TEST_CASE("a page is found anew where the guest's table has changed", "[handler]") {
    Walks guest;
    guest.learn(5);
    const std::uint64_t recalls = guest.cpu().recalls;
    guest.guest().both([](native::Machine& machine) {
        for (unsigned page = 0; page < Misses::pages; page += 4)
            machine.put(Misses::table + 4 * page, Misses::data_real + 0x100000 + 0x1000 * page);
    });
    guest.round(msr::pr, 5);
    CHECK(guest.cpu().recalls == recalls + Misses::pages * 3 / 4);
    guest.guest().both([](native::Machine& machine) { machine.put(Misses::table, 0); });
    guest.run(Misses::origin, 1, Comparison::dcr_handler + Misses::data_miss, {.pid = 5, .msr = msr::me | msr::pr});
}

TEST_CASE("what was found for pages goes with what it rests on", "[handler]") {
    Walks guest;
    guest.learn(5);
    // Memory elsewhere: slots change under the guest.
    guest.guest().both([](native::Machine& machine) {
        const std::vector<std::uint8_t> bytes = machine.contents(Comparison::slot);
        machine.remove_slot(Comparison::slot);
        machine.set_slot(Comparison::slot, 0, Misses::memory_bytes, {.largest_block = 20, .bank = 0});
        machine.fill(Comparison::slot, bytes);
    });
    std::uint64_t recalls = guest.cpu().recalls;
    guest.round(msr::pr, 5);
    CHECK(guest.cpu().recalls == recalls);
    guest.learn(5);
    CHECK(guest.cpu().recalls > recalls);
    // The entry that the table is found by: its words are another table's.
    recalls = guest.cpu().recalls;
    guest.put(Misses::program, {{li(7, Comparison::boot_entry), li(6, 0x3F), tlbwe(6, 7, 2), Misses::done}});
    guest.run(Misses::program);
    guest.round(msr::pr, 5);
    CHECK(guest.cpu().recalls == recalls);
}

// The kernel's own rfi, which the guest makes something else of.
TEST_CASE("an rfi is known while it is one", "[handler]") {
    constexpr std::uint32_t returns = Misses::program, stores = Misses::program + 0x2000,
                            back = Misses::program + 0x100;
    Walks guest;
    const std::vector<Word> words = {mtspr(26, 4), mtspr(27, 0), rfi, nop, Misses::done};
    guest.put(returns, words);
    guest.put(back, {{addi(5, 5, 1), Misses::done}});
    // rfi to nop and back, in place.
    guest.put(stores, {{lis(6, (returns + 8) >> 16), ori(6, 6, (returns + 8) & 0xFFFF), stw(4, 6, 0),
                        Misses::rlwinm(7, 6, 0, 0, 31), x_form(0, 0, 6, 982), 0x4C00012C, Misses::done}});
    const auto go = [&] { guest.run(returns, 1, Comparison::dcr_done, {.operand = back}); };
    for (unsigned again = 0; again < 3; ++again) {
        for (unsigned round = 0; round < 40; ++round) go();
        const std::uint64_t known = guest.cpu().rfis_known;
        go();
        CHECK(guest.cpu().rfis_known == known + 1);
        guest.run(stores, 1, Comparison::dcr_done, {.operand = nop});
        for (unsigned round = 0; round < 3; ++round) go();
        CHECK(guest.cpu().rfis_known == known + 1);
        guest.run(stores, 1, Comparison::dcr_done, {.operand = rfi});
    }
}

// How a kernel takes a page out of its TLB: the search, and the entry made void by its number.
TEST_CASE("a tlbsx and the tlbwe behind it are known while they are there", "[handler]") {
    constexpr std::uint32_t searches = Misses::program, stores = Misses::program + 0x2000;
    constexpr Word bne = 0x40820010, msync = 0x7C0004AC, isync = 0x4C00012C, other = tlbwe(10, 10, 2);
    Walks guest;
    guest.guest().native->set_levels(1U << 3 | 1U << 4, 1);
    guest.warm_up();
    const std::vector<Word> words = {tlbsx_rc(10, 0, 4), bne, msync, tlbwe(10, 10, 0), isync, Misses::done};
    guest.put(searches, words);
    guest.put(stores, {{lis(6, (searches + 12) >> 16), ori(6, 6, (searches + 12) & 0xFFFF), stw(4, 6, 0),
                        Misses::rlwinm(7, 6, 0, 0, 31), x_form(0, 0, 6, 982), isync, Misses::done}});
    // The pages of a process are entries 0 to 15 by now: each is found once, and then no more.
    unsigned known_finds = 0;
    const auto go = [&](unsigned page) {
        guest.guest().both([](native::Machine& machine) { machine.state().page.mmucr = 5; });
        guest.run(searches, 1, Comparison::dcr_done, {.operand = Misses::touched + 0x1000 * page + 8, .pid = 5});
        for (unsigned number = 0; number < mmu::GuestTlb::entry_count; ++number)
            if (guest.native().vcpu().tlb.entry(number).matches(Misses::touched + 0x1000 * page, 0, 5)) ++known_finds;
    };
    for (unsigned again = 0; again < 3; ++again) {
        for (unsigned round = 0; round < 4; ++round) {
            guest.round(msr::pr, 5);
            for (unsigned page = 0; page < Misses::pages; page += 3) go(page);
        }
        const std::uint64_t known = guest.cpu().searches_known;
        guest.round(msr::pr, 5);
        const std::uint64_t searched_from = guest.native().exits();
        for (unsigned page = Misses::pages - 16; page < Misses::pages; ++page) go(page);
        CHECK(guest.cpu().searches_known == known + 16);
        CHECK(guest.native().exits() == searched_from + 2 * 16); // each with its DCR
        CHECK(known_finds == 0);
        // Another word in place of the tlbwe's: nothing of it is known.
        guest.run(stores, 1, Comparison::dcr_done, {.operand = other});
        for (unsigned page = 0; page < 4; ++page) {
            guest.guest().both([](native::Machine& machine) { machine.state().page.mmucr = 5; });
            guest.run(searches, 1, Comparison::dcr_done, {.operand = Misses::touched + 0x1000 * page, .pid = 5});
        }
        CHECK(guest.cpu().searches_known == known + 16);
        guest.run(stores, 1, Comparison::dcr_done, {.operand = tlbwe(10, 10, 0)});
    }
}

TEST_CASE("processes, the kernel and changes of the table in any order", "[handler]") {
    Random random = seeded_random(0x3A1C5);
    INFO("seed " << test_seed());
    Walks guest;
    guest.cpu().decline_percent = 5;
    for (unsigned step = 0; step < 400; ++step) {
        if (random.chance(30)) {
            const std::uint32_t at = Misses::table + 4 * random.below(Misses::pages);
            const std::uint32_t real = Misses::data_real + 0x1000 * random.below(2 * Misses::pages);
            guest.guest().both([&](native::Machine& machine) { machine.put(at, real); });
        }
        if (random.chance(3)) guest.push_out(Misses::touched + 0x1000 * random.below(Misses::pages));
        guest.round(random.chance(80) ? msr::pr : 0, random.chance(70) ? 5 : random.below(4));
    }
    CHECK(guest.cpu().recalls > 400);
    CHECK(guest.cpu().recalls_declined > 20);
}
