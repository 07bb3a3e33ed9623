// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>

namespace untrap::vmm {

// A word of guest code in assembler, branch targets as addresses. Privileged instructions are written from untrap's own
// instruction table, with the 440's register names; capstone knows the others.
std::string disassemble(std::uint32_t word, std::uint32_t address);

// The others: by capstone, or where the program is built without it by mnemonic alone.
std::string disassemble_unprivileged(std::uint32_t word, std::uint32_t address);

} // namespace untrap::vmm
