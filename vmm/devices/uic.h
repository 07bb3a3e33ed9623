// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "vmm/devices/bus.h"
#include "vmm/devices/irq_line.h"

namespace untrap::vmm {

/// Universal Interrupt Controller: 32 inputs (0 is the most significant register bit), two outputs.
///
/// offset  register
///   0  SR   status: latched for edge inputs; for level inputs latched too, but cannot be cleared while the input is
///           active. Write 1 to clear.
///   1  SRS  write 1 to set a status bit; reads as SR
///   2  ER   enable          3  CR  1 = critical         4  PR  1 = active high / rising edge
///   5  TR   1 = edge        6  MSR SR & ER, read only   7  VR  vector of the highest critical interrupt, or 0
///   8  VCR  vector base (bits 0-29) and priority order (bit 31: 1 = input 0 first, 0 = input 31 first)
///
/// Reset: everything disabled, level triggered, polarity such that every idle input is inactive (hardware leaves PR
/// undefined; firmware sets it so before an operating system runs).
class Uic final : public DcrDevice {
  public:
    /// `dcr_base`: number of SR. `idle_high`: inputs whose wire is high when nobody asserts it (active-low sources).
    Uic(std::uint32_t dcr_base, std::uint32_t idle_high, IrqLine noncritical, IrqLine critical);

    /// A wire to input `input` (0-31). The Uic must stay where it is. One wire per input.
    IrqLine input_line(unsigned input);
    /// The same without a wire object: `asserted` is logical, polarity comes from idle_high.
    void set_input(unsigned input, bool asserted);

    std::uint32_t read(std::uint32_t dcrn) override;
    void write(std::uint32_t dcrn, std::uint32_t value) override;
    void reset();

    static constexpr std::uint32_t mask_of(unsigned input) { return 0x80000000u >> input; }

  private:
    std::uint32_t active() const { return ~(level_ ^ polarity_); }
    void latch_levels();
    void update_outputs();
    std::uint32_t vector() const;

    std::uint32_t dcr_base_;
    std::uint32_t idle_high_;
    std::uint32_t level_; // electrical level of each input
    std::uint32_t status_ = 0;
    std::uint32_t enable_ = 0;
    std::uint32_t critical_ = 0;
    std::uint32_t polarity_ = 0;
    std::uint32_t edge_ = 0;
    std::uint32_t vector_config_ = 0;
    IrqLine noncritical_out_;
    IrqLine critical_out_;
};

} // namespace untrap::vmm
