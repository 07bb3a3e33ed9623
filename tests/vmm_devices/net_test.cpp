// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/net.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/vmm_devices/captured_reports.h"
#include "tests/vmm_devices/tcp_peer.h"
#include "tests/vmm_devices/virtio_driver.h"
#include "vmm/virtio/slirp_backend.h"

using namespace untrap::vmm;
using namespace untrap::vmm::test;

namespace {

constexpr std::uint64_t mergeable = 1ull << 15;
constexpr std::uint64_t receive_at = 0x40000, transmit_at = 0x80000;
constexpr std::uint32_t header_size = 12;

/// A guest with a card: posts receive buffers, sends frames, collects what arrives.
class Guest {
  public:
    Guest(NetBackend& backend, std::uint64_t features, std::uint32_t buffer_size) : buffer_size_(buffer_size) {
        memory.add_region(0, 1 << 20);
        card.emplace(memory, backend);
        transport.emplace(&*card, IrqLine());
        driver.emplace(memory, *transport, 0x1000);
        REQUIRE(driver->start(virtio_feature::version_1 | features, 2) == VirtioDriver::status_ok);
    }

    void post(unsigned count) {
        for (unsigned i = 0; i < count; ++i)
            driver->add(0, {}, {{receive_at + 0x1000ull * driver->queue(0).next_descriptor, buffer_size_}});
        driver->kick(0);
    }

    void send(const Frame& frame) {
        memory.fill(transmit_at, 0, header_size);
        memory.write(transmit_at + header_size, frame);
        driver->add(
            1, {{transmit_at, header_size}, {transmit_at + header_size, static_cast<std::uint32_t>(frame.size())}}, {});
        driver->kick(1);
        REQUIRE(driver->next_used(1));
    }

    /// The next frame, put together from its buffers; their number comes out of the header.
    std::optional<Frame> receive(unsigned* buffers = nullptr) {
        auto used = driver->next_used(0);
        if (!used) return std::nullopt;
        Frame bytes = contents(*used);
        REQUIRE(bytes.size() >= header_size);
        const unsigned count = bytes[10] | bytes[11] << 8;
        for (unsigned i = 1; i < count; ++i) {
            used = driver->next_used(0);
            REQUIRE(used);
            const Frame more = contents(*used);
            bytes.insert(bytes.end(), more.begin(), more.end());
        }
        if (buffers) *buffers = count;
        bytes.erase(bytes.begin(), bytes.begin() + header_size);
        return bytes;
    }

    GuestMemory memory;
    std::optional<VirtioNet> card;
    std::optional<MmioTransport> transport;
    std::optional<VirtioDriver> driver;

  private:
    Frame contents(const VirtioDriver::Used& used) {
        Frame bytes(used.written);
        REQUIRE(memory.read(receive_at + 0x1000ull * used.head, bytes));
        return bytes;
    }

    std::uint32_t buffer_size_;
};

class WireEnd final : public NetBackend {
  public:
    std::vector<Frame> sent;
    void send(std::span<const std::uint8_t> frame) override { sent.emplace_back(frame.begin(), frame.end()); }
    void fill(std::vector<pollfd>&, int&) override {}
    void ready(std::span<const pollfd>) override {}
    void arrive(const Frame& frame) { deliver(frame); }
};

Frame numbered(std::size_t size) {
    Frame frame(size);
    for (std::size_t i = 0; i < size; ++i) frame[i] = static_cast<std::uint8_t>(i * 7 & 0xff);
    return frame;
}

/// Serves one connection on the host's loopback: reads a request up to the blank line, answers, closes.
class OneShotServer {
  public:
    explicit OneShotServer(std::string answer) : answer_(std::move(answer)) {
        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in where{};
        where.sin_family = AF_INET;
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof where;
        if (bind(listener_, reinterpret_cast<sockaddr*>(&where), length) != 0 || listen(listener_, 1) != 0 ||
            getsockname(listener_, reinterpret_cast<sockaddr*>(&where), &length) != 0)
            throw std::runtime_error("no server on loopback");
        port_ = ntohs(where.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~OneShotServer() {
        shutdown(listener_, SHUT_RDWR);
        thread_.join();
        close(listener_);
    }
    std::uint16_t port() const { return port_; }
    std::string request() {
        return request_; // read after the connection was closed by the server
    }

  private:
    void serve() {
        const int connection = accept(listener_, nullptr, nullptr);
        if (connection < 0) return;
        char buffer[512];
        while (request_.find("\r\n\r\n") == std::string::npos) {
            const ssize_t got = read(connection, buffer, sizeof buffer);
            if (got <= 0) break;
            request_.append(buffer, static_cast<std::size_t>(got));
        }
        for (std::size_t done = 0; done < answer_.size();) {
            const ssize_t now = ::send(connection, answer_.data() + done, answer_.size() - done, MSG_NOSIGNAL);
            if (now <= 0) break;
            done += static_cast<std::size_t>(now);
        }
        close(connection);
    }

    std::string answer_, request_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::thread thread_;
};

/// Plays the I/O thread until `done` says so or ten seconds have passed.
template <typename Done>
bool run_until(NetBackend& backend, Guest& guest, TcpPeer& peer, Done done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < deadline) {
        while (const auto frame = guest.receive()) {
            guest.post(1);
            peer.received(*frame);
        }
        if (done()) return true;
        std::vector<pollfd> fds;
        int timeout = 100;
        backend.fill(fds, timeout);
        if (poll(fds.data(), fds.size(), timeout) < 0)
            for (pollfd& fd : fds) fd.revents = 0;
        backend.ready(fds);
    }
    return done();
}

} // namespace

TEST_CASE("net: configuration space has the address and the link") {
    WireEnd wire;
    Guest guest(wire, 0, 2048);
    CHECK(guest.driver->reg(0x008) == 1);
    CHECK(guest.transport->read(0x100, 4) == 0x52540012);
    CHECK(guest.transport->read(0x104, 4) == 0x34560100);
}

TEST_CASE("net: frames pass whole, and wait for buffers") {
    WireEnd wire;
    Guest guest(wire, 0, 2048);
    guest.send(numbered(60));
    guest.send(numbered(1514));
    REQUIRE(wire.sent.size() == 2);
    CHECK(wire.sent[0] == numbered(60));
    CHECK(wire.sent[1] == numbered(1514));

    wire.arrive(numbered(1514));
    wire.arrive(numbered(60));
    CHECK_FALSE(guest.receive());
    guest.post(1);
    CHECK(guest.receive() == numbered(1514));
    CHECK_FALSE(guest.receive());
    guest.post(2);
    CHECK(guest.receive() == numbered(60));
    wire.arrive(numbered(99));
    CHECK(guest.receive() == numbered(99));
}

TEST_CASE("net: mergeable buffers hold a frame together") {
    WireEnd wire;
    Guest guest(wire, mergeable, 300);
    guest.post(4);
    unsigned buffers = 0;
    wire.arrive(numbered(288));
    CHECK(guest.receive(&buffers) == numbered(288));
    CHECK(buffers == 1);
    wire.arrive(numbered(1000)); // needs four, three are there
    CHECK_FALSE(guest.receive());
    guest.post(1);
    CHECK(guest.receive(&buffers) == numbered(1000));
    CHECK(buffers == 4);
    CHECK(guest.driver->status() == VirtioDriver::status_ok);
}

TEST_CASE("net: odd frames are dropped, not fatal") {
    CapturedReports reports;
    WireEnd wire;
    Guest guest(wire, 0, 100);
    guest.post(2);
    wire.arrive(numbered(500)); // larger than a buffer
    const auto used = guest.driver->next_used(0);
    REQUIRE(used);
    CHECK(used->written == 0);
    wire.arrive(numbered(50));
    CHECK(guest.receive() == numbered(50));

    guest.driver->add(1, {{transmit_at, 11}}, {});
    guest.driver->add(1, {{transmit_at, 80000}}, {});
    guest.driver->add(1, {}, {{transmit_at, 100}});
    guest.driver->kick(1);
    CHECK(wire.sent.empty());
    CHECK(guest.driver->used_index(1) == 3);
    CHECK(reports.lines().size() == 3);
    CHECK(guest.driver->status() == VirtioDriver::status_ok);
}

TEST_CASE("net: a stopped or stuck guest costs bounded memory") {
    WireEnd wire;
    Guest guest(wire, 0, 2048);
    for (unsigned i = 0; i < 5000; ++i) wire.arrive(numbered(64));
    unsigned arrived = 0;
    for (;; ++arrived) {
        guest.post(1);
        if (!guest.receive()) break;
    }
    CHECK(arrived == 1024);
    guest.driver->set_reg(0x070, 0);
    wire.arrive(numbered(64));
}

TEST_CASE("net: the user network answers ARP and ping and reaches a server on the host's loopback") {
    const std::uint64_t features = GENERATE(std::uint64_t{0}, mergeable | virtio_feature::ring_event_index);
    CapturedReports reports;
    std::string body;
    while (body.size() < 100'000) body += "line " + std::to_string(body.size()) + "\n";
    const std::string answer = "HTTP/1.0 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    OneShotServer server(answer);
    SlirpBackend backend;
    Guest guest(backend, features, 2048);
    guest.post(15);
    TcpPeer peer([&guest](const Frame& frame) { guest.send(frame); });

    peer.ask_gateway_address();
    REQUIRE(run_until(backend, guest, peer, [&] { return peer.knows_gateway(); }));
    peer.ping(77);
    REQUIRE(run_until(backend, guest, peer, [&] { return peer.last_pong() == 77; }));
    peer.open(server.port());
    REQUIRE(run_until(backend, guest, peer, [&] { return peer.state() == TcpPeer::State::open; }));
    peer.send_text("GET /file HTTP/1.0\r\n\r\n");
    REQUIRE(run_until(backend, guest, peer, [&] { return peer.state() == TcpPeer::State::closed; }));
    CHECK(peer.received_text() == answer);
    CHECK(server.request() == "GET /file HTTP/1.0\r\n\r\n");
    CHECK(reports.lines().empty());
}

TEST_CASE("net: a closed port on the host refuses") {
    std::uint16_t port = 0;
    {
        OneShotServer gone("");
        port = gone.port();
    }
    SlirpBackend backend;
    Guest guest(backend, 0, 2048);
    guest.post(8);
    TcpPeer peer([&guest](const Frame& frame) { guest.send(frame); });
    peer.ask_gateway_address();
    REQUIRE(run_until(backend, guest, peer, [&] { return peer.knows_gateway(); }));
    peer.open(port);
    CHECK(run_until(backend, guest, peer, [&] { return peer.state() == TcpPeer::State::refused; }));
}

TEST_CASE("net: several user networks come and go; garbage frames do no harm") {
    CapturedReports reports;
    for (unsigned round = 0; round < 3; ++round) {
        SlirpBackend first, second;
        for (std::size_t size : {0u, 1u, 13u, 14u, 33u, 60u, 1514u, 60000u}) {
            first.send(numbered(size));
            second.send(Frame(size, 0xff));
            Frame ip = numbered(size);
            if (size >= 34) {
                ip[12] = 8;
                ip[13] = 0;
                ip[14] = 0x45;
            }
            first.send(ip);
        }
    }
}
