// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/mmio_transport.h"

namespace untrap::vmm::test {

/// The guest's side of virtio-mmio: talks to a transport through its registers and keeps rings in guest memory.
class VirtioDriver {
  public:
    struct Buffer {
        std::uint64_t gpa;
        std::uint32_t length;
    };
    struct Used {
        std::uint32_t head;
        std::uint32_t written;
    };
    struct Queue {
        std::uint16_t size = 0;
        std::uint64_t descriptors = 0, driver_area = 0, device_area = 0;
        std::uint16_t available = 0, used = 0, next_descriptor = 0;
    };

    static constexpr std::uint16_t queue_size = 16;
    static constexpr std::uint32_t status_ok = 0x0f, needs_reset = 0x40;

    /// Rings of queue n go to rings + n * 0x1000.
    VirtioDriver(GuestMemory& memory, MmioTransport& transport, std::uint64_t rings)
        : memory_(memory), transport_(transport), rings_(rings) {}

    std::uint32_t reg(std::uint64_t offset);
    void set_reg(std::uint64_t offset, std::uint32_t value);
    std::uint64_t offered();
    std::uint32_t status() { return reg(0x070); }

    /// Reset, features, queues, DRIVER_OK. Returns the status read back at the end.
    std::uint32_t start(std::uint64_t wanted_features, unsigned queues, std::uint16_t size = queue_size);
    void place_queue(unsigned index, const Queue& queue);

    Queue& queue(unsigned index) { return queues_[index]; }
    void set_descriptor(std::uint64_t table, unsigned index, std::uint64_t gpa, std::uint32_t length,
                        std::uint16_t flags, std::uint16_t next);
    /// Puts a chain into the ring; indirect at `table` if given.
    std::uint16_t add(unsigned index, const std::vector<Buffer>& readable, const std::vector<Buffer>& writable,
                      std::optional<std::uint64_t> table = std::nullopt);
    void make_available(unsigned index, std::uint16_t head);
    void kick(unsigned index) { set_reg(0x050, index); }
    std::optional<Used> next_used(unsigned index);
    std::uint16_t used_index(unsigned index);
    /// Reads and acknowledges the interrupt status.
    std::uint32_t take_interrupt();

  private:
    GuestMemory& memory_;
    MmioTransport& transport_;
    std::uint64_t rings_;
    std::vector<Queue> queues_;
};

} // namespace untrap::vmm::test
