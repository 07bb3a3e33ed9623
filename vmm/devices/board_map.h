// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

/// Where everything sits on the AMCC Bamboo (PPC440EP), plus what untrap adds in holes of its map.
/// Addresses are guest physical (the ERPN is 0 for all of them), interrupts are UIC input numbers with bit 0 the most
/// significant, as the device tree counts them.
namespace untrap::vmm::board {

enum class Trigger : std::uint32_t { edge_rising = 1, edge_falling = 2, level_high = 4, level_low = 8 };

struct Interrupt {
    unsigned uic;   ///< 0 or 1
    unsigned input; ///< 0-31
    Trigger trigger;
};

struct MmioSlot {
    std::uint64_t base;
    std::uint64_t size;
    Interrupt interrupt;
};

struct DcrRange {
    std::uint32_t first;
    std::uint32_t count;
};

// Clocks. The PLL registers of Cpr0 are set to say the same.
inline constexpr std::uint32_t sys_clock_hz = 33'333'333;
inline constexpr std::uint32_t cpu_clock_hz = sys_clock_hz * 16; // 533 MHz
inline constexpr std::uint32_t plb_clock_hz = sys_clock_hz * 4;  // 133 MHz
inline constexpr std::uint32_t opb_clock_hz = plb_clock_hz / 2;  // 67 MHz
inline constexpr std::uint32_t ebc_clock_hz = plb_clock_hz / 2;  // 67 MHz
inline constexpr std::uint32_t uart_clock_hz = 11'059'200;       // external crystal, 115200 baud = divisor 6
inline constexpr std::uint32_t timer_clock_hz = 25'000'000;      // TmrClk input, used when CCR1[TCS] is set

// Device control registers.
inline constexpr DcrRange cpr0_dcr{0x00c, 2};
inline constexpr DcrRange sdr0_dcr{0x00e, 2};
inline constexpr DcrRange sdram0_dcr{0x010, 2};
inline constexpr DcrRange ebc0_dcr{0x012, 2};
inline constexpr DcrRange plb3_arbiter_dcr{0x070, 0x10};
inline constexpr DcrRange plb4_arbiter_dcr{0x080, 0x10};
inline constexpr DcrRange plb_opb_bridge_dcr{0x090, 0x10};
inline constexpr DcrRange plb3_plb4_bridge_dcr{0x0a0, 0x10};
inline constexpr DcrRange uic0_dcr{0x0c0, 9};
inline constexpr DcrRange uic1_dcr{0x0d0, 9};
inline constexpr DcrRange dma0_dcr{0x100, 0x27};
inline constexpr DcrRange mal0_dcr{0x180, 0x62};

// Interrupt tree.
inline constexpr unsigned uic0_input_uic1_noncritical = 30;
inline constexpr unsigned uic0_input_uic1_critical = 31;
/// External PCI interrupt pins (UIC0 25-28) are active low and pulled up: they idle high.
inline constexpr std::uint32_t uic0_idle_high =
    (0x80000000u >> 25) | (0x80000000u >> 26) | (0x80000000u >> 27) | (0x80000000u >> 28);
inline constexpr std::uint32_t uic1_idle_high = 0;

// Serial ports (byte registers, stride 1).
inline constexpr MmioSlot uart0{0xef600300, 8, {0, 0, Trigger::level_high}};
inline constexpr MmioSlot uart1{0xef600400, 8, {0, 1, Trigger::level_high}};

// Added by untrap: virtio-mmio. UIC0 inputs are used rather than UIC1 ones because a cascaded interrupt costs a guest
// twice the DCR accesses, each of which is an exit. Inputs 16-23 of UIC0 have no user in the board's device tree.
inline constexpr std::uint64_t virtio_base = 0xef700000;
inline constexpr std::uint64_t virtio_slot_size = 0x200;
inline constexpr unsigned virtio_slot_count = 8;
inline constexpr unsigned virtio_first_input = 16;

constexpr MmioSlot virtio_slot(unsigned index) {
    return {
        virtio_base + index * virtio_slot_size, virtio_slot_size, {0, virtio_first_input + index, Trigger::level_high}};
}
inline constexpr std::array<MmioSlot, virtio_slot_count> virtio_slots{virtio_slot(0), virtio_slot(1), virtio_slot(2),
                                                                      virtio_slot(3), virtio_slot(4), virtio_slot(5),
                                                                      virtio_slot(6), virtio_slot(7)};

// Added by untrap: the power register (see power.h), a page of its own.
inline constexpr std::uint64_t power_base = 0xef701000;
inline constexpr std::uint64_t power_size = 4;

static_assert(virtio_base + virtio_slot_count * virtio_slot_size <= power_base);
static_assert(virtio_first_input + virtio_slot_count <= 25, "virtio inputs must stay clear of the PCI pins");

} // namespace untrap::vmm::board
