// SPDX-License-Identifier: GPL-2.0-only
#include "translator/isa/cr.h"
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;

host::Mem BlockWriter::cr_field(unsigned field) const {
    return state64(offsetof(isa::CpuState, crf) + field * sizeof(isa::CrField));
}

void BlockWriter::store_cr(unsigned field, const Gp& wide) {
    a_.mov(cr_field(field), wide);
    if (!optimises(Optimisation::flags)) return;
    flags_field_ = field;
    keep_flags_ = true;
}

void BlockWriter::record(const Gp& result) {
    a_.movsxd(host::rdx, result);
    a_.test(result, result);
    store_cr(0, host::rdx);
}

// Field = difference of the operands, extended to 64 bits: see cr.h. The flags of the 64-bit subtraction, read as
// signed, describe both the signed and the unsigned compare.
void BlockWriter::compare(Instruction insn) {
    const bool is_signed = insn.op == Op::cmp || insn.op == Op::cmpi;
    if (is_signed) {
        if (pinned(insn.ra()))
            a_.movsxd(host::rax, pin(insn.ra()));
        else
            a_.movsxd(host::rax, home(insn.ra()));
    } else {
        load(host::eax, insn.ra());
    }
    switch (insn.op) {
    case Op::cmpi: a_.sub(host::rax, insn.si()); break;
    case Op::cmpli: a_.sub(host::rax, insn.ui()); break;
    case Op::cmp:
        if (pinned(insn.rb()))
            a_.movsxd(host::rcx, pin(insn.rb()));
        else
            a_.movsxd(host::rcx, home(insn.rb()));
        a_.sub(host::rax, host::rcx);
        break;
    default:
        if (pinned(insn.rb())) {
            a_.sub(host::rax, pin(insn.rb()).r64());
        } else {
            a_.mov(host::ecx, home(insn.rb()));
            a_.sub(host::rax, host::rcx);
        }
        break;
    }
    store_cr(insn.bf(), host::rax);
}

void BlockWriter::jump_on_cr_bit(unsigned bit, bool value, const Label& target) {
    const unsigned field = bit >> 2;
    const bool known = flags_field_ == field;
    switch (bit & 3) {
    case 0:
        if (known) {
            if (value)
                a_.jl(target);
            else
                a_.jge(target);
            return;
        }
        // Bit 62 of the field.
        a_.test(state8(offsetof(isa::CpuState, crf) + field * sizeof(isa::CrField) + 7), 0x40);
        break;
    case 1:
        if (!known) a_.cmp(cr_field(field), 0);
        if (value)
            a_.jg(target);
        else
            a_.jle(target);
        return;
    case 2:
        if (!known) a_.cmp(state32(offsetof(isa::CpuState, crf) + field * sizeof(isa::CrField)), 0);
        if (value)
            a_.je(target);
        else
            a_.jne(target);
        return;
    default: {
        // Bit 61 differs from bit 63.
        a_.mov(host::rdx, cr_field(field));
        a_.shl(host::rdx, 2);
        a_.xor_(host::rdx, cr_field(field));
        a_.shr(host::rdx, 63);
        flags_field_ = no_field;
        break;
    }
    }
    if (value)
        a_.jnz(target);
    else
        a_.jz(target);
}

void BlockWriter::condition_logic(Instruction insn) {
    auto bit_to_eax = [&](unsigned bit) {
        a_.mov(host::rax, cr_field(bit >> 2));
        a_.call(thunks_.decode_cr);
        if (3 - (bit & 3) != 0) a_.shr(host::eax, 3 - (bit & 3));
    };
    // Decoding clobbers the scratch registers: the first bit waits in the state page's scratch area.
    const Mem waiting = state32(static_cast<std::size_t>(page_offset(offsetof(isa::StatePage, scratch))));
    bit_to_eax(insn.ba());
    a_.mov(waiting, host::eax);
    bit_to_eax(insn.bb());
    a_.mov(host::ecx, host::eax);
    a_.mov(host::eax, waiting);
    switch (insn.op) {
    case Op::crand: a_.and_(host::eax, host::ecx); break;
    case Op::cror: a_.or_(host::eax, host::ecx); break;
    case Op::crxor: a_.xor_(host::eax, host::ecx); break;
    case Op::crnand:
        a_.and_(host::eax, host::ecx);
        a_.not_(host::eax);
        break;
    case Op::crnor:
        a_.or_(host::eax, host::ecx);
        a_.not_(host::eax);
        break;
    case Op::creqv:
        a_.xor_(host::eax, host::ecx);
        a_.not_(host::eax);
        break;
    case Op::crandc:
        a_.not_(host::ecx);
        a_.and_(host::eax, host::ecx);
        break;
    default: // crorc
        a_.not_(host::ecx);
        a_.or_(host::eax, host::ecx);
        break;
    }
    a_.and_(host::eax, 1);
    const unsigned shift = 3 - (insn.bt() & 3);
    if (shift != 0) a_.shl(host::eax, shift);
    a_.mov(waiting, host::eax);
    a_.mov(host::rax, cr_field(insn.bt() >> 2));
    a_.call(thunks_.decode_cr);
    a_.and_(host::eax, ~(1U << shift) & 15);
    a_.or_(host::eax, waiting);
    a_.mov(host::rcx, reinterpret_cast<std::uint64_t>(isa::cr::encodings.data()));
    a_.mov(host::rax, host::qword_ptr(host::rcx, host::rax, 3));
    a_.mov(cr_field(insn.bt() >> 2), host::rax);
}

void BlockWriter::move_from_cr(Instruction insn) {
    const Mem sum = state32(static_cast<std::size_t>(page_offset(offsetof(isa::StatePage, scratch))));
    a_.mov(sum, 0);
    for (unsigned field = 0; field < 8; ++field) {
        a_.mov(host::rax, cr_field(field));
        a_.call(thunks_.decode_cr);
        if (field != 7) a_.shl(host::eax, 28 - 4 * field);
        a_.or_(sum, host::eax);
    }
    const Gp value = destination(insn.rt(), host::eax);
    a_.mov(value, sum);
    commit(insn.rt(), value);
}

void BlockWriter::move_to_cr(Instruction insn) {
    a_.mov(host::rcx, reinterpret_cast<std::uint64_t>(isa::cr::encodings.data()));
    load(host::edx, insn.rs());
    for (unsigned field = 0; field < 8; ++field) {
        if ((insn.fxm() & 0x80U >> field) == 0) continue;
        a_.mov(host::eax, host::edx);
        if (field != 7) a_.shr(host::eax, 28 - 4 * field);
        a_.and_(host::eax, 15);
        a_.mov(host::rax, host::qword_ptr(host::rcx, host::rax, 3));
        a_.mov(cr_field(field), host::rax);
    }
}

void BlockWriter::move_cr_field(Instruction insn) {
    a_.mov(host::rax, cr_field(insn.bfa()));
    a_.mov(cr_field(insn.bf()), host::rax);
}

} // namespace untrap::x64
