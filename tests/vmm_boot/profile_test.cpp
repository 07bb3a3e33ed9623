// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>

#include "runtime/exit_reason.h"
#include "tests/vmm_boot/image_builder.h"
#include "vmm/boot/symbol_table.h"
#include "vmm/report/disassembly.h"
#include "vmm/report/flame_graph.h"
#include "vmm/report/profile.h"
#include "vmm/report/profile_html.h"
#include "vmm/report/profile_text.h"

using namespace untrap::vmm;
using namespace untrap::test;
using Catch::Matchers::ContainsSubstring;
using untrap::runtime::ExitReason;
namespace abi = untrap::abi;

namespace {

constexpr std::uint32_t base = 0xC0001000;
constexpr std::uint32_t mfmsr_r3 = 0x7C6000A6, wrteei_0 = 0x7C000146, tlbwe_0 = 0x7C0007A4, rfi = 0x4C000064,
                        mtspr_dec = 0x7C7603A6, lwz = 0x80640008;

abi::UntrapExitSite site(std::uint32_t ea, std::uint32_t word, ExitReason reason, std::uint64_t exits,
                         unsigned level = 0, unsigned span = 0, std::uint8_t flags = 0) {
    abi::UntrapExitSite made{};
    made.real = ea & 0x0FFFFFFF;
    made.exits = exits;
    made.instructions = exits;
    made.ea = ea;
    made.word = word;
    made.reason = static_cast<std::uint8_t>(reason);
    made.flags = flags;
    made.level = static_cast<std::uint8_t>(level);
    made.span = static_cast<std::uint8_t>(span);
    return made;
}

abi::UntrapStats statistics(const std::vector<abi::UntrapExitSite>& sites) {
    abi::UntrapStats stats{};
    for (const abi::UntrapExitSite& each : sites) {
        stats.exits[each.reason] += each.exits;
        stats.exits_total += each.exits;
    }
    return stats;
}

// Of everything that can become of a site.
Comparison example(std::uint64_t levels = 0b1110) {
    Comparison comparison;
    comparison.trap_machine.patch = false;
    comparison.patch_machine.boot.kernel = "<kernel & co>";
    comparison.trap.exit_sites = {
        site(base, mfmsr_r3, ExitReason::emul_mfmsr, 1000),
        site(base + 4, wrteei_0, ExitReason::emul_wrtee, 900),
        site(base + 8, tlbwe_0, ExitReason::emul_tlbwe, 50),
        site(base + 12, tlbwe_0, ExitReason::emul_tlbwe, 50),
        site(base + 0x40, rfi, ExitReason::emul_rfi, 70),
        site(base + 0x44, mtspr_dec, ExitReason::emul_mtspr, 3),
        site(base + 0x60, lwz, ExitReason::dtlb_virt, 10),
        site(0x10000000, lwz, ExitReason::dtlb_real, 5, 0, 0, abi::untrap_site_user),
        site(0, 0, ExitReason::mmio, 2, 0, 0, abi::untrap_site_elsewhere),
    };
    comparison.patch.exit_sites = {
        site(base, mfmsr_r3, ExitReason::emul_mfmsr, 3, 1),
        site(base | 0x00100000, mfmsr_r3, ExitReason::emul_mfmsr, 1),
        site(base + 4, wrteei_0, ExitReason::emul_wrtee, 30, 2),
        site(base + 8, tlbwe_0, ExitReason::emul_tlbwe, 50, 3, 2),
        site(base + 0x40, rfi, ExitReason::emul_rfi, 70, 0, 0, abi::untrap_site_refused),
        site(base + 0x44, mtspr_dec, ExitReason::emul_mtspr, 3),
        site(base + 0x60, lwz, ExitReason::dtlb_virt, 10),
        site(0x10000000, lwz, ExitReason::dtlb_real, 5, 0, 0, abi::untrap_site_user),
        site(0, 0, ExitReason::mmio, 2, 0, 0, abi::untrap_site_elsewhere),
    };
    comparison.trap.host = comparison.patch.host = "soft";
    comparison.trap.statistics = statistics(comparison.trap.exit_sites);
    comparison.patch.statistics = statistics(comparison.patch.exit_sites);
    comparison.patch.levels = levels;
    return comparison;
}

const ProfileSite& at(const Profile& profile, std::uint32_t ea) {
    const auto found = std::ranges::find_if(profile.sites, [&](const ProfileSite& each) { return each.ea == ea; });
    REQUIRE(found != profile.sites.end());
    return *found;
}

std::uint64_t left(const Profile& profile, Left why) { return profile.left[static_cast<std::size_t>(why)]; }

} // namespace

TEST_CASE("profile: what became of each site") {
    const Profile profile = make_profile(example(), SymbolTable());
    CHECK(profile.sites.size() == 10);
    CHECK(profile.sites[0].ea == base);
    CHECK(at(profile, base).left == Left::until_hot);
    CHECK_THAT(at(profile, base).why, ContainsSubstring("level 1"));
    CHECK(at(profile, base + 4).left == Left::stub_trap);
    CHECK_THAT(at(profile, base + 8).why, ContainsSubstring("2 instructions"));
    CHECK(at(profile, base + 12).left == Left::sequence);
    CHECK_THAT(at(profile, base + 12).why, ContainsSubstring("in the exit at 0xc0001008"));
    CHECK(at(profile, base + 12).patch.exits == 0);
    CHECK(at(profile, base + 0x40).left == Left::refused);
    CHECK(at(profile, base + 0x44).why == "not hot");
    CHECK(at(profile, base + 0x60).left == Left::shadow);
    CHECK(at(profile, 0x10000000).place() == "user 0x10000000");
    // The threshold's worth of a stub's exits came before it was one.
    CHECK(left(profile, Left::stub_trap) == 30 - abi::untrap_default_threshold);
    CHECK(left(profile, Left::until_hot) == 3 + 1 + 3 + abi::untrap_default_threshold);
    CHECK(left(profile, Left::guest_event) == 5);
    CHECK(left(profile, Left::elsewhere) == 2);
    std::uint64_t all = 0;
    for (const std::uint64_t part : profile.left) all += part;
    CHECK(all == profile.comparison.patch.statistics->exits_total);
    REQUIRE(profile.sites_left().size() == 9);
    CHECK(profile.sites_left()[0]->ea == base + 0x40);
}

TEST_CASE("profile: a level that is off") {
    Comparison comparison = example(0b0010);
    comparison.patch.exit_sites[2] =
        site(base + 4, wrteei_0, ExitReason::emul_wrtee, 900, 0, 0, abi::untrap_site_refused);
    const Profile profile = make_profile(comparison, SymbolTable());
    CHECK(at(profile, base + 4).left == Left::level_off);
    CHECK(at(profile, base + 4).why == "level 2 is off");
}

TEST_CASE("profile: hostile names and numbers end nowhere but in the text") {
    Comparison comparison = example();
    comparison.trap.exit_sites.push_back(site(base + 0x80, lwz, static_cast<ExitReason>(200), 9)); // of no known reason
    const Profile profile = make_profile(comparison, SymbolTable());
    CHECK(profile.sites.size() == 10);
    const std::string page = profile_html(profile, 3);
    CHECK_THAT(page, ContainsSubstring("&lt;kernel &amp; co&gt;"));
    CHECK(page.find("<kernel") == std::string::npos);
    CHECK_THAT(page, ContainsSubstring("</html>"));
    CHECK_THAT(page, ContainsSubstring("prefers-color-scheme: dark"));
    // Nothing is fetched: the only address is the name of SVG.
    for (std::size_t found = page.find("http"); found != std::string::npos; found = page.find("http", found + 1)) {
        CHECK(page.compare(found, 26, "http://www.w3.org/2000/svg") == 0);
    }
    CHECK(page.find("<script") == std::string::npos);
    const std::string flame = flame_graph(profile);
    CHECK_THAT(flame, ContainsSubstring("EMUL_MFMSR: 1,000 exits") && ContainsSubstring("</svg>"));
}

TEST_CASE("profile: text and JSON") {
    const Profile profile = make_profile(example(), SymbolTable());
    const std::string text = profile_text(profile, 4);
    CHECK_THAT(text, ContainsSubstring("first 4 of 10") && ContainsSubstring("mfmsr r3") &&
                         ContainsSubstring("what is left in patch mode") && !ContainsSubstring("ticks"));
    const auto json = profile_json(profile);
    CHECK(json["version"] == 1);
    CHECK(json["trap"]["exits_total"] == 2090);
    CHECK(json["sites"].size() == 10);
    CHECK(json["sites"][0]["instruction"] == "mfmsr r3");
    CHECK(json["sites"][0]["trap"]["exits"] == 1000);
    CHECK(json["sites"][0]["patch"]["exits"] == 3);
    CHECK(json["sites"][0]["level"] == 1);
    CHECK(json["left"]["refused"] == 70);
    CHECK(json["reasons"][0]["name"] == "EMUL_MFMSR");
    CHECK(json["reasons"][0]["patch"]["exits"] == 4);

    Comparison timed = example();
    timed.patch.exit_sites[0].host_ticks = 700;
    CHECK_THAT(profile_text(make_profile(timed, SymbolTable()), 4), ContainsSubstring("ticks patch"));

    Comparison nothing;
    nothing.trap.statistics = nothing.patch.statistics = abi::UntrapStats{};
    const Profile empty = make_profile(nothing, SymbolTable());
    CHECK_FALSE(profile_text(empty, 30).empty());
    CHECK_THAT(profile_html(empty, 30), ContainsSubstring("</html>"));
}

TEST_CASE("disassembly") {
    CHECK(disassemble(mfmsr_r3, base) == "mfmsr r3");
    CHECK(disassemble(wrteei_0, base) == "wrteei 0");
    CHECK(disassemble(0x7C008146, base) == "wrteei 1");
    CHECK(disassemble(0x7C7A03A6, base) == "mtspr srr0, r3");
    CHECK(disassemble(0x7C7602A6, base) == "mfspr r3, dec");
    CHECK(disassemble(0x7C7342A6, base) == "mfspr r3, sprg3");
    CHECK(disassemble(0x7D8D17A4, base) == "tlbwe r12, r13, 2");
    CHECK(disassemble(rfi, base) == "rfi");
    CHECK(disassemble(lwz, base) == "lwz r3, 8(r4)");
    CHECK(disassemble(0x48000010, base) == "b 0xc0001010");
    CHECK(disassemble(0, base) == ".long 0x00000000");
}

TEST_CASE("symbol table: none in a uImage, none in an ELF without sections") {
    const TemporaryDirectory files;
    const std::string uimage = files.write("uimage", make_uimage(words({0x60000000}), 0));
    CHECK(SymbolTable::of_kernel(uimage).empty());
    const SymbolTable bare = SymbolTable::of_kernel(files.write("elf", make_elf(words({0x60000000}))));
    CHECK(bare.empty());
    CHECK_FALSE(bare.find(0xC0000000));
    CHECK_FALSE(bare.find_real(0));
}
