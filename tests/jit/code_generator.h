// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <vector>

#include "random.h"
#include "translator/isa/table.h"

namespace untrap::tests {

// Which registers random code uses for what, as sets (bit n = rn). Addresses stay good for long because other
// instructions rarely write them.
struct RegisterUse {
    std::uint32_t pointers = 0; // bases of storage accesses
    std::uint32_t offsets = 0;  // index registers
    std::uint32_t reserved = 0; // never read or written, but by sequences of the test's own

    static RegisterUse random(Random& random, std::uint32_t reserved);
};

// Random instruction words of every row of the instruction table, with reserved bits zero.
class CodeGenerator {
  public:
    CodeGenerator(Random& random, const RegisterUse& use) : random_(random), use_(use) {}

    // One instruction at position of a program that is length long: branches mostly stay inside it.
    std::uint32_t instruction(unsigned position, unsigned length);
    std::vector<std::uint32_t> program(unsigned length);
    // An instruction of this row.
    std::uint32_t encode(isa::Op op, unsigned position, unsigned length);
    // Percent of instructions taken from all rows with equal chances; the others follow what compilers emit.
    void set_uniform_percent(unsigned percent) { uniform_percent_ = percent; }
    // Rows that are never generated.
    void exclude(isa::Op op) { excluded_[static_cast<std::size_t>(op)] = true; }

  private:
    isa::Op choose_op();
    bool usable(isa::Op op) const;
    unsigned source();
    unsigned target();
    unsigned pointer();
    unsigned offset();
    std::uint32_t branch_displacement(unsigned position, unsigned length);
    std::uint32_t storage_operands(const isa::InstructionInfo& info, isa::Op op);
    std::uint32_t special_register(isa::Op op);

    Random& random_;
    RegisterUse use_;
    unsigned uniform_percent_ = 45;
    std::array<bool, isa::op_count + 1> excluded_{};
    std::uint32_t reservation_ = 0; // RA and RB of the last lwarx
};

constexpr std::uint32_t field_rt(unsigned value) { return value << 21; }
constexpr std::uint32_t field_ra(unsigned value) { return value << 16; }
constexpr std::uint32_t field_rb(unsigned value) { return value << 11; }
constexpr std::uint32_t field_spr(unsigned number) { return (number & 31) << 16 | (number & 0x3E0) << 6; }
inline std::uint32_t match(isa::Op op) { return isa::instruction_table[static_cast<std::size_t>(op)].match; }
inline std::uint32_t immediate(isa::Op op, unsigned rt, unsigned ra, std::uint32_t value) {
    return match(op) | field_rt(rt) | field_ra(ra) | (value & 0xFFFF);
}
inline std::uint32_t rotate_and_mask(unsigned ra, unsigned rs, unsigned sh, unsigned mb, unsigned me) {
    return match(isa::Op::rlwinm) | field_rt(rs) | field_ra(ra) | field_rb(sh) | mb << 6 | me << 1;
}

} // namespace untrap::tests
