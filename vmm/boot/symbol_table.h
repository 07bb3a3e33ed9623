// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/boot/elf32.h"

namespace untrap::vmm {

// The symbols of a kernel, by effective address and by where it lies in memory.
class SymbolTable {
  public:
    struct Place {
        std::string symbol;
        std::uint32_t offset = 0;
    };

    // Of a vmlinux; empty for an image without symbols (a uImage). Throws Error for a damaged ELF.
    static SymbolTable of_kernel(const std::string& path);
    static SymbolTable of_elf(const Elf32& elf);

    // The function or label that covers an effective address of the kernel.
    std::optional<Place> find(std::uint32_t address) const;
    // Likewise for a guest real address inside the kernel's image: early code runs where it was loaded.
    std::optional<Place> find_real(std::uint64_t real) const;

    bool empty() const { return symbols_.empty(); }

  private:
    struct Range {
        std::uint32_t virtual_address, physical_address, bytes;
    };
    std::vector<ElfSymbol> symbols_;
    std::vector<Range> ranges_;
};

} // namespace untrap::vmm
