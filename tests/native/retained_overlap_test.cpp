// SPDX-License-Identifier: GPL-2.0-only
// A guest may have two TLB entries for one address. The hardware must not, whatever was kept for the kernel.
#include "misses.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using native::Comparison;
using native::Misses;

constexpr std::uint32_t data = 0x200000, inside = data + 0x1000, rows = Misses::program, changes = rows + 0x2000;
constexpr unsigned process = 7;

// Loads in a row, so that memory of a process is mapped.
class Kernel : public Misses {
  public:
    explicit Kernel(const std::vector<Word>& words = refill()) : Misses(words) {
        put(rows, {{lwz(3, 4, 0), lwz(5, 4, 4), lwz(6, 4, 8), lwz(7, 4, 12), lwz(8, 4, 16), Misses::done}});
        warm_up();
    }
    void load(std::uint32_t ea, unsigned pid = 0) { run(rows, 1, Comparison::dcr_done, {.operand = ea, .pid = pid}); }
    void keep(std::uint32_t ea) {
        push_out(ea);
        load(ea);
        REQUIRE(kept(ea) != nullptr);
    }
    // Accesses in turn to what both entries map, each time with nothing left in the hardware.
    void take_turns(unsigned pid) {
        for (unsigned round = 0; round < 6; ++round) {
            for (const std::uint32_t ea : {data, inside, data, inside + 0x1000, inside}) {
                load(ea, pid);
                if (round % 2 != 0) push_out(ea);
            }
        }
    }
};

// An entry of one page for what the kernel's maps too, to the same memory.
constexpr std::uint32_t word0 = inside | 0x210;
std::vector<Word> write_entry(unsigned index, unsigned pid) {
    return {li(5, pid),
            mtspr(946, 5), // MMUCR
            li(7, index),
            li(6, 0x3F),
            tlbwe(6, 7, 2),
            lis(6, inside >> 16),
            ori(6, 6, inside & 0xFFFF),
            tlbwe(6, 7, 1),
            ori(6, 6, word0 & 0xFFFF),
            tlbwe(6, 7, 0),
            Misses::done};
}

} // namespace

TEST_CASE("a second guest entry for an address does not meet what was kept before", "[retained]") {
    for (const unsigned pid : {0U, process}) {
        for (const unsigned index : {20U, 40U}) {
            CAPTURE(pid, index);
            Kernel guest;
            guest.put(changes, write_entry(index, pid));
            guest.keep(data);
            guest.push_out(data);
            guest.run(changes);
            guest.take_turns(pid);
        }
    }
}

TEST_CASE("nor does one that was there before", "[retained]") {
    for (const unsigned pid : {0U, process}) {
        for (const bool from_userspace : {false, true}) {
            CAPTURE(pid, from_userspace);
            Kernel guest;
            guest.put(changes, write_entry(20, pid));
            guest.load(data);
            if (from_userspace)
                guest.guest().both([&](native::Machine& machine) { machine.map(20, inside, inside, 1, 0x3F, pid); });
            else
                guest.run(changes);
            // The large mapping is made while nothing of the small entry's is in its way, and pushed out.
            guest.load(data);
            guest.push_out(data);
            guest.take_turns(pid);
            // With the PID of nobody, then the one that the small entry is for.
            guest.load(data, 3);
            guest.push_out(data);
            guest.load(inside, process);
            guest.load(data, process);
        }
    }
}

// A compiled handler writes an entry elsewhere than where the miss was: it leaves, and the words that it has noted are
// written then.
TEST_CASE("an entry that a compiled handler leaves with does not meet what was kept", "[retained]") {
    constexpr std::uint32_t counter = 0x300000;
    Kernel guest(Misses::refill(counter));
    // Entries that nothing is made from: nobody looks after what goes.
    guest.put(changes, {{li(7, 0), li(6, 0), tlbwe(6, 7, 0), addi(7, 7, 1), bdnz(-8), Misses::done}});
    for (unsigned round = 0; round < 4; ++round) {
        guest.run(changes, 16);
        guest.keep(data);
        guest.push_out(data);
        // The page number of `inside` in place of the one that misses. What it maps is the same memory.
        guest.guest().both([](native::Machine& machine) {
            machine.put(counter + Misses::beside, Misses::touched ^ inside);
            machine.put(Misses::table, inside);
        });
        const std::uint64_t left = guest.guest().cpu.handlers_left;
        guest.run(Misses::origin, 1);
        CHECK(guest.guest().cpu.handlers_left > left);
        CHECK(guest.kept(data) == nullptr);
        guest.load(inside);
        guest.load(data);
        guest.load(inside);
        // The table's first page as it was.
        guest.guest().both([](native::Machine& machine) { machine.put(Misses::table, Misses::data_real); });
        guest.run();
    }
}
