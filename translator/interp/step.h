// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/interp/storage.h"
#include "translator/isa/cr.h"
#include "translator/isa/state.h"
#include "translator/isa/table.h"
#include "translator/isa/trap.h"

namespace untrap::interp {

// CR field of a compare or a recorded result: the difference or result, with XER[SO] copied in.
constexpr isa::CrField with_summary_overflow(isa::CrField value, bool so) {
    // A plain value carries no SO; zero has no room for it beside GT, so SO goes in by the encoded form.
    return so ? isa::cr::encodings[isa::cr::decode(value) | isa::cr::so] : value;
}

// One instruction being executed: the state it works on, its operands by their manual names, and its outcome. A
// handler either completes it or leaves a trap; the rest of the state must then be as before.
struct Step {
    isa::CpuState& state;
    Storage& storage;
    isa::Instruction instruction;
    isa::Trap trap{};
    std::uint32_t next_pc = state.pc + 4;

    std::uint32_t& gpr(unsigned number) const { return state.gpr[number]; }
    std::uint32_t ra() const { return gpr(instruction.ra()); }
    std::uint32_t rb() const { return gpr(instruction.rb()); }
    std::uint32_t rs() const { return gpr(instruction.rs()); }
    std::uint32_t ra_or_zero() const { return instruction.ra() == 0 ? 0 : ra(); }
    std::uint32_t si() const { return static_cast<std::uint32_t>(instruction.si()); }

    void stop(isa::TrapKind kind) { trap.kind = kind; }
    void stop_unaligned(std::uint32_t ea, bool is_store) {
        trap.kind = isa::TrapKind::alignment;
        trap.ea = ea;
        trap.is_store = is_store;
    }

    void record(std::uint32_t result) const {
        state.crf[0] = with_summary_overflow(static_cast<std::int32_t>(result), state.xer_so != 0);
    }
    void set_overflow(bool overflow) const {
        state.xer_ov = overflow ? 1 : 0;
        state.xer_so |= state.xer_ov;
    }
};

// One handler for each instruction, by its name in the table. The privileged ones have no definition: execute()
// answers those itself.
namespace handlers {
#define INSN(op, ...) void op(Step& step);
#include "translator/isa/instructions.inc"
#undef INSN
} // namespace handlers

} // namespace untrap::interp
