// SPDX-License-Identifier: GPL-2.0-only
// Floating-point instructions. Arithmetic is translator/fp's; here are operands, record forms and enabled exceptions.
#include "translator/fp/fp.h"

#include "translator/interp/step.h"

namespace untrap::interp::handlers {
namespace {

using isa::Instruction;

std::uint64_t& fpr(const Step& step, unsigned number) { return step.state.fpr[number]; }
std::uint64_t fra(const Step& step) { return fpr(step, step.instruction.ra()); }
std::uint64_t frb(const Step& step) { return fpr(step, step.instruction.rb()); }
std::uint64_t frc(const Step& step) { return fpr(step, step.instruction.frc()); }
std::uint64_t& frt(const Step& step) { return fpr(step, step.instruction.rt()); }

void record_if_asked(const Step& step) {
    if (step.instruction.rc()) step.state.crf[1] = isa::cr::encodings[fp::cr1(step.state.fpscr)];
}

// After an instruction that may have set FPSCR[FEX]: the interrupt is precise, so SRR0 is this instruction's address.
void take_enabled_exception(Step& step) {
    if ((step.state.fpscr & fp::fpscr_fex) != 0 && (step.state.page.msr & (isa::msr::fe0 | isa::msr::fe1)) != 0)
        step.stop(isa::TrapKind::fp_exception);
}

void finish(Step& step, fp::Result result) {
    if (result.write) frt(step) = result.value;
    record_if_asked(step);
    take_enabled_exception(step);
}

void finish_move(Step& step, std::uint64_t value) {
    frt(step) = value;
    record_if_asked(step);
}

void finish_compare(Step& step, std::uint32_t outcome) {
    step.state.crf[step.instruction.bf()] = isa::cr::encodings[outcome & 15];
    take_enabled_exception(step);
}

void finish_fpscr(Step& step) {
    record_if_asked(step);
    take_enabled_exception(step);
}

enum class Address { displaced, indexed };
enum class Update { no, yes };
enum class Precision { single, double_ };

// With RA = 0 the update forms are invalid and, as in QEMU, illegal instructions.
template <Address form, Update update>
bool address(Step& step, std::uint32_t& ea) {
    if (update == Update::yes && step.instruction.ra() == 0) {
        step.stop(isa::TrapKind::illegal);
        return false;
    }
    ea = step.ra_or_zero() + (form == Address::displaced ? step.si() : step.rb());
    return true;
}

template <Precision precision, Address form, Update update = Update::no>
void fp_load(Step& step) {
    std::uint32_t ea = 0;
    std::uint64_t value = 0;
    if (!address<form, update>(step, ea)) return;
    if (!step.storage.load(ea, precision == Precision::single ? 4 : 8, value, step.trap)) return;
    frt(step) = precision == Precision::single ? fp::load_single(static_cast<std::uint32_t>(value)) : value;
    if (update == Update::yes) step.gpr(step.instruction.ra()) = ea;
}

template <Precision precision, Address form, Update update = Update::no>
void fp_store(Step& step) {
    std::uint32_t ea = 0;
    if (!address<form, update>(step, ea)) return;
    const std::uint64_t value = precision == Precision::single ? fp::store_single(frt(step)) : frt(step);
    if (!step.storage.store(ea, precision == Precision::single ? 4 : 8, value, step.trap)) return;
    if (update == Update::yes) step.gpr(step.instruction.ra()) = ea;
}

constexpr auto single = Precision::single, double_ = Precision::double_;
constexpr auto displaced = Address::displaced, indexed = Address::indexed;
constexpr auto update = Update::yes;

} // namespace

void lfs(Step& step) { fp_load<single, displaced>(step); }
void lfsu(Step& step) { fp_load<single, displaced, update>(step); }
void lfsx(Step& step) { fp_load<single, indexed>(step); }
void lfsux(Step& step) { fp_load<single, indexed, update>(step); }
void lfd(Step& step) { fp_load<double_, displaced>(step); }
void lfdu(Step& step) { fp_load<double_, displaced, update>(step); }
void lfdx(Step& step) { fp_load<double_, indexed>(step); }
void lfdux(Step& step) { fp_load<double_, indexed, update>(step); }
void stfs(Step& step) { fp_store<single, displaced>(step); }
void stfsu(Step& step) { fp_store<single, displaced, update>(step); }
void stfsx(Step& step) { fp_store<single, indexed>(step); }
void stfsux(Step& step) { fp_store<single, indexed, update>(step); }
void stfd(Step& step) { fp_store<double_, displaced>(step); }
void stfdu(Step& step) { fp_store<double_, displaced, update>(step); }
void stfdx(Step& step) { fp_store<double_, indexed>(step); }
void stfdux(Step& step) { fp_store<double_, indexed, update>(step); }

// The low word of the register, as it is.
void stfiwx(Step& step) { step.storage.store(step.ra_or_zero() + step.rb(), 4, frt(step) & 0xFFFFFFFFU, step.trap); }

void fadd(Step& step) { finish(step, fp::fadd(fra(step), frb(step), step.state.fpscr)); }
void fadds(Step& step) { finish(step, fp::fadds(fra(step), frb(step), step.state.fpscr)); }
void fsub(Step& step) { finish(step, fp::fsub(fra(step), frb(step), step.state.fpscr)); }
void fsubs(Step& step) { finish(step, fp::fsubs(fra(step), frb(step), step.state.fpscr)); }
void fmul(Step& step) { finish(step, fp::fmul(fra(step), frc(step), step.state.fpscr)); }
void fmuls(Step& step) { finish(step, fp::fmuls(fra(step), frc(step), step.state.fpscr)); }
void fdiv(Step& step) { finish(step, fp::fdiv(fra(step), frb(step), step.state.fpscr)); }
void fdivs(Step& step) { finish(step, fp::fdivs(fra(step), frb(step), step.state.fpscr)); }
void fsqrt(Step& step) { finish(step, fp::fsqrt(frb(step), step.state.fpscr)); }
void fsqrts(Step& step) { finish(step, fp::fsqrts(frb(step), step.state.fpscr)); }
void fres(Step& step) { finish(step, fp::fres(frb(step), step.state.fpscr)); }
void frsqrte(Step& step) { finish(step, fp::frsqrte(frb(step), step.state.fpscr)); }
void fmadd(Step& step) { finish(step, fp::fmadd(fra(step), frc(step), frb(step), step.state.fpscr)); }
void fmadds(Step& step) { finish(step, fp::fmadds(fra(step), frc(step), frb(step), step.state.fpscr)); }
void fmsub(Step& step) { finish(step, fp::fmsub(fra(step), frc(step), frb(step), step.state.fpscr)); }
void fmsubs(Step& step) { finish(step, fp::fmsubs(fra(step), frc(step), frb(step), step.state.fpscr)); }
void fnmadd(Step& step) { finish(step, fp::fnmadd(fra(step), frc(step), frb(step), step.state.fpscr)); }
void fnmadds(Step& step) { finish(step, fp::fnmadds(fra(step), frc(step), frb(step), step.state.fpscr)); }
void fnmsub(Step& step) { finish(step, fp::fnmsub(fra(step), frc(step), frb(step), step.state.fpscr)); }
void fnmsubs(Step& step) { finish(step, fp::fnmsubs(fra(step), frc(step), frb(step), step.state.fpscr)); }
void frsp(Step& step) { finish(step, fp::frsp(frb(step), step.state.fpscr)); }
void fctiw(Step& step) { finish(step, fp::fctiw(frb(step), step.state.fpscr)); }
void fctiwz(Step& step) { finish(step, fp::fctiwz(frb(step), step.state.fpscr)); }

void fsel(Step& step) { finish_move(step, fp::fsel(fra(step), frc(step), frb(step))); }
void fmr(Step& step) { finish_move(step, fp::fmr(frb(step))); }
void fneg(Step& step) { finish_move(step, fp::fneg(frb(step))); }
void fabs(Step& step) { finish_move(step, fp::fabs(frb(step))); }
void fnabs(Step& step) { finish_move(step, fp::fnabs(frb(step))); }

void fcmpu(Step& step) { finish_compare(step, fp::fcmpu(fra(step), frb(step), step.state.fpscr)); }
void fcmpo(Step& step) { finish_compare(step, fp::fcmpo(fra(step), frb(step), step.state.fpscr)); }

void mffs(Step& step) { finish_move(step, fp::mffs(step.state.fpscr)); }
void mcrfs(Step& step) { finish_compare(step, fp::mcrfs(step.state.fpscr, step.instruction.bfa())); }

void mtfsb0(Step& step) {
    fp::mtfsb0(step.state.fpscr, step.instruction.bt());
    finish_fpscr(step);
}
void mtfsb1(Step& step) {
    fp::mtfsb1(step.state.fpscr, step.instruction.bt());
    finish_fpscr(step);
}
void mtfsf(Step& step) {
    fp::mtfsf(step.state.fpscr, step.instruction.flm(), frb(step));
    finish_fpscr(step);
}
void mtfsfi(Step& step) {
    fp::mtfsfi(step.state.fpscr, step.instruction.bf(), step.instruction.u());
    finish_fpscr(step);
}

} // namespace untrap::interp::handlers
