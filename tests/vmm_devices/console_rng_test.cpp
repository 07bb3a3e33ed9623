// SPDX-License-Identifier: GPL-2.0-only
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "tests/vmm_devices/virtio_driver.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/rng.h"

using namespace untrap::vmm;
using namespace untrap::vmm::test;

namespace {

constexpr std::uint64_t data_at = 0x20000;

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::vector<std::uint8_t> random_run(std::optional<std::uint64_t> seed) {
    GuestMemory memory;
    memory.add_region(0, 1 << 20);
    VirtioRng device(memory, seed);
    MmioTransport transport(&device, IrqLine());
    VirtioDriver driver(memory, transport, 0x1000);
    REQUIRE(driver.start(virtio_feature::version_1, 1) == VirtioDriver::status_ok);
    driver.add(0, {}, {{data_at, 700}, {data_at + 700, 63}});
    driver.kick(0);
    CHECK(driver.next_used(0)->written == 763);
    driver.add(0, {}, {{data_at, 64}});
    driver.kick(0);
    std::vector<std::uint8_t> out(763);
    memory.read(data_at, out);
    return out;
}

} // namespace

TEST_CASE("rng: seeded runs repeat, others do not") {
    CHECK(random_run(5) == random_run(5));
    CHECK(random_run(5) != random_run(6));
    CHECK(random_run(std::nullopt) != random_run(std::nullopt));
}

TEST_CASE("console: output and input, with a backlog while there are no buffers") {
    struct Sink : CharSink {
        std::string text;
        void write(std::span<const std::uint8_t> bytes) override { text.append(bytes.begin(), bytes.end()); }
    } sink;
    GuestMemory memory;
    memory.add_region(0, 1 << 20);
    VirtioConsole console(memory, &sink);
    bool irq = false;
    MmioTransport transport(&console, IrqLine([&irq](bool on) { irq = on; }));
    VirtioDriver driver(memory, transport, 0x1000);
    console.receive(bytes_of("early "));
    REQUIRE(driver.start(virtio_feature::version_1, 2) == VirtioDriver::status_ok);

    memory.write(data_at, bytes_of("hello, world"));
    driver.add(1, {{data_at, 5}, {data_at + 5, 7}}, {});
    driver.kick(1);
    CHECK(sink.text == "hello, world");
    CHECK(driver.next_used(1)->written == 0);
    CHECK(driver.take_interrupt() == 1);

    console.receive(bytes_of("typed"));
    CHECK_FALSE(irq);
    driver.add(0, {}, {{data_at, 4}, {data_at + 4, 4}});
    driver.kick(0);
    CHECK(irq);
    CHECK(driver.next_used(0)->written == 8);
    driver.add(0, {}, {{data_at + 8, 100}});
    driver.kick(0);
    CHECK(driver.next_used(0)->written == 3);
    std::string got(11, '\0');
    memory.read(data_at, {reinterpret_cast<std::uint8_t*>(got.data()), got.size()});
    CHECK(got == "early typed");
    driver.add(0, {}, {{data_at, 100}});
    driver.kick(0);
    CHECK_FALSE(driver.next_used(0));
    console.receive(bytes_of("!"));
    CHECK(driver.next_used(0)->written == 1);
}
