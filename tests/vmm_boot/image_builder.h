// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// Kernel images made by hand, for tests: a minimal ELF, a uImage around any bytes, and tiny guest programs.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>
#include <zlib.h>

namespace untrap::test {

using Bytes = std::vector<std::uint8_t>;

// Random numbers from a seed that the test shows when it fails.
class Random {
  public:
    explicit Random(unsigned seed) : engine_(seed) {}
    std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

  private:
    std::mt19937 engine_;
};

inline void put16(Bytes& bytes, std::size_t at, std::uint32_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}

inline void put32(Bytes& bytes, std::size_t at, std::uint32_t value) {
    put16(bytes, at, value >> 16);
    put16(bytes, at + 2, value & 0xFFFF);
}

inline Bytes words(std::initializer_list<std::uint32_t> code) {
    Bytes bytes(code.size() * 4);
    std::size_t at = 0;
    for (const std::uint32_t word : code) {
        put32(bytes, at, word);
        at += 4;
    }
    return bytes;
}

// Offsets in the image that make_elf() gives.
inline constexpr std::size_t elf_header_bytes = 52;
inline constexpr std::size_t elf_program_header = elf_header_bytes;
inline constexpr std::size_t elf_code = elf_program_header + 32;

struct ElfParameters {
    std::uint32_t virtual_address = 0xC0000000;
    std::uint32_t physical_address = 0;
    std::uint32_t entry = 0xC0000000;
    std::uint32_t bss_bytes = 0x100;
};

// A big-endian PowerPC executable with one segment that holds `code`.
inline Bytes make_elf(const Bytes& code, const ElfParameters& parameters = {}) {
    Bytes elf(elf_code + code.size());
    const std::uint8_t identification[] = {0x7f, 'E', 'L', 'F', 1, 2, 1};
    std::copy(std::begin(identification), std::end(identification), elf.begin());
    put16(elf, 16, 2);  // executable
    put16(elf, 18, 20); // PowerPC
    put32(elf, 20, 1);
    put32(elf, 24, parameters.entry);
    put32(elf, 28, elf_program_header);
    put16(elf, 40, elf_header_bytes);
    put16(elf, 42, 32);
    put16(elf, 44, 1);
    put32(elf, elf_program_header, 1); // load
    put32(elf, elf_program_header + 4, elf_code);
    put32(elf, elf_program_header + 8, parameters.virtual_address);
    put32(elf, elf_program_header + 12, parameters.physical_address);
    put32(elf, elf_program_header + 16, static_cast<std::uint32_t>(code.size()));
    put32(elf, elf_program_header + 20, static_cast<std::uint32_t>(code.size()) + parameters.bss_bytes);
    std::copy(code.begin(), code.end(), elf.begin() + elf_code);
    return elf;
}

inline void seal_uimage(Bytes& image) {
    put32(image, 24, static_cast<std::uint32_t>(crc32_z(0, image.data() + 64, image.size() - 64)));
    put32(image, 4, 0);
    put32(image, 4, static_cast<std::uint32_t>(crc32_z(0, image.data(), 64)));
}

inline Bytes make_uimage(const Bytes& data, std::uint8_t compression, std::uint32_t load = 0, std::uint32_t entry = 0) {
    Bytes image(64 + data.size());
    put32(image, 0, 0x27051956);
    put32(image, 12, static_cast<std::uint32_t>(data.size()));
    put32(image, 16, load);
    put32(image, 20, entry);
    image[28] = 5; // Linux
    image[29] = 7; // PowerPC
    image[30] = 2; // kernel
    image[31] = compression;
    std::copy(data.begin(), data.end(), image.begin() + 64);
    seal_uimage(image);
    return image;
}

inline Bytes gzip(const Bytes& data) {
    z_stream stream{};
    deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    Bytes packed(deflateBound(&stream, data.size()) + 64);
    stream.next_in = const_cast<Bytef*>(data.data());
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = packed.data();
    stream.avail_out = static_cast<uInt>(packed.size());
    deflate(&stream, Z_FINISH);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
}

// Guest code that maps UART0, prints `text` and then resets the machine or, if not, spins for ever.
inline Bytes printing_guest(const std::string& text, bool then_reset) {
    constexpr std::uint32_t r4 = 4, r5 = 5, r6 = 6, r7 = 7, r8 = 8;
    const auto lis = [](std::uint32_t rd, std::uint32_t value) { return 0x3C000000 | rd << 21 | value; };
    const auto li = [](std::uint32_t rd, std::uint32_t value) { return 0x38000000 | rd << 21 | value; };
    const auto tlbwe = [](std::uint32_t rs, std::uint32_t ra, std::uint32_t word) {
        return 31u << 26 | rs << 21 | ra << 16 | word << 11 | 978u << 1;
    };
    std::vector<std::uint32_t> code = {
        lis(r4, 0xEF60),                           // UART page, also word 1: physical address
        0x60000000 | r4 << 21 | r5 << 16 | 0x0210, // word 0: effective address, valid, 4 KB
        li(r6, 1),                                 // entry 1
        li(r7, 0x507),                             // word 2: I, G, supervisor X W R
        tlbwe(r5, r6, 0),
        tlbwe(r4, r6, 1),
        tlbwe(r7, r6, 2),
        0x4C00012C, // isync
    };
    for (const char c : text) {
        code.push_back(li(r8, static_cast<std::uint8_t>(c)));
        code.push_back(0x98000000 | r8 << 21 | r4 << 16 | 0x300); // stb r8, THR
    }
    if (then_reset) {
        constexpr std::uint32_t dbcr0 = 308;
        code.push_back(lis(r8, 0x3000));
        code.push_back(31u << 26 | r8 << 21 | (dbcr0 & 31) << 16 | (dbcr0 >> 5) << 11 | 467u << 1);
    }
    code.push_back(0x48000000); // b .
    Bytes bytes(code.size() * 4);
    for (std::size_t i = 0; i < code.size(); ++i) put32(bytes, i * 4, code[i]);
    return bytes;
}

// A directory of its own, gone with this object.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string name = (std::filesystem::temp_directory_path() / "untrap-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    std::string path(const std::string& name) const { return (path_ / name).string(); }
    std::string write(const std::string& name, std::span<const std::uint8_t> bytes) const {
        std::ofstream file(path(name), std::ios::binary);
        file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        return path(name);
    }

  private:
    std::filesystem::path path_;
};

inline Bytes read_all(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

} // namespace untrap::test
