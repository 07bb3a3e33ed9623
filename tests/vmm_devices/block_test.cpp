// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/block.h"

#include <numeric>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/vmm_devices/captured_reports.h"
#include "tests/vmm_devices/temporary_file.h"
#include "tests/vmm_devices/virtio_driver.h"

using namespace untrap::vmm;
using namespace untrap::vmm::test;

namespace {

constexpr std::uint64_t header_at = 0x10000, status_at = 0x10100, table_at = 0x11000, data_at = 0x20000;
constexpr std::uint32_t op_in = 0, op_out = 1, op_flush = 4, op_get_id = 8, op_discard = 11;

struct Rig {
    GuestMemory memory;
    TemporaryFile file{8 * 512 + 100};
    bool irq = false;
    std::optional<VirtioBlock> disk;
    std::optional<MmioTransport> transport;
    std::optional<VirtioDriver> driver;

    explicit Rig(bool read_only = false, std::uint64_t features = virtio_feature::version_1) {
        memory.add_region(0, 1 << 20);
        disk.emplace(memory, file.path(), read_only);
        transport.emplace(&*disk, IrqLine([this](bool on) { irq = on; }));
        driver.emplace(memory, *transport, 0x1000);
        REQUIRE(driver->start(features, 1) == VirtioDriver::status_ok);
    }

    struct Result {
        unsigned status;
        std::uint32_t written;
    };
    Result request(std::uint32_t type, std::uint64_t sector, std::vector<VirtioDriver::Buffer> out,
                   std::vector<VirtioDriver::Buffer> in, bool indirect = false) {
        memory.write_le32(header_at, type);
        memory.write_le32(header_at + 4, 0);
        memory.write_le64(header_at + 8, sector);
        memory.fill(status_at, 0xee, 1);
        out.insert(out.begin(), {header_at, 16});
        in.push_back({status_at, 1});
        driver->add(0, out, in, indirect ? std::optional(table_at) : std::nullopt);
        driver->kick(0);
        const auto used = driver->next_used(0);
        if (!used) return {0xff, 0};
        return {(*memory.range(status_at, 1))[0], used->written};
    }
};

std::vector<std::uint8_t> pattern(std::size_t size, std::uint8_t first) {
    std::vector<std::uint8_t> bytes(size);
    std::iota(bytes.begin(), bytes.end(), first);
    return bytes;
}

} // namespace

TEST_CASE("block: identity, capacity and features") {
    Rig rig;
    CHECK(rig.driver->reg(0x000) == 0x74726976);
    CHECK(rig.driver->reg(0x004) == 2);
    CHECK(rig.driver->reg(0x008) == 2);
    CHECK(rig.driver->reg(0x100) == 8); // rounded down
    CHECK(rig.driver->reg(0x104) == 0);
    CHECK(rig.driver->reg(0x10c) == 254);
    CHECK(rig.driver->reg(0x1fc) == 0);
    CHECK(rig.transport->read(0x100, 8) == 0x0800000000000000); // little-endian, seen by a big-endian load
    CHECK(rig.transport->read(0x100, 1) == 8);
    CHECK((rig.driver->offered() & (1 << 5)) == 0);
    CHECK((Rig(true).driver->offered() & (1 << 5)) != 0);
}

TEST_CASE("block: reads, writes, scattered and indirect") {
    const bool indirect = GENERATE(false, true);
    Rig rig(false, virtio_feature::version_1 | virtio_feature::ring_indirect);
    const auto first = pattern(1024, 3);
    rig.file.write(512, first);
    auto result = rig.request(op_in, 1, {}, {{data_at, 100}, {data_at + 0x1000, 924}}, indirect);
    CHECK((result.status == 0 && result.written == 1025));
    CHECK(rig.irq);
    CHECK(rig.driver->take_interrupt() == 1);
    CHECK_FALSE(rig.irq);
    CHECK((*rig.memory.range(data_at, 1))[0] == 3);
    std::vector<std::uint8_t> got(1024);
    rig.memory.read(data_at, std::span(got).first(100));
    rig.memory.read(data_at + 0x1000, std::span(got).subspan(100));
    CHECK(got == first);

    const auto second = pattern(1536, 77);
    rig.memory.write(data_at, second);
    result = rig.request(op_out, 5, {{data_at, 1000}, {data_at + 1000, 536}}, {}, indirect);
    CHECK((result.status == 0 && result.written == 1));
    CHECK(rig.file.read(5 * 512, 1536) == second);
    CHECK(rig.request(op_flush, 0, {}, {}, indirect).status == 0);
}

TEST_CASE("block: DMA tells the write observer about every page it touched") {
    Rig rig;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> told;
    rig.memory.set_write_observer([&](std::uint64_t gpa, std::uint64_t length) { told.emplace_back(gpa, length); });
    rig.request(op_in, 0, {}, {{data_at, 512}, {data_at + 0x3000, 512}});
    const auto covers = [&told](std::uint64_t gpa, std::uint64_t length) {
        for (const auto& [at, size] : told)
            if (at <= gpa && gpa + length <= at + size) return true;
        return false;
    };
    CHECK(covers(data_at, 512));
    CHECK(covers(data_at + 0x3000, 512));
    CHECK(covers(status_at, 1));
    CHECK(covers(rig.driver->queue(0).device_area + 2, 2));
}

TEST_CASE("block: what cannot be done ends in an error status") {
    Rig rig;
    CHECK(rig.request(op_in, 8, {}, {{data_at, 512}}).status == 1);
    CHECK(rig.request(op_in, 7, {}, {{data_at, 1024}}).status == 1);
    CHECK(rig.request(op_in, ~0ull, {}, {{data_at, 512}}).status == 1);
    CHECK(rig.request(op_in, 1ull << 55, {}, {{data_at, 512}}).status == 1);
    CHECK(rig.request(op_out, 8, {{data_at, 512}}, {}).status == 1);
    CHECK(rig.request(op_in, 0, {}, {{data_at, 511}}).status == 1);
    CHECK(rig.request(op_discard, 0, {{data_at, 16}}, {}).status == 2);
    CHECK(rig.request(0xffffffff, 0, {}, {}).status == 2);
    CHECK(rig.request(op_in, 8, {}, {}).status == 0); // nothing at the very end
    CHECK(rig.driver->status() == VirtioDriver::status_ok);
    CHECK(rig.file.read(8 * 512, 100) == std::vector<std::uint8_t>(100, 0));

    CapturedReports reports;
    rig.file.truncate(512);
    CHECK(rig.request(op_in, 4, {}, {{data_at, 512}}).status == 1);
    CHECK(rig.request(op_in, 4, {}, {{data_at, 512}}).status == 1);
    CHECK(reports.lines().size() == 1);
}

TEST_CASE("block: read-only disks refuse writes") {
    Rig rig(true);
    CHECK(rig.request(op_out, 0, {{data_at, 512}}, {}).status == 1);
    CHECK(rig.request(op_in, 0, {}, {{data_at, 512}}).status == 0);
    CHECK(rig.request(op_flush, 0, {}, {}).status == 0);
}

TEST_CASE("block: the id is the file's name") {
    Rig rig;
    const auto result = rig.request(op_get_id, 0, {}, {{data_at, 20}});
    CHECK((result.status == 0 && result.written == 21));
    std::string id(20, '\0');
    rig.memory.read(data_at, {reinterpret_cast<std::uint8_t*>(id.data()), id.size()});
    CHECK(id.substr(0, 12) == "untrap-test-");
}

TEST_CASE("block: a request without header or status stops the device until reset") {
    CapturedReports reports;
    Rig rig;
    SECTION("short header") { rig.driver->add(0, {{header_at, 15}}, {{status_at, 1}}); }
    SECTION("no status") { rig.driver->add(0, {{header_at, 16}}, {}); }
    rig.driver->kick(0);
    CHECK(rig.driver->status() == (VirtioDriver::status_ok | VirtioDriver::needs_reset));
    CHECK(rig.driver->take_interrupt() == 2);
    CHECK(reports.lines().size() == 1);
    rig.driver->kick(0);
    CHECK(reports.lines().size() == 1);
    CHECK(rig.driver->start(virtio_feature::version_1, 1) == VirtioDriver::status_ok);
    CHECK(rig.request(op_in, 0, {}, {{data_at, 512}}).status == 0);
}

TEST_CASE("block: bad images are one-line errors") {
    GuestMemory memory;
    memory.add_region(0, 4096);
    const auto message = [&memory](const std::string& path, bool read_only) -> std::string {
        try {
            VirtioBlock disk(memory, path, read_only);
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    CHECK(message("/nonexistent/disk", false) == "disk /nonexistent/disk: No such file or directory");
    CHECK(message("/", true) == "disk /: is neither a file nor a block device");
    CHECK(message("/dev/null", true) == "disk /dev/null: is neither a file nor a block device");
    TemporaryFile small(511);
    CHECK(message(small.path(), false).find("smaller than one sector") != std::string::npos);
}
