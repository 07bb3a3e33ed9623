// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/kvm/exit_sites.h"

#include <bit>

#include "runtime/kvm/errno_values.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::kvm_exit_sites {

static_assert(ExitSites::most == abi::untrap_most_exit_sites);
static_assert(ExitSite::unknown_real == abi::untrap_unknown_real);

std::int64_t capacity(std::uint64_t asked) {
    if (asked > ExitSites::most) return -errno_values::einval;
    if (asked == 0) return 0;
    const auto sites = static_cast<std::uint32_t>(asked);
    return sites < ExitSites::least ? ExitSites::least : std::bit_ceil(sites);
}

namespace {

bool handler_runs_within(const PatchRegistry& patches, ExitReason reason) {
    return (reason == ExitReason::dtlb_real && patches.handler_patched(isa::Interrupt::data_tlb_error)) ||
           (reason == ExitReason::itlb_real && patches.handler_patched(isa::Interrupt::instruction_tlb_error));
}

} // namespace

int read(const Vcpu& vcpu, abi::UntrapExitSites& request, abi::UntrapExitSite* sites) {
    if (vcpu.exit_sites == nullptr) return -errno_values::enoent;
    const ExitSites& table = *vcpu.exit_sites;
    if (request.count == 0 || request.next >= table.size()) return -errno_values::einval;
    std::uint32_t index = request.next, written = 0;
    for (; index < table.size() && written < request.count; ++index) {
        const ExitSite& site = table.at(index);
        if (site.exits == 0) continue;
        abi::UntrapExitSite& to = sites[written++];
        to = {};
        to.real = site.real;
        to.exits = site.exits;
        to.instructions = site.instructions;
        to.host_ticks = site.ticks;
        to.ea = site.ea;
        to.word = site.word;
        to.reason = static_cast<std::uint8_t>(site.reason);
        if (site.user) to.flags |= abi::untrap_site_user;
        if (site.elsewhere) to.flags |= abi::untrap_site_elsewhere;
        if (handler_runs_within(vcpu.patches, site.reason)) to.level = 4;
        if (site.user || site.real == ExitSite::unknown_real || !is_emulation(site.reason)) continue;
        if (const plan::Patch* patch = vcpu.patches.find(site.real, site.word); patch != nullptr) {
            to.level = patch->level;
            to.span = patch->span;
        } else if (vcpu.patches.refused(site.real, site.word)) {
            to.flags |= abi::untrap_site_refused;
        }
    }
    request.count = written;
    request.next = index < table.size() ? index : 0;
    return 0;
}

} // namespace untrap::runtime::kvm_exit_sites
