// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/elf32.h"

#include <algorithm>
#include <elf.h>
#include <fmt/format.h>
#include <utility>

#include "vmm/boot/byte_reader.h"
#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

constexpr std::uint64_t header_bytes = sizeof(Elf32_Ehdr);
constexpr std::uint64_t program_header_bytes = sizeof(Elf32_Phdr);
constexpr std::uint64_t section_header_bytes = sizeof(Elf32_Shdr);
constexpr std::uint64_t symbol_bytes = sizeof(Elf32_Sym);

} // namespace

bool Elf32::looks_like_elf(std::span<const std::uint8_t> bytes) {
    return bytes.size() >= SELFMAG && bytes[0] == ELFMAG0 && bytes[1] == ELFMAG1 && bytes[2] == ELFMAG2 &&
           bytes[3] == ELFMAG3;
}

void Elf32::fail(std::string_view cause) const { throw Error(fmt::format("{}: {}", name_, cause)); }

Elf32::Elf32(std::string name, std::span<const std::uint8_t> bytes) : name_(std::move(name)), bytes_(bytes) {
    if (!looks_like_elf(bytes)) fail("not an ELF file");
    // The identification comes first, so that a file of another kind is named as what it is even when it is short.
    if (bytes.size() <= EI_VERSION) fail("truncated in the ELF header");
    if (bytes[EI_CLASS] == ELFCLASS64) fail("a 64-bit ELF, where a 440 runs 32-bit code");
    if (bytes[EI_CLASS] != ELFCLASS32) fail(fmt::format("ELF class {} does not exist", bytes[EI_CLASS]));
    if (bytes[EI_DATA] == ELFDATA2LSB) fail("a little-endian ELF, where a 440 kernel is big-endian");
    if (bytes[EI_DATA] != ELFDATA2MSB) fail(fmt::format("ELF data encoding {} does not exist", bytes[EI_DATA]));
    if (bytes[EI_VERSION] != EV_CURRENT) fail(fmt::format("ELF version {} is unknown", bytes[EI_VERSION]));
    const ByteReader reader(bytes);
    if (!reader.contains(0, header_bytes)) fail("truncated in the ELF header");
    const unsigned machine = *reader.be16(offsetof(Elf32_Ehdr, e_machine));
    if (machine != EM_PPC) fail(fmt::format("an ELF for machine {}, not for PowerPC ({})", machine, EM_PPC));
    const unsigned type = *reader.be16(offsetof(Elf32_Ehdr, e_type));
    if (type != ET_EXEC) fail(fmt::format("an ELF of type {}, not an executable ({})", type, ET_EXEC));
    entry_ = *reader.be32(offsetof(Elf32_Ehdr, e_entry));
}

std::vector<ElfSegment> Elf32::segments() const {
    const ByteReader reader(bytes_);
    const std::uint64_t table = *reader.be32(offsetof(Elf32_Ehdr, e_phoff));
    const std::uint64_t entry_bytes = *reader.be16(offsetof(Elf32_Ehdr, e_phentsize));
    const std::uint64_t count = *reader.be16(offsetof(Elf32_Ehdr, e_phnum));
    if (count == 0) fail("no program headers, so nothing to load");
    if (entry_bytes < program_header_bytes) {
        fail(fmt::format("program headers of {} bytes, where {} are needed", entry_bytes, program_header_bytes));
    }
    if (!reader.contains(table, count * entry_bytes)) {
        fail(fmt::format("truncated: program headers at 0x{:x} lie beyond the {} bytes of the file", table,
                         bytes_.size()));
    }
    std::vector<ElfSegment> segments;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t at = table + i * entry_bytes;
        if (*reader.be32(at + offsetof(Elf32_Phdr, p_type)) != PT_LOAD) continue;
        const std::uint32_t offset = *reader.be32(at + offsetof(Elf32_Phdr, p_offset));
        const std::uint32_t file_bytes = *reader.be32(at + offsetof(Elf32_Phdr, p_filesz));
        const std::uint32_t memory_bytes = *reader.be32(at + offsetof(Elf32_Phdr, p_memsz));
        if (memory_bytes == 0) continue;
        if (file_bytes > memory_bytes) {
            fail(fmt::format("segment {} has {} bytes in the file but {} in memory", i, file_bytes, memory_bytes));
        }
        if (!reader.contains(offset, file_bytes)) {
            fail(fmt::format("truncated: segment {} needs {} bytes at 0x{:x}, the file has {}", i, file_bytes, offset,
                             bytes_.size()));
        }
        segments.push_back({.virtual_address = *reader.be32(at + offsetof(Elf32_Phdr, p_vaddr)),
                            .physical_address = *reader.be32(at + offsetof(Elf32_Phdr, p_paddr)),
                            .memory_bytes = memory_bytes,
                            .file_bytes = reader.range(offset, file_bytes)});
    }
    if (segments.empty()) fail("no segment to load");
    return segments;
}

std::vector<Elf32::SectionHeader> Elf32::section_headers() const {
    const ByteReader reader(bytes_);
    const std::uint64_t table = *reader.be32(offsetof(Elf32_Ehdr, e_shoff));
    const std::uint64_t entry_bytes = *reader.be16(offsetof(Elf32_Ehdr, e_shentsize));
    const std::uint16_t count = *reader.be16(offsetof(Elf32_Ehdr, e_shnum));
    if (table == 0 || count == 0) return {};
    if (entry_bytes < section_header_bytes) {
        fail(fmt::format("section headers of {} bytes, where {} are needed", entry_bytes, section_header_bytes));
    }
    if (!reader.contains(table, count * entry_bytes)) {
        fail(fmt::format("truncated: section headers at 0x{:x} lie beyond the {} bytes of the file", table,
                         bytes_.size()));
    }
    std::vector<SectionHeader> headers;
    headers.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t at = table + i * entry_bytes;
        headers.push_back({.name_offset = *reader.be32(at + offsetof(Elf32_Shdr, sh_name)),
                           .type = *reader.be32(at + offsetof(Elf32_Shdr, sh_type)),
                           .flags = *reader.be32(at + offsetof(Elf32_Shdr, sh_flags)),
                           .address = *reader.be32(at + offsetof(Elf32_Shdr, sh_addr)),
                           .offset = *reader.be32(at + offsetof(Elf32_Shdr, sh_offset)),
                           .size = *reader.be32(at + offsetof(Elf32_Shdr, sh_size)),
                           .link = *reader.be32(at + offsetof(Elf32_Shdr, sh_link)),
                           .entry_size = *reader.be32(at + offsetof(Elf32_Shdr, sh_entsize))});
    }
    return headers;
}

std::span<const std::uint8_t> Elf32::section_bytes(const SectionHeader& header) const {
    const ByteReader reader(bytes_);
    if (!reader.contains(header.offset, header.size)) {
        fail(fmt::format("truncated: a section needs {} bytes at 0x{:x}, the file has {}", header.size, header.offset,
                         bytes_.size()));
    }
    return reader.range(header.offset, header.size);
}

std::string Elf32::string_at(std::span<const std::uint8_t> table, std::uint32_t offset) const {
    if (offset >= table.size()) fail(fmt::format("a name at 0x{:x} lies outside its string table", offset));
    const auto begin = table.begin() + offset;
    const auto end = std::find(begin, table.end(), std::uint8_t{0});
    if (end == table.end()) fail("a string table does not end with a zero byte");
    return {begin, end};
}

std::vector<ElfSection> Elf32::sections() const {
    const std::vector<SectionHeader> headers = section_headers();
    if (headers.empty()) return {};
    const std::uint16_t names_index = *ByteReader(bytes_).be16(offsetof(Elf32_Ehdr, e_shstrndx));
    if (names_index >= headers.size()) fail("the section of section names does not exist");
    const std::span<const std::uint8_t> names = section_bytes(headers[names_index]);
    std::vector<ElfSection> sections;
    for (const SectionHeader& header : headers) {
        if (header.type != SHT_PROGBITS || (header.flags & SHF_ALLOC) == 0 || header.size == 0) continue;
        sections.push_back({.name = string_at(names, header.name_offset),
                            .address = header.address,
                            .executable = (header.flags & SHF_EXECINSTR) != 0,
                            .bytes = section_bytes(header)});
    }
    return sections;
}

std::vector<ElfSymbol> Elf32::symbols() const {
    const std::vector<SectionHeader> headers = section_headers();
    std::vector<ElfSymbol> symbols;
    for (const SectionHeader& header : headers) {
        if (header.type != SHT_SYMTAB) continue;
        if (header.entry_size < symbol_bytes) fail("a symbol table has entries too short to be symbols");
        if (header.link >= headers.size()) fail("the strings of a symbol table do not exist");
        const std::span<const std::uint8_t> names = section_bytes(headers[header.link]);
        const ByteReader table(section_bytes(header));
        for (std::uint64_t at = 0; table.contains(at, symbol_bytes); at += header.entry_size) {
            const unsigned type = ELF32_ST_TYPE(table.range(at + offsetof(Elf32_Sym, st_info), 1)[0]);
            const unsigned section = *table.be16(at + offsetof(Elf32_Sym, st_shndx));
            const std::uint32_t name_offset = *table.be32(at + offsetof(Elf32_Sym, st_name));
            if ((type != STT_FUNC && type != STT_NOTYPE) || name_offset == 0) continue;
            if (section == SHN_UNDEF || section >= SHN_LORESERVE) continue;
            symbols.push_back({.name = string_at(names, name_offset),
                               .address = *table.be32(at + offsetof(Elf32_Sym, st_value)),
                               .bytes = *table.be32(at + offsetof(Elf32_Sym, st_size))});
        }
    }
    // Of labels at one address the one with a size comes last, so that it is the one found.
    std::sort(symbols.begin(), symbols.end(), [](const ElfSymbol& a, const ElfSymbol& b) {
        return std::tie(a.address, a.bytes, a.name) < std::tie(b.address, b.bytes, b.name);
    });
    return symbols;
}

const ElfSymbol* find_symbol(std::span<const ElfSymbol> symbols, std::uint32_t address) {
    const auto after =
        std::upper_bound(symbols.begin(), symbols.end(), address,
                         [](std::uint32_t value, const ElfSymbol& symbol) { return value < symbol.address; });
    if (after == symbols.begin()) return nullptr;
    const ElfSymbol& symbol = *(after - 1);
    // Assembly labels have no size: they reach to the next label.
    if (symbol.bytes != 0 && address - symbol.address >= symbol.bytes) return nullptr;
    return &symbol;
}

} // namespace untrap::vmm
