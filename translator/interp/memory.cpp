// SPDX-License-Identifier: GPL-2.0-only
// Fixed-point loads and stores, multiple and string accesses, reservations and cache management.
#include "translator/interp/step.h"

namespace untrap::interp::handlers {
namespace {

using isa::Instruction;

constexpr std::uint32_t cache_line = 32;

enum class Address { displaced, indexed };

template <Address form>
std::uint32_t effective_address(const Step& step) {
    return step.ra_or_zero() + (form == Address::displaced ? step.si() : step.rb());
}

bool load(Step& step, std::uint32_t ea, unsigned size, std::uint32_t& value) {
    std::uint64_t wide = 0;
    if (!step.storage.load(ea, size, wide, step.trap)) return false;
    value = static_cast<std::uint32_t>(wide);
    return true;
}

constexpr std::uint32_t swap16(std::uint32_t value) { return (value >> 8 & 0xFF) | (value & 0xFF) << 8; }
constexpr std::uint32_t swap32(std::uint32_t value) { return swap16(value) << 16 | swap16(value >> 16); }

// What is done to the value on its way between memory and register.
enum class Convert { zero, algebraic, reverse };

template <unsigned size, Convert convert>
constexpr std::uint32_t converted(std::uint32_t value) {
    if constexpr (convert == Convert::algebraic)
        return static_cast<std::uint32_t>(std::int32_t{static_cast<std::int16_t>(value & 0xFFFF)});
    else if constexpr (convert == Convert::reverse)
        return size == 2 ? swap16(value) : swap32(value);
    else
        return value;
}

template <unsigned size, Address form, Convert convert = Convert::zero>
void load_form(Step& step) {
    std::uint32_t value = 0;
    if (load(step, effective_address<form>(step), size, value))
        step.gpr(step.instruction.rt()) = converted<size, convert>(value);
}

// With RA = 0 or RA = RT a load with update is an invalid form with undefined result; as in QEMU it is an illegal
// instruction. So is a store with update and RA = 0.
template <unsigned size, Address form, Convert convert = Convert::zero>
void load_update(Step& step) {
    const unsigned base = step.instruction.ra();
    if (base == 0 || base == step.instruction.rt()) return step.stop(isa::TrapKind::illegal);
    const std::uint32_t ea = effective_address<form>(step);
    std::uint32_t value = 0;
    if (!load(step, ea, size, value)) return;
    step.gpr(step.instruction.rt()) = converted<size, convert>(value);
    step.gpr(base) = ea;
}

template <unsigned size, Address form, Convert convert = Convert::zero>
void store_form(Step& step) {
    constexpr std::uint32_t mask = size == 4 ? 0xFFFFFFFFU : (1U << 8 * (size & 3)) - 1;
    const std::uint32_t value = converted<size, convert>(step.rs() & mask);
    step.storage.store(effective_address<form>(step), size, value, step.trap);
}

template <unsigned size, Address form>
void store_update(Step& step) {
    const unsigned base = step.instruction.ra();
    if (base == 0) return step.stop(isa::TrapKind::illegal);
    const std::uint32_t ea = effective_address<form>(step);
    store_form<size, form>(step);
    if (step.trap.kind == isa::TrapKind::none) step.gpr(base) = ea;
}

// Registers of a string access: consecutive from RT, r0 after r31. Accesses are of bytes, because the order of bytes
// in a register does not depend on the page's E attribute. The registers are loaded only when every byte has been
// read, so that the address registers survive a fault even if they are among them (an invalid form, executed).
void load_string(Step& step, std::uint32_t ea, unsigned count) {
    std::uint32_t words[32] = {};
    for (unsigned byte = 0; byte < count; ++byte) {
        std::uint32_t value = 0;
        if (!load(step, ea + byte, 1, value)) return;
        words[byte / 4] |= value << (24 - byte % 4 * 8);
    }
    for (unsigned word = 0; word < (count + 3) / 4; ++word) step.gpr((step.instruction.rt() + word) % 32) = words[word];
}

void store_string(Step& step, std::uint32_t ea, unsigned count) {
    for (unsigned byte = 0; byte < count; ++byte) {
        const std::uint32_t word = step.gpr((step.instruction.rs() + byte / 4) % 32);
        const std::uint32_t value = word >> (24 - byte % 4 * 8) & 0xFF;
        if (!step.storage.store(ea + byte, 1, value, step.trap)) return;
    }
}

unsigned immediate_count(Instruction insn) { return insn.nb() == 0 ? 32 : insn.nb(); }

} // namespace

void lbz(Step& step) { load_form<1, Address::displaced>(step); }
void lbzu(Step& step) { load_update<1, Address::displaced>(step); }
void lbzx(Step& step) { load_form<1, Address::indexed>(step); }
void lbzux(Step& step) { load_update<1, Address::indexed>(step); }
void lhz(Step& step) { load_form<2, Address::displaced>(step); }
void lhzu(Step& step) { load_update<2, Address::displaced>(step); }
void lhzx(Step& step) { load_form<2, Address::indexed>(step); }
void lhzux(Step& step) { load_update<2, Address::indexed>(step); }
void lha(Step& step) { load_form<2, Address::displaced, Convert::algebraic>(step); }
void lhau(Step& step) { load_update<2, Address::displaced, Convert::algebraic>(step); }
void lhax(Step& step) { load_form<2, Address::indexed, Convert::algebraic>(step); }
void lhaux(Step& step) { load_update<2, Address::indexed, Convert::algebraic>(step); }
void lhbrx(Step& step) { load_form<2, Address::indexed, Convert::reverse>(step); }
void lwz(Step& step) { load_form<4, Address::displaced>(step); }
void lwzu(Step& step) { load_update<4, Address::displaced>(step); }
void lwzx(Step& step) { load_form<4, Address::indexed>(step); }
void lwzux(Step& step) { load_update<4, Address::indexed>(step); }
void lwbrx(Step& step) { load_form<4, Address::indexed, Convert::reverse>(step); }

void stb(Step& step) { store_form<1, Address::displaced>(step); }
void stbu(Step& step) { store_update<1, Address::displaced>(step); }
void stbx(Step& step) { store_form<1, Address::indexed>(step); }
void stbux(Step& step) { store_update<1, Address::indexed>(step); }
void sth(Step& step) { store_form<2, Address::displaced>(step); }
void sthu(Step& step) { store_update<2, Address::displaced>(step); }
void sthx(Step& step) { store_form<2, Address::indexed>(step); }
void sthux(Step& step) { store_update<2, Address::indexed>(step); }
void sthbrx(Step& step) { store_form<2, Address::indexed, Convert::reverse>(step); }
void stw(Step& step) { store_form<4, Address::displaced>(step); }
void stwu(Step& step) { store_update<4, Address::displaced>(step); }
void stwx(Step& step) { store_form<4, Address::indexed>(step); }
void stwux(Step& step) { store_update<4, Address::indexed>(step); }
void stwbrx(Step& step) { store_form<4, Address::indexed, Convert::reverse>(step); }

// RA among the registers loaded is an invalid form; it is loaded like the others, after the last access.
void lmw(Step& step) {
    const std::uint32_t ea = effective_address<Address::displaced>(step);
    const unsigned first = step.instruction.rt();
    std::uint32_t words[32];
    for (unsigned number = first; number < 32; ++number)
        if (!load(step, ea + (number - first) * 4, 4, words[number])) return;
    for (unsigned number = first; number < 32; ++number) step.gpr(number) = words[number];
}

void stmw(Step& step) {
    const std::uint32_t ea = effective_address<Address::displaced>(step);
    const unsigned first = step.instruction.rs();
    for (unsigned number = first; number < 32; ++number)
        if (!step.storage.store(ea + (number - first) * 4, 4, step.gpr(number), step.trap)) return;
}

void lswi(Step& step) { load_string(step, step.ra_or_zero(), immediate_count(step.instruction)); }
void lswx(Step& step) { load_string(step, effective_address<Address::indexed>(step), step.state.xer_count); }
void stswi(Step& step) { store_string(step, step.ra_or_zero(), immediate_count(step.instruction)); }
void stswx(Step& step) { store_string(step, effective_address<Address::indexed>(step), step.state.xer_count); }

void lwarx(Step& step) {
    const std::uint32_t ea = effective_address<Address::indexed>(step);
    if ((ea & 3) != 0) return step.stop_unaligned(ea, false);
    std::uint32_t value = 0;
    if (!load(step, ea, 4, value)) return;
    step.gpr(step.instruction.rt()) = value;
    step.state.reserve_valid = 1;
    step.state.reserve_address = ea;
}

// Without the reservation nothing is stored, and the address is not even looked at.
void stwcx_rc(Step& step) {
    const std::uint32_t ea = effective_address<Address::indexed>(step);
    if ((ea & 3) != 0) return step.stop_unaligned(ea, true);
    isa::CpuState& state = step.state;
    const bool reserved = state.reserve_valid != 0 && state.reserve_address == ea;
    if (reserved && !step.storage.store(ea, 4, step.rs(), step.trap)) return;
    state.reserve_valid = 0;
    state.crf[0] = isa::cr::encodings[(reserved ? isa::cr::eq : 0) | (state.xer_so != 0 ? isa::cr::so : 0)];
}

// A line never crosses a page: if the first store succeeds, so do the others.
void dcbz(Step& step) {
    const std::uint32_t line = effective_address<Address::indexed>(step) & ~(cache_line - 1);
    for (std::uint32_t offset = 0; offset < cache_line; offset += 8)
        if (!step.storage.store(line + offset, 8, 0, step.trap)) return;
}

// Write-back and invalidation have no effect on memory seen by one processor, but the page must be readable.
void dcbf(Step& step) { step.storage.check(effective_address<Address::indexed>(step), false, step.trap); }
void dcbst(Step& step) { step.storage.check(effective_address<Address::indexed>(step), false, step.trap); }

void icbi(Step& step) {
    const std::uint32_t ea = effective_address<Address::indexed>(step);
    if (step.storage.check(ea, false, step.trap)) step.storage.code_invalidated(ea & ~(cache_line - 1));
}

// Hints that never fault. The 440 treats dcba as a no-op under all circumstances (MMU chapter, access control
// applied to cache management instructions).
void dcba(Step&) {}
void dcbt(Step&) {}
void dcbtst(Step&) {}
void icbt(Step&) {}

} // namespace untrap::interp::handlers
