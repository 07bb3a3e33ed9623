// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>

#include "translator/isa/table.h"
#include "translator/plan/plan.h"

namespace untrap::scan {

// A privileged instruction found in guest code, and what the patch levels would make of it.
struct Site {
    std::uint32_t address = 0; // effective
    isa::Instruction instruction;
    plan::Patch patch; // level 0: it goes on trapping
};

// Reads big-endian code at its effective address (a multiple of 4) word by word and calls visit for every word that
// decodes to a privileged instruction. Data among the code may decode to one by chance: a static scan is an upper
// bound, and nothing is ever patched because of it.
template <typename Visit>
void scan(const std::uint8_t* code, std::size_t bytes, std::uint32_t address, unsigned levels, Visit&& visit) {
    auto word_at = [code](std::size_t offset) {
        return std::uint32_t{code[offset]} << 24 | std::uint32_t{code[offset + 1]} << 16 |
               std::uint32_t{code[offset + 2]} << 8 | code[offset + 3];
    };
    const std::size_t end = bytes & ~std::size_t{3};
    for (std::size_t offset = 0; offset < end; offset += 4) {
        const isa::Instruction instruction = isa::decode(word_at(offset));
        if (!instruction.privileged()) continue;
        std::uint32_t window[plan::sequence_window];
        unsigned length = 0;
        for (std::size_t next = offset; next < end && length < plan::sequence_window; next += 4)
            window[length++] = word_at(next);
        visit(
            Site{address + static_cast<std::uint32_t>(offset), instruction, plan::make_patch(window, length, levels)});
    }
}

} // namespace untrap::scan
