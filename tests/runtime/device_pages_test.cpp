// SPDX-License-Identifier: GPL-2.0-only
// Device accesses that userspace is not asked for: the ring of coalesced MMIO and the page of device registers.
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <memory>

#include "guest.h"

using namespace untrap;
using runtime::DevicePages;
using runtime::ExitReason;
using runtime::RunExit;

namespace {

constexpr std::uint64_t device = 0x1EF600300;
constexpr std::uint32_t device_ea = 0x20000300;
constexpr std::uint64_t delay = 1000;
constexpr code::Word sth(code::Word rt, code::Word ra, code::Word d) { return code::d_form(44, rt, ra, d); }

struct Pages {
    Pages() { pages.attach(ring.get(), &registers, delay); }

    unsigned waiting() const { return (ring->last + abi::coalesced_mmio_max - ring->first) % abi::coalesced_mmio_max; }
    abi::kvm_coalesced_mmio take() {
        const abi::kvm_coalesced_mmio entry = ring->coalesced_mmio[ring->first];
        ring->first = (ring->first + 1) % abi::coalesced_mmio_max;
        return entry;
    }
    bool store(std::uint64_t real, unsigned size, std::uint64_t value) {
        return pages.store(pages.find(real), real, size, value, 0);
    }

    std::unique_ptr<abi::kvm_coalesced_mmio_ring> ring = std::make_unique<abi::kvm_coalesced_mmio_ring>();
    abi::UntrapRegisters registers{};
    DevicePages pages;
};

struct Fixture : Guest, Pages {
    Fixture() {
        map(1, device_ea & ~0xFFFU, device & ~std::uint64_t{0xFFF}, 1, 3);
        vcpu.device_pages = &pages;
        vcpu.state.gpr[5] = device_ea;
        registers.count = 1;
        registers.blocks[0].base = device;
    }
};

} // namespace

TEST_CASE("coalesced zones: what is refused, and what is taken away") {
    Pages p;
    CHECK(p.pages.add_zone({0x1000, 0, 0}) == -22);
    CHECK(p.pages.add_zone({~std::uint64_t{0} - 3, 8, 0}) == -22);
    CHECK(p.pages.add_zone({0x1000, 8, 1}) == -22);
    CHECK(p.pages.remove_zone({0x1000, 8, 2}) == -22);
    for (unsigned i = 0; i < DevicePages::most_zones; ++i) REQUIRE(p.pages.add_zone({0x1000 + 0x100 * i, 8, 0}) == 0);
    CHECK(p.pages.add_zone({0x9000, 8, 0}) == -28);
    CHECK(p.pages.remove_zone({0x1002, 2, 0}) == 0); // the zone around it
    CHECK_FALSE(p.store(0x1000, 4, 1));
    CHECK(p.store(0x1100, 4, 1));
    CHECK(p.pages.remove_zone({0x5000, 2, 0}) == 0); // none
    CHECK(p.pages.add_zone({~std::uint64_t{0} - 7, 8, 0}) == 0);
}

TEST_CASE("coalesced zones: an access has to lie in one") {
    Pages p;
    REQUIRE(p.pages.add_zone({0x1004, 8, 0}) == 0);
    CHECK_FALSE(p.store(0x1003, 1, 0));
    CHECK_FALSE(p.store(0x1002, 4, 0));
    CHECK(p.store(0x1004, 8, 0x0102030405060708));
    CHECK_FALSE(p.store(0x100A, 4, 0));
    CHECK(p.store(0x100A, 2, 0xA0B0));
    CHECK_FALSE(p.store(0x100C, 1, 0));
    REQUIRE(p.waiting() == 2);
    const abi::kvm_coalesced_mmio first = p.take(), second = p.take();
    CHECK((first.phys_addr == 0x1004 && first.len == 8 && first.data[0] == 1 && first.data[7] == 8));
    CHECK((second.phys_addr == 0x100A && second.len == 2 && second.data[0] == 0xA0 && second.data[1] == 0xB0));
}

TEST_CASE("coalesced ring: full, and with numbers that no userspace should write") {
    Pages p;
    REQUIRE(p.pages.add_zone({0x1000, 8, 0}) == 0);
    for (unsigned i = 0; i + 1 < abi::coalesced_mmio_max; ++i) REQUIRE(p.store(0x1000, 1, i & 0xFF));
    CHECK_FALSE(p.store(0x1000, 1, 0));
    CHECK(p.take().data[0] == 0);
    CHECK(p.store(0x1000, 1, 0x55));
    CHECK_FALSE(p.store(0x1000, 1, 0));
    for (const std::uint32_t last : {abi::coalesced_mmio_max, 0x80000000U, ~0U}) {
        p.ring->last = last;
        CHECK_FALSE(p.store(0x1000, 1, 0));
        CHECK(p.ring->last == last);
    }
    p.ring->last = 0;
    p.ring->first = ~0U; // never full: what nobody takes is written over
    for (unsigned i = 0; i < 2 * abi::coalesced_mmio_max; ++i) CHECK(p.store(0x1000, 1, 1));
    CHECK(p.ring->last == 0);
}

TEST_CASE("device registers: only what is in the page") {
    Pages p;
    p.registers.count = ~0U; // as many as there are
    for (unsigned i = 0; i < abi::untrap_most_register_blocks; ++i) p.registers.blocks[i].base = 0x1000 + 0x10 * i;
    auto& block = p.registers.blocks[abi::untrap_most_register_blocks - 1];
    block.loads = 0x20;
    block.values[5] = 0x60;
    std::uint32_t value = 0;
    CHECK(DevicePages::load(p.pages.find(block.base + 5), 1, value));
    CHECK(value == 0x60);
    CHECK_FALSE(DevicePages::load(p.pages.find(block.base + 4), 1, value));
    CHECK_FALSE(DevicePages::load(p.pages.find(block.base + 4), 2, value));
    CHECK(p.pages.find(block.base + 8).block == nullptr);
    CHECK(p.pages.find(0xFFF).block == nullptr);
    p.registers.count = 0;
    CHECK(p.pages.find(block.base + 5).block == nullptr);
}

TEST_CASE("device registers: which stores end the run though they lie in a zone") {
    Pages p;
    REQUIRE(p.pages.add_zone({0x1000, 8, 0}) == 0);
    auto& block = p.registers.blocks[0];
    block.base = 0x1000;
    p.registers.count = 1;
    CHECK(p.store(0x1000, 1, '\n'));
    block.ends[0] = '\n';
    block.ends[1] = 'x';
    block.end_count = 1;
    CHECK_FALSE(p.store(0x1000, 1, '\n'));
    CHECK(p.store(0x1000, 1, 'x'));
    block.end_count = 255;
    CHECK_FALSE(p.store(0x1000, 1, 'x'));
    CHECK(p.store(0x1001, 1, 'y'));
    block.exits = 2;
    CHECK_FALSE(p.store(0x1001, 1, 'y'));
    CHECK_FALSE(p.store(0x1000, 2, 'y')); // two registers
    CHECK(p.store(0x1000, 1, 'y'));
}

TEST_CASE("a guest's loads of known registers and stores into the ring do not end the run") {
    Fixture f;
    REQUIRE(f.pages.add_zone({device, 8, 0}) == 0);
    f.registers.blocks[0].loads = 0x20;
    f.registers.blocks[0].values[5] = 0x61;
    f.vcpu.state.gpr[6] = 0x1142;
    f.put(Guest::origin, {code::lbz(4, 5, 5), code::stb(6, 5, 0), sth(6, 5, 9), code::lbz(7, 5, 5), END_BY_RESET(31)});
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    CHECK(f.vcpu.state.gpr[4] == 0x61);
    CHECK(f.vcpu.mmio().real == device + 9); // what is before it waits, in order
    REQUIRE(f.waiting() == 1);
    CHECK(f.take().data[0] == 0x42);
    CHECK_FALSE(f.pages.holds());
    f.registers.blocks[0].loads = 0;
    f.vcpu.complete_mmio(0);
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    CHECK(f.vcpu.mmio().real == device + 5);
    f.vcpu.complete_mmio(0x60);
    REQUIRE(f.vcpu.run() == RunExit::reset);
    CHECK(f.vcpu.state.gpr[7] == 0x60);
    CHECK(f.exits(ExitReason::mmio) == 4); // the guest was left for each
    CHECK(f.vcpu.state.retired == 6);
}

TEST_CASE("stores of what a register holds anyway") {
    Fixture f;
    auto& block = f.registers.blocks[0];
    block.loads = block.keeps = 2;
    block.values[1] = 7;
    f.vcpu.state.gpr[6] = 7;
    f.vcpu.state.gpr[7] = 8;
    f.put(Guest::origin, {code::stb(6, 5, 1), code::stb(6, 5, 2), code::stb(7, 5, 1)});
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    CHECK(f.vcpu.mmio().real == device + 2);
    f.vcpu.complete_mmio(0);
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    CHECK((f.vcpu.mmio().real == device + 1 && f.vcpu.mmio().value == 8));
    CHECK(f.waiting() == 0);
}

TEST_CASE("an instruction of many accesses, some of them in the ring") {
    Fixture f;
    f.registers.count = 0;
    REQUIRE(f.pages.add_zone({device + 4, 4, 0}) == 0);
    for (unsigned i = 29; i < 32; ++i) f.vcpu.state.gpr[i] = i;
    f.put(Guest::origin, {code::stmw(29, 5, 0), code::nop, code::b(0)});
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    CHECK((f.vcpu.mmio().real == device && f.waiting() == 0));
    f.vcpu.complete_mmio(0);
    REQUIRE(f.vcpu.run() == RunExit::mmio);
    CHECK((f.vcpu.mmio().real == device + 8 && f.waiting() == 1));
    CHECK(f.take().data[3] == 30);
    CHECK(f.vcpu.state.retired == 0);
    f.vcpu.complete_mmio(0);
    f.vcpu.request_stop();
    REQUIRE(f.vcpu.run() == RunExit::interrupted);
    CHECK(f.vcpu.state.pc == Guest::origin + 4);
    CHECK(f.vcpu.state.retired == 1);
    CHECK(f.waiting() == 0);
}

TEST_CASE("what waits in the ring ends the run in time, and before the guest waits") {
    Fixture f;
    REQUIRE(f.pages.add_zone({device, 8, 0}) == 0);
    f.put(Guest::origin, {code::stb(6, 5, 0), code::b(0)});
    REQUIRE(f.vcpu.run() == RunExit::interrupted);
    CHECK(f.waiting() == 1);
    // Under the guest's clock at the very instruction: the delay counts from the store.
    CHECK(f.vcpu.state.retired == delay);
    f.take();
    f.vcpu.request_stop();
    REQUIRE(f.vcpu.run() == RunExit::interrupted);

    f.vcpu.state.pc = Guest::origin;
    f.vcpu.state.gpr[7] = isa::msr::we | isa::msr::ce;
    f.put(Guest::origin + 4, {code::mtmsr(7)});
    REQUIRE(f.vcpu.run() == RunExit::interrupted);
    CHECK(f.host.waits == 0);
    CHECK(f.waiting() == 1);
}
