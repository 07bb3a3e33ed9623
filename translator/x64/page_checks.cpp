// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/page_checks.h"

#include <algorithm>

#include "translator/x64/effects.h"
#include "translator/x64/known_values.h"

namespace untrap::x64 {

using isa::Form;
using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;

namespace {

// Wider groups would often not be in one page.
constexpr std::int32_t max_span = 512;
// A pointer that moves on by more in each pass of a loop leaves its page too soon.
constexpr std::int32_t max_step = 64;

std::int32_t plus(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}
std::int32_t minus(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b));
}

bool in_one_page(std::int64_t low, std::int64_t high) {
    return ((static_cast<std::uint32_t>(low) ^ static_cast<std::uint32_t>(high)) >> soft_tlb_page_shift) == 0;
}

struct Group {
    unsigned root = 0;
    unsigned leader = 0, last = 0;
    std::int32_t offset = 0; // of the leader
    std::int32_t low = 0, high = 0;
    unsigned members = 0;
    bool loads = false, stores = false;
};

class Planner {
  public:
    Planner(const BlockSource& source, PageCheckRules rules, PerInstruction<PageCheck>& checks)
        : source_(source), rules_(rules), checks_(checks) {}
    void plan();

  private:
    unsigned bytes_of(Instruction insn) const;
    // An update form that is valid, and every other one.
    static bool valid(Instruction insn);
    std::uint32_t wild_registers(unsigned first) const;
    void choose_loop_windows();
    std::uint8_t window_of(unsigned index, KnownValues& values) const;
    void join_group(unsigned index, const Symbol& address, unsigned first_open);
    void assign_slots();

    const BlockSource& source_;
    const PageCheckRules rules_;
    PerInstruction<PageCheck>& checks_;
    // What a loop accesses by registers that it leaves alone or moves on in small steps, and what they are made into.
    struct Stream {
        std::uint32_t from = 0;
        bool loads = false, stores = false;
        std::uint8_t window = no_page_window;
    };
    std::array<Stream, 8> streams_;
    unsigned stream_count_ = 0;
    std::uint32_t wild_in_loop_ = ~0U, wild_in_block_ = ~0U; // registers that change otherwise
    PerInstruction<Group> groups_;
    PerInstruction<unsigned> group_of_;
    unsigned group_count_ = 0;
};

unsigned Planner::bytes_of(Instruction insn) const {
    if (const unsigned bytes = access_bytes(insn.op); bytes != 0) return bytes;
    if (insn.op == Op::stmw || (insn.op == Op::lmw && insn.ra() < insn.rt())) return 4 * (32 - insn.rt());
    return rules_.fp && (source_.mode & mode::fp) != 0 ? fp_access_bytes(insn.op) : 0;
}

bool Planner::valid(Instruction insn) {
    if (!insn.has(flag::update)) return true;
    return insn.ra() != 0 && (!insn.has(flag::load) || insn.has(flag::fp) || insn.ra() != insn.rt());
}

// KnownValues that instructions from first on write with anything else than a small step.
std::uint32_t Planner::wild_registers(unsigned first) const {
    std::uint32_t wild = 0;
    for (unsigned i = first; i < source_.length; ++i) {
        const Instruction insn = source_.code[i];
        const Effects effects = effects_of(insn, source_.mode);
        if (effects.opaque) return ~0U;
        std::uint32_t written = effects.gpr_written;
        const bool small = insn.si() >= -max_step && insn.si() <= max_step;
        if (insn.op == Op::addi && insn.ra() == insn.rt() && small) written &= ~(1U << insn.rt());
        if (insn.has(flag::update) && has_displacement(insn) && small) written &= ~(1U << insn.ra());
        wild |= written;
    }
    return wild;
}

void Planner::choose_loop_windows() {
    if (!rules_.windows || source_.loops_to == BlockSource::no_loop) return;
    wild_in_loop_ = wild_registers(source_.loops_to);
    wild_in_block_ = wild_registers(0);
    KnownValues values;
    for (unsigned i = source_.loops_to; i < source_.length; ++i) {
        const Instruction insn = source_.code[i];
        if (bytes_of(insn) != 0 && insn.ra() != 0) {
            const Symbol address = values.address(insn);
            if (!address.stack && address.from != 0 && (address.from & wild_in_loop_) == 0) {
                unsigned s = 0;
                while (s < stream_count_ && streams_[s].from != address.from) ++s;
                if (s == streams_.size()) break;
                if (s == stream_count_) streams_[stream_count_++] = {.from = address.from};
                (insn.has(flag::store) ? streams_[s].stores : streams_[s].loads) = true;
            }
        }
        values.execute(insn, effects_of(insn, source_.mode), source_.pc[i]);
    }
    unsigned next = source_.pc[source_.loops_to] >> 2;
    for (unsigned s = 0; s < stream_count_; ++s, ++next) {
        Stream& stream = streams_[s];
        unsigned window = first_common_window + next % common_windows;
        if (!stream.stores)
            window = first_load_window + next % load_windows;
        else if (!stream.loads)
            window = first_store_window + next % store_windows;
        stream.window = static_cast<std::uint8_t>(window);
    }
}

std::uint8_t Planner::window_of(unsigned index, KnownValues& values) const {
    const Instruction insn = source_.code[index];
    if (!rules_.windows) return no_page_window;
    if (insn.ra() == 0) return no_page_window;
    const Symbol address = values.address(insn);
    if (address.stack) return stack_window;
    // A loop that does not come round does not pay for finding its pages, unless they are those of a loop around it.
    const std::uint32_t wild = index < source_.loops_to ? wild_in_block_ : wild_in_loop_;
    if (address.from == 0 || (address.from & wild) != 0) return no_page_window;
    for (unsigned s = 0; s < stream_count_; ++s)
        if (streams_[s].from == address.from) return streams_[s].window;
    return no_page_window;
}

void Planner::join_group(unsigned index, const Symbol& address, unsigned first_open) {
    const Instruction insn = source_.code[index];
    const std::int32_t offset = address.offset;
    const auto bytes = static_cast<std::int32_t>(bytes_of(insn));
    unsigned g = group_count_;
    for (unsigned k = first_open; k < group_count_; ++k) {
        const std::int64_t low = std::min<std::int64_t>(groups_[k].low, offset);
        const std::int64_t high = std::max<std::int64_t>(groups_[k].high, std::int64_t{offset} + bytes - 1);
        if (groups_[k].root != address.root || high - low >= max_span) continue;
        if (address.constant() && !in_one_page(low, high)) continue;
        g = k;
    }
    if (g == group_count_)
        groups_[group_count_++] = {
            .root = address.root, .leader = index, .offset = offset, .low = offset, .high = offset};
    Group& group = groups_[g];
    group.low = std::min(group.low, offset);
    group.high = std::max(group.high, plus(offset, bytes - 1));
    group.last = index;
    ++group.members;
    (insn.has(flag::store) ? group.stores : group.loads) = true;
    group_of_[index] = g;
    checks_[index].distance = minus(offset, group.offset);
}

void Planner::assign_slots() {
    std::array<unsigned, page_check_slots> used_until{};
    for (unsigned g = 0; g < group_count_; ++g) {
        const Group& group = groups_[g];
        if (group.members < 2) continue;
        unsigned slot = 0;
        while (slot < page_check_slots && used_until[slot] > group.leader) ++slot;
        if (slot == page_check_slots) continue;
        used_until[slot] = group.last + 1;
        PageCheck& leader = checks_[group.leader];
        leader.low = minus(group.low, group.offset);
        leader.high = minus(group.high, group.offset);
        leader.loads = group.loads;
        leader.stores = group.stores;
        for (unsigned i = group.leader; i <= group.last; ++i) {
            if (group_of_[i] != g) continue;
            checks_[i].role = i == group.leader ? PageCheck::Role::leads : PageCheck::Role::follows;
            checks_[i].slot = static_cast<std::uint8_t>(slot);
            checks_[i].distance = minus(checks_[i].distance, leader.low);
        }
    }
}

void Planner::plan() {
    choose_loop_windows();
    KnownValues values;
    unsigned first_open = 0;
    for (unsigned i = 0; i < source_.length; ++i) {
        PageCheck& check = checks_[i] = {};
        const Instruction insn = source_.code[i];
        const Effects effects = effects_of(insn, source_.mode);
        // Nothing is known at the head of a loop or where tails join it, and nothing after code that may change the
        // mapping.
        const bool entered = i == source_.loops_to || source_.is_joined(i);
        if (entered) values.forget_all();
        if (entered || effects.opaque) first_open = group_count_;
        group_of_[i] = max_block_instructions;
        if (const unsigned bytes = bytes_of(insn); bytes != 0 && valid(insn)) {
            check.loads = insn.has(flag::load);
            check.stores = !check.loads;
            check.high = static_cast<std::int32_t>(bytes) - 1;
            check.window = window_of(i, values);
            if (rules_.known && insn.ra() != 0 && (has_displacement(insn) || !insn.has(flag::update))) {
                const Symbol address = values.address(insn);
                check.known =
                    address.constant() && in_one_page(address.offset, std::int64_t{address.offset} + check.high);
                check.ea = static_cast<std::uint32_t>(address.offset);
            }
            if (rules_.share && insn.ra() != 0 && (has_displacement(insn) || !insn.has(flag::update)))
                join_group(i, values.address(insn), first_open);
        }
        values.execute(insn, effects, source_.pc[i]);
    }
    for (unsigned i = source_.length; i < source_.total; ++i) checks_[i] = {};
    assign_slots();
    // What a window lets through without a look must be allowed there.
    for (unsigned i = 0; i < source_.length; ++i) {
        PageCheck& check = checks_[i];
        if (check.window == no_page_window) continue;
        if ((check.loads && !window_loads(check.window)) || (check.stores && !window_stores(check.window)))
            check.window = no_page_window;
    }
}

} // namespace

void plan_page_checks(const BlockSource& source, PageCheckRules rules, PerInstruction<PageCheck>& checks) {
    if (!rules.share && !rules.windows && !rules.known) {
        checks.reset();
        return;
    }
    Planner(source, rules, checks).plan();
}

} // namespace untrap::x64
