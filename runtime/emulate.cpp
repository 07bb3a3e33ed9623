// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/emulate.h"

#include "runtime/interrupts.h"
#include "runtime/vcpu.h"
#include "translator/isa/spr.h"

namespace untrap::runtime {

using isa::Instruction;
using isa::Op;
namespace msr = isa::msr;

ExitReason Emulator::reason(Instruction insn) const {
    switch (insn.op) {
    case Op::mtspr: return ExitReason::emul_mtspr;
    case Op::mfspr:
    case Op::mftb: return ExitReason::emul_mfspr;
    case Op::mtmsr: return (vcpu_.state.gpr[insn.rs()] & msr::we) != 0 ? ExitReason::emul_wait : ExitReason::emul_mtmsr;
    case Op::mfmsr: return ExitReason::emul_mfmsr;
    case Op::wrtee:
    case Op::wrteei: return ExitReason::emul_wrtee;
    case Op::tlbwe: return ExitReason::emul_tlbwe;
    case Op::tlbre: return ExitReason::emul_tlbre;
    case Op::tlbsx: return ExitReason::emul_tlbsx;
    case Op::rfi:
    case Op::rfci:
    case Op::rfmci: return ExitReason::emul_rfi;
    case Op::mfdcr:
    case Op::mtdcr: return ExitReason::dcr;
    case Op::dcbi:
    case Op::dccci:
    case Op::dcread:
    case Op::iccci:
    case Op::icread: return ExitReason::emul_cache;
    default: return ExitReason::emul_other;
    }
}

Emulator::Outcome Emulator::execute(Instruction insn) {
    isa::CpuState& state = vcpu_.state;
    isa::StatePage& page = state.page;
    std::uint32_t& rt = state.gpr[insn.rt()];
    switch (insn.op) {
    case Op::mfspr: return move_from_spr(insn);
    case Op::mtspr: return move_to_spr(insn);
    case Op::mftb: return unknown_spr(insn); // every timebase register that mftb may name is unprivileged
    case Op::mfmsr: rt = page.msr; break;
    case Op::mtmsr: write_msr(rt); break;
    case Op::wrtee: write_msr((page.msr & ~msr::ee) | (rt & msr::ee)); break;
    case Op::wrteei: write_msr((page.msr & ~msr::ee) | (insn.e() ? msr::ee : 0)); break;
    case Op::rfi: return_from_interrupt(); return Outcome::completed;
    case Op::rfci: return_to(page.csrr0, page.csrr1); return Outcome::completed;
    case Op::rfmci: return_to(page.mcsrr0, page.mcsrr1); return Outcome::completed;
    case Op::tlbre: tlb_read(insn); break;
    case Op::tlbwe: tlb_write(insn); break;
    case Op::tlbsx: tlb_search(insn); break;
    case Op::tlbsync: break; // one processor, and tlbwe took effect at once
    case Op::mfdcr: return request_dcr(insn, false);
    case Op::mtdcr: return request_dcr(insn, true);
    case Op::dcbi: return invalidate_data_block(insn);
    // There are no caches: nothing to invalidate, and every line that is read out is an invalid one. Translated or
    // patched code follows stores by itself.
    case Op::dccci:
    case Op::iccci:
    case Op::icread: break;
    case Op::dcread: rt = 0; break;
    default:
        interrupts::deliver_with_esr(vcpu_, isa::Interrupt::program, state.pc, isa::esr::pil);
        return Outcome::reflected;
    }
    next();
    return Outcome::completed;
}

void Emulator::next() {
    vcpu_.state.pc += 4;
    ++vcpu_.state.retired;
}

void Emulator::write_msr(std::uint32_t value) { vcpu_.set_msr(value); }

void Emulator::return_from_interrupt() { return_to(vcpu_.state.page.srr0, vcpu_.state.page.srr1); }

void Emulator::return_to(std::uint32_t address, std::uint32_t new_msr) {
    isa::CpuState& state = vcpu_.state;
    write_msr(new_msr);
    state.pc = address & ~3U;
    state.reserve_valid = 0;
    vcpu_.leave_handler();
    ++state.retired;
}

// dcbi is a store for protection. Its block goes to memory instead of being dropped, which the architecture allows
// at any time before.
Emulator::Outcome Emulator::invalidate_data_block(Instruction insn) {
    isa::CpuState& state = vcpu_.state;
    const std::uint32_t base = insn.ra() != 0 ? state.gpr[insn.ra()] : 0;
    isa::Trap trap;
    if (vcpu_.storage.check(base + state.gpr[insn.rb()], true, trap)) {
        next();
        return Outcome::completed;
    }
    trap.word = insn.word;
    interrupts::reflect(vcpu_, trap, true);
    return Outcome::reflected;
}

Emulator::Outcome Emulator::request_dcr(Instruction insn, bool is_write) {
    vcpu_.dcr_ = {insn.dcrn(), is_write, is_write ? vcpu_.state.gpr[insn.rs()] : 0};
    return Outcome::dcr;
}

void Emulator::finish_dcr(Instruction insn, std::uint32_t value) {
    if (insn.op == Op::mfdcr) vcpu_.state.gpr[insn.rt()] = value;
    next();
}

} // namespace untrap::runtime
