// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "mmu/tlb_entry.h"

// The host CPU's privileged resources, in the few operations that the 440 engine needs. Defined by the module
// (kmod/core_hardware.cpp), and by the tests as a model. Called with interrupts off, except irq_save.
namespace untrap::runtime::native::hardware {

// Writes a TLB entry, word 0 first: from then on the old entry is gone, and the new one is in address space 1, which
// nothing uses before the next return to the guest.
void write_tlb(unsigned index, std::uint32_t word0, std::uint32_t word1, std::uint32_t word2, unsigned pid);
// An entry, but for its word 2.
mmu::TlbEntry read_tlb(unsigned index);
// Invalidates an entry if it is valid and a guest's, in address space 1. Whether it was.
bool invalidate_guest_tlb(unsigned index);
// The 440's instruction cache is tagged with effective address, address space and PID: it must be emptied when a
// shadow PID gets a new meaning (iccci).
void invalidate_instruction_cache();

// Written by the host, to be fetched by a guest: first + bytes lie in the kernel's linear mapping.
void publish_code(const void* first, std::uint32_t bytes);

// Where the code of a guest's handler for data TLB misses is run, given where it is kept: there is one such place.
std::uint32_t data_handler_place(const std::uint32_t* words);
// From now on it is run for misses, and World::rfi_sites are looked at; nullptr: neither. What was kept at the same
// address before is taken to be the same.
void use_data_handler(const std::uint32_t* words, unsigned length);

// Timebase of the host, 64 bits.
std::uint64_t timebase();
// Low word alone.
std::uint32_t ticks();

// MSR[EE] off and back; the value is opaque.
std::uint32_t irq_save();
void irq_restore(std::uint32_t saved);

// USPRG0, which unprivileged code reads and writes. (SPRG4-7, which it reads, are loaded by the world switch.)
void load_user_registers(std::uint32_t usprg0);
std::uint32_t read_usprg0();
// The FPU's 32 registers and FPSCR. MSR[FP] is off afterwards.
void load_fpu(const std::uint64_t* fpr, std::uint32_t fpscr);
void store_fpu(std::uint64_t* fpr, std::uint32_t& fpscr);

// Runs the guest until untrap_world_exit says to leave; returns with interrupts off.
void enter_guest(void* world);

} // namespace untrap::runtime::native::hardware
