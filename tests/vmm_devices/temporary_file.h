// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace untrap::vmm::test {

/// A file of its own that goes with the object.
class TemporaryFile {
  public:
    explicit TemporaryFile(std::size_t size) {
        path_ = (std::filesystem::temp_directory_path() / "untrap-test-XXXXXX").string();
        fd_ = mkstemp(path_.data());
        if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(size)) != 0) throw std::runtime_error("no temporary file");
    }
    ~TemporaryFile() {
        close(fd_);
        unlink(path_.c_str());
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    const std::string& path() const { return path_; }
    void write(std::uint64_t at, const std::vector<std::uint8_t>& bytes) const {
        if (pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(bytes.size()))
            throw std::runtime_error("temporary file: write");
    }
    std::vector<std::uint8_t> read(std::uint64_t at, std::size_t length) const {
        std::vector<std::uint8_t> bytes(length);
        const ssize_t got = pread(fd_, bytes.data(), length, static_cast<off_t>(at));
        bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return bytes;
    }
    void truncate(std::size_t size) const {
        if (ftruncate(fd_, static_cast<off_t>(size)) != 0) throw std::runtime_error("temporary file: truncate");
    }

  private:
    std::string path_;
    int fd_ = -1;
};

} // namespace untrap::vmm::test
