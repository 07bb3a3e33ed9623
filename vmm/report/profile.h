// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/exit_reason.h"
#include "vmm/boot/symbol_table.h"
#include "vmm/report/statistics.h"

namespace untrap::vmm {

// Why an exit of patch mode is still there.
enum class Left : std::uint8_t {
    until_hot,   // before its site was hot, or it never was
    stub_trap,   // a stub that had to trap: an interrupt waits, or the mode changes
    sequence,    // one exit for several instructions
    refused,     // a privileged instruction that cannot be patched
    level_off,   // a level that is not in use would take it
    guest_event, // the guest's own interrupts, faults and system calls
    shadow,      // the shadow TLB lacked a mapping
    device,      // an access to a device
    idle,        // the guest waits, or the VMM wanted the vCPU
    elsewhere,   // at sites that found no room in the host's table
    count
};
inline constexpr std::size_t left_count = static_cast<std::size_t>(Left::count);
const char* left_name(Left left);    // "until_hot", as in JSON
const char* left_meaning(Left left); // for people

// One mode's share.
struct SiteCost {
    std::uint64_t exits = 0;
    std::uint64_t instructions = 0; // guest instructions that the hypervisor executed in these exits
    std::uint64_t host_ticks = 0;   // 0 where the host does not know
    SiteCost& operator+=(const SiteCost& other);
};

// Exits of one reason at one guest instruction, in both modes.
struct ProfileSite {
    runtime::ExitReason reason{};
    bool user = false;
    bool elsewhere = false;
    std::uint32_t ea = 0, word = 0;
    std::string symbol; // empty: none is known
    std::uint32_t offset = 0;
    std::string instruction; // in assembler
    SiteCost trap, patch;
    unsigned level = 0, span = 0; // patched at the end of the patch run; 0: it is not
    bool refused = false;
    Left left{};     // why patch.exits, for the most of them
    std::string why; // one phrase

    std::string function() const; // what the site belongs to, always something
    std::string place() const;    // symbol+0xoffset, or the address
};

struct NamedCost {
    std::string name;
    SiteCost trap, patch;
};

struct Profile {
    Comparison comparison;                      // without the raw sites
    std::vector<ProfileSite> sites;             // most exits in trap mode first
    std::vector<NamedCost> reasons;             // likewise
    std::vector<NamedCost> functions;           // likewise
    std::array<std::uint64_t, left_count> left; // exits of patch mode

    // Sites by their exits in patch mode, those without left out.
    std::vector<const ProfileSite*> sites_left() const;
};

// Both runs have statistics and exit sites.
Profile make_profile(const Comparison& comparison, const SymbolTable& symbols);

// The JSON of `untrap prof --json`: that of `ab`, and the sites.
nlohmann::ordered_json profile_json(const Profile& profile);

} // namespace untrap::vmm
