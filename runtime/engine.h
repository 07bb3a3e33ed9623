// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "mmu/tlb_entry.h"
#include "translator/isa/trap.h"

namespace untrap::runtime {

class Vcpu;

// Runs unprivileged guest code until it traps: the JIT, the interpreter, or a 440 in problem state.
class Engine {
  public:
    // Runs from state.pc in the context given by MSR[PR,IS,DS,FP,FE0,FE1] and PID. Executes at most budget
    // instructions, and exactly budget if it returns TrapKind::budget. state is exact on return.
    virtual isa::Trap run(Vcpu& vcpu, std::uint64_t budget) = 0;

    // Like run(), for the run loop: exits that are always handled the same way may be handled here, counted as the run
    // loop counts them. TrapKind::none: something is due that only the run loop does; under the host's clock, where
    // instructions are not the guest's time, that may be the rest of a budget that is too small for a block.
    virtual isa::Trap run_guest(Vcpu& vcpu, std::uint64_t budget) { return run(vcpu, budget); }

    // Whether run() keeps CpuState::retired. If not, a budget is no measure of time.
    virtual bool counts_instructions() const { return true; }

    // Guest TLB entry index was rewritten; before is what it held. Shadow mappings made from it are dropped.
    virtual void tlb_entry_changed(unsigned index, const mmu::TlbEntry& before) = 0;
    // Guest real memory changed behind the guest's back (DMA) or by an interpreted store: stale code is dropped.
    virtual void memory_written(std::uint64_t real, std::uint64_t length) = 0;
    // The privileged instruction at this guest real address was patched or unpatched.
    virtual void site_changed(std::uint64_t real) = 0;
    // Memslots changed, or everything must be rebuilt.
    virtual void flush() = 0;
    // A dirty log was taken: the next store to each page of a logged slot has to be noted again.
    virtual void dirty_log_taken() { flush(); }

  protected:
    ~Engine() = default;
};

} // namespace untrap::runtime
