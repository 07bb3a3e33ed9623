// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/shadow_tlb.h"

#include <sys/mman.h>

#include <bit>
#include <utility>

namespace untrap::runtime::soft {

namespace {

constexpr std::uint32_t page_bytes = 1U << x64::soft_tlb_page_shift;
constexpr std::uint32_t page_mask = ~(page_bytes - 1);

unsigned fetch_index(std::uint32_t ea) { return ea >> x64::soft_tlb_page_shift & (ShadowTlb::fetch_entries - 1); }

bool holds(const x64::SoftTlbEntry& entry, std::uint32_t page) {
    return entry.read_tag == page || entry.write_tag == page;
}

// Calls action(number) for the members of a set of bits, which may change meanwhile.
template <std::size_t words, typename Action>
void for_members(const std::array<std::uint64_t, words>& set, Action&& action) {
    for (unsigned word = 0; word < words; ++word)
        for (std::uint64_t bits = set[word]; bits != 0; bits &= bits - 1)
            action(word * 64 + static_cast<unsigned>(std::countr_zero(bits)));
}

} // namespace

ShadowTlb::ShadowTlb() {
    // For all at once: code that relies on it runs in contexts that are still to come. There may be a limit.
    void* space =
        mmap(nullptr, context_count * PageTable::bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space != MAP_FAILED) space_ = static_cast<std::uint8_t*>(space);
}

ShadowTlb::~ShadowTlb() {
    data_ = {};
    if (space_ != nullptr) munmap(space_, context_count * PageTable::bytes);
}

// -- contexts --------------------------------------------------------------------------------------------------------

ShadowTlb::Contexts::Found ShadowTlb::Contexts::assign(unsigned key) {
    unsigned number = number_of_[key];
    const bool fresh = number == none;
    if (fresh) {
        number = 0;
        for (unsigned other = 1; other < context_count; ++other)
            if (used_[other] < used_[number]) number = other;
        if (key_of_[number] != no_key) number_of_[key_of_[number]] = none;
        key_of_[number] = key;
        number_of_[key] = static_cast<std::uint8_t>(number);
    }
    used_[number] = ++clock_;
    return {number, fresh};
}

ShadowTlb::DataContext& ShadowTlb::data_context(unsigned key) {
    const auto [number, fresh] = data_keys_.assign(key);
    if (fresh) ++assignments_;
    std::unique_ptr<DataContext>& context = data_[number];
    if (!context)
        context = std::make_unique<DataContext>(has_space() ? space_ + number * PageTable::bytes : nullptr);
    else if (fresh)
        empty(*context);
    context->number = static_cast<std::uint8_t>(number);
    if (fresh) context->visit = assignments_;
    return *context;
}

ShadowTlb::InstructionContext& ShadowTlb::instruction_context(unsigned key) {
    const auto [number, fresh] = instruction_keys_.assign(key);
    if (fresh) ++assignments_;
    std::unique_ptr<InstructionContext>& context = instructions_[number];
    if (!context)
        context = std::make_unique<InstructionContext>();
    else if (fresh)
        empty(*context);
    context->number = static_cast<std::uint8_t>(number);
    return *context;
}

ShadowTlb::JumpCache& ShadowTlb::jump_cache(InstructionContext& context, std::uint32_t mode) {
    static_assert(x64::mode::fp == 4 && x64::mode::fe == 8 && x64::mode::so == 16 && x64::mode::fp_enables == 32);
    std::unique_ptr<JumpCache>& jumps = context.jumps[InstructionContext::index_of(mode)];
    if (!jumps) jumps = std::make_unique<JumpCache>();
    return *jumps;
}

// -- what comes from a guest TLB entry -------------------------------------------------------------------------------

void ShadowTlb::note_made(unsigned tlb_index, std::uint32_t what) {
    Made& made = made_[tlb_index];
    if (made.many) return;
    for (unsigned i = 0; i < made.count; ++i)
        if (made.pages[i] == what) return;
    if (made.count == Made::limit)
        made.many = true;
    else
        made.pages[made.count++] = what;
}

bool ShadowTlb::recall(DataContext& context, std::uint32_t ea, bool store) {
    const std::uint32_t page = ea & page_mask;
    if ((context.victim_pages & page_bit(page)) == 0) return false;
    for (x64::SoftTlbEntry& victim : context.victims) {
        if ((store ? victim.write_tag : victim.read_tag) != page) continue;
        const unsigned index = x64::soft_tlb_index(ea);
        std::swap(victim, context.entries[index]);
        add_member(context.filled, index);
        note_victims(context);
        return true;
    }
    return false;
}

void ShadowTlb::note_victims(DataContext& context) {
    context.victim_pages = 0;
    for (const x64::SoftTlbEntry& victim : context.victims) {
        if (victim.read_tag != no_tag) context.victim_pages |= page_bit(victim.read_tag);
        if (victim.write_tag != no_tag) context.victim_pages |= page_bit(victim.write_tag);
    }
}

void ShadowTlb::make_room(DataContext& context, x64::SoftTlbEntry& entry, std::uint32_t page, std::uint64_t addend) {
    if (!holds(entry, page)) {
        x64::SoftTlbEntry known{no_tag, no_tag, addend};
        x64::SoftTlbEntry* place = nullptr;
        // A page is never in both places: what the victims know of it moves here.
        if ((context.victim_pages & page_bit(page)) != 0) {
            for (x64::SoftTlbEntry& victim : context.victims) {
                if (!holds(victim, page)) continue;
                known = victim;
                place = &victim;
            }
        }
        if (entry.read_tag != no_tag || entry.write_tag != no_tag) {
            if (place == nullptr) {
                place = &context.victims[context.next_victim];
                context.next_victim = (context.next_victim + 1) % DataContext::victim_count;
            }
            context.pages.forget(*place);
            *place = entry;
            note_victims(context);
        } else if (place != nullptr) {
            *place = {};
        }
        entry = known;
    }
    if (entry.addend != addend) entry = {no_tag, no_tag, addend};
}

ShadowTlb::FetchEntry& ShadowTlb::fill_fetch(InstructionContext& context, const FetchEntry& entry) {
    const unsigned index = fetch_index(entry.tag);
    FetchEntry& slot = context.fetch[index];
    // Jump targets are good while their page is in the fetch table.
    if (slot.tag != no_tag)
        drop_jumps(context, slot);
    else
        add_member(context.filled, index);
    slot = entry;
    note_made(entry.tlb_index, entry.tag | context.number | Made::is_fetch);
    return slot;
}

ShadowTlb::FetchEntry* ShadowTlb::find_fetch(InstructionContext& context, std::uint32_t ea) {
    FetchEntry& slot = context.fetch[fetch_index(ea)];
    return slot.tag == (ea & page_mask) ? &slot : nullptr;
}

void ShadowTlb::note_jump(FetchEntry& page, std::uint32_t ea, std::uint32_t mode) {
    const std::uint32_t group = (ea & ~page_mask) / 4 / FetchEntry::jump_group;
    add_member(page.jumps, group);
    page.modes |= static_cast<std::uint16_t>(1U << InstructionContext::index_of(mode));
}

// -- dropping --------------------------------------------------------------------------------------------------------

static_assert(x64::jump_cache_entries % (page_bytes / 4) == 0, "the slots of a page are contiguous");

void ShadowTlb::drop_jumps(InstructionContext& context, FetchEntry& page) {
    static_assert(InstructionContext::modes <= 16);
    const unsigned first = x64::jump_cache_index(page.tag);
    for (unsigned modes = std::exchange(page.modes, std::uint16_t{0}); modes != 0; modes &= modes - 1) {
        JumpCache& jumps = *context.jumps[static_cast<unsigned>(std::countr_zero(modes))];
        for_members(page.jumps, [&](unsigned group) {
            for (unsigned i = 0; i < FetchEntry::jump_group; ++i) {
                x64::JumpCacheEntry& entry = jumps[first + group * FetchEntry::jump_group + i];
                if ((entry.ea & page_mask) == page.tag) entry = {};
            }
        });
    }
    page.jumps = {};
}

void ShadowTlb::drop_victim(DataContext& context, std::uint32_t page) {
    for (x64::SoftTlbEntry& victim : context.victims)
        if (holds(victim, page)) victim = {};
}

void ShadowTlb::drop_fetch(InstructionContext& context, FetchEntry& entry) {
    const unsigned index = fetch_index(entry.tag);
    drop_jumps(context, entry);
    entry = {};
    context.filled[index / 64] &= ~(std::uint64_t{1} << (index % 64));
}

template <typename Action>
void ShadowTlb::for_filled(InstructionContext& context, Action&& action) {
    for_members(context.filled, [&](unsigned index) { action(context.fetch[index]); });
}

void ShadowTlb::drop_made(unsigned tlb_index, const mmu::TlbEntry& before) {
    Made& made = made_[tlb_index];
    if (made.many) {
        drop_range(before);
    } else {
        for (unsigned i = 0; i < made.count; ++i) {
            const std::uint32_t page = made.pages[i] & page_mask;
            const unsigned number = made.pages[i] & (context_count - 1);
            if ((made.pages[i] & Made::is_fetch) == 0) {
                drop_data(*data_[number], page);
            } else if (FetchEntry* entry = find_fetch(*instructions_[number], page)) {
                drop_fetch(*instructions_[number], *entry);
            }
        }
    }
    made.count = 0;
    made.many = false;
}

// Too much was made from the entry to know it all: every table is looked through for its pages.
void ShadowTlb::drop_range(const mmu::TlbEntry& before) {
    const std::uint32_t mask = before.page_mask() & page_mask, first = before.epn() & mask;
    change_data_entries([mask, first](x64::SoftTlbEntry& entry) {
        const bool read = entry.read_tag != no_tag && (entry.read_tag & mask) == first;
        const bool write = entry.write_tag != no_tag && (entry.write_tag & mask) == first;
        if (read || write) entry = {};
        return read || write;
    });
    for (auto& context : instructions_) {
        if (!context) continue;
        for_filled(*context, [&](FetchEntry& entry) {
            if ((entry.tag & mask) == first) drop_fetch(*context, entry);
        });
    }
}

template <typename Action>
void ShadowTlb::for_data_entries(DataContext& context, Action&& action) {
    for_members(context.filled, [&](unsigned index) { action(context.entries[index]); });
    for (x64::SoftTlbEntry& victim : context.victims) action(victim);
}

template <typename Change>
void ShadowTlb::change_data_entries(Change&& change) {
    for (auto& context : data_) {
        if (!context) continue;
        for_data_entries(*context, [&](x64::SoftTlbEntry& entry) {
            const x64::SoftTlbEntry before = entry;
            if (!change(entry)) return;
            context->pages.forget(before);
            context->pages.show(entry);
        });
    }
}

void ShadowTlb::write_protect(const std::uint8_t* host_page) {
    const auto host = reinterpret_cast<std::uint64_t>(host_page);
    change_data_entries([host](x64::SoftTlbEntry& entry) {
        if (entry.write_tag == no_tag || entry.addend + entry.write_tag != host) return false;
        entry.write_tag = no_tag;
        return true;
    });
}

void ShadowTlb::write_protect_all() {
    change_data_entries([](x64::SoftTlbEntry& entry) { return std::exchange(entry.write_tag, no_tag) != no_tag; });
}

void ShadowTlb::empty(DataContext& context) {
    for_data_entries(context, [&context](x64::SoftTlbEntry& entry) {
        context.pages.forget(entry);
        entry = {};
    });
    context.filled = {};
    context.next_victim = 0;
    context.faults = {};
    context.visit_faults = 0;
    context.victim_pages = 0;
}

void ShadowTlb::empty(InstructionContext& context) {
    for_filled(context, [&context](FetchEntry& entry) { drop_fetch(context, entry); });
}

void ShadowTlb::clear() {
    for (auto& context : data_) {
        if (!context) continue;
        empty(*context);
        context->pages.forget_mapped();
    }
    for (auto& context : instructions_)
        if (context) empty(*context);
    made_ = {};
}

void ShadowTlb::forget_jump(std::uint32_t ea, const std::uint8_t* code) {
    for (auto& context : instructions_) {
        if (!context) continue;
        for (const auto& jumps : context->jumps) {
            if (!jumps) continue;
            x64::JumpCacheEntry& entry = (*jumps)[x64::jump_cache_index(ea)];
            if (entry.code == code) entry = {};
        }
    }
}

void ShadowTlb::clear_jumps() {
    for (auto& context : instructions_) {
        if (!context) continue;
        for (const auto& jumps : context->jumps)
            if (jumps) jumps->fill({});
    }
}

} // namespace untrap::runtime::soft
