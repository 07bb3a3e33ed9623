// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/verify.h"

#include <array>

#include "translator/isa/table.h"

namespace untrap::ppc {

using isa::Instruction;
using isa::Op;

namespace {

// What a register or slot holds: the guest's GPR of this number, its CR, or anything else.
using Content = std::uint8_t;
constexpr Content whole_cr = 32, other = 33;

// A point on a path.
struct Point {
    unsigned index = 0;
    bool committed = false;
    std::array<Content, 32> gpr{};
    std::array<Content, 8> slot{};
    std::uint32_t gpr_own = 0xFFFFFFFF; // registers that hold what is theirs
    std::uint8_t cr_own = 0xFF;         // fields that are the guest's

    void set(unsigned number, Content content) {
        gpr[number] = content;
        gpr_own = content == number ? gpr_own | 1U << number : gpr_own & ~(1U << number);
    }
};

class Verifier {
  public:
    Verifier(const std::uint32_t* words, std::uint32_t at, const Restart& restart, std::uint32_t original,
             Registers dead)
        : words_(words), at_(at), restart_(restart), original_(original), dead_(dead) {}

    Flaw run() {
        if (!shape_fits()) return Flaw::shape;
        const Instruction original = isa::decode(original_);
        if (!original.privileged()) return Flaw::original;
        named_ = named_by(original);
        Point start;
        for (unsigned number = 0; number < 32; ++number) start.gpr[number] = static_cast<Content>(number);
        start.slot.fill(other);
        later(start);
        // A stub branches in a handful of places, each time to one of two.
        for (unsigned paths = 0; waiting_ != 0; ++paths) {
            if (paths == 64) return Flaw::endless;
            if (const Flaw flaw = follow(points_[--waiting_]); flaw != Flaw::none) return flaw;
        }
        return commits_ ? Flaw::none : Flaw::commit;
    }

  private:
    bool shape_fits() const {
        const Restart& r = restart_;
        if (r.length == 0 || r.length > 64 || r.line == 0 || r.line > r.length || r.commit >= r.line) return false;
        if (r.gpr != Restart::none && (r.gpr >= 32 || r.gpr_saved >= r.commit)) return false;
        return r.cr_field == Restart::none || (r.cr_field < 8 && r.cr_saved < r.commit);
    }

    void later(const Point& point) {
        if (waiting_ < points_.size())
            points_[waiting_++] = point;
        else
            overflow_ = true;
    }

    Flaw follow(Point point) {
        for (unsigned steps = 0; steps <= restart_.length + 8U; ++steps) {
            if (point.index >= restart_.length) return Flaw::branch; // runs off the end
            if (point.committed != restart_.committed(point.index)) return Flaw::commit;
            if (!registers_known(point)) return Flaw::lost_register;
            bool ends = false;
            if (const Flaw flaw = step(point, ends); flaw != Flaw::none) return flaw;
            if (overflow_) return Flaw::endless;
            if (ends) return Flaw::none;
        }
        return Flaw::endless;
    }

    // Whether the guest's registers can be told here.
    bool registers_known(const Point& point) const {
        Registers dead = dead_;
        if (!point.committed) dead.gpr &= ~named_;
        std::uint32_t gpr_known = point.gpr_own;
        if (restart_.gpr < 32 && restart_.gpr_in_slot(point.index)) {
            const std::uint32_t bit = 1U << restart_.gpr;
            gpr_known = point.slot[gpr_slot] == restart_.gpr ? gpr_known | bit : gpr_known & ~bit;
        }
        if ((gpr_known | dead.gpr) != 0xFFFFFFFF) return false;
        unsigned cr_known = point.cr_own;
        if (restart_.cr_field < 8 && restart_.cr_in_slot(point.index)) {
            const unsigned bit = 1U << restart_.cr_field;
            cr_known = point.slot[cr_slot] == whole_cr ? cr_known | bit : cr_known & ~bit;
        }
        return ((cr_known | dead.cr) & 0xFF) == 0xFF;
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

    // At the end nothing may be left in slots alone.
    bool registers_in_place(const Point& point) const {
        return (point.gpr_own | dead_.gpr) == 0xFFFFFFFF && (point.cr_own | dead_.cr) == 0xFF;
    }

    Flaw step(Point& point, bool& ends) {
        const std::uint32_t word = words_[point.index];
        const Instruction insn = isa::decode(word);
        if (insn.op != Op::illegal && insn.privileged()) {
            ends = true;
            return word == original_ && !point.committed ? Flaw::none : Flaw::privileged;
        }
        switch (insn.op) {
        case Op::b: ends = true; return leave(point, insn);
        case Op::bc: return branch(point, insn);
        case Op::lwz:
        case Op::stw: {
            std::uint32_t field = 0;
            if (!page_field(insn, field)) return Flaw::storage;
            const Flaw flaw = insn.op == Op::lwz ? load(point, insn.rt(), field) : store(point, insn.rs(), field);
            if (flaw != Flaw::none) return flaw;
            break;
        }
        case Op::mfcr: point.set(insn.rt(), point.cr_own == 0xFF ? whole_cr : other); break;
        case Op::mtcrf:
            for (unsigned field = 0; field < 8; ++field)
                if ((insn.fxm() >> (7 - field) & 1) != 0) set_field(point, field, point.gpr[insn.rs()] == whole_cr);
            break;
        case Op::cmpi: set_field(point, insn.bf(), false); break;
        case Op::ori:
        case Op::oris:
        case Op::xor_:
        case Op::rlwinm:
        case Op::rlwimi:
            if (word != 0x60000000) point.set(insn.ra(), other);
            if (insn.records()) set_field(point, 0, false);
            break;
        default: return Flaw::instruction;
        }
        ++point.index;
        return Flaw::none;
    }

    static void set_field(Point& point, unsigned field, bool own) {
        const unsigned bit = 1U << field;
        point.cr_own = static_cast<std::uint8_t>(own ? point.cr_own | bit : point.cr_own & ~bit);
    }

    static bool page_field(Instruction insn, std::uint32_t& field) {
        field = static_cast<std::uint32_t>(insn.si() - guest_page_displacement);
        return insn.ra() == 0 && field % 4 == 0 && field < sizeof(GuestPage);
    }
    // The scratch slot that a field is.
    static bool is_slot(std::uint32_t field, unsigned& slot) {
        const auto first = static_cast<std::uint32_t>(slot_field(0));
        slot = (field - first) / 4;
        return field >= first && slot < 8;
    }

    static Flaw load(Point& point, unsigned gpr, std::uint32_t field) {
        unsigned slot = 0;
        point.set(gpr, is_slot(field, slot) ? point.slot[slot] : other);
        return Flaw::none;
    }
    Flaw store(Point& point, unsigned gpr, std::uint32_t field) {
        unsigned slot = 0;
        if (is_slot(field, slot)) {
            point.slot[slot] = point.gpr[gpr];
            return Flaw::none;
        }
        if (!may_commit(field)) return Flaw::storage;
        if (point.committed || point.index != restart_.commit) return Flaw::commit;
        point.committed = commits_ = true;
        return Flaw::none;
    }

    Flaw leave(const Point& point, Instruction insn) const {
        const std::uint32_t target = at_ + 4 * point.index + static_cast<std::uint32_t>(insn.li());
        if (insn.aa() || insn.lk() || target != restart_.site + 4) return Flaw::branch;
        if (!point.committed) return Flaw::commit;
        return registers_in_place(point) ? Flaw::none : Flaw::lost_register;
    }

    Flaw branch(Point& point, Instruction insn) {
        // Taken if a CR bit is set, or clear, with any hint; CTR stays out of it.
        if ((insn.bo() & 0x14) != 4 || insn.aa() || insn.lk()) return Flaw::branch;
        const auto target = static_cast<std::int32_t>(point.index) + insn.bd() / 4;
        if (target < 0 || target >= restart_.length) return Flaw::branch;
        Point taken = point;
        taken.index = static_cast<unsigned>(target);
        later(taken);
        ++point.index;
        return Flaw::none;
    }

    const std::uint32_t* words_;
    std::uint32_t at_;
    const Restart& restart_;
    std::uint32_t original_;
    std::uint32_t named_ = 0; // GPRs of the original instruction
    Registers dead_;
    std::array<Point, 8> points_{};
    unsigned waiting_ = 0;
    bool overflow_ = false;
    bool commits_ = false;
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
    case Flaw::original: return "the site is no privileged instruction";
    case Flaw::instruction: return "an instruction that stubs do not use";
    case Flaw::privileged: return "a privileged instruction that is not the site's, or after the commit";
    case Flaw::storage: return "an access outside of what stubs may access";
    case Flaw::commit: return "not one commit where the restart entry says";
    case Flaw::branch: return "a branch to somewhere else";
    case Flaw::endless: return "it might not end";
    case Flaw::lost_register: return "a register of the guest is lost";
    }
    return "?";
}

} // namespace untrap::ppc
