// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/native/shadow_tlb.h"

#include "runtime/native/hardware.h"

namespace untrap::runtime::native {

using mmu::TlbEntry;

namespace {

constexpr std::uint32_t small_page = 0x10; // SIZE of 4 KB
constexpr std::uint32_t size_field = 0xF0;

constexpr bool is_of_guest(const TlbEntry& words) { return words.valid() && words.ts() != 0; }

} // namespace

void ShadowTlb::start(unsigned slots) {
    slots_ = slots;
    entries_ = {};
    pids_ = {};
    free_ = {};
    next_ = 0;
    next_pid_ = 1;
}

unsigned ShadowTlb::insert(ShadowContexts& owner, const Mapping& mapping, unsigned spare) {
    const unsigned slot = choose(spare);
    forget(slot);
    hardware::write_tlb(slot, mapping.word0, mapping.word1, mapping.word2, mapping.pid);
    entries_[slot] = {&owner, mapping.guest_index};
    ++inserted;
    if ((mapping.word0 & size_field) > small_page) ++large;
    return slot;
}

void ShadowTlb::drop(ShadowContexts& owner, unsigned slot) {
    Entry& entry = entries_[slot];
    if (entry.owner != &owner) return;
    // Otherwise the host has taken the slot, and keeps it.
    if (hardware::invalidate_guest_tlb(slot)) free_.add(slot);
    forget(slot);
    ++dropped;
}

std::uint8_t ShadowTlb::allocate_pid(ShadowContexts& owner, std::uint16_t key) {
    const unsigned pid = next_pid_;
    next_pid_ = pid + 1 < pid_count ? pid + 1 : 1;
    Pid& use = pids_[pid];
    if (use.owner != nullptr) {
        ++recycled;
        release_pid(static_cast<std::uint8_t>(pid));
    }
    use = {&owner, key};
    owner.pids_[key] = static_cast<std::uint8_t>(pid);
    return static_cast<std::uint8_t>(pid);
}

// Its mappings go, and the instructions cached under it. So does what is noted of slots that the host has taken: when
// an owner has lost its last PID, nothing must be noted of it.
void ShadowTlb::release_pid(std::uint8_t pid) {
    Pid& use = pids_[pid];
    if (use.owner == nullptr) return;
    for (unsigned slot = 0; slot < slots_; ++slot) {
        if (entries_[slot].owner != use.owner) continue;
        const TlbEntry words = hardware::read_tlb(slot);
        if (!is_of_guest(words) || words.tid == pid) drop(*use.owner, slot);
    }
    use.owner->pids_[use.key] = 0;
    use.owner = nullptr;
    hardware::invalidate_instruction_cache();
}

void ShadowTlb::drop_real(ShadowContexts& owner, std::uint64_t real, std::uint64_t bytes) {
    for (unsigned slot = 0; slot < slots_; ++slot) {
        if (entries_[slot].owner != &owner) continue;
        const TlbEntry words = hardware::read_tlb(slot);
        const std::uint64_t first = words.rpn(), size = std::uint64_t{1} << words.page_shift();
        if (is_of_guest(words) && first < real + bytes && real < first + size) drop(owner, slot);
    }
}

void ShadowTlb::release(const ShadowContexts& owner) {
    for (unsigned pid = 1; pid < pid_count; ++pid)
        if (pids_[pid].owner == &owner) release_pid(static_cast<std::uint8_t>(pid));
}

unsigned ShadowContexts::insert(const ShadowTlb::Mapping& mapping, unsigned spare) {
    const unsigned slot = tlb_.insert(*this, mapping, spare);
    slots_[mapping.guest_index].add(slot);
    link(mapping.guest_index);
    return slot;
}

bool ShadowContexts::maps_at(unsigned slot, std::uint32_t ea) const {
    if (!tlb_.owned(*this, slot)) return false;
    const TlbEntry words = hardware::read_tlb(slot);
    return is_of_guest(words) && ((words.word0 ^ ea) & 0xFFFFFC00) == 0;
}

void ShadowContexts::drop_process() {
    of_process.drain([&](unsigned slot) { tlb_.drop(*this, slot); });
}

void ShadowContexts::drop_slots(unsigned index) {
    slots_[index].drain([&](unsigned slot) { tlb_.drop(*this, slot); });
    link(index);
}

} // namespace untrap::runtime::native
