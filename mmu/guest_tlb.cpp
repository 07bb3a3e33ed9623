// SPDX-License-Identifier: GPL-2.0-only
#include "mmu/guest_tlb.h"

namespace untrap::mmu {

void GuestTlb::write_word(unsigned index, unsigned ws, std::uint32_t value, std::uint32_t mmucr) {
    TlbEntry& entry = entries_[index & (entry_count - 1)];
    switch (ws) {
    case 0:
        entry.word0 = value & TlbEntry::word0_mask;
        entry.tid = static_cast<std::uint8_t>(mmucr & 0xFF);
        break;
    case 1: entry.word1 = value & TlbEntry::word1_mask; break;
    case 2: entry.word2 = value & TlbEntry::word2_mask; break;
    default: break;
    }
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
    for (unsigned index = 0; index < entry_count; ++index)
        if (entries_[index].matches(ea, space, pid)) return static_cast<int>(index);
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
