// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;

unsigned access_bytes(Op op) {
    switch (op) {
    case Op::lbz:
    case Op::lbzu:
    case Op::lbzx:
    case Op::lbzux:
    case Op::stb:
    case Op::stbu:
    case Op::stbx:
    case Op::stbux: return 1;
    case Op::lhz:
    case Op::lhzu:
    case Op::lhzx:
    case Op::lhzux:
    case Op::lha:
    case Op::lhau:
    case Op::lhax:
    case Op::lhaux:
    case Op::lhbrx:
    case Op::sth:
    case Op::sthu:
    case Op::sthx:
    case Op::sthux:
    case Op::sthbrx: return 2;
    case Op::lwz:
    case Op::lwzu:
    case Op::lwzx:
    case Op::lwzux:
    case Op::lwbrx:
    case Op::stw:
    case Op::stwu:
    case Op::stwx:
    case Op::stwux:
    case Op::stwbrx: return 4;
    default: return 0;
    }
}

unsigned fp_access_bytes(Op op) {
    switch (op) {
    case Op::lfs:
    case Op::lfsu:
    case Op::lfsx:
    case Op::lfsux:
    case Op::stfs:
    case Op::stfsu:
    case Op::stfsx:
    case Op::stfsux:
    case Op::stfiwx: return 4;
    case Op::lfd:
    case Op::lfdu:
    case Op::lfdx:
    case Op::lfdux:
    case Op::stfd:
    case Op::stfdu:
    case Op::stfdx:
    case Op::stfdux: return 8;
    default: return 0;
    }
}

namespace {

bool sign_extends(Op op) { return op == Op::lha || op == Op::lhau || op == Op::lhax || op == Op::lhaux; }
bool reverses(Op op) { return op == Op::lhbrx || op == Op::lwbrx || op == Op::sthbrx || op == Op::stwbrx; }

} // namespace

void BlockWriter::big_endian_load(const Gp& into, const Mem& from) {
    if (has_movbe_) {
        a_.movbe(into, from);
    } else {
        a_.mov(into, from);
        a_.bswap(into);
    }
}

void BlockWriter::big_endian_store(const Mem& to, const Gp& from) {
    if (has_movbe_) {
        a_.movbe(to, from);
        return;
    }
    const Gp copy = from.isGpq() ? host::rdx.as<Gp>() : host::edx.as<Gp>();
    if (copy.id() != from.id()) a_.mov(copy, from.isGpw() ? from.r32() : from);
    if (from.isGpw()) {
        a_.rol(host::dx, 8);
        a_.mov(to, host::dx);
        return;
    }
    a_.bswap(copy);
    a_.mov(to, copy);
}

void BlockWriter::load_value(Instruction insn, unsigned bytes) {
    Mem from = locate(insn, bytes, false);
    from.setSize(bytes);
    const Gp value = destination(insn.rt(), host::edx);
    if (bytes == 1 || (bytes == 2 && reverses(insn.op))) {
        a_.movzx(value, from);
    } else if (bytes == 2) {
        if (sign_extends(insn.op)) {
            if (has_movbe_) {
                a_.movbe(host::dx, from);
            } else {
                a_.movzx(host::edx, from);
                a_.rol(host::dx, 8);
            }
            a_.movsx(value, host::dx);
        } else {
            a_.movzx(value, from);
            a_.rol(value.r16(), 8);
        }
    } else if (reverses(insn.op)) {
        a_.mov(value, from);
    } else {
        big_endian_load(value, from);
    }
    commit(insn.rt(), value);
    if (insn.has(flag::update)) update_base(insn);
}

void BlockWriter::store_value(Instruction insn, unsigned bytes) {
    Mem to = locate(insn, bytes, true);
    to.setSize(bytes);
    const Gp value = read(insn.rs(), host::edx);
    if (bytes == 1)
        a_.mov(to, value.r8());
    else if (reverses(insn.op))
        a_.mov(to, bytes == 2 ? Gp(value.r16()) : value);
    else
        big_endian_store(to, bytes == 2 ? Gp(value.r16()) : value);
    if (insn.has(flag::update)) update_base(insn);
}

void BlockWriter::multiple(Instruction insn) {
    // All registers in one page, or the interpreter does it. Word by word, as the interpreter would.
    const bool store = insn.op == Op::stmw;
    const unsigned count = 32 - insn.rt();
    Mem at = locate(insn, count * 4, store);
    at.setSize(4);
    for (unsigned i = 0; i < count; ++i) {
        const unsigned gpr = insn.rt() + i;
        if (store) {
            big_endian_store(at, read(gpr, host::edx));
        } else {
            const Gp value = destination(gpr, host::edx);
            big_endian_load(value, at);
            commit(gpr, value);
        }
        at.addOffset(4);
    }
}

void BlockWriter::reserve(Instruction insn) {
    const Label slow = slow_access(insn);
    const bool store = insn.op == Op::stwcx_rc;
    effective_address(insn, host::eax);
    a_.test(host::al, 3);
    a_.jnz(slow);
    const Mem valid = state32(offsetof(isa::CpuState, reserve_valid));
    const Mem address = state32(offsetof(isa::CpuState, reserve_address));
    if (!store) {
        translate(host::eax, 4, false, slow);
        a_.mov(valid, 1);
        a_.mov(address, host::eax);
        const Gp value = destination(insn.rt(), host::edx);
        big_endian_load(value, host::dword_ptr(host::rax, host::rcx));
        commit(insn.rt(), value);
        return;
    }
    // Lost reservations are the interpreter's.
    a_.cmp(valid, 0);
    a_.je(slow);
    a_.cmp(address, host::eax);
    a_.jne(slow);
    translate(host::eax, 4, true, slow);
    big_endian_store(host::dword_ptr(host::rax, host::rcx), read(insn.rs(), host::edx));
    a_.mov(valid, 0);
    static_assert(isa::cr::decode(0) == isa::cr::eq);
    a_.mov(cr_field(0), 0);
    forget_cr(0);
}

void BlockWriter::zero_line(Instruction insn) {
    const Label slow = slow_access(insn);
    effective_address(insn, host::eax);
    a_.and_(host::eax, ~31U);
    translate(host::eax, 32, true, slow);
    a_.xorps(host::xmm0, host::xmm0);
    a_.movups(host::xmmword_ptr(host::rax, host::rcx), host::xmm0);
    a_.movups(host::xmmword_ptr(host::rax, host::rcx, 0, 16), host::xmm0);
}

void BlockWriter::fp_load_store(Instruction insn) {
    const Label slow = slow_access(insn);
    effective_address(insn, host::eax);
    const Mem fpr = state64(offsetof(isa::CpuState, fpr) + insn.rt() * 8);
    switch (insn.op) {
    case Op::lfd:
    case Op::lfdu:
    case Op::lfdx:
    case Op::lfdux:
        translate(host::eax, 8, false, slow);
        big_endian_load(host::rdx, host::qword_ptr(host::rax, host::rcx));
        a_.mov(fpr, host::rdx);
        break;
    case Op::stfd:
    case Op::stfdu:
    case Op::stfdx:
    case Op::stfdux:
        translate(host::eax, 8, true, slow);
        a_.mov(host::rdx, fpr);
        big_endian_store(host::qword_ptr(host::rax, host::rcx), host::rdx);
        break;
    case Op::stfiwx:
        translate(host::eax, 4, true, slow);
        a_.mov(host::edx, state32(offsetof(isa::CpuState, fpr) + insn.rt() * 8));
        big_endian_store(host::dword_ptr(host::rax, host::rcx), host::edx);
        break;
    default: // lfs and its kin
        translate(host::eax, 4, false, slow);
        big_endian_load(host::edx, host::dword_ptr(host::rax, host::rcx));
        // Infinities and NaNs keep all their bits: cvtss2sd would quiet a signalling NaN.
        a_.mov(host::ecx, host::edx);
        a_.and_(host::ecx, 0x7F800000);
        a_.cmp(host::ecx, 0x7F800000);
        a_.je(slow);
        a_.movd(host::xmm0, host::edx);
        a_.cvtss2sd(host::xmm0, host::xmm0);
        a_.movsd(fpr, host::xmm0);
        break;
    }
    if (insn.has(flag::update)) commit(insn.ra(), host::eax);
}

bool BlockWriter::storage(Instruction insn) {
    // Invalid forms of update instructions are the interpreter's.
    if (insn.has(flag::update) &&
        (insn.ra() == 0 || (insn.has(flag::load) && !insn.has(flag::fp) && insn.ra() == insn.rt())))
        return false;
    if (const unsigned bytes = access_bytes(insn.op); bytes != 0) {
        if (insn.has(flag::load))
            load_value(insn, bytes);
        else
            store_value(insn, bytes);
        return true;
    }
    switch (insn.op) {
    case Op::lmw:
        if (insn.ra() >= insn.rt()) return false; // the base is among the targets: an invalid form
        [[fallthrough]];
    case Op::stmw: multiple(insn); return true;
    case Op::lwarx:
    case Op::stwcx_rc: reserve(insn); return true;
    case Op::dcbz: zero_line(insn); return true;
    case Op::dcbt:
    case Op::dcbtst:
    case Op::icbt: return true; // hints
    case Op::lfd:
    case Op::lfdu:
    case Op::lfdx:
    case Op::lfdux:
    case Op::lfs:
    case Op::lfsu:
    case Op::lfsx:
    case Op::lfsux:
    case Op::stfd:
    case Op::stfdu:
    case Op::stfdx:
    case Op::stfdux:
    case Op::stfiwx: fp_load_store(insn); return true;
    default: return false;
    }
}

} // namespace untrap::x64
