// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace untrap::vmm {

// Room for the bytes of a large file: not zeroed first, in large pages where the host has them.
class FileBuffer {
  public:
    FileBuffer() = default;
    // Throws Error if the host has no memory.
    explicit FileBuffer(std::size_t size);
    ~FileBuffer();
    FileBuffer(FileBuffer&& other) noexcept;
    FileBuffer& operator=(FileBuffer&& other) noexcept;

    std::span<std::uint8_t> bytes() { return {data_, size_}; }
    std::span<const std::uint8_t> bytes() const { return {data_, size_}; }
    bool empty() const { return size_ == 0; }

    // Fills all of it from a file. 0 or an error number; ENODATA: the file ends before.
    int read(int file);

  private:
    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace untrap::vmm
