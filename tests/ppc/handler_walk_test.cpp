// SPDX-License-Identifier: GPL-2.0-only
// What handlers have found for a page, kept and used again, against emulation of the same handler: whatever changes in
// between, of the page tables, the registers and the rest of the guest.
#include <catch2/catch_test_macros.hpp>

#include <utility>

#include "handler_model.h"
#include "model.h"
#include "translator/ppc/encode.h"
#include "translator/ppc/handler_walk.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

using isa::CpuState;
using isa::Op;
namespace spr = isa::spr;

constexpr std::uint32_t data = HandlerModel::guest_ea + HandlerModel::data_real;
// In that memory: what SPRG3 leads to, directories, tables, and the number of the next entry.
constexpr std::uint32_t threads = 0, directories = 0x400, tables = 0xC00, counter = 0x3F40;

// A handler as operating systems have them, in one of many shapes. damage: one instruction is another one.
std::vector<std::uint32_t> walking_handler(Random& random, bool damage) {
    using namespace code;
    unsigned gprs[] = {10, 11, 12, 13};
    for (unsigned at = 4; at > 1; --at) std::swap(gprs[at - 1], gprs[random.below(at)]);
    const unsigned a = gprs[0], b = gprs[1], c = gprs[2], d = gprs[3];
    unsigned saves[] = {0, 1, 2, 4, 5, 6, 7};
    for (unsigned at = 7; at > 1; --at) std::swap(saves[at - 1], saves[random.below(at)]);
    const bool thread = random.chance(70), large = random.chance(60), denies = random.chance(60);
    const bool indexed = random.chance(50), separate = random.chance(40), tells_process = random.chance(70);
    const unsigned counting = random.below(4);
    std::vector<std::uint32_t> words;
    std::vector<std::size_t> away;
    const auto put = [&](std::uint32_t word) { words.push_back(word); };
    const auto leave_if = [&](std::uint32_t branch) {
        away.push_back(words.size());
        put(branch);
    };
    for (unsigned number = 0; number < 4; ++number) put(mtspr(spr::sprg0 + saves[number], gprs[number]));
    put(match(Op::mfcr) | field_rt(b));
    put(mtspr(spr::sprg0 + saves[4], b));
    put(mfspr(a, spr::dear));
    if (large) { // addresses of the kernel's
        put(lis(b, 0x8000));
        put(match(Op::cmpl) | field_ra(a) | field_rb(b));
        put(match(Op::bc) | field_rt(12) | 4 * 4); // blt, over these and the jump
        put(lis(b, (data + directories) >> 16));
        put(match(Op::ori) | field_rt(b) | field_ra(b) | ((data + directories) & 0xFFFF));
        put(match(Op::b) | 4 * (thread ? 3 : 2));
    }
    if (thread) {
        put(mfspr(b, spr::sprg0 + 3));
        put(lwz(b, b, 8));
    } else {
        put(mfspr(b, spr::sprg0 + 3));
    }
    if (tells_process) {
        put(mfspr(c, spr::mmucr));
        put(mfspr(d, spr::pid));
        put(match(Op::rlwimi) | field_rt(d) | field_ra(c) | 24 << 6 | 31 << 1);
        put(mtspr(spr::mmucr, c));
    }
    put(addi(d, 0, 9));
    if (denies) {
        put(mfspr(c, spr::esr));
        put(match(Op::rlwimi) | field_rt(c) | field_ra(d) | 10 << 11 | 30 << 6 | 30 << 1);
    }
    // 8 tables of 8 pages.
    put(match(Op::rlwinm) | field_rt(a) | field_ra(c) | 19 << 11 | 27 << 6 | 29 << 1);
    if (indexed) {
        put(match(Op::lwzx) | field_rt(b) | field_ra(c) | field_rb(b));
    } else {
        put(match(Op::add) | field_rt(b) | field_ra(c) | field_rb(b));
        put(lwz(b, b, 0));
    }
    put(match(Op::rlwinm) | 1 | field_rt(b) | field_ra(c) | 0 << 6 | 28 << 1);
    leave_if(match(Op::bc) | field_rt(12) | field_ra(2));
    put(match(Op::rlwimi) | field_rt(a) | field_ra(c) | 23 << 11 | 26 << 6 | 28 << 1);
    put(lwz(b, c, 0));
    if (separate) put(nop);
    put(lwz(c, c, 4));
    if (denies) {
        put(match(Op::andc) | 1 | field_rt(d) | field_ra(d) | field_rb(c));
        leave_if(match(Op::bc) | field_rt(4) | field_ra(2));
    }
    put(lis(d, data >> 16));
    put(lwz(d, d, counter));
    put(addi(d, d, 1));
    if (counting == 0) put(rotate_and_mask(d, d, 0, 27, 31));
    if (counting == 1) {
        put(match(Op::cmpi) | field_ra(d) | 40);
        put(match(Op::bc) | field_rt(4) | field_ra(1) | 8); // ble
        put(addi(d, 0, 0));
    }
    if (counting == 2) put(match(Op::andi_rc) | field_rt(d) | field_ra(d) | 0x1F);
    if (counting == 3) put(rotate_and_mask(d, d, 0, 28, 31));
    put(lis(a, data >> 16));
    put(stw(d, a, counter));
    put(mfspr(a, spr::dear));
    put(match(Op::rlwimi) | field_rt(c) | field_ra(b) | 0 << 6 | 19 << 1);
    put(tlbwe(b, d, 1));
    put(addi(b, 0, 0x210));
    put(match(Op::rlwimi) | field_rt(b) | field_ra(a) | 20 << 6 | 31 << 1);
    put(tlbwe(a, d, 0));
    put(addi(a, 0, 0x785));
    put(match(Op::and_) | field_rt(c) | field_ra(b) | field_rb(a));
    put(tlbwe(b, d, 2));
    const std::size_t last = words.size();
    put(mfspr(b, spr::sprg0 + saves[4]));
    put(match(Op::mtcrf) | field_rt(b) | 0xFF << 12);
    for (unsigned number = 4; number-- != 0;) put(mfspr(gprs[number], spr::sprg0 + saves[number]));
    put(rfi);
    // Where nothing was found: like what comes before an rfi, and then another handler.
    for (const std::size_t at : away) words[at] |= static_cast<std::uint32_t>(words.size() - at) * 4;
    for (std::size_t at = last; at + 1 < last + 7; ++at) put(words[at]);
    put(sc);
    if (damage) {
        std::uint32_t& word = words[random.below(static_cast<unsigned>(words.size()) - 1)];
        switch (random.below(4)) {
        case 0: word ^= 1U << random.below(26); break;
        case 1: word = random.any(words); break;
        case 2: word ^= random.below(32) << random.pick<unsigned>({21, 16, 11}); break;
        default: word = nop;
        }
    }
    return words;
}

void store_word(HandlerModel& model, std::uint32_t offset, std::uint32_t value) {
    for (auto* ram : {&model.reference.ram, &model.memory})
        runtime::store_big_endian(&(*ram)[HandlerModel::data_real + offset], 4, value);
}

std::uint32_t table_entry(Random& random) {
    return random.chance(90) ? 0x00100000 | random.below(16) << 12 : random.word();
}

void make_tables(HandlerModel& model, Random& random) {
    for (unsigned thread = 0; thread < 4; ++thread)
        store_word(model, threads + 0x40 * thread + 8, data + directories + 0x20 * random.below(4));
    for (unsigned entry = 0; entry < 32; ++entry)
        store_word(model, directories + 4 * entry, random.chance(90) ? data + tables + 0x40 * random.below(16) : 0);
    for (unsigned entry = 0; entry < 16 * 8; ++entry) {
        store_word(model, tables + 8 * entry, table_entry(random));
        store_word(model, tables + 8 * entry + 4, random.chance(90) ? 0x7FF : random.word());
    }
    store_word(model, counter, random.below(16));
}

struct Counts {
    unsigned handlers = 0, walking = 0, runs = 0, recorded = 0, recalled = 0, declined = 0, left = 0;
};

void compare(HandlerModel& model, Random& random, Counts& counts) {
    model.reference.vcpu.state = model.guest;
    HandlerModel::Result result;
    if (!model.run_both(random, random.chance(20), result)) return;
    ++counts.runs;
    counts.recorded += result.recorded;
    counts.recalled += result.recalled;
    counts.declined += result.recalled != 0 && !result.finished;
    counts.left += !result.finished;
}

// Runs of one handler, with changes in between.
void run_handler(HandlerModel& model, Random& random, Counts& counts) {
    make_tables(model, random);
    model.memory = model.reference.ram;
    *model.windows = {};
    model.windows->load(data) = {HandlerModel::guest_ea, HandlerModel::memory_ea - HandlerModel::guest_ea};
    for (std::uint32_t page = data; page < data + HandlerModel::data_bytes; page += 4096)
        model.windows->store(page) = {page, HandlerModel::memory_ea - HandlerModel::guest_ea};
    std::uint32_t thread = 0, pid = 1;
    for (unsigned run = 0; run < 40; ++run) {
        model.start_again(random);
        isa::StatePage& page = model.guest.page;
        if (random.chance(15)) thread = random.below(4);
        if (random.chance(10)) pid = random.below(3);
        page.sprg[3] = model.compiled.loads == 4 ? data + threads + 0x40 * thread : data + directories + 0x20 * thread;
        page.pid = pid;
        page.mmucr = random.chance(90) ? pid : random.word() & isa::mmucr::writable;
        page.esr = random.chance(70)
                       ? 0
                       : random.pick<std::uint32_t>({isa::esr::st, isa::esr::fp, isa::esr::st | isa::esr::fp});
        page.dear = random.chance(95) ? 0x40000000 + random.below(6) * 0x1000 + random.below(0x1000) : random.word();
        if (random.chance(2)) page.dear = 0x80000000 + random.below(3);
        if (random.chance(15))
            store_word(model, tables + 8 * random.below(128) + 4 * random.below(2), table_entry(random));
        if (random.chance(5)) make_tables(model, random);
        if (random.chance(3)) store_word(model, counter, random.word());
        compare(model, random, counts);
        model.memory = model.reference.ram; // also where the emulation went on alone
    }
}

TEST_CASE("what was found for a page is used while it is right") {
    Random random = seeded_random(0x4A4D30);
    INFO("seed " << test_seed());
    HandlerModel model;
    Counts counts;
    const unsigned rounds = static_cast<unsigned>(instruction_goal(300000) / 1000);
    for (unsigned round = 0; round < rounds; ++round) {
        const bool damage = random.chance(50);
        const std::vector<std::uint32_t> handler = walking_handler(random, damage);
        model.start(random, handler);
        model.early = model.walking = model.near_exit = true;
        if (!model.compile(static_cast<unsigned>(handler.size()))) continue;
        ++counts.handlers;
        counts.walking += model.compiled.recall != 0;
        if (!damage) REQUIRE(model.compiled.recall != 0);
        run_handler(model, random, counts);
    }
    CHECK(counts.handlers > rounds / 2);
    CHECK(counts.walking < counts.handlers);
    CHECK(counts.recorded > counts.runs / 10);
    CHECK(counts.recalled > counts.runs / 10);
    CHECK(counts.declined > counts.runs / 200);
}

// One thing after the other that a handler with walks must not do. The place of each is found by what stands there.
TEST_CASE("a handler that is not told apart has no walk") {
    using namespace code;
    constexpr std::uint32_t high = data >> 16;
    const std::vector<std::uint32_t> good = {
        mtspr(spr::sprg0, 10),
        mtspr(spr::sprg0 + 1, 11),
        mtspr(spr::sprg4, 12),
        match(Op::mfcr) | field_rt(11),
        mtspr(spr::sprg7, 11),
        mfspr(10, spr::dear),
        mfspr(11, spr::sprg0 + 3),
        rotate_and_mask(12, 10, 19, 27, 29),
        match(Op::lwzx) | field_rt(11) | field_ra(12) | field_rb(11), // 8
        lis(12, high),
        lwz(12, 12, counter), // 10
        addi(12, 12, 1),
        rotate_and_mask(12, 12, 0, 27, 31), // 12
        lis(10, high),
        stw(12, 10, counter), // 14
        mfspr(10, spr::dear),
        rotate_and_mask(10, 10, 0, 0, 19), // 16
        match(Op::ori) | field_rt(10) | field_ra(10) | 0x210,
        tlbwe(10, 12, 0), // 18
        tlbwe(11, 12, 1),
        addi(11, 0, 0x3F), // 20
        tlbwe(11, 12, 2),
        mfspr(11, spr::sprg7), // 22
        match(Op::mtcrf) | field_rt(11) | 0xFF << 12,
        mfspr(12, spr::sprg4), // 24
        mfspr(11, spr::sprg0 + 1),
        mfspr(10, spr::sprg0),
        rfi,
        nop,
    };
    HandlerModel model;
    Random random = seeded_random(0x4A4D31);
    const auto walks_with = [&](unsigned at, std::uint32_t word) {
        std::vector<std::uint32_t> words = good;
        REQUIRE(words[at] != word);
        words[at] = word;
        model.start(random, words);
        model.early = model.walking = model.near_exit = true;
        return model.compile(static_cast<unsigned>(words.size())) && model.compiled.recall != 0;
    };
    CHECK(walks_with(28, rfi)); // behind its end
    CHECK(walks_with(20, addi(11, 0, 0x1B)));
    CHECK(!walks_with(7, rotate_and_mask(12, 10, 2, 26, 29))); // the place in the page leads to the table
    CHECK(!walks_with(16, rotate_and_mask(10, 10, 0, 0, 20))); // or is part of an entry
    CHECK(!walks_with(6, mfspr(11, spr::srr0)));               // the table depends on where the access is
    CHECK(!walks_with(6, mfspr(11, spr::ctr)));                // or on what the process has
    CHECK(!walks_with(6, nop));                                // likewise: its r11
    CHECK(!walks_with(5, mfspr(10, spr::sprg0)));              // likewise: its r10
    CHECK(!walks_with(8, match(Op::lhzx) | field_rt(11) | field_ra(12) | field_rb(11)));
    CHECK(!walks_with(14, stw(11, 10, counter))); // stores what was found
    CHECK(!walks_with(14, nop));                  // the entry is one that was read
    CHECK(!walks_with(11, match(Op::add) | field_rt(12) | field_ra(12) | field_rb(11)));
    CHECK(!walks_with(11, match(Op::addic) | field_rt(12) | field_ra(12) | 1)); // XER[CA] is changed
    CHECK(!walks_with(19, tlbwe(12, 12, 1)));                                   // word 1 is another one each time
    CHECK(!walks_with(19, tlbwe(11, 11, 1)));                                   // the number of the entry is not
    CHECK(!walks_with(15, mtspr(spr::srr0, 12)));
    CHECK(!walks_with(15, mtspr(spr::mmucr, 12)));     // not what it was
    CHECK(!walks_with(17, mtspr(spr::sprg0 + 5, 11))); // what was found is left in a register
    CHECK(!walks_with(17, mtspr(spr::sprg0 + 3, 12))); // what was read is changed
    CHECK(!walks_with(24, nop));                       // r12 is not put back
    CHECK(!walks_with(24, mfspr(13, spr::sprg4)));
    CHECK(walks_with(23, nop)); // CR is right all the same
}

} // namespace
} // namespace untrap::tests::ppc440
