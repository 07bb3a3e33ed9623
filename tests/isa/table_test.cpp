// SPDX-License-Identifier: GPL-2.0-only
#include <random>
#include <string_view>

#include <catch2/catch_test_macros.hpp>

#include "translator/isa/msr.h"
#include "translator/isa/table.h"

using namespace untrap::isa;

namespace {

bool is_rc_capable(const InstructionInfo& info) { return (info.flags & flag::rc) != 0; }

// The row a word belongs to, by looking at all of them.
std::size_t row_of(std::uint32_t word) {
    for (std::size_t row = 0; row < op_count; ++row)
        if ((word & instruction_table[row].mask) == instruction_table[row].match) return row;
    return op_count;
}

} // namespace

TEST_CASE("every row decodes to itself") {
    for (std::size_t row = 0; row < op_count; ++row) {
        const InstructionInfo& info = instruction_table[row];
        CAPTURE(info.mnemonic);
        CHECK((info.match & ~info.mask) == 0);
        CHECK(decode(info.match).op == static_cast<Op>(row));
        CHECK(decode(info.match).word == info.match);
        const std::uint32_t operands = operand_mask(info.form);
        CHECK(decode(info.match | operands).op == static_cast<Op>(row));
        CHECK(&decode(info.match).info() == &info);
    }
}

TEST_CASE("operands, OE and Rc lie outside the opcode") {
    for (std::size_t row = 0; row < op_count; ++row) {
        const InstructionInfo& info = instruction_table[row];
        CAPTURE(info.mnemonic);
        CHECK((operand_mask(info.form) & info.mask) == 0);
        if (is_rc_capable(info)) CHECK(((operand_mask(info.form) | info.mask) & 1) == 0);
        if ((info.flags & flag::oe) != 0) CHECK(((operand_mask(info.form) | info.mask) & 0x400) == 0);
        // Nothing is recorded both by choice and always.
        CHECK((info.flags & (flag::rc | flag::rc_always)) != (flag::rc | flag::rc_always));
    }
}

TEST_CASE("random words decode as the rows say") {
    std::mt19937_64 random(20260101);
    std::size_t legal = 0;
    for (unsigned count = 0; count < 2'000'000; ++count) {
        std::uint32_t word = static_cast<std::uint32_t>(random());
        // Half of them in the opcodes that have an extended one.
        if (count % 2 == 0) {
            constexpr std::uint32_t primaries[] = {4, 19, 31, 59, 63};
            word = (word & 0x03FFFFFF) | primaries[random() % 5] << 26;
        }
        const Instruction instruction = decode(word);
        if (static_cast<std::size_t>(instruction.op) != row_of(word) || instruction.word != word)
            FAIL(std::hex << word);
        legal += instruction.op != Op::illegal;
    }
    CHECK(legal > 100'000);
}

TEST_CASE("words that are no instruction") {
    for (const std::uint32_t word : {0U, 0x00000001U, 4U << 26, 31U << 26 | 0x7FE, 19U << 26 | 2, 59U << 26,
                                     63U << 26 | 0x3C2, 58U << 26, 62U << 26, 30U << 26})
        CHECK(decode(word).op == Op::illegal);
    CHECK(decode(0x7C00012C).op == Op::illegal); // stwcx without its Rc bit
    CHECK(decode(0x7C00012D).op == Op::stwcx_rc);
    CHECK_FALSE(Instruction{}.privileged());
    CHECK(std::string_view(Instruction{}.info().mnemonic) == "illegal");
}

TEST_CASE("fields") {
    const Instruction addi = decode(0x3883FFFC); // addi r4,r3,-4
    CHECK(addi.op == Op::addi);
    CHECK(addi.rt() == 4);
    CHECK(addi.ra() == 3);
    CHECK(addi.si() == -4);
    CHECK(addi.ui() == 0xFFFC);
    const Instruction branch = decode(0x4BFFFFF1); // bl .-16
    CHECK(branch.li() == -16);
    CHECK(branch.lk());
    CHECK_FALSE(branch.aa());
    const Instruction conditional = decode(0x4182FFF0); // beq .-16
    CHECK(conditional.bo() == 12);
    CHECK(conditional.bi() == 2);
    CHECK(conditional.bd() == -16);
    const Instruction rotate = decode(0x5483E13E); // rlwinm r3,r4,28,4,31
    CHECK(rotate.sh() == 28);
    CHECK(rotate.mb() == 4);
    CHECK(rotate.me() == 31);
    const Instruction move = decode(0x7C7043A6); // mtspr SPRG0,r3
    CHECK(move.spr() == spr::sprg0);
    CHECK(move.privileged());
    CHECK_FALSE(decode(0x7C6902A6).privileged()); // mfctr
    CHECK(decode(0x7C0000A6).privileged());       // mfmsr
    CHECK(decode(0x7CA64E14).records_overflow()); // addo
    CHECK_FALSE(decode(0x7CA64E14).records());
    CHECK(decode(0x70A50001).records());                // andi.
    CHECK_FALSE(decode(0x60A50001).records());          // ori: bit 31 is its operand
    CHECK_FALSE(decode(0x90010401).records_overflow()); // stw: bit 21 is its operand
}

TEST_CASE("rotate masks") {
    CHECK(rotate_mask(0, 31) == 0xFFFFFFFF);
    CHECK(rotate_mask(31, 31) == 1);
    CHECK(rotate_mask(0, 0) == 0x80000000);
    CHECK(rotate_mask(24, 31) == 0xFF);
    CHECK(rotate_mask(31, 0) == 0x80000001);
    for (unsigned mb = 0; mb < 32; ++mb)
        for (unsigned me = 0; me < 32; ++me) {
            std::uint32_t expected = 0;
            for (unsigned bit = mb;; bit = (bit + 1) % 32) {
                expected |= ppc_bit(bit);
                if (bit == me) break;
            }
            if (rotate_mask(mb, me) != expected) FAIL(mb << ' ' << me);
        }
}
