// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/memory/guest_memory.h"

#include <array>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "vmm/devices/diagnostics.h"

using namespace untrap::vmm;

namespace {
constexpr std::uint64_t page = GuestMemory::page_size;
constexpr std::uint64_t top = std::numeric_limits<std::uint64_t>::max();
} // namespace

TEST_CASE("guest memory ranges are checked without overflow") {
    GuestMemory memory;
    memory.add_region(0x10000, 4 * page);
    CHECK(memory.range(0x10000, 4 * page));
    CHECK(memory.range(0x10000, 0));
    CHECK(memory.range(0x10000 + 4 * page, 0));
    CHECK_FALSE(memory.range(0x10000, 4 * page + 1));
    CHECK_FALSE(memory.range(0xffff, 1));
    CHECK_FALSE(memory.range(0xffff, 2));
    CHECK_FALSE(memory.range(0x10000 + 4 * page, 1));
    CHECK_FALSE(memory.range(0x10001, top));
    CHECK_FALSE(memory.range(0x10010, top - 0x10000));
    CHECK_FALSE(memory.range(top, 1));
    CHECK_FALSE(memory.range(top, top));
    CHECK_FALSE(memory.contains(0x10000, top));
    CHECK_FALSE(memory.contains(top, 2));
    CHECK(memory.range(0x10000 + 4 * page - 1, 1)->size() == 1);
    std::array<std::uint8_t, 16> bytes{};
    CHECK_FALSE(memory.read(0x10000 + 4 * page - 15, bytes));
    CHECK_FALSE(memory.write(top - 7, bytes));
    CHECK_FALSE(memory.fill(0x10000, 1, top));
    CHECK_FALSE(memory.read_be32(0x10000 + 4 * page - 3));
    CHECK_FALSE(memory.load_acquire_le16(0x10001));
    CHECK_FALSE(memory.load_acquire_le16(top));
}

TEST_CASE("guest memory scalars have the byte order their name says") {
    GuestMemory memory;
    memory.add_region(0, page);
    REQUIRE(memory.write_be32(8, 0x01020304));
    CHECK((*memory.range(8, 4))[0] == 1);
    CHECK(memory.read_le32(8) == 0x04030201u);
    CHECK(memory.read_be16(8) == 0x0102u);
    REQUIRE(memory.write_le64(16, 0x1122334455667788));
    CHECK(memory.read_be64(16) == 0x8877665544332211u);
    CHECK(memory.load_acquire_le16(16) == 0x7788u);
    REQUIRE(memory.store_release_le16(16, 0xabcd));
    CHECK((*memory.range(16, 2))[0] == 0xcd);
}

TEST_CASE("guest memory regions that make no sense are refused") {
    GuestMemory memory;
    memory.add_region(0, 16 * page);
    CHECK_THROWS_AS(memory.add_region(0, page), Error);
    CHECK_THROWS_AS(memory.add_region(15 * page, 2 * page), Error);
    CHECK_THROWS_AS(memory.add_region(0x100000, 0), Error);
    CHECK_THROWS_AS(memory.add_region(0x100001, page), Error);
    CHECK_THROWS_AS(memory.add_region(0x100000, page + 1), Error);
    CHECK_THROWS_AS(memory.add_region(1ull << 36, page), Error);
    CHECK_THROWS_AS(memory.add_region((1ull << 36) - page, 2 * page), Error);
    CHECK_THROWS_AS(memory.add_region(page * 32, ~0ull - page + 1), Error);
    CHECK(memory.regions().size() == 1);
    CHECK(memory.total_size() == 16 * page);
}

TEST_CASE("copies span adjacent regions, host views do not") {
    GuestMemory memory;
    memory.add_region(page, page);
    memory.add_region(0, page);
    std::array<std::uint8_t, 8> in{1, 2, 3, 4, 5, 6, 7, 8}, out{};
    REQUIRE(memory.write(page - 4, in));
    REQUIRE(memory.read(page - 4, out));
    CHECK(in == out);
    CHECK_FALSE(memory.range(page - 4, 8));
    CHECK(memory.prefix(page - 4, 8, true).size() == 4);
    CHECK(memory.contains(page - 4, 8, true));
}

TEST_CASE("read-only memory refuses devices, writes are told") {
    GuestMemory memory;
    memory.add_region(0, page);
    memory.add_region(page, page, true);
    std::uint64_t told_at = 0, told_length = 0;
    unsigned told = 0;
    memory.set_write_observer([&](std::uint64_t gpa, std::uint64_t length) {
        told_at = gpa;
        told_length = length;
        ++told;
    });
    std::array<std::uint8_t, 4> bytes{9, 9, 9, 9};
    CHECK_FALSE(memory.write(page, bytes));
    CHECK_FALSE(memory.write(page - 2, bytes));
    CHECK(memory.read_be32(page - 2) == 0u);
    CHECK_FALSE(memory.range(page, 4));
    CHECK(memory.const_range(page, 4));
    CHECK_FALSE(memory.store_release_le16(page, 1));
    CHECK(told == 0);
    CHECK(memory.initialise(page, bytes));
    CHECK(memory.read_be32(page) == 0x09090909u);
    CHECK(told == 1);
    CHECK(memory.write_be16(100, 1));
    CHECK((told == 2 && told_at == 100 && told_length == 2));
    CHECK(memory.fill(200, 7, 30));
    CHECK((told == 3 && told_at == 200 && told_length == 30));
    CHECK(memory.store_release_le16(300, 1));
    CHECK((told == 4 && told_at == 300 && told_length == 2));
}
