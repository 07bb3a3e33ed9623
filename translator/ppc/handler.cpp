// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/handler.h"

#include "translator/isa/spr.h"
#include "translator/isa/state.h"
#include "translator/ppc/encode.h"
#include "translator/ppc/handler_code.h"
#include "translator/ppc/handler_flow.h"
#include "translator/ppc/handler_walk.h"
#include "translator/ppc/liveness.h"

namespace untrap::ppc {

using isa::Form;
using isa::Instruction;
using isa::Op;
using isa::StatePage;
namespace spr = isa::spr;

namespace {

using namespace handler_code;
using Kind = HandlerStep;

class Compiler {
  public:
    Compiler(const std::uint32_t* window, unsigned count, std::uint32_t entry, const HandlerPlace& place,
             HandlerWork& work, std::uint32_t* out)
        : flow_(window, count, work), walk_(flow_, work), entry_(entry), place_(place), work_(work), out_(out) {}

    // In the order that the guest's code goes forward in (HandlerFlow), so does this one.
    bool run(CompiledHandler& result) {
        if (!flow_.survey()) return false;
        const bool of_data = (place_.flags & handler_exit::fetch) == 0;
        field_ = flow_.free_field();
        has_walk_ = of_data && may_recall() && walk_.survey() && turns_fit() && place_.walks_used;
        if (has_walk_) recall();
        const unsigned recall_length = length_;
        if (of_data) {
            put(encode::mfspr(scratch_a, spr::lr));
            store_record(scratch_a, place_.lr);
            if (has_walk_) begin_reads();
            load_record(scratch_a, place_.cr);
            put(encode::mtcrf(0xFF, scratch_a));
        }
        for (mask_ = 0; mask_ < HandlerWork::mask_count; ++mask_) {
            for (at_ = 0; at_ < flow_.reach(); ++at_) {
                if (!flow_.reached(mask_, at_)) continue;
                work_.labels[mask_][at_] = static_cast<std::uint16_t>(length_);
                instruction(flow_.at(at_));
            }
        }
        finish();
        result = {};
        result.length = length_;
        result.guest = flow_.guest();
        result.reach = flow_.reach();
        result.other_context = flow_.other_context();
        result.memos = memos_;
        result.fixed = fixed_count_;
        if (has_walk_) {
            result.recall = recall_length;
            result.declined = declined_;
            result.loads = walk_.loads();
            result.inputs = walk_.inputs();
            for (unsigned number = 0; number < result.loads; ++number)
                if (walk_.is_pair(number)) result.pairs |= 1U << number;
            for (unsigned number = 0; number < result.inputs; ++number)
                result.input_fields[number] = static_cast<std::uint16_t>(walk_.input(number));
        }
        for (unsigned index = 0; index < fixed_count_; ++index) result.addresses[index] = fixed_[index];
        return !failed_;
    }

  private:
    static constexpr unsigned scratch_a = 3, address = 5, scratch_b = 6, scratch_c = 7;

    // Its number among those of the code, handler_fixed if there are too many.
    unsigned fixed_number(std::uint32_t ea, bool store) {
        unsigned number = 0;
        while (number < fixed_count_ && (fixed_[number].ea != ea || fixed_[number].store != store)) ++number;
        if (number == fixed_count_ && number < handler_fixed) fixed_[fixed_count_++] = {ea, store};
        return number;
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

    // -- what was found before -----------------------------------------------------------------------------------

    std::int32_t reads_at(std::size_t field) const { return place_.reads + static_cast<std::int32_t>(field); }
    std::int32_t read_at(unsigned number, std::size_t field) const {
        return reads_at(offsetof(WalkReads, loads) + number * sizeof(WalkRead) + field);
    }

    bool may_recall() const {
        return place_.walks != 0 && place_.commit != 0 && place_.code != 0 &&
               encode::within_reach(place_.recall - place_.code) &&
               encode::within_reach(place_.recall - (place_.code + 4 * handler_max_words));
    }
    // Whether the turn's registers and addresses are few enough.
    bool turns_fit() {
        for (unsigned number = 0; number < walk_.turns(); ++number) {
            const unsigned word = walk_.turn(number);
            const Instruction insn = flow_.at(word);
            const Access what = access_of(insn.op);
            std::uint32_t ea = 0;
            if (what.indexed != 0) {
                if (!flow_.constant_address(word, ea) || ea % 4 != 0 || fixed_number(ea, what.store) == handler_fixed)
                    return false;
                renamed(insn.rt());
                continue;
            }
            const Fields fields = fields_of_form(insn);
            if (fields.rt) renamed(insn.rt());
            if (fields.ra) renamed(insn.ra());
            if (fields.rb) renamed(insn.rb());
        }
        return renamed_count_ <= 2;
    }
    // The scratch register that a GPR of the guest's is in a turn.
    unsigned renamed(unsigned gpr) {
        for (unsigned number = 0; number < renamed_count_ && number < 2; ++number)
            if (renamed_[number] == gpr) return number == 0 ? scratch_a : scratch_c;
        if (renamed_count_ < 2) renamed_[renamed_count_] = gpr;
        return renamed_count_++ == 0 ? scratch_a : scratch_c;
    }

    // The page's Walk, if it is still right, with a turn, instead of all that follows.
    void recall() {
        const WalkSearch search(place_);
        unsigned away[1 + walk_inputs + walk_loads], ways = 0;
        for (const std::uint32_t word : search.before) put(word);
        const auto compare = [&](std::size_t at, unsigned gpr) {
            for (const std::uint32_t word : search.compare(at, gpr, field_, 8).words) put(word);
            away[ways++] = length_ - 1;
        };
        compare(offsetof(Walk, key), scratch_c);
        const auto guard = [&](const auto& words) {
            for (const std::uint32_t word : words) put(word);
            away[ways++] = length_ - 1;
        };
        // The entry of the page itself is what changes most.
        for (unsigned number = walk_.loads(); number-- != 0;) {
            if (number != 0 && walk_.is_pair(number - 1)) {
                guard(search.second(--number, field_, 16).words);
                guard(search.first(number, field_, 12).words);
            } else {
                guard(search.read(number, field_, 16).words);
            }
        }
        for (unsigned number = 0; number < walk_.inputs(); ++number) {
            load_record(scratch_a, page_at(walk_.input(number)));
            compare(offsetof(Walk, inputs) + 4 * number, scratch_a);
        }
        if (search.low != 0) put(encode::addi(address, address, search.low));

        for (unsigned number = 0; number < walk_.saves(); ++number) {
            const HandlerWalk::Save save = walk_.save(number);
            const unsigned to = spr::sprg0 + save.sprg;
            unsigned from = scratch_a;
            if (save.gpr == HandlerWalk::whole_cr)
                load_record(from, place_.cr);
            else
                from = read(save.gpr, scratch_a);
            store_record(from, page_at(field_of_spr(to)));
            if (to >= spr::sprg4) put(encode::mtspr(to, from));
        }
        turn();
        if (renamed(walk_.index_register()) != scratch_a) put(encode::ori(scratch_a, scratch_c, 0));
        put(encode::b(place_.recall - (place_.code + 4 * length_)));
        declined_ = length_;
        load_record(scratch_b, place_.cr);
        put(encode::mtcrf(0xFF, scratch_b));
        put(encode::addi(5, 0, handler_exit::words));
        to_finish();
        leave(entry_ + 4 * walk_.return_word(), handler_exit::words);
        if (failed_) return;
        for (unsigned way = 0; way < ways; ++way) set_displacement(away[way], length_);
    }
    void turn() {
        unsigned skip = 0, skip_to = 0; // a branch forward, and the word that it leads to
        const auto arrive = [&](unsigned word) {
            if (skip_to == 0 || word < skip_to || failed_) return;
            set_displacement(skip, length_);
            skip_to = 0;
        };
        for (unsigned number = 0; number < walk_.turns(); ++number) {
            const unsigned word = walk_.turn(number);
            const Instruction insn = flow_.at(word);
            arrive(word);
            const Access what = access_of(insn.op);
            std::uint32_t ea = 0;
            if (what.indexed != 0 && flow_.constant_address(word, ea)) {
                load_record(scratch_b, place_.fixed + 4 * static_cast<std::int32_t>(fixed_number(ea, what.store)));
                put(what.indexed | renamed(insn.rt()) << 21 | scratch_b << 11);
            } else if (insn.op == Op::bc) {
                skip = length_;
                skip_to = HandlerFlow::target(word, insn);
                put(encode::bc(insn.bo(), insn.bi(), 0));
            } else {
                const Fields fields = fields_of_form(insn);
                std::uint32_t changed = insn.word;
                const auto rename = [&](bool is_register, unsigned shift) {
                    if (is_register) changed = (changed & ~(31U << shift)) | renamed(insn.word >> shift & 31) << shift;
                };
                rename(fields.rt, 21);
                rename(fields.ra, 16);
                rename(fields.rb, 11);
                put(changed);
            }
        }
        arrive(~0U);
    }
    // Before the guest's own code: nothing of what not all ways read is read yet.
    void begin_reads() {
        bool cleared = false;
        for (unsigned number = 0; number < walk_.loads(); ++number) {
            if (walk_.always_loads(number)) continue;
            if (!cleared) put(encode::addi(scratch_a, 0, 0));
            cleared = true;
            store_record(scratch_a, read_at(number, offsetof(WalkRead, address)));
        }
        load_record(scratch_a, page_at(offsetof(StatePage, mmucr)));
        store_record(scratch_a, reads_at(offsetof(WalkReads, mmucr)));
    }
    // The load at at_ is done: r5, r6 are as it was made with.
    void note_read(bool pair) {
        const unsigned number = has_walk_ ? walk_.load_at(at_) : HandlerWalk::no_load;
        if (number == HandlerWalk::no_load) return;
        put(encode::add(scratch_a, address, scratch_b));
        if (pair) {
            store_record(scratch_a, read_at(number + 1, offsetof(WalkRead, address)));
            put(encode::addi(scratch_a, scratch_a, -4));
        }
        store_record(scratch_a, read_at(number, offsetof(WalkRead, address)));
        store_record(flow_.at(at_).rt(), read_at(number, offsetof(WalkRead, value)));
        if (pair) store_record(flow_.at(at_ + 1).rt(), read_at(number + 1, offsetof(WalkRead, value)));
    }

    // -- one instruction of the guest ----------------------------------------------------------------------------

    std::uint32_t pc() const { return entry_ + 4 * at_; }
    std::uint32_t flags() const { return mask_ | place_.flags; }

    void instruction(Instruction insn) {
        const Kind kind = step_of(insn, mask_);
        switch (kind) {
        case Kind::leave: leave(pc(), flags()); break;
        case Kind::plain: plain(insn); break;
        case Kind::load:
        case Kind::store: access(insn); break;
        case Kind::jump: jump(HandlerFlow::target(at_, insn)); break;
        case Kind::branch: branch(insn); break;
        case Kind::mfcr: move_from_cr(insn.rt()); break;
        case Kind::mtcrf: move_to_cr(insn); break;
        case Kind::mfmsr: move_from_msr(insn.rt()); break;
        case Kind::mfspr: move_from_spr(insn); break;
        case Kind::mtspr: move_to_spr(insn); break;
        case Kind::tlbwe: write_tlb(insn); break;
        case Kind::drop: break;
        case Kind::rfi:
            if (flow_.is_dirty(mask_, at_)) restore_field();
            put(encode::addi(5, 0, static_cast<std::int32_t>(flags())));
            to_finish();
            leave(pc(), flags());
            break;
        }
        if (kind == Kind::tlbwe && commits_early()) return commit_early();
        if (HandlerFlow::goes_on(kind))
            go_on(at_ + (flow_.is_pair(at_) ? 2 : 1), HandlerFlow::mask_after(insn, kind, mask_));
    }

    // Whether the tlbwe at at_ is the last, and nothing behind it but what puts registers back: those that the exit may
    // change, and all of CR.
    bool commits_early() const {
        if (place_.commit == 0 || HandlerFlow::mask_after(flow_.at(at_), Kind::tlbwe, mask_) != handler_exit::words)
            return false;
        std::uint32_t dead = 0, used = 0;
        std::uint8_t dead_cr = 0;
        for (unsigned at = at_ + 1; at < flow_.count(); ++at) {
            const Instruction insn = flow_.at(at);
            const Kind kind = step_of(insn, handler_exit::words);
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
        call(has_walk_ ? place_.record : place_.commit);
        fixup(last + 1, handler_exit::words);
        put(encode::bc(encode::if_clear, encode::eq, 0));
        for (++at_; step_of(flow_.at(at_), handler_exit::words) != Kind::rfi; ++at_) {
            const Instruction insn = flow_.at(at_);
            if (insn.op == Op::mtcrf)
                put(encode::mtcrf(0xFF, read(insn.rs(), scratch_a)));
            else if (step_of(insn, handler_exit::words) == Kind::mfspr)
                move_from_spr(insn);
            else
                plain(insn);
        }
        to_end();
        at_ = last;
    }

    // The code goes on for another word of the guest's: that one's is next, or a branch leads there.
    void go_on(unsigned to, unsigned mask) {
        if (!flow_.inside(at_, to)) return leave(entry_ + 4 * to, mask | place_.flags);
        for (unsigned next = mask_ * handler_window + at_ + 1; next < mask * handler_window + to; ++next)
            if (flow_.reached(next / handler_window, next % handler_window)) {
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
        const unsigned to = HandlerFlow::target(at_, insn);
        const std::uint32_t word = encode::bc(insn.bo(), insn.bi(), 0);
        if (!flow_.inside(at_, to)) return leave_if(word, to, flags());
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
        const bool pair = flow_.is_pair(at_);
        std::uint32_t ea = 0;
        if (!pair && flow_.constant_address(at_, ea) && (ea & ((1U << what.size_shift) - 1)) == 0)
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
        if (pair) {
            put(encode::addi(address, address, 4));
            put(what.indexed | flow_.at(at_ + 1).rt() << 21 | address << 16 | scratch_b << 11);
        }
        note_read(pair);
    }
    void fixed_access(Instruction insn, const Access& what, unsigned number) {
        load_record(scratch_b, place_.fixed + 4 * static_cast<std::int32_t>(number));
        const unsigned data = what.store ? read(insn.rs(), scratch_c) : result(insn.rt(), scratch_c);
        put(what.indexed | data << 21 | scratch_b << 11);
        if (!what.store) written(insn.rt(), scratch_c);
        if (const unsigned read = has_walk_ ? walk_.load_at(at_) : HandlerWalk::no_load; read != HandlerWalk::no_load) {
            store_record(scratch_b, read_at(read, offsetof(WalkRead, address)));
            store_record(insn.rt(), read_at(read, offsetof(WalkRead, value)));
        }
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
        if (!flow_.is_dirty(mask_, at_)) return written(rt, scratch_a);
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
            if ((flow_.possible(insn.rs(), at_) & ~isa::rotate_mask(mb, me)) == 0) return;
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
        if (!flow_.same_number(insn, mask_, at_)) {
            // Whoever takes it looks at its low 6 bits.
            const unsigned entry = read(insn.ra(), scratch_b);
            if (!flow_.compares_numbers(insn, mask_, at_)) {
                store_record(entry, tlb_at(offsetof(TlbWrites, index)));
            } else {
                load_record(scratch_a, tlb_at(offsetof(TlbWrites, index)));
                put(encode::cmplw(field_, scratch_a, entry));
                leave_if(encode::bc(encode::if_clear, field_ * 4 + encode::eq, 0), at_, flags());
            }
        }
        store_record(read(insn.rs(), scratch_a), tlb_at(offsetof(TlbWrites, words)) + 4 * static_cast<int>(insn.ws()));
    }

    HandlerFlow flow_;
    HandlerWalk walk_;
    std::uint32_t entry_;
    const HandlerPlace& place_;
    HandlerWork& work_;
    std::uint32_t* out_;
    unsigned length_ = 0, at_ = 0, mask_ = 0;
    unsigned field_ = 8;
    bool failed_ = false, has_walk_ = false;
    unsigned renamed_[2] = {}, renamed_count_ = 0;
    unsigned stub_count_ = 0, leave_count_ = 0, fixup_count_ = 0;
    unsigned memos_ = 0, fixed_count_ = 0, declined_ = 0;
    FixedAddress fixed_[handler_fixed] = {};
};

} // namespace

bool compile_handler(const std::uint32_t* window, unsigned count, std::uint32_t entry, const HandlerPlace& place,
                     HandlerWork& work, std::uint32_t* out, CompiledHandler& result) {
    if (count == 0 || (entry & 3) != 0) return false;
    return Compiler(window, count, entry, place, work, out).run(result);
}

} // namespace untrap::ppc
