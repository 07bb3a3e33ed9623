// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/handler.h"

#include "translator/isa/spr.h"
#include "translator/isa/state.h"
#include "translator/ppc/encode.h"
#include "translator/ppc/handler_code.h"
#include "translator/ppc/liveness.h"

namespace untrap::ppc {

using isa::Form;
using isa::Instruction;
using isa::Op;
using isa::StatePage;
namespace spr = isa::spr;

namespace {

using namespace handler_code;

enum class Kind : std::uint8_t {
    leave,
    plain,
    load,
    store,
    branch,
    jump,
    mfcr,
    mtcrf,
    mfmsr,
    mfspr,
    mtspr,
    tlbwe,
    drop,
    rfi
};

// written: words of the guest TLB that are noted and not done yet.
Kind kind_of(Instruction insn, unsigned written) {
    switch (insn.op) {
    case Op::isync: return written == 0 ? Kind::plain : Kind::leave; // from here on the guest relies on them
    case Op::b: return insn.aa() || insn.lk() ? Kind::leave : Kind::jump;
    case Op::bc:
        if (insn.aa() || insn.lk() || (insn.bo() & 4) == 0) return Kind::leave; // CTR stays out of it
        return (insn.bo() & 0x10) != 0 ? Kind::jump : Kind::branch;
    case Op::mfcr: return Kind::mfcr;
    case Op::mtcrf: return Kind::mtcrf;
    case Op::mfmsr: return Kind::mfmsr;
    case Op::mfspr: return readable(insn.spr()) ? Kind::mfspr : Kind::leave;
    case Op::mtspr:
        return writable(insn.spr()) && (insn.spr() != spr::mmucr || written == 0) ? Kind::mtspr : Kind::leave;
    case Op::tlbwe: return insn.ws() < 3 ? Kind::tlbwe : Kind::leave;
    case Op::rfi: return Kind::rfi;
    case Op::tlbsync: return Kind::drop;
    default: break;
    }
    if (access_of(insn.op).indexed != 0) return access_of(insn.op).store ? Kind::store : Kind::load;
    return is_plain(insn) ? Kind::plain : Kind::leave;
}

// The guest's CR fields that an instruction names. The moves of all of CR are done field by field.
std::uint8_t fields_of(Instruction insn, Kind kind) {
    if (kind == Kind::branch) return static_cast<std::uint8_t>(1U << (insn.bi() >> 2));
    if (kind != Kind::plain) return 0;
    const Operands found = operands(insn);
    return static_cast<std::uint8_t>(found.reads.cr | found.writes.cr);
}

class Compiler {
  public:
    Compiler(const std::uint32_t* window, unsigned count, std::uint32_t entry, const HandlerPlace& place,
             HandlerWork& work, std::uint32_t* out)
        : window_(window), count_(count < handler_window ? count : handler_window), entry_(entry), place_(place),
          work_(work), out_(out) {}

    // An instruction is compiled once for each set of words of the TLB entry that may be written when it is reached,
    // since exits have to tell it. Sets only grow, and the guest's code only goes forward: in this order, so does the
    // code.
    bool run(CompiledHandler& result) {
        if (!survey()) return false;
        for (mask_ = 0; mask_ < HandlerWork::mask_count; ++mask_) {
            for (at_ = 0; at_ < reach_; ++at_) {
                if (!reached(mask_, at_)) continue;
                work_.labels[mask_][at_] = static_cast<std::uint16_t>(length_);
                instruction(isa::decode(window_[at_]));
            }
        }
        finish();
        result = {length_, guest_, reach_, other_context_, memos_, fixed_count_, {}};
        for (unsigned index = 0; index < fixed_count_; ++index) result.addresses[index] = fixed_[index];
        return !failed_;
    }

  private:
    static constexpr unsigned scratch_a = 3, address = 5, scratch_b = 6, scratch_c = 7;

    // -- what is reached, and with what --------------------------------------------------------------------------

    bool reached(unsigned mask, unsigned at) const { return work_.index[mask][at] != HandlerWork::unreached; }

    bool survey() {
        std::uint8_t named = 0;
        bool returns = false;
        for (auto& points : work_.index)
            for (std::uint8_t& point : points) point = HandlerWork::unreached;
        work_.index[0][0] = HandlerWork::no_number;
        work_.dirty[0][0] = false;
        for (unsigned mask = 0; mask < HandlerWork::mask_count; ++mask) {
            for (unsigned at = 0; at < count_; ++at) {
                if (!reached(mask, at)) continue;
                if (++guest_ > handler_max_guest) return false;
                if (reach_ <= at) reach_ = at + 1;
                const Instruction insn = isa::decode(window_[at]);
                const Kind kind = kind_of(insn, mask);
                const bool pair = is_pair(at);
                if (pair) reach_ = reach_ < at + 2 ? at + 2 : reach_;
                if (pair && ++guest_ > handler_max_guest) return false;
                named = static_cast<std::uint8_t>(named | fields_of(insn, kind));
                returns = returns || kind == Kind::rfi;
                other_context_ =
                    other_context_ || (kind == Kind::mtspr && (insn.spr() == spr::pid || insn.spr() == spr::srr1));
                std::uint8_t index = work_.index[mask][at];
                if (kind == Kind::tlbwe)
                    index = static_cast<std::uint8_t>(insn.ra());
                else if (index != HandlerWork::no_number && (gprs_written_at(at) >> index & 1) != 0)
                    index = HandlerWork::no_number;
                const bool dirty = dirty_after(insn, kind, mask, at);
                if (kind == Kind::branch || kind == Kind::jump) flow(at, target(at, insn), mask, index, dirty);
                if (goes_on(kind)) flow(at, at + (pair ? 2 : 1), mask_after(insn, kind, mask), index, dirty);
            }
        }
        for (unsigned field = 0; field < 8; ++field)
            if ((named >> field & 1) == 0) field_ = field;
        return returns && field_ < 8;
    }

    static bool goes_on(Kind kind) { return kind != Kind::leave && kind != Kind::jump && kind != Kind::rfi; }
    static unsigned mask_after(Instruction insn, Kind kind, unsigned mask) {
        return kind == Kind::tlbwe ? mask | 1U << insn.ws() : mask;
    }

    // Whether the tlbwe there has another register for the entry's number than the one before it, to be compared.
    bool compares_numbers(Instruction insn, unsigned mask, unsigned at) const {
        return mask != 0 && work_.index[mask][at] != insn.ra();
    }
    // Checks of addresses and of entries' numbers use the spare CR field. The whole of CR written at once makes it the
    // guest's again.
    bool dirty_after(Instruction insn, Kind kind, unsigned mask, unsigned at) const {
        if (kind == Kind::mtcrf) return insn.fxm() != 0xFF;
        return work_.dirty[mask][at] || kind == Kind::load || kind == Kind::store ||
               (kind == Kind::tlbwe && compares_numbers(insn, mask, at));
    }

    // Two words, one behind the other, loaded by two instructions: a page-table entry.
    bool is_pair(unsigned at) const {
        if (at + 1 >= count_) return false;
        const Instruction first = isa::decode(window_[at]), second = isa::decode(window_[at + 1]);
        return first.op == Op::lwz && second.op == Op::lwz && first.ra() != 0 && first.ra() == second.ra() &&
               second.si() == first.si() + 4 && first.rt() != first.ra() && !in_record(first.rt()) &&
               !in_record(second.rt());
    }

    // By the instruction there, and the other of a pair.
    std::uint32_t gprs_written_at(unsigned at) const {
        const Instruction insn = isa::decode(window_[at]);
        const std::uint32_t written = written_gprs(insn, kind_of(insn, 0));
        return is_pair(at) ? written | 1U << isa::decode(window_[at + 1]).rt() : written;
    }
    bool reached(unsigned at) const {
        for (unsigned mask = 0; mask < HandlerWork::mask_count; ++mask)
            if (reached(mask, at)) return true;
        return false;
    }

    // Whether the address of the load or store at at_ is a constant: its base comes from a lis, on all ways.
    bool constant_address(Instruction insn, std::uint32_t& ea) const {
        if (insn.info().form == Form::x_mem || insn.ra() == 0) return false;
        unsigned from = at_;
        for (;;) {
            if (from-- == 0) return false;
            if (reached(from) && (gprs_written_at(from) >> insn.ra() & 1) != 0) break;
        }
        const Instruction lis = isa::decode(window_[from]);
        if (lis.op != Op::addis || lis.ra() != 0 || lis.rt() != insn.ra()) return false;
        for (unsigned before = 0; before < from; ++before) {
            const Instruction branch = isa::decode(window_[before]);
            if (!reached(before) || (branch.op != Op::b && branch.op != Op::bc)) continue;
            if (const unsigned to = target(before, branch); to > from && to <= at_) return false;
        }
        ea = (static_cast<std::uint32_t>(lis.si()) << 16) + static_cast<std::uint32_t>(insn.si());
        return true;
    }
    // Bits that a GPR may have before the instruction at `at`, on whichever way that was reached; all, if that takes
    // too long to find out.
    static constexpr unsigned possible_budget = 48;
    std::uint32_t possible(unsigned gpr, unsigned at, unsigned& budget) const {
        if (at == 0 || budget == 0) return ~0U;
        --budget;
        std::uint32_t bits = 0;
        for (unsigned from = 0; from < at; ++from) {
            if (!reached(from)) continue;
            const Instruction insn = isa::decode(window_[from]);
            const Kind kind = kind_of(insn, 0);
            const bool leads = (kind == Kind::branch || kind == Kind::jump) && target(from, insn) == at;
            if (leads || (goes_on(kind) && from + (is_pair(from) ? 2 : 1) == at))
                bits |= possible_after(gpr, from, budget);
        }
        return bits;
    }
    std::uint32_t possible_after(unsigned gpr, unsigned at, unsigned& budget) const {
        if ((gprs_written_at(at) >> gpr & 1) == 0) return possible(gpr, at, budget);
        const Instruction insn = isa::decode(window_[at]);
        const auto of = [&](unsigned number) { return possible(number, at, budget); };
        const auto rotated = [&](std::uint32_t bits, unsigned by) {
            return by == 0 ? bits : bits << by | bits >> (32 - by);
        };
        switch (insn.op) {
        case Op::mfspr: return insn.spr() == spr::mmucr ? isa::mmucr::writable : insn.spr() == spr::pid ? 0xFFU : ~0U;
        case Op::addi: return insn.ra() == 0 ? static_cast<std::uint32_t>(insn.si()) : ~0U;
        case Op::andi_rc: return of(insn.rs()) & insn.ui();
        case Op::rlwinm: return rotated(of(insn.rs()), insn.sh()) & isa::rotate_mask(insn.mb(), insn.me());
        case Op::rlwimi: {
            const std::uint32_t mask = isa::rotate_mask(insn.mb(), insn.me());
            return (rotated(of(insn.rs()), insn.sh()) & mask) | (of(insn.ra()) & ~mask);
        }
        default: return ~0U;
        }
    }
    // Its number among those of the code, handler_fixed if there are too many.
    unsigned fixed_number(std::uint32_t ea, bool store) {
        unsigned number = 0;
        while (number < fixed_count_ && (fixed_[number].ea != ea || fixed_[number].store != store)) ++number;
        if (number == fixed_count_ && number < handler_fixed) fixed_[fixed_count_++] = {ea, store};
        return number;
    }

    static std::uint32_t written_gprs(Instruction insn, Kind kind) {
        switch (kind) {
        case Kind::load:
        case Kind::mfcr:
        case Kind::mfmsr:
        case Kind::mfspr: return 1U << insn.rt();
        case Kind::plain: return operands(insn).writes.gpr;
        default: return 0;
        }
    }

    static unsigned target(unsigned index, Instruction insn) {
        const std::int32_t displacement = insn.op == Op::b ? insn.li() : insn.bd();
        return index + static_cast<unsigned>(displacement / 4); // beyond count_, if backward past the entry
    }

    bool inside(unsigned from, unsigned to) const { return to > from && to < count_; }

    void flow(unsigned from, unsigned to, unsigned mask, std::uint8_t index, bool dirty) {
        if (!inside(from, to)) return;
        std::uint8_t& known = work_.index[mask][to];
        work_.dirty[mask][to] = dirty || (known != HandlerWork::unreached && work_.dirty[mask][to]);
        known = known == HandlerWork::unreached || known == index ? index : HandlerWork::no_number;
    }

    // -- output --------------------------------------------------------------------------------------------------

    void put(std::uint32_t word) {
        if (length_ < handler_max_words)
            out_[length_++] = word;
        else
            failed_ = true;
    }

    std::int32_t gpr_at(unsigned number) const { return place_.gpr + 4 * static_cast<std::int32_t>(number); }
    std::int32_t page_at(std::size_t field) const { return place_.page + static_cast<std::int32_t>(field); }
    std::int32_t tlb_at(std::size_t field) const { return place_.tlb + static_cast<std::int32_t>(field); }
    void load_record(unsigned to, std::int32_t where) { put(encode::lwz(to, record, where)); }
    void store_record(unsigned from, std::int32_t where) { put(encode::stw(from, record, where)); }

    // GPRs of the guest that are in the record.
    void load_gpr(unsigned to, unsigned number) {
        if (number == record)
            put(encode::mfspr(to, spr::sprg0));
        else
            load_record(to, gpr_at(number));
    }
    void store_gpr(unsigned from, unsigned number) {
        if (number == record)
            put(encode::mtspr(spr::sprg0, from));
        else
            store_record(from, gpr_at(number));
    }
    // The register that holds a GPR of the guest now: itself, or this scratch register.
    unsigned read(unsigned number, unsigned scratch) {
        if (!in_record(number)) return number;
        load_gpr(scratch, number);
        return scratch;
    }
    // Where to have a result put that becomes this GPR; then written().
    static unsigned result(unsigned number, unsigned scratch) { return in_record(number) ? scratch : number; }
    void written(unsigned number, unsigned scratch) {
        if (in_record(number)) store_gpr(scratch, number);
    }

    // -- exits ---------------------------------------------------------------------------------------------------

    static constexpr unsigned max_stubs = HandlerWork::max_stubs, max_fixups = HandlerWork::max_fixups;

    // A bc, so far with no place to go, which leaves the code for a word of the guest's.
    void leave_if(std::uint32_t branch, unsigned guest_word, std::uint32_t flags) {
        if (stub_count_ == max_stubs) {
            failed_ = true;
            return;
        }
        work_.stubs[stub_count_++] = {static_cast<std::uint16_t>(length_), static_cast<std::int16_t>(guest_word),
                                      static_cast<std::uint8_t>(flags)};
        put(branch);
    }
    void leave(std::uint32_t pc, std::uint32_t flags) {
        put(encode::addis(3, 0, static_cast<std::int32_t>(pc >> 16)));
        put(encode::ori(3, 3, pc & 0xFFFF));
        put(encode::addi(5, 0, static_cast<std::int32_t>(flags)));
        to_leave(encode::b(0));
    }
    void to_leave(std::uint32_t branch) {
        if (leave_count_ == max_stubs) {
            failed_ = true;
            return;
        }
        work_.leaves[leave_count_++] = static_cast<std::uint16_t>(length_);
        put(branch);
    }
    void exit_to(std::uint32_t address_of_exit, std::uint32_t how) {
        put(encode::addis(6, 0, static_cast<std::int32_t>(address_of_exit >> 16)));
        put(encode::ori(6, 6, address_of_exit & 0xFFFF));
        put(encode::mtspr(spr::lr, 6));
        put(how);
    }
    void to_finish() { call(place_.finish); }
    void call(std::uint32_t place) {
        const std::uint32_t distance = place - (place_.code + 4 * length_);
        if (encode::within_reach(distance))
            put(encode::bl(distance));
        else
            exit_to(place, encode::blrl);
    }
    void to_end() {
        const std::uint32_t distance = place_.end - (place_.code + 4 * length_);
        if (encode::within_reach(distance))
            put(encode::b(distance));
        else
            exit_to(place_.end, encode::blr);
    }
    void restore_field() {
        load_record(6, place_.cr);
        put(encode::mtcrf(encode::field_mask(field_), 6));
    }

    void set_displacement(unsigned from, unsigned to) {
        const std::uint32_t mask = out_[from] >> 26 == 18 ? 0x03FFFFFCU : 0xFFFCU;
        out_[from] |= (to - from) * 4 & mask;
    }

    void finish() {
        for (unsigned index = 0; index < stub_count_ && !failed_; ++index) {
            const HandlerWork::Stub stub = work_.stubs[index];
            set_displacement(stub.from, length_);
            if ((stub.flags & (handler_exit::load_miss | handler_exit::store_miss)) != 0)
                store_record(address, place_.missed);
            leave(entry_ + 4 * static_cast<std::uint32_t>(stub.target), stub.flags);
        }
        if (failed_) return;
        for (unsigned index = 0; index < leave_count_; ++index) set_displacement(work_.leaves[index], length_);
        for (unsigned index = 0; index < fixup_count_; ++index)
            set_displacement(
                work_.fixups[index].from,
                work_.labels[work_.fixups[index].to / handler_window][work_.fixups[index].to % handler_window]);
        restore_field();
        exit_to(place_.leave, encode::blr);
    }

    // -- one instruction of the guest ----------------------------------------------------------------------------

    std::uint32_t pc() const { return entry_ + 4 * at_; }
    std::uint32_t flags() const { return mask_ | place_.flags; }

    void instruction(Instruction insn) {
        const Kind kind = kind_of(insn, mask_);
        switch (kind) {
        case Kind::leave: leave(pc(), flags()); break;
        case Kind::plain: plain(insn); break;
        case Kind::load:
        case Kind::store: access(insn); break;
        case Kind::jump: jump(target(at_, insn)); break;
        case Kind::branch: branch(insn); break;
        case Kind::mfcr: move_from_cr(insn.rt()); break;
        case Kind::mtcrf: move_to_cr(insn); break;
        case Kind::mfmsr: move_from_msr(insn.rt()); break;
        case Kind::mfspr: move_from_spr(insn); break;
        case Kind::mtspr: move_to_spr(insn); break;
        case Kind::tlbwe: write_tlb(insn); break;
        case Kind::drop: break;
        case Kind::rfi:
            if (work_.dirty[mask_][at_]) restore_field();
            put(encode::addi(5, 0, static_cast<std::int32_t>(flags())));
            to_finish();
            leave(pc(), flags());
            break;
        }
        if (kind == Kind::tlbwe && commits_early()) return commit_early();
        if (goes_on(kind)) go_on(at_ + (is_pair(at_) ? 2 : 1), mask_after(insn, kind, mask_));
    }

    // Whether the tlbwe at at_ is the last, and nothing behind it but what puts registers back: those that the exit may
    // change, and all of CR.
    bool commits_early() const {
        if (place_.commit == 0 || mask_after(isa::decode(window_[at_]), Kind::tlbwe, mask_) != handler_exit::words)
            return false;
        std::uint32_t dead = 0, used = 0;
        std::uint8_t dead_cr = 0;
        for (unsigned at = at_ + 1; at < count_; ++at) {
            const Instruction insn = isa::decode(window_[at]);
            const Kind kind = kind_of(insn, handler_exit::words);
            if (kind == Kind::rfi) return (dead & free_at_commit) == free_at_commit && dead_cr == 0xFF;
            switch (kind) {
            case Kind::mfspr: break;
            case Kind::mtcrf:
                if (insn.fxm() != 0xFF) return false;
                used |= 1U << insn.rs();
                if ((used & ~dead & free_at_commit) != 0) return false;
                dead_cr = 0xFF;
                continue;
            case Kind::plain: {
                const Operands found = operands(insn);
                if ((found.reads.cr & ~dead_cr) != 0) return false;
                used |= found.reads.gpr;
                break;
            }
            default: return false;
            }
            // What is read before it is put back is not free.
            if ((used & ~dead & free_at_commit) != 0) return false;
            dead |= written_gprs(insn, kind);
        }
        return false;
    }
    void commit_early() {
        const unsigned last = at_;
        call(place_.commit);
        fixup(last + 1, handler_exit::words);
        put(encode::bc(encode::if_clear, encode::eq, 0));
        for (++at_; kind_of(isa::decode(window_[at_]), handler_exit::words) != Kind::rfi; ++at_) {
            const Instruction insn = isa::decode(window_[at_]);
            if (insn.op == Op::mtcrf)
                put(encode::mtcrf(0xFF, read(insn.rs(), scratch_a)));
            else if (kind_of(insn, handler_exit::words) == Kind::mfspr)
                move_from_spr(insn);
            else
                plain(insn);
        }
        to_end();
        at_ = last;
    }

    // The code goes on for another word of the guest's: that one's is next, or a branch leads there.
    void go_on(unsigned to, unsigned mask) {
        if (!inside(at_, to)) return leave(entry_ + 4 * to, mask | place_.flags);
        for (unsigned next = mask_ * handler_window + at_ + 1; next < mask * handler_window + to; ++next)
            if (reached(next / handler_window, next % handler_window)) {
                fixup(to, mask);
                return put(encode::b(0));
            }
    }

    // The instruction itself, with other registers for those of the guest that are in the record.
    void plain(Instruction insn) {
        const Operands found = operands(insn);
        const Fields fields = fields_of_form(insn);
        std::uint32_t word = insn.word;
        constexpr unsigned scratch[] = {scratch_a, scratch_b, scratch_c};
        unsigned held[3] = {}, used = 0;
        const auto place = [&](bool is_register, unsigned shift) {
            const unsigned number = insn.word >> shift & 31;
            if (!is_register || !in_record(number)) return;
            unsigned which = 0;
            while (which < used && held[which] != number) ++which;
            if (which == used) {
                held[used++] = number;
                if ((found.reads.gpr >> number & 1) != 0) load_gpr(scratch[which], number);
            }
            word = (word & ~(31U << shift)) | scratch[which] << shift;
        };
        place(fields.rt, 21);
        place(fields.ra, 16);
        place(fields.rb, 11);
        put(word);
        for (unsigned which = 0; which < used; ++which)
            if ((found.writes.gpr >> held[which] & 1) != 0) store_gpr(scratch[which], held[which]);
    }

    void jump(unsigned to) { go_on(to, mask_); }
    void branch(Instruction insn) {
        const unsigned to = target(at_, insn);
        const std::uint32_t word = encode::bc(insn.bo(), insn.bi(), 0);
        if (!inside(at_, to)) return leave_if(word, to, flags());
        fixup(to, mask_);
        put(word);
    }
    void fixup(unsigned to, unsigned mask) {
        if (fixup_count_ == max_fixups)
            failed_ = true;
        else
            work_.fixups[fixup_count_++] = {static_cast<std::uint16_t>(length_),
                                            static_cast<std::uint16_t>(mask * handler_window + to)};
    }

    // A load or store that is done if a window has the address; see verify_handler for the shape.
    void access(Instruction insn) {
        Access what = access_of(insn.op);
        const bool pair = is_pair(at_);
        std::uint32_t ea = 0;
        if (!pair && constant_address(insn, ea) && (ea & ((1U << what.size_shift) - 1)) == 0)
            if (const unsigned number = fixed_number(ea, what.store); number < handler_fixed)
                return fixed_access(insn, what, number);
        if (pair) what.size_shift = pair_shift;
        if (insn.info().form == Form::x_mem) {
            const unsigned b = read(insn.rb(), scratch_b);
            put(insn.ra() == 0 ? encode::ori(address, b, 0) : encode::add(address, read(insn.ra(), scratch_c), b));
        } else {
            put(encode::addi(address, insn.ra() != 0 ? read(insn.ra(), address) : 0, insn.si()));
        }
        const CheckedAccess checked(what, place_, field_);
        const NotedAccess noted(what, place_, memos_, field_);
        const bool has_window = memos_ < handler_memos;
        if (has_window) {
            for (const std::uint32_t word : noted.before) put(word);
            put(NotedAccess::skip(field_));
            ++memos_;
        }
        for (const std::uint32_t word : checked.before) put(word);
        leave_if(encode::bc(encode::if_clear, field_ * 4 + encode::eq, 0), at_,
                 flags() | (what.store ? handler_exit::store_miss : handler_exit::load_miss));
        if (has_window)
            for (const std::uint32_t word : noted.after) put(word);
        const unsigned data = what.store ? read(insn.rs(), scratch_c) : result(insn.rt(), scratch_c);
        put(what.indexed | data << 21 | address << 16 | scratch_b << 11);
        if (!what.store) written(insn.rt(), scratch_c);
        if (!pair) return;
        put(encode::addi(address, address, 4));
        put(what.indexed | isa::decode(window_[at_ + 1]).rt() << 21 | address << 16 | scratch_b << 11);
    }
    void fixed_access(Instruction insn, const Access& what, unsigned number) {
        load_record(scratch_b, place_.fixed + 4 * static_cast<std::int32_t>(number));
        const unsigned data = what.store ? read(insn.rs(), scratch_c) : result(insn.rt(), scratch_c);
        put(what.indexed | data << 21 | scratch_b << 11);
        if (!what.store) written(insn.rt(), scratch_c);
    }

    // What an interrupt leaves of it.
    void move_from_msr(unsigned rt) {
        const unsigned to = result(rt, scratch_a);
        load_record(address, page_at(offsetof(StatePage, msr)));
        bool first = true;
        for (unsigned bit = 0; bit < 32; ++bit) {
            if ((interrupted_msr & isa::ppc_bit(bit)) == 0) continue;
            put(first ? encode::rlwinm(to, address, 0, bit, bit) : encode::rlwimi(to, address, 0, bit, bit));
            first = false;
        }
        written(rt, scratch_a);
    }

    // All fields but one are in CR, and perhaps that one.
    void move_from_cr(unsigned rt) {
        const unsigned to = result(rt, scratch_a);
        put(encode::mfcr(to));
        if (!work_.dirty[mask_][at_]) return written(rt, scratch_a);
        load_record(address, place_.cr);
        put(encode::rlwimi(to, address, 0, 4 * field_, 4 * field_ + 3));
        written(rt, scratch_a);
    }
    void move_to_cr(Instruction insn) {
        const unsigned from = read(insn.rs(), scratch_a), own = encode::field_mask(field_);
        if (insn.fxm() == 0xFF) {
            put(encode::mtcrf(0xFF, from));
            return store_record(from, place_.cr);
        }
        if ((insn.fxm() & own) != 0) {
            load_record(address, place_.cr);
            put(encode::rlwimi(address, from, 0, 4 * field_, 4 * field_ + 3));
            store_record(address, place_.cr);
        }
        if ((insn.fxm() & ~own) != 0) put(encode::mtcrf(insn.fxm() & ~own, from));
    }

    void move_from_spr(Instruction insn) {
        const unsigned number = insn.spr(), to = result(insn.rt(), scratch_a);
        if (in_place(number))
            put(encode::mfspr(to, number));
        else
            load_record(to, number == spr::lr ? place_.lr : page_at(field_of_spr(number)));
        written(insn.rt(), scratch_a);
    }
    void move_to_spr(Instruction insn) {
        const unsigned number = insn.spr();
        unsigned from = read(insn.rs(), scratch_a);
        if (in_place(number)) return put(encode::mtspr(number, from));
        if (number == spr::lr) return store_record(from, place_.lr);
        const auto masked = [&](unsigned mb, unsigned me) {
            unsigned budget = possible_budget;
            if ((possible(insn.rs(), at_, budget) & ~isa::rotate_mask(mb, me)) == 0) return;
            put(encode::rlwinm(scratch_a, from, 0, mb, me));
            from = scratch_a;
        };
        switch (number) {
        case spr::srr0:
        case spr::csrr0: masked(0, 29); break;
        case spr::pid: masked(24, 31); break;
        case spr::mmucr:
            static_assert(isa::mmucr::writable == (isa::rotate_mask(7, 31) & isa::rotate_mask(24, 15)));
            masked(7, 31);
            masked(24, 15);
            break;
        default: break;
        }
        store_record(from, page_at(field_of_spr(number)));
        // Under their user numbers the guest reads these from the CPU.
        if (number >= spr::sprg4 && number <= spr::sprg7) put(encode::mtspr(number, from));
    }

    void write_tlb(Instruction insn) {
        if (work_.index[mask_][at_] != insn.ra()) {
            // Whoever takes it looks at its low 6 bits.
            const unsigned entry = read(insn.ra(), scratch_b);
            if (!compares_numbers(insn, mask_, at_)) {
                store_record(entry, tlb_at(offsetof(TlbWrites, index)));
            } else {
                load_record(scratch_a, tlb_at(offsetof(TlbWrites, index)));
                put(encode::cmplw(field_, scratch_a, entry));
                leave_if(encode::bc(encode::if_clear, field_ * 4 + encode::eq, 0), at_, flags());
            }
        }
        store_record(read(insn.rs(), scratch_a), tlb_at(offsetof(TlbWrites, words)) + 4 * static_cast<int>(insn.ws()));
    }

    const std::uint32_t* window_;
    unsigned count_;
    std::uint32_t entry_;
    const HandlerPlace& place_;
    HandlerWork& work_;
    std::uint32_t* out_;
    unsigned length_ = 0, guest_ = 0, reach_ = 0, at_ = 0, mask_ = 0;
    unsigned field_ = 8;
    bool failed_ = false, other_context_ = false;
    unsigned stub_count_ = 0, leave_count_ = 0, fixup_count_ = 0;
    unsigned memos_ = 0, fixed_count_ = 0;
    FixedAddress fixed_[handler_fixed] = {};
};

} // namespace

bool compile_handler(const std::uint32_t* window, unsigned count, std::uint32_t entry, const HandlerPlace& place,
                     HandlerWork& work, std::uint32_t* out, CompiledHandler& result) {
    if (count == 0 || (entry & 3) != 0) return false;
    return Compiler(window, count, entry, place, work, out).run(result);
}

} // namespace untrap::ppc
