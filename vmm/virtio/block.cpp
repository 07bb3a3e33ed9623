// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/block.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace untrap::vmm {

namespace {

constexpr std::uint32_t block_device_id = 2;
constexpr std::uint64_t feature_segment_max = 1ull << 2, feature_read_only = 1ull << 5, feature_flush = 1ull << 9;

constexpr std::uint64_t header_bytes = 16, sector_field = 8;
constexpr std::uint32_t request_in = 0, request_out = 1, request_flush = 4, request_get_id = 8;
constexpr std::size_t id_bytes = 20;
constexpr std::uint8_t status_ok = 0, status_io_error = 1, status_unsupported = 2;

constexpr std::size_t iovecs_per_call = 256;

std::uint64_t read_le(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

void write_le(std::span<std::uint8_t> bytes, std::uint64_t value) {
    for (std::uint8_t& byte : bytes) {
        byte = static_cast<std::uint8_t>(value & 0xff);
        value >>= 8;
    }
}

/// The bytes [skip, skip + length) of a segment list as iovecs.
std::vector<iovec> slice(const std::vector<Segment>& segments, std::uint64_t skip, std::uint64_t length) {
    std::vector<iovec> result;
    for (const Segment& segment : segments) {
        if (length == 0) break;
        if (skip >= segment.data.size()) {
            skip -= segment.data.size();
            continue;
        }
        const std::uint64_t now = std::min<std::uint64_t>(segment.data.size() - skip, length);
        result.push_back({segment.data.data() + skip, static_cast<std::size_t>(now)});
        length -= now;
        skip = 0;
    }
    return result;
}

} // namespace

VirtioBlock::VirtioBlock(const GuestMemory& memory, const std::string& path, bool read_only)
    : VirtioDevice(memory, block_device_id, "virtio-blk " + path,
                   feature_segment_max | feature_flush | (read_only ? feature_read_only : 0), {queue_size}),
      read_only_(read_only), path_(path) {
    const auto refuse = [this](const std::string& why) {
        if (fd_ >= 0) close(fd_);
        throw Error(fmt::format("disk {}: {}", path_, why));
    };
    // Non-blocking only so that opening a FIFO does not hang before it is refused.
    fd_ = open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) refuse(std::strerror(errno));
    struct stat info {};
    if (fstat(fd_, &info) != 0) refuse(std::strerror(errno));
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) refuse("is neither a file nor a block device");
    const off_t end = lseek(fd_, 0, SEEK_END);
    if (end < 0) refuse(std::strerror(errno));
    sectors_ = static_cast<std::uint64_t>(end) / sector_size;
    if (sectors_ == 0) refuse("is smaller than one sector of 512 bytes");
    constexpr std::size_t capacity_field = 0, segment_max_field = 12;
    write_le(std::span(config_).subspan(capacity_field, 8), sectors_);
    write_le(std::span(config_).subspan(segment_max_field, 4), queue_size - 2); // header and status take two
}

VirtioBlock::~VirtioBlock() { close(fd_); }

void VirtioBlock::handle_queue(unsigned queue_index) {
    while (take(queue_index, chain_)) {
        if (chain_.readable_bytes < header_bytes || chain_.writable_bytes < 1) {
            fail("a request lacks its header or status byte");
            return;
        }
        std::uint64_t written = 0;
        const std::uint8_t status = execute(chain_, chain_.writable_bytes - 1, written);
        copy_into(memory(), chain_, chain_.writable_bytes - 1, {&status, 1});
        if (!give_back(queue_index, chain_, written + 1)) return;
    }
    signal(queue_index);
}

std::uint8_t VirtioBlock::execute(const Chain& chain, std::uint64_t data_bytes, std::uint64_t& written) {
    std::array<std::uint8_t, header_bytes> header;
    chain.copy_out(0, header);
    const auto type = static_cast<std::uint32_t>(read_le(std::span(header).first(4)));
    const std::uint64_t sector = read_le(std::span(header).subspan(sector_field));
    switch (type) {
    case request_in: {
        const std::uint8_t status = transfer(chain, sector, data_bytes, true);
        if (status == status_ok) written = data_bytes;
        return status;
    }
    case request_out:
        if (read_only_) return status_io_error;
        return transfer(chain, sector, chain.readable_bytes - header_bytes, false);
    case request_flush:
        if (read_only_ || fdatasync(fd_) == 0) return status_ok;
        if (io_errors_.first(type)) report(fmt::format("disk {}: flush: {}", path_, std::strerror(errno)));
        return status_io_error;
    case request_get_id: {
        std::array<std::uint8_t, id_bytes> id{};
        const std::string name = path_.substr(path_.rfind('/') + 1); // npos + 1 is 0: the whole path
        std::copy_n(name.begin(), std::min(name.size(), id.size()), id.begin());
        written =
            copy_into(memory(), chain, 0,
                      std::span(id).first(static_cast<std::size_t>(std::min<std::uint64_t>(data_bytes, id.size()))));
        return status_ok;
    }
    default: return status_unsupported;
    }
}

std::uint8_t VirtioBlock::transfer(const Chain& chain, std::uint64_t sector, std::uint64_t bytes, bool to_guest) {
    if (bytes % sector_size || sector > sectors_ || bytes / sector_size > sectors_ - sector) return status_io_error;
    std::vector<iovec> pieces = to_guest ? slice(chain.writable, 0, bytes) : slice(chain.readable, header_bytes, bytes);
    auto position = static_cast<off_t>(sector * sector_size);
    std::uint8_t status = status_ok;
    for (std::size_t first = 0; first < pieces.size();) {
        const int count = static_cast<int>(std::min(iovecs_per_call, pieces.size() - first));
        ssize_t done =
            to_guest ? preadv(fd_, &pieces[first], count, position) : pwritev(fd_, &pieces[first], count, position);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) { // 0: the file was cut off behind our back
            if (io_errors_.first(to_guest ? request_in : request_out))
                report(fmt::format("disk {}: {} at byte {}: {}", path_, to_guest ? "read" : "write", position,
                                   done < 0 ? std::strerror(errno) : "file is shorter than it was"));
            status = status_io_error;
            break;
        }
        position += done;
        while (done > 0) {
            iovec& piece = pieces[first];
            const std::size_t now = std::min(piece.iov_len, static_cast<std::size_t>(done));
            piece.iov_base = static_cast<std::uint8_t*>(piece.iov_base) + now;
            piece.iov_len -= now;
            done -= static_cast<ssize_t>(now);
            if (piece.iov_len == 0) ++first;
        }
    }
    // Even a failed read may have changed some of it.
    if (to_guest)
        for (const Segment& segment : chain.writable) memory().notify_written(segment.gpa, segment.data.size());
    return status;
}

} // namespace untrap::vmm
