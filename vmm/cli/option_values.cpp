// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/cli/option_values.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <net/if.h>
#include <system_error>
#include <vector>

#include "runtime/kvm/untrap_abi.h"
#include "translator/x64/optimisations.h"

namespace untrap::vmm {
namespace {

// A century; more is a mistake and would overflow a timer.
constexpr double most_seconds = 100.0 * 365 * 86400;

template <typename T>
bool parse_all(std::string_view text, T& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
}

std::vector<std::string> split_at_commas(const std::string& text) {
    std::vector<std::string> parts(1);
    for (const char c : text) {
        if (c == ',') {
            parts.emplace_back();
        } else {
            parts.back().push_back(c);
        }
    }
    return parts;
}

} // namespace

std::uint64_t whole_number(std::string_view option, const std::string& text, std::uint64_t least, std::uint64_t most) {
    std::uint64_t value = 0;
    if (!parse_all(text, value)) throw Error(fmt::format("{} {}: not a number", option, text));
    if (value < least || value > most) {
        throw Error(fmt::format("{} {}: must be from {} to {}", option, text, least, most));
    }
    return value;
}

double seconds(std::string_view option, const std::string& text) {
    double value = 0;
    if (!parse_all(text, value) || !std::isfinite(value)) {
        throw Error(fmt::format("{} {}: not a number of seconds", option, text));
    }
    // Below a nanosecond a timer would read as "never".
    if (value < 1e-9 || value > most_seconds) {
        throw Error(fmt::format("{} {}: must be more than 0 and at most {:.0f} seconds", option, text, most_seconds));
    }
    return value;
}

std::uint64_t memory_mib(const std::string& text) {
    std::string digits = text;
    std::uint64_t unit = 1;
    if (!digits.empty() && (digits.back() == 'G' || digits.back() == 'M')) {
        unit = digits.back() == 'G' ? 1024 : 1;
        digits.pop_back();
    }
    std::uint64_t value = 0;
    if (!parse_all(std::string_view(digits), value) || value > UINT32_MAX) {
        throw Error(fmt::format("-m {}: not a number of MiB", text));
    }
    value *= unit;
    if (value < smallest_memory_mib || value > largest_memory_mib) {
        throw Error(
            fmt::format("-m {}: memory must be from {} to {} MiB", text, smallest_memory_mib, largest_memory_mib));
    }
    return value;
}

std::uint64_t level_mask(const std::string& text) {
    std::uint64_t mask = 0;
    for (const std::string& part : split_at_commas(text)) {
        mask |= std::uint64_t{1} << whole_number("--levels", part, abi::untrap_lowest_level, abi::untrap_highest_level);
    }
    return mask;
}

std::uint32_t disabled_optimisations(const std::string& text) {
    std::uint32_t disabled = 0;
    for (const std::string& part : split_at_commas(text)) {
        const auto row = std::ranges::find(x64::optimisation_table, part, &x64::OptimisationRow::name);
        if (row != x64::optimisation_table.end()) {
            disabled |= x64::Optimisations::bit(row->which);
        } else if (part == "all") {
            disabled = x64::Optimisations::known;
        } else {
            throw Error(fmt::format("--disable {}: \"{}\" is no optimisation; --help lists them", text, part));
        }
    }
    return disabled;
}

std::string optimisation_list() {
    std::string list = "all";
    for (const x64::OptimisationRow& row : x64::optimisation_table) list += fmt::format("\n{}: {}", row.name, row.what);
    return list;
}

DiskOption disk_option(const std::string& text) {
    DiskOption disk;
    bool first = true;
    for (const std::string& part : split_at_commas(text)) {
        if (part.starts_with("file=")) {
            disk.path = part.substr(5);
        } else if (part == "ro" || part == "readonly" || part == "readonly=on") {
            disk.read_only = true;
        } else if (first) {
            disk.path = part;
        } else if (part != "format=raw" && part != "if=virtio" && part != "readonly=off") {
            throw Error(fmt::format("-d {}: \"{}\" is not known", text, part));
        }
        first = false;
    }
    if (disk.path.empty()) throw Error(fmt::format("-d {}: no file is named", text));
    return disk;
}

void set_net(MachineOptions& machine, const std::string& text) {
    constexpr std::string_view tap = "tap=";
    if (text == "none") {
        machine.net = NetKind::none;
    } else if (text == "user") {
        machine.net = NetKind::user;
    } else if (text.starts_with(tap)) {
        machine.net = NetKind::tap;
        machine.tap_interface = text.substr(tap.size());
        if (machine.tap_interface.empty() || machine.tap_interface.size() >= IFNAMSIZ) {
            throw Error(fmt::format("-n {}: an interface name has 1 to {} characters", text, IFNAMSIZ - 1));
        }
    } else {
        throw Error(fmt::format("-n {}: there are user, tap=INTERFACE, none", text));
    }
}

} // namespace untrap::vmm
