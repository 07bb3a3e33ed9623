// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/kvm/untrap_abi.h"

namespace untrap::runtime {
class Vcpu;
}

// The table of exits by site as userspace reads it.
namespace untrap::runtime::kvm_exit_sites {

// Capacity of the table for what cap_untrap_exit_sites asks, 0 for none. -EINVAL for more than there may be.
std::int64_t capacity(std::uint64_t asked);

// Fills sites, of which request.count fit, and advances the request. 0, -EINVAL or -ENOENT.
int read(const Vcpu& vcpu, abi::UntrapExitSites& request, abi::UntrapExitSite* sites);

} // namespace untrap::runtime::kvm_exit_sites
