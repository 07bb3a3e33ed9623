// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/state.h"
#include "translator/isa/table.h"

namespace untrap::interp {

// An instruction that loads or stores one integer register, without sign extension: what drivers and user copies are
// made of. For those who do an access without the interpreter.
struct SimpleAccess {
    std::uint8_t size = 0; // bytes; 0: the instruction is none of these
    bool store = false, update = false, indexed = false, reversed = false;
};

constexpr SimpleAccess simple_access(std::uint32_t word) {
    using isa::Op;
    constexpr auto primary = [](Op op) { return isa::match_of(op) >> 26; };
    constexpr auto extended = [](Op op) { return isa::match_of(op) >> 1 & 0x3FF; };
    switch (word >> 26) {
    case primary(Op::lwz): return {4, false, false, false, false};
    case primary(Op::lwzu): return {4, false, true, false, false};
    case primary(Op::lbz): return {1, false, false, false, false};
    case primary(Op::lbzu): return {1, false, true, false, false};
    case primary(Op::lhz): return {2, false, false, false, false};
    case primary(Op::lhzu): return {2, false, true, false, false};
    case primary(Op::stw): return {4, true, false, false, false};
    case primary(Op::stwu): return {4, true, true, false, false};
    case primary(Op::stb): return {1, true, false, false, false};
    case primary(Op::stbu): return {1, true, true, false, false};
    case primary(Op::sth): return {2, true, false, false, false};
    case primary(Op::sthu): return {2, true, true, false, false};
    case primary(Op::lwzx): break;
    default: return {};
    }
    switch (word >> 1 & 0x3FF) {
    case extended(Op::lwzx): return {4, false, false, true, false};
    case extended(Op::lhzx): return {2, false, false, true, false};
    case extended(Op::lbzx): return {1, false, false, true, false};
    case extended(Op::stwx): return {4, true, false, true, false};
    case extended(Op::sthx): return {2, true, false, true, false};
    case extended(Op::stbx): return {1, true, false, true, false};
    case extended(Op::lwbrx): return {4, false, false, true, true};
    case extended(Op::lhbrx): return {2, false, false, true, true};
    case extended(Op::stwbrx): return {4, true, false, true, true};
    case extended(Op::sthbrx): return {2, true, false, true, true};
    default: return {};
    }
}

// Update forms that are no instructions, as the interpreter has it.
constexpr bool is_valid(SimpleAccess access, isa::Instruction insn) {
    return !access.update || (insn.ra() != 0 && (access.store || insn.ra() != insn.rt()));
}

inline std::uint32_t address_of(SimpleAccess access, isa::Instruction insn, const isa::CpuState& state) {
    const std::uint32_t base = insn.ra() != 0 ? state.gpr[insn.ra()] : 0;
    return base + (access.indexed ? state.gpr[insn.rb()] : static_cast<std::uint32_t>(insn.si()));
}

// Between what is in the register and what is in memory, right-aligned.
constexpr std::uint32_t reversed_if(SimpleAccess access, std::uint32_t value) {
    if (!access.reversed) return value;
    return access.size == 4 ? __builtin_bswap32(value) : __builtin_bswap16(static_cast<std::uint16_t>(value));
}

// What is in the register to be stored, as it comes to memory.
inline std::uint32_t stored_value(SimpleAccess access, isa::Instruction insn, const isa::CpuState& state) {
    const std::uint32_t mask = access.size == 4 ? 0xFFFFFFFF : (1U << 8 * access.size) - 1;
    return reversed_if(access, state.gpr[insn.rt()] & mask);
}

// The access at ea was made, and gave `value` if it is a load: what else the instruction does.
inline void complete_access(SimpleAccess access, isa::Instruction insn, std::uint32_t ea, std::uint32_t value,
                            isa::CpuState& state) {
    if (!access.store) state.gpr[insn.rt()] = reversed_if(access, value);
    if (access.update) state.gpr[insn.ra()] = ea;
    state.pc += 4;
}

} // namespace untrap::interp
