// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/isa/table.h"
#include "translator/x64/effects.h"

namespace untrap::x64 {

// A value as an offset from one that has no other name: equal roots are equal values.
struct Symbol {
    unsigned root = 0;
    std::int32_t offset = 0;
    bool stack = false;     // points into the stack, as far as one can tell
    std::uint32_t from = 0; // bit n: made of what rn held at first and of constants; 0: of other things too
    static constexpr unsigned constant_root = ~0U;
    bool constant() const { return root == constant_root; } // offset is the value
};

// What registers hold while a block is walked along, as far as constants, sums, shifts and copies tell.
class KnownValues {
  public:
    KnownValues() { forget_all(); }
    const Symbol& operator[](unsigned gpr) const { return values_[gpr]; }
    void forget_all();
    void execute(isa::Instruction insn, const Effects& effects, std::uint32_t pc);
    // The effective address of an access with RA.
    Symbol address(isa::Instruction insn);

  private:
    Symbol moved(const Symbol& from, std::uint32_t by) const;
    Symbol sum(const Symbol& a, const Symbol& b);
    Symbol shifted(const Symbol& from, unsigned by);
    // The root of the sum of two, or of one shifted to the left.
    unsigned root_of(unsigned a, unsigned b, unsigned shift);

    std::array<Symbol, 32> values_;
    Symbol link_; // LR
    unsigned next_ = 0;
    struct Made {
        unsigned a, b, shift, root;
    };
    std::array<Made, 32> made_;
    unsigned made_count_ = 0;
};

} // namespace untrap::x64
