// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/profile_text.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

#include "vmm/report/comparison_rows.h"

namespace untrap::vmm {
namespace {

constexpr int name_width = 38;

std::string per_exit(const SiteCost& cost, std::uint64_t what) {
    if (cost.exits == 0) return "-";
    return fmt::format("{:.1f}", static_cast<double>(what) / static_cast<double>(cost.exits));
}

bool ticks_known(const Profile& profile) {
    return std::ranges::any_of(
        profile.reasons, [](const NamedCost& cost) { return cost.trap.host_ticks != 0 || cost.patch.host_ticks != 0; });
}

void add_costs(std::string& text, std::string_view what, const std::vector<NamedCost>& costs, std::size_t top,
               bool ticks) {
    const std::size_t shown = std::min(top, costs.size());
    const std::string some = shown < costs.size() ? fmt::format(" (first {} of {})", shown, costs.size()) : "";
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "\n{:<{}}{:>13}{:>13}{:>12}{:>14}{:>14}", fmt::format("{}{}", what, some), name_width, "trap",
                   "patch", "trap/patch", "instr trap", "instr patch");
    if (ticks) fmt::format_to(out, "{:>14}{:>14}", "ticks trap", "ticks patch");
    text += "\n";
    for (std::size_t i = 0; i < shown; ++i) {
        const NamedCost& cost = costs[i];
        fmt::format_to(out, "{:<{}}{:>13}{:>13}{:>12}{:>14}{:>14}", cost.name, name_width, grouped(cost.trap.exits),
                       grouped(cost.patch.exits),
                       ratio_text(static_cast<double>(cost.trap.exits), static_cast<double>(cost.patch.exits)),
                       per_exit(cost.trap, cost.trap.instructions), per_exit(cost.patch, cost.patch.instructions));
        if (ticks) {
            fmt::format_to(out, "{:>14}{:>14}", per_exit(cost.trap, cost.trap.host_ticks),
                           per_exit(cost.patch, cost.patch.host_ticks));
        }
        text += "\n";
    }
}

void add_sites(std::string& text, std::string_view what, const std::vector<const ProfileSite*>& sites,
               std::size_t top) {
    const std::size_t shown = std::min(top, sites.size());
    const std::string some = shown < sites.size() ? fmt::format(" (first {} of {})", shown, sites.size()) : "";
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "\n{}{}\n{:>11}{:>11}  {:<12}{:<{}}  {:<26}{}\n", what, some, "trap", "patch", "reason", "site",
                   name_width, "instruction", "in patch mode");
    for (std::size_t i = 0; i < shown; ++i) {
        const ProfileSite& site = *sites[i];
        fmt::format_to(out, "{:>11}{:>11}  {:<12}{:<{}}  {:<26}{}\n", grouped(site.trap.exits),
                       grouped(site.patch.exits), runtime::exit_reason_names[static_cast<std::size_t>(site.reason)],
                       site.place(), name_width, site.instruction, site.why);
    }
}

} // namespace

std::string profile_text(const Profile& profile, std::size_t top) {
    const auto& trap = *profile.comparison.trap.statistics;
    const auto& patch = *profile.comparison.patch.statistics;
    const bool ticks = ticks_known(profile);
    std::string text;
    for (const std::string& fact : comparison_facts(profile.comparison)) text += fact + "\n";
    fmt::format_to(std::back_inserter(text), "{} exits in trap mode, {} in patch mode ({}), at {} sites\n",
                   grouped(trap.exits_total), grouped(patch.exits_total),
                   ratio_text(static_cast<double>(trap.exits_total), static_cast<double>(patch.exits_total)),
                   grouped(profile.sites.size()));
    text += "instr: guest instructions that the hypervisor executes in an exit, on average\n";
    if (ticks) text += "ticks: of the host's timebase from leaving the guest to entering it again, on average\n";
    add_costs(text, "exits by reason", profile.reasons, profile.reasons.size(), ticks);
    add_costs(text, "exits by function", profile.functions, top, ticks);

    std::vector<const ProfileSite*> hot;
    for (const ProfileSite& site : profile.sites) hot.push_back(&site);
    add_sites(text, "sites with most exits in trap mode", hot, top);

    text += "\nwhat is left in patch mode, and why\n";
    for (std::size_t i = 0; i < left_count; ++i) {
        if (profile.left[i] == 0) continue;
        fmt::format_to(std::back_inserter(text), "{:>11}  {:5.1f} %  {}\n", grouped(profile.left[i]),
                       100.0 * static_cast<double>(profile.left[i]) /
                           static_cast<double>(std::max<std::uint64_t>(patch.exits_total, 1)),
                       left_meaning(static_cast<Left>(i)));
    }
    add_sites(text, "sites with most exits in patch mode", profile.sites_left(), top);
    return text;
}

} // namespace untrap::vmm
