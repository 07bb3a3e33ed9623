// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "mmu/guest_tlb.h"
#include "runtime/device_pages.h"
#include "runtime/engine.h"
#include "runtime/exit_reason.h"
#include "runtime/exit_sites.h"
#include "runtime/guest_debug.h"
#include "runtime/guest_storage.h"
#include "runtime/host.h"
#include "runtime/patch_registry.h"
#include "runtime/physical_memory.h"
#include "runtime/timers.h"
#include "translator/isa/msr.h"
#include "translator/isa/state.h"

namespace untrap::runtime {

struct ExitStatistics {
    std::array<std::uint64_t, exit_reason_count> by_reason{};
    std::uint64_t total = 0;
    ExitReason last = ExitReason::signal;
    void count(ExitReason reason) {
        last = reason;
        ++by_reason[static_cast<std::size_t>(reason)];
        ++total;
    }
};

// Why Vcpu::run returned to userspace.
enum class RunExit : std::uint8_t {
    mmio,        // access in mmio(): the VMM performs it, then complete_mmio() and run() again
    dcr,         // access in dcr(): likewise with complete_dcr()
    interrupted, // stop requested
    reset,       // the guest reset itself through DBCR0[RST] or the watchdog
    dead,        // the guest cannot go on; reason in dead_reason()
    debug,       // guest_debug asked for it; where and why in debug_stop()
};

struct DcrAccess {
    std::uint32_t number = 0;
    bool is_write = false;
    std::uint32_t value = 0;
};

// A guest CPU and everything the hypervisor knows of it. One thread runs it; set_interrupt_line and request_stop may
// be called from any thread.
class Vcpu {
  public:
    Vcpu(PhysicalMemory& memory, PatchRegistry& patches, Host& host);
    Vcpu(const Vcpu&) = delete;
    Vcpu& operator=(const Vcpu&) = delete;

    // Before the first run().
    void set_engine(Engine& engine);
    // pace_idle, for Clock::guest: an idle wait takes its real time, since events may come from outside the guest;
    // otherwise idle time is skipped.
    void set_clock(Clock clock, bool pace_idle);
    // Core reset: registers as the 440 leaves reset, and the boot mapping (256 MB at EA 0 -> real 0, supervisor rwx).
    // Statistics go on, the count of retired instructions included, and input lines stay as they are.
    void reset();

    RunExit run();
    const MmioAccess& mmio() const { return mmio_; }
    const DcrAccess& dcr() const { return dcr_; }
    void complete_mmio(std::uint64_t value);
    void complete_dcr(std::uint32_t value);
    const char* dead_reason() const { return dead_reason_; }
    const DebugStop& debug_stop() const { return debug_stop_; }

    // Level of the external (non-critical) and critical input lines. Any thread.
    void set_interrupt_line(bool critical, bool level);
    // An external interrupt that takes itself back when it is delivered. Any thread.
    void pulse_external();
    // Makes run() return RunExit::interrupted soon (within one slice). Any thread. Cleared by run().
    void request_stop();
    // Whether an enabled input line or a stop request ends Host::wait. The vCPU's thread.
    bool wake_requested() const;

    isa::CpuState state;
    mmu::GuestTlb tlb;
    Timers timers;
    ExitStatistics exits;
    ExitSites* exit_sites = nullptr; // none: exits are not told apart by site
    PhysicalMemory& memory;
    PatchRegistry& patches;
    Host& host;
    GuestStorage storage;
    DevicePages* device_pages = nullptr; // none: userspace is asked for each access to a device
    GuestDebug guest_debug;              // changed between runs; a reset keeps it

    // Emulation changes these; the engine and the KVM front read them.
    void write_tlb_word(unsigned index, unsigned ws, std::uint32_t value);
    void set_tlb_entry(unsigned index, const mmu::TlbEntry& value);
    void set_pid(std::uint32_t pid) { state.page.pid = pid & 0xFF; }
    void set_msr(std::uint32_t value) { state.page.msr = value & isa::msr::defined; }
    Engine& engine() { return *engine_; }
    // Recomputes state.page.pending from lines, timers and debug status; cheap.
    void update_pending();
    // The guest was left at state.pc.
    void count_exit(ExitReason reason) {
        exits.count(reason);
        if (exit_sites != nullptr) exit_sites->note(reason, exit_place(state.pc), state.retired);
    }
    // The guest goes on: what it does next is no longer the hypervisor's doing.
    void close_exit() {
        if (exit_sites != nullptr && !in_handler()) exit_sites->close(state.retired);
    }
    // The instruction at pc in the guest's present context, for exit_sites.
    ExitSites::Where exit_place(std::uint32_t pc) const;
    // When something is due that the run loop looks at: a timer, or stores that userspace has to be told of.
    std::uint64_t next_deadline() const {
        const std::uint64_t timer = timers.next_deadline();
        return device_pages != nullptr && device_pages->drain_at() < timer ? device_pages->drain_at() : timer;
    }
    // Registers were changed by userspace: an instruction half done by MMIO is given up.
    void abandon_instruction();

    // The run loop has to look at timers, lines and requests before guest code goes on.
    void disturb() { disturbed_ = true; }
    // Nothing happened that would keep guest code from going on with the budget it was given.
    [[gnu::always_inline]] bool undisturbed() const {
        // Not read together with MSR, which has just been written: the host would have to wait for that store.
        const std::uint32_t pending = __atomic_load_n(&state.page.pending, __ATOMIC_RELAXED);
        return !disturbed_ && (state.page.msr & isa::msr::we) == 0 && pending == 0 && fruitless_ == 0 &&
               (state.dbcr0 & isa::dbcr0::idm) == 0 && __atomic_load_n(&lines_, __ATOMIC_ACQUIRE) == 0 &&
               __atomic_load_n(&stop_, __ATOMIC_ACQUIRE) == 0 && !timer_due();
    }

    // Level 4: the guest's handler of a TLB miss is run within the exit of the miss. It is entered when the miss is
    // delivered, and left by its rfi, by any other interrupt, by an instruction that no such handler has, and after
    // handler_limit instructions; what follows is then as at level 3.
    static constexpr unsigned handler_limit = 128;
    bool in_handler() const { return in_handler_at(state.retired); }
    // The same for an engine whose count of instructions is ahead of state.retired.
    bool in_handler_at(std::uint64_t retired) const { return retired < handler_end_; }
    void leave_handler() { handler_end_ = 0; }
    // The interrupt `which` was delivered.
    void enter_handler(isa::Interrupt which) {
        if (which != isa::Interrupt::data_tlb_error && which != isa::Interrupt::instruction_tlb_error) return;
        if (patches.handler_is_hot(which, state.pc)) handler_end_ = state.retired + handler_limit;
    }

    // An interrupt was delivered: finds a guest that gets nowhere.
    void note_delivery() {
        if (state.retired != retired_at_delivery_)
            fruitless_ = 0;
        else
            ++fruitless_;
        retired_at_delivery_ = state.retired;
    }

    // External (false) or critical (true) input, as set last.
    bool line(bool critical) const { return (__atomic_load_n(&lines_, __ATOMIC_ACQUIRE) & (critical ? 2U : 5U)) != 0; }

  private:
    friend class Emulator;
    friend class RunLoop;

    // A timer interrupt that the guest has asked for, enabled by MSR or not.
    bool timer_due() const {
        // Status bits where their enables are.
        static_assert(isa::tsr::wis >> 3 == isa::tcr::wie && isa::tsr::fis >> 3 == isa::tcr::fie &&
                      isa::tsr::dis >> 1 == isa::tcr::die);
        return (((state.tsr >> 3 & (isa::tcr::wie | isa::tcr::fie)) | (state.tsr >> 1 & isa::tcr::die)) & state.tcr) !=
               0;
    }

    // What keeps the vCPU from simply running on.
    enum class Unfinished : std::uint8_t {
        nothing,
        mmio,      // the instruction at pc waits for complete_mmio()
        mmio_done, // and has to be executed again
        dcr,       // the mfdcr or mtdcr at pc waits for complete_dcr()
        dcr_done,
        dead,
    };

    bool take_stop();
    void take_back_pulse();

    Engine* engine_ = nullptr;
    MmioAccess mmio_;
    DcrAccess dcr_;
    Unfinished unfinished_ = Unfinished::nothing;
    std::uint32_t unfinished_word_ = 0; // dcr: the instruction; mmio: it if it is a simple one, else 0
    bool pace_idle_ = false;
    std::uint32_t lines_ = 0; // atomic; bit 0 external, bit 1 critical, bit 2 external pulse
    std::uint32_t stop_ = 0;  // atomic
    // Interrupts delivered in a row without an instruction retired between them, to find a guest that cannot go on.
    std::uint32_t fruitless_ = 0;
    std::uint64_t retired_at_delivery_ = 0;
    bool disturbed_ = false;
    std::uint64_t handler_end_ = 0;               // value of state.retired at which a handler takes too long
    std::uint32_t debug_data_ = 0;                // DBDR
    std::array<std::uint32_t, 32> warned_sprs_{}; // a bit for each SPR number
    const char* dead_reason_ = "";
    DebugStop debug_stop_;
};

} // namespace untrap::runtime
