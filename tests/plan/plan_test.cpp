// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include <cstddef>
#include <memory>
#include <vector>

#include "runtime/patch_registry.h"
#include "translator/isa/state.h"
#include "translator/plan/plan.h"
#include "translator/scan/scan.h"

using namespace untrap;
using isa::StatePage;
using plan::Patch;
using plan::StepKind;

namespace {

constexpr std::uint32_t spr_word(std::uint32_t xo, unsigned rt, unsigned number) {
    return 31U << 26 | rt << 21 | (number & 31) << 16 | (number >> 5) << 11 | xo << 1;
}
constexpr std::uint32_t mfspr(unsigned rt, unsigned number) { return spr_word(339, rt, number); }
constexpr std::uint32_t mtspr(unsigned number, unsigned rs) { return spr_word(467, rs, number); }
constexpr std::uint32_t mfmsr(unsigned rt) { return 0x7C0000A6 | rt << 21; }
constexpr std::uint32_t mtmsr(unsigned rs) { return 0x7C000124 | rs << 21; }
constexpr std::uint32_t wrteei(bool enable) { return 0x7C000146 | (enable ? 0x8000U : 0); }
constexpr std::uint32_t tlbwe(unsigned rs, unsigned ra, unsigned ws) {
    return 0x7C0007A4 | rs << 21 | ra << 16 | ws << 11;
}
constexpr std::uint32_t rfi = 0x4C000064, nop = 0x60000000, blr = 0x4E800020, sc = 0x44000002;

constexpr unsigned level1 = 1U << 1, level2 = 1U << 2, level3 = 1U << 3;
constexpr unsigned all = level1 | level2 | level3;

Patch make(std::vector<std::uint32_t> window, unsigned levels) {
    return plan::make_patch(window.data(), static_cast<unsigned>(window.size()), levels);
}

} // namespace

TEST_CASE("level 1 turns plain register moves into one state-page access") {
    const Patch read = make({mfspr(5, isa::spr::sprg3)}, level1);
    CHECK(read.level == 1);
    CHECK(read.steps[0].kind == StepKind::load_field);
    CHECK(read.steps[0].gpr == 5);
    CHECK(read.steps[0].field == offsetof(StatePage, sprg) + 12);
    CHECK(read.steps[1].kind == StepKind::end);
    const Patch write = make({mtspr(isa::spr::srr1, 9)}, level1);
    CHECK(write.level == 1);
    CHECK(write.steps[0].field == offsetof(StatePage, srr1));
    CHECK(make({mfmsr(3)}, level1).level == 1);
    CHECK(make({mfspr(3, isa::spr::pid)}, level1).level == 1);
    // Writing these has effects a store cannot have.
    CHECK(make({mtspr(isa::spr::pid, 3)}, level1).level == 0);
    CHECK(make({mtspr(isa::spr::mmucr, 3)}, level1).level == 0);
    CHECK(make({mtspr(isa::spr::dec, 3)}, all).level == 0);
}

TEST_CASE("SRR0 and CSRR0 hold word addresses, whoever writes them") {
    for (unsigned number : {unsigned{isa::spr::srr0}, unsigned{isa::spr::csrr0}}) {
        const Patch patch = make({mtspr(number, 4)}, level1);
        CHECK(patch.steps[0].kind == StepKind::store_field_masked);
        CHECK(patch.steps[0].value == ~3U);
    }
}

TEST_CASE("stubs that enable interrupts look for a pending one before they commit") {
    const Patch enable = make({wrteei(true)}, level2);
    CHECK(enable.level == 2);
    CHECK(enable.steps[0].kind == StepKind::trap_if_pending);
    CHECK(enable.steps[1].kind == StepKind::set_msr_bits);
    CHECK(enable.steps[1].value == isa::msr::ee);
    const Patch disable = make({wrteei(false)}, level2);
    CHECK(disable.steps[0].kind == StepKind::clear_msr_bits);
    const Patch whole = make({mtmsr(7)}, level2);
    CHECK(whole.steps[0].kind == StepKind::trap_if_msr_changes);
    CHECK(whole.steps[0].value == isa::msr::mode);
    CHECK(whole.steps[1].kind == StepKind::trap_if_pending);
    CHECK(whole.steps[2].kind == StepKind::copy_msr_bits);
}

TEST_CASE("what users read of the CPU itself is written by a trap below level 4") {
    for (unsigned number = isa::spr::sprg4; number <= isa::spr::sprg7; ++number) {
        CHECK(make({mtspr(number, 4)}, level1 | level2 | level3).level == 0);
        CHECK(make({mtspr(number, 4)}, all | 1U << 4).level == 1);
        CHECK(make({mtspr(number, 4), mtspr(number, 5)}, level1 | level3).span == 2);
        CHECK(make({mfspr(4, number)}, level1).level == 1);
    }
    CHECK(make({mtspr(isa::spr::sprg3, 4)}, level1).level == 1);
}

TEST_CASE("each level is a switch of its own") {
    CHECK(make({mfmsr(3)}, level2).level == 0);
    CHECK(make({wrteei(false)}, level1).level == 0);
    CHECK(make({mfmsr(3), wrteei(false)}, level3).level == 3);
    CHECK(make({mfmsr(3)}, 0).level == 0);
}

TEST_CASE("a sequence reaches to the last privileged instruction in straight-line code") {
    CHECK(make({tlbwe(11, 13, 0), nop, tlbwe(12, 13, 1), nop, nop, tlbwe(12, 13, 2), nop}, level3).span == 6);
    CHECK(make({mtspr(isa::spr::srr0, 1), mtspr(isa::spr::srr1, 2), rfi}, level3).span == 3);
    CHECK(make({tlbwe(11, 13, 0), rfi, tlbwe(12, 13, 1)}, level3).span == 2);
    CHECK(make({tlbwe(11, 13, 0), blr, tlbwe(12, 13, 1)}, level3).level == 0);
    CHECK(make({tlbwe(11, 13, 0), sc, tlbwe(12, 13, 1)}, level3).level == 0);
    CHECK(make({rfi, tlbwe(12, 13, 1)}, level3).level == 0);
    // Short forward conditional branches stay inside: Linux has one between the words of a TLB entry.
    constexpr std::uint32_t beq_forward = 0x4182000C, beq_back = 0x4182FFF8, bdnz_call = 0x42000009;
    CHECK(make({tlbwe(11, 13, 0), beq_forward, nop, nop, tlbwe(12, 13, 2), rfi}, level3).span == 6);
    CHECK(make({tlbwe(11, 13, 0), beq_back, tlbwe(12, 13, 2)}, level3).level == 0);
    CHECK(make({tlbwe(11, 13, 0), bdnz_call, tlbwe(12, 13, 2)}, level3).level == 0);
    // What another level takes the trap from is no reason to go on.
    CHECK(make({tlbwe(11, 13, 0), nop, mfmsr(3)}, all).level == 0);
    CHECK(make({tlbwe(11, 13, 0), mfmsr(3), rfi}, all).span == 3);
}

namespace {

constexpr std::uint32_t addi_13 = 0x39AD0001, cmpw_13_15 = 0x7C0D7800;
constexpr std::uint32_t branch(unsigned bo, unsigned bi, std::int32_t words) {
    return 16U << 26 | bo << 21 | bi << 16 | (static_cast<std::uint32_t>(4 * words) & 0xFFFC);
}
constexpr std::uint32_t ble(std::int32_t words) { return branch(4, 1, words); }
constexpr std::uint32_t absolute = 2, linked = 1;

} // namespace

TEST_CASE("a loop around a site is a sequence that goes round") {
    const auto loop = [](std::uint32_t back) {
        return make({tlbwe(11, 13, 0), addi_13, cmpw_13_15, back, nop}, level3);
    };
    // By a condition, by CTR, by both, or always: this is how Linux invalidates its TLB.
    for (const std::uint32_t back : {ble(-3), branch(12, 30, -3), branch(16, 0, -3), branch(18, 0, -3),
                                     branch(0, 5, -3), branch(8, 5, -3), branch(20, 0, -3)}) {
        CAPTURE(back);
        const Patch patch = loop(back);
        CHECK(patch.level == 3);
        CHECK(patch.span == 4);
        CHECK(patch.loops);
        CHECK(plan::closes_loop(isa::decode(back), 3));
        CHECK_FALSE(plan::closes_loop(isa::decode(back), 2));
        CHECK_FALSE(plan::closes_loop(isa::decode(back), 4));
        CHECK_FALSE(plan::continues_sequence(isa::decode(back)));
        CHECK(make({tlbwe(11, 13, 0), addi_13, cmpw_13_15, back, nop}, all).loops);
        CHECK(make({tlbwe(11, 13, 0), addi_13, cmpw_13_15, back}, level3).span == 4);
    }
    // LR would be another, or the target; bclr and bcctr lead anywhere, b is what no such loop ends with.
    for (const std::uint32_t other : {ble(-3) | linked, branch(16, 0, -3) | linked, ble(-3) | absolute,
                                      branch(20, 0, -3) | absolute, 0x4BFFFFF4U, blr, 0x4E800420U, nop, sc, 0U}) {
        CAPTURE(other);
        const Patch patch = loop(other);
        CHECK(patch.level == 0);
        CHECK_FALSE(patch.loops);
        CHECK_FALSE(plan::closes_loop(isa::decode(other), 3));
    }
    // Not to the site: before it, behind it, to itself.
    for (const std::int32_t words : {-5, -4, -2, -1, 0, 3}) {
        CAPTURE(words);
        CHECK(loop(ble(words)).level == 0);
        CHECK_FALSE(loop(ble(words)).loops);
    }
    // The shortest one.
    const Patch shortest = make({tlbwe(11, 13, 0), branch(16, 0, -1), tlbwe(12, 13, 1)}, level3);
    CHECK(shortest.span == 2);
    CHECK(shortest.loops);
}

TEST_CASE("the first branch back to a site is where its loop ends") {
    // A way out before it, or privileged instructions, are part of the loop; what is behind it is not.
    const Patch patch = make(
        {tlbwe(11, 13, 0), addi_13, branch(12, 2, 9), tlbwe(12, 13, 1), ble(-4), tlbwe(12, 13, 2), ble(-6)}, level3);
    CHECK(patch.span == 5);
    CHECK(patch.loops);
    // Around an inner site there is another one, or none.
    CHECK_FALSE(make({tlbwe(12, 13, 1), ble(-4), tlbwe(12, 13, 2)}, level3).loops);
    CHECK(make({tlbwe(12, 13, 1), ble(-4), tlbwe(12, 13, 2)}, level3).level == 0);
    CHECK_FALSE(make({tlbwe(11, 13, 0), nop, tlbwe(12, 13, 1)}, level3).loops);
    // Other sites that stay traps go round too; what other levels take away does not.
    CHECK(make({mtspr(isa::spr::dec, 3), addi_13, ble(-2)}, all).loops);
    CHECK(make({mfspr(3, isa::spr::sprg1), addi_13, ble(-2)}, level3).loops);
    const Patch plain = make({mfspr(3, isa::spr::sprg1), addi_13, ble(-2)}, all);
    CHECK(plain.level == 1);
    CHECK_FALSE(plain.loops);
    CHECK(plain.span == 0);
    CHECK_FALSE(make({tlbwe(11, 13, 0), addi_13, ble(-2)}, level1 | level2).loops);
}

TEST_CASE("nothing that ends a sequence is inside a loop") {
    constexpr std::uint32_t lwarx = 0x7C001828, stwcx = 0x7C00192D, mtdcr = 0x7C6E0386, trap_word = 0x7FE00008,
                            fadd = 0xFC41082A, bl = 0x48000005, illegal = 0;
    for (const std::uint32_t inside : {lwarx, stwcx, mtdcr, trap_word, fadd, bl, illegal, sc, blr, rfi, ble(-2)}) {
        CAPTURE(inside);
        const Patch patch = make({tlbwe(11, 13, 0), inside, cmpw_13_15, ble(-3)}, level3);
        CHECK_FALSE(patch.loops);
        CHECK(patch.span == (inside == rfi ? 2 : 0)); // up to there, if it is privileged
    }
    // rfi leaves, whatever stands behind it.
    CHECK_FALSE(make({rfi, ble(-1)}, level3).loops);
}

TEST_CASE("a loop has to fit into the window") {
    const auto loop = [](unsigned length, unsigned known) {
        std::vector<std::uint32_t> window(length, mfspr(3, isa::spr::sprg1));
        window[0] = tlbwe(11, 13, 0);
        window[length - 1] = ble(1 - static_cast<std::int32_t>(length));
        return plan::make_patch(window.data(), known, level3);
    };
    CHECK(loop(plan::sequence_window, plan::sequence_window).loops);
    CHECK(loop(plan::sequence_window, plan::sequence_window).span == plan::sequence_window);
    CHECK_FALSE(loop(plan::sequence_window + 1, plan::sequence_window + 1).loops);
    // Its end may be in another page.
    CHECK(loop(6, 6).loops);
    CHECK_FALSE(loop(6, 5).loops);
}

TEST_CASE("a sequence reaches over a few instructions, and not over more") {
    const auto with_gap = [](unsigned gap, std::uint32_t last) {
        std::vector<std::uint32_t> window(1, tlbwe(11, 13, 0));
        window.insert(window.end(), gap, nop);
        window.push_back(last);
        window.push_back(nop);
        return plan::make_patch(window.data(), static_cast<unsigned>(window.size()), level3);
    };
    constexpr unsigned most = plan::sequence_gap;
    CHECK(with_gap(most, rfi).span == most + 2);
    CHECK(with_gap(most + 1, rfi).level == 0);
    CHECK(with_gap(most, ble(-1 - static_cast<std::int32_t>(most))).loops);
    CHECK(with_gap(most + 1, ble(-2 - static_cast<std::int32_t>(most))).level == 0);
    // It counts from the last privileged one.
    std::vector<std::uint32_t> window(1, tlbwe(11, 13, 0));
    for (unsigned part = 0; part < 3; ++part) {
        window.insert(window.end(), most, nop);
        window.push_back(tlbwe(11, 13, 1));
    }
    CHECK(plan::make_patch(window.data(), static_cast<unsigned>(window.size()), level3).span == 3 * (most + 1) + 1);
}

TEST_CASE("no sequence holds a reservation or a device access") {
    constexpr std::uint32_t lwarx = 0x7C001828, mfdcr = 0x7C6E0286;
    CHECK(make({tlbwe(11, 13, 0), lwarx, tlbwe(12, 13, 1)}, level3).level == 0);
    CHECK(make({tlbwe(11, 13, 0), mfdcr, tlbwe(12, 13, 1)}, level3).level == 0);
}

TEST_CASE("what the CPU has to do with its caches is no part of a sequence") {
    constexpr std::uint32_t dcbf = 0x7C0018AC, dcbst = 0x7C00186C, icbi = 0x7C001FAC, iccci = 0x7C00078C;
    for (const std::uint32_t word : {dcbf, dcbst, icbi, iccci}) {
        CAPTURE(word);
        CHECK(make({tlbwe(11, 13, 0), word, tlbwe(12, 13, 1)}, level3).level == 0);
        CHECK(make({tlbwe(11, 13, 0), tlbwe(12, 13, 1), word, ble(-3)}, level3).span == 2);
        CHECK_FALSE(make({tlbwe(11, 13, 0), tlbwe(12, 13, 1), word, ble(-3)}, level3).loops);
    }
    // Hints are nothing that has to be done.
    constexpr std::uint32_t dcbt = 0x7C001A2C;
    CHECK(make({tlbwe(11, 13, 0), dcbt, tlbwe(12, 13, 1)}, level3).span == 3);
}

TEST_CASE("unprivileged words are never patched") {
    for (std::uint32_t word : {nop, blr, sc, 0x7C6802A6U /* mflr r3 */, 0U}) CHECK(make({word, rfi}, all).level == 0);
}

TEST_CASE("a site is patched when it has trapped as often as the threshold says, not before") {
    auto registry = std::make_unique<runtime::PatchRegistry>();
    registry->configure(all, 3);
    const std::uint32_t window[] = {mfmsr(3), nop};
    bool newly = false;
    CHECK(registry->note_trap(0x1000, window, 2, newly) == nullptr);
    CHECK(registry->note_trap(0x1000, window, 2, newly) == nullptr);
    CHECK_FALSE(newly);
    CHECK(registry->find(0x1000, window[0]) == nullptr);
    const Patch* patch = registry->note_trap(0x1000, window, 2, newly);
    REQUIRE(patch != nullptr);
    CHECK(newly);
    CHECK(patch->level == 1);
    CHECK(registry->patched_sites() == 1);
    CHECK(registry->find(0x1000, window[0]) == patch);
    CHECK(registry->find(0x1004, window[0]) == nullptr);
}

TEST_CASE("other code at a patched address is not patched") {
    auto registry = std::make_unique<runtime::PatchRegistry>();
    registry->configure(all, 1);
    const std::uint32_t before[] = {mfmsr(3)}, after[] = {mfmsr(4)};
    bool newly = false;
    REQUIRE(registry->note_trap(0x2000, before, 1, newly) != nullptr);
    CHECK(registry->find(0x2000, after[0]) == nullptr);
    const Patch* patch = registry->note_trap(0x2000, after, 1, newly);
    REQUIRE(patch != nullptr);
    CHECK(patch->steps[0].gpr == 4);
    CHECK(registry->find(0x2000, before[0]) == nullptr);
    CHECK(registry->patched_sites() == 1);
}

TEST_CASE("trap mode patches nothing, and a full registry goes on working") {
    auto registry = std::make_unique<runtime::PatchRegistry>();
    registry->configure(0, 1);
    const std::uint32_t window[] = {mfmsr(3)};
    bool newly = false;
    CHECK(registry->note_trap(0, window, 1, newly) == nullptr);
    registry->configure(all, 1);
    for (std::uint64_t site = 0; site < 4 * runtime::PatchRegistry::capacity; ++site)
        REQUIRE(registry->note_trap(site * 4, window, 1, newly) != nullptr);
    CHECK(registry->patched_sites() <= runtime::PatchRegistry::capacity);
    const std::uint64_t last = (4 * runtime::PatchRegistry::capacity - 1) * std::uint64_t{4};
    CHECK(registry->find(last, window[0]) != nullptr);
}

TEST_CASE("a static scan finds privileged words and what the levels make of them") {
    std::vector<std::uint8_t> code;
    for (std::uint32_t word : {nop, mfmsr(3), wrteei(false), blr, rfi})
        for (int shift = 24; shift >= 0; shift -= 8) code.push_back(static_cast<std::uint8_t>(word >> shift));
    code.push_back(0x7C); // half an instruction
    std::vector<scan::Site> sites;
    scan::scan(code.data(), code.size(), 0xC0000000, all, [&](const scan::Site& site) { sites.push_back(site); });
    REQUIRE(sites.size() == 3);
    CHECK(sites[0].address == 0xC0000004);
    CHECK(sites[0].patch.level == 1);
    CHECK(sites[1].patch.level == 2);
    CHECK(sites[2].instruction.op == isa::Op::rfi);
    CHECK(sites[2].patch.level == 0);
}
