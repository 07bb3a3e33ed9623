// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <random>

#include "tests/vmm_boot/image_builder.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/devices/diagnostics.h"

using namespace untrap::vmm;
using namespace untrap::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

constexpr std::uint64_t memory = 16u << 20;
constexpr std::uint8_t none = 0, gz = 1, bzip2 = 2;
const Bytes code = words({0x60000000, 0x48000000});

KernelImage parse(Bytes bytes) { return parse_kernel("k", std::move(bytes), memory); }

bool survives(Bytes bytes) {
    try {
        const KernelImage image = parse(std::move(bytes));
        REQUIRE(std::uint64_t{image.segments.at(0).gpa} + image.segments.at(0).memory_bytes <= memory);
        return true;
    } catch (const Error& error) {
        REQUIRE(std::string(error.what()).find('\n') == std::string::npos);
        return false;
    }
}

Bytes changed(Bytes image, std::size_t at, std::uint8_t value) {
    image[at] = value;
    seal_uimage(image);
    return image;
}

} // namespace

TEST_CASE("uImage: plain and gzip") {
    for (const Bytes& image : {make_uimage(code, none, 0x2000, 0x2004), make_uimage(gzip(code), gz, 0x2000, 0x2004)}) {
        const KernelImage kernel = parse(image);
        CHECK(kernel.entry == 0x2004);
        REQUIRE(kernel.segments.size() == 1);
        CHECK(kernel.segments[0].gpa == 0x2000);
        CHECK(Bytes(kernel.segments[0].file_bytes.begin(), kernel.segments[0].file_bytes.end()) == code);
    }
}

TEST_CASE("uImage: a large payload unpacks in steps") {
    Bytes large(5u << 20);
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::uint8_t>(i * 7 >> 3);
    const KernelImage kernel = parse(make_uimage(gzip(large), gz));
    CHECK(Bytes(kernel.segments[0].file_bytes.begin(), kernel.segments[0].file_bytes.end()) == large);
}

TEST_CASE("uImage: what is refused") {
    const Bytes good = make_uimage(code, none);
    Bytes wrong_header_crc = good;
    wrong_header_crc[35] ^= 1;
    CHECK_THROWS_MATCHES(parse(wrong_header_crc), Error, MessageMatches(ContainsSubstring("header's CRC")));
    Bytes wrong_data_crc = good;
    wrong_data_crc.back() ^= 1;
    CHECK_THROWS_MATCHES(parse(wrong_data_crc), Error, MessageMatches(ContainsSubstring("data's CRC")));
    CHECK_THROWS_MATCHES(parse(changed(good, 29, 2)), Error, MessageMatches(ContainsSubstring("architecture 2")));
    CHECK_THROWS_MATCHES(parse(changed(good, 30, 4)), Error, MessageMatches(ContainsSubstring("multi-component")));
    CHECK_THROWS_MATCHES(parse(changed(good, 30, 3)), Error, MessageMatches(ContainsSubstring("type 3")));
    CHECK_THROWS_MATCHES(parse(changed(good, 31, bzip2)), Error, MessageMatches(ContainsSubstring("compression 2")));
    CHECK_THROWS_MATCHES(parse(make_uimage(code, none, memory)), Error,
                         MessageMatches(ContainsSubstring("beyond the memory")));
    CHECK_THROWS_MATCHES(parse(make_uimage(code, none, memory - 4, memory - 4)), Error,
                         MessageMatches(ContainsSubstring("do not fit")));
    CHECK_THROWS_MATCHES(parse(make_uimage(code, none, 0, 8)), Error,
                         MessageMatches(ContainsSubstring("outside the image")));
    CHECK_THROWS_MATCHES(parse(make_uimage({}, none)), Error, MessageMatches(ContainsSubstring("no data")));
    CHECK_THROWS_MATCHES(parse(make_uimage(code, gz)), Error, MessageMatches(ContainsSubstring("bad gzip data")));
}

TEST_CASE("uImage: a payload that unpacks to more than the memory") {
    const Bytes zeros(memory + 1);
    CHECK_THROWS_MATCHES(parse(make_uimage(gzip(zeros), gz)), Error,
                         MessageMatches(ContainsSubstring("unpacks to more")));
    CHECK(survives(make_uimage(gzip(Bytes(memory)), gz)));
}

TEST_CASE("uImage: cut off anywhere") {
    const Bytes image = make_uimage(gzip(code), gz);
    for (std::size_t length = 1; length < image.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(survives(Bytes(image.begin(), image.begin() + static_cast<long>(length))));
    }
    // A gzip stream cut off inside a sound image.
    const Bytes packed = gzip(code);
    for (std::size_t length = 1; length < packed.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(survives(make_uimage(Bytes(packed.begin(), packed.begin() + static_cast<long>(length)), gz)));
    }
}

TEST_CASE("uImage: random changes under a right CRC") {
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    Random random(seed);
    const Bytes good = make_uimage(gzip(code), gz);
    for (int round = 0; round < 20000; ++round) {
        Bytes image = good;
        for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
            image[4 + random() % (image.size() - 4)] = static_cast<std::uint8_t>(random());
        }
        if (random() % 4 != 0) seal_uimage(image);
        survives(std::move(image));
    }
}
