// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace untrap::vmm {

// Big-endian fields of an untrusted file. A field that is not wholly inside reads as no value.
class ByteReader {
  public:
    explicit ByteReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    std::uint64_t size() const { return bytes_.size(); }

    std::optional<std::uint16_t> be16(std::uint64_t offset) const {
        if (!contains(offset, 2)) return std::nullopt;
        return static_cast<std::uint16_t>(bytes_[offset] << 8 | bytes_[offset + 1]);
    }

    std::optional<std::uint32_t> be32(std::uint64_t offset) const {
        if (!contains(offset, 4)) return std::nullopt;
        return std::uint32_t{bytes_[offset]} << 24 | std::uint32_t{bytes_[offset + 1]} << 16 |
               std::uint32_t{bytes_[offset + 2]} << 8 | std::uint32_t{bytes_[offset + 3]};
    }

    bool contains(std::uint64_t offset, std::uint64_t length) const {
        return offset <= bytes_.size() && length <= bytes_.size() - offset;
    }

    // Only for ranges that contains() accepted.
    std::span<const std::uint8_t> range(std::uint64_t offset, std::uint64_t length) const {
        return bytes_.subspan(offset, length);
    }

  private:
    std::span<const std::uint8_t> bytes_;
};

} // namespace untrap::vmm
