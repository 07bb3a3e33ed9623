// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

namespace untrap::tests {

// Memory as a VMM gives it to its guests: whole pages that the host can map a second time (MAP_SHARED), zeroed.
class SharedMemory {
  public:
    explicit SharedMemory(std::size_t bytes) : size_(bytes) {
        void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        data_ = static_cast<std::uint8_t*>(memory);
    }
    ~SharedMemory() { ::munmap(data_, size_); }
    SharedMemory(const SharedMemory&) = delete;
    // The bytes of another that is as large.
    SharedMemory& operator=(const SharedMemory& other) {
        std::copy_n(other.data_, std::min(size_, other.size_), data_);
        return *this;
    }

    std::uint8_t* data() { return data_; }
    const std::uint8_t* data() const { return data_; }
    std::size_t size() const { return size_; }
    std::uint8_t* begin() { return data_; }
    std::uint8_t* end() { return data_ + size_; }
    std::uint8_t& operator[](std::size_t at) { return data_[at]; }
    const std::uint8_t& operator[](std::size_t at) const { return data_[at]; }

  private:
    std::uint8_t* data_;
    std::size_t size_;
};

} // namespace untrap::tests
