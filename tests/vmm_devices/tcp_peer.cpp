// SPDX-License-Identifier: GPL-2.0-only
#include "tests/vmm_devices/tcp_peer.h"

#include <algorithm>

namespace untrap::vmm::test {

namespace {

constexpr std::array<std::uint8_t, 6> own_mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
constexpr std::array<std::uint8_t, 6> broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr std::uint32_t own_address = 0x0a00020f, gateway_address = 0x0a000202;
constexpr std::uint16_t own_port = 40000;
constexpr std::uint16_t type_ip = 0x0800, type_arp = 0x0806;
constexpr std::uint8_t protocol_icmp = 1, protocol_tcp = 6;
constexpr std::uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;

void put16(Frame& out, std::uint32_t value) {
    out.push_back(static_cast<std::uint8_t>(value >> 8 & 0xff));
    out.push_back(static_cast<std::uint8_t>(value & 0xff));
}
void put32(Frame& out, std::uint32_t value) {
    put16(out, value >> 16);
    put16(out, value);
}
std::uint32_t get(std::span<const std::uint8_t> bytes, std::size_t at, unsigned count) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < count; ++i) value = value << 8 | bytes[at + i];
    return value;
}
std::uint32_t add_words(std::span<const std::uint8_t> bytes, std::uint32_t sum) {
    for (std::size_t i = 0; i < bytes.size(); ++i) sum += static_cast<std::uint32_t>(bytes[i]) << (i % 2 ? 0 : 8);
    return sum;
}
std::uint16_t fold(std::uint32_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum & 0xffff);
}
void set16(Frame& frame, std::size_t at, std::uint16_t value) {
    frame[at] = static_cast<std::uint8_t>(value >> 8);
    frame[at + 1] = static_cast<std::uint8_t>(value & 0xff);
}

} // namespace

Frame TcpPeer::ethernet(const Mac& to, std::uint16_t type) const {
    Frame frame(to.begin(), to.end());
    frame.insert(frame.end(), own_mac.begin(), own_mac.end());
    put16(frame, type);
    return frame;
}

void TcpPeer::ask_gateway_address() {
    Frame frame = ethernet(broadcast, type_arp);
    put16(frame, 1);
    put16(frame, type_ip);
    put16(frame, 0x0604);
    put16(frame, 1);
    frame.insert(frame.end(), own_mac.begin(), own_mac.end());
    put32(frame, own_address);
    frame.insert(frame.end(), 6, 0);
    put32(frame, gateway_address);
    send_(frame);
}

void TcpPeer::send_ip(std::uint8_t protocol, std::span<const std::uint8_t> payload) {
    Frame frame = ethernet(gateway_.value(), type_ip);
    Frame header;
    put16(header, 0x4500);
    put16(header, static_cast<std::uint32_t>(20 + payload.size()));
    put32(header, 0);
    put16(header, static_cast<std::uint32_t>(64 << 8 | protocol));
    put16(header, 0);
    put32(header, own_address);
    put32(header, gateway_address);
    set16(header, 10, fold(add_words(header, 0)));
    frame.insert(frame.end(), header.begin(), header.end());
    frame.insert(frame.end(), payload.begin(), payload.end());
    send_(frame);
}

void TcpPeer::ping(std::uint16_t sequence) {
    Frame packet;
    put32(packet, 0x08000000);
    put16(packet, 0x1234);
    put16(packet, sequence);
    put32(packet, 0xcafef00d);
    set16(packet, 2, fold(add_words(packet, 0)));
    send_ip(protocol_icmp, packet);
}

void TcpPeer::send_tcp(std::uint8_t flags, std::span<const std::uint8_t> data) {
    Frame segment;
    put16(segment, own_port);
    put16(segment, port_);
    put32(segment, sequence_);
    put32(segment, acknowledged_);
    put16(segment, static_cast<std::uint32_t>(5 << 12 | flags));
    put16(segment, 0xffff);
    put32(segment, 0);
    segment.insert(segment.end(), data.begin(), data.end());
    Frame pseudo;
    put32(pseudo, own_address);
    put32(pseudo, gateway_address);
    put16(pseudo, protocol_tcp);
    put16(pseudo, static_cast<std::uint32_t>(segment.size()));
    set16(segment, 16, fold(add_words(segment, add_words(pseudo, 0))));
    send_ip(protocol_tcp, segment);
    sequence_ += static_cast<std::uint32_t>(data.size()) + ((flags & (syn | fin)) ? 1 : 0);
}

void TcpPeer::open(std::uint16_t port) {
    port_ = port;
    state_ = State::opening;
    send_tcp(syn);
}

void TcpPeer::send_text(const std::string& text) {
    send_tcp(ack | psh, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

void TcpPeer::received(std::span<const std::uint8_t> frame) {
    if (frame.size() < 14) return;
    const auto packet = frame.subspan(14);
    const std::uint32_t type = get(frame, 12, 2);
    if (type == type_arp && packet.size() >= 28) on_arp(packet);
    if (type != type_ip || packet.size() < 20) return;
    const std::size_t header = (packet[0] & 0xfu) * 4, total = get(packet, 2, 2);
    if (header < 20 || total < header || packet.size() < total || fold(add_words(packet.first(header), 0)) != 0) return;
    const auto payload = packet.subspan(header, total - header);
    if (packet[9] == protocol_icmp && payload.size() >= 8 && payload[0] == 0)
        pong_ = static_cast<std::uint16_t>(get(payload, 6, 2));
    if (packet[9] == protocol_tcp && payload.size() >= 20) on_tcp(payload);
}

void TcpPeer::on_arp(std::span<const std::uint8_t> packet) {
    const std::uint32_t operation = get(packet, 6, 2), sender = get(packet, 14, 4), target = get(packet, 24, 4);
    Mac mac;
    std::copy_n(packet.begin() + 8, mac.size(), mac.begin());
    if (operation == 2 && sender == gateway_address) gateway_ = mac;
    if (operation != 1 || target != own_address) return;
    Frame reply = ethernet(mac, type_arp);
    put16(reply, 1);
    put16(reply, type_ip);
    put16(reply, 0x0604);
    put16(reply, 2);
    reply.insert(reply.end(), own_mac.begin(), own_mac.end());
    put32(reply, own_address);
    reply.insert(reply.end(), mac.begin(), mac.end());
    put32(reply, sender);
    send_(reply);
}

void TcpPeer::on_tcp(std::span<const std::uint8_t> segment) {
    if (get(segment, 2, 2) != own_port || get(segment, 0, 2) != port_) return;
    const std::uint8_t flags = segment[13];
    const std::size_t header = (segment[12] >> 4) * 4u;
    if (header < 20 || header > segment.size()) return;
    if (flags & rst) {
        state_ = State::refused;
        return;
    }
    const std::uint32_t sequence = get(segment, 4, 4);
    if (flags & syn) {
        acknowledged_ = sequence + 1;
        state_ = State::open;
        send_tcp(ack);
        return;
    }
    const auto data = segment.subspan(header);
    if (sequence == acknowledged_ && (!data.empty() || (flags & fin))) {
        text_.append(data.begin(), data.end());
        acknowledged_ += static_cast<std::uint32_t>(data.size()) + ((flags & fin) ? 1 : 0);
        send_tcp(ack);
        if (flags & fin) state_ = State::closed;
    } else if (!data.empty()) {
        send_tcp(ack); // out of order: say again what is wanted
    }
}

} // namespace untrap::vmm::test
