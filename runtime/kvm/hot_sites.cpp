// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/kvm/hot_sites.h"

#include <new>

#include "runtime/byte_order.h"
#include "runtime/kvm/errno_values.h"
#include "runtime/page_hash.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::kvm_hot_sites {

static_assert(HotSite::most == abi::untrap_most_hot_sites);
static_assert(PatchRegistry::sites_in_page == abi::untrap_hot_sites_in_page);
static_assert(sizeof(HotSite) == sizeof(abi::UntrapHotSite) && alignof(HotSite) == alignof(abi::UntrapHotSite));

const HotSite* take(abi::UntrapHotSite* sites, std::uint32_t count) {
    if (count > HotSite::most) return nullptr;
    const HotSite* before = nullptr;
    for (std::uint32_t index = 0; index < count; ++index) {
        const abi::UntrapHotSite given = sites[index];
        if (given.offset % 4 != 0 || given.offset >= hashed_page_bytes || given.reserved != 0) return nullptr;
        HotSite* site = new (&sites[index]) HotSite{given.page_hash, given.word, given.offset, 0};
        if (before != nullptr && !before->before(*site)) return nullptr;
        before = site;
    }
    return reinterpret_cast<const HotSite*>(sites);
}

namespace {

std::uint32_t read_page(const Vcpu& vcpu, std::uint64_t real, abi::UntrapHotSite* sites) {
    const std::uint8_t* bytes = vcpu.memory.find(real, hashed_page_bytes, false);
    if (bytes == nullptr) return 0;
    const std::uint64_t hash = page_hash(bytes);
    std::uint32_t written = 0;
    for (std::uint16_t offset = 0; offset < hashed_page_bytes; offset = static_cast<std::uint16_t>(offset + 4)) {
        const auto word = static_cast<std::uint32_t>(load_big_endian(bytes + offset, 4));
        if (vcpu.patches.find(real + offset, word) != nullptr) sites[written++] = {hash, word, offset, 0};
    }
    return written;
}

} // namespace

int read(const Vcpu& vcpu, abi::UntrapHotSites& request, abi::UntrapHotSite* sites) {
    if (request.count < PatchRegistry::sites_in_page || request.next >= CodePages::capacity)
        return -errno_values::einval;
    std::uint32_t index = request.next, written = 0;
    for (; index < CodePages::capacity && request.count - written >= PatchRegistry::sites_in_page; ++index) {
        std::uint64_t real = 0;
        if (vcpu.patches.patched_page(index, real)) written += read_page(vcpu, real, sites + written);
    }
    request.count = written;
    request.next = index < CodePages::capacity ? index : 0;
    return 0;
}

} // namespace untrap::runtime::kvm_hot_sites
