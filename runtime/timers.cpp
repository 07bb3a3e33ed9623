// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/timers.h"

#include "translator/isa/msr.h"

namespace untrap::runtime {

namespace tcr = isa::tcr;
namespace tsr = isa::tsr;

namespace {

// Timebase bits whose 0 -> 1 transition is an event, by the period fields of TCR. A bit of value 2^n rises once in
// 2^(n+1) ticks: the periods are 2^13, 2^17, 2^21, 2^25 (FIT) and 2^21, 2^25, 2^29, 2^33 (watchdog).
constexpr unsigned fit_bit(std::uint32_t tcr_value) { return 12 + 4 * ((tcr_value & tcr::fp) >> 24); }
constexpr unsigned watchdog_bit(std::uint32_t tcr_value) { return 20 + 4 * ((tcr_value & tcr::wp) >> 30); }
static_assert(fit_bit(0) == 12 && fit_bit(tcr::fp) == 24 && watchdog_bit(tcr::wp) == 32);

// Times the bit rose since timebase 0, up to and including time.
constexpr std::uint64_t rises(std::uint64_t time, unsigned bit) { return (time >> (bit + 1)) + (time >> bit & 1); }
static_assert(rises(0xFFF, 12) == 0 && rises(0x1000, 12) == 1 && rises(0x2FFF, 12) == 1 && rises(0x3000, 12) == 2);

// Ticks from time to the next rise, at least 1.
constexpr std::uint64_t ticks_to_rise(std::uint64_t time, unsigned bit) {
    const std::uint64_t period = std::uint64_t{2} << bit;
    return period - ((time + (std::uint64_t{1} << bit)) & (period - 1));
}
static_assert(ticks_to_rise(0xFFF, 12) == 1 && ticks_to_rise(0x1000, 12) == 0x2000);

// value % divisor for divisor != 0, without a library call on 32-bit hosts.
constexpr std::uint32_t remainder(std::uint64_t value, std::uint32_t divisor) {
    std::uint64_t rest = 0;
    for (int bit = 63; bit >= 0; --bit) {
        rest = rest << 1 | (value >> bit & 1);
        if (rest >= divisor) rest -= divisor;
    }
    return static_cast<std::uint32_t>(rest);
}
static_assert(remainder(0x123456789ABCDEF0, 1000) == 0x123456789ABCDEF0 % 1000);

} // namespace

std::uint64_t Timers::now() const { return clock_ == Clock::guest ? state_.retired + skipped_ : host_.now() + base_; }

void Timers::set_clock(Clock clock) {
    const std::uint64_t time = now();
    clock_ = clock;
    if (clock == Clock::guest)
        skipped_ = time - state_.retired;
    else
        base_ = time - host_.now();
}

void Timers::reset() {
    frozen_ = false;
    lost_ = 0;
    skipped_ = base_ = 0;
    timebase_offset_ = 0 - ticks();
    checked_ = 0;
    dec_value_ = 0;
    dec_since_ = ticks();
    state_.tsr = std::uint32_t{watchdog_reset_} << 28;
    state_.tcr = 0;
    state_.decar = 0;
    watchdog_reset_ = 0;
}

void Timers::set_timebase(std::uint64_t value) {
    advance();
    const std::uint64_t old = timebase();
    timebase_offset_ = value - ticks();
    // Software that makes a selected bit rise causes the event like the clock does.
    if ((value & ~old) >> fit_bit(state_.tcr) & 1) state_.tsr |= tsr::fis;
    if ((value & ~old) >> watchdog_bit(state_.tcr) & 1) watchdog_event();
    checked_ = value;
}

std::uint32_t Timers::dec() {
    advance();
    if (dec_value_ == 0) return 0;
    return dec_value_ - static_cast<std::uint32_t>(ticks() - dec_since_); // advance() left it above zero
}

void Timers::write_dec(std::uint32_t value) {
    advance();
    dec_value_ = value;
    dec_since_ = ticks();
}

void Timers::write_decar(std::uint32_t value) {
    advance();
    state_.decar = value;
}

std::uint32_t Timers::tsr() {
    advance();
    return state_.tsr;
}

void Timers::clear_tsr(std::uint32_t bits) {
    advance();
    state_.tsr &= ~bits;
}

void Timers::write_tcr(std::uint32_t value) {
    advance();
    constexpr std::uint32_t writable = tcr::wp | tcr::wrc | tcr::wie | tcr::die | tcr::fp | tcr::fie | tcr::are;
    std::uint32_t updated = value & writable;
    if ((state_.tcr & tcr::wrc) != 0) updated = (updated & ~tcr::wrc) | (state_.tcr & tcr::wrc);
    state_.tcr = updated;
}

void Timers::set_tsr(std::uint32_t value) {
    advance();
    state_.tsr = value & (tsr::enw | tsr::wis | tsr::wrs | tsr::dis | tsr::fis);
}

void Timers::set_tcr(std::uint32_t value) {
    advance();
    state_.tcr = 0;
    write_tcr(value);
}

void Timers::freeze(bool frozen) {
    if (frozen == frozen_) return;
    if (frozen) {
        advance();
        frozen_at_ = now();
    } else {
        lost_ += now() - frozen_at_;
    }
    frozen_ = frozen;
}

void Timers::advance() {
    const std::uint64_t tick = ticks();
    if (dec_value_ != 0 && tick - dec_since_ >= dec_value_) advance_dec(tick);
    const std::uint64_t time = tick + timebase_offset_;
    if (time == checked_) return;
    if (rises(time, fit_bit(state_.tcr)) != rises(checked_, fit_bit(state_.tcr))) state_.tsr |= tsr::fis;
    const std::uint64_t events = rises(time, watchdog_bit(state_.tcr)) - rises(checked_, watchdog_bit(state_.tcr));
    for (std::uint64_t i = 0; i < events && i < 3; ++i) watchdog_event(); // a third one changes nothing any more
    checked_ = time;
}

// The decrementer reached zero, once or, reloading, several times.
void Timers::advance_dec(std::uint64_t tick) {
    state_.tsr |= tsr::dis;
    const std::uint64_t expired = dec_since_ + dec_value_;
    if ((state_.tcr & tcr::are) == 0 || state_.decar == 0) {
        dec_value_ = 0;
        return;
    }
    dec_value_ = state_.decar;
    dec_since_ = tick - remainder(tick - expired, state_.decar);
}

void Timers::watchdog_event() {
    if ((state_.tsr & tsr::enw) == 0) {
        state_.tsr |= tsr::enw;
    } else if ((state_.tsr & tsr::wis) == 0) {
        state_.tsr |= tsr::wis;
    } else if (const std::uint32_t wrc = state_.tcr & tcr::wrc; wrc != 0 && watchdog_reset_ == 0) {
        static_assert(tcr::wrc == tsr::wrs);
        state_.tsr = (state_.tsr & ~tsr::wrs) | wrc;
        watchdog_reset_ = static_cast<std::uint8_t>(wrc >> 28);
    }
}

std::uint64_t Timers::next_deadline() const {
    if (frozen_) return never;
    const std::uint64_t tick = ticks();
    const std::uint64_t time = tick + timebase_offset_;
    std::uint64_t wait = never;
    const auto consider = [&](std::uint64_t candidate) {
        if (candidate < wait) wait = candidate;
    };
    if (dec_value_ != 0 && (state_.tcr & tcr::die) != 0 && (state_.tsr & tsr::dis) == 0) {
        const std::uint64_t elapsed = tick - dec_since_;
        consider(elapsed < dec_value_ ? dec_value_ - elapsed : 1);
    }
    if ((state_.tcr & tcr::fie) != 0 && (state_.tsr & tsr::fis) == 0)
        consider(ticks_to_rise(time, fit_bit(state_.tcr)));
    const bool interrupts = (state_.tcr & tcr::wie) != 0 && (state_.tsr & tsr::wis) == 0;
    const bool resets = (state_.tcr & tcr::wrc) != 0 && watchdog_reset_ == 0;
    if (interrupts || resets) consider(ticks_to_rise(time, watchdog_bit(state_.tcr)));
    if (wait == never) return never;
    return now() + wait;
}

} // namespace untrap::runtime
