// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <functional>
#include <utility>

#include "vmm/devices/bus.h"

namespace untrap::vmm {

/// One 32-bit big-endian register at board::power_base. Storing `power_off_value` turns the machine off; it reads 0 and
/// ignores anything else. The real board has no such switch: Linux's generic driver finds it through the device tree,
/// when the kernel has CONFIG_POWER_RESET and CONFIG_POWER_RESET_SYSCON_POWEROFF (bamboo_defconfig has not, there
/// `poweroff` ends in an endless loop with interrupts off):
///
///     power: power@ef701000 { compatible = "syscon"; reg = <0xef701000 4>; big-endian; };
///     poweroff { compatible = "syscon-poweroff"; regmap = <&power>; offset = <0>; value = <0x6f666621>; };
class PowerSwitch final : public MmioDevice {
  public:
    static constexpr std::uint32_t power_off_value = 0x6f666621;

    explicit PowerSwitch(std::function<void()> power_off) : power_off_(std::move(power_off)) {}

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  private:
    std::function<void()> power_off_;
};

} // namespace untrap::vmm
