// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/handler.h"

#include "translator/ppc/handler_compiler.h"
#include "translator/ppc/liveness.h"

namespace untrap::ppc::handler_code {

using isa::Form;
using isa::Op;
using Kind = HandlerStep;

// In the order that the guest's code goes forward in (HandlerFlow), so does this one.
bool Compiler::run(CompiledHandler& result) {
    if (!flow_.survey()) return false;
    const bool of_data = (place_.flags & handler_exit::fetch) == 0;
    field_ = flow_.free_field();
    has_walk_ = of_data && may_recall() && walk_.survey() && turns_fit();
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

std::uint32_t Compiler::pc() const { return entry_ + 4 * at_; }

std::uint32_t Compiler::flags() const { return mask_ | place_.flags; }

void Compiler::instruction(Instruction insn) {
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
bool Compiler::commits_early() const {
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

void Compiler::commit_early() {
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
void Compiler::go_on(unsigned to, unsigned mask) {
    if (!flow_.inside(at_, to)) return leave(entry_ + 4 * to, mask | place_.flags);
    for (unsigned next = mask_ * handler_window + at_ + 1; next < mask * handler_window + to; ++next)
        if (flow_.reached(next / handler_window, next % handler_window)) {
            fixup(to, mask);
            return put(encode::b(0));
        }
}

// The instruction itself, with other registers for those of the guest that are in the record.
void Compiler::plain(Instruction insn) {
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

void Compiler::jump(unsigned to) { go_on(to, mask_); }

void Compiler::branch(Instruction insn) {
    const unsigned to = HandlerFlow::target(at_, insn);
    const std::uint32_t word = encode::bc(insn.bo(), insn.bi(), 0);
    if (!flow_.inside(at_, to)) return leave_if(word, to, flags());
    fixup(to, mask_);
    put(word);
}

void Compiler::fixup(unsigned to, unsigned mask) {
    if (fixup_count_ == max_fixups)
        failed_ = true;
    else
        work_.fixups[fixup_count_++] = {static_cast<std::uint16_t>(length_),
                                        static_cast<std::uint16_t>(mask * handler_window + to)};
}

// A load or store that is done if a window has the address; see verify_handler for the shape.
void Compiler::access(Instruction insn) {
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

void Compiler::fixed_access(Instruction insn, const Access& what, unsigned number) {
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
void Compiler::move_from_msr(unsigned rt) {
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
void Compiler::move_from_cr(unsigned rt) {
    const unsigned to = result(rt, scratch_a);
    put(encode::mfcr(to));
    if (!flow_.is_dirty(mask_, at_)) return written(rt, scratch_a);
    load_record(address, place_.cr);
    put(encode::rlwimi(to, address, 0, 4 * field_, 4 * field_ + 3));
    written(rt, scratch_a);
}

void Compiler::move_to_cr(Instruction insn) {
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

void Compiler::move_from_spr(Instruction insn) {
    const unsigned number = insn.spr(), to = result(insn.rt(), scratch_a);
    if (in_place(number))
        put(encode::mfspr(to, number));
    else
        load_record(to, number == spr::lr ? place_.lr : page_at(field_of_spr(number)));
    written(insn.rt(), scratch_a);
}

void Compiler::move_to_spr(Instruction insn) {
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

void Compiler::write_tlb(Instruction insn) {
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

} // namespace untrap::ppc::handler_code

namespace untrap::ppc {

bool compile_handler(const std::uint32_t* window, unsigned count, std::uint32_t entry, const HandlerPlace& place,
                     HandlerWork& work, std::uint32_t* out, CompiledHandler& result) {
    if (count == 0 || (entry & 3) != 0) return false;
    return handler_code::Compiler(window, count, entry, place, work, out).run(result);
}

} // namespace untrap::ppc
