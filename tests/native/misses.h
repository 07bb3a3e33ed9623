// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <span>
#include <vector>

#include "comparison.h"
#include "runtime/native/retained_mappings.h"
#include "tests/jit/machine.h"
#include "tests/runtime/guest.h"

namespace untrap::tests::native {

// A guest whose kernel has a data TLB miss handler, on the interpreter and on the engine at level 4: 64 pages at
// `touched` are found by a table, and go to entries 0 to 15 in turn. The kernel itself is what boot_entry maps, in
// memory of pieces of 1 MB: the first one has code and tables, and the others what a test likes.
class Misses {
  public:
    using Word = code::Word;
    static constexpr std::uint32_t origin = Comparison::origin, table = 0x4000, counter = 0x3F00, touched = 0x40000000,
                                   data_real = 0x100000, memory_bytes = 0x400000, program = 0x20000;
    static constexpr unsigned pages = 64, data_miss = static_cast<unsigned>(isa::Interrupt::data_tlb_error);
    static constexpr std::uint32_t handler = Comparison::handlers + data_miss * 0x100;
    static constexpr Word done = code::mtdcr(Comparison::dcr_done, 0);

    static constexpr Word rlwinm(Word ra, Word rs, Word sh, Word mb, Word me) {
        return 21U << 26 | rs << 21 | ra << 16 | sh << 11 | mb << 6 | me << 1;
    }
    static constexpr Word mfcr(Word rt) { return code::x_form(rt, 0, 0, 19); }
    static constexpr Word mtcr(Word rs) { return 31U << 26 | rs << 21 | 0xFFU << 12 | 144U << 1; }
    static constexpr Word cmpwi(Word ra, Word value) { return code::d_form(11, 0, ra, value); }

    // Entries 0 to 15 in turn, from the table. Registers are saved and put back as Linux does.
    static std::vector<Word> refill() {
        using namespace code;
        return {
            mtspr(272, 10),
            mtspr(276, 11),
            mtspr(277, 12),
            mfcr(11),
            mtspr(279, 11),
            mfspr(10, 61),
            rlwinm(11, 10, 22, 22, 29),
            lwz(11, 11, table),
            cmpwi(11, 0),
            beq(4 * 17), // no such page
            lwz(12, 0, counter),
            addi(12, 12, 1),
            rlwinm(12, 12, 0, 28, 31),
            stw(12, 0, counter),
            tlbwe(11, 12, 1),
            rlwinm(10, 10, 0, 0, 19),
            ori(10, 10, 0x210),
            tlbwe(10, 12, 0),
            li(11, 0x3F),
            tlbwe(11, 12, 2),
            mfspr(11, 263),
            mtcr(11),
            mfspr(12, 261),
            mfspr(11, 260),
            mfspr(10, 272),
            rfi,
            mtdcr(Comparison::dcr_handler + data_miss, 0),
        };
    }
    static constexpr unsigned li_place = 18; // of the permissions
    // The same with addresses that are constants in it: of the counter, and of a word that the page number is changed
    // by, once (`beside`).
    static std::vector<Word> refill(std::uint32_t counter_ea) {
        using namespace code;
        const Word high = (counter_ea + 0x8000) >> 16, low = counter_ea & 0xFFFF;
        return {
            mtspr(272, 10),
            mtspr(276, 11),
            mtspr(277, 12),
            mfcr(11),
            mtspr(279, 11),
            mfspr(10, 61),
            lis(11, high),
            lwz(12, 11, low),
            addi(12, 12, 1),
            rlwinm(12, 12, 0, 28, 31),
            stw(12, 11, low),
            rlwinm(11, 10, 22, 22, 29),
            lwz(11, 11, table),
            cmpwi(11, 0),
            beq(4 * 20), // no such page
            tlbwe(11, 12, 1),
            rlwinm(10, 10, 0, 0, 19),
            ori(10, 10, 0x210),
            lis(11, high),
            lwz(11, 11, low + beside),
            x_form(10, 10, 11, 316), // xor r10,r10,r11
            tlbwe(10, 12, 0),
            lis(11, high),
            li(10, 0),
            stw(10, 11, low + beside),
            li(11, 0x3F),
            tlbwe(11, 12, 2),
            mfspr(11, 263),
            mtcr(11),
            mfspr(12, 261),
            mfspr(11, 260),
            mfspr(10, 272),
            rfi,
            nop,
            mtdcr(Comparison::dcr_handler + data_miss, 0),
        };
    }
    static constexpr std::uint32_t beside = 0x20;

    explicit Misses(const std::vector<Word>& words = refill()) : random_(seeded_random(41)), guest_(random_) {
        guest_.cpu.interrupt_interval = 0;
        guest_.both([](Machine& machine) {
            machine.remove_slot(Comparison::slot);
            machine.set_slot(Comparison::slot, 0, memory_bytes, {.largest_block = 20, .bank = 0});
        });
        guest_.native->set_levels(1U << 4, 1);
        guest_.start(Comparison::first_state());
        put(origin, {{code::lwz(4, 21, 0), code::addi(5, 5, 1), code::addi(21, 21, 0x1000), 0x4200FFF4, done}});
        put(handler, words);
        for (unsigned page = 0; page < pages; ++page) put(table + 4 * page, {{data_real + 0x1000 * page}});
    }

    void put(std::uint32_t address, std::span<const Word> words) { guest_.put_code(address, words); }
    // The guest runs from `at` to its next exit with CTR = count, r4 = operand; both guests are the same then.
    struct From {
        std::uint32_t operand = 0, pid = 0, msr = isa::msr::me;
        runtime::RunExit exit = runtime::RunExit::dcr;
    };
    void run(std::uint32_t at, unsigned count, unsigned expected_dcr, const From& from) {
        guest_.both([&](Machine& machine) {
            machine.vcpu().abandon_instruction();
            machine.state().pc = at;
            machine.state().page.msr = from.msr;
            machine.state().page.pid = from.pid;
            machine.state().ctr = count;
            machine.state().gpr[4] = from.operand;
            machine.state().gpr[21] = touched;
        });
        REQUIRE(guest_.interpreted->vcpu().run() == from.exit);
        REQUIRE(guest_.native->vcpu().run() == from.exit);
        if (from.exit == runtime::RunExit::dcr) CHECK(guest_.native->vcpu().dcr().number == expected_dcr);
        REQUIRE(difference(*guest_.interpreted, *guest_.native) == "");
        if (from.exit == runtime::RunExit::dcr) guest_.both([](Machine& machine) { machine.vcpu().complete_dcr(0); });
    }
    void run(std::uint32_t at = origin, unsigned count = pages, unsigned expected_dcr = Comparison::dcr_done) {
        run(at, count, expected_dcr, {});
    }
    void warm_up() {
        for (unsigned round = 0; round < 4; ++round) run();
        REQUIRE(engine().handlers().compiled > 0);
    }
    // One run with nothing but one exit for each page, and its end.
    void expect_one_exit_a_miss() {
        const std::uint64_t total = native().exits(), misses = native().exits(runtime::ExitReason::dtlb_real);
        const std::uint64_t finished = guest_.cpu.handlers_finished;
        run();
        CHECK(native().exits(runtime::ExitReason::dtlb_real) == misses + pages);
        CHECK(native().exits() == total + pages + 1);
        CHECK(guest_.cpu.handlers_finished == finished + pages);
    }

    // The mapping of ea that is kept for the kernel, nullptr if none is.
    using Retained = runtime::native::RetainedMappings;
    Retained::Entry* kept(std::uint32_t ea, bool fetch = false) {
        auto* const entries = reinterpret_cast<Retained::Entry*>(std::uintptr_t{native().world().retained});
        for (const Retained::Level& level : Retained::levels) {
            Retained::Entry& entry = entries[Retained::number_of(level, ea)];
            if (entry.tag == Retained::tag_of(level, ea, fetch)) return &entry;
        }
        return nullptr;
    }
    // Entries of the hardware that map ea for the guest: their number; the last one.
    unsigned find(std::uint32_t ea, unsigned& found) const {
        unsigned count = 0;
        for (unsigned index = 0; index < ModelCpu::entry_count; ++index) {
            const mmu::TlbEntry& entry = guest_.cpu.entry(index).words;
            if (!entry.valid() || entry.ts() == 0 || !entry.matches(ea, 1, entry.tid)) continue;
            found = index;
            ++count;
        }
        return count;
    }
    // The entry of the hardware for ea; there must be one.
    const mmu::TlbEntry& mapping(std::uint32_t ea) const {
        unsigned found = 0;
        REQUIRE(find(ea, found) == 1);
        return guest_.cpu.entry(found).words;
    }
    bool is_mapped(std::uint32_t ea) const {
        unsigned found = 0;
        return find(ea, found) != 0;
    }
    // The host takes the place of what maps ea.
    void push_out(std::uint32_t ea) {
        unsigned found = 0;
        while (find(ea, found) != 0) guest_.cpu.host_takes(found);
    }

    Machine& native() { return *guest_.native; }
    runtime::native::NativeEngine& engine() { return guest_.native->native(); }
    Comparison& guest() { return guest_; }

  private:
    Random random_;
    Comparison guest_;
};

} // namespace untrap::tests::native
