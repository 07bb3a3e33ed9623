// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/power.h"

namespace untrap::vmm {

std::uint64_t PowerSwitch::read(std::uint64_t, unsigned) { return 0; }

void PowerSwitch::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset == 0 && size == 4 && value == power_off_value && power_off_) power_off_();
}

} // namespace untrap::vmm
