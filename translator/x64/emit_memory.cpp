// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Form;
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

namespace {

bool sign_extends(Op op) { return op == Op::lha || op == Op::lhau || op == Op::lhax || op == Op::lhaux; }
bool reverses(Op op) { return op == Op::lhbrx || op == Op::lwbrx || op == Op::sthbrx || op == Op::stwbrx; }

} // namespace

void BlockWriter::effective_address(Instruction insn) {
    const Form form = insn.info().form;
    const bool displacement = form == Form::d_mem || form == Form::d_fmem;
    if (displacement) {
        if (insn.ra() == 0)
            a_.mov(host::eax, insn.si());
        else
            a_.lea(host::eax, host::ptr(read(insn.ra(), host::eax).r64(), insn.si()));
        return;
    }
    if (insn.ra() == 0) {
        load(host::eax, insn.rb());
        return;
    }
    const Gp base = read(insn.ra(), host::eax), offset = read(insn.rb(), host::ecx);
    a_.lea(host::eax, host::ptr(base.r64(), offset.r64()));
}

void BlockWriter::translate(unsigned bytes, bool store, const Label& slow) {
    a_.mov(host::ecx, host::eax);
    a_.shr(host::ecx, soft_tlb_page_shift - soft_tlb_entry_shift);
    a_.and_(host::ecx, (soft_tlb_entries - 1) << soft_tlb_entry_shift);
    a_.add(host::rcx, host::qword_ptr(state_reg, slot_offset(slot_soft_tlb)));
    // The tag is compared with the page of the last byte: an access across a page end does not match.
    if (bytes == 1)
        a_.mov(host::edx, host::eax);
    else
        a_.lea(host::edx, host::ptr(host::rax, static_cast<std::int32_t>(bytes - 1)));
    a_.and_(host::edx, ~((1U << soft_tlb_page_shift) - 1));
    const auto tag =
        static_cast<std::int32_t>(store ? offsetof(SoftTlbEntry, write_tag) : offsetof(SoftTlbEntry, read_tag));
    a_.cmp(host::edx, host::dword_ptr(host::rcx, tag));
    a_.jne(slow);
    a_.mov(host::rcx, host::qword_ptr(host::rcx, offsetof(SoftTlbEntry, addend)));
}

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
    if (copy.id() != from.id()) a_.mov(copy, from);
    a_.bswap(copy);
    a_.mov(to, copy);
}

// The page that all accesses of a group lie in, if they do: its host address, as that of the access at hand, is kept.
host::Mem BlockWriter::lead_page_check(Instruction insn, const PageCheck& check) {
    const Mem slot = state64(static_cast<std::size_t>(page_check_offset(check.slot)));
    const Label each = a_.newLabel();
    push_each_for_itself(each, insn, &check);
    effective_address(insn);
    a_.lea(host::ecx, host::ptr(host::rax, check.low));
    a_.lea(host::edx, host::ptr(host::rax, check.high));
    a_.shr(host::ecx, soft_tlb_page_shift - soft_tlb_entry_shift);
    a_.and_(host::edx, ~((1U << soft_tlb_page_shift) - 1));
    a_.and_(host::ecx, (soft_tlb_entries - 1) << soft_tlb_entry_shift);
    a_.add(host::rcx, host::qword_ptr(state_reg, slot_offset(slot_soft_tlb)));
    // Different pages have different slots if they are neighbours: one comparison tells both.
    if (check.loads) {
        a_.cmp(host::edx, host::dword_ptr(host::rcx, static_cast<int>(offsetof(SoftTlbEntry, read_tag))));
        a_.jne(each);
    }
    if (check.stores) {
        a_.cmp(host::edx, host::dword_ptr(host::rcx, static_cast<int>(offsetof(SoftTlbEntry, write_tag))));
        a_.jne(each);
    }
    a_.mov(host::rcx, host::qword_ptr(host::rcx, offsetof(SoftTlbEntry, addend)));
    a_.add(host::rcx, host::rax);
    a_.mov(slot, host::rcx);
    return host::ptr(host::rcx);
}

host::Mem BlockWriter::follow_page_check(Instruction insn, const PageCheck& check) {
    const Label each = a_.newLabel();
    push_each_for_itself(each, insn, nullptr);
    a_.mov(host::rcx, state64(static_cast<std::size_t>(page_check_offset(check.slot))));
    a_.test(host::rcx, host::rcx);
    a_.jz(each);
    if (insn.has(flag::update)) effective_address(insn);
    return host::ptr(host::rcx, check.distance);
}

// Cold code: the access at hand with a look of its own; led: none is known for the others either.
void BlockWriter::push_each_for_itself(const Label& label, Instruction insn, const PageCheck* led) {
    const Label resume = a_.newLabel();
    push_cold(label, [this, insn, led, resume] {
        if (led != nullptr) a_.mov(state64(static_cast<std::size_t>(page_check_offset(led->slot))), 0);
        alone_ = true;
        storage(insn);
        alone_ = false;
        a_.bind(resume_);
        a_.jmp(resume);
    });
    resume_ = resume;
}

host::Mem BlockWriter::locate(Instruction insn, unsigned bytes, bool store) {
    const PageCheck& check = page_checks_[index_];
    if (!alone_ && check.role == PageCheck::Role::leads) return lead_page_check(insn, check);
    if (!alone_ && check.role == PageCheck::Role::follows) return follow_page_check(insn, check);
    const Label slow = slow_access(insn);
    effective_address(insn);
    translate(bytes, store, slow);
    return host::ptr(host::rax, host::rcx);
}

void BlockWriter::load_value(Instruction insn, unsigned bytes) {
    Mem from = locate(insn, bytes, false);
    from.setSize(bytes);
    const Gp value = destination(insn.rt(), host::edx);
    if (bytes == 1) {
        a_.movzx(value, from);
    } else if (bytes == 2) {
        if (reverses(insn.op)) {
            a_.movzx(value, from);
        } else {
            a_.movzx(host::edx, from);
            a_.rol(host::dx, 8);
            if (sign_extends(insn.op))
                a_.movsx(value, host::dx);
            else if (value.id() != host::edx.id())
                a_.mov(value, host::edx);
        }
    } else if (reverses(insn.op)) {
        a_.mov(value, from);
    } else {
        big_endian_load(value, from);
    }
    commit(insn.rt(), value);
    if (insn.has(flag::update)) commit(insn.ra(), host::eax);
}

void BlockWriter::store_value(Instruction insn, unsigned bytes) {
    Mem to = locate(insn, bytes, true);
    to.setSize(bytes);
    if (bytes == 4 && !reverses(insn.op)) {
        big_endian_store(to, read(insn.rs(), host::edx));
    } else {
        load(host::edx, insn.rs());
        if (bytes == 1) {
            a_.mov(to, host::dl);
        } else if (bytes == 2) {
            if (!reverses(insn.op)) a_.rol(host::dx, 8);
            a_.mov(to, host::dx);
        } else {
            a_.mov(to, host::edx);
        }
    }
    if (insn.has(flag::update)) commit(insn.ra(), host::eax);
}

void BlockWriter::multiple(Instruction insn) {
    // All registers in one page, or the interpreter does it. Word by word, as the interpreter would.
    const Label slow = slow_access(insn);
    const bool store = insn.op == Op::stmw;
    effective_address(insn);
    const unsigned count = 32 - insn.rt();
    translate(count * 4, store, slow);
    a_.add(host::rax, host::rcx);
    for (unsigned i = 0; i < count; ++i) {
        const unsigned gpr = insn.rt() + i;
        const Mem at = host::dword_ptr(host::rax, static_cast<std::int32_t>(i * 4));
        if (store) {
            big_endian_store(at, read(gpr, host::edx));
        } else {
            const Gp value = destination(gpr, host::edx);
            big_endian_load(value, at);
            commit(gpr, value);
        }
    }
}

void BlockWriter::reserve(Instruction insn) {
    const Label slow = slow_access(insn);
    const bool store = insn.op == Op::stwcx_rc;
    effective_address(insn);
    a_.test(host::al, 3);
    a_.jnz(slow);
    const Mem valid = state32(offsetof(isa::CpuState, reserve_valid));
    const Mem address = state32(offsetof(isa::CpuState, reserve_address));
    if (!store) {
        translate(4, false, slow);
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
    translate(4, true, slow);
    big_endian_store(host::dword_ptr(host::rax, host::rcx), read(insn.rs(), host::edx));
    a_.mov(valid, 0);
    static_assert(isa::cr::decode(0) == isa::cr::eq);
    a_.mov(cr_field(0), 0);
    forget_cr(0);
}

void BlockWriter::zero_line(Instruction insn) {
    const Label slow = slow_access(insn);
    effective_address(insn);
    a_.and_(host::eax, ~31U);
    translate(32, true, slow);
    a_.xorps(host::xmm0, host::xmm0);
    a_.movups(host::xmmword_ptr(host::rax, host::rcx), host::xmm0);
    a_.movups(host::xmmword_ptr(host::rax, host::rcx, 0, 16), host::xmm0);
}

void BlockWriter::fp_load_store(Instruction insn) {
    const Label slow = slow_access(insn);
    effective_address(insn);
    const Mem fpr = state64(offsetof(isa::CpuState, fpr) + insn.rt() * 8);
    switch (insn.op) {
    case Op::lfd:
    case Op::lfdu:
    case Op::lfdx:
    case Op::lfdux:
        translate(8, false, slow);
        big_endian_load(host::rdx, host::qword_ptr(host::rax, host::rcx));
        a_.mov(fpr, host::rdx);
        break;
    case Op::stfd:
    case Op::stfdu:
    case Op::stfdx:
    case Op::stfdux:
        translate(8, true, slow);
        a_.mov(host::rdx, fpr);
        big_endian_store(host::qword_ptr(host::rax, host::rcx), host::rdx);
        break;
    case Op::stfiwx:
        translate(4, true, slow);
        a_.mov(host::edx, state32(offsetof(isa::CpuState, fpr) + insn.rt() * 8));
        big_endian_store(host::dword_ptr(host::rax, host::rcx), host::edx);
        break;
    default: // lfs and its kin
        translate(4, false, slow);
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
