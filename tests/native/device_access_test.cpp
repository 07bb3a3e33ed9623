// SPDX-License-Identifier: GPL-2.0-only
// Device accesses that the device's pages are enough for: what the quick exits make of them, against the run loop.
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <memory>

#include "comparison.h"
#include "tests/runtime/guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using code::Word;
using mmu::TlbEntry;
using native::Comparison;
using native::Machine;
using runtime::ExitReason;
using runtime::RunExit;

constexpr std::uint32_t origin = Comparison::origin, uncached = 0x80000000, cached = 0x80010000;
constexpr std::uint64_t device = 0x1EF600300, other_device = 0x1EF700300;
constexpr std::uint32_t offset = 0x300;
constexpr Word lbzu(Word rt, Word ra, Word d) { return code::d_form(35, rt, ra, d); }
constexpr Word lbzx(Word rt, Word ra, Word rb) { return code::x_form(rt, ra, rb, 87); }
constexpr Word stbx(Word rt, Word ra, Word rb) { return code::x_form(rt, ra, rb, 215); }
constexpr Word done = code::mtdcr(Comparison::dcr_done, 0);

struct Pages {
    Pages() { pages.attach(ring.get(), &registers, 1000); }
    std::unique_ptr<abi::kvm_coalesced_mmio_ring> ring = std::make_unique<abi::kvm_coalesced_mmio_ring>();
    abi::UntrapRegisters registers{};
    runtime::DevicePages pages;
};

struct Board {
    Board() : random(seeded_random(91)), guest(random) {
        guest.cpu.interrupt_interval = 0;
        guest.native->set_level(4, 1);
        guest.start(Comparison::first_state());
        guest.interpreted->vcpu().device_pages = &interpreted.pages;
        guest.native->vcpu().device_pages = &native.pages;
        guest.both([](Machine& machine) {
            machine.map(5, uncached, device & ~std::uint64_t{0xFFF}, 1,
                        TlbEntry::sr | TlbEntry::sw | TlbEntry::attr_i | TlbEntry::attr_g);
            machine.map(6, cached, device & ~std::uint64_t{0xFFF}, 1, TlbEntry::sr | TlbEntry::sw);
        });
        both([](Pages& pages) {
            pages.registers.count = 1;
            pages.registers.blocks[0].base = device;
            REQUIRE(pages.pages.add_zone({device, 1, 0}) == 0);
        });
    }
    template <typename Action>
    void both(Action&& action) {
        action(interpreted);
        action(native);
    }
    void restart(std::uint32_t base, std::uint32_t count = 1) {
        guest.both([&](Machine& machine) {
            isa::CpuState& state = machine.state();
            machine.vcpu().abandon_instruction();
            state.pc = origin;
            state.page.msr = isa::msr::me;
            state.ctr = count;
            state.gpr[4] = base + offset;
            state.gpr[5] = 5;
            state.gpr[6] = 0;
            state.gpr[7] = 'a';
        });
    }
    void put(std::uint32_t at, Word word) {
        guest.both([&](Machine& machine) {
            machine.put(at, word);
            machine.engine().memory_written(at, 4);
        });
    }
    // Both rings, which are empty then.
    void compare_rings() {
        CHECK(interpreted.ring->last == native.ring->last);
        CHECK(std::memcmp(interpreted.ring->coalesced_mmio, native.ring->coalesced_mmio,
                          sizeof native.ring->coalesced_mmio) == 0);
        both([](Pages& pages) { pages.ring->first = pages.ring->last; });
    }
    std::uint64_t answer(std::uint32_t value) {
        guest.both([&](Machine& machine) { machine.vcpu().complete_mmio(value); });
        return value;
    }

    Random random;
    Comparison guest;
    Pages interpreted, native;
};

} // namespace

TEST_CASE("a guest that prints asks for nothing but the end of the line", "[device]") {
    Board board;
    board.both([](Pages& pages) {
        pages.registers.blocks[0].values[5] = 0x60;
        pages.registers.blocks[0].loads = 1 << 5;
    });
    for (const std::uint32_t base : {uncached, cached}) {
        std::uint32_t at = origin;
        for (const Word word :
             {code::lbz(8, 4, 5), lbzx(9, 4, 5), code::stb(7, 4, 0), stbx(8, 4, 6), code::bdnz(-16), done}) {
            board.put(at, word);
            at += 4;
        }
        board.restart(base, 20);
        const std::uint64_t before = board.guest.native->exits(ExitReason::mmio);
        REQUIRE(board.guest.run("printing") == RunExit::dcr);
        CHECK(board.guest.native->exits(ExitReason::mmio) - before == 80);
        // All but the first store did not even reach the run loop.
        CHECK(board.guest.native->native().uncounted(static_cast<unsigned>(ExitReason::mmio)) >= 79);
        CHECK(board.native.ring->last - board.native.ring->first == 40);
        CHECK_FALSE(board.native.pages.holds());
        board.compare_rings();
        board.guest.both([](Machine& machine) { machine.vcpu().complete_dcr(0); });
    }
}

TEST_CASE("the same access by other code, elsewhere, or of another register", "[device]") {
    Board board;
    board.both([](Pages& pages) {
        auto& block = pages.registers.blocks[0];
        for (unsigned i = 0; i < 8; ++i) block.values[i] = static_cast<std::uint8_t>(0x10 + i);
        block.loads = 0xFE;
    });
    board.put(origin + 4, done);
    const auto runs = [&](Word word, std::uint32_t base) {
        board.put(origin, word);
        board.restart(base);
        const RunExit exit = board.guest.run("one access");
        board.guest.both([](Machine& machine) { machine.vcpu().complete_dcr(0); });
        board.compare_rings();
        return exit;
    };
    CHECK(runs(code::lbz(8, 4, 5), uncached) == RunExit::dcr);
    CHECK(board.guest.native->state().gpr[8] == 0x15);
    CHECK(runs(code::lbz(9, 4, 5), uncached) == RunExit::dcr); // another word at the same place
    CHECK(board.guest.native->state().gpr[9] == 0x15);
    CHECK(runs(code::lbz(9, 4, 6), uncached) == RunExit::dcr);
    CHECK(runs(lbzu(9, 4, 6), uncached) == RunExit::dcr);
    CHECK(runs(code::lbz(9, 4, 0), uncached) == RunExit::mmio);
    CHECK(runs(code::lbz(8, 4, 5), uncached) == RunExit::dcr);
    board.both([](Pages& pages) { pages.registers.blocks[0].values[5] = 0x77; });
    CHECK(runs(code::lbz(8, 4, 5), uncached) == RunExit::dcr);
    CHECK(board.guest.native->state().gpr[8] == 0x77);
    board.both([](Pages& pages) { pages.registers.blocks[0].loads = 0; });
    CHECK(runs(code::lbz(8, 4, 5), uncached) == RunExit::mmio);
    board.both([](Pages& pages) { pages.registers.blocks[0].loads = 0xFF; });
    CHECK(runs(code::lbz(8, 4, 5), uncached) == RunExit::dcr);
    // Another device, and memory, at the address.
    board.guest.both([](Machine& machine) {
        machine.vcpu().set_tlb_entry(
            5, {uncached | 0x210, (other_device & 0xFFFFF000) | 1, TlbEntry::sr | TlbEntry::sw, 0});
    });
    CHECK(runs(code::lbz(8, 4, 5), uncached) == RunExit::mmio);
    board.guest.both([](Machine& machine) {
        machine.vcpu().set_tlb_entry(5, {uncached | 0x210, 0x40000, TlbEntry::sr | TlbEntry::sw, 0});
        machine.put(0x40304, 0x00310000);
    });
    CHECK(runs(code::lbz(8, 4, 5), uncached) == RunExit::dcr);
    CHECK(board.guest.native->state().gpr[8] == 0x31);
    // The block is moved, or gone.
    CHECK(runs(code::lbz(8, 4, 5), cached) == RunExit::dcr);
    board.both([](Pages& pages) { pages.registers.blocks[0].base = other_device; });
    CHECK(runs(code::lbz(8, 4, 5), cached) == RunExit::mmio);
    board.both([](Pages& pages) { pages.registers.blocks[0].base = device; });
    CHECK(runs(code::lbz(8, 4, 5), cached) == RunExit::dcr);
    board.both([](Pages& pages) { pages.registers.count = 0; });
    CHECK(runs(code::lbz(8, 4, 5), cached) == RunExit::mmio);
}

TEST_CASE("random accesses to a device whose pages change at random", "[device]") {
    Board board;
    Random& random = board.random;
    for (unsigned round = 0; round < 300; ++round) {
        const std::uint8_t loads = static_cast<std::uint8_t>(random.word()), exits = random.chance(30) ? 1 : 0;
        const std::uint8_t keeps = static_cast<std::uint8_t>(random.word());
        const std::uint8_t value = static_cast<std::uint8_t>(random.word());
        board.both([&](Pages& pages) {
            auto& block = pages.registers.blocks[0];
            block.loads = loads;
            block.exits = exits;
            block.keeps = keeps;
            for (unsigned i = 0; i < 8; ++i) block.values[i] = static_cast<std::uint8_t>(value + i);
            block.end_count = 1;
            block.ends[0] = 'c';
        });
        constexpr unsigned length = 12;
        for (unsigned i = 0; i < length; ++i) {
            const Word reg = random.chance(50) ? 0 : random.below(8), rt = 7 + random.below(3);
            const Word all[] = {code::lbz(rt, 4, reg), lbzx(rt, 4, 5),      code::stb(rt, 4, reg), stbx(rt, 4, 6),
                                code::stb(7, 4, 0),    code::addi(7, 7, 1), code::stw(7, 4, 0),    code::lwz(rt, 4, 4)};
            board.put(origin + 4 * i, all[random.below(8)]);
        }
        board.put(origin + 4 * length, code::bdnz(-4 * static_cast<std::int32_t>(length)));
        board.put(origin + 4 * length + 4, done);
        board.restart(random.chance(50) ? uncached : cached, 3);
        for (;;) {
            const RunExit exit = board.guest.run("random accesses");
            board.compare_rings();
            if (exit != RunExit::mmio) break;
            board.answer(random.word());
        }
        board.guest.both([](Machine& machine) { machine.vcpu().complete_dcr(0); });
    }
}
