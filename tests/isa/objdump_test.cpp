// SPDX-License-Identifier: GPL-2.0-only
// The table's names against an independent disassembler.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <unistd.h>

#include "translator/isa/table.h"

#ifdef UNTRAP_PPC_OBJDUMP

using namespace untrap::isa;

namespace {

// Operands at random, but none that make a form invalid (objdump shows those as data): RT above the address
// registers, which are not 0; a BO that means something.
std::uint32_t operands(const InstructionInfo& info, std::mt19937& random) {
    const auto below = [&](unsigned bound) { return static_cast<std::uint32_t>(random() % bound); };
    std::uint32_t word = static_cast<std::uint32_t>(random()) & operand_mask(info.form);
    const auto field = [&](std::uint32_t value, unsigned shift) {
        word = (word & ~(31U << shift)) | (value << shift & operand_mask(info.form));
    };
    switch (info.form) {
    case Form::b:
    case Form::xl_branch: field(std::vector<std::uint32_t>{4, 12, 20}[below(3)], 21); break;
    case Form::x_string_imm: field(1 + below(16), 11); [[fallthrough]];
    case Form::d_mem:
    case Form::d_fmem:
    case Form::x_mem:
    case Form::x_fmem:
        field(16 + below(8), 21);
        field(1 + below(15), 16);
        if (info.form == Form::x_mem || info.form == Form::x_fmem) field(1 + below(15), 11);
        break;
    case Form::x_tlb: field(below(3), 11); break;
    default: break;
    }
    if ((info.flags & flag::rc) != 0) word |= below(2);
    if ((info.flags & flag::oe) != 0) word |= below(2) << 10;
    return word;
}

std::string full_name(Instruction instruction) {
    const Form form = instruction.info().form;
    std::string name = instruction.info().mnemonic;
    if (form == Form::i || form == Form::b || form == Form::xl_branch) {
        if (instruction.lk()) name += 'l';
        if (form != Form::xl_branch && instruction.aa()) name += 'a';
    }
    if (instruction.records_overflow()) name += 'o';
    if (instruction.has(flag::rc) && instruction.rc()) name += '.';
    return name;
}

std::vector<std::string> disassemble(const std::vector<std::uint32_t>& words) {
    const char* folder = std::getenv("TMPDIR");
    std::string path = std::string(folder != nullptr ? folder : "/tmp") + "/isa_test.XXXXXX";
    const int descriptor = mkstemp(path.data());
    REQUIRE(descriptor >= 0);
    std::FILE* file = fdopen(descriptor, "wb");
    for (const std::uint32_t word : words)
        for (unsigned shift = 32; shift != 0; shift -= 8)
            std::fputc(static_cast<int>(word >> (shift - 8) & 0xFF), file);
    std::fclose(file);
    const std::string command = std::string(UNTRAP_PPC_OBJDUMP) + " -D -z -b binary -m powerpc -EB -M 440,raw " + path;
    std::FILE* pipe = popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::vector<std::string> names;
    char line[256];
    while (std::fgets(line, sizeof line, pipe) != nullptr) {
        // "   0:\t7c 00 02 14 \tadd     r0,r0,r0"
        std::istringstream in(line);
        std::string address, byte, name;
        if (!(in >> address) || address.back() != ':' || address.find_first_not_of("0123456789abcdef:") != address.npos)
            continue;
        for (unsigned count = 0; count < 4; ++count) in >> byte;
        if (in >> name) names.push_back(name);
    }
    pclose(pipe);
    unlink(path.c_str());
    return names;
}

} // namespace

TEST_CASE("names are objdump's") {
    std::mt19937 random(440);
    std::vector<std::uint32_t> words;
    for (std::size_t row = 0; row < op_count; ++row)
        for (unsigned variant = 0; variant < 16; ++variant) {
            const InstructionInfo& info = instruction_table[row];
            std::uint32_t word = info.match | operands(info, random);
            if (static_cast<Op>(row) == Op::sc) word |= 2; // a bit that must be 1 there and is ignored here
            words.push_back(word);
        }
    const std::vector<std::string> names = disassemble(words);
    REQUIRE(names.size() == words.size());
    for (std::size_t index = 0; index < words.size(); ++index) {
        const Instruction instruction = decode(words[index]);
        // objdump's 440 reads the timebase by mfspr alone.
        if (instruction.op == Op::mftb) continue;
        CAPTURE(instruction.word);
        CHECK(names[index] == full_name(instruction));
    }
}

#else

TEST_CASE("names are objdump's") { SKIP("no PowerPC objdump when this was built"); }

#endif
