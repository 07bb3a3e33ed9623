// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <deque>

#include "vmm/devices/char_backend.h"
#include "vmm/devices/diagnostics.h"
#include "vmm/virtio/virtio_device.h"

namespace untrap::vmm {

/// virtio console with one port (hvc0 in Linux).
class VirtioConsole final : public VirtioDevice, public CharInput {
  public:
    /// `sink` may be null: output is dropped. It must outlive the device.
    VirtioConsole(const GuestMemory& memory, CharSink* sink);

    void receive(std::span<const std::uint8_t> bytes) override;

  private:
    static constexpr unsigned receive_queue = 0;
    static constexpr unsigned transmit_queue = 1;

    void handle_queue(unsigned queue_index) override;
    void handle_activate() override { deliver_backlog(); }
    void deliver_backlog();

    CharSink* sink_;
    std::deque<std::uint8_t> backlog_;
    Chain chain_;
    ReportOnce dropped_{1};
};

} // namespace untrap::vmm
