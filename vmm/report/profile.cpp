// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/profile.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <span>
#include <tuple>

#include "translator/isa/table.h"
#include "translator/plan/plan.h"
#include "vmm/machine/kvm_vm.h"
#include "vmm/report/disassembly.h"

namespace untrap::vmm {
namespace {

using runtime::ExitReason;

using Key = std::tuple<bool, std::uint32_t, std::uint32_t, ExitReason, bool>;

// What the sites of one run are added to.
class Collector {
  public:
    explicit Collector(const SymbolTable& symbols) : symbols_(symbols) {}

    void add(std::span<const abi::UntrapExitSite> sites, SiteCost ProfileSite::*mode) {
        for (const abi::UntrapExitSite& raw : sites) {
            if (raw.reason >= runtime::exit_reason_count) continue; // of a newer host
            const bool user = (raw.flags & abi::untrap_site_user) != 0;
            const bool elsewhere = (raw.flags & abi::untrap_site_elsewhere) != 0;
            const auto reason = static_cast<ExitReason>(raw.reason);
            // One instruction may lie at several real addresses, in turns.
            auto [found, fresh] = sites_.try_emplace(Key{elsewhere, raw.ea, raw.word, reason, user});
            ProfileSite& site = found->second;
            if (fresh) describe(site, raw, reason);
            site.*mode += {raw.exits, raw.instructions, raw.host_ticks};
            if (raw.level != 0) {
                site.level = raw.level;
                site.span = raw.span;
            }
            if ((raw.flags & abi::untrap_site_refused) != 0) site.refused = true;
        }
    }

    std::vector<ProfileSite> take() {
        std::vector<ProfileSite> all;
        all.reserve(sites_.size());
        for (auto& entry : sites_) all.push_back(std::move(entry.second));
        return all;
    }

  private:
    void describe(ProfileSite& site, const abi::UntrapExitSite& raw, ExitReason reason) const {
        site.reason = reason;
        site.user = (raw.flags & abi::untrap_site_user) != 0;
        site.elsewhere = (raw.flags & abi::untrap_site_elsewhere) != 0;
        site.ea = raw.ea;
        site.word = raw.word;
        if (site.elsewhere) return;
        // A program's own addresses mean nothing in the kernel's table.
        if (!site.user) {
            std::optional<SymbolTable::Place> place = symbols_.find(raw.ea);
            if (!place && raw.real != abi::untrap_unknown_real) place = symbols_.find_real(raw.real);
            if (place) {
                site.symbol = std::move(place->symbol);
                site.offset = place->offset;
            }
        }
        site.instruction = raw.real == abi::untrap_unknown_real ? "?" : disassemble(raw.word, raw.ea);
    }

    const SymbolTable& symbols_;
    std::map<Key, ProfileSite> sites_;
};

struct Verdict {
    Left left;
    std::string why;
};

// Exits that no patch is about.
Verdict of_other(const ProfileSite& site) {
    switch (site.reason) {
    case ExitReason::mmio: return {Left::device, "access to a device"};
    case ExitReason::dcr: return {Left::device, "access to a device control register"};
    case ExitReason::signal: return {Left::idle, "the VMM wanted the vCPU"};
    case ExitReason::emul_wait: return {Left::idle, "the guest idles"};
    case ExitReason::itlb_virt:
    case ExitReason::dtlb_virt: return {Left::shadow, "mapped by the guest, not yet in the shadow TLB"};
    case ExitReason::itlb_real:
    case ExitReason::dtlb_real:
        if (site.level == 4) return {Left::guest_event, "level 4: guest TLB miss, its handler in the same exit"};
        return {Left::guest_event, "guest TLB miss, reflected"};
    case ExitReason::syscall: return {Left::guest_event, "system call, an interrupt by nature"};
    case ExitReason::isi:
    case ExitReason::dsi: return {Left::guest_event, "page fault, reflected"};
    case ExitReason::dec:
    case ExitReason::extint: return {Left::guest_event, "interrupt"};
    case ExitReason::fp_unavail: return {Left::guest_event, "first use of the FPU, reflected"};
    case ExitReason::debug: return {Left::guest_event, "debug event"};
    default: return {Left::guest_event, "program interrupt, reflected"};
    }
}

class Judge {
  public:
    Judge(std::vector<ProfileSite>& sites, std::uint64_t levels, std::uint64_t threshold)
        : levels_(levels), threshold_(threshold) {
        for (const ProfileSite& site : sites) {
            if (site.level == 3 && !site.user) sequences_.emplace(site.ea, &site);
        }
    }

    Verdict of(const ProfileSite& site) const {
        if (site.elsewhere) return {Left::elsewhere, "many sites, of few exits each"};
        if (!runtime::is_emulation(site.reason) || site.reason == ExitReason::emul_wait) return of_other(site);
        const ProfileSite* const sequence = sequence_over(site);
        if (site.patch.exits == 0) {
            if (sequence != nullptr) return {Left::sequence, fmt::format("in the exit at {}", sequence->place())};
            return {Left::until_hot, "no exits left"};
        }
        const bool beyond = site.patch.exits > threshold_;
        switch (site.level) {
        case 1: return {Left::until_hot, "level 1: a word of the state page"};
        case 2:
            if (!beyond) return {Left::until_hot, "level 2: a stub"};
            return {Left::stub_trap, "level 2: a stub; traps for a waiting interrupt or a change of mode"};
        case 3: return {Left::sequence, fmt::format("level 3: one exit for up to {} instructions", site.span)};
        default: break;
        }
        if (sequence != nullptr)
            return {beyond ? Left::sequence : Left::until_hot,
                    fmt::format("in the exit at {}, when that gets so far", sequence->place())};
        if (const unsigned level = possible_level(site); level != 0)
            return {Left::level_off, fmt::format("level {} is off", level)};
        if (!site.refused) return {Left::until_hot, "not hot"};
        const isa::Instruction insn = isa::decode(site.word);
        if (plan::ends_sequence(insn)) return {Left::refused, "may lead anywhere: one exit each"};
        return {Left::refused, "does more than the state page can hold: emulated"};
    }

  private:
    // The sequence that begins before the site and reaches over it.
    const ProfileSite* sequence_over(const ProfileSite& site) const {
        auto at = sequences_.lower_bound(site.ea);
        while (at != sequences_.begin()) {
            --at;
            const std::uint32_t distance = site.ea - at->first;
            if (distance >= 4 * plan::sequence_window) return nullptr;
            if (distance < 4 * at->second->span) return at->second;
        }
        return nullptr;
    }

    // The level that would take the instruction by itself and is not in use.
    unsigned possible_level(const ProfileSite& site) const {
        const auto all = static_cast<unsigned>(abi::untrap_levels_up_to(abi::untrap_highest_level));
        const unsigned level = plan::make_patch(&site.word, 1, all).level;
        return (levels_ >> level & 1) == 0 ? level : 0;
    }

    std::uint64_t levels_, threshold_;
    std::map<std::uint32_t, const ProfileSite*> sequences_;
};

bool more_before(const SiteCost& a_trap, const SiteCost& a_patch, const SiteCost& b_trap, const SiteCost& b_patch) {
    return std::tie(a_trap.exits, a_patch.exits) > std::tie(b_trap.exits, b_patch.exits);
}

template <typename Name>
std::vector<NamedCost> totals(const std::vector<ProfileSite>& sites, Name&& name) {
    std::map<std::string, NamedCost> by_name;
    for (const ProfileSite& site : sites) {
        const std::string own = name(site);
        NamedCost& total = by_name.try_emplace(own, NamedCost{own, {}, {}}).first->second;
        total.trap += site.trap;
        total.patch += site.patch;
    }
    std::vector<NamedCost> sorted;
    for (auto& entry : by_name) sorted.push_back(std::move(entry.second));
    std::stable_sort(sorted.begin(), sorted.end(), [](const NamedCost& a, const NamedCost& b) {
        return more_before(a.trap, a.patch, b.trap, b.patch);
    });
    return sorted;
}

constexpr std::array<std::pair<const char*, const char*>, left_count> left_names = {{
    {"until_hot", "before the site was hot, or it never was"},
    {"stub_trap", "stubs that had to trap: an interrupt waits, or the mode changes"},
    {"sequence", "one exit for a whole sequence"},
    {"refused", "privileged instructions that cannot be patched"},
    {"level_off", "a level that is not in use would take them"},
    {"guest_event", "the guest's own interrupts, faults and system calls"},
    {"shadow", "refills of the shadow TLB"},
    {"device", "accesses to devices"},
    {"idle", "waiting"},
    {"elsewhere", "sites that found no room in the host's table"},
}};

} // namespace

const char* left_name(Left left) { return left_names[static_cast<std::size_t>(left)].first; }
const char* left_meaning(Left left) { return left_names[static_cast<std::size_t>(left)].second; }

SiteCost& SiteCost::operator+=(const SiteCost& other) {
    exits += other.exits;
    instructions += other.instructions;
    host_ticks += other.host_ticks;
    return *this;
}

std::string ProfileSite::function() const {
    if (!symbol.empty()) return symbol;
    if (elsewhere) return "(many)";
    return user ? "(user)" : "(no symbol)";
}

std::string ProfileSite::place() const {
    if (elsewhere) return "(many)";
    if (symbol.empty()) return fmt::format("{}0x{:08x}", user ? "user " : "", ea);
    return offset == 0 ? symbol : fmt::format("{}+0x{:x}", symbol, offset);
}

std::vector<const ProfileSite*> Profile::sites_left() const {
    std::vector<const ProfileSite*> some;
    for (const ProfileSite& site : sites) {
        if (site.patch.exits != 0) some.push_back(&site);
    }
    std::stable_sort(some.begin(), some.end(),
                     [](const ProfileSite* a, const ProfileSite* b) { return a->patch.exits > b->patch.exits; });
    return some;
}

Profile make_profile(const Comparison& comparison, const SymbolTable& symbols) {
    Profile profile{.comparison = comparison, .sites = {}, .reasons = {}, .functions = {}, .left = {}};
    profile.comparison.trap.exit_sites.clear();
    profile.comparison.patch.exit_sites.clear();
    Collector collector(symbols);
    collector.add(comparison.trap.exit_sites, &ProfileSite::trap);
    collector.add(comparison.patch.exit_sites, &ProfileSite::patch);
    profile.sites = collector.take();
    const std::uint64_t threshold = comparison.patch_machine.hot_threshold.value_or(abi::untrap_default_threshold);
    const Judge judge(profile.sites, comparison.patch.levels, threshold);
    for (ProfileSite& site : profile.sites) {
        Verdict verdict = judge.of(site);
        site.left = verdict.left;
        site.why = std::move(verdict.why);
        std::uint64_t exits = site.patch.exits;
        if (site.left == Left::stub_trap) {
            profile.left[static_cast<std::size_t>(Left::until_hot)] += threshold;
            exits -= threshold;
        }
        profile.left[static_cast<std::size_t>(site.left)] += exits;
    }
    std::stable_sort(profile.sites.begin(), profile.sites.end(), [](const ProfileSite& a, const ProfileSite& b) {
        return more_before(a.trap, a.patch, b.trap, b.patch);
    });
    profile.reasons = totals(profile.sites, [](const ProfileSite& site) {
        return std::string(runtime::exit_reason_names[static_cast<std::size_t>(site.reason)]);
    });
    profile.functions = totals(profile.sites, [](const ProfileSite& site) { return site.function(); });
    return profile;
}

namespace {

nlohmann::ordered_json cost_json(const SiteCost& cost) {
    return {{"exits", cost.exits}, {"instructions", cost.instructions}, {"host_ticks", cost.host_ticks}};
}

nlohmann::ordered_json named_json(const std::vector<NamedCost>& costs) {
    auto list = nlohmann::ordered_json::array();
    for (const NamedCost& cost : costs) {
        list.push_back({{"name", cost.name}, {"trap", cost_json(cost.trap)}, {"patch", cost_json(cost.patch)}});
    }
    return list;
}

} // namespace

nlohmann::ordered_json profile_json(const Profile& profile) {
    nlohmann::ordered_json json = comparison_json(profile.comparison);
    json["reasons"] = named_json(profile.reasons);
    json["functions"] = named_json(profile.functions);
    nlohmann::ordered_json& left = json["left"];
    for (std::size_t i = 0; i < left_count; ++i) left[left_name(static_cast<Left>(i))] = profile.left[i];
    nlohmann::ordered_json& sites = json["sites"];
    sites = nlohmann::ordered_json::array();
    for (const ProfileSite& site : profile.sites) {
        sites.push_back({{"reason", runtime::exit_reason_names[static_cast<std::size_t>(site.reason)]},
                         {"address", fmt::format("0x{:08x}", site.ea)},
                         {"word", fmt::format("0x{:08x}", site.word)},
                         {"instruction", site.instruction},
                         {"symbol", site.symbol},
                         {"offset", site.offset},
                         {"user", site.user},
                         {"trap", cost_json(site.trap)},
                         {"patch", cost_json(site.patch)},
                         {"level", site.level},
                         {"left", left_name(site.left)},
                         {"why", site.why}});
    }
    return json;
}

} // namespace untrap::vmm
