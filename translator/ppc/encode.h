// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

// Words of the PowerPC instructions that patches are made of. Register numbers 0-31, CR fields 0-7, bits by their
// manual numbers; ranges are the caller's business.
namespace untrap::ppc::encode {

// Operands of conditional branches: taken if the CR bit is clear, or set.
inline constexpr unsigned if_clear = 4, if_set = 12;
// Operand of traps: greater or less than.
inline constexpr unsigned trap_if_other = 24;
// Bits of a CR field.
inline constexpr unsigned eq = 2;

constexpr std::uint32_t d_form(unsigned opcode, unsigned rt, unsigned ra, std::int32_t value) {
    return opcode << 26 | rt << 21 | ra << 16 | (static_cast<std::uint32_t>(value) & 0xFFFF);
}
constexpr std::uint32_t m_form(unsigned opcode, unsigned ra, unsigned rs, unsigned shift, unsigned mb, unsigned me) {
    return opcode << 26 | rs << 21 | ra << 16 | shift << 11 | mb << 6 | me << 1;
}

constexpr std::uint32_t lwz(unsigned rt, unsigned ra, std::int32_t displacement) {
    return d_form(32, rt, ra, displacement);
}
constexpr std::uint32_t stw(unsigned rs, unsigned ra, std::int32_t displacement) {
    return d_form(36, rs, ra, displacement);
}
// rA = 0 is the number 0.
constexpr std::uint32_t addi(unsigned rt, unsigned ra, std::int32_t value) { return d_form(14, rt, ra, value); }
constexpr std::uint32_t addis(unsigned rt, unsigned ra, std::int32_t value) { return d_form(15, rt, ra, value); }
constexpr std::uint32_t add(unsigned rt, unsigned ra, unsigned rb) {
    return 31U << 26 | rt << 21 | ra << 16 | rb << 11 | 266U << 1;
}
// Two operands and a result in rT, or in rA.
constexpr std::uint32_t x_form(unsigned extended, unsigned rt, unsigned ra, unsigned rb) {
    return 31U << 26 | rt << 21 | ra << 16 | rb << 11 | extended << 1;
}
constexpr std::uint32_t mullw(unsigned rt, unsigned ra, unsigned rb) { return x_form(235, rt, ra, rb); }
constexpr std::uint32_t cntlzw(unsigned ra, unsigned rs) { return x_form(26, rs, ra, 0); }
constexpr std::uint32_t ori(unsigned ra, unsigned rs, std::uint32_t value) {
    return d_form(24, rs, ra, static_cast<std::int32_t>(value));
}
constexpr std::uint32_t oris(unsigned ra, unsigned rs, std::uint32_t value) {
    return d_form(25, rs, ra, static_cast<std::int32_t>(value));
}
constexpr std::uint32_t xor_(unsigned ra, unsigned rs, unsigned rb) {
    return 31U << 26 | rs << 21 | ra << 16 | rb << 11 | 316U << 1;
}
constexpr std::uint32_t and_(unsigned ra, unsigned rs, unsigned rb) { return x_form(28, rs, ra, rb); }
// A trap unless the register has this value.
constexpr std::uint32_t twnei(unsigned ra, std::int32_t value) { return d_form(3, trap_if_other, ra, value); }
constexpr std::uint32_t rlwinm(unsigned ra, unsigned rs, unsigned shift, unsigned mb, unsigned me) {
    return m_form(21, ra, rs, shift, mb, me);
}
constexpr std::uint32_t rlwimi(unsigned ra, unsigned rs, unsigned shift, unsigned mb, unsigned me) {
    return m_form(20, ra, rs, shift, mb, me);
}
// The same instruction with its result compared with 0 in CR0.
constexpr std::uint32_t recording(std::uint32_t word) { return word | 1; }
constexpr std::uint32_t cmpwi(unsigned field, unsigned ra, std::int32_t value) {
    return d_form(11, field << 2, ra, value);
}
constexpr std::uint32_t cmplw(unsigned field, unsigned ra, unsigned rb) {
    return 31U << 26 | field << 23 | ra << 16 | rb << 11 | 32U << 1;
}
constexpr std::uint32_t spr_form(unsigned extended, unsigned spr, unsigned rt) {
    return 31U << 26 | rt << 21 | (spr & 31) << 16 | (spr >> 5 & 31) << 11 | extended << 1;
}
constexpr std::uint32_t mfspr(unsigned rt, unsigned spr) { return spr_form(339, spr, rt); }
constexpr std::uint32_t mtspr(unsigned spr, unsigned rs) { return spr_form(467, spr, rs); }
inline constexpr std::uint32_t blr = 0x4E800020, blrl = 0x4E800021;
constexpr std::uint32_t mfcr(unsigned rt) { return 31U << 26 | rt << 21 | 19U << 1; }
// Mask bit of a CR field in mtcrf.
constexpr unsigned field_mask(unsigned field) { return 0x80U >> field; }
constexpr std::uint32_t mtcrf(unsigned fields, unsigned rs) { return 31U << 26 | rs << 21 | fields << 12 | 144U << 1; }
// Displacements in bytes from the branch itself.
constexpr std::uint32_t b(std::uint32_t displacement) { return 18U << 26 | (displacement & 0x03FFFFFC); }
constexpr std::uint32_t bl(std::uint32_t displacement) { return b(displacement) | 1; }
// Whether such a branch gets there.
constexpr bool within_reach(std::uint32_t displacement) { return displacement + 0x02000000 < 0x04000000; }
constexpr std::uint32_t bc(unsigned how, unsigned cr_bit, std::uint32_t displacement) {
    return 16U << 26 | how << 21 | cr_bit << 16 | (displacement & 0xFFFC);
}
inline constexpr std::uint32_t nop = ori(0, 0, 0);

// Whether b reaches over this many bytes, which count modulo 2^32 as effective addresses do.
constexpr bool reaches(std::uint32_t displacement) {
    return (displacement & 3) == 0 && displacement + 0x02000000 < 0x04000000;
}

static_assert(nop == 0x60000000);
static_assert(lwz(3, 0, -4096) == 0x8060F000 && stw(31, 0, -4) == 0x93E0FFFC);
static_assert(rlwinm(9, 9, 0, 17, 15) == 0x5529045E); // clears bit 16
static_assert(mtcrf(0x80, 4) == 0x7C880120 && mfcr(12) == 0x7D800026);
static_assert(mtspr(276, 12) == 0x7D9443A6 && mfspr(10, 61) == 0x7D5D0AA6); // from a compiler's output
static_assert(add(6, 6, 4) == 0x7CC62214 && addis(13, 0, 1) == 0x3DA00001 && cmplw(7, 7, 3) == 0x7F871840);
static_assert(bc(if_clear, 2, 8) == 0x40820008 && b(0xFFFFFFFC) == 0x4BFFFFFC);
static_assert(reaches(0x01FFFFFC) && !reaches(0x02000000) && reaches(0xFE000000) && !reaches(0xFDFFFFFC));

} // namespace untrap::ppc::encode
