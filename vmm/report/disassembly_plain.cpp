// SPDX-License-Identifier: GPL-2.0-only
// Without capstone (a program for a 440 host): the name of the instruction and the word itself.
#include <fmt/format.h>

#include "translator/isa/table.h"
#include "vmm/report/disassembly.h"

namespace untrap::vmm {

std::string disassemble_unprivileged(std::uint32_t word, std::uint32_t) {
    const isa::Instruction insn = isa::decode(word);
    if (insn.op == isa::Op::illegal) return fmt::format(".long 0x{:08x}", word);
    return fmt::format("{} (0x{:08x})", insn.info().mnemonic, word);
}

} // namespace untrap::vmm
