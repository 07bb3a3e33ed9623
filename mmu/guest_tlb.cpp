// SPDX-License-Identifier: GPL-2.0-only
#include "mmu/guest_tlb.h"

namespace untrap::mmu {

// An entry has gone from one of these sets to the other.
void GuestTlb::large_changed(unsigned before, unsigned set) {
    for (const unsigned changed : {before, set}) {
        if (changed < page_sets || changed == set_of_nothing) continue;
        const std::uint32_t bit = 0x80000000 >> (changed - page_sets);
        large_ = (sets_[changed][0] | sets_[changed][1]) != 0 ? large_ | bit : large_ & ~bit;
        large_ |= last_segment;
    }
}

// Word 0 or the TID of an entry changed.
void GuestTlb::changed(unsigned index) {
    Slot& slot = slots_[index];
    const TlbEntry& entry = slot.entry;
    const unsigned before = slot.set;
    if (is_small(entry.word0)) {
        small_changed(index);
        if (before >= page_sets) large_changed(before, set_of_nothing);
        return;
    }
    const unsigned shift = entry.valid() ? entry.page_shift() : 0;
    const std::uint32_t page = page_bits & (0 - (std::uint32_t{1} << shift));
    const unsigned set = shift == 0 ? set_of_nothing : shift <= 12 ? page_set(entry.word0) : segment_set(entry.word0);
    if (shift == 10) had_tiny_ = true;
    slot.page_shift = static_cast<std::uint8_t>(shift);
    slot.match = {key_of(entry.word0 & page, entry.ts(), entry.tid),
                  page | (entry.tid == 0 ? context_bits & ~0xFFU : context_bits)};
    move(index, slot, set, shift == 0 ? no_segment : entry.word0 >> 28);
    large_changed(before, set);
}

void GuestTlb::set(unsigned index, const TlbEntry& value) {
    index &= entry_count - 1;
    slots_[index].entry = value;
    changed(index);
    ++version_;
}

void GuestTlb::clear() {
    slots_ = {};
    sets_ = {};
    in_segment_ = {};
    large_ = last_segment;
    had_tiny_ = false;
    ++version_;
}

bool GuestTlb::write_word(unsigned index, unsigned ws, std::uint32_t value, std::uint32_t mmucr) {
    index &= entry_count - 1;
    if (ws > 2) return false;
    if (ws != 0) return write_real_word(index, ws, value);
    TlbEntry& entry = slots_[index].entry;
    const std::uint32_t word = value & TlbEntry::word0_mask;
    const auto tid = static_cast<std::uint8_t>(mmucr & 0xFF);
    if (entry.word0 == word && entry.tid == tid) return false;
    entry.word0 = word;
    entry.tid = tid;
    changed(index);
    ++version_;
    return true;
}

std::uint32_t GuestTlb::read_word(unsigned index, unsigned ws) const {
    const TlbEntry& entry = slots_[index & (entry_count - 1)].entry;
    switch (ws) {
    case 0: return entry.word0;
    case 1: return entry.word1;
    case 2: return entry.word2;
    default: return 0;
    }
}

int GuestTlb::search(std::uint32_t ea, unsigned space, unsigned pid) const { return find(ea, space, pid); }

static_assert(TlbEntry::sr == 1U << static_cast<unsigned>(Access::load) &&
              TlbEntry::sw == 1U << static_cast<unsigned>(Access::store) &&
              TlbEntry::sx == 1U << static_cast<unsigned>(Access::fetch));
static_assert(TlbEntry::sr << 3 == TlbEntry::ur && TlbEntry::sw << 3 == TlbEntry::uw &&
              TlbEntry::sx << 3 == TlbEntry::ux);

Translation GuestTlb::translate(std::uint32_t ea, unsigned space, unsigned pid, bool problem_state,
                                Access access) const {
    const int index = search(ea, space, pid);
    if (index < 0) return {};
    return through(static_cast<unsigned>(index), ea, problem_state, access);
}

} // namespace untrap::mmu
