// SPDX-License-Identifier: GPL-2.0-only
#include "mmu/guest_tlb.h"

namespace untrap::mmu {

void GuestTlb::look_for_large(std::uint32_t key) {
    constexpr unsigned pieces = 1U << (28 - large_shift);
    std::uint8_t* const first = &large_[(key >> 28) * pieces];
    for (unsigned piece = 0; piece < pieces; ++piece)
        first[piece] = static_cast<std::uint8_t>(first[piece] & ~has_large);
    const EntrySet& set = sets_[segment_set(key)];
    for (unsigned index = 0; index < entry_count; ++index) {
        const Slot& slot = slots_[index];
        if ((set[index / 32] & slot.bit) == 0) continue;
        const unsigned begin = slot.match.key >> large_shift & (pieces - 1);
        const unsigned count = slot.page_shift > large_shift ? 1U << (slot.page_shift - large_shift) : 1;
        for (unsigned piece = begin; piece < begin + count && piece < pieces; ++piece)
            first[piece] = static_cast<std::uint8_t>(first[piece] | has_large);
    }
}

// Word 0 or the TID of an entry changed.
void GuestTlb::changed(unsigned index) {
    Slot& slot = slots_[index];
    const TlbEntry& entry = slot.entry;
    const std::uint32_t key_before = slot.match.key;
    const bool was_large = slot.page_shift > 12;
    take_out(index, slot);
    if (is_small(entry.word0)) {
        put_in_small(index, slot);
    } else {
        const unsigned shift = entry.valid() ? entry.page_shift() : 0;
        const std::uint32_t page = page_bits & (0 - (std::uint32_t{1} << shift));
        if (shift == 10) had_tiny_ = true;
        slot.page_shift = static_cast<std::uint8_t>(shift);
        slot.usual = 0;
        slot.match = {key_of(entry.word0 & page, entry.ts(), entry.tid),
                      page | (entry.tid == 0 ? context_bits & ~0xFFU : context_bits)};
        if (shift != 0) {
            sets_[shift <= 12 ? page_set(entry.word0) : segment_set(entry.word0)][index / 32] |= slot.bit;
            in_segment_[entry.word0 >> 28][index / 32] |= slot.bit;
        }
        if (shift > 12) look_for_large(slot.match.key);
    }
    if (was_large) look_for_large(key_before);
}

void GuestTlb::set(unsigned index, const TlbEntry& value) {
    index &= entry_count - 1;
    slots_[index].entry = value;
    changed(index);
    ++version_;
}

void GuestTlb::clear() {
    for (unsigned index = 0; index < entry_count; ++index) {
        slots_[index] = {};
        slots_[index].bit = 0x80000000 >> (index & 31);
    }
    sets_ = {};
    in_segment_ = {};
    for (std::uint8_t& piece : large_) piece = static_cast<std::uint8_t>(piece & is_reserved);
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
