// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace untrap::vmm::test {

using Frame = std::vector<std::uint8_t>;

/// Just enough of a guest's network stack for tests: ARP, ICMP echo and one TCP connection without retransmission,
/// as 10.0.2.15 talking to 10.0.2.2. Frames go out through `send`; received() is fed with what comes back.
class TcpPeer {
  public:
    enum class State { idle, opening, open, closed, refused };

    explicit TcpPeer(std::function<void(const Frame&)> send) : send_(std::move(send)) {}

    void ask_gateway_address();
    bool knows_gateway() const { return gateway_.has_value(); }
    void ping(std::uint16_t sequence);
    std::optional<std::uint16_t> last_pong() const { return pong_; }
    void open(std::uint16_t port);
    void send_text(const std::string& text);
    State state() const { return state_; }
    const std::string& received_text() const { return text_; }

    void received(std::span<const std::uint8_t> frame);

  private:
    using Mac = std::array<std::uint8_t, 6>;

    Frame ethernet(const Mac& to, std::uint16_t type) const;
    void send_ip(std::uint8_t protocol, std::span<const std::uint8_t> payload);
    void send_tcp(std::uint8_t flags, std::span<const std::uint8_t> data = {});
    void on_arp(std::span<const std::uint8_t> packet);
    void on_tcp(std::span<const std::uint8_t> segment);

    std::function<void(const Frame&)> send_;
    std::optional<Mac> gateway_;
    std::optional<std::uint16_t> pong_;
    State state_ = State::idle;
    std::uint16_t port_ = 0;
    std::uint32_t sequence_ = 0x1000, acknowledged_ = 0;
    std::string text_;
};

} // namespace untrap::vmm::test
