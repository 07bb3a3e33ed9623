// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <random>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vmm_boot/image_builder.h"
#include "vmm/devices/diagnostics.h"
#include "vmm/machine/disk_copy.h"

using namespace untrap::vmm;
using namespace untrap::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

TEST_CASE("disk copies: same contents, the original untouched") {
    const TemporaryDirectory files;
    Bytes contents(3u << 20);
    Random random(1);
    for (std::uint8_t& byte : contents) byte = static_cast<std::uint8_t>(random());
    const std::string image = files.write("image", contents);
    const std::string other = files.write("other", Bytes(512, 9));
    const DiskCopies copies({{.path = image, .read_only = false}, {.path = other, .read_only = true}});
    REQUIRE(copies.disks().size() == 2);
    CHECK(copies.disks()[0].path != image);
    CHECK(read_all(copies.disks()[0].path) == contents);
    CHECK(copies.disks()[1].path == other);
    CHECK(copies.disks()[1].read_only);
    std::ofstream(copies.disks()[0].path, std::ios::binary | std::ios::in) << "changed";
    CHECK(read_all(copies.disks()[0].path) != contents);
    CHECK(read_all(image) == contents);
    // Nothing is left lying about.
    CHECK(std::distance(std::filesystem::directory_iterator(files.path("")), {}) == 2);
}

TEST_CASE("disk copies: holes stay holes") {
    const TemporaryDirectory files;
    const std::string image = files.write("image", Bytes(4096, 1));
    const off_t size = 1LL << 33;
    REQUIRE(::truncate(image.c_str(), size) == 0);
    const DiskCopies copies({{.path = image, .read_only = false}});
    struct stat status {};
    REQUIRE(::stat(copies.disks()[0].path.c_str(), &status) == 0);
    CHECK(status.st_size == size);
    CHECK(status.st_blocks < 1024);
}

TEST_CASE("disk copies: what cannot be copied") {
    const TemporaryDirectory files;
    CHECK_THROWS_MATCHES(DiskCopies({{.path = files.path("none"), .read_only = false}}), Error,
                         MessageMatches(ContainsSubstring("none: No such file")));
    CHECK_THROWS_MATCHES(DiskCopies({{.path = files.path(""), .read_only = false}}), Error,
                         MessageMatches(ContainsSubstring("neither a file nor a block device")));
}
