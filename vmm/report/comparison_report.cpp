// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/comparison_report.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

#include "vmm/report/comparison_rows.h"
#include "vmm/report/markup.h"

namespace untrap::vmm {
namespace {

constexpr int name_width = 20;
constexpr int number_width = 16;
constexpr int ratio_width = 12;

std::string line(std::string_view name, std::string_view trap, std::string_view patch, std::string_view times) {
    std::string text = fmt::format("{:<{}}{:>{}}{:>{}}", name, name_width, trap, number_width, patch, number_width);
    if (!times.empty()) text += fmt::format("{:>{}}", times, ratio_width);
    return text + "\n";
}

std::string row_line(const ComparisonRow& row, bool with_ratio) {
    return line(row.name, grouped(row.trap), grouped(row.patch),
                with_ratio ? ratio_text(static_cast<double>(row.trap), static_cast<double>(row.patch)) : "");
}

constexpr std::string_view page_head = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>untrap: trap against patch</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --trap: #c4553b; --patch: #2f7d6b; --track: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.facts { opacity: .75; margin: 0; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
.figure { flex: 1 1 12rem; border: 1px solid #8884; border-radius: .5rem; padding: .8rem 1rem; }
.figure b { display: block; font-size: 1.7rem; line-height: 1.2; color: var(--patch); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #8883; white-space: nowrap;
         font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
td.bars { width: 45%; min-width: 9rem; }
.bar { height: .55rem; margin: .12rem 0; border-radius: .15rem; min-width: 1px; }
.trap { background: var(--trap); } .patch { background: var(--patch); }
.key span { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; margin: 0 .3rem 0 1rem; }
</style></head><body>
)";

std::string figure(std::string_view value, std::string_view meaning) {
    return fmt::format("<div class=\"figure\"><b>{}</b>{}</div>\n", escaped(value), escaped(meaning));
}

double percent(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::string html_row(const ComparisonRow& row, std::uint64_t largest) {
    return fmt::format(
        "<tr><td>{}</td><td class=\"bars\"><div class=\"bar trap\" style=\"width:{:.2f}%\"></div>"
        "<div class=\"bar patch\" style=\"width:{:.2f}%\"></div></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        escaped(row.name), percent(row.trap, largest), percent(row.patch, largest), grouped(row.trap),
        grouped(row.patch), ratio_text(static_cast<double>(row.trap), static_cast<double>(row.patch)));
}

} // namespace

std::string comparison_table(const Comparison& comparison) {
    std::string text;
    for (const std::string& fact : comparison_facts(comparison)) text += fact + "\n";
    text += fmt::format("\n{}", line("exits by reason", "trap", "patch", "trap/patch"));
    const std::string rule(name_width + 2 * number_width + ratio_width, '-');
    text += rule + "\n";
    for (const ComparisonRow& row : exit_rows(comparison)) text += row_line(row, true);
    text += rule + "\n";
    for (const ComparisonRow& row : total_rows(comparison)) text += row_line(row, row.name != "patched sites");
    text += line("wall seconds", fmt::format("{:.3f}", comparison.trap.wall_seconds),
                 fmt::format("{:.3f}", comparison.patch.wall_seconds),
                 ratio_text(comparison.trap.wall_seconds, comparison.patch.wall_seconds));
    text += fmt::format("\nspeed-up of patch over trap: {}\n",
                        ratio_text(comparison.trap.wall_seconds, comparison.patch.wall_seconds));
    return text;
}

std::string comparison_html(const Comparison& comparison) {
    std::string page(page_head);
    const auto out = std::back_inserter(page);
    page += "<h1>untrap: trap against patch</h1>\n";
    for (const std::string& fact : comparison_facts(comparison)) {
        fmt::format_to(out, "<p class=\"facts\">{}</p>\n", escaped(fact));
    }
    const std::vector<ComparisonRow> totals = total_rows(comparison);
    const auto times = [](const ComparisonRow& row) {
        return ratio_text(static_cast<double>(row.trap), static_cast<double>(row.patch));
    };
    page += "<div class=\"figures\">\n";
    page += figure(ratio_text(comparison.trap.wall_seconds, comparison.patch.wall_seconds),
                   fmt::format("wall time: {:.3f} s against {:.3f} s", comparison.trap.wall_seconds,
                               comparison.patch.wall_seconds));
    page += figure(times(totals[0]),
                   fmt::format("exits: {} against {}", grouped(totals[0].trap), grouped(totals[0].patch)));
    page += figure(times(totals[1]),
                   fmt::format("emulation exits: {} against {}", grouped(totals[1].trap), grouped(totals[1].patch)));
    page += figure(grouped(totals[2].patch),
                   fmt::format("guest instructions with patching, {} without", grouped(totals[2].trap)));
    page += "</div>\n<h2>Exits by reason</h2>\n<p class=\"key\"><span class=\"trap\"></span>trap mode"
            "<span class=\"patch\"></span>patch mode</p>\n"
            "<table><thead><tr><th>reason</th><th></th><th>trap</th><th>patch</th><th>trap/patch</th></tr></thead>"
            "<tbody>\n";
    const std::vector<ComparisonRow> rows = exit_rows(comparison);
    std::uint64_t largest = 0;
    for (const ComparisonRow& row : rows) largest = std::max({largest, row.trap, row.patch});
    for (const ComparisonRow& row : rows) page += html_row(row, largest);
    page += "</tbody></table>\n</body></html>\n";
    return page;
}

} // namespace untrap::vmm
