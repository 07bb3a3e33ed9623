// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/access_stub.h"

#include <cstddef>

#include "translator/interp/simple_access.h"
#include "translator/ppc/encode.h"

namespace untrap::ppc {

using isa::Instruction;
using isa::Op;

namespace {

constexpr unsigned no_gpr = 32;

// The same access with its address in two registers.
std::uint32_t indexed(std::uint32_t original, unsigned ra, unsigned rb) {
    const Instruction insn{.word = original};
    const auto form = [&](Op op) { return isa::match_of(op) | insn.rt() << 21 | ra << 16 | rb << 11; };
    switch (original >> 26) {
    case isa::match_of(Op::lwz) >> 26: return form(Op::lwzx);
    case isa::match_of(Op::lbz) >> 26: return form(Op::lbzx);
    case isa::match_of(Op::lhz) >> 26: return form(Op::lhzx);
    case isa::match_of(Op::stw) >> 26: return form(Op::stwx);
    case isa::match_of(Op::stb) >> 26: return form(Op::stbx);
    case isa::match_of(Op::sth) >> 26: return form(Op::sthx);
    default: return (original & 0xFFE007FF) | ra << 16 | rb << 11; // it has that form
    }
}

// The register that has the address, no_gpr if it takes a sum.
unsigned address_gpr(Instruction insn, bool is_indexed) {
    if (is_indexed) return insn.ra() == 0 ? insn.rb() : no_gpr;
    return insn.ra() != 0 && insn.si() == 0 ? insn.ra() : no_gpr;
}

std::uint32_t named_by(Instruction insn, bool is_indexed) {
    return 1U << insn.rt() | 1U << insn.ra() | (is_indexed ? 1U << insn.rb() : 0);
}

constexpr std::int32_t field_of(unsigned group, std::size_t field) {
    return displacement_of(offsetof(GuestPage, windows) + group * windows_in_group * sizeof(GuestPage::Window) + field);
}
constexpr std::int32_t tag_field(unsigned group) { return field_of(group, offsetof(GuestPage::Window, tag)); }
constexpr std::int32_t distance_field(unsigned group) { return field_of(group, offsetof(GuestPage::Window, distance)); }
constexpr std::int32_t pid_field = displacement_of(offsetof(isa::StatePage, pid));

// The window's place in its group: two bits of the PID, then two of the page's number. As window_of().
static_assert(sizeof(GuestPage::Window) == 8 && windows_in_group == 16);
constexpr std::uint32_t index_by_pid(unsigned ra, unsigned tag, unsigned group) {
    return encode::rlwinm(ra, tag, (3 - group_pid_bit[group]) & 31, 27, 28);
}
constexpr std::uint32_t index_by_page(unsigned ra, unsigned tag, unsigned group) {
    return encode::rlwimi(ra, tag, (5 - group_page_bit[group]) & 31, 25, 26);
}

} // namespace

bool has_access_stub(std::uint32_t original) {
    const interp::SimpleAccess access = interp::simple_access(original);
    return access.size != 0 && !access.update && isa::decode(original).op != Op::illegal;
}

Emitted emit_access_stub(std::uint32_t original, unsigned group, std::uint32_t site, std::uint32_t at, Stub& stub) {
    if (!has_access_stub(original)) return Emitted::no_stub;
    if (!usable_place(site, 8) || !usable_place(at, Stub::max_words * 4) || site - at < Stub::max_words * 4)
        return Emitted::out_of_reach;
    const Instruction insn{.word = original};
    const bool is_indexed = interp::simple_access(original).indexed;
    Restart& restart = stub.restart;
    restart = {};
    restart.site = site;
    restart.group = static_cast<std::uint8_t>(group);

    unsigned number = access_first_gpr, saved = 0, count = 0;
    const auto put = [&](std::uint32_t word) { stub.words[count++] = word; };
    const auto scratch = [&] {
        while ((named_by(insn, is_indexed) >> number & 1) != 0) ++number;
        restart.access[saved] = static_cast<std::uint8_t>(number);
        put(encode::stw(number, 0, displacement_of(slot_field(access_slot + saved++))));
        return number++;
    };
    const unsigned tag = scratch(), index = scratch(), found = scratch();
    unsigned address = address_gpr(insn, is_indexed);
    if (address == no_gpr) {
        address = scratch();
        put(is_indexed ? encode::add(address, insn.ra(), insn.rb()) : encode::addi(address, insn.ra(), insn.si()));
    }
    put(encode::lwz(tag, 0, pid_field));
    put(encode::rlwimi(tag, address, 0, 0, 19));
    put(index_by_pid(index, tag, group));
    put(index_by_page(index, tag, group));
    put(encode::lwz(found, index, tag_field(group)));
    put(encode::xor_(found, found, tag));
    put(encode::lwz(index, index, distance_field(group)));
    // 1 if they agree, else 0: no field of CR has to be saved for it.
    put(encode::cntlzw(found, found));
    put(encode::rlwinm(found, found, 27, 31, 31));
    put(encode::mullw(found, found, index));
    restart.commit = static_cast<std::uint8_t>(count);
    put(indexed(original, found, address));
    for (unsigned slot = 0; slot < saved; ++slot)
        put(encode::lwz(restart.access[slot], 0, displacement_of(slot_field(access_slot + slot))));
    put(encode::b(site + 4 - (at + 4 * count)));
    restart.line = static_cast<std::uint8_t>(count);
    put(original);
    restart.length = static_cast<std::uint8_t>(count);
    const std::uint32_t back_from = at + 4 * (restart.line - 1U);
    if (!encode::reaches(at - site) || !encode::reaches(site + 4 - back_from)) return Emitted::out_of_reach;
    return Emitted::done;
}

namespace {

// What a register or slot has in it: a guest's GPR of this number, or what comes of them on the way to the access.
enum Content : std::uint8_t {
    address = 32,
    pid,
    tag,
    half_index,
    index,
    found,
    differs,
    zeros,
    agrees,
    distance,
    added,
    other
};

struct Follower {
    const Restart& restart;
    Instruction insn;
    unsigned group;
    bool is_indexed;
    std::array<std::uint8_t, 32> gpr{};
    std::array<std::uint8_t, Restart::access_gprs> slot{};

    bool is_address(unsigned number) const {
        const unsigned own = address_gpr(insn, is_indexed);
        return gpr[number] == address || (own != no_gpr && gpr[number] == own);
    }
    bool own(unsigned number) const { return gpr[number] == number; }

    // Before word `number`: the guest's registers can be told.
    bool registers_known(unsigned at) const {
        for (unsigned number = 0; number < 32; ++number) {
            bool known = own(number);
            for (unsigned saved = 0; saved < Restart::access_gprs; ++saved)
                if (restart.access[saved] == number && restart.access_gpr_in_slot(saved, at))
                    known = slot[saved] == number;
            if (!known) return false;
        }
        return true;
    }

    // An instruction of the line that is neither the access nor the last one.
    Flaw step(std::uint32_t word) {
        const Instruction next = isa::decode(word);
        const unsigned rt = next.rt(), ra = next.ra(), rb = next.rb();
        std::uint8_t result = other;
        switch (next.op) {
        case Op::stw: {
            const std::uint32_t number =
                static_cast<std::uint32_t>(next.si() - displacement_of(slot_field(access_slot))) / 4;
            if (ra != 0 || next.si() % 4 != 0 || number >= Restart::access_gprs) return Flaw::storage;
            slot[number] = gpr[rt];
            return Flaw::none;
        }
        case Op::lwz: {
            const std::uint32_t number =
                static_cast<std::uint32_t>(next.si() - displacement_of(slot_field(access_slot))) / 4;
            if (ra != 0 && gpr[ra] == index && next.si() == tag_field(group))
                result = found;
            else if (ra != 0 && gpr[ra] == index && next.si() == distance_field(group))
                result = distance;
            else if (ra == 0 && next.si() == pid_field)
                result = pid;
            else if (ra == 0 && next.si() % 4 == 0 && number < Restart::access_gprs)
                result = slot[number];
            else
                return Flaw::storage;
            gpr[rt] = result;
            return Flaw::none;
        }
        case Op::addi:
            if (!is_indexed && ra == insn.ra() && (ra == 0 || own(ra)) && next.si() == insn.si()) result = address;
            gpr[rt] = result;
            return Flaw::none;
        case Op::add:
            if (next.records() || next.records_overflow()) return Flaw::instruction;
            if (is_indexed && insn.ra() != 0 && ra == insn.ra() && rb == insn.rb() && own(ra) && own(rb))
                result = address;
            gpr[rt] = result;
            return Flaw::none;
        case Op::mullw:
            if (next.records() || next.records_overflow()) return Flaw::instruction;
            if (gpr[ra] == agrees && gpr[rb] == distance) result = added;
            gpr[rt] = result;
            return Flaw::none;
        case Op::rlwimi:
            if (word == encode::rlwimi(ra, rt, 0, 0, 19) && gpr[ra] == pid && is_address(rt)) result = tag;
            if (word == index_by_page(ra, rt, group) && gpr[ra] == half_index && gpr[rt] == tag) result = index;
            break;
        case Op::rlwinm:
            if (word == index_by_pid(ra, rt, group) && gpr[rt] == tag) result = half_index;
            if (word == encode::rlwinm(ra, rt, 27, 31, 31) && gpr[rt] == zeros) result = agrees;
            break;
        case Op::xor_:
            if (gpr[rt] == found && gpr[rb] == tag) result = differs;
            break;
        case Op::cntlzw:
            if (gpr[rt] == differs) result = zeros;
            break;
        default: return Flaw::instruction;
        }
        if (next.records()) return Flaw::instruction;
        gpr[ra] = result;
        return Flaw::none;
    }
};

} // namespace

Flaw verify_access(const std::uint32_t* words, std::uint32_t at, const Restart& restart, std::uint32_t original) {
    const Restart& r = restart;
    if (!r.is_access() || r.length != r.line + 1 || r.length > Stub::max_words || r.commit + 1 >= r.line ||
        r.group >= window_groups || r.gpr != Restart::none)
        return Flaw::shape;
    for (unsigned saved = 0; saved < Restart::access_gprs; ++saved)
        if (r.access[saved] != Restart::none &&
            (r.access[saved] - access_first_gpr > access_last_gpr - access_first_gpr || saved >= r.commit))
            return Flaw::shape;
    if (!has_access_stub(original) || words[r.line] != original) return Flaw::original;
    Follower at_word{r, {.word = original}, r.group, interp::simple_access(original).indexed};
    for (unsigned number = 0; number < 32; ++number) at_word.gpr[number] = static_cast<std::uint8_t>(number);
    at_word.slot.fill(other);
    for (unsigned number = 0; number + 1U < r.line; ++number) {
        if (!at_word.registers_known(number)) return Flaw::lost_register;
        const std::uint32_t word = words[number];
        if (number == r.commit) {
            const Instruction access{.word = word};
            const unsigned ra = access.ra(), rb = access.rb();
            if (word != indexed(original, ra, rb) || ra == 0 || at_word.gpr[ra] != added || !at_word.is_address(rb) ||
                !at_word.own(access.rt()))
                return Flaw::commit;
        } else if (const Flaw flaw = at_word.step(word); flaw != Flaw::none) {
            return flaw;
        }
    }
    if (!at_word.registers_known(r.line - 1U)) return Flaw::lost_register;
    for (unsigned number = 0; number < 32; ++number)
        if (!at_word.own(number)) return Flaw::lost_register;
    const Instruction back = isa::decode(words[r.line - 1]);
    const std::uint32_t target = at + 4 * (r.line - 1U) + static_cast<std::uint32_t>(back.li());
    return back.op == Op::b && !back.aa() && !back.lk() && target == r.site + 4 ? Flaw::none : Flaw::branch;
}

} // namespace untrap::ppc
