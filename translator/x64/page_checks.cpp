// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/page_checks.h"

#include <algorithm>

#include "translator/x64/effects.h"

namespace untrap::x64 {

using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;

namespace {

// Wider groups would often not be in one page.
constexpr std::int32_t max_span = 512;

// A register as an offset from a value that has no other name.
struct Symbol {
    unsigned root;
    std::int32_t offset;
};

std::int32_t plus(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

class Registers {
  public:
    Registers() { forget_all(); }
    const Symbol& operator[](unsigned gpr) const { return symbols_[gpr]; }
    void forget_all() {
        for (Symbol& symbol : symbols_) symbol = {next_++, 0};
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
            result = {symbols_[insn.ra()].root, plus(symbols_[insn.ra()].offset, insn.si())};
        } else if (insn.op == Op::or_ && insn.rs() == insn.rb()) {
            target = insn.ra();
            result = symbols_[insn.rs()];
        } else if (insn.has(flag::update) && insn.info().form == isa::Form::d_mem) {
            target = insn.ra();
            result = {symbols_[insn.ra()].root, plus(symbols_[insn.ra()].offset, insn.si())};
        }
        for (unsigned gpr = 0; gpr < 32; ++gpr)
            if ((effects.gpr_written >> gpr & 1) != 0) symbols_[gpr] = {next_++, 0};
        if (target != 32) symbols_[target] = result;
    }

  private:
    std::array<Symbol, 32> symbols_;
    unsigned next_ = 0;
};

struct Group {
    unsigned root = 0;
    unsigned leader = 0, last = 0;
    std::int32_t offset = 0; // of the leader
    std::int32_t low = 0, high = 0;
    unsigned members = 0;
    bool loads = false, stores = false;
};

// An update form that is valid, and every other one.
bool is_candidate(Instruction insn) {
    if (access_bytes(insn.op) == 0 || insn.info().form != isa::Form::d_mem || insn.ra() == 0) return false;
    return !insn.has(flag::update) || !insn.has(flag::load) || insn.ra() != insn.rt();
}

} // namespace

void share_page_checks(const BlockSource& source, std::array<PageCheck, max_block_instructions>& checks) {
    std::array<Group, max_block_instructions> groups;
    std::array<unsigned, max_block_instructions> group_of;
    unsigned group_count = 0, first_open = 0;
    Registers registers;
    for (unsigned i = 0; i < source.length; ++i) {
        checks[i] = {};
        const Instruction insn = source.code[i];
        const Effects effects = effects_of(insn, source.mode);
        // Nothing is known at the head of a loop, and nothing after code that may change the mapping.
        if (i == source.loops_to) registers.forget_all();
        if (i == source.loops_to || effects.opaque) first_open = group_count;
        group_of[i] = max_block_instructions;
        if (is_candidate(insn)) {
            const Symbol base = registers[insn.ra()];
            const std::int32_t offset = plus(base.offset, insn.si());
            const std::int32_t bytes = static_cast<std::int32_t>(access_bytes(insn.op));
            unsigned g = group_count;
            for (unsigned k = first_open; k < group_count; ++k) {
                const std::int64_t low = std::min<std::int64_t>(groups[k].low, offset);
                const std::int64_t high = std::max<std::int64_t>(groups[k].high, std::int64_t{offset} + bytes - 1);
                if (groups[k].root == base.root && high - low < max_span) g = k;
            }
            if (g == group_count) {
                groups[group_count++] = {
                    .root = base.root, .leader = i, .offset = offset, .low = offset, .high = offset};
            }
            Group& group = groups[g];
            group.low = std::min(group.low, offset);
            group.high = std::max(group.high, plus(offset, bytes - 1));
            group.last = i;
            ++group.members;
            (insn.has(flag::store) ? group.stores : group.loads) = true;
            group_of[i] = g;
            checks[i].distance = plus(offset, -group.offset);
        }
        registers.execute(insn, effects);
    }
    std::array<unsigned, page_check_slots> used_until{};
    for (unsigned g = 0; g < group_count; ++g) {
        const Group& group = groups[g];
        if (group.members < 2) continue;
        unsigned slot = 0;
        while (slot < page_check_slots && used_until[slot] > group.leader) ++slot;
        if (slot == page_check_slots) continue;
        used_until[slot] = group.last + 1;
        for (unsigned i = group.leader; i <= group.last; ++i) {
            if (group_of[i] != g) continue;
            checks[i].role = i == group.leader ? PageCheck::Role::leads : PageCheck::Role::follows;
            checks[i].slot = static_cast<std::uint8_t>(slot);
        }
        PageCheck& leader = checks[group.leader];
        leader.low = plus(group.low, -group.offset);
        leader.high = plus(group.high, -group.offset);
        leader.loads = group.loads;
        leader.stores = group.stores;
    }
}

} // namespace untrap::x64
