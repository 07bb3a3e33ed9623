// SPDX-License-Identifier: GPL-2.0-only
// What the verifier of compiled handlers refuses, by one example of each kind.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include "handler_model.h"
#include "model.h"
#include "translator/ppc/encode.h"
#include "translator/ppc/handler_code.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

using ppc::HandlerFlaw;
namespace encode = ppc::encode;
namespace spr = isa::spr;

constexpr std::uint32_t data = HandlerModel::guest_ea + HandlerModel::data_real;

// A handler's code as it was compiled, to be changed.
class Code {
  public:
    explicit Code(const std::vector<std::uint32_t>& handler, bool near = true, bool early = true)
        : random_(seeded_random(0x7E5F)) {
        model_.start(random_, handler);
        model_.near_exit = near;
        model_.early = early;
        REQUIRE(model_.compile(static_cast<unsigned>(handler.size())));
        REQUIRE(check() == HandlerFlaw::none);
    }
    HandlerFlaw check() const { return ppc::verify_handler(model_.code.data(), model_.compiled, place_of(model_)); }
    HandlerFlaw check(const ppc::CompiledHandler& compiled) const {
        return ppc::verify_handler(model_.code.data(), compiled, place_of(model_));
    }
    HandlerFlaw with(unsigned at, std::uint32_t word) { return with(at, word, model_.compiled); }
    HandlerFlaw with(unsigned at, std::uint32_t word, const ppc::CompiledHandler& compiled) {
        const std::uint32_t before = model_.code[at];
        model_.code[at] = word;
        const HandlerFlaw flaw = check(compiled);
        model_.code[at] = before;
        return flaw;
    }
    template <typename Change>
    HandlerFlaw changed(Change&& change) {
        const std::vector<std::uint32_t> before = model_.code;
        change(model_);
        const HandlerFlaw flaw = check();
        model_.code = before;
        return flaw;
    }
    // A branch at this word of the code.
    HandlerFlaw with_branch(unsigned at, std::uint32_t to, bool call) {
        const std::uint32_t distance = to - (HandlerModel::code_ea + 4 * at);
        return with(at, call ? encode::bl(distance) : encode::b(distance));
    }
    template <typename Condition>
    unsigned find(Condition&& condition, unsigned first = 0) const {
        const auto begin = model_.code.begin();
        const auto found = std::find_if(begin + first, begin + model_.compiled.length, condition);
        REQUIRE(found != begin + model_.compiled.length);
        return static_cast<unsigned>(found - begin);
    }
    // The branch to this place.
    unsigned branch_to(std::uint32_t target, bool call) const {
        for (unsigned at = 0; at < length(); ++at) {
            const isa::Instruction insn = isa::decode(word(at));
            if (insn.op == Op::b && insn.lk() == call &&
                HandlerModel::code_ea + 4 * at + static_cast<std::uint32_t>(insn.li()) == target)
                return at;
        }
        FAIL("there is no such branch");
        return 0;
    }
    std::uint32_t word(unsigned at) const { return model_.code[at]; }
    unsigned length() const { return model_.compiled.length; }
    ppc::HandlerPlace place() const { return place_of(model_); }
    const ppc::CompiledHandler& compiled() const { return model_.compiled; }
    std::uint32_t fixed_word(unsigned number) const {
        return encode::lwz(6, 4, place().fixed + 4 * static_cast<std::int32_t>(number));
    }

  private:
    static ppc::HandlerPlace place_of(const HandlerModel& model) { return model.place(); }
    Random random_;
    HandlerModel model_;
};

// A counter that is a word at an address the code has, and one that is less.
std::vector<std::uint32_t> counter() {
    using namespace code;
    return {lis(13, data >> 16),
            lwz(14, 13, 0x40),
            addi(14, 14, 1),
            stw(14, 13, 0x40),
            lbz(15, 13, 0x44),
            stb(15, 13, 0x48),
            rfi,
            nop};
}
// Two words by one check; an entry, and registers put back.
std::vector<std::uint32_t> pair_and_entry() {
    using namespace code;
    return {mfspr(10, spr::dear),
            lwz(11, 12, 0),
            lwz(12, 12, 4),
            tlbwe(11, 14, 1),
            tlbwe(10, 14, 0),
            tlbwe(12, 14, 2),
            mfspr(11, spr::sprg7_user),
            match(Op::mtcrf) | field_rt(11) | 0xFF << 12,
            mfspr(11, spr::sprg4_user),
            mfspr(12, spr::sprg0 + 1),
            mfspr(10, spr::sprg0),
            rfi,
            nop};
}

} // namespace

TEST_CASE("an access by a window of its own is as it was made, or the code is refused") {
    using namespace code;
    const std::vector<std::uint32_t> handlers[] = {
        {lwz(14, 12, 8), stw(14, 11, 4), lbz(15, 12, 3), stb(15, 11, 1), rfi, nop},
        {lwz(14, 12, 0), lwz(15, 12, 4), stw(5, 11, 4), rfi, nop}, // a pair, and a register of the record
    };
    for (const auto& handler : handlers) {
        Code code(handler);
        REQUIRE(code.compiled().memos == handler.size() - (&handler == &handlers[1] ? 3 : 2));
        const auto own = [&](unsigned number) {
            return encode::lwz(7, 4, code.place().memos + 8 * static_cast<std::int32_t>(number));
        };
        for (unsigned memo = 0; memo < code.compiled().memos; ++memo) {
            const unsigned at = code.find([&](std::uint32_t word) { return word == own(memo); });
            // A bit of any of its words: those of the check as well. Where to the branch away leads is not its own.
            const unsigned away =
                at + ppc::handler_code::NotedAccess::length + 1 + ppc::handler_code::CheckedAccess::length;
            for (unsigned word = at; word < at + ppc::handler_code::NotedAccess::words; ++word)
                for (unsigned bit = word == away ? 16 : 0; bit < 32; ++bit) {
                    const std::uint32_t changed = code.word(word) ^ 1U << bit;
                    INFO(memo << ' ' << word - at << ' ' << bit);
                    CHECK(code.with(word, changed) != HandlerFlaw::none);
                }
            // Another one's window in some of the places; one beyond those that there are.
            const std::int32_t next = 8;
            CHECK(code.with(at, code.word(at) + next) != HandlerFlaw::none);
            CHECK(code.with(at + 3, code.word(at + 3) + next) != HandlerFlaw::none);
            CHECK(code.with(away + 1, code.word(away + 1) + next) != HandlerFlaw::none);
            CHECK(code.with(away + 2, code.word(away + 2) + next) != HandlerFlaw::none);
        }
        for (unsigned memos = 0; memos < code.compiled().memos; ++memos) {
            ppc::CompiledHandler compiled = code.compiled();
            compiled.memos = memos;
            CHECK(code.check(compiled) != HandlerFlaw::none);
        }
        // Stores through the window of a load, all its words agreeing: windows for loads are larger.
        const auto renumber = [&](HandlerModel& model, unsigned from, unsigned to) {
            const unsigned at = code.find([&](std::uint32_t word) { return word == own(from); });
            const auto moved = static_cast<std::uint32_t>(8 * static_cast<std::int32_t>(to - from));
            const unsigned behind = at + ppc::handler_code::NotedAccess::words;
            for (const unsigned word : {at, at + 3, behind - 2, behind - 1}) model.code[word] += moved;
        };
        const bool stores_last = code.compiled().memos > 1;
        REQUIRE(stores_last);
        CHECK(code.changed([&](HandlerModel& model) { renumber(model, 1, 0); }) == HandlerFlaw::storage);
        CHECK(code.changed([&](HandlerModel& model) { renumber(model, 0, 1); }) == HandlerFlaw::storage);
    }
}

TEST_CASE("a fixed address is used as it was made, or the code is refused") {
    Code code(counter());
    REQUIRE(code.compiled().fixed == 4);
    const auto with = [&](auto&& change) {
        ppc::CompiledHandler compiled = code.compiled();
        change(compiled);
        return code.check(compiled);
    };
    // Beyond the count.
    for (unsigned fixed = 0; fixed < 4; ++fixed)
        CHECK(with([&](ppc::CompiledHandler& compiled) { compiled.fixed = fixed; }) == HandlerFlaw::storage);
    const unsigned first = code.find([&](std::uint32_t word) { return word == code.fixed_word(0); });
    for (const unsigned number : {4U, 5U, 100U}) CHECK(code.with(first, code.fixed_word(number)) != HandlerFlaw::none);
    CHECK(code.with(first, code.fixed_word(0) + 2) != HandlerFlaw::none);
    CHECK(code.with(first, code.fixed_word(0) - 4) != HandlerFlaw::none);
    // However many there are said to be.
    for (const unsigned fixed : {5U, 1000U}) {
        ppc::CompiledHandler compiled = code.compiled();
        compiled.fixed = fixed;
        CHECK(code.check(compiled) == HandlerFlaw::none);
        CHECK(code.with(first, code.fixed_word(4), compiled) == HandlerFlaw::storage);
    }
    // One for loads is none for stores, nor the other way round.
    for (unsigned number = 0; number < 4; ++number)
        CHECK(with([&](ppc::CompiledHandler& compiled) {
                  compiled.addresses[number].store = !compiled.addresses[number].store;
              }) == HandlerFlaw::storage);
    // Wider than its alignment: of the words any, of the bytes none.
    for (unsigned number = 0; number < 4; ++number) {
        const bool wide = number < 2;
        for (const std::uint32_t low : {1U, 2U, 3U})
            CHECK((with([&](ppc::CompiledHandler& compiled) { compiled.addresses[number].ea |= low; }) ==
                   HandlerFlaw::none) == !wide);
    }
    // What uses it: as an index alone, with no register of the host's as data.
    const std::uint32_t access = code.word(first + 1);
    CHECK(code.with(first + 1, access) == HandlerFlaw::none);
    CHECK(code.with(first + 1, access | 5U << 16) != HandlerFlaw::none);
    CHECK(code.with(first + 1, (access & ~(31U << 11)) | 7U << 11) != HandlerFlaw::none);
    CHECK(code.with(first + 1, (access & ~(31U << 21)) | 4U << 21) != HandlerFlaw::none);
    CHECK(code.with(first + 1, encode::nop) != HandlerFlaw::none);
}

TEST_CASE("a pair of loads keeps its address until the second one") {
    Code code(pair_and_entry());
    const std::uint32_t load = match(Op::lwzx) | 5U << 16 | 6U << 11, data_field = 31U << 21;
    const auto loads = [&](std::uint32_t word) { return (word & ~data_field) == load; };
    const unsigned first = code.find(loads), second = code.find(loads, first + 1);
    REQUIRE(second == first + 2);
    REQUIRE(code.word(first + 1) == encode::addi(5, 5, 4));
    for (const unsigned at : {first, second}) {
        for (const unsigned gpr : {4U, 5U, 6U}) CHECK(code.with(at, load | gpr << 21) == HandlerFlaw::storage);
        for (const unsigned gpr : {3U, 7U, 8U, 31U}) CHECK(code.with(at, load | gpr << 21) == HandlerFlaw::none);
    }
    CHECK(code.with(first + 1, encode::addi(5, 5, 8)) != HandlerFlaw::none);
    CHECK(code.with(first + 1, encode::addi(5, 6, 4)) != HandlerFlaw::none);
    CHECK(code.with(second, match(Op::stwx) | 5U << 16 | 6U << 11 | 8U << 21) != HandlerFlaw::none);
    // The check is that of eight bytes: four are not enough.
    const unsigned mask = code.find([](std::uint32_t word) { return word == encode::rlwinm(3, 5, 0, 29, 11); });
    CHECK(code.with(mask, encode::rlwinm(3, 5, 0, 30, 11)) != HandlerFlaw::none);
}

TEST_CASE("calls and branches of a handler lead to its exits or forward") {
    Code code(pair_and_entry());
    using Model = HandlerModel;
    const unsigned finish = code.branch_to(Model::finish_ea, true), commit = code.branch_to(Model::commit_ea, true),
                   end = code.branch_to(Model::end_ea, false);
    for (const unsigned at : {finish, commit}) {
        CHECK(code.with_branch(at, Model::finish_ea, true) == HandlerFlaw::none);
        CHECK(code.with_branch(at, Model::commit_ea, true) == HandlerFlaw::none);
        for (const std::uint32_t to :
             {Model::finish_ea + 4, Model::commit_ea - 4, +Model::end_ea, Model::code_ea, Model::code_ea + 4 * at + 4,
              Model::code_ea + 4 * code.length(), Model::code_ea + 4 * at})
            CHECK(code.with_branch(at, to, true) == HandlerFlaw::branch);
        CHECK(code.with(at, code.word(at) | 2) == HandlerFlaw::branch); // absolute
    }
    CHECK(code.with_branch(end, Model::end_ea, false) == HandlerFlaw::none);
    for (const std::uint32_t to : {+Model::finish_ea, +Model::commit_ea, Model::end_ea + 4, Model::end_ea - 4,
                                   +Model::code_ea, Model::code_ea + 4 * end, Model::code_ea + 4 * code.length()})
        CHECK(code.with_branch(end, to, false) == HandlerFlaw::branch);
    CHECK(code.with(end, code.word(end) | 2) == HandlerFlaw::branch);
    CHECK(code.with(end, code.word(end) | 1) == HandlerFlaw::branch);
    // Forward, but into the middle of a checked access.
    const unsigned check = code.find([](std::uint32_t word) { return word == encode::addi(5, 5, 4); });
    REQUIRE(check > 1);
    CHECK(code.with_branch(0, Model::code_ea + 4 * check, false) == HandlerFlaw::branch);
}

TEST_CASE("where there is no early exit, code does not use it") {
    for (const bool near : {false, true}) {
        Code code(pair_and_entry(), near);
        ppc::HandlerPlace place = code.place();
        std::vector<std::uint32_t> words;
        for (unsigned at = 0; at < code.length(); ++at) words.push_back(code.word(at));
        REQUIRE(ppc::verify_handler(words.data(), code.compiled(), place) == HandlerFlaw::none);
        place.commit = 0;
        CHECK(ppc::verify_handler(words.data(), code.compiled(), place) != HandlerFlaw::none);
        CHECK(Code(pair_and_entry(), near, false).length() < code.length());
    }
    // Nor the address 0, which stands for that there is none.
    Code code(pair_and_entry(), true, false);
    ppc::HandlerPlace place = code.place();
    REQUIRE(place.commit == 0);
    constexpr std::uint32_t distance = HandlerModel::code_ea - 0x01000000; // a place that branches reach 0 from
    place.code -= distance;
    place.finish -= distance;
    const unsigned finish = code.branch_to(HandlerModel::finish_ea, true);
    std::vector<std::uint32_t> words;
    for (unsigned at = 0; at < code.length(); ++at) words.push_back(code.word(at));
    REQUIRE(ppc::verify_handler(words.data(), code.compiled(), place) == HandlerFlaw::none);
    const auto nowhere = 0U - (place.code + 4 * finish);
    words[finish] = encode::bl(nowhere);
    CHECK(ppc::verify_handler(words.data(), code.compiled(), place) == HandlerFlaw::branch);
    words[finish] = encode::b(nowhere);
    CHECK(ppc::verify_handler(words.data(), code.compiled(), place) == HandlerFlaw::branch);
}

} // namespace untrap::tests::ppc440
