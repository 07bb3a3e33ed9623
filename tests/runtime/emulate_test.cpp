// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "guest.h"
#include "runtime/emulate.h"
#include "translator/isa/spr.h"

using namespace untrap;
using runtime::Emulator;
using runtime::ExitReason;
using Outcome = Emulator::Outcome;

namespace {

Outcome emulate(Guest& g, std::uint32_t word) { return Emulator(g.vcpu).execute(isa::decode(word)); }

// What reads back after 0xFFFFFFFF was written.
std::uint32_t sticking(Guest& g, unsigned spr) {
    g.vcpu.state.gpr[3] = 0xFFFFFFFF;
    g.vcpu.state.gpr[4] = 0x12345678;
    REQUIRE(emulate(g, code::mtspr(spr, 3)) == Outcome::completed);
    REQUIRE(emulate(g, code::mfspr(4, spr)) == Outcome::completed);
    return g.vcpu.state.gpr[4];
}

} // namespace

TEST_CASE("special registers keep the bits they have") {
    struct Case {
        unsigned first, last;
        std::uint32_t mask;
    };
    const Case cases[] = {
        {26, 26, 0xFFFFFFFC},   {27, 27, 0xFFFFFFFF},   {48, 48, 0xFF},           {58, 58, 0xFFFFFFFC},
        {59, 59, 0xFFFFFFFF},   {61, 62, 0xFFFFFFFF},   {63, 63, 0xFFFF0000},     {272, 279, 0xFFFFFFFF},
        {309, 309, 0xFFFFFFFF}, {312, 315, 0xFFFFFFFC}, {316, 319, 0xFFFFFFFF},   {400, 415, 0x0000FFF0},
        {570, 570, 0xFFFFFFFC}, {571, 571, 0xFFFFFFFF}, {880, 888, 0xFFFFFFFF},   {912, 921, 0xFFFFFFFF},
        {946, 946, 0x01FF00FF}, {947, 947, 0xFFFFFFFF}, {1011, 1011, 0xFFFFFFFF},
    };
    Guest g;
    for (const Case& c : cases) {
        for (unsigned spr = c.first; spr <= c.last; ++spr) {
            INFO("SPR " << spr);
            CHECK(sticking(g, spr) == c.mask);
        }
    }
    CHECK(g.host.warnings.empty());
}

TEST_CASE("registers that can only be read or only be written") {
    Guest g;
    g.vcpu.state.gpr[3] = 0xFFFFFFFF;
    for (const unsigned spr : {287U, 286U, 923U, 924U, 925U, 926U, 927U, 979U}) {
        INFO("SPR " << spr);
        CHECK(emulate(g, code::mfspr(4, spr)) == Outcome::completed);
        CHECK(emulate(g, code::mtspr(spr, 3)) == Outcome::reflected);
    }
    for (const unsigned spr : {54U, 284U, 285U}) {
        INFO("SPR " << spr);
        CHECK(emulate(g, code::mtspr(spr, 3)) == Outcome::completed);
        CHECK(emulate(g, code::mfspr(4, spr)) == Outcome::reflected);
    }
    CHECK(emulate(g, code::mfspr(4, 287)) == Outcome::completed);
    CHECK(g.vcpu.state.gpr[4] == isa::spr::pvr_440ep);
}

TEST_CASE("an unknown register is a program interrupt, and a warning once") {
    Guest g;
    CHECK(emulate(g, code::mfspr(4, 1023)) == Outcome::reflected);
    CHECK(g.vcpu.state.page.esr == isa::esr::pil);
    CHECK(emulate(g, code::mfspr(4, 1023)) == Outcome::reflected);
    CHECK(g.host.warnings.size() == 1);
}

TEST_CASE("Linux takes the PVR for a 440EP with FPU") {
    // Rev. C: mask f0000ff7, value 400008d4.
    CHECK((isa::spr::pvr_440ep & 0xF0000FF7) == 0x400008D4);
}

TEST_CASE("status registers are cleared by writing ones") {
    Guest g;
    g.vcpu.state.dbsr = 0xFF000000;
    g.vcpu.state.tsr = isa::tsr::dis | isa::tsr::fis;
    g.vcpu.state.mcsr = 0xF0;
    g.vcpu.state.gpr[3] = 0x08000000;
    CHECK(emulate(g, code::mtspr(304, 3)) == Outcome::completed);
    CHECK(g.vcpu.state.dbsr == 0xF7000000);
    CHECK(emulate(g, code::mtspr(336, 3)) == Outcome::completed);
    CHECK(g.vcpu.state.tsr == isa::tsr::fis);
    g.vcpu.state.gpr[3] = 0x30;
    CHECK(emulate(g, code::mtspr(572, 3)) == Outcome::completed);
    CHECK(g.vcpu.state.mcsr == 0xC0);
}

TEST_CASE("MSR takes the defined bits; wrtee moves EE alone") {
    Guest g;
    g.vcpu.state.gpr[3] = 0xFFFFFFFF;
    CHECK(emulate(g, code::mtmsr(3)) == Outcome::completed);
    CHECK(g.vcpu.state.page.msr == isa::msr::defined);
    CHECK(emulate(g, code::wrteei(0)) == Outcome::completed);
    CHECK(g.vcpu.state.page.msr == (isa::msr::defined & ~isa::msr::ee));
    g.vcpu.state.gpr[3] = 0;
    CHECK(emulate(g, code::mtmsr(3)) == Outcome::completed);
    CHECK(emulate(g, code::wrteei(1)) == Outcome::completed);
    CHECK(g.vcpu.state.page.msr == isa::msr::ee);
    CHECK(emulate(g, code::mfmsr(7)) == Outcome::completed);
    CHECK(g.vcpu.state.gpr[7] == isa::msr::ee);
    CHECK(g.vcpu.state.retired == 5);
    CHECK(g.vcpu.state.pc == Guest::origin + 20);
}

TEST_CASE("returns from interrupts") {
    Guest g;
    g.vcpu.state.page.srr0 = 0x2003;
    g.vcpu.state.page.srr1 = 0xFFFFFFFF;
    g.vcpu.state.page.csrr0 = 0x3000;
    g.vcpu.state.page.csrr1 = isa::msr::me;
    g.vcpu.state.reserve_valid = 1;
    CHECK(emulate(g, code::rfi) == Outcome::completed);
    CHECK(g.vcpu.state.pc == 0x2000);
    CHECK(g.vcpu.state.page.msr == isa::msr::defined);
    CHECK(g.vcpu.state.reserve_valid == 0);
    CHECK(emulate(g, code::rfci) == Outcome::completed);
    CHECK(g.vcpu.state.pc == 0x3000);
    CHECK(g.vcpu.state.page.msr == isa::msr::me);
}

TEST_CASE("tlbwe, tlbre, tlbsx") {
    Guest g;
    auto& gpr = g.vcpu.state.gpr;
    g.vcpu.state.page.mmucr = 0x00010042; // STS, STID 0x42
    gpr[5] = 7 + 64;                      // indices are six bits
    gpr[3] = 0x80000000 | 0x300 | 0x10 | 0xF;
    CHECK(emulate(g, code::tlbwe(3, 5, 0)) == Outcome::completed);
    gpr[3] = 0x12345FFF;
    CHECK(emulate(g, code::tlbwe(3, 5, 1)) == Outcome::completed);
    gpr[3] = 0xFFFFFFFF;
    CHECK(emulate(g, code::tlbwe(3, 5, 2)) == Outcome::completed);
    const mmu::TlbEntry& entry = g.vcpu.tlb.entry(7);
    CHECK(entry.word0 == 0x80000310);
    CHECK(entry.word1 == 0x12345C0F);
    CHECK(entry.word2 == mmu::TlbEntry::word2_mask);
    CHECK(entry.tid == 0x42);

    g.vcpu.state.page.mmucr = 0x01000001;
    CHECK(emulate(g, code::tlbre(6, 5, 1)) == Outcome::completed);
    CHECK(gpr[6] == 0x12345C0F);
    CHECK(g.vcpu.state.page.mmucr == 0x01000001);
    CHECK(emulate(g, code::tlbre(6, 5, 0)) == Outcome::completed);
    CHECK(gpr[6] == 0x80000310);
    CHECK(g.vcpu.state.page.mmucr == 0x01000042);

    g.vcpu.state.page.mmucr = 0x00010042;
    gpr[8] = 0x80000123;
    g.vcpu.state.xer_so = 1;
    CHECK(emulate(g, code::tlbsx_rc(9, 0, 8)) == Outcome::completed);
    CHECK(gpr[9] == 7);
    CHECK(isa::cr::decode(g.vcpu.state.crf[0]) == (isa::cr::eq | isa::cr::so));
    g.vcpu.state.page.mmucr = 0x00000042; // the other space
    gpr[9] = 99;
    CHECK(emulate(g, code::tlbsx_rc(9, 0, 8)) == Outcome::completed);
    CHECK(gpr[9] == 99);
    CHECK(isa::cr::decode(g.vcpu.state.crf[0]) == isa::cr::so);
}

TEST_CASE("dcbi needs the right to store") {
    Guest g;
    g.map(1, 0x20000000, 0x4000, 1, mmu::TlbEntry::sr);
    g.vcpu.state.gpr[5] = 0x20000040;
    CHECK(emulate(g, code::dcbi(0, 5)) == Outcome::reflected);
    CHECK(g.vcpu.state.page.dear == 0x20000040);
    CHECK(g.vcpu.state.page.esr == isa::esr::st);
    g.map(1, 0x20000000, 0x4000, 1, mmu::TlbEntry::sr | mmu::TlbEntry::sw);
    CHECK(emulate(g, code::dcbi(0, 5)) == Outcome::completed);
}

TEST_CASE("a reset keeps what tells of it") {
    Guest g;
    g.vcpu.state.gpr[3] = 0x20000000;
    CHECK(emulate(g, code::mtspr(308, 3)) == Outcome::reset);
    g.vcpu.reset();
    CHECK(g.vcpu.state.dbsr == 0x20000000);
    CHECK(g.vcpu.state.dbcr0 == 0);
    CHECK(g.vcpu.state.pc == 0xFFFFFFFC);
    CHECK(g.vcpu.tlb.entry(0).page_shift() == 28);
}

TEST_CASE("level 3 does in one exit what takes several, with the same result") {
    const auto run = [](Guest& g, unsigned levels) {
        g.patches->configure(levels, 1);
        g.put(Guest::origin,
              {code::li(3, 0x1234), code::mtspr(275, 3), code::addi(3, 3, 1), code::mtspr(274, 3), code::addi(3, 3, 1),
               code::mtspr(273, 3), code::mfspr(6, 275), code::nop, END_BY_RESET(31)});
        REQUIRE(g.finish());
    };
    Guest trap, sequence;
    run(trap, 0);
    run(sequence, 1 << 3);
    CHECK(trap.vcpu.exits.total == 5);
    CHECK(sequence.vcpu.exits.total < trap.vcpu.exits.total);
    CHECK(trap.vcpu.state.retired == sequence.vcpu.state.retired);
    CHECK(trap.vcpu.state.gpr == sequence.vcpu.state.gpr);
    CHECK(trap.vcpu.state.page.sprg == sequence.vcpu.state.page.sprg);
    CHECK(trap.vcpu.state.pc == sequence.vcpu.state.pc);
}

TEST_CASE("a sequence stops where a timer is due") {
    const auto run = [](Guest& g, unsigned levels) {
        g.patches->configure(levels, 1);
        g.put(Guest::vector(isa::Interrupt::decrementer), {END_BY_RESET(31)});
        g.put(Guest::origin,
              {code::li(3, 6), code::lis(4, 0x400), code::mtspr(340, 4), code::mtspr(22, 3), code::wrteei(1),
               code::mtspr(272, 3), code::mtspr(273, 3), code::mtspr(274, 3), code::mtspr(275, 3), code::mtspr(276, 3),
               code::mtspr(277, 3), code::mtspr(278, 3), code::b(0)});
        REQUIRE(g.finish());
    };
    Guest trap, sequence;
    run(trap, 0);
    run(sequence, 1 << 3);
    CHECK(trap.vcpu.state.page.srr0 == sequence.vcpu.state.page.srr0);
    CHECK(trap.vcpu.state.page.srr0 == Guest::origin + 4 * 9); // DEC is written at time 3
    CHECK(trap.vcpu.state.page.sprg == sequence.vcpu.state.page.sprg);
    CHECK(trap.vcpu.state.retired == sequence.vcpu.state.retired);
}
