// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/handler_walk.h"

#include "translator/isa/spr.h"
#include "translator/isa/state.h"
#include "translator/ppc/handler_code.h"
#include "translator/ppc/liveness.h"

namespace untrap::ppc {

using isa::Form;
using isa::Instruction;
using isa::Op;
using isa::StatePage;
namespace flag = isa::flag;
namespace spr = isa::spr;
using namespace handler_code;

namespace {

constexpr std::uint32_t page_offset = 0xFFF, any_bits = ~0U;
// Bits of a CR field: LT, GT, EQ, SO.
constexpr std::uint32_t less = 8, summary = 1, field_bits = 15;

bool touches_xer(Instruction insn) {
    return insn.has(flag::ca_in | flag::ca_out) || insn.records_overflow() || insn.op == Op::mcrxr;
}

unsigned sprg_of(unsigned number) {
    if (number >= spr::sprg0 && number <= spr::sprg7) return number - spr::sprg0;
    if (number >= spr::sprg4_user && number <= spr::sprg7_user) return number - spr::sprg4_user + 4;
    return 8;
}

} // namespace

bool HandlerWalk::survey() {
    for (State& state : work_.walk_states) state.where = State::unused;
    State& first = work_.walk_state;
    first = {};
    for (unsigned gpr = 0; gpr < 32; ++gpr) first.gpr[gpr] = {Value::entry, static_cast<std::uint8_t>(gpr), 0};
    for (Value& field : first.cr) field = {Value::entry, whole_cr, 0};
    for (Value& sprg : first.sprg) sprg.kind = Value::unset;
    if (!add_input(offsetof(StatePage, mmucr)) || !flow(first, 0, 0)) return false;
    for (unsigned mask = 0; mask < HandlerWork::mask_count; ++mask) {
        for (unsigned word = 0; word < flow_.reach(); ++word) {
            State* const here = pending(mask, word);
            if (here == nullptr) continue;
            // Its place is free for what comes after it.
            State& state = work_.walk_state = *here;
            here->where = State::unused;
            if (!step(state, mask, word)) return false;
        }
    }
    if (!committed_ || !returned_) return false;
    for (unsigned number = 0; number < turn_count_; ++number)
        if (((always_ | may_be_skipped_) >> turn_sites_[number] & 1) == 0) return false;
    return true;
}

unsigned HandlerWalk::load_at(unsigned word) const {
    for (unsigned number = 0; number < load_count_; ++number)
        if (loads_[number].word == word) return number;
    return no_load;
}

HandlerWalk::State* HandlerWalk::pending(unsigned mask, unsigned word) {
    for (State& state : work_.walk_states)
        if (state.where == mask * handler_window + word) return &state;
    return nullptr;
}

// On to another instruction, which other ways may lead to as well.
bool HandlerWalk::flow(const State& state, unsigned mask, unsigned word) {
    if (State* const known = pending(mask, word)) {
        const auto join = [](Value& to, const Value& from) {
            const std::uint32_t offset = to.offset | from.offset;
            if (to.kind != from.kind || to.of != from.of) to.kind = Value::unknown;
            to.offset = offset;
        };
        for (unsigned gpr = 0; gpr < 32; ++gpr) join(known->gpr[gpr], state.gpr[gpr]);
        for (unsigned number = 0; number < 8; ++number) {
            join(known->cr[number], state.cr[number]);
            join(known->sprg[number], state.sprg[number]);
        }
        known->always &= state.always;
        known->stored = known->stored || state.stored;
        return true;
    }
    for (State& free : work_.walk_states) {
        if (free.where != State::unused) continue;
        free = state;
        free.where = static_cast<std::uint16_t>(mask * handler_window + word);
        return true;
    }
    return false;
}

bool HandlerWalk::add_input(unsigned field) {
    for (unsigned number = 0; number < input_count_; ++number)
        if (inputs_[number] == field) return true;
    if (input_count_ == walk_inputs) return false;
    inputs_[input_count_++] = static_cast<std::uint16_t>(field);
    return true;
}

bool HandlerWalk::add_turn(State& state, unsigned word) {
    for (unsigned number = 0; number < turn_count_; ++number)
        if (turns_[number] == word) return false; // in another place of the code already
    if (turn_count_ == max_turns || sites_ == max_sites) return false;
    turns_[turn_count_] = static_cast<std::uint16_t>(word);
    turn_sites_[turn_count_++] = static_cast<std::uint8_t>(sites_);
    if (skipped(word)) may_be_skipped_ |= 1U << sites_;
    state.always |= 1U << sites_++;
    return true;
}

bool HandlerWalk::add_load(State& state, unsigned word) {
    if (load_at(word) != no_load || load_count_ == walk_loads || sites_ == max_sites) return false;
    loads_[load_count_++] = {static_cast<std::uint16_t>(word), static_cast<std::uint8_t>(sites_)};
    state.always |= 1U << sites_++;
    return true;
}

// Whether the handler stores to this constant address.
bool HandlerWalk::counts(std::uint32_t ea) const {
    for (unsigned word = 0; word < flow_.reach(); ++word) {
        std::uint32_t stored = 0;
        const Access what = access_of(flow_.at(word).op);
        if (what.store && flow_.constant_address(word, stored) && stored == ea) return true;
    }
    return false;
}

bool HandlerWalk::step(State& state, unsigned mask, unsigned word) {
    const Instruction insn = flow_.at(word);
    const HandlerStep kind = step_of(insn, mask);
    mask_ = mask;
    if (skipped(word) && kind != HandlerStep::plain) return false;
    bool good = true;
    switch (kind) {
    case HandlerStep::leave: return true; // other ways lead to the end
    case HandlerStep::plain: good = take_plain(state, word, insn); break;
    case HandlerStep::load: good = take_load(state, word, insn); break;
    case HandlerStep::store: good = take_store(state, word, insn); break;
    case HandlerStep::branch: good = take_branch(state, mask, word, insn); break;
    case HandlerStep::mfcr: {
        Value all{Value::entry, whole_cr, 0};
        for (const Value& field : state.cr)
            if (field != all) all = {};
        state.gpr[insn.rt()] = all;
        break;
    }
    case HandlerStep::mtcrf:
        for (unsigned field = 0; field < 8; ++field) {
            if ((insn.fxm() & encode::field_mask(field)) == 0) continue;
            const Value& from = state.gpr[insn.rs()];
            state.cr[field] = from == Value{Value::entry, whole_cr, 0} ? from : Value{};
        }
        break;
    case HandlerStep::mfmsr: state.gpr[insn.rt()] = {}; break;
    case HandlerStep::mfspr: good = take_spr(state, insn); break;
    case HandlerStep::mtspr: good = set_spr(state, insn); break;
    case HandlerStep::tlbwe: good = take_tlbwe(state, mask, word, insn); break;
    case HandlerStep::jump:
        return flow_.inside(word, flow_.target(word, insn)) ? flow(state, mask, flow_.target(word, insn)) : true;
    case HandlerStep::rfi: return mask != handler_exit::words || take_return(state, word);
    case HandlerStep::drop: break;
    }
    if (!good) return false;
    const unsigned next = word + (flow_.is_pair(word) ? 2 : 1);
    return !flow_.inside(word, next) || flow(state, HandlerFlow::mask_after(insn, kind, mask), next);
}

bool HandlerWalk::take_plain(State& state, unsigned word, Instruction insn) {
    if (touches_xer(insn)) return false;
    const Operands found = operands(insn);
    Value result{Value::found, 0, 0};
    std::uint32_t offset = 0;
    bool turns = false, others = false;
    const auto read = [&](const Value& value) {
        offset |= value.offset;
        if (value.kind == Value::turn)
            turns = true;
        else if (value.kind != Value::found)
            result.kind = Value::unknown;
        else
            others = true;
    };
    for (unsigned gpr = 0; gpr < 32; ++gpr)
        if ((found.reads.gpr >> gpr & 1) != 0) read(state.gpr[gpr]);
    for (unsigned field = 0; field < 8; ++field)
        if ((found.reads.cr >> field & 1) != 0) read(state.cr[field]);
    if (turns || (skipped(word) && !others)) {
        // Its operands have to be there when only this is done.
        if (result.kind == Value::unknown || others || insn.info().form == Form::xl_cr || insn.op == Op::mcrf)
            return false;
        if (!add_turn(state, word)) return false;
        result = {Value::turn, 0, 0};
    } else if (skipped(word)) {
        return false;
    } else if ((insn.op == Op::or_ && insn.rs() == insn.rb() && !insn.rc()) || (insn.op == Op::ori && insn.ui() == 0)) {
        // mr, nop
        result = state.gpr[insn.rs()];
    } else if (result.kind == Value::found && offset != 0) {
        result.offset = any_bits;
        const std::uint32_t mask = isa::rotate_mask(insn.mb(), insn.me());
        if (insn.op == Op::rlwinm) result.offset = rotated(state.gpr[insn.rs()].offset, insn.sh()) & mask;
        if (insn.op == Op::rlwimi)
            result.offset =
                (rotated(state.gpr[insn.rs()].offset, insn.sh()) & mask) | (state.gpr[insn.ra()].offset & ~mask);
    }
    Value of_field = result;
    of_field.of = 0;
    if (of_field.kind == Value::entry) of_field.kind = Value::unknown;
    if (of_field.kind == Value::found) {
        of_field.offset = offset != 0 ? field_bits : summary; // XER[SO] is nowhere looked at
        // What is less than the beginning of a page is so wherever in its own page it is.
        const std::uint32_t other =
            insn.op == Op::cmpl && state.gpr[insn.ra()].offset == (state.gpr[insn.ra()].offset & page_offset) &&
                    state.gpr[insn.rb()].offset == 0
                ? flow_.possible(insn.rb(), word)
                : any_bits;
        if ((other & page_offset) == 0) of_field.offset &= ~less;
    }
    for (unsigned gpr = 0; gpr < 32; ++gpr)
        if ((found.writes.gpr >> gpr & 1) != 0) state.gpr[gpr] = result;
    for (unsigned field = 0; field < 8; ++field)
        if ((found.writes.cr >> field & 1) != 0) state.cr[field] = of_field;
    return true;
}

bool HandlerWalk::take_branch(State& state, unsigned mask, unsigned word, Instruction insn) {
    const Value& field = state.cr[insn.bi() >> 2];
    const unsigned to = HandlerFlow::target(word, insn);
    const bool inside = flow_.inside(word, to);
    if (field.kind == Value::turn) {
        if (!inside || !add_turn(state, word)) return false;
        skipped_in_ = mask;
        skipped_until_ = to;
    } else if (field.kind != Value::found || (field.offset >> (3 - (insn.bi() & 3)) & 1) != 0) {
        return false;
    }
    return !inside || flow(state, mask, to);
}

bool HandlerWalk::take_load(State& state, unsigned word, Instruction insn) {
    if (access_of(insn.op).indexed != isa::match_of(Op::lwzx) || in_record(insn.rt())) return false;
    std::uint32_t ea = 0;
    if (!flow_.is_pair(word) && flow_.constant_address(word, ea) && counts(ea)) {
        state.gpr[insn.rt()] = {Value::turn, 0, 0};
        return add_turn(state, word);
    }
    const auto known = [&](unsigned gpr) { return state.gpr[gpr].kind == Value::found && state.gpr[gpr].offset == 0; };
    const bool indexed = insn.info().form == Form::x_mem;
    // What was stored before might be read back.
    if (state.stored || (insn.ra() != 0 && !known(insn.ra())) || (indexed && !known(insn.rb()))) return false;
    state.gpr[insn.rt()] = {Value::found, 0, 0};
    if (!add_load(state, word)) return false;
    if (!flow_.is_pair(word)) return true;
    state.gpr[flow_.at(word + 1).rt()] = {Value::found, 0, 0};
    return add_load(state, word + 1);
}

bool HandlerWalk::take_store(State& state, unsigned word, Instruction insn) {
    std::uint32_t ea = 0;
    if (insn.op != Op::stw || !flow_.constant_address(word, ea) || state.gpr[insn.rs()].kind != Value::turn)
        return false;
    state.stored = true;
    return add_turn(state, word);
}

bool HandlerWalk::take_spr(State& state, Instruction insn) {
    const unsigned number = insn.spr(), sprg = sprg_of(number);
    Value& to = state.gpr[insn.rt()];
    if (sprg < 8 && state.sprg[sprg].kind != Value::unset) {
        to = state.sprg[sprg];
        return true;
    }
    to = {};
    switch (number) {
    case spr::dear: to = {Value::found, 0, page_offset}; return true;
    case spr::esr:
    case spr::pid: to = {Value::found, 0, 0}; return true;
    case spr::mmucr:
    case spr::srr1: break;
    default:
        if (sprg == 8) return true;
    }
    to = {Value::found, 0, 0};
    return add_input(field_of_spr(number));
}

bool HandlerWalk::set_spr(State& state, Instruction insn) {
    const Value& from = state.gpr[insn.rs()];
    if (const unsigned sprg = sprg_of(insn.spr()); sprg < 8) {
        // What was read before, and is an input, is not to change.
        for (unsigned number = 0; number < input_count_; ++number)
            if (inputs_[number] == field_of_spr(insn.spr())) return false;
        state.sprg[sprg] = from;
        return true;
    }
    // To what it is: that is looked at when a Walk is made.
    return insn.spr() == spr::mmucr && from.kind == Value::found && from.offset == 0;
}

bool HandlerWalk::take_tlbwe(State& state, unsigned mask, unsigned word, Instruction insn) {
    const Value& value = state.gpr[insn.rs()];
    if (value.kind != Value::found || value.offset != 0 || state.gpr[insn.ra()].kind != Value::turn) return false;
    if ((mask >> insn.ws() & 1) != 0 || flow_.compares_numbers(insn, mask, word)) return false;
    if (mask == 0) {
        if (index_ < 32 && index_ != insn.ra()) return false;
        index_ = insn.ra();
    }
    if (HandlerFlow::mask_after(insn, HandlerStep::tlbwe, mask) != handler_exit::words) return true;
    if (committed_) return false;
    committed_ = true;
    always_ = state.always;
    return true;
}

bool HandlerWalk::take_return(const State& state, unsigned word) {
    if (returned_) return false;
    returned_ = true;
    return_ = word;
    for (unsigned gpr = 0; gpr < 32; ++gpr)
        if (state.gpr[gpr] != Value{Value::entry, static_cast<std::uint8_t>(gpr), 0}) return false;
    for (const Value& field : state.cr)
        if (field != Value{Value::entry, whole_cr, 0}) return false;
    for (unsigned sprg = 0; sprg < 8; ++sprg) {
        if (state.sprg[sprg].kind == Value::unset) continue;
        if (state.sprg[sprg].kind != Value::entry) return false;
        saves_[save_count_++] = {static_cast<std::uint8_t>(sprg), state.sprg[sprg].of};
    }
    return true;
}

} // namespace untrap::ppc
