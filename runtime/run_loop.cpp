// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/byte_order.h"
#include "runtime/debug.h"
#include "runtime/emulate.h"
#include "runtime/interrupts.h"
#include "runtime/known_sites.h"
#include "runtime/vcpu.h"
#include "translator/interp/interpreter.h"
#include "translator/interp/simple_access.h"

namespace untrap::runtime {

using isa::Instruction;
using isa::Interrupt;
using isa::Op;
using isa::Trap;
using isa::TrapKind;
namespace msr = isa::msr;

namespace {

// Instructions run between two looks at stop requests, interrupt lines and (host clock) timers.
constexpr std::uint64_t slice = 50'000;
// Interrupts delivered without one instruction completing between them, after which the guest is given up.
constexpr std::uint32_t fruitless_limit = 64;

ExitReason delivery_reason(Interrupt which) {
    switch (which) {
    case Interrupt::debug: return ExitReason::debug;
    case Interrupt::critical_input:
    case Interrupt::external_input: return ExitReason::extint;
    default: return ExitReason::dec; // decrementer, fixed-interval timer, watchdog
    }
}

} // namespace

// One call of Vcpu::run.
class RunLoop {
  public:
    explicit RunLoop(Vcpu& vcpu) : vcpu_(vcpu), state_(vcpu.state), emulator_(vcpu) {}

    RunExit run() {
        Step step = resume();
        while (step == Step::go_on) {
            if (vcpu_.unfinished_ != Vcpu::Unfinished::nothing) {
                step = resume(); // its access is made already
                continue;
            }
            step = prepare();
            if (step != Step::go_on) break;
            if ((state_.page.msr & msr::we) != 0)
                step = wait();
            else if (stepping())
                step = single_step();
            else
                step = run_guest();
        }
        return exit_;
    }

  private:
    enum class Step : std::uint8_t { go_on, leave };

    Step leave(RunExit exit) {
        exit_ = exit;
        return Step::leave;
    }
    Step die(const char* reason) {
        vcpu_.unfinished_ = Vcpu::Unfinished::dead;
        vcpu_.dead_reason_ = reason;
        return leave(RunExit::dead);
    }

    // Debugged by the guest itself, or from the host.
    bool stepping() const { return debug::stepping(state_) || vcpu_.guest_debug.one_by_one(); }
    Step stop_for_debugger(const DebugStop& stop) {
        vcpu_.count_exit(ExitReason::debug);
        vcpu_.debug_stop_ = stop;
        return leave(RunExit::debug);
    }
    // A debugger's step is over unless it left for something else.
    Step stepped(Step step) {
        if (step == Step::leave || !vcpu_.guest_debug.single_step) return step;
        if (vcpu_.unfinished_ != Vcpu::Unfinished::nothing) return step;
        return stop_for_debugger({DebugStop::Kind::step, state_.pc});
    }

    Step resume();
    Step prepare();
    Step wait();
    Step run_guest();
    Step single_step();
    Step execute_here();
    Step finish_access();
    Step device_access(const Trap& trap);
    Step handle_engine_trap(const Trap& trap);
    Step handle(const Trap& trap);
    Step emulate(std::uint32_t word);
    const plan::Patch* note_trap();
    Step continue_sequence(std::uint32_t site, const plan::Patch& patch, std::uint32_t mode);
    std::uint64_t budget() const;

    Vcpu& vcpu_;
    isa::CpuState& state_;
    Emulator emulator_;
    RunExit exit_ = RunExit::interrupted;
};

// What the last run() left for userspace to do.
RunLoop::Step RunLoop::resume() {
    using Unfinished = Vcpu::Unfinished;
    const Unfinished unfinished = vcpu_.unfinished_;
    switch (unfinished) {
    case Unfinished::nothing: return Step::go_on;
    case Unfinished::mmio: return leave(RunExit::mmio); // still to be done
    case Unfinished::dcr: return leave(RunExit::dcr);
    case Unfinished::dead: return leave(RunExit::dead);
    case Unfinished::mmio_done:
    case Unfinished::dcr_done: break;
    }
    vcpu_.unfinished_ = Unfinished::nothing;
    if (unfinished == Unfinished::mmio_done)
        return stepped(vcpu_.unfinished_word_ != 0 ? finish_access() : execute_here());
    const bool watched = debug::completion_watched(state_);
    emulator_.finish_dcr(isa::decode(vcpu_.unfinished_word_), vcpu_.dcr_.value);
    debug::completed(vcpu_, watched);
    return stepped(Step::go_on);
}

// The one device access of a simple instruction was made.
RunLoop::Step RunLoop::finish_access() {
    vcpu_.storage.clear_log();
    const Instruction insn{.word = vcpu_.unfinished_word_};
    const interp::SimpleAccess access = interp::simple_access(insn.word);
    interp::complete_access(access, insn, interp::address_of(access, insn, state_),
                            static_cast<std::uint32_t>(vcpu_.mmio_.value), state_);
    ++state_.retired;
    return Step::go_on;
}

// Stop requests, timers and interrupts, before guest code runs.
RunLoop::Step RunLoop::prepare() {
    vcpu_.close_exit();
    vcpu_.disturbed_ = false;
    if (vcpu_.take_stop()) {
        vcpu_.count_exit(ExitReason::signal);
        return leave(RunExit::interrupted);
    }
    vcpu_.timers.advance();
    if (vcpu_.timers.watchdog_reset() != 0) return leave(RunExit::reset);
    // Nobody waits for long for what the guest stored into the ring.
    if (const DevicePages* pages = vcpu_.device_pages; pages != nullptr && pages->holds()) {
        if ((state_.page.msr & msr::we) != 0 || vcpu_.timers.now() >= pages->drain_at())
            return leave(RunExit::interrupted);
    }
    vcpu_.update_pending();
    vcpu_.host.between_slices();
    for (Interrupt which; interrupts::next_pending(vcpu_, which);) {
        vcpu_.count_exit(delivery_reason(which));
        if (which == Interrupt::external_input) vcpu_.take_back_pulse();
        interrupts::deliver(vcpu_, which, state_.pc);
        vcpu_.update_pending();
    }
    if (vcpu_.fruitless_ > fruitless_limit) return die("no interrupt handler can be reached: each one faults at once");
    return Step::go_on;
}

// MSR[WE]: time passes until an interrupt is due.
RunLoop::Step RunLoop::wait() {
    Timers& timers = vcpu_.timers;
    Host& host = vcpu_.host;
    const std::uint64_t deadline = timers.next_deadline();
    const bool limited = deadline != Timers::never;
    if (!limited && (state_.page.msr & (msr::ee | msr::ce | msr::de)) == 0)
        return die("the guest waits with all interrupts disabled");
    const std::uint64_t ticks = limited ? deadline - timers.now() : Timers::never;
    if (timers.clock() == Clock::guest && !vcpu_.pace_idle_ && limited) {
        timers.skip(ticks);
        return Step::go_on;
    }
    const std::uint64_t start = host.now();
    host.wait(limited ? start + ticks : Timers::never);
    if (timers.clock() == Clock::guest && vcpu_.pace_idle_) {
        const std::uint64_t waited = host.now() - start;
        timers.skip(waited < ticks ? waited : ticks);
    }
    return Step::go_on;
}

std::uint64_t RunLoop::budget() const {
    if (vcpu_.timers.clock() == Clock::host) return slice;
    const std::uint64_t deadline = vcpu_.next_deadline();
    if (deadline == Timers::never) return slice;
    const std::uint64_t left = deadline - vcpu_.timers.now();
    return left < slice ? left : slice;
}

// Guest code, to the end of a budget, or until something is due that prepare() looks at: most exits change neither
// clocks nor interrupts, and the guest goes on at once.
RunLoop::Step RunLoop::run_guest() {
    Engine& engine = vcpu_.engine();
    const std::uint64_t end = state_.retired + budget();
    for (;;) {
        const Step step = handle_engine_trap(engine.run_guest(vcpu_, end - state_.retired));
        if (step == Step::leave || state_.retired >= end || !engine.counts_instructions() || !vcpu_.undisturbed())
            return step;
        vcpu_.close_exit();
    }
}

RunLoop::Step RunLoop::single_step() {
    Trap trap;
    std::uint32_t word = 0;
    if (!vcpu_.storage.fetch(state_.pc, word, trap)) return stepped(handle(trap));
    const Instruction insn = isa::decode(word);
    DebugStop stop;
    if (stops_before(vcpu_.guest_debug, state_, vcpu_.storage, insn, stop)) return stop_for_debugger(stop);
    if (const std::uint32_t events = debug::events_before(vcpu_, insn); events != 0) {
        vcpu_.count_exit(ExitReason::debug);
        debug::raise(vcpu_, events, state_.pc);
        return stepped(Step::go_on);
    }
    return stepped(execute_here());
}

// Executes the instruction at pc by the interpreter, with the results of the device accesses it made so far.
RunLoop::Step RunLoop::execute_here() {
    Trap trap;
    std::uint32_t word = 0;
    vcpu_.storage.begin_instruction();
    if (!vcpu_.storage.fetch(state_.pc, word, trap)) return handle(trap);
    const Instruction insn = isa::decode(word);
    if (insn.privileged()) {
        trap.kind = TrapKind::privileged;
        trap.word = word;
        return handle(trap);
    }
    const bool watched = debug::completion_watched(state_);
    trap = interp::execute(state_, vcpu_.storage, insn);
    if (trap.kind != TrapKind::none) return handle(trap);
    vcpu_.storage.clear_log();
    debug::completed(vcpu_, watched);
    return Step::go_on;
}

RunLoop::Step RunLoop::handle_engine_trap(const Trap& trap) {
    // Otherwise the engine's word on a device access is not needed: the interpreter finds it again, and splits it
    // exactly.
    if (trap.kind == TrapKind::mmio && !trap.simple) return execute_here();
    return handle(trap);
}

RunLoop::Step RunLoop::handle(const Trap& trap) {
    switch (trap.kind) {
    case TrapKind::none:
    case TrapKind::budget: return Step::go_on;
    case TrapKind::mmio: return device_access(trap);
    default: break;
    }
    vcpu_.storage.clear_log();
    if (trap.kind == TrapKind::illegal && vcpu_.guest_debug.software_breakpoints &&
        trap.word == GuestDebug::breakpoint_word)
        return stop_for_debugger({DebugStop::Kind::software_breakpoint, state_.pc});
    if (trap.kind == TrapKind::privileged && !state_.problem_state()) return emulate(trap.word);
    if (!interrupts::reflect(vcpu_, trap, false))
        return die("instruction fetch from where there is no memory, with machine checks disabled");
    return Step::go_on;
}

// By userspace, unless the device's pages are enough.
RunLoop::Step RunLoop::device_access(const Trap& trap) {
    vcpu_.count_exit(ExitReason::mmio);
    vcpu_.mmio_ = {trap.real, trap.size, trap.is_store, trap.value};
    vcpu_.unfinished_ = Vcpu::Unfinished::mmio;
    vcpu_.unfinished_word_ = trap.simple ? trap.word : 0;
    DevicePages* const pages = vcpu_.device_pages;
    if (pages == nullptr) return leave(RunExit::mmio);
    std::uint32_t value = 0;
    const DevicePages::Register at = pages->find(trap.real);
    const bool made = trap.is_store ? DevicePages::no_store(at, trap.size, trap.value) ||
                                          pages->store(at, trap.real, trap.size, trap.value, vcpu_.timers.now())
                                    : DevicePages::load(at, trap.size, value);
    if (!made) return leave(RunExit::mmio);
    if (trap.is_store) vcpu_.disturb(); // there is a new deadline
    if (!trap.simple) {
        vcpu_.complete_mmio(value);
        vcpu_.disturb(); // run() finishes the instruction
        return Step::go_on;
    }
    vcpu_.unfinished_ = Vcpu::Unfinished::nothing;
    if (!trap.is_store) vcpu_.mmio_.value = value;
    return finish_access();
}

RunLoop::Step RunLoop::emulate(std::uint32_t word) {
    const Instruction insn = isa::decode(word);
    const plan::Patch* patch = vcpu_.patches.levels() != 0 ? note_trap() : nullptr;
    unsigned span = patch != nullptr && patch->level == 3 ? patch->span : 1;
    const std::uint32_t site = state_.pc, mode = state_.page.msr & msr::mode;
    const bool watched = debug::completion_watched(state_);
    if (vcpu_.in_handler() && plan::belongs_to_handler(insn)) {
        span = 1; // it is all one exit anyway
    } else {
        vcpu_.leave_handler();
        vcpu_.count_exit(emulator_.reason(insn));
    }
    switch (emulator_.execute(insn)) {
    case Emulator::Outcome::completed: debug::completed(vcpu_, watched); break;
    case Emulator::Outcome::reflected: return Step::go_on;
    case Emulator::Outcome::reset: return leave(RunExit::reset);
    case Emulator::Outcome::dcr:
        vcpu_.unfinished_ = Vcpu::Unfinished::dcr;
        vcpu_.unfinished_word_ = word;
        return leave(RunExit::dcr);
    }
    return span > 1 ? continue_sequence(site, *patch, mode) : Step::go_on;
}

// Tells the registry of the trap at pc. The patch there, if any.
const plan::Patch* RunLoop::note_trap() {
    const Resolved at = vcpu_.storage.resolve(state_.pc, mmu::Access::fetch);
    if (at.status != Resolved::Status::ok || at.little_endian) return nullptr;
    patch_known_sites(vcpu_, at.real);
    const std::uint32_t page_left = (1U << at.page_shift) - (state_.pc & ((1U << at.page_shift) - 1));
    const SiteWindow window = site_window(vcpu_.memory, at.real, page_left);
    bool newly_patched = false;
    const plan::Patch* patch = vcpu_.patches.note_trap(at.real, window.words.data(), window.length, newly_patched);
    if (newly_patched) vcpu_.engine().site_changed(at.real);
    return patch;
}

// Level 3: goes on behind an emulated instruction within the same exit, as long as pc moves forward from the site to
// the end of its span, or goes round. Stops early where anything but plain progress would happen, a change of mode (the
// one at the site) included; the engine then meets that instruction as always.
RunLoop::Step RunLoop::continue_sequence(std::uint32_t site, const plan::Patch& patch, std::uint32_t mode) {
    Timers& timers = vcpu_.timers;
    const std::uint32_t end = site + 4U * patch.span;
    unsigned rounds = patch.loops ? plan::sequence_rounds : 1;
    std::uint32_t last = site; // executed
    for (bool privileged_before = true; state_.pc < end;) {
        const bool again = state_.pc == site && last == end - 4;
        if (again ? --rounds == 0 : state_.pc <= last) break;
        last = state_.pc;
        if (privileged_before && (stepping() || (state_.page.msr & msr::mode) != mode)) break;
        // Under the guest clock interrupts come at exact instruction counts, here like everywhere.
        const bool exact = timers.clock() == Clock::guest;
        if (exact) timers.advance();
        Interrupt which;
        if ((exact || privileged_before) && interrupts::next_pending(vcpu_, which)) break;
        if (timers.watchdog_reset() != 0) break;
        Trap trap;
        std::uint32_t word = 0;
        if (!vcpu_.storage.fetch(state_.pc, word, trap)) break;
        const Instruction insn = isa::decode(word);
        const bool closes = patch.loops && last == end - 4 && plan::closes_loop(insn, (last - site) / 4);
        if (!closes && !plan::continues_sequence(insn) && !plan::ends_sequence(insn)) break;
        privileged_before = insn.privileged();
        if (!privileged_before) {
            vcpu_.storage.begin_instruction();
            if (interp::execute(state_, vcpu_.storage, insn).kind != TrapKind::none) break;
            continue;
        }
        const Emulator::Outcome outcome = emulator_.execute(insn);
        if (outcome == Emulator::Outcome::reset) return leave(RunExit::reset);
        if (outcome != Emulator::Outcome::completed || plan::ends_sequence(insn)) break;
    }
    return Step::go_on;
}

RunExit Vcpu::run() {
    if (engine_ == nullptr) {
        unfinished_ = Unfinished::dead;
        dead_reason_ = "the vCPU has no engine";
        return RunExit::dead;
    }
    const RunExit exit = RunLoop(*this).run();
    if (device_pages != nullptr) device_pages->returned();
    return exit;
}

} // namespace untrap::runtime
