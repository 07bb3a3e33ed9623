// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "vmm/virtio/io_source.h"

namespace untrap::vmm {

/// The other end of a network card: Ethernet frames without checksum, from 14 bytes up.
class NetBackend : public IoSource {
  public:
    using FrameHandler = std::function<void(std::span<const std::uint8_t> frame)>;

    /// A frame from the guest.
    virtual void send(std::span<const std::uint8_t> frame) = 0;
    /// Who takes frames for the guest. Called from ready() and from send(), machine lock held.
    void set_frame_handler(FrameHandler handler) { handler_ = std::move(handler); }

  protected:
    void deliver(std::span<const std::uint8_t> frame) const {
        if (handler_) handler_(frame);
    }

  private:
    FrameHandler handler_;
};

} // namespace untrap::vmm
