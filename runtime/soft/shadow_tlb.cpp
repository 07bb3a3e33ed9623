// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/shadow_tlb.h"

#include <utility>

namespace untrap::runtime::soft {

namespace {

constexpr std::uint32_t page_bytes = 1U << x64::soft_tlb_page_shift;
constexpr std::uint32_t page_mask = ~(page_bytes - 1);
constexpr std::uint32_t no_tag = 1;
// Beyond this size a guest page covers so many table slots that clearing all tables is cheaper.
constexpr unsigned exact_shift = 16;

unsigned fetch_index(std::uint32_t ea) { return ea >> x64::soft_tlb_page_shift & (ShadowTlb::fetch_entries - 1); }

} // namespace

ShadowTlb::ShadowTlb() = default;

ShadowTlb::DataContext& ShadowTlb::data_context(std::uint32_t key) {
    const auto [pid, fresh] = data_pids_.assign(key);
    if (!data_[pid])
        data_[pid] = std::make_unique<DataContext>();
    else if (fresh)
        *data_[pid] = DataContext{};
    data_[pid]->pid = static_cast<std::uint8_t>(key);
    return *data_[pid];
}

ShadowTlb::InstructionContext& ShadowTlb::instruction_context(std::uint32_t key) {
    const auto [pid, fresh] = instruction_pids_.assign(key);
    if (!instructions_[pid]) {
        instructions_[pid] = std::make_unique<InstructionContext>();
    } else if (fresh) {
        instructions_[pid]->jumps.fill({});
        instructions_[pid]->fetch.fill({});
    }
    instructions_[pid]->pid = static_cast<std::uint8_t>(key);
    return *instructions_[pid];
}

namespace {

bool holds(const x64::SoftTlbEntry& entry, std::uint32_t page) {
    return entry.read_tag == page || entry.write_tag == page;
}

} // namespace

bool ShadowTlb::recall(DataContext& context, std::uint32_t ea, bool store) {
    const std::uint32_t page = ea & page_mask;
    if (!context.has_victims) return false;
    for (x64::SoftTlbEntry& victim : context.victims) {
        if ((store ? victim.write_tag : victim.read_tag) != page) continue;
        std::swap(victim, context.entries[x64::soft_tlb_index(ea)]);
        return true;
    }
    return false;
}

void ShadowTlb::fill_data(DataContext& context, std::uint32_t ea, std::uint8_t* host, bool store) {
    const std::uint32_t page = ea & page_mask;
    const std::uint64_t addend = reinterpret_cast<std::uint64_t>(host) - page;
    x64::SoftTlbEntry& entry = context.entries[x64::soft_tlb_index(ea)];
    if (!holds(entry, page)) {
        // A page is never in both places: what the victims know of it moves here.
        x64::SoftTlbEntry known{no_tag, no_tag, addend};
        x64::SoftTlbEntry* place = &context.victims[context.next_victim];
        for (x64::SoftTlbEntry& victim : context.victims) {
            if (!holds(victim, page)) continue;
            known = victim;
            place = &victim;
        }
        if (place == &context.victims[context.next_victim])
            context.next_victim = (context.next_victim + 1) % DataContext::victim_count;
        context.has_victims |= entry.read_tag != no_tag || entry.write_tag != no_tag;
        *place = entry;
        entry = known;
    }
    if (entry.addend != addend) entry = {no_tag, no_tag, addend};
    if (store)
        entry.write_tag = page;
    else
        entry.read_tag = page;
}

void ShadowTlb::drop_jumps(InstructionContext& context, std::uint32_t page) {
    const unsigned first = x64::jump_cache_index(page);
    for (unsigned i = 0; i < page_bytes / 4; ++i) {
        x64::JumpCacheEntry& entry = context.jumps[first + i];
        if ((entry.ea & page_mask) == page) entry = {};
    }
}

static_assert(x64::jump_cache_entries % (page_bytes / 4) == 0, "the slots of a page are contiguous");

void ShadowTlb::fill_fetch(InstructionContext& context, const FetchEntry& entry) {
    FetchEntry& slot = context.fetch[fetch_index(entry.tag)];
    // Jump targets are good while their page is in the fetch table.
    if (slot.tag != no_tag) drop_jumps(context, slot.tag);
    slot = entry;
}

ShadowTlb::FetchEntry* ShadowTlb::find_fetch(InstructionContext& context, std::uint32_t ea) {
    FetchEntry& slot = context.fetch[fetch_index(ea)];
    return slot.tag == (ea & page_mask) ? &slot : nullptr;
}

void ShadowTlb::drop(const mmu::TlbEntry& before) {
    if (!before.valid() || before.page_shift() == 0) return;
    if (before.page_shift() > exact_shift) {
        clear();
        return;
    }
    const std::uint32_t first = before.epn() & page_mask;
    const std::uint32_t pages =
        before.page_shift() <= x64::soft_tlb_page_shift ? 1 : 1U << (before.page_shift() - x64::soft_tlb_page_shift);
    const auto concerns = [&before](std::uint8_t pid) { return before.tid == 0 || before.tid == pid; };
    for (std::uint32_t page = first, left = pages; left != 0; --left, page += page_bytes) {
        for (auto& context : data_) {
            if (!context || !concerns(context->pid)) continue;
            x64::SoftTlbEntry& entry = context->entries[x64::soft_tlb_index(page)];
            if (holds(entry, page)) entry = {};
            if (!context->has_victims) continue;
            for (x64::SoftTlbEntry& victim : context->victims)
                if (holds(victim, page)) victim = {};
        }
        for (auto& context : instructions_) {
            if (!context || !concerns(context->pid)) continue;
            FetchEntry& entry = context->fetch[fetch_index(page)];
            if (entry.tag != page) continue;
            drop_jumps(*context, page);
            entry = {};
        }
    }
}

template <typename Change>
void ShadowTlb::change_data_entries(Change&& change) {
    for (auto& context : data_) {
        if (!context) continue;
        for (x64::SoftTlbEntry& entry : context->entries) change(entry);
        for (x64::SoftTlbEntry& victim : context->victims) change(victim);
    }
}

void ShadowTlb::write_protect(const std::uint8_t* host_page) {
    const auto host = reinterpret_cast<std::uint64_t>(host_page);
    change_data_entries([host](x64::SoftTlbEntry& entry) {
        if (entry.write_tag != no_tag && entry.addend + entry.write_tag == host) entry.write_tag = no_tag;
    });
}

void ShadowTlb::write_protect_all() {
    change_data_entries([](x64::SoftTlbEntry& entry) { entry.write_tag = no_tag; });
}

void ShadowTlb::clear() {
    for (auto& context : data_) {
        if (!context) continue;
        const std::uint8_t pid = context->pid;
        *context = DataContext{};
        context->pid = pid;
    }
    for (auto& context : instructions_) {
        if (!context) continue;
        context->jumps.fill({});
        context->fetch.fill({});
    }
}

void ShadowTlb::clear_jumps() {
    for (auto& context : instructions_)
        if (context) context->jumps.fill({});
}

} // namespace untrap::runtime::soft
