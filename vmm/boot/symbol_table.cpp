// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/symbol_table.h"

#include "vmm/boot/input_file.h"

namespace untrap::vmm {
namespace {

// As for booting: debug information makes a vmlinux large.
constexpr std::uint64_t largest_kernel_file = std::uint64_t{1} << 30;

// A file may call its symbols anything; they go to terminals and into pages.
std::string printable(std::string name) {
    for (char& c : name) {
        if (c < ' ' || c > '~') c = '?';
    }
    return name;
}

} // namespace

SymbolTable SymbolTable::of_kernel(const std::string& path) {
    const FileBuffer file = read_input_file("kernel", path, largest_kernel_file);
    const std::span<const std::uint8_t> bytes = file.bytes();
    return Elf32::looks_like_elf(bytes) ? of_elf(Elf32("kernel " + path, bytes)) : SymbolTable();
}

SymbolTable SymbolTable::of_elf(const Elf32& elf) {
    SymbolTable table;
    table.symbols_ = elf.symbols();
    for (const ElfSegment& segment : elf.segments()) {
        table.ranges_.push_back({segment.virtual_address, segment.physical_address, segment.memory_bytes});
    }
    return table;
}

std::optional<SymbolTable::Place> SymbolTable::find(std::uint32_t address) const {
    // A label without a size would reach to the end of the address space.
    for (const Range& range : ranges_) {
        if (address < range.virtual_address || address - range.virtual_address >= range.bytes) continue;
        const ElfSymbol* const symbol = find_symbol(symbols_, address);
        if (symbol == nullptr) return std::nullopt;
        return Place{printable(symbol->name), address - symbol->address};
    }
    return std::nullopt;
}

std::optional<SymbolTable::Place> SymbolTable::find_real(std::uint64_t real) const {
    for (const Range& range : ranges_) {
        if (real < range.physical_address || real - range.physical_address >= range.bytes) continue;
        return find(range.virtual_address + static_cast<std::uint32_t>(real - range.physical_address));
    }
    return std::nullopt;
}

} // namespace untrap::vmm
