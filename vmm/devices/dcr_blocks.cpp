// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/dcr_blocks.h"

#include <bit>
#include <initializer_list>
#include <utility>

#include <fmt/format.h>

#include "vmm/devices/board_map.h"

namespace untrap::vmm {

IndirectDcrBlock::IndirectDcrBlock(std::uint32_t address_dcrn, std::string name)
    : address_dcrn_(address_dcrn), name_(std::move(name)) {}

void IndirectDcrBlock::define(std::uint32_t reg, std::uint32_t reset_value, std::uint32_t write_mask,
                              std::uint32_t clear_mask) {
    registers_[reg] = Register{reset_value, reset_value, write_mask, clear_mask};
}

void IndirectDcrBlock::reset() {
    address_ = 0;
    for (auto& [number, reg] : registers_) reg.value = reg.reset_value;
}

IndirectDcrBlock::Register* IndirectDcrBlock::selected(const char* action) {
    const auto found = registers_.find(address_);
    if (found != registers_.end()) return &found->second;
    if (unknown_.first(address_))
        report(fmt::format("guest {} {} register {:#x}, which is unknown", action, name_, address_));
    return nullptr;
}

std::uint32_t IndirectDcrBlock::read(std::uint32_t dcrn) {
    if (dcrn == address_dcrn_) return address_;
    const Register* reg = selected("reads");
    return reg ? reg->value : 0;
}

void IndirectDcrBlock::write(std::uint32_t dcrn, std::uint32_t value) {
    if (dcrn == address_dcrn_) {
        address_ = value;
        return;
    }
    Register* reg = selected("writes");
    if (!reg) return;
    reg->value &= ~(value & reg->clear_mask);
    reg->value = (reg->value & ~reg->write_mask) | (value & reg->write_mask);
}

namespace {

/// Dividers as the registers encode them: 0 stands for the largest, so none of these may be that.
struct Pll {
    std::uint32_t feedback, forward_a, forward_b, local_feedback, primary_a, primary_b, opb, peripheral;
};
constexpr Pll pll{.feedback = 16,
                  .forward_a = 2,
                  .forward_b = 4,
                  .local_feedback = 1,
                  .primary_a = 1,
                  .primary_b = 2,
                  .opb = 2,
                  .peripheral = 2};
constexpr std::uint32_t vco_over_sys = pll.forward_a * pll.local_feedback * pll.feedback;
static_assert(board::cpu_clock_hz == board::sys_clock_hz * (vco_over_sys / pll.forward_a / pll.primary_a));
static_assert(board::plb_clock_hz == board::sys_clock_hz * (vco_over_sys / pll.forward_b / pll.primary_b));
static_assert(board::opb_clock_hz == board::plb_clock_hz / pll.opb);
static_assert(board::ebc_clock_hz == board::plb_clock_hz / pll.peripheral);

constexpr std::uint32_t top_byte(std::uint32_t value) { return value << 24; }

} // namespace

Cpr0::Cpr0() : IndirectDcrBlock(board::cpr0_dcr.first, "CPR0") {
    constexpr std::uint32_t pll_engaged = 0x40000000; // feedback from the PLL output through divider A
    define(0x020, 0);                                 // CLKUPD
    define(0x040, pll_engaged);                       // PLLC
    define(0x060, top_byte(pll.feedback) | pll.forward_a << 16 | pll.forward_b << 8 | pll.local_feedback); // PLLD
    define(0x080, top_byte(pll.primary_a));                                                                // PRIMAD
    define(0x0a0, top_byte(pll.primary_b));                                                                // PRIMBD
    define(0x0c0, top_byte(pll.opb));                                                                      // OPBD
    define(0x0e0, top_byte(pll.peripheral));                                                               // PERD
    define(0x100, top_byte(1));                                                                            // MALD
    define(0x120, top_byte(1));                                                                            // SPCID
    define(0x140, 0);                                                                                      // ICFG
}

Sdr0::Sdr0() : IndirectDcrBlock(board::sdr0_dcr.first, "SDR0") {
    constexpr std::uint32_t external_serial_clock = 0x00800000;
    for (std::uint32_t strap = 0x020; strap <= 0x023; ++strap) define(strap, 0, 0); // SDSTP0-3, sampled at power-on
    define(0x040, 0, 0);                                                            // PINSTP
    define(0x060, 0);                                                               // SDCS
    for (std::uint32_t id = 0x080; id <= 0x083; ++id) define(id, 0, 0);             // ECID0-3: no fuse is blown
    define(0x0c0, 0, 0);                                                            // JTAG
    define(0x0e0, 0);                                                               // DDRDL
    define(0x100, 0);                                                               // EBC
    for (std::uint32_t uart = 0x120; uart <= 0x123; ++uart) define(uart, external_serial_clock); // UART0-3
    define(0x180, 0);                                                                            // CP440
    define(0x1c0, 0);                                                                            // XCR / PCI0
    define(0x1c1, 0);                                                                            // XPLLC
    define(0x1c2, 0);                                                                            // XPLLD
    define(0x200, 0);                                                                            // SRST
    define(0x220, 0);                                                                            // SLPIPE
    define(0x240, 0);                                                                            // AMP0
    define(0x241, 0);                                                                            // AMP1
    define(0x260, 0);                                                                            // MIRQ0
    define(0x261, 0);                                                                            // MIRQ1
    define(0x280, 0);                                                                            // MALTBL
    define(0x2a0, 0);                                                                            // MALRBL
    define(0x2c0, 0);                                                                            // MALTBS
    define(0x2e0, 0);                                                                            // MALRBS
    define(0x320, 0);                                                                            // USB0
    define(0x4000, 0);                                                                           // CUST0
    define(0x4001, 0);                                                                           // SDSTP4
    define(0x4002, 0);                                                                           // CUST1
    define(0x4003, 0);                                                                           // SDSTP5
    define(0x4100, 0);                                                                           // PFC0
    define(0x4101, 0);                                                                           // PFC1
    define(0x4200, 0);                                                                           // PLBTR
    define(0x4300, 0);                                                                           // MFR
}

Sdram0::Sdram0(std::uint64_t memory_bytes) : IndirectDcrBlock(board::sdram0_dcr.first, "SDRAM0") {
    constexpr std::uint64_t smallest = 4ull << 20, largest = 256ull << 20;
    constexpr std::uint32_t bank_enable = 1;
    constexpr unsigned size_shift = 17; // size code n: 4 MB << n
    for (unsigned bank = 0; bank < bank_count; ++bank) {
        std::uint32_t config = 0;
        const std::uint64_t left = memory_bytes - described_;
        if (left >= smallest) {
            const std::uint64_t size = left >= largest ? largest : std::bit_floor(left);
            const auto code = static_cast<std::uint32_t>(std::countr_zero(size) - std::countr_zero(smallest));
            config = static_cast<std::uint32_t>(described_) | code << size_shift | bank_enable;
            described_ += size;
        }
        define(0x040 + 4 * bank, config); // B0CR-B3CR
    }
    if (described_ != memory_bytes)
        report(fmt::format("SDRAM0's four banks describe {} of {} KiB of memory; kernels with a device tree use all",
                           described_ >> 10, memory_bytes >> 10));
    define(0x000, 0, 0, 0xffffffff);       // BESR0
    define(0x008, 0, 0, 0xffffffff);       // BESR1
    define(0x010, 0, 0);                   // BEAR
    define(0x018, 0);                      // SLIO
    define(0x020, 0x80000000);             // CFG0: the controller runs, firmware enabled it
    define(0x021, 0);                      // CFG1
    define(0x022, 0);                      // DEVOPT
    define(0x024, 0x80000000, 0);          // MCSTS: initialisation done
    define(0x030, 0x05f00000, 0xffff0000); // RTR
    define(0x034, 0x07c00000);             // PMIT
    define(0x038, 0);                      // UABBA
    define(0x080, 0);                      // TR0
    define(0x081, 0);                      // TR1
    define(0x082, 0);                      // CLKTR
    define(0x083, 0);                      // WDDCTR
    define(0x084, 0);                      // DLYCAL
    define(0x098, 0, 0, 0xffffffff);       // ECCESR
}

Ebc0::Ebc0() : IndirectDcrBlock(board::ebc0_dcr.first, "EBC0") {
    constexpr std::uint32_t banks = 6;
    for (std::uint32_t bank = 0; bank < banks; ++bank) {
        define(bank, bank == 0 ? 0xffe28000u : 0u);        // BnCR: the boot flash's bank after reset
        define(0x10 + bank, bank == 0 ? 0x7f8ffe80u : 0u); // BnAP
    }
    define(0x20, 0, 0);             // BEAR
    define(0x21, 0, 0, 0xffffffff); // BESR
    define(0x23, 0x80400000);       // CFG
    define(0x24, 0, 0);             // CID
}

PlainDcrBlock::PlainDcrBlock(std::uint32_t first, std::uint32_t count, std::uint32_t self_clearing)
    : first_(first), self_clearing_(self_clearing), values_(count), reset_values_(count) {}

void PlainDcrBlock::set_reset_value(std::uint32_t dcrn, std::uint32_t value) {
    if (dcrn - first_ >= values_.size()) return;
    values_[dcrn - first_] = reset_values_[dcrn - first_] = value;
}

std::uint32_t PlainDcrBlock::read(std::uint32_t dcrn) {
    const std::uint32_t index = dcrn - first_;
    return index < values_.size() ? values_[index] : 0;
}

void PlainDcrBlock::write(std::uint32_t dcrn, std::uint32_t value) {
    const std::uint32_t index = dcrn - first_;
    if (index >= values_.size()) return;
    values_[index] = index == 0 ? value & ~self_clearing_ : value;
}

namespace {

constexpr std::uint32_t mal_soft_reset = 0x80000000;

PlainDcrBlock plain(board::DcrRange range, std::uint32_t self_clearing = 0) {
    return PlainDcrBlock(range.first, range.count, self_clearing);
}

void map_block(DcrBus& bus, board::DcrRange range, DcrDevice& device, const char* name) {
    bus.map(range.first, range.count, device, name);
}

} // namespace

BoardDcrs::BoardDcrs(std::uint64_t memory_bytes)
    : sdram0_(memory_bytes), plb3_arbiter_(plain(board::plb3_arbiter_dcr)),
      plb4_arbiter_(plain(board::plb4_arbiter_dcr)), plb_opb_bridge_(plain(board::plb_opb_bridge_dcr)),
      plb3_plb4_bridge_(plain(board::plb3_plb4_bridge_dcr)), dma0_(plain(board::dma0_dcr)),
      mal0_(plain(board::mal0_dcr, mal_soft_reset)) {}

void BoardDcrs::attach(DcrBus& bus) {
    map_block(bus, board::cpr0_dcr, cpr0_, "CPR0");
    map_block(bus, board::sdr0_dcr, sdr0_, "SDR0");
    map_block(bus, board::sdram0_dcr, sdram0_, "SDRAM0");
    map_block(bus, board::ebc0_dcr, ebc0_, "EBC0");
    map_block(bus, board::plb3_arbiter_dcr, plb3_arbiter_, "PLB3 arbiter");
    map_block(bus, board::plb4_arbiter_dcr, plb4_arbiter_, "PLB4 arbiter");
    map_block(bus, board::plb_opb_bridge_dcr, plb_opb_bridge_, "PLB to OPB bridge");
    map_block(bus, board::plb3_plb4_bridge_dcr, plb3_plb4_bridge_, "PLB3 to PLB4 bridge");
    map_block(bus, board::dma0_dcr, dma0_, "DMA0");
    map_block(bus, board::mal0_dcr, mal0_, "MAL0");
}

void BoardDcrs::reset() {
    for (IndirectDcrBlock* block : std::initializer_list<IndirectDcrBlock*>{&cpr0_, &sdr0_, &sdram0_, &ebc0_})
        block->reset();
    for (PlainDcrBlock* block : {&plb3_arbiter_, &plb4_arbiter_, &plb_opb_bridge_, &plb3_plb4_bridge_, &dma0_, &mal0_})
        block->reset();
}

} // namespace untrap::vmm
