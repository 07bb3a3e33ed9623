// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comparison.h"
#include "tests/runtime/guest.h"

// More instruction words.
namespace code {

constexpr Word compare_at_once(Word op, Word field, Word ra, Word imm) { return d_form(op, field << 2, ra, imm); }
constexpr Word cmpwi(Word field, Word ra, Word imm) { return compare_at_once(11, field, ra, imm); }
constexpr Word cmplwi(Word field, Word ra, Word imm) { return compare_at_once(10, field, ra, imm); }
constexpr Word cmpw(Word field, Word ra, Word rb) { return x_form(field << 2, ra, rb, 0); }
constexpr Word cmplw(Word field, Word ra, Word rb) { return x_form(field << 2, ra, rb, 32); }
constexpr Word bc(Word bo, Word bi, std::int32_t offset) {
    return 16U << 26 | bo << 21 | bi << 16 | (static_cast<Word>(offset) & 0xFFFC);
}
constexpr Word lt = 0, gt = 1, eq = 2, so = 3;
constexpr Word if_set(Word field, Word bit, std::int32_t offset) { return bc(12, 4 * field + bit, offset); }
constexpr Word if_clear(Word field, Word bit, std::int32_t offset) { return bc(4, 4 * field + bit, offset); }
constexpr Word tlbsx(Word rt, Word ra, Word rb) { return x_form(rt, ra, rb, 914); }
constexpr Word rlwinm(Word ra, Word rs, Word sh, Word mb, Word me) {
    return 21U << 26 | rs << 21 | ra << 16 | sh << 11 | mb << 6 | me << 1;
}
constexpr Word or_(Word ra, Word rs, Word rb) { return x_form(rs, ra, rb, 444); }
constexpr Word addis(Word rt, Word ra, Word imm) { return d_form(15, rt, ra, imm); }
constexpr Word dcbst(Word rb) { return x_form(0, 0, rb, 54); }
constexpr Word icbi(Word rb) { return x_form(0, 0, rb, 982); }
constexpr Word msync = x_form(0, 0, 0, 598), mbar = x_form(0, 0, 0, 854), isync = 0x4C00012C;

} // namespace code

namespace untrap::tests::native {

// A guest kernel whose hot sites are sequences, run again and again from places of its code, its TLB left as it is.
// Entry 63 maps memory to itself; 0 to 62 are free.
class SequenceGuest {
  public:
    static constexpr unsigned sequences = 1U << 3, traps = 0;
    static constexpr std::uint32_t done = code::mtdcr(Comparison::dcr_done, 0);
    using Registers = std::function<void(isa::CpuState&)>;

    // The levels that the native guest has.
    SequenceGuest(Random& random, unsigned levels, unsigned pinned_from = 62);

    // Resets both; handlers are in the memory that they have now.
    void start();
    void put(std::uint32_t address, const std::vector<std::uint32_t>& words) { guest.put_code(address, words); }
    void map(unsigned index, std::uint32_t ea, std::uint64_t real, unsigned size_code, std::uint32_t attributes,
             unsigned tid = 0, unsigned space = 0);
    void unmap(unsigned index) {
        guest.both([&](Machine& machine) { machine.vcpu().set_tlb_entry(index, {}); });
    }
    // Runs from pc, with general registers, CTR, CR, XER, PID and MMUCR as given, to the next exit, where registers,
    // memory and TLB are the interpreter's, and returns how many instructions were emulated by exits.
    std::uint64_t run(const std::string& context, std::uint32_t pc, const Registers& registers = {},
                      std::uint32_t msr = isa::msr::me);

    Comparison guest;
};

} // namespace untrap::tests::native
