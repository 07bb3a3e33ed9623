// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/msr.h"
#include "translator/isa/table.h"
#include "translator/plan/plan.h"

namespace untrap::runtime {

// Which privileged sites of a guest are patched, and how often the others trapped. Sites are known by guest real
// address and instruction word, so rewritten code never meets the patch of what stood there before (a sequence needs no
// more than its first word: its exit goes on with whatever instructions the guest then has). Fixed size, no heap: when
// a neighbourhood is full, its coldest site is forgotten.
class PatchRegistry {
  public:
    static constexpr unsigned capacity = 16384; // sites watched; a power of two

    // levels: bit n set = level n (1-4) allowed; 0 = trap mode. threshold: traps before a site is patched (>= 1).
    void configure(unsigned levels, unsigned threshold);
    unsigned levels() const { return levels_; }

    // A privileged instruction in guest-supervisor state trapped at real. Returns the patch that now applies there,
    // if the trap made it hot or it already was; nullptr if it stays a plain trap. newly_patched: the site no longer
    // traps (levels 1 and 2), which the engine must hear of. window holds the instruction words from the site on, for
    // sequences.
    const plan::Patch* note_trap(std::uint64_t real, const std::uint32_t* window, unsigned window_length,
                                 bool& newly_patched);
    // The patch at real, or nullptr. The engine asks when it translates a privileged instruction; a site whose word
    // is no longer the one it was planned for is not patched.
    const plan::Patch* find(std::uint64_t real, std::uint32_t word) const;
    // Whether the site there is hot and the levels in use have no patch for it.
    bool refused(std::uint64_t real, std::uint32_t word) const;
    // Level 4: the handler of a TLB miss (which) at ea is about to run. Whether it has run often enough to be run
    // within the exit of the miss; never if the level is not allowed.
    bool handler_is_hot(isa::Interrupt which, std::uint32_t ea) {
        if ((levels_ >> handler_level & 1) == 0) return false;
        Handler& handler = handlers_[which == isa::Interrupt::data_tlb_error ? 0 : 1];
        return (handler.ea == ea && handler.runs >= threshold_) || note_handler(handler, ea);
    }
    // Whether the handler of this kind of miss is run that way now.
    bool handler_patched(isa::Interrupt which) const {
        return (levels_ >> handler_level & 1) != 0 &&
               handlers_[which == isa::Interrupt::data_tlb_error ? 0 : 1].runs >= threshold_;
    }
    void clear();

    std::uint32_t patched_sites() const { return patched_; }

  private:
    static constexpr unsigned probe_length = 8;
    static constexpr unsigned handler_level = 4;

    // A TLB-miss handler, known by its effective address: kernels have one of each kind.
    struct Handler {
        std::uint32_t ea = 0, runs = 0;
    };
    bool note_handler(Handler& handler, std::uint32_t ea);

    struct Site {
        std::uint64_t real = ~std::uint64_t{0};
        std::uint32_t word = 0;
        std::uint32_t traps = 0;
        plan::Patch patch;
    };
    Site& slot(std::uint64_t real, unsigned attempt);
    Site& claim(std::uint64_t real, std::uint32_t word);

    unsigned levels_ = 0;
    unsigned threshold_ = 4;
    std::uint32_t patched_ = 0;
    Handler handlers_[2];
    Site sites_[capacity];
};

} // namespace untrap::runtime
