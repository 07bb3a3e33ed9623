// SPDX-License-Identifier: GPL-2.0-only
#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstring>

#include "guest.h"

using namespace untrap;
using runtime::PhysicalMemory;
using runtime::Resolved;

TEST_CASE("memory slots are checked") {
    std::vector<std::uint8_t> host(0x4000);
    PhysicalMemory memory;
    CHECK_FALSE(memory.set_slot(32, {0, 0x1000, host.data(), false}));
    CHECK_FALSE(memory.set_slot(0, {0x100, 0x1000, host.data(), false}));
    CHECK_FALSE(memory.set_slot(0, {0, 0x1001, host.data(), false}));
    CHECK_FALSE(memory.set_slot(0, {0, 0x1000, nullptr, false}));
    CHECK_FALSE(memory.set_slot(0, {std::uint64_t{1} << 36, 0x1000, host.data(), false}));
    CHECK_FALSE(memory.set_slot(0, {0xFFFFFF000, 0x2000, host.data(), false}));
    CHECK_FALSE(memory.set_slot(0, {0x1000, 0xFFFFFFFFFFFFF000, host.data(), false}));
    REQUIRE(memory.set_slot(0, {0x1000, 0x2000, host.data(), false}));
    CHECK_FALSE(memory.set_slot(1, {0x2000, 0x1000, host.data(), false}));
    CHECK(memory.set_slot(1, {0x3000, 0x1000, host.data() + 0x2000, true}));
    CHECK(memory.set_slot(0, {0x1000, 0x1000, host.data(), false})); // a slot may change itself

    CHECK(memory.find(0xFFF, 1, false) == nullptr);
    CHECK(memory.find(0x1000, 0x1000, true) == host.data());
    CHECK(memory.find(0x1FFF, 2, false) == nullptr);
    CHECK(memory.find(0x1FFF, ~std::uint64_t{0}, false) == nullptr);
    CHECK(memory.find(0x3000, 4, true) == nullptr);
    CHECK(memory.find(0x3000, 4, false) == host.data() + 0x2000);
    CHECK(memory.set_slot(1, {}));
    CHECK(memory.find(0x3000, 4, false) == nullptr);
}

namespace {

// A slot whose pages lie in host memory in reverse order but for the last two, with a page between each that must not
// be touched.
struct Scattered {
    static constexpr unsigned count = 40;
    std::vector<std::uint8_t> host = std::vector<std::uint8_t>(2 * (count + 1) * 0x1000, 0xEE);
    std::vector<std::uint8_t*> pages;
    std::vector<std::uint32_t> dirty = std::vector<std::uint32_t>((count + 31) / 32);

    Scattered() {
        for (unsigned page = 0; page < count; ++page) pages.push_back(&host[2 * (count - page) * 0x1000]);
        pages[count - 1] = pages[count - 2] + 0x1000;
        for (std::uint8_t* page : pages) std::memset(page, 0, 0x1000);
    }
    runtime::Memslot slot(std::uint64_t base, bool log) {
        return {.base = base, .size = count * 0x1000, .pages = pages.data(), .dirty = log ? dirty.data() : nullptr};
    }
    bool is_dirty(unsigned page) const { return (dirty[page / 32] >> (page & 31) & 1) != 0; }
    unsigned dirty_pages() const {
        unsigned sum = 0;
        for (const std::uint32_t word : dirty) sum += static_cast<unsigned>(std::popcount(word));
        return sum;
    }
    std::uint32_t word(std::uint32_t offset) const {
        return static_cast<std::uint32_t>(runtime::load_big_endian(pages[offset >> 12] + (offset & 0xFFF), 4));
    }
    void put(std::uint32_t offset, std::initializer_list<std::uint32_t> words) {
        for (const std::uint32_t word : words) {
            runtime::store_big_endian(pages[offset >> 12] + (offset & 0xFFF), 4, word);
            offset += 4;
        }
    }
};

} // namespace

TEST_CASE("memory slots of separate pages") {
    Scattered s;
    PhysicalMemory memory;
    runtime::Memslot both = s.slot(0x10000, false);
    both.host = s.host.data();
    CHECK_FALSE(memory.set_slot(0, both));
    REQUIRE(memory.set_slot(0, s.slot(0x10000, false)));
    CHECK(memory.find(0x10000, 1, true) == s.pages[0]);
    CHECK(memory.find(0x10FFF, 1, true) == s.pages[0] + 0xFFF);
    CHECK(memory.find(0x10000, 0x1000, true) == s.pages[0]);
    CHECK(memory.find(0x10FFF, 2, true) == nullptr);
    CHECK(memory.find(0x11234, 4, true) == s.pages[1] + 0x234);
    const std::uint64_t last = 0x10000 + (s.count - 2) * 0x1000;
    CHECK(memory.find(last, 0x2000, false) == s.pages[s.count - 2]);
    CHECK(memory.find(last - 1, 0x2000, false) == nullptr);
    CHECK(memory.find(last, 0x2001, false) == nullptr);
    CHECK(memory.find(0x0FFFF, 1, false) == nullptr);
    CHECK_FALSE(memory.logged(0x10000));
    memory.mark_dirty(0x10000, 4); // not logged
    REQUIRE(memory.set_slot(0, s.slot(0x10000, true)));
    CHECK(memory.logged(0x10000));
    CHECK_FALSE(memory.logged(0x0FFFF));
    CHECK(s.dirty_pages() == 0);
    memory.mark_dirty(0x11FFF, 2);
    CHECK(s.is_dirty(1));
    CHECK(s.is_dirty(2));
    memory.mark_dirty(last + 0x1FFF, ~std::uint64_t{0} >> 1); // ends with the slot
    CHECK(s.is_dirty(s.count - 1));
    CHECK(s.dirty_pages() == 3);
}

TEST_CASE("guest accesses to memory of separate pages") {
    Guest g;
    Scattered s;
    const bool log = GENERATE(false, true);
    constexpr std::uint32_t base = 0x200000;
    REQUIRE(g.memory.set_slot(1, s.slot(base, log)));
    isa::Trap trap;
    std::uint64_t value = 0;
    for (unsigned size : {1u, 2u, 4u, 8u}) {
        for (std::uint32_t offset = 0x0FF8; offset <= 0x1008; ++offset) {
            const std::uint64_t data = 0x1122334455667788 >> (64 - 8 * size);
            REQUIRE(g.vcpu.storage.store(base + offset, size, data, trap));
            REQUIRE(g.vcpu.storage.load(base + offset, size, value, trap));
            REQUIRE(value == data);
        }
    }
    REQUIRE(g.vcpu.storage.store(base + 0x2FFE, 4, 0xAABBCCDD, trap));
    CHECK(s.word(0x2FFC) == 0xAABB);
    CHECK(s.word(0x3000) == 0xCCDD0000);
    const unsigned written = log ? 4 : 0;
    CHECK(s.dirty_pages() == written);

    // The same through the engine: stmw across pages 4 and 5, code across pages 8 and 9, which is not written.
    s.put(0x8FF8, {code::lis(3, base >> 16), code::ori(3, 3, 0x4FF4), code::stmw(26, 3, 0), code::lwz(4, 3, 12),
                   END_BY_RESET(5)});
    for (std::uint32_t r = 26; r < 32; ++r) g.vcpu.state.gpr[r] = r;
    g.vcpu.state.pc = base + 0x8FF8;
    REQUIRE(g.finish());
    CHECK(g.vcpu.state.gpr[4] == 29);
    CHECK(s.word(0x4FFC) == 28);
    CHECK(s.word(0x5008) == 31);
    CHECK(s.dirty_pages() == written + (log ? 2 : 0));
    CHECK(s.is_dirty(4) == log);
    CHECK(s.is_dirty(5) == log);
    for (std::size_t between = 0x1000; between < s.host.size(); between += 0x2000)
        if (const std::uint8_t* page = &s.host[between]; page != s.pages.back()) CHECK(*page == 0xEE);
}

TEST_CASE("a sequence goes on from page to page, wherever they lie in host memory") {
    const auto exits = [](bool scattered) {
        Guest g;
        Scattered s;
        constexpr std::uint32_t base = 0x200000;
        std::vector<std::uint8_t> whole(s.count * 0x1000);
        runtime::Memslot slot = s.slot(base, false);
        if (!scattered) {
            slot.pages = nullptr;
            slot.host = whole.data();
        }
        REQUIRE(g.memory.set_slot(1, slot));
        g.patches->configure(8, 1);
        // Three words of a TLB entry, the first of them last in its page.
        const std::initializer_list<std::uint32_t> words = {code::tlbwe(4, 3, 2), code::tlbwe(4, 3, 1),
                                                            code::tlbwe(4, 3, 0), END_BY_RESET(5)};
        s.put(0x8FFC, words);
        std::uint8_t* to = &whole[0x8FFC];
        for (const std::uint32_t word : words) {
            runtime::store_big_endian(to, 4, word);
            to += 4;
        }
        g.vcpu.state.gpr[3] = 9;
        g.vcpu.state.pc = base + 0x8FFC;
        REQUIRE(g.finish());
        return g.vcpu.exits.total;
    };
    CHECK(exits(true) == exits(false));
    CHECK(exits(true) < 4);
}

TEST_CASE("accesses across pages check both before anything is stored") {
    Guest g;
    g.vcpu.tlb.clear();
    g.map(0, 0x10000, 0x4000, 1, 3);
    g.map(1, 0x11000, 0x8000, 1, 1); // read only
    isa::Trap trap;
    std::uint64_t value = 0;
    CHECK_FALSE(g.vcpu.storage.store(0x10FFE, 4, 0x11223344, trap));
    CHECK(trap.kind == isa::TrapKind::data_denied);
    CHECK(trap.ea == 0x11000);
    CHECK(trap.is_store);
    CHECK(g.word(0x4FFC) == 0);
    g.map(1, 0x11000, 0x8000, 1, 3);
    REQUIRE(g.vcpu.storage.store(0x10FFE, 4, 0x11223344, trap));
    CHECK(g.word(0x4FFC) == 0x1122);
    CHECK(g.word(0x8000) == 0x33440000);
    REQUIRE(g.vcpu.storage.load(0x10FFE, 4, value, trap));
    CHECK(value == 0x11223344);
    CHECK_FALSE(g.vcpu.storage.load(0x11FFD, 8, value, trap));
    CHECK(trap.kind == isa::TrapKind::data_miss);
    CHECK(trap.ea == 0x12000);
}

TEST_CASE("little-endian pages reverse the bytes of each access") {
    Guest g;
    g.map(1, 0x20000000, 0x4000, 1, 3 | mmu::TlbEntry::attr_e);
    g.put(0x4000, {0x11223344, 0x55667788});
    isa::Trap trap;
    std::uint64_t value = 0;
    REQUIRE(g.vcpu.storage.load(0x20000000, 4, value, trap));
    CHECK(value == 0x44332211);
    REQUIRE(g.vcpu.storage.load(0x20000002, 2, value, trap));
    CHECK(value == 0x4433);
    REQUIRE(g.vcpu.storage.load(0x20000000, 8, value, trap));
    CHECK(value == 0x8877665544332211);
    REQUIRE(g.vcpu.storage.store(0x20000004, 4, 0xAABBCCDD, trap));
    CHECK(g.word(0x4004) == 0xDDCCBBAA);
}

TEST_CASE("translation depends on space, process and privilege") {
    Guest g;
    g.vcpu.tlb.clear();
    g.map(3, 0x5000, 0x2000, 1, mmu::TlbEntry::ur, 7);
    g.map(4, 0x5000, 0x3000, 1, mmu::TlbEntry::sr, 0, 1);
    const auto status = [&] { return g.vcpu.storage.resolve(0x5004, mmu::Access::load); };
    CHECK(status().status == Resolved::Status::miss);
    g.vcpu.set_pid(7);
    CHECK(status().status == Resolved::Status::denied);
    g.vcpu.set_msr(isa::msr::pr);
    CHECK(status().status == Resolved::Status::ok);
    CHECK(status().real == 0x2004);
    CHECK(status().tlb_index == 3);
    g.vcpu.set_msr(isa::msr::ds);
    CHECK(status().real == 0x3004);
    CHECK(g.vcpu.storage.resolve(0x5004, mmu::Access::store).status == Resolved::Status::denied);
    CHECK(g.vcpu.storage.resolve(0x5004, mmu::Access::fetch).status ==
          Resolved::Status::denied); // entry 3, for IS is 0
}
