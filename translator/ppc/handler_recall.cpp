// SPDX-License-Identifier: GPL-2.0-only
// The part of a handler's code that has to do with walks: the search before all else, and what is noted on the way.
#include "translator/ppc/handler_compiler.h"

namespace untrap::ppc::handler_code {

using isa::Op;

std::int32_t Compiler::reads_at(std::size_t field) const { return place_.reads + static_cast<std::int32_t>(field); }

std::int32_t Compiler::read_at(unsigned number, std::size_t field) const {
    return reads_at(offsetof(WalkReads, loads) + number * sizeof(WalkRead) + field);
}

bool Compiler::may_recall() const {
    return place_.walks != 0 && place_.commit != 0 && place_.code != 0 &&
           encode::within_reach(place_.recall - place_.code) &&
           encode::within_reach(place_.recall - (place_.code + 4 * handler_max_words));
}

// Whether the turn's registers and addresses are few enough.
bool Compiler::turns_fit() {
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
unsigned Compiler::renamed(unsigned gpr) {
    for (unsigned number = 0; number < renamed_count_ && number < 2; ++number)
        if (renamed_[number] == gpr) return number == 0 ? scratch_a : scratch_c;
    if (renamed_count_ < 2) renamed_[renamed_count_] = gpr;
    return renamed_count_++ == 0 ? scratch_a : scratch_c;
}

// The page's Walk, if it is still right, with a turn, instead of all that follows.
void Compiler::recall() {
    const WalkSearch search(place_);
    unsigned away[1 + walk_inputs + walk_loads], ways = 0;
    for (const std::uint32_t word : search.before) put(word);
    const auto guard = [&](const auto& words) {
        for (const std::uint32_t word : words) put(word);
        away[ways++] = length_ - 1;
    };
    guard(search.compare(offsetof(Walk, key), scratch_c, field_, 8));
    // The entry of the page itself is what changes most.
    for (unsigned number = walk_.loads(); number-- != 0;) {
        if (number != 0 && walk_.is_pair(number - 1)) {
            guard(search.second(--number, field_, 16));
            guard(search.first(number, field_, 12));
        } else {
            guard(search.read(number, field_, 16));
        }
    }
    for (unsigned number = 0; number < walk_.inputs(); ++number) {
        load_record(scratch_a, page_at(walk_.input(number)));
        guard(search.compare(offsetof(Walk, inputs) + 4 * number, scratch_a, field_, 8));
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

void Compiler::turn() {
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
void Compiler::begin_reads() {
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
void Compiler::note_read(bool pair) {
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

} // namespace untrap::ppc::handler_code
