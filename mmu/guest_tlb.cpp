// SPDX-License-Identifier: GPL-2.0-only
#include "mmu/guest_tlb.h"

#include <bit>

namespace untrap::mmu {

// Word 0 or the TID of an entry changed.
void GuestTlb::changed(unsigned index) {
    Slot& slot = slots_[index];
    const TlbEntry& entry = slot.entry;
    const unsigned shift = entry.valid() ? entry.page_shift() : 0;
    const std::uint32_t page = page_bits & (0 - (std::uint32_t{1} << shift));
    const unsigned set = shift == 0 ? set_of_nothing : shift <= 12 ? page_set(entry.word0) : segment_set(entry.word0);
    if (shift == 10) had_tiny_ = true;
    slot.page_shift = static_cast<std::uint8_t>(shift);
    slot.match = {key_of(entry.word0 & page, entry.ts(), entry.tid),
                  page | (entry.tid == 0 ? context_bits & ~0xFFU : context_bits)};
    move(index, slot, set, shift == 0 ? no_segment : entry.word0 >> 28);
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
    had_tiny_ = false;
    ++version_;
}

bool GuestTlb::write_word(unsigned index, unsigned ws, std::uint32_t value, std::uint32_t mmucr) {
    index &= entry_count - 1;
    TlbEntry& entry = slots_[index].entry;
    const auto write = [](std::uint32_t& word, std::uint32_t written) {
        const bool differs = word != written;
        word = written;
        return differs;
    };
    bool differs = false;
    switch (ws) {
    case 0: {
        const auto tid = static_cast<std::uint8_t>(mmucr & 0xFF);
        differs = write(entry.word0, value & TlbEntry::word0_mask) || entry.tid != tid;
        entry.tid = tid;
        if (differs) changed(index);
        break;
    }
    case 1: differs = write(entry.word1, value & TlbEntry::word1_mask); break;
    case 2: differs = write(entry.word2, value & TlbEntry::word2_mask); break;
    default: break;
    }
    if (differs) ++version_;
    return differs;
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

// The first entry of a set whose most significant bit is entry `first`.
inline int GuestTlb::first_match(std::uint32_t candidates, unsigned first, std::uint32_t key) const {
    while (candidates != 0) {
        const auto leading = static_cast<unsigned>(std::countl_zero(candidates));
        const Match& match = slots_[first + leading].match;
        if (((key ^ match.key) & match.mask) == 0) return static_cast<int>(first + leading);
        candidates &= ~(0x80000000 >> leading);
    }
    return -1;
}

int GuestTlb::search(std::uint32_t ea, unsigned space, unsigned pid) const {
    const std::uint32_t key = key_of(ea, space, pid);
    const EntrySet& page = sets_[page_set(ea)];
    const EntrySet& segment = sets_[segment_set(ea)];
    static_assert(entry_count == 64);
    const int found = first_match(page[0] | segment[0], 0, key);
    return found >= 0 ? found : first_match(page[1] | segment[1], 32, key);
}

bool GuestTlb::permits(const TlbEntry& entry, bool problem_state, Access access) {
    return (entry.word2 >> (static_cast<unsigned>(access) + (problem_state ? 3 : 0)) & 1) != 0;
}

static_assert(TlbEntry::sr == 1U << static_cast<unsigned>(Access::load) &&
              TlbEntry::sw == 1U << static_cast<unsigned>(Access::store) &&
              TlbEntry::sx == 1U << static_cast<unsigned>(Access::fetch));
static_assert(TlbEntry::sr << 3 == TlbEntry::ur && TlbEntry::sw << 3 == TlbEntry::uw &&
              TlbEntry::sx << 3 == TlbEntry::ux);

Translation GuestTlb::translate(std::uint32_t ea, unsigned space, unsigned pid, bool problem_state,
                                Access access) const {
    const int index = search(ea, space, pid);
    if (index < 0) return {};
    const TlbEntry& found = slots_[static_cast<unsigned>(index)].entry;
    const std::uint8_t page_shift = slots_[static_cast<unsigned>(index)].page_shift;
    const std::uint32_t offset_mask = (std::uint32_t{1} << page_shift) - 1;
    Translation result;
    result.index = static_cast<std::uint8_t>(index);
    result.little_endian = found.little_endian();
    result.page_shift = page_shift;
    result.status = permits(found, problem_state, access) ? Translation::Status::ok : Translation::Status::denied;
    result.real =
        std::uint64_t{found.word1 & 0xF} << 32 | ((found.word1 & 0xFFFFFC00 & ~offset_mask) | (ea & offset_mask));
    return result;
}

} // namespace untrap::mmu
