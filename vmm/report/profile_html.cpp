// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/profile_html.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

#include "vmm/report/comparison_rows.h"
#include "vmm/report/flame_graph.h"
#include "vmm/report/markup.h"
#include "vmm/report/profile_charts.h"

namespace untrap::vmm {
namespace {

constexpr std::size_t functions_shown = 20;

constexpr std::string_view page_head = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>untrap: profile of exits</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --page: #fbfbfa; --ink: #1d1f23; --soft: #5d6470; --line: #d9dce1; --card: #fff;
  --trap: #c4553b; --patch: #2f7d6b; --l0: #e0a83c; --l1: #d97b3f; --l2: #5b8fd6; --l3: #c4553b; --l4: #a06ab4;
  --l5: #7a70c9; --l6: #2f9a76; --l7: #3a7fb0; --l8: #9aa1ab; --l9: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --page: #17181c; --ink: #e6e6ea; --soft: #9aa1ad; --line: #34373f;
  --card: #1f2126; --trap: #e27f66; --patch: #54b39c; --l3: #e27f66; } }
body { font: 15px/1.5 system-ui, sans-serif; background: var(--page); color: var(--ink); max-width: 76rem;
  margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.6rem 0 .4rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.4rem 0; }
.figure { flex: 1 1 13rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .8rem 1rem; }
.figure b { display: block; font-size: 1.7rem; line-height: 1.25; }
.chart { width: 100%; height: auto; display: block; margin: .6rem 0; }
.chart text { font: 12.5px system-ui, sans-serif; fill: var(--ink); }
.chart .number { fill: var(--soft); font-variant-numeric: tabular-nums; }
.chart .axis { stroke: var(--line); } .chart .curve { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
rect.trap, .key .trap { fill: var(--trap); background: var(--trap); } .curve.trap { stroke: var(--trap); }
rect.patch, .key .patch { fill: var(--patch); background: var(--patch); } .curve.patch { stroke: var(--patch); }
.left0 { fill: var(--l0); background: var(--l0); } .left1 { fill: var(--l1); background: var(--l1); }
.left2 { fill: var(--l2); background: var(--l2); } .left3 { fill: var(--l3); background: var(--l3); }
.left4 { fill: var(--l4); background: var(--l4); } .left5 { fill: var(--l5); background: var(--l5); }
.left6 { fill: var(--l6); background: var(--l6); } .left7 { fill: var(--l7); background: var(--l7); }
.left8 { fill: var(--l8); background: var(--l8); } .left9 { fill: var(--l9); background: var(--l9); }
.key { display: inline-block; margin-right: 1.2rem; }
i.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; margin-right: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; }
th, td { text-align: right; padding: .22rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; } th.text, td.text { text-align: left; }
td.code { text-align: left; font-family: ui-monospace, monospace; font-size: .82rem; }
td.why { text-align: left; white-space: normal; min-width: 15rem; }
</style></head><body>
)";

std::string figure(std::string_view value, std::string_view meaning) {
    return fmt::format("<div class=\"figure\"><b>{}</b>{}</div>\n", escaped(value), escaped(meaning));
}

std::string times(std::uint64_t trap, std::uint64_t patch) {
    return ratio_text(static_cast<double>(trap), static_cast<double>(patch));
}

std::string figures(const Profile& profile) {
    const auto& trap = *profile.comparison.trap.statistics;
    const auto& patch = *profile.comparison.patch.statistics;
    std::uint64_t executed = 0;
    for (const NamedCost& cost : profile.reasons) executed += cost.patch.instructions;
    std::string html = "<div class=\"figures\">\n";
    html += figure(
        times(trap.exits_total, patch.exits_total),
        fmt::format("exits: {} in trap mode, {} in patch mode", grouped(trap.exits_total), grouped(patch.exits_total)));
    html += figure(
        times(emulation_exits(trap), emulation_exits(patch)),
        fmt::format("emulation exits: {} and {}", grouped(emulation_exits(trap)), grouped(emulation_exits(patch))));
    html += figure(grouped(patch.patched_sites),
                   fmt::format("sites patched, of {} with exits of some reason", grouped(profile.sites.size())));
    html += figure(grouped(executed), "guest instructions executed by the hypervisor in exits of patch mode");
    return html + "</div>\n";
}

std::string left_table(const Profile& profile) {
    const std::uint64_t all = std::max<std::uint64_t>(profile.comparison.patch.statistics->exits_total, 1);
    std::string html = "<table><tbody>\n";
    for (std::size_t i = 0; i < left_count; ++i) {
        if (profile.left[i] == 0) continue;
        fmt::format_to(
            std::back_inserter(html),
            "<tr><td class=\"text\"><i class=\"swatch left{}\"></i>{}</td><td>{}</td><td>{:.1f} %</td></tr>\n", i,
            escaped(left_meaning(static_cast<Left>(i))), grouped(profile.left[i]),
            100.0 * static_cast<double>(profile.left[i]) / static_cast<double>(all));
    }
    return html + "</tbody></table>\n";
}

std::string per_exit(const SiteCost& cost) {
    if (cost.exits == 0) return "-";
    return fmt::format("{:.1f}", static_cast<double>(cost.instructions) / static_cast<double>(cost.exits));
}

std::string site_table(const std::vector<const ProfileSite*>& sites, std::size_t top) {
    const std::size_t shown = std::min(top, sites.size());
    std::string html =
        fmt::format("<p class=\"soft\">{} of {} sites</p><div class=\"wide\"><table><thead><tr>"
                    "<th>trap</th><th>patch</th><th class=\"text\">reason</th><th class=\"text\">site</th>"
                    "<th class=\"text\">address</th><th class=\"text\">instruction</th>"
                    "<th title=\"guest instructions executed by the hypervisor per exit of patch mode\">"
                    "instr</th><th class=\"text\">in patch mode</th></tr></thead><tbody>\n",
                    grouped(shown), grouped(sites.size()));
    for (std::size_t i = 0; i < shown; ++i) {
        const ProfileSite& site = *sites[i];
        fmt::format_to(std::back_inserter(html),
                       "<tr><td>{}</td><td>{}</td><td class=\"text\">{}</td><td class=\"code\">{}</td>"
                       "<td class=\"code\">{:08x}</td><td class=\"code\">{}</td><td>{}</td>"
                       "<td class=\"why\"><i class=\"swatch left{}\"></i>{}</td></tr>\n",
                       grouped(site.trap.exits), grouped(site.patch.exits),
                       runtime::exit_reason_names[static_cast<std::size_t>(site.reason)], escaped(site.place()),
                       site.ea, escaped(site.instruction), per_exit(site.patch), static_cast<std::size_t>(site.left),
                       escaped(site.why));
    }
    return html + "</tbody></table></div>\n";
}

} // namespace

std::string profile_html(const Profile& profile, std::size_t top) {
    constexpr std::string_view both = "<p><span class=\"key\"><i class=\"swatch trap\"></i>trap mode</span>"
                                      "<span class=\"key\"><i class=\"swatch patch\"></i>patch mode</span></p>\n";
    std::string page(page_head);
    page += "<h1>untrap: where the exits come from</h1>\n";
    for (const std::string& fact : comparison_facts(profile.comparison)) {
        page += fmt::format("<p class=\"soft\">{}</p>\n", escaped(fact));
    }
    page += figures(profile);
    page += "<h2>Exits by reason</h2>\n";
    page += both;
    page += bar_chart(profile.reasons, profile.reasons.size());
    page += "<h2>What is left in patch mode, and why</h2>\n";
    page += left_chart(profile);
    page += left_table(profile);
    page += "<h2>Functions with most exits</h2>\n";
    page += both;
    page += bar_chart(profile.functions, functions_shown);
    page += "<h2>How few sites make most exits</h2>\n";
    page += both;
    page += concentration_chart(profile);
    page +=
        "<h2>Flame graphs</h2>\n<p class=\"soft\">exits by reason, function and site; a box under the pointer tells "
        "more</p>\n<div class=\"wide\">";
    page += flame_graph(profile);
    page += "</div>\n<h2>Sites with most exits in trap mode</h2>\n";
    std::vector<const ProfileSite*> hot;
    for (const ProfileSite& site : profile.sites) hot.push_back(&site);
    page += site_table(hot, top);
    page += "<h2>Sites with most exits in patch mode</h2>\n";
    page += site_table(profile.sites_left(), top);
    page += "</body></html>\n";
    return page;
}

} // namespace untrap::vmm
