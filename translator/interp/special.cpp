// SPDX-License-Identifier: GPL-2.0-only
// Moves to and from the special registers that problem state may name, and the synchronising instructions.
#include "translator/interp/step.h"

namespace untrap::interp::handlers {
namespace {

namespace spr = isa::spr;

std::uint32_t timebase_word(Storage& storage, bool upper) {
    const std::uint64_t timebase = storage.timebase();
    return static_cast<std::uint32_t>(upper ? timebase >> 32 : timebase);
}

} // namespace

// Privileged numbers never get here. Of the others, what the 440 does not have (or not to write) is illegal.
void mfspr(Step& step) {
    const isa::CpuState& state = step.state;
    std::uint32_t& target = step.gpr(step.instruction.rt());
    switch (step.instruction.spr()) {
    case spr::xer: target = state.xer(); break;
    case spr::lr: target = state.lr; break;
    case spr::ctr: target = state.ctr; break;
    case spr::usprg0: target = state.usprg0; break;
    case spr::sprg4_user: target = state.page.sprg[4]; break;
    case spr::sprg5_user: target = state.page.sprg[5]; break;
    case spr::sprg6_user: target = state.page.sprg[6]; break;
    case spr::sprg7_user: target = state.page.sprg[7]; break;
    case spr::tbl_read: target = timebase_word(step.storage, false); break;
    case spr::tbu_read: target = timebase_word(step.storage, true); break;
    default: step.stop(isa::TrapKind::illegal);
    }
}

void mtspr(Step& step) {
    isa::CpuState& state = step.state;
    const std::uint32_t value = step.rs();
    switch (step.instruction.spr()) {
    case spr::xer: state.set_xer(value); break;
    case spr::lr: state.lr = value; break;
    case spr::ctr: state.ctr = value; break;
    case spr::usprg0: state.usprg0 = value; break;
    default: step.stop(isa::TrapKind::illegal);
    }
}

void mftb(Step& step) {
    const unsigned number = step.instruction.spr();
    if (number != spr::tbl_read && number != spr::tbu_read) return step.stop(isa::TrapKind::illegal);
    step.gpr(step.instruction.rt()) = timebase_word(step.storage, number == spr::tbu_read);
}

// One instruction at a time, in order, on memory seen by one processor: nothing is left to wait for.
void isync(Step&) {}
void msync(Step&) {}
void mbar(Step&) {}

} // namespace untrap::interp::handlers
