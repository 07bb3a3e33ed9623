// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/devices/bus.h"
#include "vmm/devices/irq_line.h"
#include "vmm/virtio/virtio_device.h"

namespace untrap::vmm {

/// virtio over MMIO, version 2 (virtio 1.x, little-endian registers), one device. Map it with a size of 0x200.
/// Without a device the slot answers with device id 0, which drivers skip.
class MmioTransport final : public MmioDevice {
  public:
    /// `device` may be null (empty slot); it must outlive the transport.
    MmioTransport(VirtioDevice* device, IrqLine irq);
    ~MmioTransport() override;
    MmioTransport(const MmioTransport&) = delete;
    MmioTransport& operator=(const MmioTransport&) = delete;

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    /// Board reset: as if the driver had written 0 to Status.
    void reset();

  private:
    std::uint32_t read_register(std::uint64_t offset);
    void write_register(std::uint64_t offset, std::uint32_t value);
    void write_status(std::uint32_t value);
    void write_queue_ready(std::uint32_t value);
    void on_event(VirtioDevice::Event event);
    void update_irq();

    VirtioDevice* device_;
    IrqLine irq_;
    std::uint32_t status_ = 0;
    std::uint32_t interrupt_status_ = 0;
    std::uint32_t config_generation_ = 0;
    std::uint32_t device_feature_select_ = 0;
    std::uint32_t driver_feature_select_ = 0;
    std::uint64_t driver_features_ = 0;
    std::uint32_t queue_select_ = 0;
    std::vector<Virtqueue::Layout> layouts_;
    ReportOnce odd_access_{8};
};

} // namespace untrap::vmm
