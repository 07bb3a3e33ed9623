// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "mmu/shadow_pids.h"
#include "mmu/tlb_entry.h"
#include "translator/x64/layout.h"

namespace untrap::runtime::soft {

// The shadow TLB of soft440: what generated code looks addresses up in. One table per data context (guest PID, PR,
// DS), one per instruction context (guest PID, PR, IS and the translation mode). Every entry comes from a guest TLB
// entry and goes exactly when that one changes.
class ShadowTlb {
  public:
    struct FetchEntry {
        std::uint32_t tag = 1; // effective page address
        std::uint8_t tlb_index = 0;
        std::uint8_t tid = 0;
        std::uint32_t first = 0, last = 0; // effective addresses the guest TLB entry covers
        std::uint64_t real = 0;            // of the 4 KB page
    };
    static constexpr unsigned fetch_entries = 256;

    // Generated code looks into entries, by page number alone; pages that share a slot take turns through victims.
    struct DataContext {
        static constexpr unsigned victim_count = 16;
        std::array<x64::SoftTlbEntry, x64::soft_tlb_entries> entries{};
        std::array<x64::SoftTlbEntry, victim_count> victims{};
        unsigned next_victim = 0;
        bool has_victims = false;
        std::uint8_t pid = 0; // guest PID
    };
    struct InstructionContext {
        std::array<x64::JumpCacheEntry, x64::jump_cache_entries> jumps{};
        std::array<FetchEntry, fetch_entries> fetch{};
        std::uint8_t pid = 0; // guest PID
    };

    ShadowTlb();

    // The guest PID is the low byte of a key.
    DataContext& data_context(std::uint32_t key);
    InstructionContext& instruction_context(std::uint32_t key);

    // Installs the 4 KB page of ea. host: address of its first byte.
    static void fill_data(DataContext& context, std::uint32_t ea, std::uint8_t* host, bool store);
    // Brings the page of ea back from the victims, if it is there with the right to load or store.
    static bool recall(DataContext& context, std::uint32_t ea, bool store);
    static void fill_fetch(InstructionContext& context, const FetchEntry& entry);
    static FetchEntry* find_fetch(InstructionContext& context, std::uint32_t ea);

    // The guest TLB entry that held `before` changed.
    void drop(const mmu::TlbEntry& before);
    // No context may store to this host page without the slow path any more.
    void write_protect(const std::uint8_t* host_page);
    // The same for every page.
    void write_protect_all();
    void clear();
    // Generated code is gone: every jump target is.
    void clear_jumps();

  private:
    template <typename Change>
    void change_data_entries(Change&& change);
    static void drop_jumps(InstructionContext& context, std::uint32_t page);

    static constexpr unsigned data_contexts = 32;
    static constexpr unsigned instruction_contexts = 32;
    mmu::ShadowPids<data_contexts> data_pids_;
    mmu::ShadowPids<instruction_contexts> instruction_pids_;
    std::array<std::unique_ptr<DataContext>, data_contexts> data_;
    std::array<std::unique_ptr<InstructionContext>, instruction_contexts> instructions_;
};

} // namespace untrap::runtime::soft
