// SPDX-License-Identifier: GPL-2.0-only
#include "translator/plan/plan.h"

#include <cstddef>

#include "translator/isa/msr.h"
#include "translator/isa/spr.h"
#include "translator/isa/state.h"

namespace untrap::plan {

using isa::Instruction;
using isa::Op;
using isa::StatePage;

namespace {

constexpr unsigned no_field = 0xFFFF;

constexpr bool allowed(unsigned levels, unsigned level) { return (levels >> level & 1) != 0; }

// The state-page field behind an SPR that can be read and written without further effect.
constexpr unsigned plain_field(unsigned number) {
    namespace spr = isa::spr;
    if (number >= spr::sprg0 && number <= spr::sprg7)
        return static_cast<unsigned>(offsetof(StatePage, sprg) + (number - spr::sprg0) * 4);
    switch (number) {
    case spr::srr0: return offsetof(StatePage, srr0);
    case spr::srr1: return offsetof(StatePage, srr1);
    case spr::csrr0: return offsetof(StatePage, csrr0);
    case spr::csrr1: return offsetof(StatePage, csrr1);
    case spr::dear: return offsetof(StatePage, dear);
    case spr::esr: return offsetof(StatePage, esr);
    default: return no_field;
    }
}

// Like plain_field, with the registers that may only be read that way.
constexpr unsigned readable_field(unsigned number) {
    namespace spr = isa::spr;
    if (number == spr::pid) return offsetof(StatePage, pid);
    if (number == spr::mmucr) return offsetof(StatePage, mmucr);
    return plain_field(number);
}

Step field_step(StepKind kind, unsigned gpr, unsigned field, std::uint32_t value = 0) {
    return {kind, static_cast<std::uint8_t>(gpr), static_cast<std::uint16_t>(field), value};
}

// Read without privilege under their user numbers, so a 440 host has to write the CPU's own: by a trap, until level 4
// runs whole handlers (Linux's TLB misses write three of them each). No host is to do better there than another.
constexpr bool is_read_by_users(unsigned number) { return number >= isa::spr::sprg4 && number <= isa::spr::sprg7; }

// Level 1: one unprivileged word.
bool plan_word(Instruction insn, unsigned levels, Patch& patch) {
    unsigned field = no_field;
    StepKind kind = StepKind::load_field;
    if (insn.op == Op::mfmsr) field = offsetof(StatePage, msr);
    if (insn.op == Op::mfspr) field = readable_field(insn.spr());
    if (insn.op == Op::mtspr && (allowed(levels, 4) || !is_read_by_users(insn.spr()))) {
        field = plain_field(insn.spr());
        kind = StepKind::store_field;
    }
    if (field == no_field) return false;
    // SRR0 and its kin hold instruction addresses: the low bits do not exist.
    std::uint32_t mask = 0xFFFFFFFF;
    if (insn.op == Op::mtspr && (insn.spr() == isa::spr::srr0 || insn.spr() == isa::spr::csrr0)) {
        kind = StepKind::store_field_masked;
        mask = ~3U;
    }
    patch.level = 1;
    patch.steps[0] = field_step(kind, insn.rt(), field, mask);
    return true;
}

// Level 2: a stub.
bool plan_stub(Instruction insn, Patch& patch) {
    namespace msr = isa::msr;
    const auto gpr = static_cast<std::uint8_t>(insn.rt());
    auto& steps = patch.steps;
    switch (insn.op) {
    case Op::wrteei:
        if (insn.e()) {
            steps[0] = {StepKind::trap_if_pending, any_gpr, 0, msr::ee};
            steps[1] = {StepKind::set_msr_bits, 0, 0, msr::ee};
        } else {
            steps[0] = {StepKind::clear_msr_bits, 0, 0, msr::ee};
        }
        break;
    case Op::wrtee:
        steps[0] = {StepKind::trap_if_pending, gpr, 0, msr::ee};
        steps[1] = {StepKind::copy_msr_bits, gpr, 0, msr::ee};
        break;
    case Op::mtmsr:
        steps[0] = {StepKind::trap_if_msr_changes, gpr, 0, msr::mode};
        steps[1] = {StepKind::trap_if_pending, gpr, 0, msr::ee | msr::ce};
        steps[2] = {StepKind::copy_msr_bits, gpr, 0, msr::defined};
        break;
    case Op::mtspr:
        if (insn.spr() == isa::spr::pid) {
            steps[0] = {StepKind::switch_pid, gpr, 0, 0xFF};
        } else if (insn.spr() == isa::spr::mmucr) {
            steps[0] = field_step(StepKind::store_field_masked, gpr, offsetof(StatePage, mmucr), isa::mmucr::writable);
        } else {
            return false;
        }
        break;
    case Op::tlbsync: steps[0] = {StepKind::nothing, 0, 0, 0}; break;
    default: return false;
    }
    patch.level = 2;
    return true;
}

bool covered_below_sequence(Instruction insn, unsigned levels) {
    Patch ignored;
    return (allowed(levels, 1) && plan_word(insn, levels, ignored)) || (allowed(levels, 2) && plan_stub(insn, ignored));
}

} // namespace

bool continues_sequence(Instruction insn) {
    if (insn.op == Op::illegal || insn.has(isa::flag::fp | isa::flag::trap)) return false;
    if (insn.op == Op::bc) return !insn.lk() && !insn.aa() && insn.bd() > 0;
    if (insn.has(isa::flag::branch)) return false;
    // native440's core cannot do for the guest what these do with the CPU's caches.
    if (insn.op == Op::dcbf || insn.op == Op::dcbst || insn.op == Op::icbi || insn.op == Op::iccci) return false;
    return insn.op != Op::lwarx && insn.op != Op::stwcx_rc && insn.op != Op::mfdcr && insn.op != Op::mtdcr;
}

bool closes_loop(Instruction insn, unsigned index) {
    return insn.op == Op::bc && !insn.lk() && !insn.aa() && insn.bd() == -4 * static_cast<std::int32_t>(index);
}

bool belongs_to_handler(Instruction insn) {
    switch (insn.op) {
    case Op::tlbwe:
    case Op::tlbre:
    case Op::tlbsx:
    case Op::tlbsync:
    case Op::mfmsr:
    case Op::rfi: return true;
    case Op::mfspr: return readable_field(insn.spr()) != no_field;
    case Op::mtspr: return readable_field(insn.spr()) != no_field; // PID and MMUCR included
    default: return false;
    }
}

bool ends_sequence(Instruction insn) { return insn.op == Op::rfi || insn.op == Op::rfci || insn.op == Op::rfmci; }

namespace {

// Level 3: how far the exit at window[0] reaches, 1 if nothing privileged follows and it is in no loop.
unsigned sequence_span(const std::uint32_t* window, unsigned length, unsigned levels, bool& loops) {
    unsigned span = 1;
    if (!continues_sequence(isa::decode(window[0]))) return span;
    for (unsigned index = 1; index < length && index < sequence_window; ++index) {
        const Instruction insn = isa::decode(window[index]);
        if (closes_loop(insn, index)) {
            loops = true;
            return index + 1;
        }
        const bool usable = ends_sequence(insn) || continues_sequence(insn);
        if (insn.privileged() && usable && !covered_below_sequence(insn, levels)) span = index + 1;
        if (index + 1 - span > sequence_gap) break;
        if (!continues_sequence(insn)) break;
    }
    return span;
}

} // namespace

Patch make_patch(const std::uint32_t* window, unsigned window_length, unsigned levels) {
    Patch patch;
    if (window_length == 0) return patch;
    const Instruction insn = isa::decode(window[0]);
    if (!insn.privileged()) return patch;
    if (allowed(levels, 1) && plan_word(insn, levels, patch)) return patch;
    if (allowed(levels, 2) && plan_stub(insn, patch)) return patch;
    if (allowed(levels, 3)) {
        const unsigned span = sequence_span(window, window_length, levels, patch.loops);
        if (span > 1) {
            patch.level = 3;
            patch.span = static_cast<std::uint8_t>(span);
        }
    }
    return patch;
}

} // namespace untrap::plan
