// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/block.h"
#include "translator/x64/layout.h"

namespace untrap::x64 {

using isa::Instruction;
using isa::Op;

namespace {

constexpr std::uint32_t page_mask = ~((1U << soft_tlb_page_shift) - 1);

} // namespace

bool follow_branch(Instruction insn, std::uint32_t pc, const ChooseWay& choose, Next& next, std::uint32_t& to) {
    const auto in_page = [pc](std::uint32_t target) { return ((target ^ pc) & page_mask) == 0; };
    const bool always = insn.op == Op::b || (insn.bo() & 0x14) == 0x14;
    if (insn.op == Op::b || insn.op == Op::bc) {
        const auto displacement = static_cast<std::uint32_t>(insn.op == Op::b ? insn.li() : insn.bd());
        const std::uint32_t target = insn.aa() ? displacement : pc + displacement;
        if (always) {
            // A call ends the path, but for the one to the next instruction, by which code learns where it is.
            if (insn.lk() && target != pc + 4) return false;
            next = Next::taken;
            to = target;
            return in_page(target);
        }
        const bool counts = (insn.bo() & 4) == 0, on_condition = (insn.bo() & 0x10) == 0;
        if (insn.lk() || (counts && on_condition)) return false;
        // Backward branches are loops.
        next = target <= pc && in_page(target) ? Next::taken : Next::sequential;
        if (choose && in_page(target)) next = choose(pc, target, next);
        to = next == Next::taken ? target : pc + 4;
        return true;
    }
    if (insn.op != Op::bclr || always || insn.lk() || (insn.bo() & 4) == 0) return false;
    next = Next::sequential;
    to = pc + 4;
    return true;
}

namespace {

// Once through the loop before it: what a pass leaves in registers the next one finds there.
void repeat_loop(BlockSource& source) {
    const unsigned head = source.loops_to, body = source.length - head;
    if (source.length + body > max_block_instructions) return;
    for (unsigned i = 0; i < body; ++i) {
        source.code[source.length + i] = source.code[head + i];
        source.patches[source.length + i] = source.patches[head + i];
        source.pc[source.length + i] = source.pc[head + i];
        source.next[source.length + i] = source.next[head + i];
    }
    source.loops_to = source.length;
    source.length += body;
    source.total = source.length;
}

} // namespace

void form_block(BlockSource& source, Optimisations optimisations, const FetchInstruction& fetch,
                const ChooseWay& choose) {
    const bool paths = optimisations.has(Optimisation::paths);
    std::uint32_t pc = source.ea;
    source.length = 0;
    source.tail_count = 0;
    source.ended = false;
    source.loops_to = BlockSource::no_loop;
    const auto place = [&source](std::uint32_t address) {
        unsigned i = 0;
        while (i < source.length && source.pc[i] != address) ++i;
        return i;
    };
    while (source.length < max_path_instructions && ((pc ^ source.ea) & page_mask) == 0) {
        if (const unsigned head = place(pc); head != source.length) {
            source.loops_to = head;
            break;
        }
        const unsigned i = source.length++;
        fetch(pc, source.code[i], source.patches[i]);
        source.pc[i] = pc;
        source.next[i] = Next::sequential;
        const Instruction insn = source.code[i];
        if (!ends_block(insn, source.patches[i], source.mode)) {
            pc += 4;
        } else if (!paths || !insn.has(isa::flag::branch) || insn.privileged() || insn.op == Op::sc ||
                   !follow_branch(insn, pc, choose, source.next[i], pc)) {
            source.next[i] = Next::sequential;
            source.ended = true;
            pc += 4;
            break;
        } else if ((source.mode & mode::apart) != 0 && pc <= source.pc[i]) {
            break; // the next pass finds another page, maybe
        }
    }
    source.goes_on = pc;
    source.total = source.length;
    if (!optimisations.has(Optimisation::loops)) source.loops_to = BlockSource::no_loop;
    if (source.loops_to == BlockSource::no_loop) return;
    repeat_loop(source);
    if (optimisations.has(Optimisation::tails)) add_tails(source, fetch, choose);
}

void cut_path(BlockSource& source) {
    for (unsigned i = 0; i < source.length; ++i) {
        if (!ends_block(source.code[i], source.patches[i], source.mode)) continue;
        source.length = source.total = i + 1;
        source.tail_count = 0;
        source.next[i] = Next::sequential;
        source.goes_on = source.pc[i] + 4;
        source.ended = true;
        source.loops_to = BlockSource::no_loop;
        return;
    }
}

} // namespace untrap::x64
