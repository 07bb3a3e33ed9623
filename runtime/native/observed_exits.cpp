// SPDX-License-Identifier: GPL-2.0-only
// Exits while tracepoints, exit timing or the table of exits by site are on. The paths in assembly are off then, so
// that every exit comes by here.
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"

namespace untrap::runtime::native {

void NativeEngine::set_timing(bool on) {
    const std::uint32_t saved = hardware::irq_save();
    times_ = {};
    timing_ = on;
    exit_open_ = false;
    world_.attention = 1; // run() takes notice
    hardware::irq_restore(saved);
}

// The guest is about to be entered after something else than a quick exit.
void NativeEngine::observe_entry() {
    if (exit_open_) finish_exit(exit_was_quick_ ? reason_ : vcpu_.exits.last);
    if ((traces_ & NativeHost::traces_entry) != 0)
        host_.trace_entry(vcpu_.state.pc, vcpu_.state.page.msr, world_.shadow_pid);
    entered_ = hardware::ticks();
}

bool NativeEngine::observed_exit(unsigned vector) {
    left_ = hardware::ticks();
    if (timing_) times_.guest += left_ - entered_;
    left_pc_ = vcpu_.state.pc;
    left_word_ = world_.word;
    // sc has completed when it interrupts.
    if (vcpu_.exit_sites != nullptr)
        left_at_ =
            vcpu_.exit_place(vector == static_cast<unsigned>(isa::Interrupt::system_call) ? left_pc_ - 4 : left_pc_);
    exit_open_ = true;
    reason_ = ExitReason::signal;
    exit_was_quick_ = quick_exit(vector);
    if (!exit_was_quick_) return false;
    observe_entry();
    return true;
}

void NativeEngine::finish_exit(ExitReason reason) {
    exit_open_ = false;
    if ((traces_ & NativeHost::traces_exit) != 0) host_.trace_exit(static_cast<unsigned>(reason), left_pc_, left_word_);
    const std::uint32_t ticks = hardware::ticks() - left_;
    if (ExitSites* const sites = vcpu_.exit_sites; sites != nullptr) {
        // The run loop has noted what it counted itself.
        if (exit_was_quick_) sites->note(reason, left_at_, vcpu_.state.retired);
        sites->add_ticks(ticks);
        sites->close(vcpu_.state.retired);
    }
    if (!timing_) return;
    Times::Reason& time = times_.reasons[static_cast<unsigned>(reason)];
    if (time.sum == 0 || ticks < time.min) time.min = ticks;
    if (ticks > time.max) time.max = ticks;
    time.sum += ticks;
    time.squares += std::uint64_t{ticks} * ticks;
}

} // namespace untrap::runtime::native
