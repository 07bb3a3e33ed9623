// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/handler_flow.h"

#include "translator/isa/spr.h"
#include "translator/isa/state.h"
#include "translator/ppc/handler_code.h"
#include "translator/ppc/liveness.h"

namespace untrap::ppc {

using isa::Form;
using isa::Instruction;
using isa::Op;
namespace spr = isa::spr;
using namespace handler_code;

namespace {

// The guest's CR fields that an instruction names. The moves of all of CR are done field by field.
std::uint8_t fields_of(Instruction insn, HandlerStep step) {
    if (step == HandlerStep::branch) return static_cast<std::uint8_t>(1U << (insn.bi() >> 2));
    if (step != HandlerStep::plain) return 0;
    const Operands found = operands(insn);
    return static_cast<std::uint8_t>(found.reads.cr | found.writes.cr);
}

} // namespace

HandlerStep step_of(Instruction insn, unsigned written) {
    switch (insn.op) {
    case Op::isync:
        return written == 0 ? HandlerStep::plain : HandlerStep::leave; // from here on the guest relies on them
    case Op::b: return insn.aa() || insn.lk() ? HandlerStep::leave : HandlerStep::jump;
    case Op::bc:
        if (insn.aa() || insn.lk() || (insn.bo() & 4) == 0) return HandlerStep::leave; // CTR stays out of it
        return (insn.bo() & 0x10) != 0 ? HandlerStep::jump : HandlerStep::branch;
    case Op::mfcr: return HandlerStep::mfcr;
    case Op::mtcrf: return HandlerStep::mtcrf;
    case Op::mfmsr: return HandlerStep::mfmsr;
    case Op::mfspr: return readable(insn.spr()) ? HandlerStep::mfspr : HandlerStep::leave;
    case Op::mtspr:
        return writable(insn.spr()) && (insn.spr() != spr::mmucr || written == 0) ? HandlerStep::mtspr
                                                                                  : HandlerStep::leave;
    case Op::tlbwe: return insn.ws() < 3 ? HandlerStep::tlbwe : HandlerStep::leave;
    case Op::rfi: return HandlerStep::rfi;
    case Op::tlbsync: return HandlerStep::drop;
    default: break;
    }
    if (access_of(insn.op).indexed != 0) return access_of(insn.op).store ? HandlerStep::store : HandlerStep::load;
    return is_plain(insn) ? HandlerStep::plain : HandlerStep::leave;
}

std::uint32_t written_gprs(Instruction insn, HandlerStep step) {
    switch (step) {
    case HandlerStep::load:
    case HandlerStep::mfcr:
    case HandlerStep::mfmsr:
    case HandlerStep::mfspr: return 1U << insn.rt();
    case HandlerStep::plain: return operands(insn).writes.gpr;
    default: return 0;
    }
}

bool HandlerFlow::survey() {
    std::uint8_t named = 0;
    bool returns = false;
    for (auto& points : work_.index)
        for (std::uint8_t& point : points) point = HandlerWork::unreached;
    work_.index[0][0] = HandlerWork::no_number;
    work_.dirty[0][0] = false;
    for (unsigned mask = 0; mask < HandlerWork::mask_count; ++mask) {
        for (unsigned word = 0; word < count_; ++word) {
            if (!reached(mask, word)) continue;
            if (++guest_ > handler_max_guest) return false;
            if (reach_ <= word) reach_ = word + 1;
            const Instruction insn = at(word);
            const HandlerStep step = step_of(insn, mask);
            const bool pair = is_pair(word);
            if (pair) reach_ = reach_ < word + 2 ? word + 2 : reach_;
            if (pair && ++guest_ > handler_max_guest) return false;
            named = static_cast<std::uint8_t>(named | fields_of(insn, step));
            returns = returns || step == HandlerStep::rfi;
            other_context_ =
                other_context_ || (step == HandlerStep::mtspr && (insn.spr() == spr::pid || insn.spr() == spr::srr1));
            std::uint8_t index = work_.index[mask][word];
            if (step == HandlerStep::tlbwe)
                index = static_cast<std::uint8_t>(insn.ra());
            else if (index != HandlerWork::no_number && (gprs_written_at(word) >> index & 1) != 0)
                index = HandlerWork::no_number;
            const bool dirty = dirty_after(insn, step, mask, word);
            if (step == HandlerStep::branch || step == HandlerStep::jump)
                flow(word, target(word, insn), mask, index, dirty);
            if (goes_on(step)) flow(word, word + (pair ? 2 : 1), mask_after(insn, step, mask), index, dirty);
        }
    }
    for (unsigned field = 0; field < 8; ++field)
        if ((named >> field & 1) == 0) field_ = field;
    return returns && field_ < 8;
}

void HandlerFlow::flow(unsigned from, unsigned to, unsigned mask, std::uint8_t index, bool dirty) {
    if (!inside(from, to)) return;
    std::uint8_t& known = work_.index[mask][to];
    work_.dirty[mask][to] = dirty || (known != HandlerWork::unreached && work_.dirty[mask][to]);
    known = known == HandlerWork::unreached || known == index ? index : HandlerWork::no_number;
}

// Checks of addresses and of entries' numbers use the free CR field. The whole of CR written at once makes it the
// guest's again.
bool HandlerFlow::dirty_after(Instruction insn, HandlerStep step, unsigned mask, unsigned word) const {
    if (step == HandlerStep::mtcrf) return insn.fxm() != 0xFF;
    return work_.dirty[mask][word] || step == HandlerStep::load || step == HandlerStep::store ||
           (step == HandlerStep::tlbwe && compares_numbers(insn, mask, word));
}

bool HandlerFlow::is_pair(unsigned word) const {
    if (word + 1 >= count_) return false;
    const Instruction first = at(word), second = at(word + 1);
    return first.op == Op::lwz && second.op == Op::lwz && first.ra() != 0 && first.ra() == second.ra() &&
           second.si() == first.si() + 4 && first.rt() != first.ra() && !in_record(first.rt()) &&
           !in_record(second.rt());
}

// By the instruction there, and the other of a pair.
std::uint32_t HandlerFlow::gprs_written_at(unsigned word) const {
    const Instruction insn = at(word);
    const std::uint32_t written = written_gprs(insn, step_of(insn, 0));
    return is_pair(word) ? written | 1U << at(word + 1).rt() : written;
}

bool HandlerFlow::reached(unsigned word) const {
    for (unsigned mask = 0; mask < HandlerWork::mask_count; ++mask)
        if (reached(mask, word)) return true;
    return false;
}

bool HandlerFlow::constant_address(unsigned word, std::uint32_t& ea) const {
    const Instruction insn = at(word);
    if (insn.info().form == Form::x_mem || insn.ra() == 0) return false;
    unsigned from = word;
    for (;;) {
        if (from-- == 0) return false;
        if (reached(from) && (gprs_written_at(from) >> insn.ra() & 1) != 0) break;
    }
    const Instruction lis = at(from);
    if (lis.op != Op::addis || lis.ra() != 0 || lis.rt() != insn.ra()) return false;
    for (unsigned before = 0; before < from; ++before) {
        const Instruction branch = at(before);
        if (!reached(before) || (branch.op != Op::b && branch.op != Op::bc)) continue;
        if (const unsigned to = target(before, branch); to > from && to <= word) return false;
    }
    ea = (static_cast<std::uint32_t>(lis.si()) << 16) + static_cast<std::uint32_t>(insn.si());
    return true;
}

// -- what a register may be ----------------------------------------------------------------------------------------

bool HandlerFlow::leads(unsigned from, unsigned to) const {
    if (!reached(from)) return false;
    const Instruction insn = at(from);
    const HandlerStep step = step_of(insn, 0);
    if ((step == HandlerStep::branch || step == HandlerStep::jump) && target(from, insn) == to) return true;
    return goes_on(step) && from + (is_pair(from) ? 2 : 1) == to;
}

std::uint32_t HandlerFlow::possible(unsigned gpr, unsigned word) const {
    unsigned questions = possible_questions;
    return possible(gpr, word, possible_depth, questions);
}

std::uint32_t HandlerFlow::possible(unsigned gpr, unsigned word, unsigned depth, unsigned& questions) const {
    if (depth == 0) return ~0U;
    for (;;) {
        if (word == 0 || questions == 0) return ~0U;
        --questions;
        unsigned ways = 0, only = 0;
        for (unsigned from = 0; from < word; ++from) {
            if (!leads(from, word)) continue;
            ++ways;
            only = from;
        }
        if (ways != 1 || (gprs_written_at(only) >> gpr & 1) != 0) break;
        word = only;
    }
    std::uint32_t bits = 0;
    for (unsigned from = 0; from < word; ++from)
        if (leads(from, word)) bits |= possible_after(gpr, from, depth - 1, questions);
    return bits;
}

std::uint32_t HandlerFlow::possible_after(unsigned gpr, unsigned word, unsigned depth, unsigned& questions) const {
    if ((gprs_written_at(word) >> gpr & 1) == 0) return possible(gpr, word, depth, questions);
    const Instruction insn = at(word);
    const auto of = [&](unsigned number) { return possible(number, word, depth, questions); };
    switch (insn.op) {
    case Op::mfspr: return insn.spr() == spr::mmucr ? isa::mmucr::writable : insn.spr() == spr::pid ? 0xFFU : ~0U;
    case Op::addi: return insn.ra() == 0 ? static_cast<std::uint32_t>(insn.si()) : ~0U;
    case Op::addis: return insn.ra() == 0 ? static_cast<std::uint32_t>(insn.si()) << 16 : ~0U;
    case Op::andi_rc: return of(insn.rs()) & insn.ui();
    case Op::rlwinm: return rotated(of(insn.rs()), insn.sh()) & isa::rotate_mask(insn.mb(), insn.me());
    case Op::rlwimi: {
        const std::uint32_t mask = isa::rotate_mask(insn.mb(), insn.me());
        return (rotated(of(insn.rs()), insn.sh()) & mask) | (of(insn.ra()) & ~mask);
    }
    default: return ~0U;
    }
}

} // namespace untrap::ppc
