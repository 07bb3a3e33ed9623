// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/fp_layout.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::FpPending;

namespace {

host::Mem pending32(std::size_t field) { return state32(pending_offset(field)); }
host::Mem pending64(std::size_t field) { return state64(pending_offset(field)); }

template <typename Move>
void move_registers(const FpHost& host, Move&& move) {
    for (unsigned i = 0; i < pinned_fpr_count(host); ++i)
        move(host::xmm(first_fpr_xmm + i), state64(fpr_offset(pinned_fprs[i])));
    for (unsigned i = 0; i < 2; ++i)
        move(host::xmm(first_saved_xmm + i), pending64(offsetof(FpPending, saved) + i * sizeof(std::uint64_t)));
}

} // namespace

FpHost FpHost::detect(Optimisations optimisations) {
    const auto& features = CpuInfo::host().features().x86();
    FpHost host;
    host.avx = optimisations.has(Optimisation::fp) && features.hasAVX();
    host.fma = host.avx && optimisations.has(Optimisation::fp_fused) && features.hasFMA();
    host.avx512 = host.avx && optimisations.has(Optimisation::fp_wide) && features.hasAVX512_F() &&
                  features.hasAVX512_VL() && features.hasAVX512_BW() && features.hasAVX512_DQ();
    return host;
}

void emit_fp_thunks(host::Assembler& a, std::uint8_t* base, const FpHost& host, FpThunks& thunks) {
    const auto here = [&] { return reinterpret_cast<std::uint64_t>(base) + a.offset(); };
    thunks.host = host;
    a.align(AlignMode::kData, 16);
    thunks.constants = here();
    const FpConstants constants;
    a.embed(&constants, sizeof(constants));

    a.align(AlignMode::kCode, 16);
    thunks.load = here();
    if (host.avx) {
        a.push(host::rax);
        a.stmxcsr(pending32(offsetof(FpPending, host_mxcsr)));
        // RN 0 nearest, 1 toward zero, 2 up, 3 down; RC 0 nearest, 1 down, 2 up, 3 toward zero. Exceptions masked.
        a.mov(host::eax, state32(offsetof(isa::CpuState, fpscr)));
        a.neg(host::eax);
        a.and_(host::eax, 3);
        a.shl(host::eax, 13);
        a.or_(host::eax, 0x1F80);
        a.mov(pending32(offsetof(FpPending, mxcsr)), host::eax);
        a.ldmxcsr(pending32(offsetof(FpPending, mxcsr)));
        move_registers(host, [&](const host::Xmm& xmm, const host::Mem& home) { a.vmovsd(xmm, home); });
        a.mov(pending32(offsetof(FpPending, loaded)), 1);
        a.pop(host::rax);
    }
    a.ret();

    a.align(AlignMode::kCode, 16);
    thunks.save = here();
    if (host.avx) {
        a.push(host::rax);
        a.stmxcsr(pending32(offsetof(FpPending, mxcsr)));
        move_registers(host, [&](const host::Xmm& xmm, const host::Mem& home) { a.vmovsd(home, xmm); });
        a.mov(host::eax, pending32(offsetof(FpPending, mxcsr)));
        a.and_(host::eax, 0x3C); // OE, UE, ZE, PE; what was invalid has been done by the interpreter
        a.or_(pending32(offsetof(FpPending, flags)), host::eax);
        a.ldmxcsr(pending32(offsetof(FpPending, host_mxcsr)));
        a.mov(pending32(offsetof(FpPending, loaded)), 0);
        a.pop(host::rax);
    }
    a.ret();
}

void emit_fp_save(host::Assembler& a, const FpThunks& thunks) {
    const Label done = a.newLabel();
    a.cmp(pending32(offsetof(FpPending, loaded)), 0);
    a.je(done);
    a.call(thunks.save);
    a.bind(done);
}

} // namespace untrap::x64
