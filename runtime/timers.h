// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/host.h"
#include "translator/isa/state.h"

namespace untrap::runtime {

// What drives the guest's time: the host's monotonic clock, or the count of guest instructions.
enum class Clock : std::uint8_t { host, guest };

// Timebase, decrementer, fixed-interval timer and watchdog of a guest CPU. All are functions of one tick count, so
// nothing is done per tick: advance() catches TSR up with now(), next_deadline() tells when it must be called again.
// The decrementer and the timebase count one per tick. TSR, TCR and DECAR live in CpuState; only this class writes
// them while the guest runs.
class Timers {
  public:
    static constexpr std::uint64_t never = ~std::uint64_t{0};

    Timers(isa::CpuState& state, Host& host) : state_(state), host_(host) {}

    // Both clocks go on from the current time, so a change is not visible to the guest.
    void set_clock(Clock clock);
    Clock clock() const { return clock_; }
    // Core reset: TSR, TCR, DECAR, DEC and timebase become zero, but for TSR[WRS] (kept, it tells of a watchdog reset).
    void reset();

    // Ticks since some origin. Under Clock::guest: guest instructions retired plus idle ticks skipped.
    std::uint64_t now() const;
    // Clock::guest: time passes without instructions (an idle wait).
    void skip(std::uint64_t ticks) { skipped_ += ticks; }

    // 64-bit timebase as mftb sees it; exact if state.retired is.
    std::uint64_t timebase() const { return ticks() + timebase_offset_; }
    void set_timebase(std::uint64_t value);
    void write_tbl(std::uint32_t value) { set_timebase((timebase() & ~std::uint64_t{0xFFFFFFFF}) | value); }
    void write_tbu(std::uint32_t value) { set_timebase((timebase() & 0xFFFFFFFF) | std::uint64_t{value} << 32); }

    std::uint32_t dec();
    void write_dec(std::uint32_t value);
    void write_decar(std::uint32_t value);
    std::uint32_t tsr();
    // mtspr TSR: every bit written as 1 is cleared.
    void clear_tsr(std::uint32_t bits);
    // mtspr TCR. WRC can be set by software, only reset clears it.
    void write_tcr(std::uint32_t value);
    // State transfer (KVM): stored as given.
    void set_tsr(std::uint32_t value);
    void set_tcr(std::uint32_t value);

    // DBCR0[FT] with a debug event recorded: every timer stands still.
    void freeze(bool frozen);

    // Sets the TSR bits that are due by now().
    void advance();
    // The watchdog ran out a third time and TCR[WRC] asks for a reset: the value of WRC (1-3), 0 if not.
    unsigned watchdog_reset() const { return watchdog_reset_; }
    // The first tick after now() at which advance() could raise an interrupt or reset; never if there is none.
    std::uint64_t next_deadline() const;

  private:
    // now() without the time spent frozen.
    std::uint64_t ticks() const { return (frozen_ ? frozen_at_ : now()) - lost_; }
    void advance_dec(std::uint64_t tick);
    void watchdog_event();

    isa::CpuState& state_;
    Host& host_;
    // Time stands still until the guest runs first and set_clock() says what drives it.
    Clock clock_ = Clock::guest;
    bool frozen_ = false;
    std::uint8_t watchdog_reset_ = 0;
    std::uint64_t base_ = 0;    // Clock::host: added to host time, so that time goes on when the clock changes
    std::uint64_t skipped_ = 0; // Clock::guest: added to the instruction count (wraps)
    std::uint64_t frozen_at_ = 0;
    std::uint64_t lost_ = 0;
    std::uint64_t timebase_offset_ = 0;
    std::uint64_t checked_ = 0;   // timebase up to which FIT and watchdog are accounted for
    std::uint32_t dec_value_ = 0; // DEC at tick dec_since_; 0: stopped
    std::uint64_t dec_since_ = 0;
};

} // namespace untrap::runtime
