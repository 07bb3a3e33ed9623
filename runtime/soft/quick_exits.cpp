// SPDX-License-Identifier: GPL-2.0-only
// Exits of the JIT engine that need no round of the run loop: what is always handled the same way. Counted, and done by
// the same code, as there.
#include "runtime/byte_order.h"
#include "runtime/interrupts.h"
#include "runtime/soft/jit_engine.h"
#include "runtime/spr_table.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::soft {

using isa::Instruction;
using isa::Op;
using isa::Trap;
using isa::TrapKind;

namespace {

// Whether emulating it neither needs userspace nor touches what the run loop watches over: clocks and debug registers.
bool is_plain(Instruction insn) {
    switch (insn.op) {
    case Op::rfi:
    case Op::mtmsr:
    case Op::mfmsr:
    case Op::wrtee:
    case Op::wrteei:
    case Op::tlbwe:
    case Op::tlbre:
    case Op::tlbsx:
    case Op::tlbsync: return true;
    case Op::mfspr: return spr_row(insn.spr()).plain_read;
    case Op::mtspr: return spr_row(insn.spr()).plain_write();
    default: return false;
    }
}

} // namespace

bool JitEngine::quick_exit(const Trap& trap) {
    switch (trap.kind) {
    case TrapKind::system_call:
    case TrapKind::data_miss:
    case TrapKind::data_denied:
    case TrapKind::fetch_miss:
    case TrapKind::fetch_denied:
    case TrapKind::fp_unavailable: vcpu_.storage.clear_log(); return interrupts::reflect(vcpu_, trap, false);
    case TrapKind::privileged: return !vcpu_.state.problem_state() && quick_emulation(trap.word);
    default: return false;
    }
}

[[gnu::noinline]] bool JitEngine::quick_exit(x64::ExitKind kind) {
    isa::CpuState& state = vcpu_.state;
    Trap trap;
    switch (kind) {
    case x64::ExitKind::helper_trap: return quick_exit(trap_);
    case x64::ExitKind::privileged:
        return !state.problem_state() &&
               quick_emulation(static_cast<std::uint32_t>(state.engine_slots[x64::slot_exit_info]));
    case x64::ExitKind::system_call: trap.kind = TrapKind::system_call; break;
    case x64::ExitKind::fp_unavailable: trap.kind = TrapKind::fp_unavailable; break;
    default: return false;
    }
    return quick_exit(trap);
}

// What run_until_trap would do, where it comes back to generated code at once.
x64::Resumption JitEngine::go_on(void* engine, std::uint32_t kind_number) {
    auto& self = *static_cast<JitEngine*>(engine);
    Vcpu& vcpu = self.vcpu_;
    isa::CpuState& state = vcpu.state;
    const auto kind = static_cast<x64::ExitKind>(kind_number);
    const auto leave = [](x64::ExitKind why) { return x64::Resumption{nullptr, static_cast<std::uint64_t>(why)}; };
    if (!self.quick_ || kind == x64::ExitKind::hot) return leave(kind);
    const std::uint64_t target = state.engine_slots[x64::slot_target];
    state.retired = target - state.engine_slots[x64::slot_budget];
    if (kind == x64::ExitKind::helper_trap && self.trap_.kind == TrapKind::data_miss) {
        vcpu.storage.clear_log();
        interrupts::reflect_data_miss(vcpu, self.trap_);
    } else if (kind == x64::ExitKind::helper_trap && self.trap_.kind == TrapKind::none) {
        return leave(kind); // generated code is to be left, no more
    } else if (!self.quick_exit(kind)) {
        self.declined_ = true;
        return leave(kind);
    }
    const std::uint64_t left = target - state.retired;
    state.engine_slots[x64::slot_budget] = left;
    if (!vcpu.undisturbed()) return leave(x64::ExitKind::disturbed);
    vcpu.close_exit();
    if (left == 0) return leave(x64::ExitKind::resumed);
    self.select_context();
    self.insert_after_miss();
    const x64::JumpCacheEntry& known = (*self.selected_->jumps)[x64::jump_cache_index(state.pc)];
    if (known.ea != state.pc) return leave(x64::ExitKind::resumed);
    return {known.code, 0};
}

bool JitEngine::quick_emulation(std::uint32_t word) {
    if (word == isa::match_of(Op::rfi) && vcpu_.in_handler()) {
        vcpu_.storage.clear_log();
        emulator_.return_from_interrupt();
        return true;
    }
    const Instruction insn = isa::decode(word);
    if (!is_plain(insn) || !settled(word)) return false;
    vcpu_.storage.clear_log();
    if (!vcpu_.in_handler() || !plan::belongs_to_handler(insn)) {
        vcpu_.leave_handler();
        vcpu_.count_exit(emulator_.reason(insn));
    }
    emulator_.execute(insn);
    return true;
}

// Whether the patch registry has no use for another trap of the instruction at pc.
bool JitEngine::settled(std::uint32_t word) {
    const std::uint32_t pc = vcpu_.state.pc;
    const ShadowTlb::FetchEntry* page = ShadowTlb::find_fetch(*selected_->instructions, pc);
    if (page == nullptr) return vcpu_.patches.levels() == 0;
    const std::uint32_t offset = pc & ((1U << x64::soft_tlb_page_shift) - 1);
    return vcpu_.patches.settled(page->real + offset, word);
}

// Generated code goes on behind a tlbwe: in a handler of TLB misses that is run within the exit of its miss, and where
// the exit would do nothing else (a sweep over the TLB). control: the word number, and from bit 8 on the instructions
// of the block not completed.
bool JitEngine::write_tlb(void* engine, std::uint32_t index, std::uint32_t control, std::uint32_t value) {
    auto& self = *static_cast<JitEngine*>(engine);
    Vcpu& vcpu = self.vcpu_;
    const isa::CpuState& state = vcpu.state;
    index &= mmu::GuestTlb::entry_count - 1;
    const std::uint64_t left = state.engine_slots[x64::slot_budget] + (control >> 8);
    if (!self.quick_ || !vcpu.in_handler_at(state.engine_slots[x64::slot_target] - left) ||
        self.cache_.linked_by(index) || !self.shadow_.is_single(index))
        return self.write_tlb_out_of_line(index, control, value);
    const std::uint32_t ws = control & 3;
    const bool changed = ws == 1 || ws == 2 ? vcpu.tlb.write_real_word(index, ws, value)
                                            : vcpu.tlb.write_word(index, ws, value, state.page.mmucr);
    if (!changed) return true;
    self.missed_.answered = true;
    if (self.shadow_.used(index)) {
        self.forget_windows();
        self.shadow_.drop_single(index);
    }
    return true;
}

bool JitEngine::write_tlb_out_of_line(std::uint32_t index, std::uint32_t control, std::uint32_t value) {
    isa::CpuState& state = vcpu_.state;
    if (!quick_) return false;
    // The entry that this very code is fetched through: the next instruction may be another one then.
    const mmu::TlbEntry& before = vcpu_.tlb.entry(index);
    if (before.valid() && ((state.pc ^ before.word0) & before.page_mask() & 0xFFFFFC00) == 0) return false;
    const std::uint64_t left = state.engine_slots[x64::slot_budget] + (control >> 8);
    const std::uint64_t retired = state.engine_slots[x64::slot_target] - left;
    const bool in_handler = vcpu_.in_handler_at(retired);
    if (!in_handler) {
        if (!settled_tlbwe()) return false;
        state.retired = retired;
        vcpu_.leave_handler();
        vcpu_.count_exit(ExitReason::emul_tlbwe);
    }
    if (shadow_.used(index) || cache_.linked_by(index))
        vcpu_.write_tlb_word(index, control & 3, value);
    else // nothing depends on what it was
        missed_.answered |= vcpu_.tlb.write_word(index, control & 3, value, state.page.mmucr);
    if (!in_handler) vcpu_.close_exit();
    return true;
}

// The tlbwe at pc, if it is one still.
bool JitEngine::settled_tlbwe() {
    const std::uint32_t pc = vcpu_.state.pc;
    const ShadowTlb::FetchEntry* page = ShadowTlb::find_fetch(*selected_->instructions, pc);
    if (page == nullptr) return false;
    const std::uint64_t real = page->real + (pc & ((1U << x64::soft_tlb_page_shift) - 1));
    const std::uint8_t* bytes = vcpu_.memory.find(real, 4, false);
    return bytes != nullptr && vcpu_.patches.settled(real, static_cast<std::uint32_t>(load_big_endian(bytes, 4)));
}

} // namespace untrap::runtime::soft
