// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/hot_site.h"
#include "runtime/kvm/untrap_abi.h"

namespace untrap::runtime {
class Vcpu;
}

// The cache of hot sites as userspace reads and writes it.
namespace untrap::runtime::kvm_hot_sites {

// Turns what userspace gave into the core's records, in place: the same memory, returned as such. nullptr if they are
// too many, out of order, twice the same, or no addresses of instructions.
const HotSite* take(abi::UntrapHotSite* sites, std::uint32_t count);

// Fills sites, of which request.count fit, with the sites that are patched now, and advances the request. 0 or -EINVAL.
int read(const Vcpu& vcpu, abi::UntrapHotSites& request, abi::UntrapHotSite* sites);

} // namespace untrap::runtime::kvm_hot_sites
