// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/emulate.h"
#include "runtime/vcpu.h"

namespace untrap::runtime {

using isa::Instruction;
namespace mmucr = isa::mmucr;

namespace {

constexpr unsigned index_mask = mmu::GuestTlb::entry_count - 1;

} // namespace

// tlbre: word 0 comes with its TID, which goes to MMUCR[STID].
void Emulator::tlb_read(Instruction insn) {
    isa::CpuState& state = vcpu_.state;
    const unsigned index = state.gpr[insn.ra()] & index_mask;
    state.gpr[insn.rt()] = vcpu_.tlb.read_word(index, insn.ws());
    if (insn.ws() == 0) state.page.mmucr = (state.page.mmucr & ~mmucr::stid) | vcpu_.tlb.entry(index).tid;
}

void Emulator::tlb_write(Instruction insn) {
    const isa::CpuState& state = vcpu_.state;
    vcpu_.write_tlb_word(state.gpr[insn.ra()] & index_mask, insn.ws(), state.gpr[insn.rs()]);
}

// tlbsx searches the space and for the process that MMUCR names. Without a match RT keeps its value.
void Emulator::tlb_search(Instruction insn) {
    isa::CpuState& state = vcpu_.state;
    const std::uint32_t base = insn.ra() != 0 ? state.gpr[insn.ra()] : 0;
    const std::uint32_t control = state.page.mmucr;
    const unsigned space = (control & mmucr::sts) != 0 ? 1 : 0;
    const int index = vcpu_.tlb.search(base + state.gpr[insn.rb()], space, control & mmucr::stid);
    if (index >= 0) state.gpr[insn.rt()] = static_cast<std::uint32_t>(index);
    if (insn.rc()) state.crf[0] = isa::cr::encodings[(index >= 0 ? isa::cr::eq : 0) | state.xer_so];
}

} // namespace untrap::runtime
