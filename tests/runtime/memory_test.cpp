// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "guest.h"

using namespace untrap;
using runtime::PhysicalMemory;
using runtime::Resolved;

TEST_CASE("memory slots are checked") {
    std::vector<std::uint8_t> host(0x4000);
    PhysicalMemory memory;
    CHECK_FALSE(memory.set_slot(32, {0, 0x1000, host.data(), false, false}));
    CHECK_FALSE(memory.set_slot(0, {0x100, 0x1000, host.data(), false, false}));
    CHECK_FALSE(memory.set_slot(0, {0, 0x1001, host.data(), false, false}));
    CHECK_FALSE(memory.set_slot(0, {0, 0x1000, nullptr, false, false}));
    CHECK_FALSE(memory.set_slot(0, {std::uint64_t{1} << 36, 0x1000, host.data(), false, false}));
    CHECK_FALSE(memory.set_slot(0, {0xFFFFFF000, 0x2000, host.data(), false, false}));
    CHECK_FALSE(memory.set_slot(0, {0x1000, 0xFFFFFFFFFFFFF000, host.data(), false, false}));
    REQUIRE(memory.set_slot(0, {0x1000, 0x2000, host.data(), false, false}));
    CHECK_FALSE(memory.set_slot(1, {0x2000, 0x1000, host.data(), false, false}));
    CHECK(memory.set_slot(1, {0x3000, 0x1000, host.data() + 0x2000, true, false}));
    CHECK(memory.set_slot(0, {0x1000, 0x1000, host.data(), false, false})); // a slot may change itself

    CHECK(memory.find(0xFFF, 1, false) == nullptr);
    CHECK(memory.find(0x1000, 0x1000, true) == host.data());
    CHECK(memory.find(0x1FFF, 2, false) == nullptr);
    CHECK(memory.find(0x1FFF, ~std::uint64_t{0}, false) == nullptr);
    CHECK(memory.find(0x3000, 4, true) == nullptr);
    CHECK(memory.find(0x3000, 4, false) == host.data() + 0x2000);
    CHECK(memory.set_slot(1, {}));
    CHECK(memory.find(0x3000, 4, false) == nullptr);
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
