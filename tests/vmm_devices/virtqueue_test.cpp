// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/virtqueue.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/vmm_devices/captured_reports.h"
#include "tests/vmm_devices/virtio_driver.h"
#include "vmm/virtio/rng.h"

using namespace untrap::vmm;
using namespace untrap::vmm::test;

namespace {

constexpr std::uint64_t memory_size = 1 << 20, data_at = 0x20000, table_at = 0x11000;
constexpr std::uint16_t next = 1, write = 2, indirect = 4;
constexpr std::uint64_t basic = virtio_feature::version_1;

// The entropy device is the simplest owner of a queue.
struct Rig {
    CapturedReports reports;
    GuestMemory memory;
    bool irq = false;
    std::optional<VirtioRng> device;
    std::optional<MmioTransport> transport;
    std::optional<VirtioDriver> driver;

    explicit Rig(std::uint64_t features = basic) {
        memory.add_region(0, memory_size);
        device.emplace(memory, 1);
        transport.emplace(&*device, IrqLine([this](bool on) { irq = on; }));
        driver.emplace(memory, *transport, 0x1000);
        REQUIRE(driver->start(features, 1) == VirtioDriver::status_ok);
    }
    VirtioDriver::Queue& queue() { return driver->queue(0); }
    void descriptor(unsigned index, std::uint64_t gpa, std::uint32_t length, unsigned flags, unsigned following = 0) {
        driver->set_descriptor(queue().descriptors, index, gpa, length, static_cast<std::uint16_t>(flags),
                               static_cast<std::uint16_t>(following));
    }
    void submit(std::uint16_t head) {
        driver->make_available(0, head);
        driver->kick(0);
    }
    bool broken() { return (driver->status() & VirtioDriver::needs_reset) != 0; }
};

} // namespace

TEST_CASE("virtqueue: chains come back in order, around the ring") {
    Rig rig;
    for (unsigned round = 0; round < 50; ++round) {
        const auto head = rig.driver->add(0, {}, {{data_at, 10}, {data_at + 100, 5}});
        rig.driver->kick(0);
        const auto used = rig.driver->next_used(0);
        REQUIRE(used);
        CHECK((used->head == head && used->written == 15));
        CHECK(rig.driver->take_interrupt() == 1);
    }
    CHECK_FALSE(rig.driver->next_used(0));
    rig.driver->kick(0);
    CHECK_FALSE(rig.irq);
    rig.driver->kick(1); // no such queue
    rig.driver->kick(0xffffffff);
    CHECK_FALSE(rig.broken());
}

TEST_CASE("virtqueue: hostile rings stop the device with one line, and a reset heals it") {
    struct Case {
        const char* what;
        void (*attack)(Rig&);
    };
    const auto attack = GENERATE(Case{"loops",
                                      [](Rig& r) {
                                          r.descriptor(0, data_at, 4, write | next, 1);
                                          r.descriptor(1, data_at, 4, write | next, 0);
                                          r.submit(0);
                                      }},
                                 Case{"loops",
                                      [](Rig& r) {
                                          r.descriptor(3, data_at, 4, write | next, 3);
                                          r.submit(3);
                                      }},
                                 Case{"out of range", [](Rig& r) { r.submit(16); }},
                                 Case{"out of range", [](Rig& r) { r.submit(0xffff); }},
                                 Case{"out of range",
                                      [](Rig& r) {
                                          r.descriptor(0, data_at, 4, write | next, 16);
                                          r.submit(0);
                                      }},
                                 Case{"points outside",
                                      [](Rig& r) {
                                          r.descriptor(0, memory_size - 3, 4, write);
                                          r.submit(0);
                                      }},
                                 Case{"points outside",
                                      [](Rig& r) {
                                          r.descriptor(0, ~0ull, 4, write);
                                          r.submit(0);
                                      }},
                                 Case{"points outside",
                                      [](Rig& r) {
                                          r.descriptor(0, 0x1000, 0xffffffff, write);
                                          r.submit(0);
                                      }},
                                 Case{"points outside",
                                      [](Rig& r) {
                                          r.descriptor(0, ~0ull - 2, 0, write);
                                          r.descriptor(1, 1ull << 40, 1, 0);
                                          r.descriptor(0, 0, 0, next, 1);
                                          r.submit(0);
                                      }},
                                 Case{"larger than memory",
                                      [](Rig& r) {
                                          r.descriptor(0, 0, memory_size, write | next, 1);
                                          r.descriptor(1, 0, 1, write);
                                          r.submit(0);
                                      }},
                                 Case{"readable descriptor follows",
                                      [](Rig& r) {
                                          r.descriptor(0, data_at, 4, write | next, 1);
                                          r.descriptor(1, data_at, 4, 0);
                                          r.submit(0);
                                      }},
                                 Case{"runs ahead",
                                      [](Rig& r) {
                                          r.queue().available = 40;
                                          r.submit(0);
                                      }},
                                 Case{"runs ahead",
                                      [](Rig& r) {
                                          r.queue().available = 0xfff0;
                                          r.submit(0);
                                      }},
                                 Case{"indirect descriptor is not allowed", [](Rig& r) {
                                          r.descriptor(0, table_at, 16, indirect);
                                          r.submit(0);
                                      }});
    Rig rig;
    attack.attack(rig);
    INFO(attack.what);
    CHECK(rig.broken());
    REQUIRE(rig.reports.lines().size() == 1);
    CHECK(rig.reports.mentions(attack.what));
    CHECK(rig.irq);
    CHECK(rig.driver->take_interrupt() == 2);
    rig.driver->kick(0);
    CHECK(rig.reports.lines().size() == 1);
    REQUIRE(rig.driver->start(basic, 1) == VirtioDriver::status_ok);
    rig.driver->add(0, {}, {{data_at, 8}});
    rig.driver->kick(0);
    CHECK(rig.driver->next_used(0));
}

TEST_CASE("virtqueue: hostile indirect tables") {
    struct Case {
        const char* what;
        void (*attack)(Rig&);
    };
    const auto attack = GENERATE(Case{"malformed", [](Rig& r) { r.descriptor(0, table_at, 0, indirect); }},
                                 Case{"malformed", [](Rig& r) { r.descriptor(0, table_at, 17, indirect); }},
                                 Case{"malformed", [](Rig& r) { r.descriptor(0, table_at, 16 * 1025, indirect); }},
                                 Case{"malformed", [](Rig& r) { r.descriptor(0, memory_size - 16, 32, indirect); }},
                                 Case{"malformed", [](Rig& r) { r.descriptor(0, ~0ull - 15, 32, indirect); }},
                                 Case{"not allowed", [](Rig& r) { r.descriptor(0, table_at, 16, indirect | next, 1); }},
                                 Case{"not allowed",
                                      [](Rig& r) {
                                          r.driver->set_descriptor(table_at, 0, table_at, 16, indirect, 0);
                                          r.descriptor(0, table_at, 16, indirect);
                                      }},
                                 Case{"loops",
                                      [](Rig& r) {
                                          r.driver->set_descriptor(table_at, 0, data_at, 1, write | next, 0);
                                          r.descriptor(0, table_at, 32, indirect);
                                      }},
                                 Case{"out of range", [](Rig& r) {
                                          r.driver->set_descriptor(table_at, 0, data_at, 1, write | next, 2);
                                          r.descriptor(0, table_at, 32, indirect);
                                      }});
    Rig rig(basic | virtio_feature::ring_indirect);
    attack.attack(rig);
    rig.submit(0);
    INFO(attack.what);
    CHECK(rig.broken());
    REQUIRE(rig.reports.lines().size() == 1);
    CHECK(rig.reports.mentions(attack.what));
}

TEST_CASE("virtqueue: an indirect table after direct descriptors is one chain") {
    Rig rig(basic | virtio_feature::ring_indirect);
    rig.driver->set_descriptor(table_at, 0, data_at + 64, 6, write, 0);
    rig.descriptor(0, data_at, 4, write | next, 1);
    rig.descriptor(1, table_at, 16, indirect);
    rig.submit(0);
    CHECK_FALSE(rig.broken());
    CHECK(rig.driver->next_used(0)->written == 10);
}

TEST_CASE("virtqueue: queues that cannot be are refused when they are made ready") {
    Rig rig;
    VirtioDriver::Queue bad{.size = 16, .descriptors = 0x4000, .driver_area = 0x5000, .device_area = 0x6000};
    SECTION("size 0") { bad.size = 0; }
    SECTION("size 15") { bad.size = 15; }
    SECTION("size above the limit") { bad.size = 128; }
    SECTION("misaligned descriptors") { bad.descriptors += 8; }
    SECTION("misaligned driver area") { bad.driver_area += 1; }
    SECTION("misaligned device area") { bad.device_area += 2; }
    SECTION("descriptors beyond memory") { bad.descriptors = memory_size - 240; }
    SECTION("driver area beyond memory") { bad.driver_area = memory_size - 36; }
    SECTION("device area beyond memory") { bad.device_area = memory_size - 132; }
    SECTION("descriptors at the top") { bad.descriptors = ~0xfull; }
    rig.driver->set_reg(0x030, 0);
    rig.driver->set_reg(0x044, 0);
    rig.driver->place_queue(0, bad);
    CHECK(rig.broken());
    CHECK(rig.reports.lines().size() == 1);
    CHECK(rig.driver->reg(0x044) == 0);
}

TEST_CASE("virtqueue: interrupts can be declined, by flag or by event index") {
    SECTION("flag") {
        Rig rig;
        rig.memory.write_le16(rig.queue().driver_area, 1);
        rig.driver->add(0, {}, {{data_at, 8}});
        rig.driver->kick(0);
        CHECK(rig.driver->next_used(0));
        CHECK_FALSE(rig.irq);
    }
    SECTION("event index") {
        Rig rig(basic | virtio_feature::ring_event_index);
        const std::uint64_t used_event = rig.queue().driver_area + 4 + 2 * 16;
        const std::uint64_t available_event = rig.queue().device_area + 4 + 8 * 16;
        rig.memory.write_le16(used_event, 2); // interrupt when the third is done
        for (unsigned i = 0; i < 5; ++i) {
            rig.driver->add(0, {}, {{data_at, 8}});
            rig.driver->kick(0);
            CHECK(rig.driver->next_used(0));
            CHECK((rig.driver->take_interrupt() == 1) == (i == 2));
            CHECK(rig.memory.read_le16(available_event) == i + 1);
        }
    }
}

TEST_CASE("transport: empty slot, odd accesses, features and reset") {
    CapturedReports reports;
    MmioTransport empty(nullptr, IrqLine());
    CHECK(empty.read(0x000, 4) == 0x76697274);
    CHECK(empty.read(0x008, 4) == 0);
    empty.write(0x070, 4, 0x01000000);
    CHECK(empty.read(0x070, 4) == 0);
    CHECK(empty.read(0x100, 8) == 0);

    Rig rig;
    CHECK(rig.transport->read(0x001, 2) == 0);
    CHECK(rig.transport->read(0x002, 4) == 0);
    rig.transport->write(0x070, 1, 0);
    CHECK(rig.driver->status() == VirtioDriver::status_ok);
    CHECK(rig.reports.lines().size() == 3);
    // Features: unknown ones, or none of version 1, are not agreed to.
    CHECK((rig.driver->start(0, 0) & 8) == 0);
    CHECK((rig.driver->start(basic | 1ull << 40, 0) & 8) == 0);
    CHECK(rig.driver->status() == 3);
    rig.driver->set_reg(0x070, 7); // DRIVER_OK without FEATURES_OK
    CHECK(rig.broken());
    rig.driver->set_reg(0x014, 2);
    CHECK(rig.driver->reg(0x010) == 0);
    rig.driver->set_reg(0x030, 77);
    CHECK(rig.driver->reg(0x034) == 0);
    rig.driver->set_reg(0x044, 1);
    rig.driver->set_reg(0x070, 0);
    CHECK(rig.driver->status() == 0);
    CHECK_FALSE(rig.irq);
}
