// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/fp_pending.h"

#include "translator/fp/fp.h"
#include "translator/isa/table.h"

namespace untrap::x64 {

namespace {

using isa::Op;

// The FPSCR the instruction leaves if it finds nothing but control bits.
std::uint32_t status_of(std::uint32_t word, std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint32_t control) {
    std::uint32_t status = control;
    switch (isa::decode(word).op) {
    case Op::fadd: fp::fadd(a, b, status); break;
    case Op::fadds: fp::fadds(a, b, status); break;
    case Op::fsub: fp::fsub(a, b, status); break;
    case Op::fsubs: fp::fsubs(a, b, status); break;
    case Op::fmul: fp::fmul(a, c, status); break;
    case Op::fmuls: fp::fmuls(a, c, status); break;
    case Op::fdiv: fp::fdiv(a, b, status); break;
    case Op::fdivs: fp::fdivs(a, b, status); break;
    case Op::fsqrt: fp::fsqrt(b, status); break;
    case Op::fsqrts: fp::fsqrts(b, status); break;
    case Op::fres: fp::fres(b, status); break;
    case Op::frsqrte: fp::frsqrte(b, status); break;
    case Op::fmadd: fp::fmadd(a, c, b, status); break;
    case Op::fmadds: fp::fmadds(a, c, b, status); break;
    case Op::fmsub: fp::fmsub(a, c, b, status); break;
    case Op::fmsubs: fp::fmsubs(a, c, b, status); break;
    case Op::fnmadd: fp::fnmadd(a, c, b, status); break;
    case Op::fnmadds: fp::fnmadds(a, c, b, status); break;
    case Op::fnmsub: fp::fnmsub(a, c, b, status); break;
    case Op::fnmsubs: fp::fnmsubs(a, c, b, status); break;
    case Op::frsp: fp::frsp(b, status); break;
    case Op::fctiw: fp::fctiw(b, status); break;
    case Op::fctiwz: fp::fctiwz(b, status); break;
    default: break;
    }
    return status;
}

// The host's flags as exceptions: OE, UE, ZE, PE.
constexpr std::uint32_t exceptions_of(std::uint32_t flags) {
    return ((flags & 0x08) != 0 ? fp::fpscr_ox : 0) | ((flags & 0x10) != 0 ? fp::fpscr_ux : 0) |
           ((flags & 0x04) != 0 ? fp::fpscr_zx : 0) | ((flags & 0x20) != 0 ? fp::fpscr_xx : 0);
}

} // namespace

void settle_fpscr(isa::CpuState& state) {
    isa::FpPending& pending = state.fp_pending;
    if (!fpscr_pending(state)) return;
    constexpr std::uint32_t rounding_status = fp::fpscr_fr | fp::fpscr_fi;
    const std::uint32_t control = state.fpscr & (fp::fpscr_ni | fp::fpscr_rn);
    std::uint32_t fpscr = state.fpscr;
    const auto take = [&](std::uint32_t bits, std::uint32_t from) { fpscr = (fpscr & ~bits) | (from & bits); };
    if (pending.word != 0)
        take(fp::fpscr_fprf | rounding_status, status_of(pending.word, pending.a, pending.b, pending.c, control));
    if ((pending.later & 0xFF00) == 0)
        take(rounding_status, status_of(pending.convert_word, 0, pending.convert, 0, control));
    if ((pending.later & 0xFF) == 0) take(fp::fpscr_fpcc, isa::cr::decode(pending.compare) << 12);
    fp::raise(fpscr, exceptions_of(pending.flags));
    state.fpscr = fpscr;
    pending.word = 0;
    pending.later = ~0U;
    pending.flags = 0;
}

} // namespace untrap::x64
