// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/table.h"
#include "translator/ppc/handler.h"

namespace untrap::ppc {

// What the compiler of handlers does with an instruction.
enum class HandlerStep : std::uint8_t {
    leave,
    plain,
    load,
    store,
    branch,
    jump,
    mfcr,
    mtcrf,
    mfmsr,
    mfspr,
    mtspr,
    tlbwe,
    drop,
    rfi
};

// written: words of the guest TLB that are noted and not done yet.
HandlerStep step_of(isa::Instruction insn, unsigned written);
// GPRs that it writes.
std::uint32_t written_gprs(isa::Instruction insn, HandlerStep step);

// The guest's code from the handler's entry on, as the compiler goes through it: what is reached, and with what. An
// instruction is there once for each set of words of the TLB entry that may be written when it is reached, since exits
// have to tell it. Sets only grow, and the code only goes forward.
class HandlerFlow {
  public:
    HandlerFlow(const std::uint32_t* window, unsigned count, HandlerWork& work)
        : window_(window), count_(count < handler_window ? count : handler_window), work_(work) {}

    // False: it is no handler up to an rfi, or there is too much of it.
    bool survey();
    unsigned guest() const { return guest_; }             // instructions
    unsigned reach() const { return reach_; }             // words from the entry on
    bool other_context() const { return other_context_; } // PID or SRR1 is written
    unsigned free_field() const { return field_; }        // of CR, that no instruction names
    unsigned count() const { return count_; }

    isa::Instruction at(unsigned word) const { return isa::decode(window_[word]); }
    bool reached(unsigned mask, unsigned word) const { return work_.index[mask][word] != HandlerWork::unreached; }
    // Whether the free CR field may hold something else than the guest's.
    bool is_dirty(unsigned mask, unsigned word) const { return work_.dirty[mask][word]; }
    // Whether the tlbwe there has the register for the entry's number that the one before it had; if not, whether the
    // two are to be compared.
    bool same_number(isa::Instruction insn, unsigned mask, unsigned word) const {
        return work_.index[mask][word] == insn.ra();
    }
    bool compares_numbers(isa::Instruction insn, unsigned mask, unsigned word) const {
        return mask != 0 && !same_number(insn, mask, word);
    }
    // Two words, one behind the other, loaded by two instructions: a page-table entry.
    bool is_pair(unsigned word) const;
    // Whether the address of the load or store there is a constant: its base comes from a lis, on all ways.
    bool constant_address(unsigned word, std::uint32_t& ea) const;
    // Bits that a GPR may have before the instruction there, on whichever way that was reached; all, if that takes too
    // long to find out.
    std::uint32_t possible(unsigned gpr, unsigned word) const;

    bool inside(unsigned from, unsigned to) const { return to > from && to < count_; }
    static bool goes_on(HandlerStep step) {
        return step != HandlerStep::leave && step != HandlerStep::jump && step != HandlerStep::rfi;
    }
    static unsigned mask_after(isa::Instruction insn, HandlerStep step, unsigned mask) {
        return step == HandlerStep::tlbwe ? mask | 1U << insn.ws() : mask;
    }
    static unsigned target(unsigned word, isa::Instruction insn) {
        const std::int32_t displacement = insn.op == isa::Op::b ? insn.li() : insn.bd();
        return word + static_cast<unsigned>(displacement / 4); // beyond the end, if backward past the entry
    }

  private:
    // A kernel's stack has little room: so deep, and so many questions in all.
    static constexpr unsigned possible_depth = 5, possible_questions = 48;
    std::uint32_t possible(unsigned gpr, unsigned word, unsigned depth, unsigned& questions) const;
    std::uint32_t possible_after(unsigned gpr, unsigned word, unsigned depth, unsigned& questions) const;
    bool leads(unsigned from, unsigned to) const;
    bool reached(unsigned word) const;
    std::uint32_t gprs_written_at(unsigned word) const;
    bool dirty_after(isa::Instruction insn, HandlerStep step, unsigned mask, unsigned word) const;
    void flow(unsigned from, unsigned to, unsigned mask, std::uint8_t index, bool dirty);

    const std::uint32_t* window_;
    unsigned count_;
    HandlerWork& work_;
    unsigned guest_ = 0, reach_ = 0;
    bool other_context_ = false;
    unsigned field_ = 8;
};

} // namespace untrap::ppc
