// SPDX-License-Identifier: GPL-2.0-only
#include <cstdlib>
#include <initializer_list>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "tests/vmm_devices/captured_reports.h"
#include "tests/vmm_devices/temporary_file.h"
#include "tests/vmm_devices/virtio_driver.h"
#include "vmm/virtio/block.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"

using namespace untrap::vmm;
using namespace untrap::vmm::test;

namespace {

constexpr unsigned mutations = 100'000;
constexpr std::uint64_t memory_size = 128 * 1024;

/// Answers every frame with itself and a few more, so that receive rings are attacked too.
class EchoBackend final : public NetBackend {
  public:
    void send(std::span<const std::uint8_t> frame) override {
        const std::vector<std::uint8_t> copy(frame.begin(), frame.end());
        deliver(copy);
        deliver(std::span(copy).first(copy.size() / 2));
    }
    void fill(std::vector<pollfd>&, int&) override {}
    void ready(std::span<const pollfd>) override {}
};

std::uint64_t fuzz_seed() {
    if (const char* given = std::getenv("UNTRAP_SEED")) return std::strtoull(given, nullptr, 0);
    return std::random_device{}();
}

class Fuzzer {
  public:
    explicit Fuzzer(std::uint64_t seed) : random_(seed) {
        memory_.add_region(0, memory_size);
        block_.emplace(memory_, file_.path(), false);
        net_.emplace(memory_, echo_);
        console_.emplace(memory_, nullptr);
        rng_.emplace(memory_, seed);
        for (VirtioDevice* device : std::initializer_list<VirtioDevice*>{&*block_, &*net_, &*console_, &*rng_}) {
            transports_.push_back(std::make_unique<MmioTransport>(device, IrqLine()));
            drivers_.emplace_back(memory_, *transports_.back(), ring_base);
            queue_counts_.push_back(device->queue_count());
        }
    }

    std::uint64_t stops() const { return stops_; }
    std::uint64_t answered() const { return answered_; }

    void step() {
        if (pick(64) == 0) target_ = pick(static_cast<unsigned>(drivers_.size()));
        VirtioDriver& driver = drivers_[target_];
        if (!running_ || active_ != target_ || pick(200) == 0) restart();
        const unsigned queue = pick(queue_counts_[target_]);
        lawful_chain(queue);
        if (pick(3) != 0) mutate(queue);
        driver.kick(queue);
        if (pick(16) == 0) wild_register();
        // Bounded, since the used index in memory is mutated as well.
        for (unsigned i = 0; running_ && i < 8 && driver.next_used(queue); ++i) ++answered_;
        if (driver.status() & VirtioDriver::needs_reset) {
            ++stops_;
            running_ = false;
        }
    }

  private:
    static constexpr std::uint64_t ring_base = 0x1000, data_base = 0x8000;

    unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }

    std::uint64_t nasty() {
        switch (pick(8)) {
        case 0: return 0;
        case 1: return ~0ull;
        case 2: return memory_size - pick(64);
        case 3: return random_();
        case 4: return pick(1 << 16);
        case 5: return 1ull << pick(64);
        case 6: return 0xffffffff - pick(16);
        default: return pick(64);
        }
    }

    void restart() {
        active_ = target_;
        constexpr std::uint64_t ring_features = virtio_feature::ring_indirect | virtio_feature::ring_event_index;
        const std::uint64_t wanted = virtio_feature::version_1 | (random_() & (ring_features | 1ull << 15));
        VirtioDriver& driver = drivers_[target_];
        running_ = driver.start(wanted & driver.offered(), queue_counts_[target_], 8) == VirtioDriver::status_ok;
        REQUIRE(running_);
    }

    void lawful_chain(unsigned queue) {
        std::vector<VirtioDriver::Buffer> readable, writable;
        for (unsigned i = pick(3); i > 0; --i)
            readable.push_back({data_base + pick(0x10000), pick(3) ? 16 : pick(2000)});
        for (unsigned i = pick(3) + (readable.empty() ? 1 : 0); i > 0; --i)
            writable.push_back({data_base + pick(0x10000), pick(3) ? 512 : pick(2000)});
        if (pick(2)) writable.push_back({data_base, 1});
        memory_.write_le32(data_base + pick(0x10000), pick(12));
        const bool indirect = pick(3) == 0;
        drivers_[target_].add(queue, readable, writable,
                              indirect ? std::optional<std::uint64_t>(data_base + 16ull * pick(64)) : std::nullopt);
    }

    void mutate(unsigned queue) {
        const VirtioDriver::Queue& place = drivers_[target_].queue(queue);
        const std::uint64_t table = pick(4) ? place.descriptors : data_base;
        const std::uint64_t entry = table + 16ull * pick(8);
        switch (pick(9)) {
        case 0: memory_.write_le64(entry, nasty()); break;
        case 1: memory_.write_le32(entry + 8, static_cast<std::uint32_t>(nasty())); break;
        case 2: memory_.write_le16(entry + 12, static_cast<std::uint16_t>(pick(16))); break;
        case 3: memory_.write_le16(entry + 14, static_cast<std::uint16_t>(pick(2) ? pick(8) : nasty())); break;
        case 4: memory_.write_le16(place.driver_area + 2 * pick(13), static_cast<std::uint16_t>(nasty())); break;
        case 5: memory_.write_le16(place.device_area + 2 * pick(36), static_cast<std::uint16_t>(nasty())); break;
        case 6: memory_.write_le16(entry + 12, static_cast<std::uint16_t>(random_())); break;
        case 7: {
            std::uint8_t byte = static_cast<std::uint8_t>(random_());
            memory_.write(ring_base + pick(0x2000), {&byte, 1});
            break;
        }
        default: memory_.write_le64(data_base + pick(0x10000), nasty()); break;
        }
    }

    void wild_register() {
        MmioTransport& transport = *transports_[target_];
        const unsigned size = 1u << pick(4);
        const std::uint64_t offset = pick(0x200) & ~(size - 1u);
        if (pick(2))
            transport.read(offset, size);
        else
            transport.write(offset, size, pick(2) ? nasty() : __builtin_bswap32(static_cast<std::uint32_t>(nasty())));
        running_ = running_ && drivers_[target_].status() == VirtioDriver::status_ok;
    }

    std::mt19937_64 random_;
    GuestMemory memory_;
    TemporaryFile file_{64 * 512};
    EchoBackend echo_;
    std::optional<VirtioBlock> block_;
    std::optional<VirtioNet> net_;
    std::optional<VirtioConsole> console_;
    std::optional<VirtioRng> rng_;
    std::vector<std::unique_ptr<MmioTransport>> transports_;
    std::vector<VirtioDriver> drivers_;
    std::vector<unsigned> queue_counts_;
    unsigned target_ = 0, active_ = ~0u;
    bool running_ = false;
    std::uint64_t stops_ = 0, answered_ = 0;
};

} // namespace

TEST_CASE("virtio devices survive random ring and register mutations") {
    const std::uint64_t seed = fuzz_seed();
    std::cout << "virtqueue fuzz: UNTRAP_SEED=" << seed << std::endl;
    INFO("UNTRAP_SEED=" << seed);
    CapturedReports reports;
    Fuzzer fuzzer(seed);
    for (unsigned i = 0; i < mutations; ++i) {
        fuzzer.step();
        if (i % 1024 == 0) reports.clear();
    }
    std::cout << "  " << fuzzer.answered() << " requests answered, " << fuzzer.stops() << " devices stopped"
              << std::endl;
    CHECK(fuzzer.stops() > mutations / 100);
    CHECK(fuzzer.answered() > mutations / 10);
}
