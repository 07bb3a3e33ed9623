// SPDX-License-Identifier: GPL-2.0-only
// FPRs in host registers, and what a block owes to FPSCR.
//
// FPSCR is written by nobody but the interpreter. After an arithmetic instruction the block knows which one was the
// last and where its operands are, at no cost; an operand that is overwritten is kept aside first. Only where the
// block can be left is that written down in CpuState::fp_pending, from which settle_fpscr makes the exact FPSCR.
// Exceptions gather in MXCSR. Doing so twice for the same instruction is harmless, so the slow path of one may have
// brought FPSCR up to date already.
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::FpPending;
using isa::Instruction;

namespace {

host::Mem pending64(std::size_t field) { return state64(pending_offset(field)); }
constexpr std::size_t operand_offsets[] = {offsetof(FpPending, a), offsetof(FpPending, b), offsetof(FpPending, c)};

} // namespace

void BlockWriter::fp_ready() {
    if (fp_.ready) return;
    fp_.ready = true;
    const Label load = a_.newLabel(), resume = a_.newLabel();
    a_.cmp(state32(pending_offset(offsetof(FpPending, loaded))), 0);
    a_.je(load);
    a_.bind(resume);
    push_detour(load, [this, resume] {
        a_.call(thunks_.fp.load);
        a_.jmp(resume);
    });
}

host::Xmm BlockWriter::fpr(unsigned fpr, const Xmm& scratch) {
    if (fpr_pinned(fpr)) return fpr_pin(fpr);
    a_.vmovsd(scratch, state64(fpr_offset(fpr)));
    return scratch;
}

host::Xmm BlockWriter::fpr_low(unsigned fpr, const Xmm& scratch) {
    if (fpr_pinned(fpr) && fpr_pin(fpr).id() < 16) return fpr_pin(fpr);
    fpr_copy(scratch, fpr);
    return scratch;
}

Operand BlockWriter::fpr_operand(unsigned fpr) const {
    if (fpr_pinned(fpr)) return fpr_pin(fpr);
    return state64(fpr_offset(fpr));
}

void BlockWriter::fpr_copy(const Xmm& into, unsigned fpr) {
    if (fpr_pinned(fpr))
        a_.vmovaps(into, fpr_pin(fpr));
    else
        a_.vmovsd(into, state64(fpr_offset(fpr)));
}

void BlockWriter::fpr_commit(unsigned fpr, const Xmm& value) {
    if (fpr_pinned(fpr))
        a_.vmovaps(fpr_pin(fpr), value);
    else
        a_.vmovsd(state64(fpr_offset(fpr)), value);
}

void BlockWriter::fp_keep_operands(unsigned fpr) {
    std::uint8_t kept = FpTrack::unused;
    for (unsigned operand = 0; operand < 3; ++operand) {
        if (fp_.word == 0 || fp_.place[operand] != fpr) continue;
        if (kept == FpTrack::unused) {
            for (std::uint8_t place = FpTrack::saved; place < FpTrack::stored && kept == FpTrack::unused; ++place)
                if (fp_.place[0] != place && fp_.place[1] != place && fp_.place[2] != place) kept = place;
            if (kept != FpTrack::unused) fpr_copy(host::xmm(first_saved_xmm + kept - FpTrack::saved), fpr);
        }
        if (kept == FpTrack::unused) {
            a_.vmovsd(pending64(operand_offsets[operand]), this->fpr(fpr, host::xmm2));
            fp_.place[operand] = FpTrack::stored;
        } else {
            fp_.place[operand] = kept;
        }
    }
}

void BlockWriter::fp_executed(Instruction insn) {
    const isa::Form form = insn.info().form;
    const bool reads_a = form == isa::Form::a_ab || form == isa::Form::a_ac || form == isa::Form::a_abc;
    const bool reads_c = form == isa::Form::a_ac || form == isa::Form::a_abc;
    const bool reads_b = form != isa::Form::a_ac;
    const auto place = [&](bool used, unsigned fpr) {
        if (!used) return FpTrack::unused;
        return fpr == insn.rt() ? FpTrack::saved : static_cast<std::uint8_t>(fpr);
    };
    fp_.word = insn.word;
    fp_.place = {place(reads_a, insn.ra()), place(reads_b, insn.rb()), place(reads_c, insn.frc())};
    fp_.compared = false;
}

void BlockWriter::fp_owe() {
    if (fp_.word != 0) {
        for (unsigned operand = 0; operand < 3; ++operand) {
            const unsigned place = fp_.place[operand];
            if (place >= FpTrack::stored) continue;
            const Xmm value =
                place >= FpTrack::saved ? host::xmm(first_saved_xmm + place - FpTrack::saved) : fpr(place, host::xmm2);
            a_.vmovsd(pending64(operand_offsets[operand]), value);
        }
        // One store: the sign bits clear FpPending::later.
        static_assert(offsetof(FpPending, later) == offsetof(FpPending, word) + 4);
        a_.mov(pending64(offsetof(FpPending, word)), static_cast<std::int32_t>(fp_.word));
    }
    if (fp_.compared) a_.mov(state8(pending_offset(offsetof(FpPending, later))), 0);
}

void BlockWriter::fp_home() {
    fp_owe();
    fp_.word = 0;
    fp_.compared = false;
}

host::Mem BlockWriter::fp_constant(std::size_t offset, unsigned bytes) const {
    Mem at = host::ptr(thunks_.fp.constants + offset, bytes);
    at.setRel();
    return at;
}

} // namespace untrap::x64
