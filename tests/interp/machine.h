// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "translator/interp/interpreter.h"

namespace untrap::test {

using isa::CpuState;
using isa::Op;
using isa::Trap;
using isa::TrapKind;

// An instruction word from its three five-bit fields (bits 6-10, 11-15, 16-20) and whatever else is to be set.
constexpr std::uint32_t rc = 1, oe = 0x400, lk = 1;
inline std::uint32_t word(Op op, unsigned first, unsigned second, unsigned third = 0, std::uint32_t others = 0) {
    return isa::instruction_table[static_cast<std::size_t>(op)].match | first << 21 | second << 16 | third << 11 |
           others;
}
// The same with a 16-bit immediate.
inline std::uint32_t immediate(Op op, unsigned first, unsigned second, std::int32_t value) {
    return word(op, first, second) | (static_cast<std::uint32_t>(value) & 0xFFFF);
}

// A CPU with 4 KB of memory at 0x1000 whose last quarter can only be read. Everything else misses.
struct Machine final : interp::Storage {
    static constexpr std::uint32_t memory_start = 0x1000, read_only = 0x1C00, memory_end = 0x2000;

    CpuState cpu;
    std::array<std::uint8_t, memory_end - memory_start> memory{};
    std::uint64_t time = 0;
    std::vector<std::uint32_t> invalidated;
    unsigned accesses = 0;

    Machine() {
        cpu.reset();
        cpu.pc = memory_start;
        cpu.page.msr = isa::msr::fp;
    }

    bool allowed(std::uint32_t ea, unsigned size, bool is_store, Trap& trap) {
        ++accesses;
        for (std::uint32_t byte = ea; byte != ea + size; ++byte) {
            if (byte >= memory_start && byte < (is_store ? read_only : memory_end)) continue;
            trap.kind = byte >= memory_start && byte < memory_end ? TrapKind::data_denied : TrapKind::data_miss;
            trap.ea = byte;
            trap.is_store = is_store;
            return false;
        }
        return true;
    }
    bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, Trap& trap) override {
        if (!allowed(ea, size, false, trap)) return false;
        value = read(ea, size);
        return true;
    }
    bool store(std::uint32_t ea, unsigned size, std::uint64_t value, Trap& trap) override {
        if (!allowed(ea, size, true, trap)) return false;
        write(ea, size, value);
        return true;
    }
    bool fetch(std::uint32_t pc, std::uint32_t& instruction, Trap& trap) override {
        if (pc < memory_start || pc >= memory_end) {
            trap.kind = TrapKind::fetch_miss;
            return false;
        }
        instruction = static_cast<std::uint32_t>(read(pc, 4));
        return true;
    }
    bool check(std::uint32_t ea, bool is_store, Trap& trap) override { return allowed(ea, 1, is_store, trap); }
    void code_invalidated(std::uint32_t ea) override { invalidated.push_back(ea); }
    std::uint64_t timebase() override { return time; }

    std::uint64_t read(std::uint32_t ea, unsigned size) const {
        std::uint64_t value = 0;
        for (unsigned byte = 0; byte < size; ++byte) value = value << 8 | memory[ea - memory_start + byte];
        return value;
    }
    void write(std::uint32_t ea, unsigned size, std::uint64_t value) {
        for (unsigned byte = 0; byte < size; ++byte)
            memory[ea - memory_start + byte] = static_cast<std::uint8_t>(value >> 8 * (size - 1 - byte));
    }

    Trap step(std::uint32_t instruction) { return interp::execute(cpu, *this, isa::decode(instruction)); }
    // A step that completes and goes on to the next instruction.
    bool completes(std::uint32_t instruction) {
        const std::uint32_t pc = cpu.pc;
        const std::uint64_t retired = cpu.retired;
        return step(instruction).kind == TrapKind::none && cpu.pc == pc + 4 && cpu.retired == retired + 1;
    }
    unsigned cr_field(unsigned number) const { return isa::cr::decode(cpu.crf[number]); }
};

} // namespace untrap::test
