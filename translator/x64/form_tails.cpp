// SPDX-License-Identifier: GPL-2.0-only
// The ways from side exits of a loop back into it: the other side of an if, the rest of an outer loop.
#include "translator/x64/block.h"
#include "translator/x64/effects.h"
#include "translator/x64/layout.h"

namespace untrap::x64 {

using isa::Instruction;
using isa::Op;

namespace {

// Longer ones are rather what comes behind the loop.
constexpr unsigned max_tail = 40;

// Where the branch goes that leaves the path. The end of counting is rarely met.
bool side_target(const BlockSource& source, unsigned branch, std::uint32_t& target) {
    const Instruction insn = source.code[branch];
    if (insn.op != Op::bc || insn.lk() || (insn.bo() & 0x14) != 4) return false;
    const std::uint32_t pc = source.pc[branch];
    const auto displacement = static_cast<std::uint32_t>(insn.bd());
    target = source.next[branch] == Next::taken ? pc + 4 : insn.aa() ? displacement : pc + displacement;
    return ((target ^ pc) >> soft_tlb_page_shift) == 0;
}

// What the loop knows of CR fields and the carry at its head differs from what is known at the end of a tail. Where it
// has written again what it writes at all, both know the same.
unsigned joining_point(const BlockSource& source) {
    const auto effects = [&source](unsigned i) { return effects_of(source.code[i], source.mode); };
    std::uint8_t fields = 0;
    bool carry = false;
    for (unsigned i = source.loops_to; i < source.length; ++i) {
        if (effects(i).opaque) return BlockSource::no_loop;
        fields |= effects(i).cr_written;
        carry |= effects(i).carry_written;
    }
    unsigned at = source.loops_to;
    for (; fields != 0 || carry; ++at) {
        fields &= static_cast<std::uint8_t>(~effects(at).cr_written);
        carry &= !effects(at).carry_written;
    }
    return at < source.length ? at : BlockSource::no_loop;
}

// The way from pc to the head of the loop, from instruction source.total to end; false: there is none.
bool follow(BlockSource& source, std::uint32_t pc, const FetchInstruction& fetch, const ChooseWay& choose,
            unsigned& end) {
    const unsigned first = source.total;
    for (end = first; pc != source.pc[source.loops_to]; ++end) {
        if (end >= max_block_instructions || end - first >= max_tail) return false;
        if (((pc ^ source.ea) >> soft_tlb_page_shift) != 0) return false;
        for (unsigned k = first; k < end; ++k)
            if (source.pc[k] == pc) return false;
        fetch(pc, source.code[end], source.patches[end]);
        source.pc[end] = pc;
        source.next[end] = Next::sequential;
        const Instruction insn = source.code[end];
        if (!ends_block(insn, source.patches[end], source.mode))
            pc += 4;
        else if (!insn.has(isa::flag::branch) || insn.privileged() || insn.op == Op::sc ||
                 !follow_branch(insn, pc, choose, source.next[end], pc))
            return false;
    }
    return true;
}

} // namespace

void add_tails(BlockSource& source, const FetchInstruction& fetch, const ChooseWay& choose) {
    source.tails_join = joining_point(source);
    if (source.tails_join == BlockSource::no_loop) return;
    // Those of the loop first, and of the tails that this makes then.
    for (unsigned branch = source.loops_to; branch < source.total && source.tail_count < max_tails; ++branch) {
        std::uint32_t target = 0;
        if (!source.code[branch].has(isa::flag::branch) || !side_target(source, branch, target)) continue;
        const unsigned first = source.total, again = source.tails_join - source.loops_to;
        unsigned end = 0;
        if (!follow(source, target, fetch, choose, end)) continue;
        if (end + again > max_block_instructions || end + again == first) continue;
        for (unsigned k = source.loops_to; k < source.tails_join; ++k, ++end) {
            source.code[end] = source.code[k];
            source.patches[end] = source.patches[k];
            source.pc[end] = source.pc[k];
            source.next[end] = source.next[k];
        }
        source.tails[source.tail_count++] = {branch, first, end - first};
        source.total = end;
    }
}

} // namespace untrap::x64
