// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/ppc/handler.h"
#include "translator/ppc/handler_flow.h"

namespace untrap::ppc {

// What a handler for data does, told apart. Most of it finds out where the page is: which entry it writes is the same
// as long as what it has read to find that out is. That is kept as struct Walk, so that the next miss on the page only
// has to look whether it still is. Little is done at each turn: registers are saved, and the entry to replace is
// chosen, by one word in memory that is counted up. All registers are put back.
//
// Nothing is known of any operating system. Where a handler does more, or it cannot be told apart, it has no walk.
class HandlerWalk {
  public:
    HandlerWalk(const HandlerFlow& flow, HandlerWork& work) : flow_(flow), work_(work) {}

    bool survey();

    // Fields of the state page that it reads, besides PID. MMUCR is always among them.
    unsigned inputs() const { return input_count_; }
    unsigned input(unsigned number) const { return inputs_[number]; }
    // Words that it reads to find the page.
    unsigned loads() const { return load_count_; }
    // Which of them the load at this place of the guest's code is, no_load if none. The second of a pair is the next.
    static constexpr unsigned no_load = 0xFF;
    unsigned load_at(unsigned word) const;
    // Whether the load is of two words, the second of which is the next.
    bool is_pair(unsigned number) const {
        return number + 1 < load_count_ && loads_[number + 1].word == loads_[number].word + 1 &&
               flow_.is_pair(loads_[number].word);
    }
    // Whether each way to the entry's last word has that load.
    bool always_loads(unsigned number) const { return (always_ >> loads_[number].site & 1) != 0; }
    // The registers that are saved: in which SPRG the guest has which GPR, or its CR.
    static constexpr std::uint8_t whole_cr = 32;
    struct Save {
        std::uint8_t sprg, gpr;
    };
    unsigned saves() const { return save_count_; }
    Save save(unsigned number) const { return saves_[number]; }
    // The instructions that choose the entry, in order, and the register that they leave its number in.
    unsigned turns() const { return turn_count_; }
    unsigned turn(unsigned number) const { return turns_[number]; }
    unsigned index_register() const { return index_; }
    unsigned return_word() const { return return_; } // its rfi

  private:
    using State = HandlerWork::WalkState;
    using Value = HandlerWork::WalkValue;
    using Kind = Value::Kind;
    static constexpr unsigned max_turns = 12, max_sites = 32;
    struct Load {
        std::uint16_t word;
        std::uint8_t site;
    };

    bool step(State& state, unsigned mask, unsigned word);
    bool take_load(State& state, unsigned word, isa::Instruction insn);
    bool take_store(State& state, unsigned word, isa::Instruction insn);
    bool take_spr(State& state, isa::Instruction insn);
    bool set_spr(State& state, isa::Instruction insn);
    bool take_plain(State& state, unsigned word, isa::Instruction insn);
    bool take_branch(State& state, unsigned mask, unsigned word, isa::Instruction insn);
    bool take_tlbwe(State& state, unsigned mask, unsigned word, isa::Instruction insn);
    bool take_return(const State& state, unsigned word);
    bool flow(const State& state, unsigned mask, unsigned word);
    bool add_input(unsigned field);
    bool add_turn(State& state, unsigned word);
    bool add_load(State& state, unsigned word);
    bool counts(std::uint32_t ea) const;
    // Instructions that a branch on what a turn has made leaves out are of the turn, too.
    bool skipped(unsigned word) const { return mask_ == skipped_in_ && word < skipped_until_; }
    State* pending(unsigned mask, unsigned word);

    const HandlerFlow& flow_;
    HandlerWork& work_;
    std::uint16_t inputs_[walk_inputs] = {};
    Load loads_[walk_loads] = {};
    Save saves_[8] = {};
    std::uint16_t turns_[max_turns] = {};
    std::uint8_t turn_sites_[max_turns] = {};
    unsigned input_count_ = 0, load_count_ = 0, save_count_ = 0, turn_count_ = 0, sites_ = 0;
    unsigned index_ = 32, return_ = 0, mask_ = 0;
    unsigned skipped_in_ = 0, skipped_until_ = 0; // with which mask, up to which word
    std::uint32_t always_ = 0, may_be_skipped_ = 0;
    bool committed_ = false, returned_ = false;
};

} // namespace untrap::ppc
