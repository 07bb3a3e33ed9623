// SPDX-License-Identifier: GPL-2.0-only
#include "translator/isa/spr.h"
#include "translator/ppc/handler_code.h"

namespace untrap::ppc {

using isa::Instruction;
using isa::Op;
using isa::StatePage;
namespace spr = isa::spr;

namespace {

using namespace handler_code;

// The code is a row of units: single words, checked accesses, exits. Branches lead forward to where a unit begins, and
// the last unit does not go on. So each unit is entered at its beginning, and the code ends.
class Verifier {
  public:
    Verifier(const std::uint32_t* words, const CompiledHandler& compiled, const HandlerPlace& place)
        : words_(words), length_(compiled.length), compiled_(compiled), place_(place) {}

    HandlerFlaw run() {
        if (length_ == 0 || length_ > handler_max_words) return HandlerFlaw::end;
        bool goes_on = true;
        unsigned at = 0;
        if (compiled_.recall != 0) {
            const unsigned searched = search();
            if (searched == 0) return HandlerFlaw::storage;
            mark(0);
            has_walk_ = true;
            for (at = searched; at < compiled_.recall;) {
                const unsigned taken =
                    has_walk_ && writes_walk(at) ? none(HandlerFlaw::instruction) : unit(at, goes_on);
                if (taken == 0) return flaw_;
                if (calls_out(at) || recall_ == at) has_walk_ = false; // r5 is anything after that
                mark(at);
                at += taken;
            }
            if (at != compiled_.recall || goes_on || recall_ == 0 || compiled_.declined != recall_ + 1)
                return HandlerFlaw::end;
            has_walk_ = false;
        }
        while (at < length_) {
            const unsigned taken = unit(at, goes_on);
            if (taken == 0) return flaw_;
            mark(at);
            at += taken;
        }
        if (goes_on) return HandlerFlaw::end;
        for (unsigned word = 0; word < length_; ++word)
            if (begins(word) && !branch_fits(word)) return HandlerFlaw::branch;
        return HandlerFlaw::none;
    }

  private:
    void mark(unsigned at) { begins_[at / 32] |= 1U << (at & 31); }
    bool begins(unsigned at) const { return (begins_[at / 32] >> (at & 31) & 1) != 0; }
    unsigned none(HandlerFlaw flaw) {
        flaw_ = flaw;
        return 0;
    }

    // -- walks ---------------------------------------------------------------------------------------------------

    // The search for a Walk, and all that it is compared with, each time with a branch to where the search is over.
    // After it r5 is the address of a Walk, and 0 is returned for anything else.
    unsigned search() const {
        if (place_.walks == 0 || compiled_.recall > length_ || compiled_.inputs > walk_inputs ||
            compiled_.loads > walk_loads)
            return 0;
        const WalkSearch search(place_);
        if (compiled_.recall <= sizeof search.before / 4 + 1) return 0;
        unsigned at = 0;
        bool same = true;
        const auto expect = [&](std::uint32_t word) {
            same = same && at < compiled_.recall && words_[at] == word;
            ++at;
        };
        const auto guard = [&](const auto& words) {
            for (const std::uint32_t word : words) expect(word);
        };
        const auto away = [&] { return 4 * (compiled_.recall - at); };
        guard(search.before);
        const unsigned field = isa::decode(words_[at + 1]).bf();
        guard(search.compare(offsetof(Walk, key), 7, field, away()));
        for (unsigned number = compiled_.loads; number-- != 0;) {
            if (number != 0 && (compiled_.pairs >> (number - 1) & 1) != 0) {
                guard(search.second(--number, field, away()));
                guard(search.first(number, field, away()));
            } else {
                guard(search.read(number, field, away()));
            }
        }
        for (unsigned number = 0; number < compiled_.inputs; ++number) {
            if (compiled_.input_fields[number] % 4 != 0 || compiled_.input_fields[number] >= sizeof(StatePage))
                return 0;
            expect(encode::lwz(3, record, place_.page + compiled_.input_fields[number]));
            guard(search.compare(offsetof(Walk, inputs) + 4 * number, 3, field, away()));
        }
        if (search.low != 0) expect(encode::addi(5, 5, search.low));
        return same && at < compiled_.recall ? at : 0;
    }
    // Whether the unit here may write r5, the exits aside.
    bool writes_walk(unsigned at) const {
        const Instruction insn = isa::decode(words_[at]);
        if (checked_access(at) != 0) return true;
        if (const unsigned taken = fixed_access(at); taken != 0) return taken > 2 || (words_[at + 1] >> 21 & 31) == 5;
        switch (insn.op) {
        case Op::lwz:
        case Op::mfcr:
        case Op::mfspr: return insn.rt() == 5;
        default: return (operands(insn).writes.gpr >> 5 & 1) != 0;
        }
    }
    bool calls_out(unsigned at) const {
        const Instruction insn = isa::decode(words_[at]);
        return (insn.op == Op::b && insn.lk()) || exit_target(at) != 0;
    }

    static constexpr unsigned not_noted = 0xFFFF;
    // The record's place of a host address, of WalkReads.
    bool is_read_address(std::int32_t at, unsigned& number) const {
        const auto offset = static_cast<std::uint32_t>(at - place_.reads) - offsetof(WalkReads, loads);
        number = static_cast<unsigned>(offset / sizeof(WalkRead));
        return place_.walks != 0 && offset < sizeof(WalkReads::loads) && offset % sizeof(WalkRead) == 0;
    }
    std::uint32_t note_address(unsigned number, unsigned gpr = 3) const {
        const std::size_t at = offsetof(WalkReads, loads) + number * sizeof(WalkRead);
        return encode::stw(gpr, record, place_.reads + static_cast<std::int32_t>(at));
    }
    std::uint32_t note_value(unsigned number, unsigned gpr) const {
        const std::size_t at = offsetof(WalkReads, loads) + number * sizeof(WalkRead) + offsetof(WalkRead, value);
        return encode::stw(gpr, record, place_.reads + static_cast<std::int32_t>(at));
    }
    // Words behind a load of a word, or of two, that note where it was made and what was read.
    unsigned noting(unsigned at, unsigned first, unsigned second) const {
        unsigned number = 0;
        const unsigned length = second != not_noted ? 6 : 3;
        if (at + length > length_ || words_[at] != encode::add(3, 5, 6)) return 0;
        if (!is_read_address(isa::decode(words_[at + 1]).si(), number)) return 0;
        if (second == not_noted)
            return words_[at + 1] == note_address(number) && words_[at + 2] == note_value(number, first) ? length : 0;
        return number != 0 && words_[at + 1] == note_address(number) && words_[at + 2] == encode::addi(3, 3, -4) &&
                       words_[at + 3] == note_address(number - 1) && words_[at + 4] == note_value(number - 1, first) &&
                       words_[at + 5] == note_value(number, second)
                   ? length
                   : 0;
    }
    // Of an access that ends before this word.
    unsigned noting_behind(unsigned at) const {
        const auto load = [&](unsigned word, unsigned& gpr) {
            gpr = words_[word] >> 21 & 31;
            return (words_[word] & ~(31U << 21)) == (isa::match_of(Op::lwzx) | 5U << 16 | 6U << 11) && !in_record(gpr);
        };
        unsigned last = 0, first = 0;
        if (!load(at - 1, last)) return 0;
        if (words_[at - 2] == encode::addi(5, 5, 4)) return load(at - 3, first) ? noting(at, first, last) : 0;
        return noting(at, last, not_noted);
    }
    unsigned fixed_noting(unsigned at) const {
        const std::uint32_t last = words_[at - 1];
        const unsigned gpr = last >> 21 & 31;
        unsigned number = 0;
        if (at + 2 > length_ || (last & ~(31U << 21)) != (isa::match_of(Op::lwzx) | 6U << 11) || in_record(gpr))
            return 0;
        if (!is_read_address(isa::decode(words_[at]).si(), number)) return 0;
        return words_[at] == note_address(number, 6) && words_[at + 1] == note_value(number, gpr) ? 2 : 0;
    }
    // What has not been read.
    unsigned clearing(unsigned at) const {
        if (words_[at] != encode::addi(3, 0, 0)) return 0;
        unsigned end = at + 1, number = 0;
        while (end < length_ && is_read_address(isa::decode(words_[end]).si(), number) &&
               words_[end] == note_address(number))
            ++end;
        return end == at + 1 ? 0 : end - at;
    }

    // The words of the unit that begins here, 0 if it is none.
    unsigned unit(unsigned at, bool& goes_on) {
        goes_on = true;
        if (const unsigned taken = checked_access(at))
            return owns_window(at) ? taken + noting_behind(at + taken) : none(HandlerFlaw::storage);
        if (const unsigned taken = fixed_access(at)) return taken + fixed_noting(at + taken);
        if (const unsigned taken = clearing(at)) return taken;
        const Instruction insn = isa::decode(words_[at]);
        switch (insn.op) {
        case Op::b:
            goes_on = insn.lk();
            if (has_walk_ && is_recall(at, insn)) recall_ = at;
            if (insn.aa() || (insn.lk() && !calls(at, insn))) return none(HandlerFlaw::branch);
            return 1;
        case Op::bc: return insn.aa() || insn.lk() || (insn.bo() & 0x14) != 4 ? none(HandlerFlaw::branch) : 1;
        case Op::lwz: return may_load(insn) ? 1 : none(HandlerFlaw::storage);
        case Op::stw: return may_store(insn) ? 1 : none(HandlerFlaw::storage);
        case Op::mfcr: return insn.rt() != record ? 1 : none(HandlerFlaw::instruction);
        case Op::mtcrf: return 1;
        case Op::mfspr:
            return (in_place(insn.spr()) || insn.spr() == spr::sprg0 || insn.spr() == spr::lr) && insn.rt() != record
                       ? 1
                       : none(HandlerFlaw::instruction);
        case Op::mtspr: return may_set(insn) ? 1 : none(HandlerFlaw::instruction);
        default: break;
        }
        if (insn.op == Op::addis && insn.rt() == 6 && insn.ra() == 0)
            if (const unsigned taken = exit(at, goes_on)) return taken;
        if (!is_plain(insn)) return none(HandlerFlaw::instruction);
        const Fields fields = fields_of_form(insn);
        const bool names_record = (fields.rt && insn.rt() == record) || (fields.ra && insn.ra() == record) ||
                                  (fields.rb && insn.rb() == record);
        return names_record ? none(HandlerFlaw::instruction) : 1;
    }

    // A register of the guest that is to be stored.
    bool fetches_value(unsigned at) const {
        const Instruction value = isa::decode(words_[at]);
        return (value.op == Op::lwz && value.rt() == 7 && may_load(value)) ||
               words_[at] == encode::mfspr(7, spr::sprg0);
    }

    // The check, a branch away, perhaps the value to be stored fetched from the record, the access.
    unsigned checked_access(unsigned at) const {
        const unsigned taken = noted_access(at);
        return taken != 0 ? taken : access_by_table(at, 0);
    }

    // Whether nobody stores through a window that is noted for loads: they are larger.
    bool owns_window(unsigned at) {
        bool store = false;
        unsigned memo = 0;
        if (noted_access(at, memo, store) == 0) return true;
        noted_[store ? 1 : 0] |= 1U << memo;
        return (noted_[store ? 0 : 1] >> memo & 1) == 0;
    }

    unsigned noted_access(unsigned at) const {
        bool store = false;
        unsigned memo = 0;
        return noted_access(at, memo, store);
    }
    // A window of its own, and where that is not it, the check, the branch away and what is found noted: before the
    // access.
    unsigned noted_access(unsigned at, unsigned& memo, bool& store) const {
        if (length_ - at < NotedAccess::words + 1) return 0;
        const Instruction own = isa::decode(words_[at]), compare = isa::decode(words_[at + 2]);
        const auto offset = static_cast<std::uint32_t>(own.si() - place_.memos);
        if (own.op != Op::lwz || own.ra() != record || offset % sizeof(Window) != 0) return 0;
        memo = offset / sizeof(Window);
        const unsigned field = compare.bf();
        if (memo >= compiled_.memos || memo >= handler_memos) return 0;
        const unsigned taken = access_by_table(at + NotedAccess::length + 1, NotedAccess::after_length);
        if (taken == 0 || words_[at + NotedAccess::length] != NotedAccess::skip(field)) return 0;
        const unsigned behind = at + NotedAccess::words - NotedAccess::after_length;
        // The same access as the check is for, as far as these words tell.
        const Instruction table = isa::decode(words_[at + NotedAccess::length + 1 + 3]);
        store = 31 - table.me() == store_shift;
        const NotedAccess expected({0, 31 & (32 - table.mb()), store}, place_, memo, field);
        for (unsigned word = 0; word < NotedAccess::length; ++word)
            if (words_[at + word] != expected.before[word]) return 0;
        for (unsigned word = 0; word < NotedAccess::after_length; ++word)
            if (words_[behind + word] != expected.after[word]) return 0;
        return NotedAccess::length + 1 + taken;
    }

    // noting: words between the branch away and the access, which somebody else looks at.
    unsigned access_by_table(unsigned at, unsigned noting) const {
        if (length_ - at < CheckedAccess::length + noting + 2 || isa::decode(words_[at]).op != Op::rlwinm) return 0;
        const Instruction compare = isa::decode(words_[at + 4]);
        for (const Op op : {Op::lbzx, Op::lhzx, Op::lhax, Op::lwzx, Op::stbx, Op::sthx, Op::stwx}) {
            const Access access = access_of(op);
            const CheckedAccess expected(access, place_, compare.bf());
            bool same = true;
            for (unsigned word = 0; word < CheckedAccess::length; ++word)
                same = same && words_[at + word] == expected.before[word];
            if (!same) continue;
            const Instruction away = isa::decode(words_[at + 6]);
            if (away.op != Op::bc || away.aa() || away.lk() || away.bo() != encode::if_clear ||
                away.bi() != 4 * compare.bf() + encode::eq || !leads_forward(at + 6, away))
                return 0;
            unsigned last = at + 7 + noting;
            if (access.store) {
                if (fetches_value(last)) ++last;
            }
            if (last >= length_) return 0;
            const std::uint32_t word = words_[last];
            const unsigned data = word >> 21 & 31;
            if ((word & ~(31U << 21)) == (access.indexed | 5U << 16 | 6U << 11) && data != record) return last + 1 - at;
        }
        return pair(at, compare.bf(), noting);
    }

    // The check of eight bytes, a branch away, two loads.
    unsigned pair(unsigned at, unsigned field, unsigned noting) const {
        const unsigned length = CheckedAccess::length + noting + 4;
        if (length_ - at < length) return 0;
        const std::uint32_t load = isa::match_of(Op::lwzx) | 5U << 16 | 6U << 11;
        const CheckedAccess expected({load, pair_shift, false}, place_, field);
        for (unsigned word = 0; word < CheckedAccess::length; ++word)
            if (words_[at + word] != expected.before[word]) return 0;
        const Instruction away = isa::decode(words_[at + 6]);
        if (away.op != Op::bc || away.aa() || away.lk() || away.bo() != encode::if_clear ||
            away.bi() != 4 * field + encode::eq || !leads_forward(at + 6, away))
            return 0;
        const auto loads = [&](std::uint32_t word) { // to a register that the other does not need
            const unsigned data = word >> 21 & 31;
            return (word & ~(31U << 21)) == load && data != record && data != 5 && data != 6;
        };
        const unsigned first = at + 7 + noting;
        return loads(words_[first]) && words_[first + 1] == encode::addi(5, 5, 4) && loads(words_[first + 2]) ? length
                                                                                                              : 0;
    }

    // The host's address of a fixed one fetched, perhaps the value to be stored, the access.
    unsigned fixed_access(unsigned at) const {
        const Instruction fetch = isa::decode(words_[at]);
        if (fetch.op != Op::lwz || fetch.ra() != record || fetch.rt() != 6 ||
            !within(fetch.si(), place_.fixed, 4 * (compiled_.fixed < handler_fixed ? compiled_.fixed : handler_fixed)))
            return 0;
        const FixedAddress& address = compiled_.addresses[(fetch.si() - place_.fixed) / 4];
        unsigned last = at + 1;
        if (last < length_) {
            if (fetches_value(last)) ++last;
        }
        if (last >= length_) return 0;
        const std::uint32_t word = words_[last];
        const unsigned data = word >> 21 & 31;
        for (const Op op : {Op::lbzx, Op::lhzx, Op::lhax, Op::lwzx, Op::stbx, Op::sthx, Op::stwx}) {
            if ((word & ~(31U << 21)) != (isa::match_of(op) | 6U << 11) || data == record) continue;
            const Access access = access_of(op);
            const bool fits = access.store == address.store && (address.ea & ((1U << access.size_shift) - 1)) == 0;
            return fits ? last + 1 - at : 0;
        }
        return 0;
    }

    std::uint32_t target(unsigned at, Instruction insn) const {
        return place_.code + 4 * at + static_cast<std::uint32_t>(insn.li());
    }
    bool calls(unsigned at, Instruction insn) const {
        const std::uint32_t exit = target(at, insn);
        return exit == place_.finish || is_early(exit);
    }
    // Exits that a handler may have besides.
    bool is_early(std::uint32_t exit) const {
        if (place_.commit == 0) return false;
        return exit == place_.commit || (place_.walks != 0 && exit == place_.record);
    }
    // The one branch there that has a Walk.
    bool is_recall(unsigned at, Instruction insn) const {
        return insn.op == Op::b && !insn.lk() && !insn.aa() && target(at, insn) == place_.recall;
    }
    bool is_end(unsigned at, Instruction insn) const {
        return insn.op == Op::b && !insn.lk() && place_.commit != 0 && target(at, insn) == place_.end;
    }

    // lis r6; ori r6; mtlr r6; blr or blrl.
    std::uint32_t exit_target(unsigned at) const {
        const bool shaped = length_ - at >= 4 && (words_[at] & 0xFFFF0000) == encode::addis(6, 0, 0) &&
                            (words_[at + 1] & 0xFFFF0000) == encode::ori(6, 6, 0) &&
                            words_[at + 2] == encode::mtspr(spr::lr, 6);
        return shaped ? words_[at] << 16 | (words_[at + 1] & 0xFFFF) : 0;
    }
    unsigned exit(unsigned at, bool& goes_on) const {
        const std::uint32_t target = exit_target(at);
        if (target == 0) return 0;
        const std::uint32_t how = words_[at + 3];
        goes_on = how == encode::blrl;
        const bool early = (is_early(target) && how == encode::blrl) ||
                           (place_.commit != 0 && target == place_.end && how == encode::blr);
        return early || (target == place_.leave && how == encode::blr) ||
                       (target == place_.finish && how == encode::blrl)
                   ? 4
                   : 0;
    }

    // Offset of an access to the record from a field of `bytes` there.
    static bool within(std::int32_t displacement, std::int32_t field, std::uint32_t bytes) {
        const auto offset = static_cast<std::uint32_t>(displacement - field);
        return offset < bytes && offset % 4 == 0;
    }
    bool is_gpr(std::int32_t at) const { return at == place_.gpr + 12 || within(at, place_.gpr + 20, 12); }
    bool may_load(Instruction insn) const {
        if (insn.ra() != record || insn.rt() == record) return false;
        const std::int32_t at = insn.si();
        return at == place_.lr || at == place_.cr || is_gpr(at) || within(at, place_.page, sizeof(StatePage)) ||
               within(at, place_.tlb, 4);
    }
    bool may_store(Instruction insn) const {
        if (insn.ra() != record || insn.rs() == record) return false;
        const std::int32_t at = insn.si();
        if (at == place_.lr || at == place_.cr || at == place_.missed || is_gpr(at) ||
            (place_.walks != 0 && at == place_.reads) || within(at, place_.tlb, sizeof(TlbWrites)))
            return true;
        for (const unsigned number :
             {+spr::srr0, +spr::srr1, +spr::csrr0, +spr::csrr1, +spr::dear, +spr::esr, +spr::pid, +spr::mmucr})
            if (at == place_.page + static_cast<std::int32_t>(field_of_spr(number))) return true;
        return within(at, place_.page + static_cast<std::int32_t>(offsetof(StatePage, sprg)), 32);
    }
    static bool may_set(Instruction insn) {
        if (insn.rs() == record) return false;
        const unsigned number = insn.spr();
        return (in_place(number) && writable(number)) || number == spr::sprg0 ||
               (number >= spr::sprg4 && number <= spr::sprg7);
    }

    bool leads_forward(unsigned at, Instruction insn) const {
        const std::int32_t distance = (insn.op == Op::b ? insn.li() : insn.bd()) / 4;
        return distance > 0 && static_cast<unsigned>(distance) < length_ - at;
    }
    // Of the units that begin here, branches lead to where units begin.
    bool branch_fits(unsigned at) const {
        Instruction insn = isa::decode(words_[at]);
        if (at == 0 && compiled_.recall != 0) return begins(compiled_.recall);
        if (const unsigned taken = checked_access(at); taken != 0) {
            const bool noted = noted_access(at) != 0;
            insn = isa::decode(words_[at += CheckedAccess::length + (noted ? NotedAccess::length + 1 : 0)]);
        }
        if ((insn.op != Op::b && insn.op != Op::bc) || insn.lk()) return true; // bl: it is an exit
        if (is_end(at, insn) || (recall_ != 0 && at == recall_)) return true;
        if (!leads_forward(at, insn)) return false;
        return begins(at + static_cast<unsigned>((insn.op == Op::b ? insn.li() : insn.bd()) / 4));
    }

    const std::uint32_t* words_;
    unsigned length_;
    const CompiledHandler& compiled_;
    const HandlerPlace& place_;
    HandlerFlaw flaw_ = HandlerFlaw::none;
    std::uint32_t begins_[handler_max_words / 32]{};
    static_assert(handler_memos <= 32);
    std::uint32_t noted_[2] = {}; // the windows that loads have, and stores
    bool has_walk_ = false;       // r5 is the address of one
    unsigned recall_ = 0;         // where that is used
};

} // namespace

HandlerFlaw verify_handler(const std::uint32_t* words, const CompiledHandler& compiled, const HandlerPlace& place) {
    return Verifier(words, compiled, place).run();
}

const char* name(HandlerFlaw flaw) {
    switch (flaw) {
    case HandlerFlaw::none: return "none";
    case HandlerFlaw::instruction: return "an instruction that handlers are not made of";
    case HandlerFlaw::storage: return "an access outside of what handlers may access";
    case HandlerFlaw::branch: return "a branch that does not lead forward to an instruction of the code";
    case HandlerFlaw::end: return "it might not end";
    }
    return "?";
}

} // namespace untrap::ppc
