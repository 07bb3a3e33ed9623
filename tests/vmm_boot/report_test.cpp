// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "runtime/exit_reason.h"
#include "vmm/report/comparison_report.h"
#include "vmm/report/comparison_rows.h"
#include "vmm/report/statistics.h"

using namespace untrap::vmm;
using Catch::Matchers::ContainsSubstring;
using untrap::runtime::ExitReason;
namespace abi = untrap::abi;

namespace {

void set(abi::UntrapStats& statistics, ExitReason reason, std::uint64_t count) {
    statistics.exits[static_cast<std::size_t>(reason)] = count;
    statistics.exits_total += count;
}

Comparison example() {
    Comparison comparison;
    comparison.trap_machine.patch = false;
    comparison.trap_machine.clock = ClockKind::guest;
    comparison.patch_machine.clock = ClockKind::guest;
    comparison.patch_machine.boot.kernel = "<kernel & co>";
    abi::UntrapStats trap{}, patch{};
    trap.guest_instructions = 1'000'000;
    patch.guest_instructions = 1'000'001;
    set(trap, ExitReason::emul_mtspr, 1000);
    set(patch, ExitReason::emul_mtspr, 10);
    set(trap, ExitReason::emul_wait, 5);
    set(patch, ExitReason::emul_wait, 5);
    set(trap, ExitReason::mmio, 95);
    set(patch, ExitReason::mmio, 95);
    set(trap, ExitReason::emul_rfi, 7);
    comparison.trap = {.host = "soft", .wall_seconds = 2, .peak_rss_bytes = 1, .statistics = trap};
    comparison.patch = {
        .host = "soft", .levels = 0b1010, .wall_seconds = 0.5, .peak_rss_bytes = 1, .statistics = patch};
    return comparison;
}

} // namespace

TEST_CASE("statistics JSON: the fixed keys") {
    const Comparison comparison = example();
    const auto json = statistics_json(comparison.patch_machine, comparison.patch);
    for (const char* key : {"version", "host", "mode", "level", "clock", "wall_seconds", "guest_instructions",
                            "exits_total", "exits", "patched_sites", "translated_blocks", "peak_rss_bytes"}) {
        CAPTURE(key);
        CHECK(json.contains(key));
    }
    CHECK(json["version"] == 1);
    CHECK(json["host"] == "soft");
    CHECK(json["mode"] == "patch");
    CHECK(json["level"] == 3);
    CHECK(json["levels"] == nlohmann::ordered_json::array({1, 3}));
    CHECK(json["clock"] == "guest");
    CHECK(json["exits"].size() == untrap::runtime::exit_reason_count);
    CHECK(json["exits"]["EMUL_MTSPR"] == 10);
    CHECK(json["exits"]["EMUL_RFI"] == 0);
    CHECK(json["emulation_exits"] == 15);
    CHECK_FALSE(json.contains("host_instructions"));
    CHECK_FALSE(json.contains("marks"));

    RunResult marked = comparison.patch;
    marked.marks = {{.text = "one", .seconds = 0.5, .cpu_seconds = 0.25, .statistics = comparison.trap.statistics},
                    {.text = "two", .seconds = 1}};
    const auto marks = statistics_json(comparison.patch_machine, marked)["marks"];
    REQUIRE(marks.size() == 2);
    CHECK(marks[0]["text"] == "one");
    CHECK(marks[0]["seconds"] == 0.5);
    CHECK(marks[0]["cpu_seconds"] == 0.25);
    CHECK(marks[0]["exits"]["EMUL_MTSPR"] == 1000);
    CHECK(marks[0]["emulation_exits"] == 1012);
    CHECK(marks[1]["text"] == "two");
    CHECK_FALSE(marks[1].contains("exits"));

    RunResult on_440 = comparison.patch;
    on_440.host = "kvm";
    CHECK(statistics_json(comparison.patch_machine, on_440).contains("host_instructions"));
    CHECK(statistics_json(comparison.trap_machine, comparison.trap)["level"] == 0);
    CHECK(statistics_json(comparison.trap_machine, comparison.trap)["mode"] == "trap");
}

TEST_CASE("comparison JSON") {
    const auto json = comparison_json(example());
    CHECK(json["version"] == 1);
    CHECK(json["trap"]["exits_total"] == 1107);
    CHECK(json["patch"]["exits_total"] == 110);
    CHECK(json["ratio"]["exits"].get<double>() == 1107.0 / 110.0);
    CHECK(json["ratio"]["emulation_exits"].get<double>() == 1012.0 / 15.0);
    CHECK(json["ratio"]["wall"].get<double>() == 4.0);

    Comparison nothing_left = example();
    nothing_left.patch.statistics->exits_total = 0;
    CHECK(comparison_json(nothing_left)["ratio"]["exits"].is_null());
}

TEST_CASE("comparison table and page") {
    const std::string table = comparison_table(example());
    CHECK_THAT(table, ContainsSubstring("EMUL_MTSPR                     1,000              10        100x"));
    CHECK_THAT(table, ContainsSubstring("EMUL_RFI                           7               0        gone"));
    CHECK_THAT(table, ContainsSubstring("speed-up of patch over trap: 4.00x"));
    CHECK_THAT(table, ContainsSubstring("patch levels 1 3"));
    CHECK(table.find("EMUL_TLBWE") == std::string::npos);
    const std::string page = comparison_html(example());
    CHECK_THAT(page, ContainsSubstring("&lt;kernel &amp; co&gt;"));
    CHECK(page.find("<kernel") == std::string::npos);
    CHECK(page.find("http") == std::string::npos); // nothing is fetched from anywhere
    CHECK_THAT(page, ContainsSubstring("</html>"));
}

TEST_CASE("numbers for people") {
    CHECK(grouped(0) == "0");
    CHECK(grouped(999) == "999");
    CHECK(grouped(1000) == "1,000");
    CHECK(grouped(UINT64_MAX) == "18,446,744,073,709,551,615");
    CHECK(ratio_text(0, 0) == "-");
    CHECK(ratio_text(1, 0) == "gone");
    CHECK(ratio_text(1, 2) == "0.50x");
}

TEST_CASE("exit statuses") {
    CHECK(RunResult{.end = RunEnd::guest_ended}.exit_status() == 0);
    CHECK(RunResult{.end = RunEnd::until_seen}.exit_status() == 0);
    CHECK(RunResult{.end = RunEnd::quit_key}.exit_status() == 0);
    CHECK(RunResult{.end = RunEnd::timed_out}.exit_status() == 124);
    CHECK(RunResult{.end = RunEnd::guest_died}.exit_status() == 1);
    CHECK(RunResult{.end = RunEnd::host_failed}.exit_status() == 1);
    CHECK(RunResult{.end = RunEnd::signal, .signal = 15}.exit_status() == 143);
}
