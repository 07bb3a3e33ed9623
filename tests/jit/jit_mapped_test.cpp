// SPDX-License-Identifier: GPL-2.0-only
// Code that leaves it to the host's MMU to find its pages (host-mmu), against the interpreter: what is mapped is what
// the guest's TLB gives, as soon as that changes, and what faults too often is mapped no more.
#include "mapped_guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::Op;
using isa::Trap;
using isa::TrapKind;
using mmu::TlbEntry;

constexpr std::uint32_t data_base = MappedGuest::data_base, page_bytes = MappedGuest::page_bytes;
constexpr std::uint32_t rw = MappedGuest::rw;
// Faults that a context may have before it has run for long, as many as its TLB has entries; and those by which single
// blocks find that no more are to be had.
constexpr std::uint64_t most_faults = mmu::GuestTlb::entry_count, blocks = 8;

const std::uint32_t end = match(Op::sc);
std::uint32_t to_counter(unsigned gpr) { return match(Op::mtspr) | field_rt(gpr) | field_spr(isa::spr::ctr); }
std::uint32_t add(unsigned rt, unsigned ra, unsigned rb) { return indexed(Op::add, rt, ra, rb); }
std::uint64_t frame(unsigned number) { return MappedGuest::frame(number); }

// r3 is loaded from r4, and r5 stored there.
constexpr std::uint32_t load_code = 0, store_code = 0x100;
void put_load_and_store(MappedGuest& guest) {
    guest.put({immediate(Op::lwz, 3, 4, 0), end}, load_code);
    guest.put({immediate(Op::stw, 5, 4, 0), end}, store_code);
}

} // namespace

TEST_CASE("pages that a process goes on using fault once for loads and once for stores", "[mapped]") {
    constexpr unsigned pages = 6;
    MappedGuest guest;
    // Neighbours are none in real memory.
    for (unsigned page = 0; page < pages; ++page)
        guest.map(1 + page, data_base + page * page_bytes, frame(40 - 3 * page), rw);
    guest.put({to_counter(3),
               // The loop ends each pass in the next page.
               immediate(Op::lwz, 5, 4, 0), immediate(Op::addi, 5, 5, 1), immediate(Op::stw, 5, 4, 4),
               immediate(Op::lhz, 6, 4, 10), indexed(Op::sthx, 6, 4, 7), immediate(Op::lbzu, 8, 4, 0x801),
               immediate(Op::stbu, 8, 4, 0x7FB), immediate(Op::addi, 4, 4, 4), immediate(Op::lfd, 1, 4, -0xFE8),
               immediate(Op::stfd, 1, 4, -0xFD3), immediate(Op::stfs, 1, 4, -0xFC0), indexed(Op::lhbrx, 9, 4, 10),
               add(11, 11, 9), count_down(-13), end});
    const auto run = [&](const char* what) {
        guest.complete({{3, pages}, {4, data_base}, {7, 0x20}, {10, 0xFFFFF002}, {11, 0}}, what);
    };
    run("first pages");
    const std::uint64_t first = guest.faults();
    CHECK(first >= pages);
    CHECK(first <= 2 * pages);
    for (int again = 0; again < 3; ++again) run("the same pages");
    CHECK(guest.faults() == first);
}

TEST_CASE("a mapped page goes with its TLB entry, and with each of its rights", "[mapped]") {
    // The larger entry has more made from it than is remembered page by page.
    for (const unsigned size : {MappedGuest::size_4k, MappedGuest::size_64k}) {
        INFO("size " << size);
        MappedGuest guest;
        put_load_and_store(guest);
        std::uint32_t offset = 0;
        const auto load = [&] { return guest.run({{4, data_base + offset}}, "load", load_code).kind; };
        const auto store = [&] {
            return guest.run({{4, data_base + offset}, {5, 0x12345678}}, "store", store_code).kind;
        };
        // What is at the page's place in a frame, having been loaded.
        const auto loads_from = [&](unsigned number) {
            for (offset = 0; offset < (size == MappedGuest::size_4k ? page_bytes : 16 * page_bytes);
                 offset += page_bytes) {
                REQUIRE(load() == TrapKind::system_call);
                CHECK(guest.gpr(3) == guest.word_at(frame(number) + offset));
            }
            offset = 0;
        };
        guest.map(1, data_base, frame(0), rw, size);
        loads_from(0);
        const std::uint64_t first = guest.faults();
        CHECK(first >= 1);
        loads_from(0);
        CHECK(guest.faults() == first);

        // Invalid. Once the miss is answered, the page is mapped before the access is tried again.
        guest.set_entry(1, {});
        REQUIRE(load() == TrapKind::data_miss);
        CHECK(guest.faults() == first + 1);
        guest.map(1, data_base, frame(16), rw, size);
        REQUIRE(guest.go_on("after the miss").kind == TrapKind::system_call);
        CHECK(guest.gpr(3) == guest.word_at(frame(16)));
        CHECK(guest.faults() == first + 1);
        // Replaced by another one, whole or by one of its words.
        loads_from(16);
        guest.map(1, data_base, frame(32), rw, size);
        loads_from(32);
        guest.write_entry(1, 1, static_cast<std::uint32_t>(frame(48)));
        loads_from(48);
        guest.write_entry(1, 0, 0);
        REQUIRE(load() == TrapKind::data_miss);
        guest.map(1, data_base, frame(48), rw, size);

        // Rights come and go.
        REQUIRE(store() == TrapKind::system_call);
        const std::uint64_t before = guest.faults();
        REQUIRE(store() == TrapKind::system_call);
        CHECK(guest.faults() == before);
        guest.write_entry(1, 2, TlbEntry::ur);
        loads_from(48);
        REQUIRE(store() == TrapKind::data_denied);
        loads_from(48);
        guest.write_entry(1, 2, rw);
        REQUIRE(store() == TrapKind::system_call);
        loads_from(48);
        guest.write_entry(1, 2, TlbEntry::uw);
        REQUIRE(load() == TrapKind::data_denied);
        REQUIRE(store() == TrapKind::system_call);
    }
}

TEST_CASE("each process has its own page mapped at an address", "[mapped]") {
    // As many as have a context each, and more.
    for (const std::uint8_t processes : {std::uint8_t{2}, std::uint8_t{40}}) {
        MappedGuest guest;
        put_load_and_store(guest);
        for (std::uint8_t pid = 1; pid <= processes; ++pid)
            guest.map(pid, data_base, frame(pid), rw, MappedGuest::size_4k, pid);
        std::uint64_t first = 0;
        for (std::uint32_t round = 0; round < 3; ++round) {
            for (std::uint8_t pid = 1; pid <= processes; ++pid) {
                guest.set_pid(pid);
                guest.complete({{4, data_base}}, "load", load_code);
                CHECK(guest.gpr(3) == guest.word_at(frame(pid)));
                guest.complete({{4, data_base}, {5, pid + round}}, "store", store_code);
                CHECK(guest.word_at(frame(pid)) == pid + round);
            }
            if (round == 0) first = guest.faults();
            CHECK(first >= processes);
            if (processes == 2) CHECK(guest.faults() == first);
        }
    }
}

namespace {

// The same place in terms of a base and a displacement or index.
struct Place {
    std::uint32_t base, more;
    enum class Outcome {
        mapped,      // once it is known
        around,      // base and displacement lead around the ends of the address space
        across,      // in two pages, if it is wide enough
        no_page,     // likewise, and the second one is not there
        no_stores,   // likewise, and stores to the second one are denied
        not_at_first // likewise, and the first one is not there
    } outcome;
};

constexpr std::uint32_t lone_page = 0x20000000, guarded_page = 0x30000000, joined_page = 0x40000000;

std::vector<Place> places() {
    using enum Place::Outcome;
    return {{0x00000010, 0xFFFFFFE0, around},          // 0xFFFFFFF0
            {0x00000010, 0xFFFF8000, around},          // 0xFFFF8010
            {0x00007FF0, 0xFFFF8000, around},          // 0xFFFFFFF0
            {0xFFFFFFF0, 0x00000020, around},          // 0x00000010
            {0xFFFFFFF0, 0x00007FF0, around},          // 0x00007FE0
            {0xFFFF9000, 0x00007FF0, around},          // 0x00000FF0
            {0xFFFFF010, 0x00000000, mapped},          //
            {0x00000000, 0x00000020, mapped},          //
            {0xFFFFFFFE, 0x00000000, across},          // the last page and the first one
            {0xFFFFF000, 0x00000FFE, across},          //
            {joined_page, 0x00000FFE, across},         //
            {lone_page, 0x00000FFE, no_page},          //
            {lone_page + 0x1000, 0xFFFFFFFE, no_page}, //
            {guarded_page, 0x00000FFE, no_stores},     //
            {lone_page, 0xFFFFFFFE, not_at_first}};
}

void access_everywhere(Op op, bool has_displacement, unsigned bytes, bool is_store) {
    INFO("instruction " << isa::instruction_table[static_cast<std::size_t>(op)].mnemonic);
    MappedGuest guest;
    unsigned index = 1;
    for (const auto& [ea, real] :
         {std::pair(0xFFFFF000U, frame(28)), std::pair(0x00000000U, frame(9)), std::pair(0xFFFF8000U, frame(30)),
          std::pair(0x00007000U, frame(31)), std::pair(lone_page, frame(1)), std::pair(guarded_page, frame(2)),
          std::pair(joined_page, frame(10)), std::pair(joined_page + page_bytes, frame(4))})
        guest.map(index++, ea, real, rw);
    guest.map(index++, guarded_page + page_bytes, frame(3), TlbEntry::ur);
    std::uint32_t offset = 0;
    for (const Place& place : places()) {
        INFO("base " << std::hex << place.base << " and " << place.more);
        guest.put({has_displacement ? immediate(op, 5, 4, place.more) : indexed(op, 5, 4, 6), end}, offset);
        const auto run = [&] { return guest.run({{4, place.base}, {6, place.more}}, "access", offset); };
        const std::uint64_t before = guest.faults();
        Trap trap = run();
        const std::uint64_t first = guest.faults();
        trap = run();
        using enum Place::Outcome;
        const bool crosses = bytes > 2 && place.outcome > around;
        if (crosses && place.outcome == no_page) {
            CHECK(trap.kind == TrapKind::data_miss);
            CHECK(trap.ea == lone_page + page_bytes);
        } else if (place.outcome == not_at_first) {
            CHECK(trap.kind == TrapKind::data_miss);
            CHECK(trap.ea == lone_page - 2);
        } else if (crosses && is_store && place.outcome == no_stores) {
            CHECK(trap.kind == TrapKind::data_denied);
            CHECK(trap.ea == guarded_page + page_bytes);
        } else {
            CHECK(trap.kind == TrapKind::system_call);
        }
        // The first access to a page faults. What leads around faults each time, and never reaches what lies behind.
        if (place.outcome == around && has_displacement) CHECK(guest.faults() == before + 2);
        if (place.outcome == mapped) CHECK(guest.faults() == first);
        offset += 8;
    }
    CHECK(guest.faults() > 0);
    CHECK(guest.faults() < most_faults); // or not all were mapped
}

} // namespace

TEST_CASE("accesses at the ends of the address space and of pages are exact", "[mapped]") {
    access_everywhere(Op::lbz, true, 1, false);
    access_everywhere(Op::lha, true, 2, false);
    access_everywhere(Op::lwz, true, 4, false);
    access_everywhere(Op::lwzu, true, 4, false);
    access_everywhere(Op::lfd, true, 8, false);
    access_everywhere(Op::lfsu, true, 4, false);
    access_everywhere(Op::stb, true, 1, true);
    access_everywhere(Op::sth, true, 2, true);
    access_everywhere(Op::stw, true, 4, true);
    access_everywhere(Op::stwu, true, 4, true);
    access_everywhere(Op::stfs, true, 4, true);
    access_everywhere(Op::stfdu, true, 8, true);
    access_everywhere(Op::lwzx, false, 4, false);
    access_everywhere(Op::lwzux, false, 4, false);
    access_everywhere(Op::lhbrx, false, 2, false);
    access_everywhere(Op::lfdx, false, 8, false);
    access_everywhere(Op::stwx, false, 4, true);
    access_everywhere(Op::stwux, false, 4, true);
    access_everywhere(Op::stwbrx, false, 4, true);
    access_everywhere(Op::stfdx, false, 8, true);
}

TEST_CASE("stores to mapped pages that hold code are seen", "[mapped]") {
    constexpr std::uint32_t function = 0x200;
    // The code that stores lies elsewhere, or in that page itself.
    for (const std::uint32_t page : {0x2000U, 0U}) {
        MappedGuest guest;
        guest.map(1, data_base, Layout::code + page, rw);
        guest.put({immediate(Op::addi, 3, 3, 0), match(Op::bclr) | 20U << 21}, page + function);
        const std::uint32_t call = match(Op::b) | ((page + function - 5 * 4) & 0x03FFFFFC) | 1;
        guest.put({to_counter(6), immediate(Op::stw, 5, 4, function), immediate(Op::addi, 5, 5, 1),
                   // Nothing is made from the page any more at this one.
                   immediate(Op::stw, 5, 4, function), match(Op::isync), call, count_down(-5), end});
        for (const std::uint32_t passes : {20U, 300U}) {
            guest.complete({{3, 0}, {4, data_base}, {5, immediate(Op::addi, 3, 3, 0)}, {6, passes}}, "rewritten code");
            CHECK(guest.gpr(3) == passes * (passes + 1) / 2);
            if (passes == 20) CHECK(guest.faults() >= passes);
        }
        CHECK(guest.faults() <= most_faults + blocks);
    }
}

TEST_CASE("a device's writes to mapped pages are seen", "[mapped]") {
    MappedGuest guest;
    put_load_and_store(guest);
    guest.map(1, data_base, frame(1), rw);
    guest.complete({{4, data_base}}, "load", load_code);
    guest.complete({{4, data_base}}, "store", store_code);
    const std::uint64_t first = guest.faults();
    CHECK(first >= 1);
    for (std::uint32_t value = 1; value < 5; ++value) {
        guest.pair.both([&](Machine& machine) { machine.write_word(frame(1), value); });
        guest.complete({{4, data_base}}, "load", load_code);
        CHECK(guest.gpr(3) == value);
    }
    CHECK(guest.faults() == first);
}

TEST_CASE("stores to mapped pages are in the dirty log each time it is taken", "[mapped]") {
    MappedGuest guest;
    put_load_and_store(guest);
    using Log = std::vector<std::uint32_t>;
    Log expected(Layout::data_bytes / page_bytes / 32), log = expected;
    const auto use = [](Machine& machine, Log& words) {
        runtime::Memslot slot = machine.vcpu().memory.slot(0);
        slot.dirty = words.data();
        REQUIRE(machine.vcpu().memory.set_slot(0, slot));
        machine.engine().flush();
    };
    use(guest.pair.reference, expected);
    use(guest.pair.jit, log);
    for (unsigned page = 0; page < 8; ++page) guest.map(1 + page, data_base + page * page_bytes, frame(page), rw);
    const auto access = [&](unsigned page, std::uint32_t code) {
        guest.complete({{4, data_base + page * page_bytes}}, "access", code);
    };
    for (unsigned round = 0; round < 4; ++round) {
        CHECK(log[0] == 0);
        for (unsigned page = 0; page < 8; ++page) access(page, load_code);
        CHECK(log[0] == 0);
        const unsigned stored = 1U << round | 0x90;
        const std::uint64_t before = guest.faults();
        for (int times = 0; times < 3; ++times) {
            for (unsigned page = 0; page < 8; ++page)
                if ((stored >> page & 1) != 0) access(page, store_code);
            CHECK(log[0] == stored);
            CHECK(log == expected);
            // The first store is the only one that the hypervisor has to see.
            CHECK(guest.faults() == before + 3);
        }
        // One that misses first: once that is answered, nobody but the process itself sees the store.
        guest.set_entry(1, {});
        REQUIRE(guest.run({{4, data_base}}, "a miss", store_code).kind == TrapKind::data_miss);
        CHECK(log[0] == stored);
        guest.map(1, data_base, frame(16 + round), rw);
        REQUIRE(guest.go_on("after the miss").kind == TrapKind::system_call);
        CHECK(log[0] == (stored | 0x10000U << round));
        CHECK(log == expected);
        guest.map(1, data_base, frame(0), rw);
        guest.pair.both([](Machine& machine) { machine.engine().dirty_log_taken(); });
        expected.assign(expected.size(), 0);
        log.assign(log.size(), 0);
    }
}

TEST_CASE("code that goes through more pages than the guest's TLB has is mapped no more", "[mapped]") {
    constexpr unsigned pages = 96, entries = 60;
    MappedGuest guest;
    guest.put(sum_of_pages());
    unsigned next = 0;
    std::uint64_t after_first = 0;
    for (unsigned round = 0; round < 6; ++round) {
        Trap trap = guest.run({{3, pages}, {4, data_base}, {7, round}}, "sum");
        unsigned misses = 0;
        for (; trap.kind == TrapKind::data_miss; ++misses) {
            const std::uint32_t page = (trap.ea - data_base) / page_bytes;
            guest.map(1 + next++ % entries, trap.ea & ~(page_bytes - 1), frame(page * 7 % 64), rw);
            trap = guest.pair.run(MappedGuest::most_instructions, "after a miss");
        }
        REQUIRE(trap.kind == TrapKind::system_call);
        guest.pair.compare_memory("a round of misses");
        CHECK(misses == pages);
        if (round == 0) after_first = guest.faults();
        CHECK(guest.faults() >= most_faults);
        CHECK(guest.faults() <= most_faults + blocks);
    }
    CHECK(guest.faults() <= after_first + 1); // of the block at the beginning
}

TEST_CASE("where an access finds that it is mapped no more, nothing is lost", "[mapped]") {
    constexpr unsigned pages = 100;
    struct Access {
        Op op;
        bool has_displacement;
    };
    for (const auto& [op, has_displacement] :
         {Access{Op::lwzu, true}, Access{Op::stwu, true}, Access{Op::lwzux, false}, Access{Op::sthux, false},
          Access{Op::lfdu, true}, Access{Op::stfsu, true}, Access{Op::lfsux, false}, Access{Op::stfdux, false}}) {
        INFO("instruction " << isa::instruction_table[static_cast<std::size_t>(op)].mnemonic);
        MappedGuest guest;
        // Two views of the same memory: no access misses.
        for (unsigned view = 0; view < 2; ++view)
            guest.map(1 + view, data_base + view * 64 * page_bytes, frame(0), rw, MappedGuest::size_256k);
        // The carry and CR0 are still to be stored when it faults.
        guest.put({to_counter(3), indexed(Op::addc, 7, 7, 8) | 1,
                   has_displacement ? immediate(op, 5, 4, 0x1000) : indexed(op, 5, 4, 6), indexed(Op::adde, 9, 9, 5),
                   count_down(-3), end});
        for (int again = 0; again < 2; ++again) {
            guest.complete({{3, pages}, {4, data_base - page_bytes}, {6, 0x1000}, {8, 0x9E3779B9}}, "pages");
            CHECK(guest.faults() >= most_faults);
            CHECK(guest.faults() <= most_faults + blocks);
        }
    }
}

TEST_CASE("more pages than are mapped at once, one after the other", "[mapped]") {
    constexpr unsigned views = 6, pages = 60;
    MappedGuest guest;
    // Loads alone, since what is stored in one view of the memory is loaded in the next.
    guest.put({to_counter(3), immediate(Op::lwz, 5, 4, 0), add(7, 7, 5), immediate(Op::addi, 4, 4, 0x1000),
               count_down(-3), end});
    const auto view_base = [](unsigned view) { return data_base + view * 64 * page_bytes; };
    for (unsigned view = 0; view < views; ++view)
        guest.map(1 + view, view_base(view), frame(0), rw, MappedGuest::size_256k);
    // The faults of going through a view, after slices of time without any.
    const auto go_through = [&](unsigned view, unsigned count) {
        guest.rest();
        const std::uint64_t before = guest.faults();
        guest.complete({{3, count}, {4, view_base(view)}, {7, 0}}, "sum of pages");
        return guest.faults() - before;
    };
    for (unsigned view = 0; view < views; ++view) CHECK(go_through(view, pages) == pages);
    // The first ones had to give way. The last have not, and follow their entry.
    CHECK(go_through(views - 1, pages) == 0);
    for (const unsigned view : {0U, views - 1}) {
        guest.map(1 + view, view_base(view), Layout::high, rw, MappedGuest::size_64k);
        CHECK(go_through(view, 16) == 16);
        CHECK(guest.gpr(7) == 0); // nobody wrote there
    }
    CHECK(go_through(1, pages) == pages);
}
