// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "runtime/native/native_engine.h"

namespace untrap::runtime::native {

// The rfi of a compiled TLB-miss handler, with the TLB entry that it wrote: into the guest TLB, and into the
// hardware's, so that the access that missed does not miss again. False, with nothing done, for whatever is out of the
// ordinary.
//
// Runs inside the world switch: on a 440 it is compiled into a piece of code by itself, which nothing but pinned memory
// must be needed for. So it calls nothing, and takes no constant from memory. write_tlb(mapping, slot): the hardware.
template <typename WriteTlb>
[[gnu::always_inline]] inline bool NativeEngine::return_from_handler(std::uint32_t flags, WriteTlb&& write_tlb) {
    namespace msr = isa::msr;
    using mmu::TlbEntry;
    isa::CpuState& state = vcpu_.state;
    isa::StatePage& page = state.page;
    const std::uint32_t value = page.srr1;
    constexpr std::uint32_t slow = word_of(SLOW_MSR_HIGH, SLOW_MSR_LOW), problem_bit = msr::pr;
    if ((value & slow) != 0 || page.pending != 0) return false;
    const std::uint32_t guest_pid = page.pid & 0xFF, problem = value & problem_bit;
    std::uint32_t context_pid = guest_pid;
    if (world_.process_pid != isa::CpuState::no_pid) [[unlikely]] {
        if (problem != 0 || world_.process_pid != guest_pid) return false;
    }
    if (problem == 0) context_pid &= world_.kernel_pids;
    // As ShadowContexts::key does.
    constexpr unsigned problem_shift = __builtin_ctz(problem_bit);
    const std::uint8_t pid =
        contexts_.known_pid(static_cast<std::uint16_t>(context_pid << 2 | problem >> problem_shift));
    if (pid == 0) return false;

    if ((flags & ppc::handler_exit::words) != 0) {
        const ppc::TlbWrites& writes = world_.handler_tlb;
        if ((flags & ~ppc::handler_exit::fetch) != ppc::handler_exit::words) return false;
        const std::uint32_t word0 = writes.words[0], word1 = writes.words[1];
        const unsigned index = writes.index & (mmu::GuestTlb::entry_count - 1);
        const std::uint32_t tid = page.mmucr & 0xFF;
        // A page of 4 KB in address space 0 for the address that missed, and no other for it. So is what follows: where
        // that address is not ours, the page is not.
        constexpr std::uint32_t page_mask = 0xFFFFF000;
        if (((word0 ^ (world_.handler_missed & page_mask) ^ (TlbEntry::valid_bit | 0x10)) & (page_mask | 0x3F0)) != 0)
            return false;
        if (tid != 0 && tid != guest_pid) return false;
        if (contexts_.watches(index)) return false;
        const MissHandlers::Block& block = handlers_.block(word1);
        if (block.tag != (word1 & MissHandlers::tag_mask)) return false;
        const std::uint32_t word2 = writes.words[2];
        const std::uint32_t allowed = (problem != 0 ? word2 : word2 << 3) & 0x38;
        const ShadowTlb::Mapping mapping{(word0 & page_mask) | TlbEntry::valid_bit | TlbEntry::ts_bit | 0x10,
                                         block.word1 | (word1 & 0x000FF000),
                                         allowed | TlbEntry::sr | (word2 & (TlbEntry::attr_e | TlbEntry::attr_g)), pid,
                                         static_cast<std::uint8_t>(index)};
        unsigned slot = 0;
        if (!contexts_.replace(mapping, world_.executed_slot, slot, write_tlb)) return false;
        // What is read anew need not be kept in registers meanwhile.
        asm volatile("" : : : "memory");
        vcpu_.tlb.replace_small(index, writes.words, tid);
        if (problem == 0 && tid != 0 && world_.kernel_pids == 0) [[unlikely]] { // as map() does
            contexts_.of_process.add(slot);
            world_.process_pid = state.live_pid = guest_pid;
        }
    }
    count_handler(flags);
    world_.shadow_pid = pid;
    const std::uint32_t new_msr = value & msr::defined;
    page.msr = new_msr;
    world_.run_msr = (new_msr & world_.fpu_msr) | run_msr_base;
    state.pc = page.srr0 & ~3U;
    return true;
}

} // namespace untrap::runtime::native
