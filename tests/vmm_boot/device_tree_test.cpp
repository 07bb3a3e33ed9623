// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>
#include <libfdt.h>
#include <optional>
#include <random>

#include "tests/vmm_boot/image_builder.h"
#include "vmm/boot/device_tree.h"
#include "vmm/devices/diagnostics.h"

using namespace untrap::vmm;
using namespace untrap::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

MachineDescription machine() {
    return {.memory_bytes = 128u << 20,
            .command_line = "console=ttyS0",
            .initrd = MemoryRange{0x7000000, 0x1234},
            .virtio = {board::virtio_slots[0], board::virtio_slots[1]},
            .timebase_hz = 400'000'000};
}

std::optional<std::vector<std::uint32_t>> cells(const Bytes& tree, const char* path, const char* property) {
    const int node = fdt_path_offset(tree.data(), path);
    if (node < 0) return std::nullopt;
    int length = 0;
    const auto* const value = static_cast<const fdt32_t*>(fdt_getprop(tree.data(), node, property, &length));
    if (value == nullptr) return std::nullopt;
    std::vector<std::uint32_t> result;
    for (int i = 0; i < length / 4; ++i) result.push_back(fdt32_ld(value + i));
    return result;
}

std::string text(const Bytes& tree, const char* path, const char* property) {
    const int node = fdt_path_offset(tree.data(), path);
    if (node < 0) return "(no node)";
    const void* const value = fdt_getprop(tree.data(), node, property, nullptr);
    return value == nullptr ? "(no property)" : static_cast<const char*>(value);
}

using Cells = std::vector<std::uint32_t>;

} // namespace

TEST_CASE("device tree: sound and complete") {
    const Bytes tree = make_device_tree(machine());
    REQUIRE(fdt_check_full(tree.data(), tree.size()) == 0);
    CHECK(text(tree, "/", "compatible") == "amcc,bamboo");
    CHECK(text(tree, "/", "model") == "amcc,bamboo");
    CHECK(cells(tree, "/memory@0", "reg") == Cells{0, 0, 128u << 20});
    CHECK(cells(tree, "/cpus/cpu@0", "timebase-frequency") == Cells{400'000'000});
    CHECK(cells(tree, "/cpus/cpu@0", "clock-frequency") == Cells{400'000'000});
    CHECK(text(tree, "/chosen", "bootargs") == "console=ttyS0");
    CHECK(cells(tree, "/chosen", "linux,initrd-start") == Cells{0x7000000});
    CHECK(cells(tree, "/chosen", "linux,initrd-end") == Cells{0x7001234});
    CHECK(cells(tree, "/interrupt-controller0", "dcr-reg") == Cells{0xc0, 9});
    CHECK(cells(tree, "/interrupt-controller1", "dcr-reg") == Cells{0xd0, 9});
    CHECK(cells(tree, "/interrupt-controller1", "interrupts") == Cells{30, 4, 31, 4});
    for (const char* uart : {"/plb/opb/serial@ef600300", "/plb/opb/serial@ef600400"}) {
        CAPTURE(uart);
        CHECK(text(tree, uart, "compatible") == "ns16550");
        CHECK(cells(tree, uart, "clock-frequency") == Cells{board::uart_clock_hz});
        CHECK(cells(tree, uart, "current-speed") == Cells{115200});
    }
    CHECK(text(tree, "/plb/opb/serial@ef600400", "status") == "disabled");
    // Paths in properties lead somewhere.
    CHECK(fdt_path_offset(tree.data(), text(tree, "/chosen", "stdout-path").c_str()) > 0);
    CHECK(fdt_path_offset(tree.data(), text(tree, "/aliases", "serial1").c_str()) > 0);
}

TEST_CASE("device tree: every phandle that is used exists") {
    const Bytes tree = make_device_tree(machine());
    int references = 0;
    for (int node = fdt_next_node(tree.data(), -1, nullptr); node >= 0;
         node = fdt_next_node(tree.data(), node, nullptr)) {
        for (const char* property : {"interrupt-parent", "dcr-parent", "regmap"}) {
            int length = 0;
            const auto* const value = static_cast<const fdt32_t*>(fdt_getprop(tree.data(), node, property, &length));
            if (value == nullptr) continue;
            CAPTURE(fdt_get_name(tree.data(), node, nullptr), property);
            CHECK(fdt_node_offset_by_phandle(tree.data(), fdt32_ld(value)) >= 0);
            ++references;
        }
    }
    CHECK(references > 5);
}

TEST_CASE("device tree: virtio nodes for present devices only") {
    const Bytes tree = make_device_tree(machine());
    CHECK(text(tree, "/plb/opb/virtio@ef700000", "compatible") == "virtio,mmio");
    CHECK(cells(tree, "/plb/opb/virtio@ef700200", "reg") == Cells{0xef700200, 0x200});
    CHECK(cells(tree, "/plb/opb/virtio@ef700200", "interrupts") == Cells{17, 4});
    CHECK(text(tree, "/plb/opb/virtio@ef700400", "compatible") == "(no node)");
}

TEST_CASE("device tree: no initrd, no initrd properties") {
    MachineDescription bare = machine();
    bare.initrd.reset();
    const Bytes tree = make_device_tree(bare);
    CHECK_FALSE(cells(tree, "/chosen", "linux,initrd-start"));
    CHECK_FALSE(cells(tree, "/chosen", "linux,initrd-end"));
}

TEST_CASE("device tree: command lines at the kernel's limit") {
    MachineDescription wordy = machine();
    wordy.command_line = std::string(longest_command_line, 'x');
    CHECK(text(make_device_tree(wordy), "/chosen", "bootargs") == wordy.command_line);
    CHECK(text(adapt_device_tree("t", make_device_tree(machine()), wordy), "/chosen", "bootargs") ==
          wordy.command_line);
    wordy.command_line += 'x';
    CHECK_THROWS_MATCHES(make_device_tree(wordy), Error, MessageMatches(ContainsSubstring("2048 bytes")));
    CHECK_THROWS_AS(adapt_device_tree("t", make_device_tree(machine()), wordy), Error);
}

TEST_CASE("user's device tree: brought up to date") {
    MachineDescription other = machine();
    other.memory_bytes = 64u << 20;
    other.command_line = "quiet";
    other.timebase_hz = 123'456'789;
    other.initrd = MemoryRange{0x3000000, 0x1000};
    const Bytes tree = adapt_device_tree("t", make_device_tree(machine()), other);
    REQUIRE(fdt_check_full(tree.data(), tree.size()) == 0);
    CHECK(cells(tree, "/memory@0", "reg") == Cells{0, 0, 64u << 20});
    CHECK(text(tree, "/chosen", "bootargs") == "quiet");
    CHECK(cells(tree, "/cpus/cpu@0", "timebase-frequency") == Cells{123'456'789});
    CHECK(cells(tree, "/chosen", "linux,initrd-end") == Cells{0x3001000});
    other.initrd.reset();
    CHECK_FALSE(cells(adapt_device_tree("t", tree, other), "/chosen", "linux,initrd-start"));
}

TEST_CASE("user's device tree: clocks left at 0 are filled in") {
    Bytes blank = make_device_tree(machine());
    const int uart = fdt_path_offset(blank.data(), "/plb/opb/serial@ef600300");
    REQUIRE(fdt_setprop_inplace_u32(blank.data(), uart, "clock-frequency", 0) == 0);
    const int plb = fdt_path_offset(blank.data(), "/plb");
    REQUIRE(fdt_setprop_inplace_u32(blank.data(), plb, "clock-frequency", 0) == 0);
    const int opb = fdt_path_offset(blank.data(), "/plb/opb");
    REQUIRE(fdt_setprop_inplace_u32(blank.data(), opb, "clock-frequency", 12345) == 0);
    const Bytes tree = adapt_device_tree("t", blank, machine());
    CHECK(cells(tree, "/plb/opb/serial@ef600300", "clock-frequency") == Cells{board::uart_clock_hz});
    CHECK(cells(tree, "/plb", "clock-frequency") == Cells{board::plb_clock_hz});
    CHECK(cells(tree, "/plb/opb", "clock-frequency") == Cells{12345});
}

TEST_CASE("user's device tree: what is refused") {
    const Bytes good = make_device_tree(machine());
    const auto adapt = [](const Bytes& blob) { return adapt_device_tree("t", blob, machine()); };
    CHECK_THROWS_MATCHES(adapt(Bytes(10)), Error, MessageMatches(ContainsSubstring("truncated")));
    CHECK_THROWS_MATCHES(adapt(Bytes(100)), Error, MessageMatches(ContainsSubstring("not a sound device tree")));
    CHECK_THROWS_MATCHES(adapt(Bytes(largest_device_tree + 1)), Error, MessageMatches(ContainsSubstring("at most")));

    Bytes headless = good;
    REQUIRE(fdt_nop_node(headless.data(), fdt_path_offset(headless.data(), "/cpus/cpu@0")) == 0);
    CHECK_THROWS_MATCHES(adapt(headless), Error, MessageMatches(ContainsSubstring("no node of device_type \"cpu\"")));
    Bytes forgetful = good;
    REQUIRE(fdt_nop_node(forgetful.data(), fdt_path_offset(forgetful.data(), "/memory@0")) == 0);
    CHECK_THROWS_MATCHES(adapt(forgetful), Error, MessageMatches(ContainsSubstring("\"memory\"")));
    Bytes wide = good;
    REQUIRE(fdt_setprop_inplace_u32(wide.data(), 0, "#size-cells", 3) == 0);
    CHECK_THROWS_MATCHES(adapt(wide), Error, MessageMatches(ContainsSubstring("3 size cells")));

    for (std::size_t length = 0; length < good.size(); length += 1 + length / 64) {
        CAPTURE(length);
        CHECK_THROWS_AS(adapt(Bytes(good.begin(), good.begin() + static_cast<long>(length))), Error);
    }
}

TEST_CASE("user's device tree: random changes") {
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    Random random(seed);
    const Bytes good = make_device_tree(machine());
    for (int round = 0; round < 3000; ++round) {
        Bytes blob = good;
        for (unsigned changes = 1 + random() % 6; changes > 0; --changes) {
            blob[random() % blob.size()] = static_cast<std::uint8_t>(random());
        }
        // Nothing is taken for sound that libfdt's own check refuses.
        if (device_tree_error(blob) == 0) REQUIRE(fdt_check_full(blob.data(), blob.size()) == 0);
        try {
            const Bytes tree = adapt_device_tree("t", blob, machine());
            REQUIRE(fdt_check_full(tree.data(), tree.size()) == 0);
        } catch (const Error& error) {
            REQUIRE(std::strchr(error.what(), '\n') == nullptr);
        }
    }
}
