// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <memory>

#include "vmm/virtio/net_backend.h"

namespace untrap::vmm {

/// User networking (libslirp): NAT without privileges. Guest 10.0.2.15/24 by DHCP, gateway 10.0.2.2, which is also the
/// host's loopback, name server 10.0.2.3. IPv4 only, nothing forwarded inward.
class SlirpBackend final : public NetBackend {
  public:
    /// Throws Error when libslirp refuses.
    SlirpBackend();
    ~SlirpBackend() override;

    void send(std::span<const std::uint8_t> frame) override;
    void fill(std::vector<pollfd>& fds, int& timeout_ms) override;
    void ready(std::span<const pollfd> fds) override;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace untrap::vmm
