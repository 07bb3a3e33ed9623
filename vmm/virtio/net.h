// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "vmm/devices/diagnostics.h"
#include "vmm/virtio/net_backend.h"
#include "vmm/virtio/virtio_device.h"

namespace untrap::vmm {

/// virtio network card: one queue pair, no offloads, mergeable receive buffers.
class VirtioNet final : public VirtioDevice {
  public:
    using MacAddress = std::array<std::uint8_t, 6>;
    static constexpr MacAddress default_mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    /// `backend` must outlive the device; it hears no more of it after the destructor.
    VirtioNet(const GuestMemory& memory, NetBackend& backend, MacAddress mac = default_mac);
    ~VirtioNet() override;

  private:
    static constexpr unsigned receive_queue = 0;
    static constexpr unsigned transmit_queue = 1;
    static constexpr std::size_t header_size = 12;
    static constexpr std::size_t frame_limit = 65536;
    static constexpr std::size_t backlog_limit = 1024; // frames

    void handle_queue(unsigned queue_index) override;
    void handle_activate() override;
    void handle_reset() override;
    std::span<const std::uint8_t> config() const override { return config_; }
    void transmit();
    void frame_arrived(std::span<const std::uint8_t> frame);
    void deliver_backlog();
    /// False: no buffers for it yet.
    bool deliver(std::span<const std::uint8_t> frame);

    NetBackend& backend_;
    std::array<std::uint8_t, 8> config_{};
    std::deque<std::vector<std::uint8_t>> backlog_;
    std::vector<std::uint8_t> frame_;
    Chain chain_;                       // transmit
    std::vector<Chain> receive_chains_; // apart: a backend may answer from inside send()
    ReportOnce odd_frames_{4};
};

} // namespace untrap::vmm
