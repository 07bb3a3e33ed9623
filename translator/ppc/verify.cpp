// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/verify.h"

#include <array>

#include "translator/isa/table.h"
#include "translator/ppc/encode.h"

namespace untrap::ppc {

using isa::Instruction;
using isa::Op;

namespace {

// What a register or slot holds: the guest's GPR of this number, or anything else.
using Content = std::uint8_t;
constexpr Content other = 32;

class Verifier {
  public:
    Verifier(const std::uint32_t* words, std::uint32_t at, const Restart& restart, std::uint32_t original,
             Registers dead)
        : words_(words), at_(at), restart_(restart), original_(original), dead_(dead) {}

    Flaw run() {
        if (!shape_fits()) return Flaw::shape;
        const Instruction original = isa::decode(original_);
        if (!original.privileged()) return Flaw::original;
        if (restart_.has_original() && words_[restart_.line] != original_) return Flaw::original;
        named_ = named_by(original);
        for (unsigned number = 0; number < 32; ++number) gpr_[number] = static_cast<Content>(number);
        slot_.fill(other);
        for (index_ = 0; index_ < restart_.line; ++index_) {
            if (committed_ != restart_.committed(index_)) return Flaw::commit;
            if (!registers_known()) return Flaw::lost_register;
            const Instruction insn = isa::decode(words_[index_]);
            const bool last = index_ + 1U == restart_.line;
            if (last != (insn.op == Op::b)) return Flaw::branch;
            if (const Flaw flaw = last ? leave(insn) : step(insn); flaw != Flaw::none) return flaw;
        }
        return Flaw::none;
    }

  private:
    bool shape_fits() const {
        const Restart& r = restart_;
        if (r.length == 0 || r.length > 64 || r.line == 0 || r.length < r.line || r.length > r.line + 1) return false;
        if (r.commit >= r.line || r.is_access()) return false;
        return r.gpr == Restart::none || (r.gpr < 32 && r.gpr_saved < r.commit);
    }

    // Whether the guest's registers can be told here.
    bool registers_known() const {
        std::uint32_t known = own_ | (committed_ ? dead_.gpr : dead_.gpr & ~named_);
        if (restart_.gpr < 32 && restart_.gpr_in_slot(index_)) {
            const std::uint32_t bit = 1U << restart_.gpr;
            known = slot_[gpr_slot] == restart_.gpr ? known | bit : known & ~bit;
        }
        return known == 0xFFFFFFFF;
    }

    // Every GPR that it names, read or not.
    static std::uint32_t named_by(Instruction insn) {
        switch (insn.info().form) {
        case isa::Form::none:
        case isa::Form::wrteei: return 0;
        case isa::Form::x_rt:
        case isa::Form::xfx_spr:
        case isa::Form::xfx_dcr: return 1U << insn.rt();
        default: return 1U << insn.rt() | 1U << insn.ra() | 1U << insn.rb();
        }
    }

    void set(unsigned number, Content content) {
        gpr_[number] = content;
        own_ = content == number ? own_ | 1U << number : own_ & ~(1U << number);
    }

    // CR is the guest's all the time: nothing here writes to it.
    Flaw step(Instruction insn) {
        if (insn.op != Op::illegal && insn.privileged()) return Flaw::privileged;
        switch (insn.op) {
        case Op::lwz:
        case Op::stw: {
            const auto field = static_cast<std::uint32_t>(insn.si() - guest_page_displacement);
            if (insn.ra() != 0 || field % 4 != 0 || field >= sizeof(GuestPage)) return Flaw::storage;
            if (insn.op == Op::stw) return store(insn.rs(), field);
            unsigned slot = 0;
            set(insn.rt(), is_slot(field, slot) ? slot_[slot] : other);
            return Flaw::none;
        }
        // A trap stands for the site's, which has not been executed.
        case Op::twi: return committed_ || !restart_.has_original() ? Flaw::commit : Flaw::none;
        case Op::ori:
        case Op::oris:
        case Op::xor_:
        case Op::and_:
        case Op::rlwinm:
        case Op::rlwimi:
            if (insn.records()) return Flaw::instruction;
            if (insn.word != encode::nop) set(insn.ra(), other);
            return Flaw::none;
        default: return Flaw::instruction;
        }
    }

    // The scratch slot that a field is.
    static bool is_slot(std::uint32_t field, unsigned& slot) {
        const auto first = static_cast<std::uint32_t>(slot_field(0));
        slot = (field - first) / 4;
        return field >= first && slot < 8;
    }

    Flaw store(unsigned gpr, std::uint32_t field) {
        unsigned slot = 0;
        if (is_slot(field, slot)) {
            slot_[slot] = gpr_[gpr];
            return Flaw::none;
        }
        if (!may_commit(field)) return Flaw::storage;
        if (committed_ || index_ != restart_.commit) return Flaw::commit;
        committed_ = true;
        return Flaw::none;
    }

    // At the end nothing may be left in slots alone.
    Flaw leave(Instruction insn) const {
        const std::uint32_t target = at_ + 4 * index_ + static_cast<std::uint32_t>(insn.li());
        if (insn.aa() || insn.lk() || target != restart_.site + 4) return Flaw::branch;
        if (!committed_) return Flaw::commit;
        return (own_ | dead_.gpr) == 0xFFFFFFFF ? Flaw::none : Flaw::lost_register;
    }

    const std::uint32_t* words_;
    std::uint32_t at_;
    const Restart& restart_;
    std::uint32_t original_;
    std::uint32_t named_ = 0; // GPRs of the original instruction
    Registers dead_;
    unsigned index_ = 0;
    bool committed_ = false;
    std::array<Content, 32> gpr_{};
    std::array<Content, 8> slot_{};
    std::uint32_t own_ = 0xFFFFFFFF; // registers that hold what is theirs
};

} // namespace

Flaw verify(const std::uint32_t* words, std::uint32_t at, const Restart& restart, std::uint32_t original,
            Registers dead) {
    return Verifier(words, at, restart, original, dead).run();
}

const char* name(Flaw flaw) {
    switch (flaw) {
    case Flaw::none: return "none";
    case Flaw::shape: return "its restart entry is inconsistent";
    case Flaw::original: return "the site is no privileged instruction, or not the one behind the line";
    case Flaw::instruction: return "an instruction that stubs do not use";
    case Flaw::privileged: return "a privileged instruction";
    case Flaw::storage: return "an access outside of what stubs may access";
    case Flaw::commit: return "not one commit where the restart entry says";
    case Flaw::branch: return "a branch to somewhere else";
    case Flaw::lost_register: return "a register of the guest is lost";
    }
    return "?";
}

} // namespace untrap::ppc
