// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/known_sites.h"

#include "runtime/byte_order.h"
#include "runtime/page_hash.h"

namespace untrap::runtime {

namespace {

constexpr std::uint64_t page_bytes = std::uint64_t{1} << Memslot::page_shift;
static_assert(page_bytes == hashed_page_bytes && CodePages::shift == Memslot::page_shift);

} // namespace

SiteWindow site_window(const PhysicalMemory& memory, std::uint64_t real, std::uint32_t bytes_left) {
    SiteWindow window;
    const unsigned limit = bytes_left < 4 * plan::sequence_window ? bytes_left / 4 : plan::sequence_window;
    // The pages of a memory slot may lie apart.
    const std::uint8_t* host = nullptr;
    for (; window.length < limit; real += 4, host += 4) {
        if (host == nullptr || (real & (page_bytes - 1)) == 0) host = memory.find(real, 4, false);
        if (host == nullptr) break;
        window.words[window.length++] = static_cast<std::uint32_t>(load_big_endian(host, 4));
    }
    return window;
}

void patch_known_sites(Vcpu& vcpu, std::uint64_t real) {
    PatchRegistry& patches = vcpu.patches;
    if (!patches.match_due(real)) return;
    const std::uint64_t page = real & ~(page_bytes - 1);
    const std::uint8_t* bytes = vcpu.memory.find(page, page_bytes, false);
    if (bytes == nullptr) return;
    std::uint32_t count = 0;
    const HotSite* known = patches.known(page_hash(bytes), count);
    if (count == 0) return;
    for (const HotSite* site = known; site != known + count; ++site) {
        // Sequences end with the 4 KB page here: what mapping the guest has there is not known.
        const auto left = static_cast<std::uint32_t>(page_bytes - site->offset);
        const SiteWindow window = site_window(vcpu.memory, page + site->offset, left);
        if (window.length == 0 || window.words[0] != site->word) continue;
        if (!isa::decode(site->word).privileged()) continue;
        bool newly_patched = false;
        patches.patch_known(page + site->offset, window.words.data(), window.length, newly_patched);
        if (newly_patched) vcpu.engine().site_changed(page + site->offset);
    }
    patches.page_matched(page);
}

void code_written(Vcpu& vcpu, std::uint64_t real, std::uint64_t length) {
    if (vcpu.patches.levels() == 0) return;
    while (length != 0) {
        const std::uint64_t left = page_bytes - (real & (page_bytes - 1));
        const std::uint64_t part = length < left ? length : left;
        if (const std::uint8_t* bytes = vcpu.memory.find(real, part, false); bytes != nullptr)
            vcpu.patches.code_changed(real, bytes, static_cast<std::uint32_t>(part), vcpu.engine());
        real += part;
        length -= part;
    }
}

} // namespace untrap::runtime
