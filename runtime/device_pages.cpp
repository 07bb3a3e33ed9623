// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/device_pages.h"

#include "runtime/byte_order.h"
#include "runtime/kvm/errno_values.h"

namespace untrap::runtime {

int DevicePages::add_zone(const abi::kvm_coalesced_mmio_zone& zone) {
    if (zone.pio != 0 || zone.size == 0 || zone.addr + (zone.size - 1) < zone.addr) return -errno_values::einval;
    if (zone_count_ == most_zones) return -errno_values::enospc;
    zones_[zone_count_++] = zone;
    return 0;
}

int DevicePages::remove_zone(const abi::kvm_coalesced_mmio_zone& zone) {
    if (zone.pio != 0) return -errno_values::einval;
    for (unsigned index = 0; index < zone_count_;) {
        if (contains(zones_[index], zone.addr, zone.size))
            zones_[index] = zones_[--zone_count_];
        else
            ++index;
    }
    return 0;
}

bool DevicePages::add(std::uint64_t real, unsigned size, std::uint64_t value, std::uint64_t now) {
    if (ring_ == nullptr) return false;
    const std::uint32_t last = once(ring_->last);
    if (last >= abi::coalesced_mmio_max) return false;
    const std::uint32_t next = last + 1 == abi::coalesced_mmio_max ? 0 : last + 1;
    // Acquire: userspace has read what stood in the place that it gives back.
    if (next == __atomic_load_n(&ring_->first, __ATOMIC_ACQUIRE)) return false; // full
    abi::kvm_coalesced_mmio& entry = ring_->coalesced_mmio[last];
    entry.phys_addr = real;
    entry.len = size;
    entry.pio = 0;
    store_big_endian(entry.data, size, value);
    __atomic_store_n(&ring_->last, next, __ATOMIC_RELEASE);
    if (drain_at_ == never) drain_at_ = now + delay_;
    return true;
}

} // namespace untrap::runtime
