// SPDX-License-Identifier: GPL-2.0-only
// Compiled handlers against emulation of the same handler from the same state, every exit; and code that the verifier
// accepts, whatever it is made of, against the bounds of what handlers may touch.
#include <catch2/catch_test_macros.hpp>

#include <utility>

#include "handler_model.h"
#include "model.h"
#include "translator/ppc/encode.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

using isa::CpuState;
using isa::Form;
using isa::Op;
namespace spr = isa::spr;

constexpr std::uint32_t data = HandlerModel::guest_ea + HandlerModel::data_real;

// An instruction between registers, any row.
std::uint32_t arithmetic(Random& random, CodeGenerator& generator) {
    for (;;) {
        const auto op = static_cast<Op>(random.below(static_cast<unsigned>(isa::op_count)));
        const isa::InstructionInfo& info = isa::instruction_table[static_cast<std::size_t>(op)];
        if ((info.flags & (isa::flag::load | isa::flag::store | isa::flag::branch | isa::flag::trap | isa::flag::fp |
                           isa::flag::cache | isa::flag::priv | isa::flag::spr_access | isa::flag::multiple)) != 0)
            continue;
        if (info.match >> 26 == 4) continue;
        return generator.encode(op, 0, 1);
    }
}

std::uint32_t special(Random& random) {
    const unsigned number = random.pick<unsigned>(
        {spr::sprg0,      spr::sprg0 + 1, spr::sprg0 + 2, spr::sprg0 + 3, spr::sprg4, spr::sprg7,  spr::sprg4_user,
         spr::sprg7_user, spr::srr0,      spr::srr1,      spr::csrr0,     spr::csrr1, spr::dear,   spr::esr,
         spr::pid,        spr::mmucr,     spr::lr,        spr::ctr,       spr::xer,   spr::usprg0, spr::tbl_read});
    const bool readable_only = (number >= spr::sprg4_user && number <= spr::sprg7_user) || number == spr::tbl_read;
    return !readable_only && random.chance(50) ? mtspr(number, random.below(32)) : mfspr(random.below(32), number);
}

std::uint32_t access(Random& random) {
    const auto op = random.pick<Op>({Op::lwz, Op::lwz, Op::lwz, Op::lwzx, Op::lbz, Op::lbzx, Op::lhz, Op::lhzx, Op::lha,
                                     Op::lhax, Op::stw, Op::stw, Op::stwx, Op::stb, Op::stbx, Op::sth, Op::sthx});
    const unsigned rt = random.below(32), ra = random.below(32);
    if (isa::instruction_table[static_cast<std::size_t>(op)].form == Form::x_mem)
        return match(op) | field_rt(rt) | field_ra(ra) | field_rb(random.below(32));
    const std::uint32_t displacement = random.chance(80) ? random.below(64) * 4 - 128 : random.word();
    return immediate(op, rt, ra, displacement);
}

std::vector<std::uint32_t> random_handler(Random& random) {
    CodeGenerator generator(random, RegisterUse::random(random, 0));
    const bool short_one = random.chance(25); // that gets to its end
    const unsigned length = short_one ? random.below(5) : random.between(4, 60);
    const unsigned index = random.below(32);
    std::vector<std::uint32_t> words;
    const unsigned kind_of_rare = random.below(6);
    while (words.size() < length) {
        const auto position = static_cast<unsigned>(words.size());
        switch (random.below(20)) {
        case 0:
        case 1:
        case 2:
        case 3: words.push_back(access(random)); break;
        case 4:
        case 5:
        case 6: words.push_back(special(random)); break;
        case 7: words.push_back(match(Op::mfcr) | field_rt(random.below(32))); break;
        case 8: words.push_back(match(Op::mtcrf) | field_rt(random.below(32)) | random.below(256) << 12); break;
        case 9: words.push_back(mfmsr(random.below(32))); break;
        case 10: { // forward mostly
            const std::uint32_t distance = random.chance(97) ? random.between(1, 12) : random.word() % 512 - 256;
            words.push_back(random.chance(20)
                                ? match(Op::b) | (distance * 4 & 0x03FFFFFC)
                                : match(Op::bc) | field_rt(random.pick<unsigned>({4, 12, 5, 13, 20, 16})) |
                                      field_ra(random.below(28)) | (distance * 4 & 0xFFFC));
            break;
        }
        case 11:
            words.push_back(match(Op::tlbwe) | field_rt(random.below(32)) |
                            field_ra(random.chance(90) ? index : random.below(32)) |
                            field_rb(random.chance(97) ? random.below(3) : random.below(32)));
            break;
        case 12:
            if (kind_of_rare == 0) words.push_back(generator.instruction(position, length));
            if (kind_of_rare == 1) words.push_back(match(Op::tlbsync));
            if (kind_of_rare == 2) words.push_back(wrteei(random.chance(50)));
            if (kind_of_rare == 3) words.push_back(match(Op::tlbsx) | random.word() % 0x04000000 / 2048 * 2048);
            break;
        case 13: { // a constant address, perhaps, and perhaps two words of it
            const unsigned base = random.below(32), displacement = random.below(0x800) * 4 + 0x800;
            words.push_back(code::lis(base, data >> 16));
            if (random.chance(30)) words.push_back(access(random));
            if (random.chance(20)) words.push_back(code::beq(4 * random.between(1, 4)));
            words.push_back(immediate(random.pick<Op>({Op::lwz, Op::lwz, Op::lbz, Op::lha, Op::stw, Op::sth}),
                                      random.below(32), base, displacement));
            break;
        }
        case 14: {
            const unsigned base = random.below(32), displacement = random.below(64) * 4;
            words.push_back(code::lwz(random.below(32), base, displacement));
            words.push_back(code::lwz(random.below(32), base, displacement + 4));
            break;
        }
        default: words.push_back(arithmetic(random, generator));
        }
    }
    if (short_one || random.chance(40)) {
        // All of an entry, and registers put back: mostly those that an early exit wants.
        std::vector<unsigned> parts = {0, 1, 2}, saved = {10, 11, 12, 13};
        for (auto* list : {&parts, &saved})
            for (std::size_t at = list->size(); at > 1; --at)
                std::swap((*list)[at - 1], (*list)[random.below(static_cast<unsigned>(at))]);
        for (const unsigned part : parts)
            words.push_back(match(Op::tlbwe) | field_rt(random.below(32)) | field_ra(index) | field_rb(part));
        const unsigned first = saved.front();
        if (random.chance(90)) {
            words.push_back(mfspr(first, spr::sprg7_user));
            words.push_back(match(Op::mtcrf) | field_rt(first) | (random.chance(95) ? 0xFFU : random.below(256)) << 12);
        }
        for (const unsigned gpr : saved) {
            if (random.chance(10)) words.push_back(arithmetic(random, generator));
            if (random.chance(97)) words.push_back(mfspr(gpr, spr::sprg0 + random.below(4)));
        }
    }
    for (unsigned i = 0; i < 14; ++i) words.push_back(match(Op::rfi));
    return words;
}

struct Counts {
    unsigned compiled = 0, finished = 0, left = 0, missed = 0, compared = 0, early = 0, declined = 0;
};

void compare(HandlerModel& model, Random& random, Counts& counts) {
    HandlerModel::Result result;
    if (!model.run_both(random, random.chance(20), result)) return;
    ++counts.compared;
    counts.finished += result.finished;
    counts.left += !result.finished;
    counts.early += result.commits;
    counts.declined += result.declined;
    if ((result.flags & (ppc::handler_exit::load_miss | ppc::handler_exit::store_miss)) != 0) {
        ++counts.missed;
        // The window that would have been needed is not there.
        const std::uint32_t missed = model.record.missed;
        const bool store = (result.flags & ppc::handler_exit::store_miss) != 0;
        const bool lacks = store ? model.windows->store(missed).tag != (missed & 0xFFFFF000)
                                 : model.windows->load(missed).tag != (missed & 0xFFF00000);
        REQUIRE((lacks || missed % 8 != 0)); // a pair wants eight bytes
    }
}

TEST_CASE("compiled handlers do what emulation does") {
    Random random = seeded_random(0x4A4D1E);
    INFO("seed " << test_seed());
    HandlerModel model;
    Counts counts;
    const unsigned rounds = static_cast<unsigned>(instruction_goal(300000) / 100);
    for (unsigned round = 0; round < rounds; ++round) {
        const std::vector<std::uint32_t> handler = random_handler(random);
        model.start(random, handler);
        if (!model.compile(static_cast<unsigned>(handler.size()))) continue;
        ++counts.compiled;
        compare(model, random, counts);
    }
    CHECK(counts.compiled > rounds / 4);
    CHECK(counts.compared > counts.compiled / 2);
    CHECK(counts.finished > counts.compared / 25);
    CHECK(counts.left > counts.compared / 10);
    CHECK(counts.missed > counts.compared / 40);
    CHECK(counts.early > counts.compared / 40);
    CHECK(counts.declined > counts.compared / 150);
}

// Accepted by the verifier, so it is bounded by what the model allows, whatever it does to the guest.
TEST_CASE("code that is verified stays within bounds") {
    Random random = seeded_random(0x4A4D1F);
    INFO("seed " << test_seed());
    HandlerModel model;
    unsigned accepted = 0, tried = 0;
    const unsigned rounds = static_cast<unsigned>(instruction_goal(300000) / 200);
    for (unsigned round = 0; round < rounds; ++round) {
        const std::vector<std::uint32_t> handler = random_handler(random);
        model.start(random, handler);
        if (!model.compile(static_cast<unsigned>(handler.size()))) continue;
        const std::vector<std::uint32_t> good = model.code;
        for (unsigned variant = 0; variant < 20; ++variant) {
            model.code = good;
            for (unsigned changes = random.between(1, 3); changes != 0; --changes) {
                std::uint32_t& word = model.code[random.below(model.compiled.length)];
                switch (random.below(4)) {
                case 0: word ^= 1U << random.below(32); break;
                case 1: word = random.any(good); break;
                case 2: word ^= random.below(32) << random.pick<unsigned>({21, 16, 11}); break;
                default: word = (word & 0xFFFF0000) | random.any(good) % 0x10000;
                }
            }
            ++tried;
            if (ppc::verify_handler(model.code.data(), model.compiled, model.place()) != ppc::HandlerFlaw::none)
                continue;
            ++accepted;
            INFO(model.listing());
            model.run(random, random.chance(50));
        }
    }
    CHECK(accepted > tried / 100);
    CHECK(accepted < tried);
}

// -- what handlers look like ------------------------------------------------------------------------------------------

// A walk of a two-level table and a refill of an entry, in the shape that operating systems use.
std::vector<std::uint32_t> walk() {
    using namespace code;
    const auto compare = [](unsigned ra, unsigned rb) { return match(Op::cmpl) | field_ra(ra) | field_rb(rb); };
    return {
        mtspr(spr::sprg0, 10),
        mtspr(spr::sprg4, 11),
        match(Op::mfcr) | field_rt(11),
        mtspr(spr::sprg7, 11),
        mfspr(10, spr::dear),
        lis(11, 0xC000),
        compare(10, 11),
        beq(4 * 22),               // not taken
        mfspr(11, spr::sprg0 + 3), // the table
        rotate_and_mask(12, 10, 12, 20, 29),
        match(Op::lwzx) | field_rt(11) | field_ra(12) | field_rb(11),
        match(Op::rlwinm) | 1 | field_rt(11) | field_ra(12) | 19 << 1, // clrrwi. r12,r11,12
        beq(4 * 17),
        match(Op::rlwimi) | field_rt(10) | field_ra(12) | field_rb(23) | 20 << 6 | 28 << 1,
        lwz(11, 12, 0),
        lwz(12, 12, 4),
        lis(13, data >> 16),
        lwz(14, 13, 0x40),
        addi(14, 14, 1),
        rotate_and_mask(14, 14, 0, 27, 31),
        stw(14, 13, 0x40),
        tlbwe(11, 14, 1),
        tlbwe(10, 14, 0),
        tlbwe(12, 14, 2),
        mfspr(11, spr::sprg7_user),
        match(Op::mtcrf) | field_rt(11) | 0xFF << 12,
        mfspr(11, spr::sprg4_user),
        mfspr(10, spr::sprg0),
        rfi,
        nop,
    };
}

TEST_CASE("a page-table walk is compiled to its rfi") {
    Random random = seeded_random(0x4A4D20);
    HandlerModel model;
    const std::vector<std::uint32_t> handler = walk();
    for (unsigned round = 0; round < 50; ++round) {
        model.start(random, handler);
        model.walking = false;
        model.guest.page.dear = random.word() & 0x7FFFFFFF;
        model.guest.page.sprg[3] = data;
        *model.windows = {};
        model.windows->load(data) = {HandlerModel::guest_ea, HandlerModel::memory_ea - HandlerModel::guest_ea};
        model.windows->store(data) = {data, HandlerModel::memory_ea - HandlerModel::guest_ea};
        const std::uint32_t slot = model.guest.page.dear >> 20 & 0xFFC;
        for (auto* ram : {&model.reference.ram, &model.memory})
            runtime::store_big_endian(&(*ram)[HandlerModel::data_real + slot], 4, data + 0x1000);
        model.reference.vcpu.state = model.guest;
        REQUIRE(model.compile(static_cast<unsigned>(handler.size())));
        CHECK(model.compiled.length < 140);
        Counts counts;
        const mmu::GuestTlb before = model.reference.vcpu.tlb;
        const HandlerModel::Result result = model.run(random, false);
        CAPTURE(result.pc - HandlerModel::entry, model.record.missed);
        REQUIRE(result.finished);
        CHECK(result.flags == 7);
        CHECK(result.instructions < 79);
        REQUIRE(model.refer(result, 40));
        CpuState state = model.leave(result);
        state.pc = model.reference.vcpu.state.pc;
        CHECK(difference(state, model.reference.vcpu.state) == "");
        mmu::GuestTlb tlb = before;
        model.commit(tlb, result);
        for (unsigned index = 0; index < 64; ++index) CHECK(tlb.entry(index) == model.reference.vcpu.tlb.entry(index));
    }
}

TEST_CASE("the number of an entry in two registers is compared without a trace in CR") {
    using namespace code;
    HandlerModel model;
    Random random = seeded_random(0x4A4D23);
    for (unsigned round = 0; round < 40; ++round) {
        model.start(random, {tlbwe(20, 14, 0), tlbwe(19, 15, 1), match(Op::mfcr) | field_rt(8), rfi, nop});
        model.guest.gpr[14] = model.guest.gpr[15] = round;
        model.guest.gpr[20] &= ~mmu::TlbEntry::valid_bit; // or it may translate the handler itself
        model.guest.set_cr(random.word());
        model.reference.vcpu.state = model.guest;
        REQUIRE(model.compile(5));
        const HandlerModel::Result result = model.run(random, false);
        REQUIRE(result.finished);
        REQUIRE(model.refer(result, 10));
        CpuState state = model.leave(result);
        state.pc = model.reference.vcpu.state.pc;
        REQUIRE(difference(state, model.reference.vcpu.state) == "");
    }
}

TEST_CASE("what cannot be compiled is refused") {
    HandlerModel model;
    Random random = seeded_random(0x4A4D21);
    const auto compiles = [&](std::vector<std::uint32_t> words) {
        model.start(random, words);
        return model.compile(static_cast<unsigned>(words.size()));
    };
    CHECK(compiles({code::rfi}));
    CHECK_FALSE(compiles({code::nop}));             // no rfi
    CHECK_FALSE(compiles({code::b(0), code::rfi})); // never gets there
    CHECK_FALSE(compiles({code::sc, code::rfi}));   // likewise
    std::vector<std::uint32_t> all_fields;
    for (std::uint32_t field = 0; field < 8; ++field) all_fields.push_back(match(Op::cmpi) | field << 23);
    all_fields.push_back(code::rfi);
    CHECK_FALSE(compiles(all_fields)); // no CR field is free
    all_fields.erase(all_fields.begin() + 3);
    CHECK(compiles(all_fields));
    std::vector<std::uint32_t> long_one(ppc::handler_max_guest, code::nop);
    long_one.back() = code::rfi;
    CHECK(compiles(long_one));
    long_one.insert(long_one.begin(), code::nop);
    CHECK_FALSE(compiles(long_one));
    CHECK(compiles({code::beq(8), code::tlbwe(3, 4, 0), code::rfi}));
}

// Where the handler leaves: every condition by itself, with the guest's pc.
TEST_CASE("handlers leave before what they cannot do") {
    HandlerModel model;
    Random random = seeded_random(0x4A4D22);
    const auto left_at = [&](std::vector<std::uint32_t> words) -> int {
        words[0] = code::beq(4 * static_cast<std::uint32_t>(words.size())); // not taken
        words.push_back(code::rfi);
        model.start(random, words);
        *model.windows = {};
        model.windows->load(data) = {HandlerModel::guest_ea, HandlerModel::memory_ea - HandlerModel::guest_ea};
        model.windows->store(data) = {data, HandlerModel::memory_ea - HandlerModel::guest_ea};
        model.guest.gpr[10] = data;
        model.guest.gpr[5] = data;
        model.guest.gpr[11] = 0x90000000;
        model.guest.set_cr(0);
        REQUIRE(model.compile(static_cast<unsigned>(words.size())));
        const HandlerModel::Result result = model.run(random, false);
        return result.finished ? -1 : static_cast<int>((result.pc - HandlerModel::entry) / 4);
    };
    using namespace code;
    CHECK(left_at({nop, nop}) == -1);
    CHECK(left_at({nop, lwz(3, 10, 4)}) == -1);
    CHECK(left_at({nop, lwz(3, 5, 4)}) == -1);
    CHECK(left_at({nop, lwz(3, 11, 0)}) == 1); // no window
    CHECK(left_at({nop, lwz(3, 10, 2)}) == 1); // misaligned
    CHECK(left_at({nop, stw(3, 10, 0)}) == -1);
    CHECK(left_at({nop, stw(3, 10, 0x1000)}) == 1); // another page
    CHECK(left_at({nop, stw(3, 10, 1)}) == 1);
    CHECK(left_at({nop, wrteei(0)}) == 1);
    CHECK(left_at({nop, beq(8), tlbre(3, 4, 0)}) == 2);
    CHECK(left_at({nop, nop, b(-4)}) == 1);    // a loop: its next round is the guest's
    CHECK(left_at({nop, b(0x1000)}) == 0x401); // somewhere else
    CHECK(left_at({nop, tlbwe(3, 4, 0), match(Op::isync)}) == 2);
}

} // namespace
} // namespace untrap::tests::ppc440
