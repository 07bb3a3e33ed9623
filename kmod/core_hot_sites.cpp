// SPDX-License-Identifier: GPL-2.0-only
// The cache of hot sites, between Linux and the core.
#include "kmod/core_vm.h"
#include "runtime/kvm/errno_values.h"
#include "runtime/kvm/hot_sites.h"

namespace errno_values = untrap::runtime::errno_values;
namespace hot_sites = untrap::runtime::kvm_hot_sites;
using untrap::abi::UntrapHotSite;

int untrap_core_set_known_sites(untrap_core_vm* vm, void* sites, u32 count) {
    if (vm->started) return -errno_values::ebusy;
    const untrap::runtime::HotSite* known = hot_sites::take(static_cast<UntrapHotSite*>(sites), count);
    if (known == nullptr && count != 0) return -errno_values::einval;
    vm->patches.set_known(known, count);
    return 0;
}

int untrap_core_read_hot_sites(untrap_core_vcpu* vcpu, u32* next, u32* count, void* sites) {
    untrap::abi::UntrapHotSites request{.sites = 0, .count = *count, .next = *next};
    const int result = hot_sites::read(vcpu->core, request, static_cast<UntrapHotSite*>(sites));
    *next = request.next;
    *count = request.count;
    return result;
}
