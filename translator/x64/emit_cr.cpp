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
    forget_cr(field);
}

void BlockWriter::record(unsigned gpr) {
    set_cr(0, {.kind = Compare::Kind::with_signed, .stored = false, .a = static_cast<std::uint8_t>(gpr)});
}

void BlockWriter::set_cr(unsigned field, const Compare& compare) {
    cr_[field] = compare;
    if (!optimises(Optimisation::lazy_cr)) flush_cr(field);
}

void BlockWriter::compare(Instruction insn) {
    Compare made{.kind = insn.op == Op::cmp || insn.op == Op::cmpi ? Compare::Kind::with_signed
                                                                   : Compare::Kind::with_unsigned,
                 .stored = false,
                 .a = static_cast<std::uint8_t>(insn.ra())};
    if (insn.op == Op::cmpi)
        made.value = insn.si();
    else if (insn.op == Op::cmpli)
        made.value = static_cast<std::int32_t>(insn.ui());
    else
        made.b = static_cast<std::uint8_t>(insn.rb());
    set_cr(insn.bf(), made);
}

// Field = difference of the operands, extended to 64 bits: see cr.h.
void BlockWriter::flush_cr(unsigned field) {
    Compare& compare = cr_[field];
    if (compare.stored) return;
    compare.stored = true;
    slot_in_rcx_ = no_slot;
    const bool is_signed = compare.kind == Compare::Kind::with_signed;
    const auto extended = [&](const Gp& into, unsigned gpr) {
        if (is_signed)
            extend(into, gpr);
        else
            load(into.r32(), gpr);
    };
    extended(host::rcx, compare.a);
    if (compare.b == Compare::immediate) {
        if (compare.value != 0) a_.sub(host::rcx, compare.value);
    } else if (!is_signed && pinned(compare.b)) {
        a_.sub(host::rcx, pin(compare.b).r64());
    } else {
        extended(host::rdx, compare.b);
        a_.sub(host::rcx, host::rdx);
    }
    a_.mov(cr_field(field), host::rcx);
}

void BlockWriter::flush_lazy() {
    for (unsigned field = 0; field < 8; ++field) flush_cr(field);
    flush_carry();
}

// Whether the field, as it is behind the instruction at hand, may be seen before it is written again.
bool BlockWriter::cr_needed(unsigned field) const {
    const std::uint8_t bit = static_cast<std::uint8_t>(1U << field);
    if ((effects_[index_].cr_written & bit) != 0) return false;
    unsigned i = index_;
    const unsigned end = this->end();
    for (;;) {
        // Between two passes of a loop the budget may be used up.
        if (++i == end) return true;
        if (effects_[i].observes || (effects_[i].cr_read & bit) != 0) return true;
        if ((effects_[i].cr_written & bit) != 0) return false;
    }
}

void BlockWriter::prepare_cr() {
    const Effects& effects = effects_[index_];
    for (unsigned field = 0; field < 8; ++field) {
        Compare& compare = cr_[field];
        if (compare.kind == Compare::Kind::none) continue;
        if (effects.opaque || (effects.cr_read >> field & 1) != 0) flush_cr(field);
        bool spoilt = (effects.gpr_written >> compare.a & 1) != 0;
        if (compare.b != Compare::immediate) spoilt |= (effects.gpr_written >> compare.b & 1) != 0;
        if (spoilt && cr_needed(field)) flush_cr(field);
        if (effects.opaque) forget_cr(field);
    }
}

void BlockWriter::settle_cr() {
    const Effects& effects = effects_[index_];
    for (unsigned field = 0; field < 8; ++field) {
        Compare& compare = cr_[field];
        if (compare.kind == Compare::Kind::none || (effects.cr_written >> field & 1) != 0) continue;
        if ((effects.gpr_written >> compare.a & 1) != 0 ||
            (compare.b != Compare::immediate && (effects.gpr_written >> compare.b & 1) != 0))
            forget_cr(field);
    }
}

// Host flags as the compare gives them; clobbers edx.
void BlockWriter::compare_again(const Compare& compare) {
    if (compare.b == Compare::immediate) {
        if (compare.value == 0 && pinned(compare.a))
            a_.test(pin(compare.a), pin(compare.a));
        else
            emit2(host::Inst::kIdCmp, source_operand(compare.a), Imm(compare.value));
        return;
    }
    const bool both_in_memory = !pinned(compare.a) && !pinned(compare.b);
    if (both_in_memory) a_.mov(host::edx, home(compare.a));
    emit2(host::Inst::kIdCmp, both_in_memory ? Operand(host::edx) : source_operand(compare.a),
          source_operand(compare.b));
}

void BlockWriter::jump_on_cr_bit(unsigned bit, bool value, const Label& target) {
    const unsigned field = bit >> 2;
    const Compare& compare = cr_[field];
    if (compare.kind != Compare::Kind::none && optimises(Optimisation::flags)) {
        if ((bit & 3) == 3) { // SO is part of the mode, and clear where a compare is host code
            if (!value) a_.jmp(target);
            return;
        }
        compare_again(compare);
        const bool is_signed = compare.kind == Compare::Kind::with_signed;
        using host::CondCode;
        CondCode condition = CondCode::kEqual;
        if ((bit & 3) == 0) condition = is_signed ? CondCode::kSignedLT : CondCode::kUnsignedLT;
        if ((bit & 3) == 1) condition = is_signed ? CondCode::kSignedGT : CondCode::kUnsignedGT;
        a_.j(value ? condition : host::negateCond(condition), target);
        return;
    }
    flush_cr(field);
    switch (bit & 3) {
    case 0:
        // Bit 62 of the field.
        a_.test(state8(offsetof(isa::CpuState, crf) + field * sizeof(isa::CrField) + 7), 0x40);
        break;
    case 1:
        a_.cmp(cr_field(field), 0);
        if (value)
            a_.jg(target);
        else
            a_.jle(target);
        return;
    case 2:
        a_.cmp(state32(offsetof(isa::CpuState, crf) + field * sizeof(isa::CrField)), 0);
        if (value)
            a_.je(target);
        else
            a_.jne(target);
        return;
    default:
        // Bit 61 differs from bit 63.
        a_.mov(host::rdx, cr_field(field));
        a_.shl(host::rdx, 2);
        a_.xor_(host::rdx, cr_field(field));
        a_.shr(host::rdx, 63);
        break;
    }
    if (value)
        a_.jnz(target);
    else
        a_.jz(target);
}

namespace {

bool logic_of_bits(Op op, bool a, bool b) {
    switch (op) {
    case Op::crand: return a && b;
    case Op::cror: return a || b;
    case Op::crxor: return a != b;
    case Op::crnand: return !(a && b);
    case Op::crnor: return !(a || b);
    case Op::creqv: return a == b;
    case Op::crandc: return a && !b;
    default: return a || !b; // crorc
    }
}

// A field after the instruction, by what it is before: four bits each, for all sixteen.
std::uint64_t logic_of_field(Instruction insn) {
    std::uint64_t results = 0;
    for (unsigned before = 0; before < 16; ++before) {
        const auto bit = [before](unsigned number) { return (before >> (3 - (number & 3)) & 1) != 0; };
        const unsigned target = 8U >> (insn.bt() & 3);
        const std::uint64_t after =
            logic_of_bits(insn.op, bit(insn.ba()), bit(insn.bb())) ? before | target : before & ~target;
        results |= after << (4 * before);
    }
    return results;
}

} // namespace

void BlockWriter::condition_logic_of_one_field(Instruction insn) {
    const unsigned field = insn.bt() >> 2;
    a_.mov(host::rax, cr_field(field));
    a_.call(thunks_.decode_cr);
    a_.lea(host::ecx, host::ptr(0, host::rax, 2));
    a_.mov(host::rdx, logic_of_field(insn));
    a_.shr(host::rdx, host::cl);
    a_.and_(host::edx, 15);
    load_table(thunks_.cr_encodings);
    a_.mov(host::rax, host::qword_ptr(host::rcx, host::rdx, 3));
    store_cr(field, host::rax);
}

void BlockWriter::condition_logic(Instruction insn) {
    // As compilers have it: crclr and crset, and cror of "less" and "equal".
    if (insn.ba() >> 2 == insn.bt() >> 2 && insn.bb() >> 2 == insn.bt() >> 2) {
        condition_logic_of_one_field(insn);
        return;
    }
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
    load_table(thunks_.cr_encodings);
    a_.mov(host::rax, host::qword_ptr(host::rcx, host::rax, 3));
    store_cr(insn.bt() >> 2, host::rax);
}

void BlockWriter::move_from_cr(Instruction insn) {
    a_.call(thunks_.gather_cr);
    const Gp value = destination(insn.rt(), host::eax);
    if (value.id() != host::eax.id()) a_.mov(value, host::eax);
    commit(insn.rt(), value);
}

// rcx: a table beside the thunks.
void BlockWriter::load_table(std::uint64_t address) {
    Mem table = host::qword_ptr(address);
    table.setRel();
    a_.lea(host::rcx, table);
}

void BlockWriter::move_to_cr(Instruction insn) {
    constexpr unsigned all_fields = 0xFF;
    load(host::edx, insn.rs());
    if (insn.fxm() == all_fields) {
        load_table(thunks_.cr_pairs);
        for (unsigned field = 0; field < 8; field += 2) {
            // The byte of both, times the 16 bytes of a pair.
            a_.mov(host::eax, host::edx);
            if (field == 6)
                a_.shl(host::eax, 4);
            else
                a_.shr(host::eax, 20 - 4 * field);
            a_.and_(host::eax, 0xFF0);
            a_.movups(host::xmm0, host::xmmword_ptr(host::rcx, host::rax));
            Mem both = cr_field(field);
            both.setSize(16);
            a_.movups(both, host::xmm0);
            forget_cr(field);
            forget_cr(field + 1);
        }
        return;
    }
    load_table(thunks_.cr_encodings);
    for (unsigned field = 0; field < 8; ++field) {
        if ((insn.fxm() & 0x80U >> field) == 0) continue;
        a_.mov(host::eax, host::edx);
        if (field != 7) a_.shr(host::eax, 28 - 4 * field);
        a_.and_(host::eax, 15);
        a_.mov(host::rax, host::qword_ptr(host::rcx, host::rax, 3));
        store_cr(field, host::rax);
    }
}

void BlockWriter::move_cr_field(Instruction insn) {
    a_.mov(host::rax, cr_field(insn.bfa()));
    store_cr(insn.bf(), host::rax);
}

} // namespace untrap::x64
