// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "translator/isa/spr.h"
#include "translator/isa/state.h"
#include "translator/ppc/encode.h"
#include "translator/ppc/handler.h"
#include "translator/ppc/handler_code.h"
#include "translator/ppc/handler_flow.h"
#include "translator/ppc/handler_walk.h"

namespace untrap::ppc::handler_code {

using isa::Instruction;
using isa::StatePage;
namespace spr = isa::spr;

// Writes the code: handler.cpp, what has to do with walks in handler_recall.cpp.
class Compiler {
  public:
    Compiler(const std::uint32_t* window, unsigned count, std::uint32_t entry, const HandlerPlace& place,
             HandlerWork& work, std::uint32_t* out)
        : flow_(window, count, work), walk_(flow_, work), entry_(entry), place_(place), work_(work), out_(out) {}

    bool run(CompiledHandler& result);

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

    // -- handler_recall.cpp

    std::int32_t reads_at(std::size_t field) const;
    std::int32_t read_at(unsigned number, std::size_t field) const;
    bool may_recall() const;
    bool turns_fit();
    unsigned renamed(unsigned gpr);
    void recall();
    void turn();
    void begin_reads();
    void note_read(bool pair);

    // -- handler.cpp: one instruction of the guest

    std::uint32_t pc() const;
    std::uint32_t flags() const;
    void instruction(Instruction insn);
    bool commits_early() const;
    void commit_early();
    void go_on(unsigned to, unsigned mask);
    void plain(Instruction insn);
    void jump(unsigned to);
    void branch(Instruction insn);
    void fixup(unsigned to, unsigned mask);
    void access(Instruction insn);
    void fixed_access(Instruction insn, const Access& what, unsigned number);
    void move_from_msr(unsigned rt);
    void move_from_cr(unsigned rt);
    void move_to_cr(Instruction insn);
    void move_from_spr(Instruction insn);
    void move_to_spr(Instruction insn);
    void write_tlb(Instruction insn);

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

} // namespace untrap::ppc::handler_code
