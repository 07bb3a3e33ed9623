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
    constexpr std::uint32_t slow = word_of(SLOW_MSR_HIGH, SLOW_MSR_LOW);
    if ((value & slow) != 0 || page.pending != 0) return false;
    const bool problem = (value & msr::pr) != 0;
    const std::uint32_t guest_pid = page.pid & 0xFF;
    const std::uint32_t context_pid = problem ? guest_pid : guest_pid & world_.kernel_pids;
    if (world_.process_pid != isa::CpuState::no_pid && (problem || world_.process_pid != guest_pid)) return false;

    if ((flags & ppc::handler_exit::words) != 0) {
        const ppc::TlbWrites& writes = world_.handler_tlb;
        const std::uint32_t word0 = writes.words[0], word1 = writes.words[1], word2 = writes.words[2];
        const std::uint32_t tid = writes.mmucr & 0xFF;
        if (flags != ppc::handler_exit::words) return false;
        // A page of 4 KB in address space 0 for the address that missed, and no other for it. So is what follows: where
        // that address is not ours, the page is not.
        if ((word0 & 0x3F0) != (TlbEntry::valid_bit | 0x10)) return false;
        if (((word0 ^ world_.handler_missed) & 0xFFFFF000) != 0) return false;
        if (tid != 0 && tid != guest_pid) return false;
        if (contexts_.watched.has(writes.index)) return false;
        const MissHandlers::Block& block = handlers_.block(word1);
        if (block.tag != (word1 & MissHandlers::tag_mask)) return false;
        const std::uint8_t pid = contexts_.known_pid(ShadowContexts::key(context_pid, false, problem));
        if (pid == 0) return false;
        const std::uint32_t allowed = problem ? word2 & 0x38 : (word2 & 0x07) << 3;
        const ShadowTlb::Mapping mapping{(word0 & 0xFFFFF000) | TlbEntry::valid_bit | TlbEntry::ts_bit | 0x10,
                                         block.word1 | (word1 & 0x000FF000),
                                         allowed | TlbEntry::sr | (word2 & (TlbEntry::attr_e | TlbEntry::attr_g)), pid,
                                         static_cast<std::uint8_t>(writes.index)};
        unsigned slot = 0;
        if (!contexts_.replace(mapping, executed_slot_, slot, write_tlb)) return false;
        vcpu_.tlb.replace_small(writes.index, writes.words, tid);
        world_.shadow_pid = pid;
        if (tid != 0 && !problem && world_.kernel_pids == 0) { // as map() does
            contexts_.of_process.add(slot);
            world_.process_pid = state.live_pid = guest_pid;
        }
    } else {
        const std::uint8_t pid = contexts_.known_pid(ShadowContexts::key(context_pid, false, problem));
        if (pid == 0) return false;
        world_.shadow_pid = pid;
    }
    const std::uint32_t new_msr = value & msr::defined;
    page.msr = new_msr;
    world_.run_msr = (new_msr & world_.fpu_msr) | run_msr_base;
    state.pc = page.srr0 & ~3U;
    return true;
}

} // namespace untrap::runtime::native
