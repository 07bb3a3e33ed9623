// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/tap_backend.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include <catch2/catch_test_macros.hpp>

#include "tests/vmm_devices/captured_reports.h"

using namespace untrap::vmm;
using namespace untrap::vmm::test;

namespace {

constexpr const char* interface_name = "untraptest0";
constexpr std::uint16_t local_experimental = 0x88b5; // an EtherType nobody answers

std::vector<std::uint8_t> frame_with(std::uint8_t fill) {
    std::vector<std::uint8_t> frame(60, fill);
    std::fill_n(frame.begin(), 6, std::uint8_t{0xff});
    frame[12] = local_experimental >> 8;
    frame[13] = local_experimental & 0xff;
    return frame;
}

/// The host's end of the wire: a packet socket on the interface.
class HostEnd {
  public:
    HostEnd() : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(local_experimental))) {
        if (fd_ < 0) return;
        ifreq request{};
        std::strcpy(request.ifr_name, interface_name);
        if (ioctl(fd_, SIOCGIFFLAGS, &request) != 0) return;
        request.ifr_flags |= IFF_UP;
        if (ioctl(fd_, SIOCSIFFLAGS, &request) != 0 || ioctl(fd_, SIOCGIFINDEX, &request) != 0) return;
        where_.sll_family = AF_PACKET;
        where_.sll_protocol = htons(local_experimental);
        where_.sll_ifindex = request.ifr_ifindex;
        up_ = bind(fd_, reinterpret_cast<const sockaddr*>(&where_), sizeof where_) == 0;
    }
    ~HostEnd() {
        if (fd_ >= 0) close(fd_);
    }
    bool up() const { return up_; }
    bool send(const std::vector<std::uint8_t>& frame) const {
        return ::send(fd_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
    }
    std::vector<std::uint8_t> receive() const {
        std::vector<std::uint8_t> frame(2000);
        pollfd waiting{fd_, POLLIN, 0};
        if (poll(&waiting, 1, 5000) != 1) return {};
        const ssize_t got = read(fd_, frame.data(), frame.size());
        frame.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return frame;
    }

  private:
    int fd_;
    sockaddr_ll where_{};
    bool up_ = false;
};

} // namespace

TEST_CASE("tap: interface names are checked") {
    for (const char* bad : {"", "name-far-too-long-for-an-interface", "a/b", "tap%d", "a b"})
        CHECK_THROWS_AS(TapBackend(bad), Error);
}

TEST_CASE("tap: frames pass both ways") {
    std::optional<TapBackend> tap;
    try {
        tap.emplace(interface_name);
    } catch (const Error& error) {
        SKIP("no tap interface may be made here: " << error.what());
    }
    CapturedReports reports;
    tap->send(frame_with(1)); // the interface is still down
    tap->send(frame_with(1));
    CHECK(reports.lines().size() == 1);

    HostEnd host;
    if (!host.up()) SKIP("no packet socket may be made here");
    tap->send(frame_with(2));
    CHECK(host.receive() == frame_with(2));

    bool arrived = false; // the host's stack sends frames of its own, too
    tap->set_frame_handler([&arrived](std::span<const std::uint8_t> frame) {
        arrived = arrived || std::ranges::equal(frame, frame_with(3));
    });
    REQUIRE(host.send(frame_with(3)));
    for (unsigned round = 0; round < 50 && !arrived; ++round) {
        std::vector<pollfd> fds;
        int timeout = 100;
        tap->fill(fds, timeout);
        REQUIRE(fds.size() == 1);
        REQUIRE(poll(fds.data(), fds.size(), timeout) >= 0);
        tap->ready(fds);
    }
    CHECK(arrived);
    CHECK(reports.lines().size() == 1);
}
