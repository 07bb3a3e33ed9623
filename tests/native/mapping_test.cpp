// SPDX-License-Identifier: GPL-2.0-only
// What guest pages become in the hardware: sizes, permissions, slots of every kind, the dirty log.
#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>

#include "comparison.h"
#include "tests/runtime/guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::Interrupt;
using mmu::TlbEntry;
using native::Comparison;
using native::Machine;
using native::SlotOptions;
using runtime::ExitReason;
using runtime::RunExit;
namespace msr = isa::msr;

constexpr std::uint32_t done = code::mtdcr(Comparison::dcr_done, 0);

std::string name(const char* what, std::uint64_t value) {
    char text[96];
    std::snprintf(text, sizeof text, "%s %llx", what, static_cast<unsigned long long>(value));
    return text;
}

// Entries of the guest in the hardware that map this address.
unsigned shift_of(native::ModelCpu& cpu, std::uint32_t ea) {
    for (unsigned index = 0; index < native::ModelCpu::entry_count; ++index) {
        const TlbEntry& entry = cpu.entry(index).words;
        if (entry.valid() && entry.ts() != 0 && entry.matches(ea, 1, entry.tid)) return entry.page_shift();
    }
    return 0;
}

// The guest's program is a word at the origin and an exit; it is run again and again with the TLB left as it is.
class Accesses {
  public:
    explicit Accesses(Comparison& guest) : guest_(guest) {}

    // One access by this instruction with r4 = ea, in the given mode; the exits that devices need included.
    RunExit run(std::uint32_t word, std::uint32_t ea, std::uint32_t mode, unsigned pid, std::uint32_t value) {
        guest_.put(Comparison::origin, {word});
        guest_.both([&](Machine& machine) {
            isa::CpuState& state = machine.state();
            machine.vcpu().abandon_instruction();
            state.pc = Comparison::origin;
            state.page.msr = mode;
            state.page.pid = pid;
            state.gpr[4] = ea;
            state.gpr[3] = value;
            machine.stop_after = machine.progress() + 1000;
        });
        const std::string context = name("word", word) + name(" ea", ea) + name(" msr", mode);
        for (unsigned devices = 0; devices < 64; ++devices) {
            const RunExit exit = guest_.run(context);
            if (exit != RunExit::mmio) return exit;
            ++device_accesses;
            guest_.both([&](Machine& machine) { machine.vcpu().complete_mmio(0x0123456789ABCDEF ^ ea); });
        }
        FAIL("an instruction makes more device accesses than it has bytes");
        return RunExit::dead;
    }

    std::uint64_t device_accesses = 0;

  private:
    Comparison& guest_;
};

} // namespace

TEST_CASE("a guest page is mapped in the largest piece that host memory allows", "[mapping]") {
    Random random = seeded_random(21);
    for (const unsigned block : {12U, 14U, 16U, 18U, 20U, 24U, 28U}) {
        Comparison guest(random);
        guest.both([&](Machine& machine) { machine.set_slot(1, 0x10000000, 0x10000000, {.largest_block = block}); });
        Accesses accesses(guest);
        for (const unsigned size_code : {0U, 1U, 2U, 3U, 4U, 5U, 7U, 9U}) {
            const unsigned page_shift = 10 + 2 * size_code;
            const std::uint32_t page = 0x80000000 + size_code * 0x10000000;
            guest.start(Comparison::first_state());
            guest.put(Comparison::origin + 4, {done});
            const std::uint64_t real =
                0x10000000 + (random.word() & 0x0FFFFC00 & ~((std::uint64_t{1} << page_shift) - 1));
            guest.both([&](Machine& machine) { machine.map(5, page, real, size_code, 0x3F); });
            const std::uint32_t offset = random.word() & ((1U << page_shift) - 1) & ~3U;
            REQUIRE(accesses.run(code::stw(3, 4, 0), page + offset, msr::me, 0, 0x12345678) == RunExit::dcr);
            CHECK(guest.handler() == -1);
            CHECK(guest.native->word(real + offset) == 0x12345678);
            const unsigned expected = std::min(page_shift, block);
            CHECK(shift_of(guest.cpu, page + offset) == expected);
            // Elsewhere in the same piece: no other entry.
            const std::uint64_t writes = guest.cpu.writes;
            const std::uint32_t near =
                (offset & ~((1U << expected) - 1)) + (random.word() & ((1U << expected) - 1) & ~3U);
            REQUIRE(accesses.run(code::lwz(3, 4, 0), page + near, msr::me, 0, 0) == RunExit::dcr);
            CHECK(guest.cpu.writes == writes);
        }
    }
}

TEST_CASE("random accesses through random guest TLBs to random slots", "[mapping]") {
    Random random = seeded_random(22);
    constexpr unsigned size_codes[] = {0, 1, 2, 3, 4, 5, 7, 9};
    // Of slots: RAM, ROM, logged RAM, small ones; and there are holes.
    struct Region {
        std::uint64_t base, bytes;
    };
    constexpr Region regions[] = {{0x00200000, 0x100000},
                                  {0x00400000, 0x40000},
                                  {0x01000000, 0x1000000},
                                  {0x20000000, 0x3000},
                                  {0x1'00000000, 0x80000}};
    const std::uint32_t words[] = {code::lwz(3, 4, 0),         code::stw(3, 4, 0),
                                   code::stb(3, 4, 0),         code::d_form(44, 3, 4, 0),
                                   code::lmw(28, 4, 0),        code::stmw(28, 4, 0), // sth
                                   code::lwbrx(3, 0, 4),       code::x_form(0, 0, 4, 1014),
                                   code::x_form(0, 0, 4, 86),                                  // dcbz, dcbf
                                   code::x_form(3, 0, 4, 20),  code::x_form(3, 0, 4, 150) | 1, // lwarx, stwcx.
                                   code::stfd(1, 4, 0),        code::d_form(50, 2, 4, 0),
                                   code::dcbi(0, 4),                                       // lfd
                                   code::x_form(5, 4, 7, 597), code::x_form(5, 4, 9, 725), // lswi, stswi
                                   code::x_form(0, 0, 4, 982)};                            // icbi
    const std::uint64_t goal = instruction_goal(20'000);
    std::uint64_t cases = 0, device_accesses = 0, large = 0;
    while (cases < goal) {
        Comparison guest(random, random.pick({16U, 30U, 62U}));
        isa::CpuState state = Comparison::first_state();
        for (auto& gpr : state.gpr) gpr = random.word();
        for (auto& fpr : state.fpr) fpr = random.next();
        guest.start(state);
        guest.put(Comparison::origin + 4, {done});
        // The program in every context that comes up.
        guest.both([](Machine& machine) { machine.map(62, 0, 0, 5, 0x3F, 0, 1); });
        guest.both([](Machine& machine) { machine.map(Comparison::boot_entry, 0, 0, 5, 0x3F); });
        const auto give_slot = [&](unsigned region) {
            SlotOptions options{.read_only = random.chance(20),
                                .logged = random.chance(30),
                                .largest_block = random.pick({12U, 16U, 28U}),
                                .mixed = random.chance(50)};
            const bool gone = random.chance(10);
            guest.both([&](Machine& machine) {
                machine.set_slot(region + 1, regions[region].base, gone ? 0 : regions[region].bytes, options);
            });
            if (gone) return;
            std::vector<std::uint8_t> bytes(regions[region].bytes);
            for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.word());
            guest.both([&](Machine& machine) { machine.fill(region + 1, bytes); });
        };
        for (unsigned region = 0; region < std::size(regions); ++region) give_slot(region);
        Accesses accesses(guest);
        // Entry n is the only one in its 256 MB, of each space and process; addresses are those.
        const auto page_base = [](unsigned index) { return 0x10000000U + (index % 14) * 0x10000000U; };
        const auto give_entry = [&](unsigned index) {
            const unsigned size_code = random.any(size_codes);
            const std::uint32_t mask = ~((1U << (10 + 2 * size_code)) - 1);
            const Region& region = regions[random.below(std::size(regions))];
            const std::uint64_t real =
                (region.base + (random.word() & (region.bytes - 1) & ~0x3FFULL)) & (0xF'00000000 | std::uint64_t{mask});
            const std::uint32_t attributes = (random.chance(60) ? 0x3FU : random.word() & 0x3F) |
                                             (random.chance(15) ? TlbEntry::attr_e : 0) |
                                             (random.chance(15) ? random.word() & 0xF00 : 0);
            const std::uint32_t ea = page_base(index) + (random.word() & 0x0FFFFC00 & mask);
            guest.both([&](Machine& machine) {
                machine.map(index, ea, real, size_code, attributes, index / 28 % 2 == 0 ? 0 : 1 + index % 3,
                            index / 14 % 2);
            });
        };
        for (unsigned index = 0; index < 28; ++index) give_entry(index);
        for (unsigned step = 0; step < 3000 && cases < goal; ++step, ++cases) {
            guest.cpu.interrupt_interval = random.pick({0U, 0U, 4U});
            guest.cpu.host_percent = random.pick({0U, 0U, 30U});
            if (random.chance(5)) give_entry(random.below(28));
            if (random.chance(1)) {
                const unsigned region = random.below(std::size(regions));
                if (random.chance(30)) {
                    give_slot(region);
                } else if (guest.native->vcpu().memory.slot(region + 1).size != 0) {
                    const bool on = random.chance(70);
                    guest.both([&](Machine& machine) { machine.log_slot(region + 1, on); });
                }
            }
            if (random.chance(3)) {
                for (unsigned slot = 1; slot <= std::size(regions); ++slot) {
                    if (guest.native->vcpu().memory.slot(slot).dirty == nullptr) continue;
                    const auto wanted = guest.interpreted->take_log(slot);
                    const auto got = guest.native->take_log(slot);
                    for (std::size_t word = 0; word < wanted.size(); ++word) {
                        // Nothing is forgotten. More may be logged: stores that failed on their second page.
                        INFO("slot " << slot << " word " << word);
                        REQUIRE((wanted[word] & ~got[word]) == 0);
                    }
                }
            }
            const unsigned index = random.below(28);
            const TlbEntry& entry = guest.native->vcpu().tlb.entry(index);
            const std::uint32_t inside = ~entry.page_mask();
            std::uint32_t ea = entry.epn() + (random.word() & inside);
            if (random.chance(25)) ea = entry.epn() + (random.word() & inside & ~0x3FFU) + 0x3F0 + random.below(32);
            if (random.chance(5)) ea = entry.epn() + inside - random.below(8);
            if (random.chance(3)) ea = random.word();
            if (random.chance(60)) ea &= ~3U;
            std::uint32_t mode = msr::me | (random.chance(90) ? msr::fp : 0);
            if (random.chance(40)) mode |= msr::pr;
            if (entry.ts() != 0) mode |= msr::ds;
            if (random.chance(97) == ((mode & msr::ds) != 0)) mode |= msr::is;
            accesses.run(words[random.below(std::size(words))], ea, mode, random.below(4), random.word());
        }
        device_accesses += accesses.device_accesses;
        large += guest.tlb.large;
    }
    CHECK(device_accesses > 100);
    CHECK(large > 100);
}

TEST_CASE("code is fetched from pages of every size, byte order and slot", "[mapping]") {
    Random random = seeded_random(23);
    for (unsigned repeat = 0; repeat < 300; ++repeat) {
        Comparison guest(random, 30);
        guest.cpu.interrupt_interval = random.pick({0U, 3U});
        guest.cpu.host_percent = 50;
        const bool read_only = random.chance(40), little_endian = random.chance(40), user = random.chance(50);
        guest.both([&](Machine& machine) {
            machine.set_slot(1, 0x00200000, 0x100000, {.read_only = read_only, .largest_block = 16, .mixed = true});
        });
        isa::CpuState state = Comparison::first_state();
        const unsigned size_code = random.pick({0U, 1U, 2U, 3U, 4U, 5U});
        const std::uint32_t inside = (1U << (10 + 2 * size_code)) - 1;
        const std::uint64_t real = 0x00200000 + (random.word() & 0xFFC00 & ~std::uint64_t{inside});
        const std::uint32_t start = random.word() & inside & ~0x1FU;
        state.page.srr0 = 0x40000000 + start;
        state.page.srr1 = msr::me | (user ? msr::pr : 0);
        state.gpr[4] = 0x40000000 + start;
        guest.start(state);
        guest.both([&](Machine& machine) {
            machine.map(5, 0x40000000, real, size_code, 0x3F | (little_endian ? TlbEntry::attr_e : 0));
            std::uint64_t at = real + start;
            for (const std::uint32_t word :
                 {code::lwz(5, 4, 0), code::addi(6, 5, 1), code::mfspr(7, isa::spr::sprg0), code::sc, done}) {
                machine.put(at, word, little_endian);
                at += 4;
            }
        });
        guest.put(Comparison::origin, {code::rfi});
        REQUIRE(guest.run("fetch") == RunExit::dcr);
        CHECK(guest.handler() ==
              static_cast<int>(user ? Interrupt::program : Interrupt::system_call)); // mfsprg is privileged
        CHECK(guest.native->state().gpr[5] == code::lwz(5, 4, 0));
    }
    // From nowhere.
    Comparison guest(random);
    isa::CpuState state = Comparison::first_state();
    state.page.srr0 = 0x08000000;
    state.page.srr1 = msr::me;
    guest.start(state);
    guest.put(Comparison::origin, {code::rfi});
    REQUIRE(guest.run("no memory") == RunExit::dcr);
    CHECK(guest.handler() == static_cast<int>(Interrupt::machine_check));
}

TEST_CASE("the first store to each page of a logged slot is noted", "[mapping]") {
    Random random = seeded_random(24);
    Comparison guest(random);
    guest.both([](Machine& machine) { machine.set_slot(1, 0x00200000, 0x10000, {.logged = true}); });
    guest.start(Comparison::first_state());
    guest.put(Comparison::origin + 4, {done});
    guest.both([](Machine& machine) { machine.map(5, 0x40000000, 0x00200000, 3, 0x3F); });
    Accesses accesses(guest);
    for (unsigned round = 0; round < 3; ++round) {
        for (const unsigned page : {2U, 9U, 15U}) {
            const std::uint32_t ea = 0x40000000 + page * 0x1000;
            accesses.run(code::lwz(3, 4, 0), ea, msr::me, 0, 0);
            CHECK(shift_of(guest.cpu, ea) == 12);
            accesses.run(code::stw(3, 4, 0), ea, msr::me, 0, round + 1);
            const std::uint64_t writes = guest.cpu.writes;
            accesses.run(code::stw(3, 4, 8), ea, msr::me, 0, round + 1); // by now it is free
            CHECK(guest.cpu.writes == writes);
        }
        accesses.run(code::lwz(3, 4, 0), 0x40003000, msr::me, 0, 0);
        const auto log = guest.native->take_log(1);
        CHECK(log == std::vector<std::uint32_t>{1U << 2 | 1U << 9 | 1U << 15});
        CHECK(log == guest.interpreted->take_log(1));
    }
    // Without the log, the whole page in one entry.
    guest.both([](Machine& machine) { machine.log_slot(1, false); });
    accesses.run(code::stw(3, 4, 0), 0x40000000, msr::me, 0, 7);
    CHECK(shift_of(guest.cpu, 0x40000000) == 16);
}

TEST_CASE("the page being executed keeps its entry", "[mapping]") {
    Random random = seeded_random(26);
    Comparison guest(random, 16);
    isa::CpuState state = Comparison::first_state();
    state.gpr[4] = 0x40000000;
    state.ctr = 200;
    guest.start(state);
    // Pages one after another: far more than there are entries.
    guest.put(Comparison::origin,
              {code::lwz(3, 4, 0), code::addi(4, 4, 0x1000), 16U << 26 | 16U << 21 | (-8 & 0xFFFC), done});
    guest.both([](Machine& machine) {
        machine.set_slot(1, 0x00200000, 0x100000, {.largest_block = 12});
        machine.map(5, 0x40000000, 0x00200000, 5, 0x3F);
    });
    REQUIRE(guest.run("a walk") == RunExit::dcr);
    CHECK(guest.handler() == -1);
    CHECK(guest.native->exits(ExitReason::dtlb_virt) == 200);
    CHECK(guest.native->exits(ExitReason::itlb_virt) == 1);
}

TEST_CASE("instructions and data in different address spaces", "[mapping]") {
    Random random = seeded_random(25);
    Comparison guest(random);
    guest.start(Comparison::first_state());
    guest.put(Comparison::origin + 4, {done});
    guest.both([](Machine& machine) {
        machine.put(0x20000, 1);
        machine.put(0x21000, 2);
        machine.map(5, 0x40000000, 0x20000, 1, 0x3F, 0, 1);
        machine.map(6, 0x40000000, 0x21000, 1, 0x3F, 0, 0);
    });
    Accesses accesses(guest);
    for (unsigned round = 0; round < 3; ++round) {
        accesses.run(code::lwz(3, 4, 0), 0x40000000, msr::me | msr::ds, 0, 0);
        CHECK(guest.native->state().gpr[3] == 1);
        accesses.run(code::lwz(3, 4, 0), 0x40000000, msr::me, 0, 0);
        CHECK(guest.native->state().gpr[3] == 2);
        // The mapping changes under the interpreter's feet.
        guest.both([&](Machine& machine) { machine.put(0x22000 + round * 0x1000, 1); });
        guest.both([&](Machine& machine) { machine.map(5, 0x40000000, 0x22000 + round * 0x1000, 1, 0x3F, 0, 1); });
    }
}
