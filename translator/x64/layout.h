// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <asmjit/x86.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "translator/isa/state.h"

// Register assignment and memory layout that generated code, thunks and the soft440 engine agree on.
namespace untrap::x64 {

namespace host = asmjit::x86;

// rbp: CpuState. r15: instruction budget left, less the whole of the block being executed. rax, rcx, rdx: scratch.
// The other ten hold guest registers for as long as generated code runs, so that every block boundary, and every
// instruction boundary, finds all guest state at its home: faults are precise without maps, links need no moves.
inline const host::Gp state_reg = host::rbp;
inline const host::Gp budget_reg = host::r15;

struct PinnedGpr {
    std::uint8_t guest;
    host::Gp::Id id;
};
// Guest registers by how often Linux and gcc code for the 440 uses them.
inline constexpr std::array<PinnedGpr, 10> pinned_gprs = {{
    {1, host::Gp::kIdBx},
    {3, host::Gp::kIdSi},
    {4, host::Gp::kIdDi},
    {5, host::Gp::kIdR8},
    {6, host::Gp::kIdR9},
    {8, host::Gp::kIdR10},
    {9, host::Gp::kIdR11},
    {10, host::Gp::kIdR12},
    {30, host::Gp::kIdR13},
    {31, host::Gp::kIdR14},
}};
inline constexpr unsigned not_pinned = 0xFF;
inline constexpr std::array<std::uint8_t, 32> pinned_id = [] {
    std::array<std::uint8_t, 32> map{};
    map.fill(not_pinned);
    for (const PinnedGpr& pin : pinned_gprs) map[pin.guest] = static_cast<std::uint8_t>(pin.id);
    return map;
}();

// CpuState::engine_slots.
enum Slot : unsigned {
    slot_soft_tlb,    // FlatPages or SoftTlbEntry[soft_tlb_entries] of the current data context
    slot_jump_cache,  // JumpCacheEntry[jump_cache_entries] of the current instruction context
    slot_engine,      // the engine, first argument of every helper
    slot_exit_info,   // second result of an exit
    slot_budget,      // budget left at an exit
    slot_target,      // value of CpuState::retired when the budget is used up
    slot_stack,       // the host's stack pointer while no call of the guest is noted
    slot_stack_limit, // and the lowest it may have
};

// Software TLB: one direct-mapped table per (PID, PR, DS) context, indexed by effective page number. A tag that is no
// multiple of the page size matches nothing.
struct SoftTlbEntry {
    std::uint32_t read_tag = 1;
    std::uint32_t write_tag = 1;
    std::uint64_t addend = 0; // host address minus effective address
};
inline constexpr unsigned soft_tlb_page_shift = 12;
inline constexpr unsigned soft_tlb_bits = 10;
inline constexpr unsigned soft_tlb_entries = 1U << soft_tlb_bits;
inline constexpr unsigned soft_tlb_entry_shift = 4;
static_assert(sizeof(SoftTlbEntry) == 1U << soft_tlb_entry_shift);

constexpr unsigned soft_tlb_index(std::uint32_t ea) { return ea >> soft_tlb_page_shift & (soft_tlb_entries - 1); }

// Optimisation::flat_tlb: what the software TLB knows, again by page number: no tag to compare, and no two pages in
// one place.
// Host address minus effective address, or 0. What may be stored to may be loaded from. Two tables, so that a page's
// number is all it takes to find its entry.
inline constexpr unsigned flat_pages = 1U << (32 - soft_tlb_page_shift);
inline constexpr unsigned flat_entry_shift = 3;
struct FlatPages {
    std::uint64_t load[flat_pages];
    std::uint64_t store[flat_pages];
};
static_assert(sizeof(FlatPages) == std::size_t{2} * flat_pages << flat_entry_shift);

// Optimisation::host_mmu: behind FlatPages the guest's whole address space, where the host's MMU finds the pages that
// are mapped there. An access to others faults, and so does one to the bytes before address 0 and behind the last one,
// as far as a displacement of an instruction and the widest access reach.
inline constexpr std::size_t mapped_guard_bytes = 0x10000;
inline constexpr std::size_t mapped_space_bytes = (std::size_t{1} << 32) + 2 * mapped_guard_bytes;
// From FlatPages to effective address 0.
inline constexpr std::int32_t mapped_base = sizeof(FlatPages) + mapped_guard_bytes;

// Where an indirect or far branch goes: one direct-mapped table per instruction context, indexed by EA.
struct JumpCacheEntry {
    std::uint32_t ea = 1; // an odd address matches no target
    std::uint32_t unused = 0;
    const std::uint8_t* code = nullptr;
};
inline constexpr unsigned jump_cache_bits = 12;
inline constexpr unsigned jump_cache_entries = 1U << jump_cache_bits;
inline constexpr unsigned jump_cache_entry_shift = 4;
static_assert(sizeof(JumpCacheEntry) == 1U << jump_cache_entry_shift);

constexpr unsigned jump_cache_index(std::uint32_t ea) { return ea >> 2 & (jump_cache_entries - 1); }

// Guest calls are host calls, so that the host foresees where they return to: an entry of the stack is the host's
// return address and above it the guest's, sign extended to 64 bits. It is empty whenever generated code is entered and
// when the context changes; whatever the guest does to its link register, a return that does not match is looked up.
inline constexpr int return_stack_entry = 16;
inline constexpr int return_stack_ea = 8;
inline constexpr int return_stack_bytes = 4096 * return_stack_entry;
void empty_return_stack(host::Assembler& a);

// What a block of code depends on besides its bytes and its effective address.
namespace mode {
inline constexpr std::uint32_t pr = 1;
inline constexpr std::uint32_t is = 2;
inline constexpr std::uint32_t fp = 4;          // MSR[FP]
inline constexpr std::uint32_t fe = 8;          // MSR[FE0] or MSR[FE1]: enabled FP exceptions interrupt
inline constexpr std::uint32_t so = 16;         // XER[SO]: compares copy it, so that it costs nothing where it is clear
inline constexpr std::uint32_t fp_enables = 32; // FPSCR enables an exception: FP arithmetic is the interpreter's
inline constexpr std::uint32_t global = 64;     // mapped by an entry with TID 0
inline constexpr std::uint32_t apart = 128;     // accesses share no look: where those of a group are not in one page
} // namespace mode

// Why generated code returned; the first result of an entry. The second is in slot_exit_info.
enum class ExitKind : std::uint32_t {
    budget,         // pc: a block that does not fit the budget; info: number of the block that says so
    lookup,         // pc: where to go on, not known to generated code
    link,           // as lookup; info: number of the ExitLink that may be made a direct jump
    helper_trap,    // a helper left the trap in the engine
    privileged,     // pc, info: instruction word
    system_call,    // pc, info: word
    illegal,        // pc, info: word
    fp_unavailable, // pc, info: word
    trap_condition, // pc, info: word
    hot,            // pc: a block that has run often; info: address of the counter that tells
    resumed,        // Helpers::go_on handled the exit; pc: where to go on, not known to generated code
    disturbed,      // Helpers::go_on handled the exit, and the run loop has something to do
};

constexpr std::int32_t gpr_offset(unsigned index) {
    return static_cast<std::int32_t>(offsetof(isa::CpuState, gpr) + index * 4);
}
constexpr std::int32_t page_offset(unsigned field) {
    return static_cast<std::int32_t>(offsetof(isa::CpuState, page) + field);
}
// The last engine slots keep host addresses for the accesses of a block.
constexpr std::int32_t page_check_offset(unsigned slot) {
    return static_cast<std::int32_t>(offsetof(isa::CpuState, engine_slots) + (8 + slot) * sizeof(std::uintptr_t));
}
// Page windows: pages of the current data context that generated code lately found in the software TLB, as an effective
// page address and the host's address of its first byte. Whatever the window is called by, it has the rights for all of
// it: a window of pages to load from knows no page that may not be loaded from. They are forgotten when the context or
// any mapping changes.
inline constexpr unsigned stack_window = 0; // loads and stores, as the common ones
inline constexpr unsigned first_common_window = 1, common_windows = 2;
inline constexpr unsigned first_load_window = 3, load_windows = 3;
inline constexpr unsigned first_store_window = 6, store_windows = 2;
inline constexpr unsigned page_windows = 8;
inline constexpr std::uint8_t no_page_window = 0xFF;
constexpr bool window_loads(unsigned window) { return window < first_store_window; }
constexpr bool window_stores(unsigned window) { return window < first_load_window || window >= first_store_window; }
inline constexpr std::uint64_t forgotten_page = std::uint64_t{1} << 40; // no effective address is near it
inline constexpr unsigned first_window_slot = 16;
constexpr std::int32_t window_page_offset(unsigned window) {
    return static_cast<std::int32_t>(offsetof(isa::CpuState, engine_slots) +
                                     (first_window_slot + window) * sizeof(std::uintptr_t));
}
constexpr std::int32_t window_host_offset(unsigned window) { return window_page_offset(window + page_windows); }
constexpr std::int32_t slot_offset(Slot slot) {
    return static_cast<std::int32_t>(offsetof(isa::CpuState, engine_slots) + slot * sizeof(std::uintptr_t));
}

inline host::Mem state32(std::size_t offset) { return host::dword_ptr(state_reg, static_cast<std::int32_t>(offset)); }
inline host::Mem state64(std::size_t offset) { return host::qword_ptr(state_reg, static_cast<std::int32_t>(offset)); }
inline host::Mem state8(std::size_t offset) { return host::byte_ptr(state_reg, static_cast<std::int32_t>(offset)); }

} // namespace untrap::x64
