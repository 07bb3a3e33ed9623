// SPDX-License-Identifier: GPL-2.0-only
#include "translator/x64/known_values.h"

#include <algorithm>

#include "translator/isa/spr.h"

namespace untrap::x64 {

using isa::Form;
using isa::Instruction;
using isa::Op;
namespace flag = isa::flag;

namespace {

constexpr unsigned stack_pointer = 1;
constexpr unsigned none = 32;

std::uint32_t bits(std::int32_t value) { return static_cast<std::uint32_t>(value); }
Symbol constant(std::uint32_t value) { return {Symbol::constant_root, static_cast<std::int32_t>(value), false, 0}; }

} // namespace

void KnownValues::forget_all() {
    for (unsigned gpr = 0; gpr < 32; ++gpr) values_[gpr] = {next_++, 0, gpr == stack_pointer, 1U << gpr};
    link_ = {next_++, 0, false, 0};
    made_count_ = 0;
}

Symbol KnownValues::address(Instruction insn) {
    if (has_displacement(insn)) return moved(values_[insn.ra()], bits(insn.si()));
    return sum(values_[insn.ra()], values_[insn.rb()]);
}

void KnownValues::execute(Instruction insn, const Effects& effects, std::uint32_t pc) {
    if (effects.opaque) {
        forget_all();
        return;
    }
    Symbol result{};
    unsigned target = none;
    switch (insn.op) {
    case Op::addi:
    case Op::addis: {
        const std::uint32_t value = insn.op == Op::addi ? bits(insn.si()) : static_cast<std::uint32_t>(insn.ui()) << 16;
        target = insn.rt();
        result = insn.ra() == 0 ? constant(value) : moved(values_[insn.ra()], value);
        break;
    }
    case Op::ori:
    case Op::oris: {
        const Symbol& from = values_[insn.rs()];
        const std::uint32_t value =
            insn.op == Op::ori ? static_cast<std::uint32_t>(insn.ui()) : static_cast<std::uint32_t>(insn.ui()) << 16;
        if (!from.constant() && value != 0) break;
        target = insn.ra();
        result = value == 0 ? from : constant(bits(from.offset) | value);
        break;
    }
    case Op::or_:
        if (insn.rs() != insn.rb()) break;
        target = insn.ra();
        result = values_[insn.rs()];
        break;
    case Op::add:
        target = insn.rt();
        result = sum(values_[insn.ra()], values_[insn.rb()]);
        break;
    case Op::rlwinm:
        if (insn.sh() == 0 || insn.mb() != 0 || insn.me() != 31 - insn.sh()) break;
        target = insn.ra();
        result = shifted(values_[insn.rs()], insn.sh());
        break;
    case Op::mfspr:
        if (insn.spr() != isa::spr::lr) break;
        target = insn.rt();
        result = link_;
        break;
    case Op::mtspr:
        if (insn.spr() == isa::spr::lr) link_ = values_[insn.rs()];
        break;
    default:
        if (insn.has(flag::branch) && insn.lk()) link_ = constant(pc + 4);
        if (!insn.has(flag::update) || !has_displacement(insn)) break;
        target = insn.ra();
        result = moved(values_[insn.ra()], bits(insn.si()));
        break;
    }
    for (unsigned gpr = 0; gpr < 32; ++gpr)
        if ((effects.gpr_written >> gpr & 1) != 0) values_[gpr] = {next_++, 0, false, 0};
    if (target != none) values_[target] = result;
    values_[stack_pointer].stack = true;
}

Symbol KnownValues::moved(const Symbol& from, std::uint32_t by) const {
    return {from.root, static_cast<std::int32_t>(bits(from.offset) + by), from.stack, from.from};
}

Symbol KnownValues::sum(const Symbol& a, const Symbol& b) {
    if (a.constant()) return moved(b, bits(a.offset));
    if (b.constant()) return moved(a, bits(b.offset));
    // What has one of both in the stack is an element of an array there.
    return {root_of(std::min(a.root, b.root), std::max(a.root, b.root), 0),
            static_cast<std::int32_t>(bits(a.offset) + bits(b.offset)), a.stack || b.stack,
            a.from != 0 && b.from != 0 ? a.from | b.from : 0};
}

Symbol KnownValues::shifted(const Symbol& from, unsigned by) {
    const auto offset = static_cast<std::int32_t>(bits(from.offset) << by);
    if (from.constant()) return constant(bits(offset));
    return {root_of(from.root, from.root, by), offset, false, from.from};
}

unsigned KnownValues::root_of(unsigned a, unsigned b, unsigned shift) {
    for (unsigned i = 0; i < made_count_; ++i)
        if (made_[i].a == a && made_[i].b == b && made_[i].shift == shift) return made_[i].root;
    if (made_count_ < made_.size()) made_[made_count_++] = {a, b, shift, next_};
    return next_++;
}

} // namespace untrap::x64
