// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/page_checks.h"

#include <algorithm>

#include "translator/x64/effects.h"

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
constexpr unsigned stack_pointer = 1;

// A register as an offset from a value that has no other name.
struct Symbol {
    unsigned root = 0;
    std::int32_t offset = 0;
    bool stack = false;     // points into the stack, as far as one can tell
    std::uint32_t from = 0; // bit n: made of the value of rn; 0: of other things too
};

std::int32_t plus(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

bool has_displacement(Instruction insn) { return insn.info().form == Form::d_mem || insn.info().form == Form::d_fmem; }

// What registers hold as far as sums, shifts and copies tell: equal roots are equal values.
class Registers {
  public:
    Registers() { forget_all(); }
    const Symbol& operator[](unsigned gpr) const { return symbols_[gpr]; }
    void forget_all() {
        for (unsigned gpr = 0; gpr < 32; ++gpr) symbols_[gpr] = {next_++, 0, false, 1U << gpr};
        symbols_[stack_pointer].stack = true;
        made_count_ = 0;
    }
    // The effective address but for an access with an offset register.
    Symbol address(Instruction insn) {
        if (has_displacement(insn)) return moved(insn.ra(), insn.si());
        return sum(symbols_[insn.ra()], symbols_[insn.rb()]);
    }
    void execute(Instruction insn, const Effects& effects) {
        if (effects.opaque) {
            forget_all();
            return;
        }
        Symbol result{};
        unsigned target = 32;
        if (insn.op == Op::addi && insn.ra() != 0) {
            target = insn.rt();
            result = moved(insn.ra(), insn.si());
        } else if (insn.op == Op::or_ && insn.rs() == insn.rb()) {
            target = insn.ra();
            result = symbols_[insn.rs()];
        } else if (insn.has(flag::update) && has_displacement(insn)) {
            target = insn.ra();
            result = moved(insn.ra(), insn.si());
        } else if (insn.op == Op::add) {
            target = insn.rt();
            result = sum(symbols_[insn.ra()], symbols_[insn.rb()]);
        } else if (insn.op == Op::rlwinm && insn.sh() != 0 && insn.mb() == 0 && insn.me() == 31 - insn.sh()) {
            target = insn.ra();
            const Symbol& from = symbols_[insn.rs()];
            result = {root_of(from.root, from.root, insn.sh()),
                      static_cast<std::int32_t>(static_cast<std::uint32_t>(from.offset) << insn.sh()), false,
                      from.from};
        }
        for (unsigned gpr = 0; gpr < 32; ++gpr)
            if ((effects.gpr_written >> gpr & 1) != 0) symbols_[gpr] = {next_++, 0, false, 0};
        if (target != 32) symbols_[target] = result;
        symbols_[stack_pointer].stack = true;
    }

  private:
    Symbol moved(unsigned gpr, std::int32_t by) const {
        const Symbol& from = symbols_[gpr];
        return {from.root, plus(from.offset, by), from.stack, from.from};
    }

    Symbol sum(const Symbol& a, const Symbol& b) {
        // What has one of both in the stack is an element of an array there.
        return {root_of(std::min(a.root, b.root), std::max(a.root, b.root), 0), plus(a.offset, b.offset),
                a.stack || b.stack, a.from != 0 && b.from != 0 ? a.from | b.from : 0};
    }
    // The root of the sum of two, or of one shifted to the left.
    unsigned root_of(unsigned a, unsigned b, unsigned shift) {
        for (unsigned i = 0; i < made_count_; ++i)
            if (made_[i].a == a && made_[i].b == b && made_[i].shift == shift) return made_[i].root;
        if (made_count_ < made_.size()) made_[made_count_++] = {a, b, shift, next_};
        return next_++;
    }

    std::array<Symbol, 32> symbols_;
    unsigned next_ = 0;
    struct Made {
        unsigned a, b, shift, root;
    };
    std::array<Made, 32> made_;
    unsigned made_count_ = 0;
};

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
    Planner(const BlockSource& source, PageCheckRules rules, std::array<PageCheck, max_block_instructions>& checks)
        : source_(source), rules_(rules), checks_(checks) {}
    void plan();

  private:
    unsigned bytes_of(Instruction insn) const;
    // An update form that is valid, and every other one.
    static bool valid(Instruction insn);
    std::uint32_t wild_registers(unsigned first) const;
    void choose_loop_windows();
    std::uint8_t window_of(unsigned index, Registers& registers) const;
    void join_group(unsigned index, const Symbol& address, unsigned first_open);
    void assign_slots();

    const BlockSource& source_;
    const PageCheckRules rules_;
    std::array<PageCheck, max_block_instructions>& checks_;
    // What a loop accesses by registers that it leaves alone or moves on in small steps, and what they are made into.
    struct Stream {
        std::uint32_t from = 0;
        bool loads = false, stores = false;
        std::uint8_t window = no_page_window;
    };
    std::array<Stream, 8> streams_;
    unsigned stream_count_ = 0;
    std::uint32_t wild_in_loop_ = ~0U, wild_in_block_ = ~0U; // registers that change otherwise
    std::array<Group, max_block_instructions> groups_;
    std::array<unsigned, max_block_instructions> group_of_;
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

// Registers that instructions from first on write with anything else than a small step.
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
    Registers registers;
    for (unsigned i = source_.loops_to; i < source_.length; ++i) {
        const Instruction insn = source_.code[i];
        if (bytes_of(insn) != 0 && insn.ra() != 0) {
            const Symbol address = registers.address(insn);
            if (!address.stack && address.from != 0 && (address.from & wild_in_loop_) == 0) {
                unsigned s = 0;
                while (s < stream_count_ && streams_[s].from != address.from) ++s;
                if (s == streams_.size()) break;
                if (s == stream_count_) streams_[stream_count_++] = {.from = address.from};
                (insn.has(flag::store) ? streams_[s].stores : streams_[s].loads) = true;
            }
        }
        registers.execute(insn, effects_of(insn, source_.mode));
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

std::uint8_t Planner::window_of(unsigned index, Registers& registers) const {
    const Instruction insn = source_.code[index];
    if (!rules_.windows) return no_page_window;
    if (insn.ra() == 0) return no_page_window;
    const Symbol address = registers.address(insn);
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
        if (groups_[k].root == address.root && high - low < max_span) g = k;
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
    checks_[index].distance = plus(offset, -group.offset);
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
        leader.low = plus(group.low, -group.offset);
        leader.high = plus(group.high, -group.offset);
        leader.loads = group.loads;
        leader.stores = group.stores;
        for (unsigned i = group.leader; i <= group.last; ++i) {
            if (group_of_[i] != g) continue;
            checks_[i].role = i == group.leader ? PageCheck::Role::leads : PageCheck::Role::follows;
            checks_[i].slot = static_cast<std::uint8_t>(slot);
            checks_[i].distance = plus(checks_[i].distance, -leader.low);
        }
    }
}

void Planner::plan() {
    choose_loop_windows();
    Registers registers;
    unsigned first_open = 0;
    for (unsigned i = 0; i < source_.length; ++i) {
        PageCheck& check = checks_[i] = {};
        const Instruction insn = source_.code[i];
        const Effects effects = effects_of(insn, source_.mode);
        // Nothing is known at the head of a loop, and nothing after code that may change the mapping.
        if (i == source_.loops_to) registers.forget_all();
        if (i == source_.loops_to || effects.opaque) first_open = group_count_;
        group_of_[i] = max_block_instructions;
        if (const unsigned bytes = bytes_of(insn); bytes != 0 && valid(insn)) {
            check.loads = insn.has(flag::load);
            check.stores = !check.loads;
            check.high = static_cast<std::int32_t>(bytes) - 1;
            check.window = window_of(i, registers);
            if (rules_.share && insn.ra() != 0 && (has_displacement(insn) || !insn.has(flag::update)))
                join_group(i, registers.address(insn), first_open);
        }
        registers.execute(insn, effects);
    }
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

void plan_page_checks(const BlockSource& source, PageCheckRules rules,
                      std::array<PageCheck, max_block_instructions>& checks) {
    if (!rules.share && !rules.windows) {
        checks.fill({});
        return;
    }
    Planner(source, rules, checks).plan();
}

} // namespace untrap::x64
