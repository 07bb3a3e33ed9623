// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <fmt/format.h>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/devices/diagnostics.h"
#include "vmm/machine/options.h"

namespace untrap::vmm {

// Values of options, from text. All throw Error naming the option and the text.

// Decimal digits, within [least, most].
std::uint64_t whole_number(std::string_view option, const std::string& text, std::uint64_t least, std::uint64_t most);

// A positive decimal number.
double seconds(std::string_view option, const std::string& text);

// -m: MiB, or with a suffix M or G.
std::uint64_t memory_mib(const std::string& text);

// --levels: numbers 1 to 4 with commas, as a bit mask.
std::uint64_t level_mask(const std::string& text);

// --disable: names of optimisations with commas, as a mask of x64::Optimisations::bit().
std::uint32_t disabled_optimisations(const std::string& text);

// What there is to disable, a line each, for --help.
std::string optimisation_list();

// -d: a path, with ",ro" behind it for read-only; or QEMU's file=PATH,readonly=on|off,format=raw,if=virtio.
DiskOption disk_option(const std::string& text);

// -n: user, tap=INTERFACE or none.
void set_net(MachineOptions& machine, const std::string& text);

// One of a few words; `standard` when the text is empty.
template <typename T>
T choice(std::string_view option, const std::string& text, T standard,
         std::initializer_list<std::pair<std::string_view, T>> words) {
    if (text.empty()) return standard;
    std::string known;
    for (const auto& [word, value] : words) {
        if (word == text) return value;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", word);
    }
    throw Error(fmt::format("{} {}: there are {}", option, text, known));
}

} // namespace untrap::vmm
