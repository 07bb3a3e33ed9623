// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <libfdt.h>

#include "tests/vmm_boot/image_builder.h"
#include "vmm/boot/boot.h"
#include "vmm/boot/layout.h"
#include "vmm/devices/diagnostics.h"

using namespace untrap::vmm;
using namespace untrap::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

constexpr std::uint64_t mib = 1u << 20;
const Bytes code = words({0x60000000, 0x48000000});

struct Guest {
    explicit Guest(std::uint64_t memory_mib) : bytes(memory_mib * mib) { memory.add_region(0, bytes); }

    BootRegisters boot(const BootFiles& files) {
        return boot_guest(
            files, {.memory_bytes = bytes, .command_line = "x", .initrd = {}, .virtio = {}, .timebase_hz = 1}, memory);
    }

    std::uint64_t bytes;
    GuestMemory memory;
};

} // namespace

TEST_CASE("layout: neighbours, overlaps, the end of memory") {
    MemoryLayout layout(0x10000);
    layout.claim("a", 0x1000, 0x1000);
    layout.claim("b", 0x2000, 0x1000);
    layout.claim("c", 0xF000, 0x1000);
    CHECK_THROWS_MATCHES(layout.claim("d", 0x1FFF, 1), Error,
                         MessageMatches(ContainsSubstring("a (0x00001000-0x00001fff) and d (0x00001fff-0x00001fff)")));
    CHECK_THROWS_MATCHES(layout.claim("d", 0, 0x3000), Error, MessageMatches(ContainsSubstring("overlap")));
    CHECK_THROWS_MATCHES(layout.claim("d", 0xFFFF, 2), Error, MessageMatches(ContainsSubstring("end of memory")));
    CHECK_THROWS_AS(layout.claim("d", UINT64_MAX, 2), Error);
    CHECK_THROWS_AS(layout.claim("d", 4, UINT64_MAX), Error);
    layout.claim("d", 0, 0x1000);
}

TEST_CASE("boot: what lies where, and the registers") {
    const TemporaryDirectory files;
    const Bytes initrd(5000, 0xAB);
    Guest guest(64);
    const BootRegisters registers =
        guest.boot({.kernel = files.write("k", make_elf(code, {.physical_address = 0x1000})),
                    .initrd = files.write("i", initrd),
                    .device_tree = ""});
    CHECK(registers.pc == 0x1000);
    CHECK(registers.r1 == 16 * mib - 8);
    CHECK(registers.r6 == 0x45504150);
    CHECK(registers.r7 == 256 * mib);
    CHECK(guest.memory.read_be32(0x1000) == 0x60000000);

    // The initrd on top, the tree below it, both on pages of their own.
    const std::uint64_t initrd_at = 64 * mib - 8192;
    Bytes in_memory(initrd.size());
    REQUIRE(guest.memory.read(initrd_at, in_memory));
    CHECK(in_memory == initrd);
    CHECK(registers.r3 % 4096 == 0);
    REQUIRE(registers.r3 < initrd_at);
    const auto tree = guest.memory.const_range(registers.r3, initrd_at - registers.r3);
    REQUIRE(tree);
    REQUIRE(fdt_check_full(tree->data(), tree->size()) == 0);
    const int chosen = fdt_path_offset(tree->data(), "/chosen");
    const auto* start = static_cast<const fdt32_t*>(fdt_getprop(tree->data(), chosen, "linux,initrd-start", nullptr));
    const auto* end = static_cast<const fdt32_t*>(fdt_getprop(tree->data(), chosen, "linux,initrd-end", nullptr));
    CHECK(fdt32_ld(start) == initrd_at);
    CHECK(fdt32_ld(end) == initrd_at + initrd.size());
}

TEST_CASE("boot: with much memory everything stays where a 44x kernel looks") {
    const TemporaryDirectory files;
    Guest guest(1024);
    const BootRegisters registers = guest.boot(
        {.kernel = files.write("k", make_elf(code)), .initrd = files.write("i", Bytes(100, 1)), .device_tree = ""});
    CHECK(registers.r3 < 256 * mib);
    CHECK(guest.memory.read_be32(768 * mib - 4096) == 0x01010101);
}

TEST_CASE("boot: the smallest memory") {
    const TemporaryDirectory files;
    Guest guest(8);
    const BootRegisters registers =
        guest.boot({.kernel = files.write("k", make_elf(code)), .initrd = "", .device_tree = ""});
    CHECK(registers.r1 == 8 * mib - 8);
    CHECK(registers.r3 < 8 * mib);
}

TEST_CASE("boot: overlaps are named with both owners and their addresses") {
    const TemporaryDirectory files;
    Guest guest(16);
    // A segment up to the last byte of memory: no room for the tree.
    const std::string high =
        files.write("high", make_elf(code, {.physical_address = 15u << 20, .bss_bytes = (1u << 20) - 8}));
    CHECK_THROWS_MATCHES(guest.boot({.kernel = high, .initrd = "", .device_tree = ""}), Error,
                         MessageMatches(ContainsSubstring("high (0x00f00000-0x00ffffff) and device tree (0x00ff") &&
                                        ContainsSubstring("overlap in guest memory")));
    const std::string low = files.write("low", make_elf(code, {.bss_bytes = 8u << 20}));
    const std::string initrd = files.write("initrd", Bytes(9u << 20, 1));
    CHECK_THROWS_MATCHES(
        guest.boot({.kernel = low, .initrd = initrd, .device_tree = ""}), Error,
        MessageMatches(ContainsSubstring("kernel ") && ContainsSubstring("initrd ") && ContainsSubstring("overlap")));
    const std::string huge = files.write("huge", Bytes((16u << 20) + 1, 1));
    CHECK_THROWS_MATCHES(guest.boot({.kernel = low, .initrd = huge, .device_tree = ""}), Error,
                         MessageMatches(ContainsSubstring("too large")));
    const std::string all = files.write("all", Bytes(16u << 20, 1));
    CHECK_THROWS_AS(guest.boot({.kernel = low, .initrd = all, .device_tree = ""}), Error);
}

TEST_CASE("boot: an entry outside the initial mapping") {
    const TemporaryDirectory files;
    Guest guest(512);
    const std::string kernel = files.write(
        "k", make_elf(code, {.virtual_address = 300u << 20, .physical_address = 300u << 20, .entry = 300u << 20}));
    CHECK_THROWS_MATCHES(guest.boot({.kernel = kernel, .initrd = "", .device_tree = ""}), Error,
                         MessageMatches(ContainsSubstring("mapped at reset")));
}

TEST_CASE("boot: a device tree of the user's") {
    const TemporaryDirectory files;
    Guest guest(32);
    const std::string kernel = files.write("k", make_elf(code));
    const std::string tree = files.write(
        "t",
        make_device_tree({.memory_bytes = 1, .command_line = "old", .initrd = {}, .virtio = {}, .timebase_hz = 1}));
    const BootRegisters registers = guest.boot({.kernel = kernel, .initrd = "", .device_tree = tree});
    const auto in_memory = guest.memory.const_range(registers.r3, guest.bytes - registers.r3);
    REQUIRE(in_memory);
    REQUIRE(fdt_check_full(in_memory->data(), in_memory->size()) == 0);
    const std::string junk = files.write("junk", Bytes(64, 7));
    CHECK_THROWS_MATCHES(guest.boot({.kernel = kernel, .initrd = "", .device_tree = junk}), Error,
                         MessageMatches(ContainsSubstring("device tree ") && ContainsSubstring("junk")));
}

TEST_CASE("boot: files that cannot be read") {
    const TemporaryDirectory files;
    Guest guest(16);
    const auto boot = [&](const std::string& kernel) {
        guest.boot({.kernel = kernel, .initrd = "", .device_tree = ""});
    };
    CHECK_THROWS_MATCHES(boot(files.path("none")), Error, MessageMatches(ContainsSubstring("No such file")));
    CHECK_THROWS_MATCHES(boot(files.path("")), Error, MessageMatches(ContainsSubstring("not a regular file")));
    CHECK_THROWS_MATCHES(boot("/dev/null"), Error, MessageMatches(ContainsSubstring("not a regular file")));
    CHECK_THROWS_MATCHES(boot(files.write("empty", Bytes{})), Error, MessageMatches(ContainsSubstring("empty")));
}
