// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "vmm/devices/diagnostics.h"
#include "vmm/virtio/virtio_device.h"

namespace untrap::vmm {

/// virtio block device on a raw image file (or a host block device). Requests are done with preadv and pwritev inside
/// the notification, so that a run under the guest clock is the same each time.
class VirtioBlock final : public VirtioDevice {
  public:
    static constexpr std::uint64_t sector_size = 512;

    /// Opens the image; its size is rounded down to whole sectors. Throws Error naming the path and the cause when it
    /// cannot be opened so, is no file or block device, or has less than one sector.
    VirtioBlock(const GuestMemory& memory, const std::string& path, bool read_only);
    ~VirtioBlock() override;

    std::uint64_t sectors() const { return sectors_; }

  private:
    static constexpr std::uint16_t queue_size = 256;

    void handle_queue(unsigned queue_index) override;
    std::span<const std::uint8_t> config() const override { return config_; }
    std::uint8_t execute(const Chain& chain, std::uint64_t data_bytes, std::uint64_t& written);
    std::uint8_t transfer(const Chain& chain, std::uint64_t sector, std::uint64_t bytes, bool to_guest);

    int fd_ = -1;
    bool read_only_;
    std::string path_;
    std::uint64_t sectors_ = 0;
    std::array<std::uint8_t, 16> config_{};
    Chain chain_;
    ReportOnce io_errors_{4};
};

} // namespace untrap::vmm
