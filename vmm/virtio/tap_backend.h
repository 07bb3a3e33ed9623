// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/devices/diagnostics.h"
#include "vmm/virtio/net_backend.h"

namespace untrap::vmm {

/// A host tap interface.
class TapBackend final : public NetBackend {
  public:
    /// Attaches to `interface`, creating it if the caller may. Throws Error with the name and the cause.
    explicit TapBackend(const std::string& interface);
    ~TapBackend() override;

    void send(std::span<const std::uint8_t> frame) override;
    void fill(std::vector<pollfd>& fds, int& timeout_ms) override;
    void ready(std::span<const pollfd> fds) override;

  private:
    int fd_ = -1;
    std::string interface_;
    std::vector<std::uint8_t> buffer_;
    bool failed_ = false;
    ReportOnce send_errors_{4};
};

} // namespace untrap::vmm
