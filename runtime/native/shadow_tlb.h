// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "mmu/tlb_entry.h"
#include "runtime/native/hardware.h"
#include "runtime/native/world_layout.h"

namespace untrap::runtime::native {

class ShadowContexts;

// A set of hardware TLB entries, entry 0 in the most significant bit.
class SlotSet {
  public:
    void add(unsigned slot) { words_[slot >> 5] |= bit(slot); }
    void remove(unsigned slot) { words_[slot >> 5] &= ~bit(slot); }
    template <typename Condition>
    bool any_of(Condition&& condition) const {
        for (unsigned word = 0; word < 2; ++word) {
            for (std::uint32_t left = words_[word]; left != 0;) {
                const auto lead = static_cast<unsigned>(__builtin_clz(left));
                left &= ~(0x80000000U >> lead);
                if (condition(word * 32 + lead)) return true;
            }
        }
        return false;
    }
    bool has(unsigned slot) const { return (words_[slot >> 5] & bit(slot)) != 0; }
    bool empty() const { return (words_[0] | words_[1]) == 0; }
    // Takes the first one out, other than `spare`; slot_limit if there is none.
    static constexpr unsigned slot_limit = 64;
    unsigned take(unsigned spare) {
        for (unsigned word = 0; word < 2; ++word) {
            const std::uint32_t left = words_[word] & ~(spare >> 5 == word ? bit(spare) : 0);
            if (left == 0) continue;
            const auto lead = static_cast<unsigned>(__builtin_clz(left));
            words_[word] &= ~(0x80000000U >> lead);
            return word * 32 + lead;
        }
        return slot_limit;
    }
    // The one that is in it, if it is the only one; slot_limit: none or several.
    [[gnu::always_inline]] unsigned only() const {
        const std::uint32_t low = words_[1], one = words_[0] | low;
        if (one == 0 || (one & (one - 1)) != 0 || (words_[0] != 0 && low != 0)) return slot_limit;
        return static_cast<unsigned>(__builtin_clz(one)) + (low != 0 ? 32 : 0);
    }
    // Calls action(slot) for each and leaves the set empty.
    template <typename Action>
    void drain(Action&& action) {
        for (unsigned word = 0; word < 2; ++word) {
            std::uint32_t left = words_[word];
            words_[word] = 0;
            while (left != 0) {
                const auto lead = static_cast<unsigned>(__builtin_clz(left));
                left &= ~(0x80000000U >> lead);
                action(word * 32 + lead);
            }
        }
    }

  private:
    static constexpr std::uint32_t bit(unsigned slot) { return 0x80000000U >> (slot & 31); }
    std::array<std::uint32_t, 2> words_{};
};

// The hardware TLB as far as guests use it, one for the machine (the 440 is a uniprocessor). Guest mappings are in
// address space 1, so that they live beside the host's, which are in space 0. The host replaces any entry below its
// pinned ones when it likes, as this class does: what is noted here may be gone from the TLB, but nothing of a guest is
// in the TLB that is not noted here. What the mappings are nobody keeps but the TLB itself. Called with interrupts off.
class ShadowTlb {
  public:
    static constexpr unsigned slot_count = 64;
    static constexpr unsigned pid_count = 256; // 0 is never used: TID 0 would match every process

    // slots: entries below this number may be replaced. The others are the host's pinned ones.
    void start(unsigned slots);
    unsigned slots() const { return slots_; }

    // A mapping of a guest. guest_index: the guest TLB entry it comes from, or one of the numbers above those for what
    // is mapped beside (ShadowContexts::own_page and on).
    struct Mapping {
        std::uint32_t word0, word1, word2; // as the hardware takes them; word0 with TS
        std::uint8_t pid;
        std::uint8_t guest_index;
    };
    // Writes a mapping over the next entry, but not over entry `spare` (the page being executed). Returns the slot.
    unsigned insert(ShadowContexts& owner, const Mapping& mapping, unsigned spare);
    // Takes a mapping of this owner out, if it is still there.
    void drop(ShadowContexts& owner, unsigned slot);

    // A shadow PID for a context of owner; another context may lose it, its mappings with it.
    std::uint8_t allocate_pid(ShadowContexts& owner, std::uint16_t key);
    void release_pid(std::uint8_t pid);
    // What maps any of these host real addresses.
    void drop_real(ShadowContexts& owner, std::uint64_t real, std::uint64_t bytes);
    // All shadow PIDs of an owner, and with them all its mappings.
    void release(const ShadowContexts& owner);

    // The context that a shadow PID stands for.
    std::uint16_t key_of(std::uint32_t pid) const { return pids_[pid & (pid_count - 1)].key; }

    bool owned(const ShadowContexts& owner, unsigned slot) const { return entries_[slot].owner == &owner; }
    // Address of what is noted of slot 0, for the world switch.
    std::uint32_t entries() const {
        return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(entries_.data()));
    }

    std::uint64_t inserted = 0, dropped = 0, large = 0, recycled = 0;

  private:
    friend class ShadowContexts;
    struct alignas(8) Entry {
        ShadowContexts* owner = nullptr;
        std::uint8_t guest_index = 0; // as in Mapping
    };
    struct Pid {
        ShadowContexts* owner = nullptr;
        std::uint16_t key = 0;
    };
    // The entry to write next, but not `spare`: one that was taken out comes first; the host may have used it since,
    // which costs it no more than any other.
    [[gnu::always_inline]] unsigned choose(unsigned spare) {
        if (!free_.empty()) {
            const unsigned slot = free_.take(spare);
            if (slot != SlotSet::slot_limit) return slot;
        }
        const unsigned next = next_ != spare ? next_ : next_ + 1 < slots_ ? next_ + 1 : 0;
        next_ = next + 1 < slots_ ? next + 1 : 0;
        return next;
    }
    void forget(unsigned slot);

    static_assert(offsetof(Entry, guest_index) == SHADOW_SLOT_INDEX || sizeof(void*) != 4);
    static_assert(sizeof(Entry) == 1U << SHADOW_SLOT_SHIFT || sizeof(void*) != 4);

    std::array<Entry, slot_count> entries_{};
    std::array<Pid, pid_count> pids_{};
    SlotSet free_;
    unsigned slots_ = 0;
    unsigned next_ = 0;
    unsigned next_pid_ = 1;
    static constexpr bool is_laid_out();
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof" // no bases here: GCC knows the offsets
constexpr bool ShadowTlb::is_laid_out() {
    constexpr std::size_t first = offsetof(ShadowTlb, entries_);
    return offsetof(ShadowTlb, free_) - first == SHADOW_FREE && offsetof(ShadowTlb, slots_) - first == SHADOW_LIMIT &&
           offsetof(ShadowTlb, next_) - first == SHADOW_NEXT;
}
#pragma GCC diagnostic pop

// One vCPU's part of the shadow TLB: its contexts and which slots hold what.
//
// A context is what decides which guest mappings are visible and with which permissions: guest PID, address space and
// privilege. Each has a shadow PID of its own, so that neither a system call nor a guest PID change (Linux writes PID
// around every access to user memory to protect itself) costs more than a write of the PID register.
class ShadowContexts {
  public:
    static constexpr unsigned key_count = 1024;
    // Numbers above those of guest TLB entries.
    static constexpr unsigned own_page = 64, arena = 65, index_count = 66;
    static constexpr std::uint16_t key(unsigned pid, bool space, bool problem_state) {
        return static_cast<std::uint16_t>((pid & 0xFF) << 2 | (space ? 2U : 0U) | (problem_state ? 1U : 0U));
    }

    // By the numbers above, for the world switch: the slot of the one mapping that there is; no_link: there is none;
    // other_link: several, or not one that may be rewritten without anybody being told. The world switch keeps them,
    // too, but where it cannot tell it makes other_link of them.
    using Links = std::array<std::uint8_t, (index_count + 3) / 4 * 4>;
    static constexpr std::uint8_t no_link = ShadowTlb::slot_count, other_link = no_link + 1;

    ShadowContexts(ShadowTlb& tlb, Links& links) : tlb_(tlb), links_(links) {
        for (unsigned index = 0; index < links_.size(); ++index) link(index);
    }
    // For the world switch: where the sets of slots are.
    std::uint32_t sets_address() const {
        return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(slots_.data()));
    }

    // The shadow PID of a context.
    std::uint8_t pid(std::uint16_t key) {
        const std::uint8_t known = pids_[key];
        return known != 0 ? known : tlb_.allocate_pid(*this, key);
    }
    std::uint8_t known_pid(std::uint16_t key) const { return pids_[key]; } // 0: it has none
    // The context of the shadow PID that the CPU ran this vCPU with.
    std::uint16_t key_of(std::uint32_t shadow_pid) const { return tlb_.key_of(shadow_pid); }
    // Of the table of shadow PIDs by key, one byte each, 0 for none yet: for the world switch.
    std::uint32_t table_address() const {
        return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(pids_.data()));
    }
    // Maps for the context of `pid`. spare: see ShadowTlb::insert.
    unsigned insert(const ShadowTlb::Mapping& mapping, unsigned spare);
    // The guest TLB entry changed: what was made from it goes. Free when it was never used.
    void drop_guest_entry(unsigned index) {
        const std::uint8_t slot = links_[index];
        if (slot < no_link) {
            drop_linked(index, slot);
            ++tlb_.dropped;
        } else if (slot != no_link && !slots_[index].empty())
            drop_slots(index);
    }
    // The same for what the links say is the entry's only mapping, which is count()'s to count.
    [[gnu::always_inline]] void drop_linked(unsigned index, unsigned slot) {
        if (hardware::invalidate_guest_tlb(slot)) tlb_.free_.add(slot);
        tlb_.entries_[slot].owner = nullptr;
        slots_[index] = {};
        links_[index] = no_link;
        of_process.remove(slot);
    }
    // insert(), for a guest entry that was rewritten: in place of the one mapping that was made from it before, if
    // there is one. False, with nothing done, if there are several. write(mapping, slot): the hardware.
    template <typename Write>
    [[gnu::always_inline]] bool replace(const ShadowTlb::Mapping& mapping, unsigned spare, unsigned& slot,
                                        Write&& write) {
        SlotSet& from_entry = slots_[mapping.guest_index];
        if (from_entry.empty()) {
            slot = tlb_.choose(spare);
            tlb_.forget(slot);
            tlb_.entries_[slot].owner = this;
            from_entry.add(slot);
            link(mapping.guest_index);
        } else {
            // The host may have it by now, as it may have any that insert() takes.
            slot = from_entry.only();
            if (slot == SlotSet::slot_limit) return false;
        }
        write(mapping, slot);
        tlb_.entries_[slot].guest_index = mapping.guest_index;
        ++tlb_.inserted;
        return true;
    }
    // Guest TLB entries that something else depends on.
    void watch(unsigned index) {
        watched_.add(index);
        link(index);
    }
    bool watches(unsigned index) const { return watched_.has(index); }
    void watch_nothing() {
        watched_.drain([&](unsigned index) { link(index); });
    }
    // Mappings of the process whose memory the kernel uses, in the kernel's context. They are to go together.
    SlotSet of_process;
    void drop_process();
    bool uses_guest_entry(unsigned index) const { return !slots_[index].empty(); }
    // Whether ea is still mapped there.
    bool maps_at(unsigned slot, std::uint32_t ea) const;
    void drop(unsigned slot) { tlb_.drop(*this, slot); }
    void drop_real(std::uint64_t real, std::uint64_t bytes) { tlb_.drop_real(*this, real, bytes); }
    // Mappings that the world switch has written and dropped.
    void count(std::uint32_t written, std::uint32_t dropped) {
        tlb_.inserted += written;
        tlb_.dropped += dropped;
    }
    // Everything goes, shadow PIDs too.
    void clear() { tlb_.release(*this); }

  private:
    friend class ShadowTlb;
    static_assert(ShadowTlb::is_laid_out() || sizeof(void*) != 4);
    void drop_slots(unsigned index);
    [[gnu::always_inline]] void link(unsigned index) {
        std::uint8_t value = other_link;
        if (index < own_page && !watched_.has(index)) {
            const unsigned slot = slots_[index].only();
            if (slot != SlotSet::slot_limit)
                value = static_cast<std::uint8_t>(slot);
            else if (slots_[index].empty())
                value = no_link;
        }
        links_[index] = value;
    }

    ShadowTlb& tlb_;
    Links& links_;
    SlotSet watched_;
    std::array<std::uint8_t, key_count> pids_{};
    std::array<SlotSet, index_count> slots_{}; // by guest TLB index, and what is above those
};

// The note of what a slot holds goes; the hardware is the caller's.
[[gnu::always_inline]] inline void ShadowTlb::forget(unsigned slot) {
    Entry& entry = entries_[slot];
    if (entry.owner == nullptr) return;
    entry.owner->slots_[entry.guest_index].remove(slot);
    entry.owner->link(entry.guest_index);
    entry.owner->of_process.remove(slot);
    entry.owner = nullptr;
}

} // namespace untrap::runtime::native
