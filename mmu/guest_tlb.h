// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
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

    const TlbEntry& entry(unsigned index) const { return entries_[index & (entry_count - 1)]; }

    // tlbwe: writes word ws (0-2) of an entry; word 0 takes the TID from mmucr[STID]. ws = 3 is ignored.
    void write_word(unsigned index, unsigned ws, std::uint32_t value, std::uint32_t mmucr);
    // tlbre: reads word ws; word 0 also gives the TID, for MMUCR[STID].
    std::uint32_t read_word(unsigned index, unsigned ws) const;
    // Sets a whole entry (reset mapping, KVM state transfer).
    void set(unsigned index, const TlbEntry& value);
    void clear();
    // Counts changes: what was looked up is good while this and the context stay.
    std::uint32_t version() const { return version_; }

    // The first entry that translates ea, or -1. Several matches are a programming error of the guest (the manual
    // leaves the result open); the lowest index wins here.
    int search(std::uint32_t ea, unsigned space, unsigned pid) const;

    Translation translate(std::uint32_t ea, unsigned space, unsigned pid, bool problem_state, Access access) const;

    // Permission of an entry for an access.
    static bool permits(const TlbEntry& entry, bool problem_state, Access access);

  private:
    // What a search compares, worked out when an entry is written. An effective address and a context (TS above the
    // PID) match where both differences vanish under their masks.
    struct Match {
        std::array<std::uint32_t, entry_count> page{}, page_mask{}, context{}, context_mask{};
    };
    static constexpr std::uint32_t no_context = 0xFFFF;
    static constexpr std::uint32_t context_of(unsigned space, unsigned pid) { return space << 8 | (pid & 0xFF); }
    void changed(unsigned index);

    std::array<TlbEntry, entry_count> entries_{};
    Match match_ = nothing_matches();
    std::uint32_t version_ = 0;

    static constexpr Match nothing_matches() {
        Match match;
        match.context.fill(no_context);
        match.context_mask.fill(no_context);
        return match;
    }
};

} // namespace untrap::mmu
