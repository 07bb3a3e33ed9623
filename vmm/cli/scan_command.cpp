// SPDX-License-Identifier: GPL-2.0-only

// `untrap scan`: what is privileged in a vmlinux, and what each patch level would make of it. Nothing is run.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <fmt/format.h>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/kvm/untrap_abi.h"
#include "translator/scan/scan.h"
#include "vmm/boot/elf32.h"
#include "vmm/boot/input_file.h"
#include "vmm/cli/commands.h"
#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

constexpr std::uint64_t largest_elf_file = std::uint64_t{1} << 30;
constexpr std::size_t functions_shown = 20;
constexpr unsigned all_levels = static_cast<unsigned>(abi::untrap_levels_up_to(abi::untrap_highest_level));

// Sites by the level that takes them; 0: no level does.
struct Counts {
    std::array<std::uint64_t, abi::untrap_highest_level + 1> by_level{};
    std::uint64_t total = 0;

    void add(unsigned level) {
        ++by_level[std::min<unsigned>(level, abi::untrap_highest_level)];
        ++total;
    }
};

using NamedCounts = std::pair<std::string, Counts>;

std::vector<NamedCounts> most_first(const std::map<std::string, Counts>& counts) {
    std::vector<NamedCounts> sorted(counts.begin(), counts.end());
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const NamedCounts& a, const NamedCounts& b) { return a.second.total > b.second.total; });
    return sorted;
}

// The highest level that has a plan of its own; level 4 works on whole handlers, not on sites.
constexpr unsigned highest_site_level = 3;

void print_line(std::string_view name, const Counts& counts) {
    fmt::print("{:<32}{:>9}", name, counts.total);
    for (unsigned level = abi::untrap_lowest_level; level <= highest_site_level; ++level) {
        fmt::print("{:>9}", counts.by_level[level]);
    }
    fmt::print("{:>9}\n", counts.by_level[0]);
}

void print_heading(std::string_view first_column) {
    fmt::print("{:<32}{:>9}{:>9}{:>9}{:>9}{:>9}\n", first_column, "sites", "word", "stub", "sequence", "traps on");
}

std::string place(const std::vector<ElfSymbol>& symbols, std::uint32_t address, bool with_offset) {
    const ElfSymbol* const symbol = find_symbol(symbols, address);
    if (symbol == nullptr) return "?";
    return with_offset ? fmt::format("{}+0x{:x}", symbol->name, address - symbol->address) : symbol->name;
}

void print_site(const scan::Site& site, const std::vector<ElfSymbol>& symbols) {
    const plan::Patch& patch = site.patch;
    const std::string span = patch.span > 1 ? fmt::format(" over {} instructions", patch.span) : "";
    fmt::print("{:08x}  {:08x}  {:<8}  level {}{}  {}\n", site.address, site.instruction.word,
               site.instruction.info().mnemonic, patch.level, span, place(symbols, site.address, true));
}

} // namespace

int do_scan(const ScanCommand& command) {
    const FileBuffer file = read_input_file("vmlinux", command.kernel, largest_elf_file);
    const Elf32 elf("vmlinux " + command.kernel, file.bytes());
    const std::vector<ElfSymbol> symbols = elf.symbols();
    const std::vector<ElfSection> sections = elf.sections();

    Counts all;
    std::map<std::string, Counts> by_mnemonic;
    std::map<std::string, Counts> by_function;
    std::uint64_t words = 0;
    for (const ElfSection& section : sections) {
        if (!section.executable) continue;
        words += section.bytes.size() / 4;
        scan::scan(section.bytes.data(), section.bytes.size(), section.address, all_levels,
                   [&](const scan::Site& site) {
                       all.add(site.patch.level);
                       by_mnemonic[site.instruction.info().mnemonic].add(site.patch.level);
                       by_function[place(symbols, site.address, false)].add(site.patch.level);
                       if (command.list_sites) print_site(site, symbols);
                   });
    }
    if (words == 0) throw Error(fmt::format("vmlinux {}: has no executable section", command.kernel));

    if (command.list_sites) fmt::print("\n");
    fmt::print("{} privileged sites in {} instructions of {}\n\n", all.total, words, command.kernel);
    print_heading("instruction");
    for (const NamedCounts& row : most_first(by_mnemonic)) print_line(row.first, row.second);
    print_line("all", all);

    std::vector<NamedCounts> functions = most_first(by_function);
    const std::size_t count = functions.size();
    functions.resize(std::min(count, functions_shown));
    fmt::print("\n");
    print_heading(fmt::format("function (first {} of {})", functions.size(), count));
    for (const NamedCounts& row : functions) print_line(row.first, row.second);
    return std::fflush(stdout) == 0 ? 0 : status_failed;
}

} // namespace untrap::vmm
