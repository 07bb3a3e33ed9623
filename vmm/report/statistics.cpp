// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/statistics.h"

#include <cstddef>

#include "runtime/exit_reason.h"

namespace untrap::vmm {

std::uint64_t emulation_exits(const abi::UntrapStats& statistics) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < runtime::exit_reason_count; ++i) {
        if (runtime::is_emulation(static_cast<runtime::ExitReason>(i))) sum += statistics.exits[i];
    }
    return sum;
}

unsigned highest_level(std::uint64_t levels) {
    unsigned highest = 0;
    for (unsigned level = abi::untrap_lowest_level; level <= abi::untrap_highest_level; ++level) {
        if ((levels >> level & 1) != 0) highest = level;
    }
    return highest;
}

namespace {

void add_exits(nlohmann::ordered_json& json, const abi::UntrapStats& statistics) {
    json["guest_instructions"] = statistics.guest_instructions;
    json["exits_total"] = statistics.exits_total;
    json["emulation_exits"] = emulation_exits(statistics);
    nlohmann::ordered_json& exits = json["exits"];
    for (std::size_t i = 0; i < runtime::exit_reason_count; ++i) {
        exits[runtime::exit_reason_names[i]] = statistics.exits[i];
    }
}

} // namespace

nlohmann::ordered_json statistics_json(const MachineOptions& machine, const RunResult& result) {
    nlohmann::ordered_json json;
    json["version"] = 1;
    json["host"] = result.host;
    json["mode"] = machine.patch ? "patch" : "trap";
    json["level"] = highest_level(result.levels);
    json["levels"] = nlohmann::ordered_json::array();
    for (unsigned level = abi::untrap_lowest_level; level <= abi::untrap_highest_level; ++level) {
        if ((result.levels >> level & 1) != 0) json["levels"].push_back(level);
    }
    json["clock"] = machine.clock == ClockKind::guest ? "guest" : "host";
    json["wall_seconds"] = result.wall_seconds;
    if (result.statistics) {
        const abi::UntrapStats& statistics = *result.statistics;
        add_exits(json, statistics);
        json["patched_sites"] = statistics.patched_sites;
        json["known_sites"] = statistics.known_sites;
        json["left_alone_pages"] = statistics.left_alone_pages;
        json["translated_blocks"] = statistics.translated_blocks;
        json["shadow_refills"] = statistics.shadow_refills;
        if (result.host == "kvm") json["host_instructions"] = statistics.host_instructions;
    }
    json["peak_rss_bytes"] = result.peak_rss_bytes;
    json["guest_resident_bytes"] = result.guest_resident_bytes;
    for (const Mark& mark : result.marks) {
        nlohmann::ordered_json& noted = json["marks"].emplace_back();
        noted["text"] = mark.text;
        noted["seconds"] = mark.seconds;
        noted["cpu_seconds"] = mark.cpu_seconds;
        if (mark.statistics) add_exits(noted, *mark.statistics);
    }
    return json;
}

std::optional<double> ratio(double trap, double patch) {
    if (patch <= 0) return std::nullopt;
    return trap / patch;
}

nlohmann::ordered_json comparison_json(const Comparison& comparison) {
    const auto number = [](std::optional<double> value) -> nlohmann::ordered_json {
        if (!value) return nullptr;
        return *value;
    };
    nlohmann::ordered_json json;
    json["version"] = 1;
    json["trap"] = statistics_json(comparison.trap_machine, comparison.trap);
    json["patch"] = statistics_json(comparison.patch_machine, comparison.patch);
    nlohmann::ordered_json& ratios = json["ratio"];
    ratios = nlohmann::ordered_json::object();
    if (comparison.trap.statistics && comparison.patch.statistics) {
        const abi::UntrapStats& trap = *comparison.trap.statistics;
        const abi::UntrapStats& patch = *comparison.patch.statistics;
        ratios["exits"] = number(ratio(static_cast<double>(trap.exits_total), static_cast<double>(patch.exits_total)));
        ratios["emulation_exits"] =
            number(ratio(static_cast<double>(emulation_exits(trap)), static_cast<double>(emulation_exits(patch))));
    }
    ratios["wall"] = number(ratio(comparison.trap.wall_seconds, comparison.patch.wall_seconds));
    return json;
}

} // namespace untrap::vmm
