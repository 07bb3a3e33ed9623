// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "mmu/guest_tlb.h"
#include "mmu/tlb_entry.h"
#include "runtime/soft/mapped_code.h"
#include "runtime/soft/page_table.h"
#include "translator/x64/layout.h"

namespace untrap::runtime::soft {

// The shadow TLB of soft440: what generated code looks addresses up in. One table per data context (guest PID, PR,
// DS), one per instruction context (guest PID, PR, IS). Every entry comes from a guest TLB entry and goes exactly when
// that one changes: each guest TLB entry has a list of what was made from it.
class ShadowTlb {
  public:
    struct FetchEntry {
        std::uint32_t tag = 1; // effective page address
        std::uint8_t tlb_index = 0;
        std::uint8_t tid = 0;
        std::uint32_t first = 0, last = 0; // effective addresses the guest TLB entry covers
        // Groups of eight slots of the jump cache that may lead into this page.
        static constexpr unsigned jump_group = 8;
        std::array<std::uint64_t, (1U << x64::soft_tlb_page_shift) / 4 / jump_group / 64> jumps{};
        std::uint16_t modes = 0; // a bit for each jump cache of the context that may
        std::uint64_t real = 0;  // of the 4 KB page
    };
    static constexpr unsigned fetch_entries = 1024;

    // Generated code looks into entries, by page number alone; pages that share a slot take turns through victims.
    struct DataContext {
        explicit DataContext(std::uint8_t* space) : pages(space) {}
        static constexpr unsigned victim_count = 16;
        std::array<x64::SoftTlbEntry, x64::soft_tlb_entries> entries{};
        // A bit for each of the entries that may be in use.
        std::array<std::uint64_t, x64::soft_tlb_entries / 64> filled{};
        std::array<x64::SoftTlbEntry, victim_count> victims{};
        unsigned next_victim = 0;
        // A bit for every page among the victims, by page number modulo 64; others may be set.
        std::uint64_t victim_pages = 0;
        PageTable pages;         // what entries and victims know
        std::uint8_t number = 0; // of the context
        FaultAccount faults;
        // What the key stands for, counted: another process may have it the next time. And its faults while it is
        // young.
        std::uint64_t visit = 0;
        unsigned visit_faults = 0;
    };
    using JumpCache = std::array<x64::JumpCacheEntry, x64::jump_cache_entries>;
    struct InstructionContext {
        std::array<FetchEntry, fetch_entries> fetch{};
        std::array<std::uint64_t, fetch_entries / 64> filled{}; // a bit for each slot of fetch in use
        // One for each way to translate code of the same pages: x64::mode::fp, fe, so and fp_enables.
        static constexpr unsigned modes = 16;
        static constexpr unsigned index_of(std::uint32_t mode) { return mode >> 2 & (modes - 1); }
        std::array<std::unique_ptr<JumpCache>, modes> jumps;
        std::uint8_t number = 0; // of the context
    };

    ShadowTlb();
    ~ShadowTlb();
    ShadowTlb(const ShadowTlb&) = delete;
    ShadowTlb& operator=(const ShadowTlb&) = delete;

    // Whether pages of every data context can be mapped (PageTable::map).
    bool has_space() const { return space_ != nullptr; }

    // A guest context as a number: the PID, 0x100 for PR, 0x200 for DS or IS.
    static constexpr unsigned keys = 0x400;
    DataContext& data_context(unsigned key);
    InstructionContext& instruction_context(unsigned key);
    // Counts the contexts that came to stand for another key.
    std::uint64_t assignments() const { return assignments_; }
    // mode: x64::mode bits.
    static JumpCache& jump_cache(InstructionContext& context, std::uint32_t mode);

    // Installs the 4 KB page of ea, which guest TLB entry tlb_index maps. host: address of its first byte.
    [[gnu::always_inline]] void fill_data(DataContext& context, std::uint32_t ea, std::uint8_t* host, bool load,
                                          bool store, unsigned tlb_index) {
        const std::uint32_t page = ea & ~((1U << x64::soft_tlb_page_shift) - 1);
        const std::uint64_t addend = reinterpret_cast<std::uint64_t>(host) - page;
        x64::SoftTlbEntry& entry = context.entries[x64::soft_tlb_index(ea)];
        Made& made = made_[tlb_index];
        if (made.count == 0)
            made.pages[made.count++] = page | context.number;
        else
            note_made(tlb_index, page | context.number);
        // What another page has to give way for, or what the victims know, takes longer.
        if (entry.read_tag != no_tag || entry.write_tag != no_tag || (context.victim_pages & page_bit(page)) != 0)
            make_room(context, entry, page, addend);
        entry.addend = addend;
        if (store) entry.write_tag = page;
        if (load) entry.read_tag = page;
        add_member(context.filled, x64::soft_tlb_index(ea));
        context.pages.show(entry);
    }
    // Brings the page of ea back from the victims, if it is there with the right to load or store.
    static bool recall(DataContext& context, std::uint32_t ea, bool store);
    FetchEntry& fill_fetch(InstructionContext& context, const FetchEntry& entry);
    static FetchEntry* find_fetch(InstructionContext& context, std::uint32_t ea);
    // The jump cache of this mode may lead to code at ea, in the page.
    static void note_jump(FetchEntry& page, std::uint32_t ea, std::uint32_t mode);

    // Guest TLB entry tlb_index, which held `before`, changed.
    void drop(unsigned tlb_index, const mmu::TlbEntry& before) {
        if (used(tlb_index)) drop_made(tlb_index, before);
    }
    // Whether that is one page of data at most.
    bool is_single(unsigned tlb_index) const {
        const Made& made = made_[tlb_index];
        return made.count == 0 || (made.count == 1 && !made.many && (made.pages[0] & Made::is_fetch) == 0);
    }
    // drop() in line, where it is one.
    [[gnu::always_inline]] void drop_single(unsigned tlb_index) {
        Made& made = made_[tlb_index];
        made.count = 0;
        drop_data(*data_[made.pages[0] & (context_count - 1)], made.pages[0] & ~((1U << x64::soft_tlb_page_shift) - 1));
    }
    // Whether something was made from it.
    bool used(unsigned tlb_index) const { return made_[tlb_index].count != 0; }
    // No context may store to this host page without the slow path any more.
    void write_protect(const std::uint8_t* host_page);
    // The same for every page.
    void write_protect_all();
    void clear();
    // No jump cache leads from ea to this code any more.
    void forget_jump(std::uint32_t ea, const std::uint8_t* code);
    // Generated code is gone: every jump target is.
    void clear_jumps();

  private:
    static constexpr unsigned context_count = 32;

    // Which context stands for which key; the one used longest ago gives way.
    class Contexts {
      public:
        struct Found {
            unsigned number;
            bool fresh; // it stood for another key
        };
        Found assign(unsigned key);

      private:
        static constexpr std::uint8_t none = 0xFF;
        static constexpr unsigned no_key = keys;
        std::array<std::uint8_t, keys> number_of_ = [] {
            std::array<std::uint8_t, keys> empty{};
            empty.fill(none);
            return empty;
        }();
        std::array<unsigned, context_count> key_of_ = [] {
            std::array<unsigned, context_count> empty{};
            empty.fill(no_key);
            return empty;
        }();
        std::array<std::uint64_t, context_count> used_{};
        std::uint64_t clock_ = 0;
    };

    // What was made from a guest TLB entry: pages, and the context in their low bits. Nothing in it may be there any
    // more, but all that is there is in it.
    struct Made {
        static constexpr unsigned limit = 7;
        static constexpr std::uint32_t is_fetch = 0x800;
        std::uint8_t count = 0;
        bool many = false; // more than fit
        std::array<std::uint32_t, limit> pages{};
    };
    void note_made(unsigned tlb_index, std::uint32_t what);
    // Makes entry, the place of page, free for it: the present one goes to the victims. Rights that the page has by
    // this addend already stay.
    static void make_room(DataContext& context, x64::SoftTlbEntry& entry, std::uint32_t page, std::uint64_t addend);

    static constexpr std::uint32_t no_tag = x64::SoftTlbEntry{}.read_tag;
    static constexpr std::uint64_t page_bit(std::uint32_t page) {
        return std::uint64_t{1} << (page >> x64::soft_tlb_page_shift & 63);
    }
    static void note_victims(DataContext& context);
    template <std::size_t words>
    static void add_member(std::array<std::uint64_t, words>& set, unsigned number) {
        set[number / 64] |= std::uint64_t{1} << (number % 64);
    }

    // Calls action(entry) for all that may be in use, victims too.
    template <typename Action>
    static void for_data_entries(DataContext& context, Action&& action);
    template <typename Change>
    void change_data_entries(Change&& change);
    static void empty(DataContext& context);
    [[gnu::always_inline]] static void drop_data(DataContext& context, std::uint32_t page) {
        x64::SoftTlbEntry& entry = context.entries[x64::soft_tlb_index(page)];
        context.pages.forget_page(page);
        if (entry.read_tag == page || entry.write_tag == page) entry = {};
        if ((context.victim_pages & page_bit(page)) != 0) drop_victim(context, page);
    }
    static void drop_victim(DataContext& context, std::uint32_t page);
    static void drop_fetch(InstructionContext& context, FetchEntry& entry);
    void drop_made(unsigned tlb_index, const mmu::TlbEntry& before);
    void drop_range(const mmu::TlbEntry& before);
    static void drop_jumps(InstructionContext& context, FetchEntry& page);
    template <typename Action>
    static void for_filled(InstructionContext& context, Action&& action);
    static void empty(InstructionContext& context);

    std::uint8_t* space_ = nullptr; // PageTable::bytes for each data context, if the host has as much
    Contexts data_keys_, instruction_keys_;
    std::uint64_t assignments_ = 0;
    std::array<std::unique_ptr<DataContext>, context_count> data_;
    std::array<std::unique_ptr<InstructionContext>, context_count> instructions_;
    std::array<Made, mmu::GuestTlb::entry_count> made_;
};

} // namespace untrap::runtime::soft
