// SPDX-License-Identifier: GPL-2.0-only
#include "translator/interp/interpreter.h"

#include "translator/interp/step.h"

namespace untrap::interp {
namespace {

using isa::Op;
using isa::TrapKind;

// Every row of the table is named here and there is no default: a new instruction does not compile until it is
// given its meaning.
void dispatch(Step& step) {
    switch (step.instruction.op) {
// clang-format off
#define EXECUTE(op) case Op::op: return handlers::op(step);
    EXECUTE(b) EXECUTE(bc) EXECUTE(bclr) EXECUTE(bcctr) EXECUTE(sc) EXECUTE(tw) EXECUTE(twi)
    EXECUTE(mcrf) EXECUTE(crnor) EXECUTE(crandc) EXECUTE(crxor) EXECUTE(crnand) EXECUTE(crand) EXECUTE(creqv)
    EXECUTE(crorc) EXECUTE(cror) EXECUTE(mfcr) EXECUTE(mtcrf) EXECUTE(mcrxr)
    EXECUTE(addi) EXECUTE(addis) EXECUTE(addic) EXECUTE(addic_rc) EXECUTE(subfic) EXECUTE(mulli) EXECUTE(add)
    EXECUTE(addc) EXECUTE(adde) EXECUTE(addme) EXECUTE(addze) EXECUTE(subf) EXECUTE(subfc) EXECUTE(subfe)
    EXECUTE(subfme) EXECUTE(subfze) EXECUTE(neg) EXECUTE(mullw) EXECUTE(mulhw) EXECUTE(mulhwu) EXECUTE(divw)
    EXECUTE(divwu)
    EXECUTE(cmpi) EXECUTE(cmpli) EXECUTE(cmp) EXECUTE(cmpl)
    EXECUTE(andi_rc) EXECUTE(andis_rc) EXECUTE(ori) EXECUTE(oris) EXECUTE(xori) EXECUTE(xoris) EXECUTE(and_)
    EXECUTE(andc) EXECUTE(or_) EXECUTE(orc) EXECUTE(xor_) EXECUTE(nand) EXECUTE(nor) EXECUTE(eqv) EXECUTE(extsb)
    EXECUTE(extsh) EXECUTE(cntlzw) EXECUTE(rlwimi) EXECUTE(rlwinm) EXECUTE(rlwnm) EXECUTE(slw) EXECUTE(srw)
    EXECUTE(sraw) EXECUTE(srawi) EXECUTE(dlmzb)
    EXECUTE(macchw) EXECUTE(macchws) EXECUTE(macchwsu) EXECUTE(macchwu) EXECUTE(machhw) EXECUTE(machhws)
    EXECUTE(machhwsu) EXECUTE(machhwu) EXECUTE(maclhw) EXECUTE(maclhws) EXECUTE(maclhwsu) EXECUTE(maclhwu)
    EXECUTE(nmacchw) EXECUTE(nmacchws) EXECUTE(nmachhw) EXECUTE(nmachhws) EXECUTE(nmaclhw) EXECUTE(nmaclhws)
    EXECUTE(mulchw) EXECUTE(mulchwu) EXECUTE(mulhhw) EXECUTE(mulhhwu) EXECUTE(mullhw) EXECUTE(mullhwu)
    EXECUTE(lbz) EXECUTE(lbzu) EXECUTE(lbzx) EXECUTE(lbzux) EXECUTE(lhz) EXECUTE(lhzu) EXECUTE(lhzx)
    EXECUTE(lhzux) EXECUTE(lha) EXECUTE(lhau) EXECUTE(lhax) EXECUTE(lhaux) EXECUTE(lhbrx) EXECUTE(lwz)
    EXECUTE(lwzu) EXECUTE(lwzx) EXECUTE(lwzux) EXECUTE(lwbrx) EXECUTE(lwarx) EXECUTE(lmw) EXECUTE(lswi)
    EXECUTE(lswx) EXECUTE(stb) EXECUTE(stbu) EXECUTE(stbx) EXECUTE(stbux) EXECUTE(sth) EXECUTE(sthu)
    EXECUTE(sthx) EXECUTE(sthux) EXECUTE(sthbrx) EXECUTE(stw) EXECUTE(stwu) EXECUTE(stwx) EXECUTE(stwux)
    EXECUTE(stwbrx) EXECUTE(stwcx_rc) EXECUTE(stmw) EXECUTE(stswi) EXECUTE(stswx)
    EXECUTE(isync) EXECUTE(msync) EXECUTE(mbar) EXECUTE(dcba) EXECUTE(dcbf) EXECUTE(dcbst) EXECUTE(dcbt)
    EXECUTE(dcbtst) EXECUTE(dcbz) EXECUTE(icbi) EXECUTE(icbt)
    EXECUTE(mfspr) EXECUTE(mtspr) EXECUTE(mftb)
    EXECUTE(lfs) EXECUTE(lfsu) EXECUTE(lfsx) EXECUTE(lfsux) EXECUTE(lfd) EXECUTE(lfdu) EXECUTE(lfdx)
    EXECUTE(lfdux) EXECUTE(stfs) EXECUTE(stfsu) EXECUTE(stfsx) EXECUTE(stfsux) EXECUTE(stfd) EXECUTE(stfdu)
    EXECUTE(stfdx) EXECUTE(stfdux) EXECUTE(stfiwx)
    EXECUTE(fadd) EXECUTE(fadds) EXECUTE(fsub) EXECUTE(fsubs) EXECUTE(fmul) EXECUTE(fmuls) EXECUTE(fdiv)
    EXECUTE(fdivs) EXECUTE(fsqrt) EXECUTE(fsqrts) EXECUTE(fres) EXECUTE(frsqrte) EXECUTE(fsel) EXECUTE(fmadd)
    EXECUTE(fmadds) EXECUTE(fmsub) EXECUTE(fmsubs) EXECUTE(fnmadd) EXECUTE(fnmadds) EXECUTE(fnmsub)
    EXECUTE(fnmsubs) EXECUTE(frsp) EXECUTE(fctiw) EXECUTE(fctiwz) EXECUTE(fmr) EXECUTE(fneg) EXECUTE(fabs)
    EXECUTE(fnabs) EXECUTE(fcmpu) EXECUTE(fcmpo) EXECUTE(mffs) EXECUTE(mcrfs) EXECUTE(mtfsb0) EXECUTE(mtfsb1)
    EXECUTE(mtfsf) EXECUTE(mtfsfi)
#undef EXECUTE
            // clang-format on
            case Op::rfi : case Op::rfci : case Op::rfmci : case Op::dcbi : case Op::dccci : case Op::dcread
            : case Op::iccci : case Op::icread : case Op::mfmsr : case Op::mtmsr : case Op::wrtee : case Op::wrteei
            : case Op::mfdcr : case Op::mtdcr : case Op::tlbre : case Op::tlbwe : case Op::tlbsx : case Op::tlbsync
            : return step.stop(TrapKind::privileged);
    case Op::illegal: return step.stop(TrapKind::illegal);
    }
}

} // namespace

isa::Trap execute(isa::CpuState& state, Storage& storage, isa::Instruction instruction) {
    Step step{state, storage, instruction};
    const std::uint32_t flags = instruction.info().flags;
    // The unavailable FPU comes before anything else an FP instruction may be wrong about.
    if ((flags & isa::flag::fp) != 0 && (state.page.msr & isa::msr::fp) == 0)
        step.stop(TrapKind::fp_unavailable);
    else if ((flags & isa::flag::spr_access) != 0 && instruction.privileged())
        step.stop(TrapKind::privileged);
    else
        dispatch(step);

    if (step.trap.kind == TrapKind::none) {
        state.pc = step.next_pc;
        ++state.retired;
    } else {
        step.trap.word = instruction.word;
    }
    return step.trap;
}

isa::Trap run(isa::CpuState& state, Storage& storage, std::uint64_t count) {
    for (; count != 0; --count) {
        isa::Trap trap;
        std::uint32_t word = 0;
        if (!storage.fetch(state.pc, word, trap)) return trap;
        trap = execute(state, storage, isa::decode(word));
        if (trap.kind != TrapKind::none) return trap;
    }
    return {.kind = TrapKind::budget};
}

} // namespace untrap::interp
