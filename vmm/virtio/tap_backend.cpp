// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/tap_backend.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace untrap::vmm {

namespace {
constexpr std::size_t frame_limit = 65536 + 14;
constexpr unsigned frames_per_round = 64; // the machine lock is held meanwhile
} // namespace

TapBackend::TapBackend(const std::string& interface) : interface_(interface), buffer_(frame_limit) {
    const auto refuse = [this](const std::string& why) {
        if (fd_ >= 0) close(fd_);
        throw Error(fmt::format("tap={}: {}", interface_, why));
    };
    // The kernel would take % as a request to pick a number, and an empty name as one to pick a name.
    if (interface.empty() || interface.size() >= IFNAMSIZ || interface.find_first_of("/% \t\n") != std::string::npos)
        refuse("is no interface name");
    fd_ = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) refuse(fmt::format("/dev/net/tun: {}", std::strerror(errno)));
    ifreq request{};
    std::memcpy(request.ifr_name, interface.data(), interface.size());
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (ioctl(fd_, TUNSETIFF, &request) != 0) refuse(std::strerror(errno));
}

TapBackend::~TapBackend() { close(fd_); }

void TapBackend::send(std::span<const std::uint8_t> frame) {
    if (failed_) return;
    while (write(fd_, frame.data(), frame.size()) < 0) {
        if (errno == EINTR) continue;
        // A full queue or an interface that is down loses frames, as a wire does; tell why once.
        if (errno != EAGAIN && send_errors_.first(static_cast<std::uint64_t>(errno)))
            report(fmt::format("tap={}: frame lost: {}", interface_, std::strerror(errno)));
        return;
    }
}

void TapBackend::fill(std::vector<pollfd>& fds, int&) {
    if (!failed_) fds.push_back({fd_, POLLIN, 0});
}

void TapBackend::ready(std::span<const pollfd> fds) {
    if (failed_ || fds.empty() || !fds[0].revents) return;
    for (unsigned i = 0; i < frames_per_round; ++i) {
        const ssize_t got = read(fd_, buffer_.data(), buffer_.size());
        if (got > 0) {
            deliver(std::span(buffer_).first(static_cast<std::size_t>(got)));
            continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        // An interface that is down reports an error each time: waiting for it again would spin.
        failed_ = true;
        report(fmt::format("tap={}: no more frames: {}", interface_, got < 0 ? std::strerror(errno) : "end of file"));
        return;
    }
}

} // namespace untrap::vmm
