// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/memory/file_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {

FileBuffer::FileBuffer(std::size_t size) {
    if (size == 0) return;
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw Error(fmt::format("no memory for {} bytes: {}", size, std::strerror(errno)));
    ::madvise(memory, size, MADV_HUGEPAGE); // a wish only
    data_ = static_cast<std::uint8_t*>(memory);
    size_ = size;
}

FileBuffer::~FileBuffer() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

FileBuffer::FileBuffer(FileBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

FileBuffer& FileBuffer::operator=(FileBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

int FileBuffer::read(int file) {
    for (std::size_t done = 0; done < size_;) {
        const ssize_t got = ::read(file, data_ + done, size_ - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) return ENODATA;
        done += static_cast<std::size_t>(got);
    }
    return 0;
}

} // namespace untrap::vmm
