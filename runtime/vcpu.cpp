// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/vcpu.h"

#include "runtime/byte_order.h"
#include "runtime/debug.h"
#include "translator/isa/spr.h"

namespace untrap::runtime {

namespace {

constexpr std::uint32_t external_line = 1, critical_line = 2, external_pulse = 4;
constexpr std::uint32_t reset_vector = 0xFFFFFFFC;
constexpr std::uint32_t system_reset = 0x30000000; // DBSR[MRR]

// What a boot loader leaves: 256 MB from address 0, supervisor only.
constexpr mmu::TlbEntry boot_mapping{
    .word0 = mmu::TlbEntry::valid_bit | 0x90,
    .word1 = 0,
    .word2 = mmu::TlbEntry::sx | mmu::TlbEntry::sw | mmu::TlbEntry::sr,
};
static_assert(boot_mapping.page_shift() == 28);

} // namespace

Vcpu::Vcpu(PhysicalMemory& memory_in, PatchRegistry& patches_in, Host& host_in)
    : timers(state, host_in), memory(memory_in), patches(patches_in), host(host_in),
      storage(state, tlb, memory_in, timers) {
    reset();
}

void Vcpu::set_engine(Engine& engine) {
    engine_ = &engine;
    storage.set_engine(&engine);
}

void Vcpu::set_clock(Clock clock, bool pace_idle) {
    timers.set_clock(clock);
    pace_idle_ = pace_idle;
}

void Vcpu::reset() {
    const std::uint32_t asked = state.dbcr0 & isa::dbcr0::rst;
    const std::uint32_t by_watchdog = std::uint32_t{timers.watchdog_reset()} << 28;
    const auto engine_slots = state.engine_slots;
    const std::uint64_t retired = state.retired;
    state.reset();
    state.engine_slots = engine_slots;
    state.retired = retired;
    timers.reset();
    state.pc = reset_vector;
    state.pvr = isa::spr::pvr_440ep;
    state.dbsr = by_watchdog != 0 ? by_watchdog : asked != 0 ? asked : system_reset;
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index)
        set_tlb_entry(index, index == 0 ? boot_mapping : mmu::TlbEntry{});
    storage.clear_log();
    unfinished_ = Unfinished::nothing;
    fruitless_ = 0;
    retired_at_delivery_ = retired;
    debug_data_ = 0;
    handler_end_ = 0;
    disturbed_ = true;
    dead_reason_ = "";
    update_pending();
}

void Vcpu::complete_mmio(std::uint64_t value) {
    if (unfinished_ != Unfinished::mmio) return;
    if (!mmio_.is_write) mmio_.value = value;
    unfinished_ = Unfinished::mmio_done;
    if (storage.complete(mmio_)) return;
    unfinished_ = Unfinished::dead;
    dead_reason_ = "an instruction makes more accesses to devices than any can";
}

void Vcpu::complete_dcr(std::uint32_t value) {
    if (unfinished_ != Unfinished::dcr) return;
    if (!dcr_.is_write) dcr_.value = value;
    unfinished_ = Unfinished::dcr_done;
}

void Vcpu::abandon_instruction() {
    storage.clear_log();
    if (unfinished_ != Unfinished::dead) unfinished_ = Unfinished::nothing;
}

ExitSites::Where Vcpu::exit_place(std::uint32_t pc) const {
    ExitSites::Where where{ExitSite::unknown_real, pc, 0, (state.page.msr & isa::msr::pr) != 0};
    const Resolved at = storage.resolve(pc, mmu::Access::fetch);
    if (at.status == Resolved::Status::ok && (pc & 3) == 0) {
        where.real = at.real;
        const std::uint64_t word = load_big_endian(at.host, 4);
        where.word = static_cast<std::uint32_t>(at.little_endian ? reverse_bytes(word, 4) : word);
    }
    return where;
}

void Vcpu::set_interrupt_line(bool critical, bool level) {
    const std::uint32_t bit = critical ? critical_line : external_line;
    if (level) {
        __atomic_fetch_or(&lines_, bit, __ATOMIC_RELEASE);
    } else {
        const std::uint32_t cleared = critical ? critical_line : external_line | external_pulse;
        __atomic_fetch_and(&lines_, ~cleared, __ATOMIC_RELEASE);
    }
}

void Vcpu::pulse_external() { __atomic_fetch_or(&lines_, external_pulse, __ATOMIC_RELEASE); }

void Vcpu::take_back_pulse() { __atomic_fetch_and(&lines_, ~external_pulse, __ATOMIC_RELEASE); }

void Vcpu::request_stop() { __atomic_store_n(&stop_, 1U, __ATOMIC_RELEASE); }

bool Vcpu::take_stop() { return __atomic_exchange_n(&stop_, 0U, __ATOMIC_ACQUIRE) != 0; }

bool Vcpu::wake_requested() const {
    if (__atomic_load_n(&stop_, __ATOMIC_ACQUIRE) != 0) return true;
    const std::uint32_t msr = state.page.msr;
    return ((msr & isa::msr::ee) != 0 && line(false)) || ((msr & isa::msr::ce) != 0 && line(true));
}

void Vcpu::write_tlb_word(unsigned index, unsigned ws, std::uint32_t value) {
    const mmu::TlbEntry before = tlb.entry(index);
    const bool changed = tlb.write_word(index, ws, value, state.page.mmucr);
    if (engine_ != nullptr && changed) engine_->tlb_entry_changed(index, before);
}

void Vcpu::set_tlb_entry(unsigned index, const mmu::TlbEntry& value) {
    const mmu::TlbEntry before = tlb.entry(index);
    tlb.set(index, value);
    if (engine_ != nullptr && !(value == before)) engine_->tlb_entry_changed(index, before);
}

void Vcpu::update_pending() {
    const auto due = [&](std::uint32_t status, std::uint32_t enable) {
        return (state.tsr & status) != 0 && (state.tcr & enable) != 0;
    };
    std::uint32_t pending = 0;
    if (line(false) || due(isa::tsr::dis, isa::tcr::die) || due(isa::tsr::fis, isa::tcr::fie))
        pending |= isa::pending::external;
    if (line(true) || due(isa::tsr::wis, isa::tcr::wie)) pending |= isa::pending::critical;
    if (debug::event_recorded(state)) pending |= isa::pending::debug;
    state.page.pending = pending;
}

} // namespace untrap::runtime
