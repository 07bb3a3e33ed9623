// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
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
        return static_cast<std::uint16_t>(byte(offset) << 8 | byte(offset + 1));
    }

    std::optional<std::uint32_t> be32(std::uint64_t offset) const {
        if (!contains(offset, 4)) return std::nullopt;
        return byte(offset) << 24 | byte(offset + 1) << 16 | byte(offset + 2) << 8 | byte(offset + 3);
    }

    bool contains(std::uint64_t offset, std::uint64_t length) const {
        return offset <= bytes_.size() && length <= bytes_.size() - offset;
    }

    // Only for ranges that contains() accepted.
    std::span<const std::uint8_t> range(std::uint64_t offset, std::uint64_t length) const {
        return bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
    }

  private:
    // What contains() accepted fits std::size_t, on a 32-bit host too.
    std::uint32_t byte(std::uint64_t offset) const { return bytes_[static_cast<std::size_t>(offset)]; }

    std::span<const std::uint8_t> bytes_;
};

} // namespace untrap::vmm
