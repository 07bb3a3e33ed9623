// SPDX-License-Identifier: GPL-2.0-only
// FP arithmetic on the host's vector unit. Both sides are IEEE 754, so results and exceptions are equal but for these,
// which the interpreter does:
// - NaN results: the sign of the default NaN, the choice among NaN operands, and the causes of VX differ.
// - A result equal to the least normalised number: it may have been tiny before rounding (which is UX for the
//   architecture) but not after (which is what the host looks at).
// - Any enabled exception (mode::fp_enables).
// Single-precision instructions compute in double and round once more. That is wrong only if the first rounding
// landed halfway between two singles, or among what is denormal in single format: those are looked at, or left to the
// interpreter. Directed modes round twice in the same direction.
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::FpPending;
using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;

namespace {

enum class Kind { other, add, sub, mul, div, root, reciprocal, reciprocal_root, madd, msub, round };

struct Arithmetic {
    Kind kind = Kind::other;
    bool single = false, negated = false;
};

Arithmetic arithmetic_of(Op op) {
    switch (op) {
    case Op::fadd: return {Kind::add};
    case Op::fadds: return {Kind::add, true};
    case Op::fsub: return {Kind::sub};
    case Op::fsubs: return {Kind::sub, true};
    case Op::fmul: return {Kind::mul};
    case Op::fmuls: return {Kind::mul, true};
    case Op::fdiv: return {Kind::div};
    case Op::fdivs: return {Kind::div, true};
    case Op::fsqrt: return {Kind::root};
    case Op::fsqrts: return {Kind::root, true};
    case Op::fres: return {Kind::reciprocal, true};
    case Op::frsqrte: return {Kind::reciprocal_root};
    case Op::fmadd: return {Kind::madd};
    case Op::fmadds: return {Kind::madd, true};
    case Op::fmsub: return {Kind::msub};
    case Op::fmsubs: return {Kind::msub, true};
    case Op::fnmadd: return {Kind::madd, false, true};
    case Op::fnmadds: return {Kind::madd, true, true};
    case Op::fnmsub: return {Kind::msub, false, true};
    case Op::fnmsubs: return {Kind::msub, true, true};
    case Op::frsp: return {Kind::round, true};
    default: return {};
    }
}

bool fused(Kind kind) { return kind == Kind::madd || kind == Kind::msub; }
// An inexact double-precision result may be tiny. (Sums that small are exact.)
bool may_underflow(Kind kind) { return kind == Kind::mul || kind == Kind::div || fused(kind); }

} // namespace

bool BlockWriter::fp_instruction(Instruction insn) {
    if (!fp_host_.avx) return false;
    if (insn.has(flag::load | flag::store)) {
        if (insn.has(flag::update) && insn.ra() == 0) return false; // invalid form
        fp_transfer(insn);
        return true;
    }
    switch (insn.op) {
    case Op::mtfsb0:
    case Op::mtfsb1:
    case Op::mtfsf:
    case Op::mtfsfi: fp_control(insn); return true;
    default: break;
    }
    if (insn.records()) return false;
    if (fp_move(insn)) return true;
    if ((source_.mode & mode::fp_enables) != 0) return false;
    switch (insn.op) {
    case Op::fcmpu:
    case Op::fcmpo: fp_compare(insn); return true;
    case Op::fctiw:
    case Op::fctiwz: fp_convert(insn); return true;
    default: return fp_arithmetic(insn);
    }
}

Label BlockWriter::fp_slow(Instruction insn, const Label& resume) {
    const Label slow = a_.newLabel();
    push_cold(slow, [this, insn, resume] {
        if (arithmetic_of(insn.op).kind != Kind::other) {
            // What the fast path has when it comes to resume.
            fp_owe();
            fp_.word = 0;
            fp_.compared = false;
            fpr_copy(host::xmm(first_saved_xmm), insn.rt());
        }
        interpret(insn);
        if (insn.op == Op::fcmpu || insn.op == Op::fcmpo) a_.mov(host::rax, cr_field(insn.bf()));
        a_.jmp(resume);
    });
    return slow;
}

bool BlockWriter::fp_arithmetic(Instruction insn) {
    const Arithmetic what = arithmetic_of(insn.op);
    if (what.kind == Kind::other || (fused(what.kind) && !fp_host_.fma)) return false;
    fp_ready();
    const Xmm& result = host::xmm0;
    const Label resume = a_.newLabel();
    const Label slow = fp_slow(insn, resume);
    const auto emit = [&](host::Inst::Id id, const Xmm& first, const Operand& second) {
        a_.emit(id, result, first, reinterpret_cast<const Operand_&>(second));
    };
    switch (what.kind) {
    case Kind::add: emit(host::Inst::kIdVaddsd, fpr(insn.ra(), result), fpr_operand(insn.rb())); break;
    case Kind::sub: emit(host::Inst::kIdVsubsd, fpr(insn.ra(), result), fpr_operand(insn.rb())); break;
    case Kind::mul: emit(host::Inst::kIdVmulsd, fpr(insn.ra(), result), fpr_operand(insn.frc())); break;
    case Kind::div: emit(host::Inst::kIdVdivsd, fpr(insn.ra(), result), fpr_operand(insn.rb())); break;
    case Kind::madd:
    case Kind::msub:
        fpr_copy(result, insn.rb());
        emit(what.kind == Kind::madd ? host::Inst::kIdVfmadd231sd : host::Inst::kIdVfmsub231sd,
             fpr(insn.ra(), host::xmm1), fpr_operand(insn.frc()));
        break;
    case Kind::root:
    case Kind::reciprocal_root: {
        const Xmm radicand = fpr(insn.rb(), result);
        a_.vsqrtsd(result, radicand, radicand);
        if (what.kind == Kind::root) break;
        a_.vmovsd(host::xmm1, fp_constant(offsetof(FpConstants, one), 8));
        a_.vdivsd(result, host::xmm1, result);
        break;
    }
    case Kind::reciprocal:
        a_.vmovsd(result, fp_constant(offsetof(FpConstants, one), 8));
        emit(host::Inst::kIdVdivsd, result, fpr_operand(insn.rb()));
        break;
    default: fpr_copy(result, insn.rb()); break;
    }
    if (what.single) {
        fp_round_single(insn, slow);
    } else if (may_underflow(what.kind)) {
        a_.vandpd(host::xmm1, result, fp_constant(offsetof(FpConstants, magnitude), 16));
        a_.vucomisd(host::xmm1, fp_constant(offsetof(FpConstants, least_double), 8));
        a_.je(slow); // equal or unordered
    } else {
        a_.vucomisd(result, result);
        a_.jp(slow);
    }
    if (what.negated) a_.vxorpd(result, result, fp_constant(offsetof(FpConstants, sign), 16));
    fp_executed(insn);
    for (const std::uint8_t place : fp_.place) {
        if (place != FpTrack::saved) continue;
        fpr_copy(host::xmm(first_saved_xmm), insn.rt());
        break;
    }
    fpr_commit(insn.rt(), result);
    a_.bind(resume);
    return true;
}

// xmm0: the double-precision result, becomes single precision. Leaves for slow where that needs the exact one.
void BlockWriter::fp_round_single(Instruction insn, const Label& slow) {
    const Xmm& result = host::xmm0;
    const Kind kind = arithmetic_of(insn.op).kind;
    const Label small = a_.newLabel(), not_small = a_.newLabel();
    a_.vandpd(host::xmm1, result, fp_constant(offsetof(FpConstants, magnitude), 16));
    a_.vucomisd(host::xmm1, fp_constant(offsetof(FpConstants, least_single), 8));
    a_.jbe(small); // or unordered
    a_.bind(not_small);
    push_detour(small, [this, slow, not_small] {
        // A zero is exact, or so small that it is a zero in either format.
        a_.jp(slow);
        a_.vxorpd(host::xmm2, host::xmm2, host::xmm2);
        a_.vucomisd(host::xmm1, host::xmm2);
        a_.je(not_small);
        a_.jmp(slow);
    });
    if (kind != Kind::round) {
        const Label halfway = a_.newLabel(), decided = a_.newLabel();
        a_.vmovd(host::eax, result);
        a_.and_(host::eax, 0x1FFFFFFF);
        a_.cmp(host::eax, 0x10000000);
        a_.je(fused(kind) ? slow : halfway);
        a_.bind(decided);
        // With operands of 24 bits rounding twice is rounding once; for a square root and a reciprocal as well.
        if (!fused(kind))
            push_detour(halfway, [this, insn, kind, slow, decided] {
                const bool two = kind == Kind::add || kind == Kind::sub || kind == Kind::div;
                const unsigned second = kind == Kind::mul ? insn.frc() : insn.rb();
                fpr_copy(host::xmm1, second);
                if (two || kind == Kind::mul) a_.vorpd(host::xmm1, host::xmm1, fpr(insn.ra(), host::xmm2));
                a_.vptest(host::xmm1, fp_constant(offsetof(FpConstants, beyond_single), 16));
                a_.jz(decided);
                a_.jmp(slow);
            });
    }
    a_.vcvtsd2ss(result, result, result);
    a_.vcvtss2sd(result, result, result);
}

bool BlockWriter::fp_move(Instruction insn) {
    const auto with_mask = [&](host::Inst::Id id, std::size_t mask) {
        const bool pinned = fpr_pinned(insn.rt());
        const Xmm to = pinned ? fpr_pin(insn.rt()) : host::xmm0;
        a_.emit(id, to, fpr(insn.rb(), host::xmm0), fp_constant(mask, 16));
        if (!pinned) fpr_commit(insn.rt(), to);
    };
    switch (insn.op) {
    case Op::fmr:
    case Op::fneg:
    case Op::fabs:
    case Op::fnabs:
    case Op::fsel: break;
    default: return false;
    }
    fp_ready();
    fp_keep_operands(insn.rt());
    switch (insn.op) {
    case Op::fmr: fpr_commit(insn.rt(), fpr(insn.rb(), host::xmm0)); break;
    case Op::fneg: with_mask(host::Inst::kIdVxorpd, offsetof(FpConstants, sign)); break;
    case Op::fabs: with_mask(host::Inst::kIdVandpd, offsetof(FpConstants, magnitude)); break;
    case Op::fnabs: with_mask(host::Inst::kIdVorpd, offsetof(FpConstants, sign)); break;
    default: fp_select(insn); break;
    }
    return true;
}

void BlockWriter::fp_select(Instruction insn) {
    a_.vxorpd(host::xmm1, host::xmm1, host::xmm1);
    constexpr unsigned less_or_equal_quiet = 18;
    a_.vcmpsd(host::xmm1, host::xmm1, fpr_low(insn.ra(), host::xmm0), less_or_equal_quiet); // 0 <= frA
    const Xmm otherwise = fpr_low(insn.rb(), host::xmm0), chosen = fpr_low(insn.frc(), host::xmm2);
    a_.vblendvpd(host::xmm0, otherwise, chosen, host::xmm1);
    fpr_commit(insn.rt(), host::xmm0);
}

void BlockWriter::fp_compare(Instruction insn) {
    fp_ready();
    const Label resume = a_.newLabel();
    a_.emit(host::Inst::kIdVucomisd, fpr(insn.ra(), host::xmm0),
            reinterpret_cast<const Operand_&>(static_cast<const Operand&>(fpr_operand(insn.rb()))));
    a_.jp(fp_slow(insn, resume));
    // 1, 0 or -1: see cr.h.
    a_.mov(host::eax, 0);
    a_.seta(host::al);
    a_.sbb(host::rax, 0);
    store_cr(insn.bf(), host::rax);
    a_.bind(resume);
    a_.mov(state64(pending_offset(offsetof(FpPending, compare))), host::rax);
    fp_.compared = true;
}

void BlockWriter::fp_convert(Instruction insn) {
    fp_ready();
    fp_home();
    const Label resume = a_.newLabel();
    const Xmm from = fpr(insn.rb(), host::xmm0);
    if (insn.op == Op::fctiw)
        a_.vcvtsd2si(host::eax, from);
    else
        a_.vcvttsd2si(host::eax, from);
    a_.cmp(host::eax, 0x80000000); // also what the host gives for all that does not fit
    a_.je(fp_slow(insn, resume));
    a_.vmovsd(state64(pending_offset(offsetof(FpPending, convert))), from);
    a_.mov(state32(pending_offset(offsetof(FpPending, convert_word))), insn.word);
    a_.mov(state8(pending_offset(offsetof(FpPending, later)) + 1), 0);
    a_.movsxd(host::rax, host::eax);
    a_.vmovq(host::xmm0, host::rax);
    fpr_commit(insn.rt(), host::xmm0);
    a_.bind(resume);
}

} // namespace untrap::x64
