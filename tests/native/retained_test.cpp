// SPDX-License-Identifier: GPL-2.0-only
// Pages of the guest's kernel that the CPU's TLB has lost are mapped again as they were: as long as that is right.
#include <algorithm>
#include <functional>
#include <vector>

#include "misses.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using namespace code;
using mmu::TlbEntry;
using native::Comparison;
using native::Misses;
using runtime::ExitReason;
using runtime::RunExit;
using runtime::native::RetainedMappings;
using runtime::native::ShadowTlb;
namespace msr = isa::msr;

// What the kernel looks at; code of its own there, a page each: one load, one store.
constexpr std::uint32_t data = 0x200000, loads = Misses::program, stores = Misses::program + 0x1000;
// A process's, far from code of the kernel: that it is executed by others changes its use.
constexpr std::uint32_t user = 0x300000;
constexpr unsigned done = Comparison::dcr_done;

class Kernel : public Misses {
  public:
    explicit Kernel(
        const std::vector<Word>& words = refill(), const std::function<void(Kernel&)>& before = [](Kernel&) {})
        : Misses(words) {
        put(loads, {{lwz(3, 4, 0), Misses::done}});
        put(user, {{lwz(3, 4, 0), Misses::done}});
        put(stores, {{stw(3, 4, 0), Misses::done}});
        before(*this);
        warm_up();
    }
    void load(std::uint32_t ea, unsigned pid = 0) { run(loads, 1, ::done, {.operand = ea, .pid = pid}); }
    // ea is mapped, and that is kept.
    void keep(std::uint32_t ea) {
        push_out(ea);
        load(ea);
        REQUIRE(kept(ea) != nullptr);
    }
    // The mapping that is kept is made a smaller one: so it can be told whether it is used.
    void mark(std::uint32_t ea, bool fetch = false) {
        RetainedMappings::Entry* const entry = kept(ea, fetch);
        REQUIRE(entry != nullptr);
        const std::uint32_t offset = ea & ((1U << shift_of(entry->mapping.word0)) - 1) & 0xFFFFF000;
        entry->mapping.word0 = (entry->mapping.word0 & 0xFFFFFF0F) | 0x10 | offset;
        entry->mapping.word1 |= offset;
    }
    static unsigned shift_of(std::uint32_t word0) { return TlbEntry{.word0 = word0}.page_shift(); }
    bool is_marked(std::uint32_t ea) { return mapping(ea).page_shift() == 12; }
    // Memory of the guest, not a copy of it.
    bool maps_own(std::uint32_t ea) {
        return guest().cpu.memory.find(mapping(ea).rpn())->slot < native::HostMemory::own_slot;
    }
};

} // namespace

TEST_CASE("a page of the kernel that was pushed out is mapped as it was", "[retained]") {
    Kernel guest;
    guest.keep(data);
    CHECK(guest.mapping(data).page_shift() == 20);
    for (unsigned round = 0; round < 3; ++round) {
        guest.mark(data);
        guest.push_out(data);
        const std::uint64_t misses = guest.native().exits(ExitReason::dtlb_virt);
        guest.load(data + 0x40);
        CHECK(guest.native().exits(ExitReason::dtlb_virt) == misses + 1);
        CHECK(guest.is_marked(data));
    }
    // And code, from its copy.
    REQUIRE(guest.kept(loads, true) != nullptr);
    CHECK(!guest.maps_own(loads));
    guest.mark(loads, true);
    guest.push_out(loads);
    const std::uint64_t misses = guest.native().exits(ExitReason::itlb_virt);
    guest.load(data);
    CHECK(guest.native().exits(ExitReason::itlb_virt) == misses + 1);
    CHECK(guest.is_marked(loads));
    CHECK(!guest.maps_own(loads));
}

TEST_CASE("the page being executed is not what makes room for one that is mapped again", "[retained]") {
    Kernel guest;
    guest.load(data);
    guest.push_out(data);
    guest.push_out(loads);
    guest.load(data);
    unsigned found = 0;
    REQUIRE(guest.find(loads, found) == 1);
    CHECK(guest.native().world().executed_slot == found);
    // All entries in turn.
    const std::uint64_t fetches = guest.native().exits(ExitReason::itlb_virt);
    for (unsigned round = 0; round < 2 * native::ModelCpu::entry_count; ++round) guest.keep(data);
    CHECK(guest.native().exits(ExitReason::itlb_virt) == fetches);
}

TEST_CASE("what nobody would notice a change of is not kept", "[retained]") {
    constexpr std::uint32_t elsewhere = 0x60000000, change = Misses::program + 0x2000;
    Kernel guest;
    // A large entry that nothing compiled rests on.
    guest.put(change, {{li(7, 30), tlbwe(4, 7, 1), Misses::done}});
    guest.guest().both([](native::Machine& machine) {
        machine.map(30, elsewhere, data, 3, 0x3F);
        machine.put(data, 1);
        machine.put(data + 0x10000, 2);
    });
    for (unsigned round = 0; round < 4; ++round) {
        guest.load(elsewhere);
        CHECK(guest.kept(elsewhere) == nullptr);
        CHECK(guest.native().state().gpr[3] == 1 + round % 2);
        guest.push_out(elsewhere);
        guest.run(change, 1, done, {.operand = data + (round % 2 == 0 ? 0x10000 : 0)});
    }
    // Memory with a dirty log.
    guest.keep(data);
    guest.guest().both([](native::Machine& machine) { machine.log_slot(Comparison::slot, true); });
    for (unsigned round = 0; round < 30; ++round) guest.run();
    guest.push_out(data);
    guest.load(data);
    CHECK(guest.kept(data) == nullptr);
    guest.run(stores, 1, done, {.operand = data});
    CHECK(guest.kept(data) == nullptr);
    CHECK(guest.kept(stores, true) != nullptr); // code is a copy, which has none
}

TEST_CASE("what was mapped once is known for all its pages", "[retained]") {
    Kernel guest;
    guest.keep(data);
    RetainedMappings::Entry* const entry = guest.kept(data + 0x5000);
    REQUIRE(entry != nullptr);
    CHECK(entry == guest.kept(data));
    CHECK(guest.kept(data + 0x5000, true) == nullptr);
    entry->mapping.word2 |= TlbEntry::attr_g; // to be told by
    guest.push_out(data);
    guest.load(data + 0x5000);
    CHECK((guest.mapping(data + 0x5000).word2 & TlbEntry::attr_g) != 0);
    CHECK(guest.mapping(data).page_shift() == 20);
    // Less where code was copied.
    guest.push_out(loads);
    guest.load(loads);
    CHECK(guest.mapping(loads).page_shift() < 20);
    REQUIRE(guest.kept(loads) != nullptr);
    CHECK(guest.kept(loads + 0x80000) == nullptr);
}

TEST_CASE("mappings are found by what they cover, for fetches and for data apart", "[retained]") {
    Random random = seeded_random(5);
    RetainedMappings retained;
    struct Kept {
        std::uint32_t ea, word0;
        unsigned shift;
        bool fetch;
    };
    std::vector<Kept> all;
    unsigned found = 0, missed = 0;
    for (unsigned round = 0; round < 20'000; ++round) {
        const std::uint32_t ea = 0xC0000000 + (random.word() & 0x03FFFFFF);
        const bool fetch = random.chance(50);
        if (round % 2000 == 0) {
            retained.clear();
            all.clear();
        }
        if (random.chance(10)) {
            const unsigned shift = 10 + 2 * random.below(7), level = shift >= 20 ? 20 : shift >= 16 ? 16 : 12;
            const std::uint32_t bits = level == 20 ? 6 : level == 16 ? 7 : 8;
            const auto same_place = [&](const Kept& other) {
                const unsigned others = other.shift >= 20 ? 20 : other.shift >= 16 ? 16 : 12;
                return others == level && ((ea ^ other.ea) >> level & ((1U << bits) - 1)) == 0;
            };
            std::erase_if(all, same_place);
            retained.keep(ea, shift, fetch, {round, 2, 3, 4, 5});
            all.push_back({ea, round, shift, fetch});
            continue;
        }
        const ShadowTlb::Mapping* const known = retained.find(ea, fetch);
        const auto covers = [&](const Kept& kept) {
            const unsigned level = kept.shift >= 20 ? 20 : kept.shift >= 16 ? 16 : 12;
            return kept.fetch == fetch && (kept.ea ^ ea) >> level == 0;
        };
        const bool any = std::any_of(all.begin(), all.end(), covers);
        REQUIRE((known != nullptr) == any);
        if (any)
            REQUIRE(std::any_of(all.begin(), all.end(),
                                [&](const Kept& kept) { return covers(kept) && kept.word0 == known->word0; }));
        ++(any ? found : missed);
    }
    CHECK(found > 1000);
    CHECK(missed > 1000);
}

TEST_CASE("mappings for fetches and for data are kept apart", "[retained]") {
    RetainedMappings retained;
    retained.keep(data, 12, false, {1, 2, 3, 4, 5});
    CHECK(retained.find(data, false) != nullptr);
    CHECK(retained.find(data + 0xFFF, false) != nullptr);
    CHECK(retained.find(data, true) == nullptr);
    CHECK(retained.find(data + 0x1000, false) == nullptr);
    CHECK(retained.find(data + 0x100000, false) == nullptr);
    retained.keep(data + 0x100000, 12, true, {1, 2, 3, 4, 5}); // in its place
    CHECK(retained.find(data, false) == nullptr);
    CHECK(retained.find(data + 0x100000, true) != nullptr);
    CHECK(retained.find(data + 0x100000, false) == nullptr);
    // The entries of any of the same 256 MB, and of no other.
    retained.entry_made(0x10000210);
    retained.entry_made(0xF0000210);
    CHECK(retained.find(data + 0x100000, true) != nullptr);
    retained.entry_made(0x0FFFF210);
    CHECK(retained.find(data + 0x100000, true) == nullptr);
    retained.keep(0xC0001000, 12, false, {1, 2, 3, 4, 5});
    retained.keep(0xF0002000, 12, false, {1, 2, 3, 4, 5});
    retained.entry_made(0xFFFFFE10);
    CHECK(retained.find(0xC0001000, false) == nullptr); // all of them
}

TEST_CASE("a page that is data and code goes from its own memory to its copy and back", "[retained]") {
    Kernel guest;
    guest.load(loads); // the guest's own memory from now on
    CHECK(guest.maps_own(loads));
    CHECK(guest.kept(loads, true) == nullptr);
    REQUIRE(guest.kept(loads) != nullptr);
    // Fetches of it are counted, so they are not to be mapped as data is.
    bool copied = false;
    for (unsigned round = 0; round < 64 && !copied; ++round) {
        guest.push_out(loads);
        guest.load(data);
        copied = !guest.maps_own(loads);
    }
    CHECK(copied);
    CHECK(guest.kept(loads) == nullptr);
    CHECK(guest.kept(loads, true) != nullptr);
    // A load does not find what fetches were mapped by.
    guest.push_out(loads);
    guest.load(loads);
    CHECK(guest.maps_own(loads));
    CHECK(guest.kept(loads, true) == nullptr);
}

TEST_CASE("a mapping that allows no stores is not mapped for one", "[retained]") {
    constexpr std::uint32_t read_only = Misses::memory_bytes;
    Kernel guest(Misses::refill(), [](Kernel& kernel) {
        kernel.guest().both(
            [](native::Machine& machine) { machine.set_slot(1, read_only, 0x100000, {.read_only = true, .bank = 0}); });
    });
    for (unsigned round = 0; round < 3; ++round) {
        guest.keep(read_only);
        guest.push_out(read_only);
        // All that is mapped for it is its code.
        guest.push_out(stores);
        const std::uint64_t misses = guest.native().exits(ExitReason::dtlb_virt), writes = guest.guest().cpu.writes;
        guest.run(stores, 1, done, {.operand = read_only, .exit = RunExit::mmio});
        CHECK(guest.native().exits(ExitReason::dtlb_virt) == misses);
        CHECK(guest.guest().cpu.writes == writes + 1);
        CHECK(!guest.is_mapped(read_only));
    }
    // Where it does allow them, the kept mapping is good for both.
    guest.load(data);
    guest.mark(data);
    guest.push_out(data);
    guest.run(stores, 1, done, {.operand = data});
    CHECK(guest.is_marked(data));
}

TEST_CASE("only the kernel is given what is kept for it", "[retained]") {
    constexpr unsigned program = Comparison::dcr_handler + static_cast<unsigned>(isa::Interrupt::program);
    Kernel guest;
    guest.load(data);
    guest.mark(data);
    guest.push_out(data);
    guest.run(user, 1, program, {.operand = data, .pid = 3, .msr = msr::me | msr::pr});
    CHECK(guest.mapping(data).page_shift() == 20);
    // And with any PID, whose context is the same.
    guest.push_out(data);
    REQUIRE(guest.kept(data) != nullptr);
    guest.load(data, 5);
    CHECK(guest.is_marked(data));
}

TEST_CASE("a mapping that is kept is made for the shadow PID that the kernel has now", "[retained]") {
    constexpr unsigned program = Comparison::dcr_handler + static_cast<unsigned>(isa::Interrupt::program);
    Kernel guest;
    guest.keep(data);
    guest.mark(data);
    const unsigned before = guest.kept(data)->mapping.pid;
    // Processes, until the kernel's PID has become one's of them.
    for (unsigned pid = 0; pid < 256; ++pid)
        guest.run(user, 1, program, {.operand = data, .pid = pid, .msr = msr::me | msr::pr});
    REQUIRE(guest.guest().tlb.recycled > 0);
    guest.run();
    guest.push_out(data);
    REQUIRE(guest.kept(data) != nullptr);
    guest.load(data);
    CHECK(guest.native().world().shadow_pid != before);
    CHECK(guest.mapping(data).tid == guest.native().world().shadow_pid);
    CHECK(guest.is_marked(data));
}

TEST_CASE("what is kept is forgotten when what it rests on changes", "[retained]") {
    constexpr std::uint32_t changes = Misses::program + 0x2000;
    const auto writes = [](unsigned index, unsigned word, std::uint32_t value) {
        return [=](Kernel& guest) {
            guest.put(changes, {{li(7, index), lis(6, value >> 16), ori(6, 6, value & 0xFFFF), tlbwe(6, 7, word),
                                 Misses::done}});
            // The first time it is the run loop's, to which the same value is no change; the second is a quick exit.
            guest.run(changes);
            guest.keep(data);
            guest.run(changes);
        };
    };
    struct Case {
        const char* what;
        std::function<void(Kernel&)> change;
        bool forgotten = true;
    };
    const auto memory = [](auto&& action) {
        return [=](Kernel& guest) { guest.guest().both([&](native::Machine& machine) { action(machine); }); };
    };
    const Case cases[] = {
        {"word 0 of its entry", writes(63, 0, 0x290)},
        {"word 1", writes(63, 1, 0)},
        {"word 2", writes(63, 2, 0x3F)},
        {"another entry in its 256 MB", writes(20, 0, 0x0F000210)},
        {"a large one", writes(20, 0, 0x0F000250)},
        {"one elsewhere", writes(20, 0, 0x50000210), false},
        {"one that is none", writes(20, 0, 0x0F000010), false},
        {"the real page of another one", writes(20, 1, 0x00300000), false},
        {"an entry from userspace",
         memory([](native::Machine& machine) { machine.map(20, 0x50000000, 0x300000, 1, 0x3F); })},
        {"a new slot", memory([](native::Machine& machine) { machine.set_slot(1, 0x01000000, 0x100000); })},
        {"the dirty log", memory([](native::Machine& machine) { machine.log_slot(Comparison::slot, true); })},
        {"taking it", memory([](native::Machine& machine) { machine.take_log(Comparison::slot); })},
        {"a load of code", [](Kernel& guest) { guest.load(changes); }},
        {"a store to code", [](Kernel& guest) { guest.run(stores, 1, done, {.operand = changes}); }},
        {"another place of handlers",
         [](Kernel& guest) {
             guest.put(changes, {{lis(6, Comparison::handlers >> 16), mtspr(63, 6), Misses::done}}); // IVPR
             guest.run(changes);
             guest.warm_up();
             guest.keep(data);
             guest.run(changes);
         }},
        {"levels", [](Kernel& guest) { guest.native().set_level(3, 1); }},
        {"no levels", [](Kernel& guest) { guest.native().set_levels(0, 1); }},
        {"traced exits",
         [](Kernel& guest) {
             guest.native().traces = ~0U;
             guest.load(loads + 0x3000);
         }},
    };
    for (const Case& at : cases) {
        CAPTURE(at.what);
        Kernel guest;
        guest.run(changes + 4, 1, Comparison::dcr_handler + 6);
        guest.keep(data);
        at.change(guest);
        CHECK((guest.kept(data) == nullptr) == at.forgotten);
        guest.push_out(data);
        guest.load(data);
        guest.load(data + 0x1000);
    }
}
