// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <random>

#include "tests/vmm_boot/image_builder.h"
#include "vmm/boot/elf32.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/devices/diagnostics.h"

using namespace untrap::vmm;
using namespace untrap::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

constexpr std::uint64_t memory = 16u << 20;
const Bytes code = words({0x60000000, 0x48000000});

KernelImage parse(Bytes bytes) { return parse_kernel("k", std::move(bytes), memory); }

// Whatever comes in: an image inside the memory, or one line that says what is wrong.
bool survives(Bytes bytes) {
    try {
        const KernelImage image = parse(std::move(bytes));
        for (const KernelSegment& segment : image.segments) {
            REQUIRE(std::uint64_t{segment.gpa} + segment.memory_bytes <= memory);
            REQUIRE(segment.file_bytes.size() <= segment.memory_bytes);
        }
        return true;
    } catch (const Error& error) {
        const std::string line = error.what();
        REQUIRE(line.starts_with("kernel k: "));
        REQUIRE(line.find('\n') == std::string::npos);
        return false;
    }
}

} // namespace

TEST_CASE("ELF: a kernel linked high is loaded low") {
    const KernelImage image = parse(make_elf(code));
    CHECK(image.entry == 0);
    REQUIRE(image.segments.size() == 1);
    CHECK(image.segments[0].gpa == 0);
    CHECK(image.segments[0].memory_bytes == code.size() + 0x100);
    CHECK(Bytes(image.segments[0].file_bytes.begin(), image.segments[0].file_bytes.end()) == code);
}

TEST_CASE("ELF: the entry may be virtual or physical") {
    CHECK(parse(make_elf(code, {.physical_address = 0x1000, .entry = 0xC0000004})).entry == 0x1004);
    CHECK(parse(make_elf(code, {.physical_address = 0x1000, .entry = 0x1004})).entry == 0x1004);
    CHECK_THROWS_MATCHES(parse(make_elf(code, {.entry = 0x80000000})), Error,
                         MessageMatches(ContainsSubstring("entry point 0x80000000 is in none of its segments")));
    CHECK_THROWS_MATCHES(parse(make_elf(code, {.entry = 0xC0000002})), Error,
                         MessageMatches(ContainsSubstring("not a multiple of 4")));
}

TEST_CASE("ELF: files of another kind are named as what they are") {
    const auto with = [](std::size_t at, std::uint8_t value) {
        Bytes elf = make_elf(code);
        elf[at] = value;
        return elf;
    };
    CHECK_THROWS_MATCHES(parse(with(4, 2)), Error, MessageMatches(ContainsSubstring("64-bit ELF")));
    CHECK_THROWS_MATCHES(parse(with(5, 1)), Error, MessageMatches(ContainsSubstring("little-endian ELF")));
    CHECK_THROWS_MATCHES(parse(with(19, 62)), Error, MessageMatches(ContainsSubstring("machine 62")));
    CHECK_THROWS_MATCHES(parse(with(17, 3)), Error, MessageMatches(ContainsSubstring("type 3")));
    CHECK_THROWS_MATCHES(parse(with(0, 0x1f)), Error, MessageMatches(ContainsSubstring("neither an ELF nor a uImage")));
}

TEST_CASE("ELF: a segment beyond the memory") {
    CHECK_THROWS_MATCHES(parse(make_elf(code, {.physical_address = memory - 4})), Error,
                         MessageMatches(ContainsSubstring("does not fit in the memory of 16 MiB")));
    CHECK_THROWS_AS(parse(make_elf(code, {.physical_address = 0xFFFFFFFC, .bss_bytes = 0xFFFFFFF0})), Error);
}

TEST_CASE("ELF: cut off anywhere") {
    const Bytes elf = make_elf(code);
    for (std::size_t length = 1; length < elf.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(survives(Bytes(elf.begin(), elf.begin() + static_cast<long>(length))));
    }
    CHECK(survives(elf));
}

TEST_CASE("ELF: every header field at its extremes") {
    const Bytes good = make_elf(code);
    for (std::size_t at = 0; at + 4 <= elf_code; ++at) {
        for (const std::uint32_t value : {0u, 1u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
            Bytes elf = good;
            put32(elf, at, value);
            survives(std::move(elf));
        }
    }
}

TEST_CASE("ELF: random changes") {
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    Random random(seed);
    const Bytes good = make_elf(code);
    for (int round = 0; round < 20000; ++round) {
        Bytes elf = good;
        for (unsigned changes = 1 + random() % 8; changes > 0; --changes) {
            elf[random() % elf.size()] = static_cast<std::uint8_t>(random());
        }
        if (random() % 8 == 0) elf.resize(1 + random() % elf.size());
        survives(elf);
        try {
            const Elf32 reader("x", elf);
            reader.sections();
            reader.symbols();
        } catch (const Error&) {
        }
    }
}

namespace {

// An ELF with a text section and two symbols, behind make_elf()'s parts.
Bytes elf_with_symbols() {
    Bytes elf = make_elf(code);
    const auto append = [&elf](const Bytes& bytes) {
        const auto at = static_cast<std::uint32_t>(elf.size());
        elf.insert(elf.end(), bytes.begin(), bytes.end());
        return at;
    };
    const std::string names("\0.text\0start\0spin\0", 18);
    const std::uint32_t names_at = append(Bytes(names.begin(), names.end()));
    Bytes symbols(3 * 16);
    put32(symbols, 16, 7); // start, a label without a size
    put32(symbols, 20, 0xC0000000);
    put16(symbols, 30, 1);
    put32(symbols, 32, 13); // spin, a function of one instruction
    put32(symbols, 36, 0xC0000004);
    put32(symbols, 40, 4);
    symbols[44] = 2;
    put16(symbols, 46, 1);
    const std::uint32_t symbols_at = append(symbols);
    Bytes headers(4 * 40);
    const auto header = [&headers](std::size_t index, std::initializer_list<std::uint32_t> fields) {
        std::size_t at = index * 40;
        for (const std::uint32_t field : fields) {
            put32(headers, at, field);
            at += 4;
        }
    };
    header(1, {1, 1, 6, 0xC0000000, elf_code, 8, 0, 0, 4, 0});
    header(2, {0, 2, 0, 0, symbols_at, 48, 3, 0, 4, 16});
    header(3, {0, 3, 0, 0, names_at, 18, 0, 0, 1, 0});
    put32(elf, 32, append(headers));
    put16(elf, 46, 40);
    put16(elf, 48, 4);
    put16(elf, 50, 3);
    return elf;
}

} // namespace

TEST_CASE("ELF: sections and symbols") {
    const Bytes bytes = elf_with_symbols();
    const Elf32 elf("x", bytes);
    const std::vector<ElfSection> sections = elf.sections();
    REQUIRE(sections.size() == 1);
    CHECK(sections[0].name == ".text");
    CHECK(sections[0].executable);
    CHECK(sections[0].address == 0xC0000000);
    CHECK(sections[0].bytes.size() == 8);
    const std::vector<ElfSymbol> symbols = elf.symbols();
    REQUIRE(symbols.size() == 2);
    CHECK(find_symbol(symbols, 0xBFFFFFFC) == nullptr);
    CHECK(find_symbol(symbols, 0xC0000000)->name == "start");
    CHECK(find_symbol(symbols, 0xC0000004)->name == "spin");
    CHECK(find_symbol(symbols, 0xC0000008) == nullptr);
}

TEST_CASE("ELF: hostile sections and symbols") {
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    Random random(seed);
    const Bytes good = elf_with_symbols();
    for (int round = 0; round < 20000; ++round) {
        Bytes elf = good;
        for (unsigned changes = 1 + random() % 6; changes > 0; --changes) {
            elf[28 + random() % (elf.size() - 28)] = static_cast<std::uint8_t>(random());
        }
        try {
            const Elf32 reader("x", elf);
            reader.sections();
            find_symbol(reader.symbols(), random());
        } catch (const Error&) {
        }
    }
}
