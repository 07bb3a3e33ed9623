// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace untrap::vmm {

// One PT_LOAD of an executable. The file part may be shorter than the memory part; the rest is zero.
struct ElfSegment {
    std::uint32_t virtual_address;
    std::uint32_t physical_address;
    std::uint32_t memory_bytes;
    std::span<const std::uint8_t> file_bytes;
};

struct ElfSection {
    std::string name;
    std::uint32_t address;
    bool executable;
    std::span<const std::uint8_t> bytes;
};

struct ElfSymbol {
    std::string name;
    std::uint32_t address;
    std::uint32_t bytes;
};

// A 32-bit big-endian PowerPC executable, checked field by field against the bytes it is read from. It refers to
// those bytes and must not outlive them. Every function throws Error for a file that is not what it should be;
// `name` is how the message names the file.
class Elf32 {
  public:
    Elf32(std::string name, std::span<const std::uint8_t> bytes);

    static bool looks_like_elf(std::span<const std::uint8_t> bytes);

    std::uint32_t entry() const { return entry_; }

    // In file order; at least one.
    std::vector<ElfSegment> segments() const;

    // Sections that occupy memory and have bytes in the file, in file order. Empty when there is no section table.
    std::vector<ElfSection> sections() const;

    // Functions and untyped labels in sections, sorted by address.
    std::vector<ElfSymbol> symbols() const;

  private:
    struct SectionHeader {
        std::uint32_t name_offset, type, flags, address, offset, size, link, entry_size;
    };

    [[noreturn]] void fail(std::string_view cause) const;
    std::vector<SectionHeader> section_headers() const;
    std::span<const std::uint8_t> section_bytes(const SectionHeader& header) const;
    std::string string_at(std::span<const std::uint8_t> table, std::uint32_t offset) const;

    std::string name_;
    std::span<const std::uint8_t> bytes_;
    std::uint32_t entry_ = 0;
};

// The symbol that covers an address, from a list sorted as Elf32::symbols() gives it; null when none does.
const ElfSymbol* find_symbol(std::span<const ElfSymbol> symbols, std::uint32_t address);

} // namespace untrap::vmm
