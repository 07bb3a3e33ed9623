// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/uic.h"

#include <bit>
#include <utility>

namespace untrap::vmm {

namespace {

enum Register : std::uint32_t { sr = 0, srs = 1, er = 2, cr = 3, pr = 4, tr = 5, msr = 6, vr = 7, vcr = 8 };

constexpr std::uint32_t vector_base_mask = 0xfffffffc;
constexpr std::uint32_t vector_first_input_highest = 1;
constexpr std::uint32_t vector_spacing = 512;

} // namespace

Uic::Uic(std::uint32_t dcr_base, std::uint32_t idle_high, IrqLine noncritical, IrqLine critical)
    : dcr_base_(dcr_base), idle_high_(idle_high), level_(idle_high), noncritical_out_(std::move(noncritical)),
      critical_out_(std::move(critical)) {
    reset();
}

void Uic::reset() {
    status_ = enable_ = critical_ = edge_ = vector_config_ = 0;
    polarity_ = ~idle_high_;
    latch_levels();
    update_outputs();
}

IrqLine Uic::input_line(unsigned input) {
    return IrqLine([this, input](bool asserted) { set_input(input, asserted); });
}

void Uic::set_input(unsigned input, bool asserted) {
    if (input > 31) return;
    const std::uint32_t mask = mask_of(input);
    const std::uint32_t before = active();
    const bool high = asserted != ((idle_high_ & mask) != 0);
    level_ = high ? level_ | mask : level_ & ~mask;
    status_ |= active() & ~before & edge_ & mask;
    latch_levels();
    update_outputs();
}

// Level inputs set their status bit for as long as they are active, and leave it set behind them.
void Uic::latch_levels() { status_ |= active() & ~edge_; }

void Uic::update_outputs() {
    const std::uint32_t pending = status_ & enable_;
    noncritical_out_.set((pending & ~critical_) != 0);
    critical_out_.set((pending & critical_) != 0);
}

std::uint32_t Uic::vector() const {
    const std::uint32_t pending = status_ & enable_ & critical_;
    if (!pending) return 0;
    const bool first_highest = (vector_config_ & vector_first_input_highest) != 0;
    const auto rank = static_cast<std::uint32_t>(first_highest ? std::countl_zero(pending) : std::countr_zero(pending));
    return (vector_config_ & vector_base_mask) + rank * vector_spacing;
}

std::uint32_t Uic::read(std::uint32_t dcrn) {
    switch (dcrn - dcr_base_) {
    case sr:
    case srs: return status_;
    case er: return enable_;
    case cr: return critical_;
    case pr: return polarity_;
    case tr: return edge_;
    case msr: return status_ & enable_;
    case vr: return vector();
    case vcr: return vector_config_;
    default: return 0;
    }
}

void Uic::write(std::uint32_t dcrn, std::uint32_t value) {
    switch (dcrn - dcr_base_) {
    case sr: status_ &= ~value; break;
    case srs: status_ |= value; break;
    case er: enable_ = value; break;
    case cr: critical_ = value; break;
    case pr: polarity_ = value; break; // not an edge: only the wire makes one
    case tr: edge_ = value; break;
    case vcr: vector_config_ = value & (vector_base_mask | vector_first_input_highest); break;
    default: return; // MSR and VR are read only
    }
    latch_levels();
    update_outputs();
}

} // namespace untrap::vmm
