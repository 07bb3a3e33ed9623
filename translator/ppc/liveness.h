// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/isa/table.h"

namespace untrap::ppc {

// Registers as sets: GPR n is bit n, CR field n is bit n.
struct Registers {
    std::uint32_t gpr = 0;
    std::uint8_t cr = 0;
};

// What an instruction reads and writes. simple: it can raise no exception in supervisor state, goes on to the next
// instruction, and reads and writes nothing of GPRs and CR but what is listed (written fields as a whole).
struct Operands {
    bool simple = false;
    Registers reads, writes;
};
Operands operands(isa::Instruction instruction);

// GPRs and CR fields whose contents nothing can need any more behind window[0]: each is written before it is read, and
// before any instruction that might raise an exception, whose handler could see it or go on elsewhere. An asynchronous
// interrupt's handler may still see them, so a host that shows registers exactly at any moment takes none as dead.
// window: the words of the code from the site on.
Registers dead_after(const std::uint32_t* window, unsigned length);

} // namespace untrap::ppc
