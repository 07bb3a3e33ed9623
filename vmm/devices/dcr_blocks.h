// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "vmm/devices/bus.h"

namespace untrap::vmm {

/// Register blocks behind an address/data pair of DCRs: CPR0, SDR0, SDRAM0, EBC0. A register holds what is written
/// under its write mask; bits in the clear mask are write-1-to-clear. Unknown registers are reported once each, read 0
/// and ignore writes.
class IndirectDcrBlock : public DcrDevice {
  public:
    std::uint32_t read(std::uint32_t dcrn) override;
    void write(std::uint32_t dcrn, std::uint32_t value) override;
    void reset();

  protected:
    IndirectDcrBlock(std::uint32_t address_dcrn, std::string name);
    void define(std::uint32_t reg, std::uint32_t reset_value, std::uint32_t write_mask = 0xffffffff,
                std::uint32_t clear_mask = 0);

  private:
    struct Register {
        std::uint32_t value;
        std::uint32_t reset_value;
        std::uint32_t write_mask;
        std::uint32_t clear_mask;
    };
    Register* selected(const char* action);

    std::uint32_t address_dcrn_;
    std::string name_;
    std::uint32_t address_ = 0;
    std::map<std::uint32_t, Register> registers_;
    ReportOnce unknown_;
};

/// Clocking: PLL and dividers as board_map.h's clocks say.
class Cpr0 final : public IndirectDcrBlock {
  public:
    Cpr0();
};

/// Chip control: UART clock selection, pin functions, straps.
class Sdr0 final : public IndirectDcrBlock {
  public:
    Sdr0();
};

/// DDR controller. Boot wrappers and firmware add up the banks to learn the memory size.
class Sdram0 final : public IndirectDcrBlock {
  public:
    static constexpr unsigned bank_count = 4;

    /// `memory_bytes`: RAM from address 0. Each bank holds a power of two from 4 MB to 256 MB; what four banks
    /// cannot say is reported (the device tree is the truth then).
    explicit Sdram0(std::uint64_t memory_bytes);

    /// Bytes the banks describe.
    std::uint64_t described_bytes() const { return described_; }

  private:
    std::uint64_t described_ = 0;
};

/// External bus controller: bank 0 is the boot flash, which untrap does not populate.
class Ebc0 final : public IndirectDcrBlock {
  public:
    Ebc0();
};

/// Directly numbered registers that simply hold values: arbiters, bridges, DMA, MAL. Bits in `self_clearing` of the
/// first register (MAL0_CFG's soft reset) read back 0 at once.
class PlainDcrBlock final : public DcrDevice {
  public:
    PlainDcrBlock(std::uint32_t first, std::uint32_t count, std::uint32_t self_clearing = 0);

    void set_reset_value(std::uint32_t dcrn, std::uint32_t value);
    std::uint32_t read(std::uint32_t dcrn) override;
    void write(std::uint32_t dcrn, std::uint32_t value) override;
    void reset() { values_ = reset_values_; }

  private:
    std::uint32_t first_;
    std::uint32_t self_clearing_;
    std::vector<std::uint32_t> values_;
    std::vector<std::uint32_t> reset_values_;
};

/// All of the above with the board's numbers. Does not include the UICs.
class BoardDcrs {
  public:
    explicit BoardDcrs(std::uint64_t memory_bytes);
    BoardDcrs(const BoardDcrs&) = delete;
    BoardDcrs& operator=(const BoardDcrs&) = delete;

    /// Maps every block. The bus must not be used after this object is gone.
    void attach(DcrBus& bus);
    void reset();

  private:
    Cpr0 cpr0_;
    Sdr0 sdr0_;
    Sdram0 sdram0_;
    Ebc0 ebc0_;
    PlainDcrBlock plb3_arbiter_;
    PlainDcrBlock plb4_arbiter_;
    PlainDcrBlock plb_opb_bridge_;
    PlainDcrBlock plb3_plb4_bridge_;
    PlainDcrBlock dma0_;
    PlainDcrBlock mal0_;
};

} // namespace untrap::vmm
