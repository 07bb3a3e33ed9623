// SPDX-License-Identifier: GPL-2.0-only
// FP loads and stores between memory and host registers.
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;

void BlockWriter::fp_transfer(Instruction insn) {
    fp_ready();
    const unsigned number = insn.rt();
    const bool pinned = fpr_pinned(number), store = insn.has(flag::store);
    const unsigned bytes = fp_access_bytes(insn.op);
    const Mem reverse8 = fp_constant(offsetof(FpConstants, reverse8), 16);
    const Mem reverse4 = fp_constant(offsetof(FpConstants, reverse4), 16);
    if (!store) fp_keep_operands(number);
    const bool single = bytes == 4 && insn.op != Op::stfiwx;
    if (store && single) fp_store_single(insn);
    Mem at = locate(insn, bytes, store);
    at.setSize(bytes);
    if (store) {
        if (!single) a_.vpshufb(host::xmm0, fpr(number, host::xmm0), bytes == 8 ? reverse8 : reverse4);
        if (bytes == 8)
            a_.vmovq(at, host::xmm0);
        else
            a_.vmovd(at, host::xmm0);
    } else if (bytes == 8) {
        const Xmm to = pinned ? fpr_pin(number) : host::xmm0;
        a_.vmovq(host::xmm0, at);
        a_.vpshufb(to, host::xmm0, reverse8);
        if (!pinned) fpr_commit(number, to);
    } else {
        a_.vmovd(host::xmm0, at);
        a_.vpshufb(host::xmm0, host::xmm0, reverse4);
        // NaNs keep all their bits: the conversion would quiet a signalling one.
        const Label resume = resume_, slow = slow_access(insn), after = resume_;
        a_.vucomiss(host::xmm0, host::xmm0);
        a_.jp(slow);
        a_.vcvtss2sd(host::xmm0, host::xmm0, host::xmm0);
        fpr_commit(number, host::xmm0);
        if (insn.has(flag::update)) update_base(insn);
        // Two ways come back.
        a_.bind(after);
        resume_ = resume;
        return;
    }
    if (insn.has(flag::update)) update_base(insn);
}

// xmm0: frS as a single-precision word in memory's byte order. A selection of bits, no rounding: see fp::store_single.
void BlockWriter::fp_store_single(Instruction insn) {
    slot_in_rcx_ = no_slot;
    static constexpr unsigned least_normal = 1023 - 126, least_denormal = least_normal - 23;
    const Label small = a_.newLabel(), done = a_.newLabel();
    a_.vmovq(host::rdx, fpr(insn.rt(), host::xmm0));
    a_.mov(host::rcx, host::rdx);
    a_.shr(host::rcx, 52);
    a_.and_(host::ecx, 0x7FF);
    a_.cmp(host::ecx, least_normal);
    a_.jb(small);
    a_.mov(host::rcx, host::rdx);
    a_.shr(host::rcx, 32);
    a_.and_(host::ecx, 0xC0000000);
    a_.shr(host::rdx, 29);
    a_.and_(host::edx, 0x3FFFFFFF);
    a_.or_(host::edx, host::ecx);
    a_.bind(done);
    a_.bswap(host::edx);
    a_.vmovd(host::xmm0, host::edx);
    push_detour(small, [this, done] {
        const Label only_sign = a_.newLabel();
        a_.xor_(host::eax, host::eax);
        a_.cmp(host::ecx, least_denormal);
        a_.jb(only_sign);
        a_.mov(host::rax, host::rdx);
        a_.shl(host::rax, 12);
        a_.shr(host::rax, 12);
        a_.bts(host::rax, 52);
        a_.neg(host::ecx);
        a_.add(host::ecx, 29 + least_normal);
        a_.shr(host::rax, host::cl);
        a_.bind(only_sign);
        a_.shr(host::rdx, 32);
        a_.and_(host::edx, 0x80000000);
        a_.or_(host::edx, host::eax);
        a_.jmp(done);
    });
}

} // namespace untrap::x64
