// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "mmu/tlb_entry.h"

namespace untrap::mmu {

enum class Access : std::uint8_t { load, store, fetch };

// Outcome of translating an effective address by the guest TLB.
struct Translation {
    enum class Status : std::uint8_t { ok, miss, denied };
    Status status = Status::miss;
    std::uint8_t index = 0;     // the entry, unless miss
    bool little_endian = false; // E attribute of the page
    std::uint8_t page_shift = 0;
    std::uint64_t real = 0; // 36-bit real address, if ok
};

// The guest TLB: 64 entries as the guest sees them. Written by tlbwe word by word, exactly as the 440 does.
class GuestTlb {
  public:
    static constexpr unsigned entry_count = 64;

    GuestTlb() { clear(); }

    // A set of entries, entry 0 in the most significant bit: the first of the zeros before a one is the lowest index.
    using EntrySet = std::array<std::uint32_t, entry_count / 32>;
    static constexpr unsigned page_sets = 128;

    const TlbEntry& entry(unsigned index) const { return slots_[index & (entry_count - 1)].entry; }

    // tlbwe: writes word ws (0-2) of an entry; word 0 takes the TID from mmucr[STID]. ws = 3 is ignored. Whether that
    // changed the entry.
    bool write_word(unsigned index, unsigned ws, std::uint32_t value, std::uint32_t mmucr);
    // The same for words 1 and 2, in line.
    [[gnu::always_inline]] bool write_real_word(unsigned index, unsigned ws, std::uint32_t value) {
        TlbEntry& entry = slots_[index].entry;
        std::uint32_t& word = ws == 1 ? entry.word1 : entry.word2;
        const std::uint32_t written = value & (ws == 1 ? TlbEntry::word1_mask : TlbEntry::word2_mask);
        if (word == written) return false;
        word = written;
        ++version_;
        return true;
    }
    // The three tlbwe of an entry at once, where they make a valid page of 4 KB; the others are not for this. tid: from
    // MMUCR. For code that has no more than a few instructions.
    static constexpr bool is_small(std::uint32_t word0) { return (word0 & 0x2F0) == (TlbEntry::valid_bit | 0x10); }
    [[gnu::always_inline]] void replace_small(unsigned index, const std::uint32_t (&words)[3], std::uint32_t tid) {
        Slot& slot = slots_[index];
        slot.entry.word0 = words[0] & TlbEntry::word0_mask;
        slot.entry.word1 = words[1] & TlbEntry::word1_mask;
        slot.entry.word2 = words[2] & TlbEntry::word2_mask;
        slot.entry.tid = static_cast<std::uint8_t>(tid);
        take_out(index, slot);
        put_in_small(index, slot);
        version_ += 3;
    }
    // The tlbwe of a word 0 without the valid bit, in line: what a kernel that empties its TLB does all the time.
    static constexpr bool is_void(std::uint32_t word0) { return (word0 & TlbEntry::valid_bit) == 0; }
    [[gnu::always_inline]] void invalidate(unsigned index, std::uint32_t word0, std::uint32_t tid) {
        invalidate_uncounted(index, word0, tid);
        ++version_;
    }
    // The same for several, and then count_changes().
    [[gnu::always_inline]] void invalidate_uncounted(unsigned index, std::uint32_t word0, std::uint32_t tid) {
        Slot& slot = slots_[index];
        slot.entry.word0 = word0 & TlbEntry::word0_mask;
        slot.entry.tid = static_cast<std::uint8_t>(tid);
        if (slot.page_shift == 0) return;
        take_out(index, slot);
        const bool large = slot.page_shift > 12;
        slot.page_shift = 0;
        slot.usual = 0;
        if (large) [[unlikely]]
            look_for_large(slot.match.key);
    }
    // Whether an entry of 1 KB was there since the last clear(): several of them may share what is one page to others.
    bool had_tiny() const { return had_tiny_; }
    // tlbre: reads word ws; word 0 also gives the TID, for MMUCR[STID].
    std::uint32_t read_word(unsigned index, unsigned ws) const;
    // Sets a whole entry (reset mapping, KVM state transfer).
    void set(unsigned index, const TlbEntry& value);
    void clear();
    // Counts changes: what was looked up is good while this and the context stay.
    std::uint32_t version() const { return version_; }

    // The sets of candidates that search() looks at, for the world switch of native440: page_sets of them by bits 13-19
    // of an address, then 16 by its bits 0-3. An address whose two sets are empty is surely not translated.
    const EntrySet* candidate_sets() const { return sets_.data(); }
    // And what decides about a candidate: key and mask, at match_offset of 2^slot_shift bytes per entry.
    const void* slots() const { return slots_.data(); }
    static constexpr unsigned slot_shift = 5, match_offset = 16;
    // In them, too: a byte log2 of the page's size, 0 if the entry is of no use, and one that is then 1 for what is
    // usual, a page of 4 KB of one process in address space 0; the entry's bit in its word of a set.
    static constexpr unsigned shift_offset = 24, bit_offset = 28;
    // From candidate_sets(): the sets by 256 MB.
    static constexpr std::size_t segments_offset();
    // From there, too: a byte for each 16 MB of address space. 0: no entry of more than 4 KB lies there, nor anything
    // that was reserved.
    static constexpr std::size_t large_offset();
    static constexpr unsigned large_shift = 24;
    // And of what version() gives.
    static constexpr std::size_t version_offset();
    // Has the 16 MB of ea count as if a large entry were there, until told otherwise.
    void reserve(std::uint32_t ea, bool on = true) {
        std::uint8_t& piece = large_[ea >> large_shift];
        piece = static_cast<std::uint8_t>(on ? piece | is_reserved : piece & ~is_reserved);
    }
    // Entries that the world switch has written as late: a usual entry in no set, and with no key. As a halfword from
    // shift_offset on.
    static constexpr unsigned late = 2;
    // Those of `count` numbers that still are get what they lack. Nothing else may be called before.
    void settle(const std::uint8_t* numbers, unsigned count) {
        for (unsigned at = 0; at < count; ++at) {
            const unsigned index = numbers[at] & (entry_count - 1);
            Slot& slot = slots_[index];
            if (slot.page_shift == 0 && slot.usual == late) put_in_small(index, slot);
        }
    }
    // Changes that others have made, for version().
    void count_changes(std::uint32_t changes) { version_ += changes; }

    // The first entry that translates ea, or -1. Several matches are a programming error of the guest (the manual
    // leaves the result open); the lowest index wins here.
    int search(std::uint32_t ea, unsigned space, unsigned pid) const;
    // The same in line, for the hottest of paths.
    [[gnu::always_inline]] int find(std::uint32_t ea, unsigned space, unsigned pid) const {
        const std::uint32_t key = key_of(ea, space, pid);
        const EntrySet& page = sets_[page_set(ea)];
        const EntrySet& segment = sets_[segment_set(ea)];
        static_assert(entry_count == 64);
        const int found = first_match(page[0] | segment[0], 0, key);
        return found >= 0 ? found : first_match(page[1] | segment[1], 32, key);
    }

    // Calls action(entry) for the entries other than `index` that translate some of the page of 2^shift bytes (10 to
    // 28) at ea. A guest must not have any such, but may.
    template <typename Action>
    void for_others_in_page(unsigned index, std::uint32_t ea, unsigned shift, unsigned space, unsigned pid,
                            Action&& action) const {
        const bool small = shift <= 12;
        for_others(
            index, key_of(ea, space, pid), context_bits, shift,
            [&](unsigned word) {
                return small ? sets_[page_set(ea)][word] | sets_[segment_set(ea)][word] : in_segment_[ea >> 28][word];
            },
            action);
    }

    // Whether no entry but `index` translates any of that page, for whatever PID.
    bool is_alone_in_page(unsigned index, std::uint32_t ea, unsigned shift, unsigned space) const {
        bool alone = true;
        for_others(
            index, key_of(ea, space, 0), context_bits & ~0xFFU, shift,
            [&](unsigned word) { return in_segment_[ea >> 28][word]; }, [&](unsigned) { alone = false; });
        return alone;
    }

    Translation translate(std::uint32_t ea, unsigned space, unsigned pid, bool problem_state, Access access) const;
    // What translate() says of an address that entry `index` matches.
    [[gnu::always_inline]] Translation through(unsigned index, std::uint32_t ea, bool problem_state,
                                               Access access) const {
        const TlbEntry& found = slots_[index].entry;
        const std::uint8_t page_shift = slots_[index].page_shift;
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

    // Permission of an entry for an access.
    static bool permits(const TlbEntry& entry, bool problem_state, Access access) {
        return (entry.word2 >> (static_cast<unsigned>(access) + (problem_state ? 3 : 0)) & 1) != 0;
    }

  private:
    // What a search compares, worked out when an entry is written: the page number above the context, which takes no
    // more bits than the smallest page has offsets. They match where the difference vanishes under the mask.
    struct Match {
        std::uint32_t key = 0, mask = 0;
    };
    static constexpr std::uint32_t context_bits = 0x1FF; // TS above the PID
    static constexpr std::uint32_t page_bits = 0xFFFFFC00;
    static constexpr std::uint32_t key_of(std::uint32_t ea, unsigned space, unsigned pid) {
        return (ea & page_bits) | (space << 8 & 0x100) | (pid & 0xFF);
    }
    static_assert((context_bits & page_bits) == 0);

    // The sets that entries are in: those of up to 4 KB by the number of their 4 KB page, larger ones by the 256 MB of
    // address space that they lie in; the unusable in none. So a search looks at two sets.
    static constexpr unsigned segment_sets = 16;
    static constexpr unsigned page_set(std::uint32_t ea) { return ea >> 12 & (page_sets - 1); }
    static constexpr unsigned segment_set(std::uint32_t ea) { return page_sets + (ea >> 28); }

    struct alignas(32) Slot {
        TlbEntry entry;
        Match match;
        std::uint8_t page_shift = 0; // 0: it is of no use
        std::uint8_t usual = 0;
        std::uint32_t bit = 0; // in its word of a set
    };
    static_assert(offsetof(Slot, page_shift) == shift_offset && offsetof(Slot, usual) == shift_offset + 1);
    static_assert(offsetof(Slot, bit) == bit_offset);
    static_assert(sizeof(Slot) == 1U << slot_shift && sizeof(TlbEntry) == match_offset);

    // Out of the sets, and into those of a small page.
    [[gnu::always_inline]] void take_out(unsigned index, const Slot& slot) {
        if (slot.page_shift == 0) return;
        const std::uint32_t key = slot.match.key;
        sets_[slot.page_shift <= 12 ? page_set(key) : segment_set(key)][index / 32] &= ~slot.bit;
        in_segment_[key >> 28][index / 32] &= ~slot.bit;
    }
    [[gnu::always_inline]] void put_in_small(unsigned index, Slot& slot) {
        const std::uint32_t word0 = slot.entry.word0, tid = slot.entry.tid;
        slot.match.key = (word0 & 0xFFFFF100) | tid; // TS is where keys have it
        slot.match.mask = tid != 0 ? 0xFFFFF1FF : 0xFFFFF100;
        slot.page_shift = 12;
        slot.usual = tid != 0 && (word0 & TlbEntry::ts_bit) == 0 ? 1 : 0;
        sets_[page_set(word0)][index / 32] |= slot.bit;
        in_segment_[word0 >> 28][index / 32] |= slot.bit;
    }

    // A large entry came or went where this key is: which 16 MB of those 256 MB have any.
    [[gnu::cold]] void look_for_large(std::uint32_t key);
    // Calls action(entry) for the candidates but `index` that agree with key in these bits of its context and in the
    // number of a page of 2^shift bytes. candidates(word): of the entries from 32 * word on.
    template <typename Candidates, typename Action>
    void for_others(unsigned index, std::uint32_t key, std::uint32_t context, unsigned shift, Candidates&& candidates,
                    Action&& action) const {
        const std::uint32_t compared = context | (page_bits & (0 - (std::uint32_t{1} << shift)));
        for (unsigned word = 0; word < entry_count / 32; ++word) {
            std::uint32_t left = candidates(word);
            if (index / 32 == word) left &= ~(0x80000000 >> (index & 31));
            while (left != 0) {
                const auto leading = static_cast<unsigned>(std::countl_zero(left));
                left &= ~(0x80000000 >> leading);
                const unsigned other = word * 32 + leading;
                const Match& match = slots_[other].match;
                if (((key ^ match.key) & match.mask & compared) == 0 && slots_[other].page_shift != 0) action(other);
            }
        }
    }
    void changed(unsigned index);
    // The first entry of a set whose most significant bit is entry `first`.
    [[gnu::always_inline]] int first_match(std::uint32_t candidates, unsigned first, std::uint32_t key) const {
        while (candidates != 0) {
            const auto leading = static_cast<unsigned>(std::countl_zero(candidates));
            const Match& match = slots_[first + leading].match;
            if (((key ^ match.key) & match.mask) == 0) return static_cast<int>(first + leading);
            candidates &= ~(0x80000000 >> leading);
        }
        return -1;
    }

    std::array<Slot, entry_count> slots_{};
    std::array<EntrySet, page_sets + segment_sets> sets_{};
    std::array<EntrySet, segment_sets> in_segment_{}; // whatever its size
    std::uint32_t version_ = 0;
    // See large_offset(). Of what entries there are perhaps too many, since replace_small() does not look what it
    // replaces.
    static constexpr std::uint8_t has_large = 1, is_reserved = 2;
    std::array<std::uint8_t, 1U << (32 - large_shift)> large_{};
    bool had_tiny_ = false;
};

constexpr std::size_t GuestTlb::segments_offset() {
    return offsetof(GuestTlb, in_segment_) - offsetof(GuestTlb, sets_);
}
constexpr std::size_t GuestTlb::version_offset() { return offsetof(GuestTlb, version_) - offsetof(GuestTlb, sets_); }
constexpr std::size_t GuestTlb::large_offset() { return offsetof(GuestTlb, large_) - offsetof(GuestTlb, sets_); }

} // namespace untrap::mmu
