// SPDX-License-Identifier: GPL-2.0-only
// runtime/native/hardware.h, by the model.
#include "runtime/native/hardware.h"

#include "model_cpu.h"

using untrap::runtime::native::World;

namespace untrap::runtime::native::hardware {

namespace {
tests::native::ModelCpu& cpu() { return tests::native::ModelCpu::current(); }
} // namespace

void write_tlb(unsigned index, std::uint32_t word0, std::uint32_t word1, std::uint32_t word2, unsigned pid) {
    cpu().write_tlb(index, word0, word1, word2, pid);
}
mmu::TlbEntry read_tlb(unsigned index) { return cpu().read_tlb(index); }
bool invalidate_guest_tlb(unsigned index) {
    const mmu::TlbEntry entry = cpu().read_tlb(index);
    if (!entry.valid() || entry.ts() == 0) return false;
    cpu().invalidate_tlb(index);
    return true;
}
void publish_code(const void*, std::uint32_t) { cpu().invalidate_instruction_cache(); }
std::uint32_t data_handler_place(const std::uint32_t*) { return tests::native::ModelCpu::handler_place_ea; }
void use_data_handler(const std::uint32_t* words, unsigned) { cpu().data_handler = words; }
void invalidate_instruction_cache() { cpu().invalidate_instruction_cache(); }
std::uint64_t timebase() { return cpu().timebase(); }
std::uint32_t ticks() { return static_cast<std::uint32_t>(cpu().timebase()); }
std::uint32_t irq_save() { return cpu().irq_save(); }
void irq_restore(std::uint32_t saved) { cpu().irq_restore(saved); }
void load_user_registers(std::uint32_t usprg0) { cpu().load_user_registers(usprg0); }
std::uint32_t read_usprg0() { return cpu().read_usprg0(); }
void load_fpu(const std::uint64_t* fpr, std::uint32_t fpscr) { cpu().load_fpu(fpr, fpscr); }
void store_fpu(std::uint64_t* fpr, std::uint32_t& fpscr) { cpu().store_fpu(fpr, fpscr); }
void enter_guest(void* world) { cpu().enter_guest(*static_cast<World*>(world)); }

} // namespace untrap::runtime::native::hardware
