// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "vmm/virtio/virtio_device.h"

namespace untrap::vmm {

/// virtio entropy source.
class VirtioRng final : public VirtioDevice {
  public:
    /// Without `seed` bytes come from the host kernel. With it they are a fixed sequence (splitmix64), so that runs
    /// under the guest clock repeat; that is not random and not meant to be. A device reset does not restart it.
    VirtioRng(const GuestMemory& memory, std::optional<std::uint64_t> seed);

  private:
    /// Most bytes given for one request; a driver asks again for more.
    static constexpr std::size_t request_limit = 64 * 1024;

    void handle_queue(unsigned queue_index) override;
    void generate(std::span<std::uint8_t> out);

    std::optional<std::uint64_t> state_;
    Chain chain_;
};

} // namespace untrap::vmm
