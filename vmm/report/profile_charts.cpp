// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/profile_charts.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <functional>
#include <iterator>

#include "vmm/report/comparison_rows.h"
#include "vmm/report/markup.h"

namespace untrap::vmm {
namespace {

constexpr double width = 960;

double share(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string svg_head(double height, std::string_view label) {
    return fmt::format("<svg class=\"chart\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n", width,
                       height, escaped(label));
}

// Exits of one mode by site, most first, as running sums.
std::vector<std::uint64_t> running_sums(const Profile& profile, SiteCost ProfileSite::*mode) {
    std::vector<std::uint64_t> exits;
    for (const ProfileSite& site : profile.sites) {
        if ((site.*mode).exits != 0) exits.push_back((site.*mode).exits);
    }
    std::sort(exits.begin(), exits.end(), std::greater<>());
    for (std::size_t i = 1; i < exits.size(); ++i) exits[i] += exits[i - 1];
    return exits;
}

} // namespace

std::string bar_chart(const std::vector<NamedCost>& costs, std::size_t most) {
    constexpr double name_room = 250, number_room = 230, row = 34;
    const std::size_t shown = std::min(most, costs.size());
    std::uint64_t largest = 1;
    for (std::size_t i = 0; i < shown; ++i) largest = std::max({largest, costs[i].trap.exits, costs[i].patch.exits});
    std::string svg = svg_head(static_cast<double>(shown) * row + 4, "exits in trap mode and in patch mode");
    const auto out = std::back_inserter(svg);
    for (std::size_t i = 0; i < shown; ++i) {
        const NamedCost& cost = costs[i];
        const double y = static_cast<double>(i) * row + 4;
        constexpr double room = width - name_room - number_room;
        fmt::format_to(out, "<g><title>{}: {} exits in trap mode, {} in patch mode</title>", escaped(cost.name),
                       grouped(cost.trap.exits), grouped(cost.patch.exits));
        std::string name = cost.name;
        if (name.size() > 34) name = name.substr(0, 33) + "…";
        fmt::format_to(out, "<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"end\">{}</text>", name_room - 10, y + 17,
                       escaped(name));
        fmt::format_to(out,
                       "<rect class=\"trap\" x=\"{0:.0f}\" y=\"{1:.0f}\" width=\"{2:.1f}\" height=\"11\" rx=\"2\"/>",
                       name_room, y + 2, std::max(1.0, room * share(cost.trap.exits, largest)));
        fmt::format_to(out,
                       "<rect class=\"patch\" x=\"{0:.0f}\" y=\"{1:.0f}\" width=\"{2:.1f}\" height=\"11\" rx=\"2\"/>",
                       name_room, y + 15, std::max(1.0, room * share(cost.patch.exits, largest)));
        fmt::format_to(out,
                       "<text class=\"number\" x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"end\">{} → {} ({})</text></g>\n",
                       width - 2, y + 17, grouped(cost.trap.exits), grouped(cost.patch.exits),
                       ratio_text(static_cast<double>(cost.trap.exits), static_cast<double>(cost.patch.exits)));
    }
    return svg + "</svg>\n";
}

std::string left_chart(const Profile& profile) {
    const std::uint64_t all = profile.comparison.patch.statistics->exits_total;
    std::string svg = svg_head(40, "exits of patch mode by why they are left");
    double x = 0;
    for (std::size_t i = 0; i < left_count; ++i) {
        if (profile.left[i] == 0) continue;
        const double part = width * share(profile.left[i], all);
        fmt::format_to(std::back_inserter(svg),
                       "<g><title>{}: {} exits, {:.1f} %</title><rect class=\"left{}\" x=\"{:.2f}\" y=\"2\" "
                       "width=\"{:.2f}\" height=\"36\"/></g>\n",
                       escaped(left_meaning(static_cast<Left>(i))), grouped(profile.left[i]),
                       100 * share(profile.left[i], all), i, x, std::max(0.5, part - 1));
        x += part;
    }
    return svg + "</svg>\n";
}

std::string concentration_chart(const Profile& profile) {
    constexpr double left = 54, right = 36, top = 10, bottom = 44, height = 300;
    constexpr double plot_width = width - left - right, plot_height = height - top - bottom;
    const std::vector<std::uint64_t> trap = running_sums(profile, &ProfileSite::trap);
    const std::vector<std::uint64_t> patch = running_sums(profile, &ProfileSite::patch);
    const double decades = std::max(
        1.0, std::ceil(std::log10(static_cast<double>(std::max({trap.size(), patch.size(), std::size_t{2}})))));
    const auto x_of = [&](std::size_t sites) {
        return left + plot_width * std::log10(static_cast<double>(sites)) / decades;
    };
    const auto y_of = [&](double part) { return top + plot_height * (1 - part); };
    std::string svg = svg_head(height, "share of all exits at the sites with most of them");
    const auto out = std::back_inserter(svg);
    for (int percent = 0; percent <= 100; percent += 25) {
        const double y = y_of(percent / 100.0);
        fmt::format_to(out,
                       "<line class=\"axis\" x1=\"{0:.0f}\" y1=\"{1:.1f}\" x2=\"{2:.0f}\" y2=\"{1:.1f}\"/>"
                       "<text class=\"number\" x=\"{3:.0f}\" y=\"{4:.1f}\" text-anchor=\"end\">{5} %</text>\n",
                       left, y, width - right, left - 8, y + 4, percent);
    }
    for (int decade = 0; decade <= static_cast<int>(decades); ++decade) {
        const double x = left + plot_width * decade / decades;
        fmt::format_to(out,
                       "<line class=\"axis\" x1=\"{0:.1f}\" y1=\"{1:.0f}\" x2=\"{0:.1f}\" y2=\"{2:.0f}\"/>"
                       "<text class=\"number\" x=\"{0:.1f}\" y=\"{3:.0f}\" text-anchor=\"middle\">{4}</text>\n",
                       x, top, top + plot_height, top + plot_height + 18,
                       grouped(static_cast<std::uint64_t>(std::llround(std::pow(10.0, decade)))));
    }
    fmt::format_to(out,
                   "<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"middle\">sites, those with most exits first</text>\n",
                   left + plot_width / 2, height - 6);
    const auto curve = [&](const std::vector<std::uint64_t>& sums, std::string_view style) {
        if (sums.empty()) return;
        fmt::format_to(out, "<polyline class=\"curve {}\" points=\"", style);
        // Steps of two per cent are as fine as the picture can show.
        for (std::size_t n = 1;; n = std::max(n + 1, n + n / 50)) {
            n = std::min(n, sums.size());
            fmt::format_to(out, "{:.1f},{:.1f} ", x_of(n), y_of(share(sums[n - 1], sums.back())));
            if (n == sums.size()) break;
        }
        svg += "\"/>\n";
    };
    curve(trap, "trap");
    curve(patch, "patch");
    return svg + "</svg>\n";
}

} // namespace untrap::vmm
