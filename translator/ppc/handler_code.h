// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "translator/isa/spr.h"
#include "translator/isa/state.h"
#include "translator/isa/table.h"
#include "translator/ppc/encode.h"
#include "translator/ppc/handler.h"
#include "translator/ppc/liveness.h"

// What the code of handlers is made of: for the compiler, and for the verifier that looks for nothing else.
namespace untrap::ppc::handler_code {

// Base of the host's record of the guest; r3 and r5-r7 are for the code itself. These registers of the guest are in the
// record, but for r4, which is in the host's SPRG0.
inline constexpr unsigned record = 4;
constexpr bool in_record(unsigned gpr) { return gpr >= 3 && gpr <= 7; }

// Special registers that stay in the CPU: the guest may read and write them as it likes.
constexpr bool in_place(unsigned number) {
    return number == isa::spr::ctr || number == isa::spr::xer || number == isa::spr::usprg0 ||
           number == isa::spr::tbl_read || number == isa::spr::tbu_read;
}
inline constexpr unsigned no_field = 0xFFFF;
// The state-page field of an SPR that is no more than a word with a mask.
constexpr unsigned field_of_spr(unsigned number) {
    namespace spr = isa::spr;
    using isa::StatePage;
    if (number >= spr::sprg0 && number <= spr::sprg7)
        return static_cast<unsigned>(offsetof(StatePage, sprg) + (number - spr::sprg0) * 4);
    if (number >= spr::sprg4_user && number <= spr::sprg7_user)
        return static_cast<unsigned>(offsetof(StatePage, sprg) + (number - spr::sprg4_user + 4) * 4);
    switch (number) {
    case spr::srr0: return offsetof(StatePage, srr0);
    case spr::srr1: return offsetof(StatePage, srr1);
    case spr::csrr0: return offsetof(StatePage, csrr0);
    case spr::csrr1: return offsetof(StatePage, csrr1);
    case spr::dear: return offsetof(StatePage, dear);
    case spr::esr: return offsetof(StatePage, esr);
    case spr::pid: return offsetof(StatePage, pid);
    case spr::mmucr: return offsetof(StatePage, mmucr);
    default: return no_field;
    }
}
constexpr bool readable(unsigned number) {
    return in_place(number) || number == isa::spr::lr || field_of_spr(number) != no_field;
}
constexpr bool writable(unsigned number) {
    if (number == isa::spr::tbl_read || number == isa::spr::tbu_read) return false;
    return readable(number) && !(number >= isa::spr::sprg4_user && number <= isa::spr::sprg7_user);
}

// Fields of an instruction that are numbers of GPRs.
struct Fields {
    bool rt = false, ra = false, rb = false;
};
inline Fields fields_of_form(isa::Instruction insn) {
    switch (insn.info().form) {
    case isa::Form::d_arith:
    case isa::Form::d_logic:
    case isa::Form::x_logic1:
    case isa::Form::x_shift_imm:
    case isa::Form::m_imm:
    case isa::Form::xo_ra: return {true, true, false};
    case isa::Form::d_arith0: return {true, insn.ra() != 0, false};
    case isa::Form::d_cmp:
    case isa::Form::d_cmpl: return {false, true, false};
    case isa::Form::xo:
    case isa::Form::x_logic:
    case isa::Form::m_reg: return {true, true, true};
    case isa::Form::x_cmp: return {false, true, true};
    default: return {};
    }
}

// Unprivileged and between registers: done by the CPU as it stands.
inline bool is_plain(isa::Instruction insn) {
    using isa::Op;
    switch (insn.op) {
    case Op::isync:
    case Op::msync:
    case Op::mbar:
    case Op::mcrf:
    case Op::mcrxr: return true;
    case Op::dlmzb: return false;
    default: break;
    }
    if (insn.info().form == isa::Form::xl_cr) return true;
    const Fields fields = fields_of_form(insn);
    const bool known = fields.rt || fields.ra || fields.rb || insn.op == Op::addi || insn.op == Op::addis;
    return known && insn.word >> 26 != 4 && !insn.privileged() && operands(insn).simple;
}

// An access to storage: the indexed form of its instruction, 0 for what is none or is not done here.
struct Access {
    std::uint32_t indexed = 0;
    unsigned size_shift = 0; // log2 of the bytes
    bool store = false;
};
constexpr Access access_of(isa::Op op) {
    using isa::match_of;
    using isa::Op;
    switch (op) {
    case Op::lbz:
    case Op::lbzx: return {match_of(Op::lbzx), 0, false};
    case Op::lhz:
    case Op::lhzx: return {match_of(Op::lhzx), 1, false};
    case Op::lha:
    case Op::lhax: return {match_of(Op::lhax), 1, false};
    case Op::lwz:
    case Op::lwzx: return {match_of(Op::lwzx), 2, false};
    case Op::stb:
    case Op::stbx: return {match_of(Op::stbx), 0, true};
    case Op::sth:
    case Op::sthx: return {match_of(Op::sthx), 1, true};
    case Op::stw:
    case Op::stwx: return {match_of(Op::stwx), 2, true};
    default: return {};
    }
}

// What rlwinm and rlwimi do before their mask.
constexpr std::uint32_t rotated(std::uint32_t bits, unsigned by) { return std::rotl(bits, static_cast<int>(by)); }

// Registers of the guest that the exit before the last instructions may change.
inline constexpr std::uint32_t free_at_commit = 7U << 10;

// log2 of the bytes of a pair, two words that are loaded after one check.
inline constexpr unsigned pair_shift = 3;
// MSR bits that an interrupt of the TLB's leaves.
inline constexpr std::uint32_t interrupted_msr = isa::msr::ce | isa::msr::me | isa::msr::de;

// The check before an access to the EA in r5. Equal in the CR field: r6 is what to add to it.
struct CheckedAccess {
    static constexpr unsigned length = 6;
    std::uint32_t before[length];

    constexpr CheckedAccess(Access access, const HandlerPlace& place, unsigned field) : before{} {
        const unsigned shift = access.store ? store_shift : load_shift;
        const unsigned count = access.store ? store_windows : load_windows;
        const std::uint32_t table =
            place.windows + static_cast<std::uint32_t>(access.store ? offsetof(Windows, stores) : 0);
        const auto low = static_cast<std::int16_t>(table & 0xFFFF);
        const auto high = static_cast<std::int32_t>((table - static_cast<std::uint32_t>(std::int32_t{low})) >> 16);
        constexpr unsigned entry_shift = 3;
        static_assert(sizeof(Window) == 1U << entry_shift);
        const unsigned index_bits = count == load_windows ? 8 : 6;
        before[0] = encode::rlwinm(6, 5, 32 - shift + entry_shift, 32 - entry_shift - index_bits, 31 - entry_shift);
        before[1] = encode::addis(6, 6, high);
        before[2] = encode::lwz(7, 6, low);
        before[3] = encode::rlwinm(3, 5, 0, (32 - access.size_shift) & 31, 31 - shift);
        before[4] = encode::cmplw(field, 7, 3);
        before[5] = encode::lwz(6, 6, low + 4);
    }
};

// Before that, where the access has a window of its own: equal in the CR field, the check is skipped, and what is
// behind it. r5, r6: as above; r7, r3: the window's tag, and what it should be.
struct NotedAccess {
    static constexpr unsigned length = 4, after_length = 2;
    std::uint32_t before[length]; // then a branch over the rest
    std::uint32_t after[after_length];

    constexpr NotedAccess(Access access, const HandlerPlace& place, unsigned memo, unsigned field) : before{}, after{} {
        const std::int32_t window = place.memos + static_cast<std::int32_t>(memo * sizeof(Window));
        before[0] = encode::lwz(7, record, window);
        before[1] =
            encode::rlwinm(3, 5, 0, (32 - access.size_shift) & 31, 31 - (access.store ? store_shift : load_shift));
        before[2] = encode::cmplw(field, 7, 3);
        before[3] = encode::lwz(6, record, window + 4);
        after[0] = encode::stw(7, record, window);
        after[1] = encode::stw(6, record, window + 4);
    }
    // From the branch on: itself, the check, a branch away, what is behind it.
    static constexpr std::uint32_t skip(unsigned field) {
        return encode::bc(encode::if_set, field * 4 + encode::eq, 4 * (1 + CheckedAccess::length + 1 + after_length));
    }
    static constexpr unsigned words = length + 1 + CheckedAccess::length + 1 + after_length; // before the access
};
static_assert(load_windows == 1U << 8 && store_windows == 1U << 6);

// The search for a page's Walk, which is the one that its page number leads to if its key says so: r7 is the key
// wanted, r5 the Walk but for `low`. r3 and r7 are as a handler of data is entered with.
struct WalkSearch {
    std::uint32_t before[5];
    std::int32_t low;

    constexpr explicit WalkSearch(const HandlerPlace& place)
        : before{}, low(static_cast<std::int16_t>(place.walks & 0xFFFF)) {
        const auto high =
            static_cast<std::int32_t>((place.walks - static_cast<std::uint32_t>(std::int32_t{low})) >> 16);
        static_assert(isa::esr::st == isa::ppc_bit(8) && isa::esr::fp == isa::ppc_bit(7));
        before[0] = encode::rlwimi(7, 3, 9, 22, 31);
        before[1] = encode::lwz(6, record, place.page + static_cast<std::int32_t>(offsetof(isa::StatePage, pid)));
        before[2] = encode::rlwinm(5, 7, 32 - 12 + walk_shift, 32 - walk_shift - walk_bits, 31 - walk_shift);
        before[3] = encode::rlwimi(7, 6, 2, 22, 29);
        before[4] = encode::addis(5, 5, high);
    }
    // A word of the Walk compared with a register, and a branch away with this displacement from the first word.
    constexpr std::array<std::uint32_t, 3> compare(std::size_t at, unsigned gpr, unsigned field,
                                                   std::uint32_t away) const {
        return {encode::lwz(6, 5, low + static_cast<std::int32_t>(at)), encode::cmplw(field, 6, gpr),
                encode::bc(encode::if_clear, field * 4 + encode::eq, away - 8)};
    }
    // The same for a word of memory that it knows.
    constexpr std::array<std::uint32_t, 5> read(unsigned number, unsigned field, std::uint32_t away) const {
        const std::int32_t at = low + static_cast<std::int32_t>(offsetof(Walk, loads) + number * sizeof(WalkRead));
        return {encode::lwz(6, 5, at), encode::lwz(3, 5, at + 4), encode::lwz(6, 6, 0), encode::cmplw(field, 6, 3),
                encode::bc(encode::if_clear, field * 4 + encode::eq, away - 16)};
    }
    // Of two words in a row the second, number + 1, with r6 as the first is read by; then the first.
    constexpr std::array<std::uint32_t, 5> second(unsigned number, unsigned field, std::uint32_t away) const {
        const std::int32_t at = low + static_cast<std::int32_t>(offsetof(Walk, loads) + number * sizeof(WalkRead));
        return {encode::lwz(6, 5, at), encode::lwz(3, 5, at + 12), encode::lwz(7, 6, 4), encode::cmplw(field, 7, 3),
                encode::bc(encode::if_clear, field * 4 + encode::eq, away - 16)};
    }
    constexpr std::array<std::uint32_t, 4> first(unsigned number, unsigned field, std::uint32_t away) const {
        const std::int32_t at = low + static_cast<std::int32_t>(offsetof(Walk, loads) + number * sizeof(WalkRead));
        return {encode::lwz(3, 5, at + 4), encode::lwz(6, 6, 0), encode::cmplw(field, 6, 3),
                encode::bc(encode::if_clear, field * 4 + encode::eq, away - 12)};
    }
};

} // namespace untrap::ppc::handler_code
