// SPDX-License-Identifier: GPL-2.0-only
#include "mmu/guest_tlb.h"

namespace untrap::mmu {

void GuestTlb::changed(unsigned index) {
    const TlbEntry& entry = entries_[index];
    const bool usable = entry.valid() && entry.page_shift() != 0;
    match_.page[index] = entry.epn();
    match_.page_mask[index] = entry.page_mask() & 0xFFFFFC00;
    match_.context[index] = usable ? context_of(entry.ts(), entry.tid) : no_context;
    match_.context_mask[index] = !usable ? no_context : entry.tid == 0 ? context_of(1, 0) : context_of(1, 0xFF);
    ++version_;
}

void GuestTlb::set(unsigned index, const TlbEntry& value) {
    index &= entry_count - 1;
    entries_[index] = value;
    changed(index);
}

void GuestTlb::clear() {
    entries_ = {};
    match_ = nothing_matches();
    ++version_;
}

void GuestTlb::write_word(unsigned index, unsigned ws, std::uint32_t value, std::uint32_t mmucr) {
    index &= entry_count - 1;
    TlbEntry& entry = entries_[index];
    switch (ws) {
    case 0:
        entry.word0 = value & TlbEntry::word0_mask;
        entry.tid = static_cast<std::uint8_t>(mmucr & 0xFF);
        break;
    case 1: entry.word1 = value & TlbEntry::word1_mask; break;
    case 2: entry.word2 = value & TlbEntry::word2_mask; break;
    default: return;
    }
    changed(index);
}

std::uint32_t GuestTlb::read_word(unsigned index, unsigned ws) const {
    const TlbEntry& entry = entries_[index & (entry_count - 1)];
    switch (ws) {
    case 0: return entry.word0;
    case 1: return entry.word1;
    case 2: return entry.word2;
    default: return 0;
    }
}

int GuestTlb::search(std::uint32_t ea, unsigned space, unsigned pid) const {
    const std::uint32_t context = context_of(space, pid);
    // In groups without a branch per entry, which compilers turn into vector code.
    constexpr unsigned group = 8;
    for (unsigned first = 0; first < entry_count; first += group) {
        std::uint32_t hits = 0;
        for (unsigned i = 0; i < group; ++i) {
            const unsigned index = first + i;
            const std::uint32_t difference = ((ea ^ match_.page[index]) & match_.page_mask[index]) |
                                             ((context ^ match_.context[index]) & match_.context_mask[index]);
            hits |= (difference == 0 ? 1U : 0U) << i;
        }
        if (hits != 0) return static_cast<int>(first) + __builtin_ctz(hits);
    }
    return -1;
}

bool GuestTlb::permits(const TlbEntry& entry, bool problem_state, Access access) {
    std::uint32_t needed = TlbEntry::sr;
    if (access == Access::store) needed = TlbEntry::sw;
    if (access == Access::fetch) needed = TlbEntry::sx;
    if (problem_state) needed <<= 3;
    return (entry.word2 & needed) != 0;
}

static_assert(TlbEntry::sr << 3 == TlbEntry::ur && TlbEntry::sw << 3 == TlbEntry::uw &&
              TlbEntry::sx << 3 == TlbEntry::ux);

Translation GuestTlb::translate(std::uint32_t ea, unsigned space, unsigned pid, bool problem_state,
                                Access access) const {
    Translation result;
    const int index = search(ea, space, pid);
    if (index < 0) return result;
    const TlbEntry& found = entries_[static_cast<unsigned>(index)];
    result.index = static_cast<std::uint8_t>(index);
    result.little_endian = found.little_endian();
    result.page_shift = static_cast<std::uint8_t>(found.page_shift());
    result.status = permits(found, problem_state, access) ? Translation::Status::ok : Translation::Status::denied;
    result.real = found.translate(ea);
    return result;
}

} // namespace untrap::mmu
