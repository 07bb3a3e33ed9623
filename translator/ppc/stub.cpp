// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/stub.h"

#include <cstddef>

#include "translator/ppc/encode.h"

namespace untrap::ppc {

using isa::StatePage;
using plan::Step;
using plan::StepKind;

namespace {

constexpr std::uint32_t all_bits = 0xFFFFFFFF;
constexpr std::uint32_t stack_pointer = 1U << 1;

constexpr bool is_test(StepKind kind) {
    return kind == StepKind::trap_if_msr_changes || kind == StepKind::trap_if_pending;
}

unsigned step_count(const plan::Patch& patch) {
    unsigned count = 0;
    while (count < plan::Patch::max_steps && patch.steps[count].kind != StepKind::end) ++count;
    return count;
}

// The last step of a stub: one store.
constexpr bool can_commit(const Step& step) {
    switch (step.kind) {
    case StepKind::store_field: return step.gpr < 32 && may_commit(step.field);
    case StepKind::store_field_masked: return step.gpr < 32 && may_commit(step.field) && step.value != 0;
    case StepKind::set_msr_bits: return step.value != 0;
    case StepKind::clear_msr_bits:
    case StepKind::copy_msr_bits: return step.gpr < 32 && step.value != 0 && step.value != all_bits;
    case StepKind::switch_pid: return step.gpr < 32 && step.value == 0xFF;
    case StepKind::end:
    case StepKind::load_field:
    case StepKind::trap_if_msr_changes:
    case StepKind::trap_if_pending:
    case StepKind::nothing: break;
    }
    return false;
}

// Tests, of which one at most looks further when it is not clear at once, and a commit.
bool is_stub_program(const plan::Patch& patch, unsigned count) {
    if (count == 0) return false;
    unsigned second_looks = patch.steps[count - 1].kind == StepKind::switch_pid ? 1 : 0;
    for (unsigned index = 0; index + 1 < count; ++index) {
        const Step& step = patch.steps[index];
        const bool any = step.kind == StepKind::trap_if_pending && step.gpr == plan::any_gpr;
        if (!is_test(step.kind) || step.value == 0 || step.value == all_bits || (step.gpr >= 32 && !any)) return false;
        if (step.kind == StepKind::trap_if_pending && !any) ++second_looks;
    }
    return second_looks <= 1 && can_commit(patch.steps[count - 1]);
}

// Writes one stub. `scratch_` is the only GPR it changes, `field_` the only CR field.
class Writer {
  public:
    Writer(const plan::Patch& patch, unsigned steps, Registers dead, Stub& stub)
        : patch_(patch), steps_(steps), stub_(stub) {
        choose_registers(dead);
    }

    Restart& write(std::uint32_t original, std::uint32_t site, std::uint32_t at) {
        Restart& restart = stub_.restart;
        restart = {};
        restart.site = site;
        save();
        for (unsigned index = 0; index < steps_; ++index) {
            step(patch_.steps[index]);
            if (count_ >= Stub::max_words) return too_long();
        }
        if (save_gpr_) load(slot_field(gpr_slot));
        put(encode::b(site + 4 - (at + 4 * count_)));
        if (count_ > Stub::max_words) return too_long();
        restart.line = static_cast<std::uint8_t>(count_);
        if (second_look_) finish_second_look();
        if (tests_) {
            for (unsigned index = 0; index < restart.line; ++index)
                if (to_trap_[index]) stub_.words[index] |= 4 * (count_ - index) & 0xFFFC;
            put(original);
        }
        restart.length = static_cast<std::uint8_t>(count_);
        return restart;
    }

  private:
    Restart& too_long() {
        stub_.restart.length = Stub::max_words + 1;
        return stub_.restart;
    }

    void choose_registers(Registers dead) {
        std::uint32_t operands = 0;
        for (unsigned index = 0; index < steps_; ++index) {
            const Step& step = patch_.steps[index];
            if (step.gpr < 32) operands |= 1U << step.gpr;
            if (is_test(step.kind) || step.kind == StepKind::switch_pid) tests_ = true;
        }
        needs_gpr_ = steps_ > 1 || patch_.steps[0].kind != StepKind::store_field;
        const std::uint32_t usable = dead.gpr & ~operands;
        save_gpr_ = needs_gpr_ && usable == 0;
        // Any other will do, but for the stack pointer: who looks on from outside expects a stack there.
        scratch_ = static_cast<unsigned>(__builtin_ctz(usable != 0 ? usable : ~operands & ~stack_pointer));
        if (!tests_) return;
        // CR0 makes for the shortest tests.
        save_cr_ = dead.cr == 0;
        field_ = save_cr_ || (dead.cr & 1) != 0 ? 0 : static_cast<unsigned>(__builtin_ctz(unsigned{dead.cr}));
    }

    void put(std::uint32_t word) {
        if (count_ < Stub::max_words) stub_.words[count_] = word;
        ++count_;
        recorded_ = false;
    }
    void load(std::size_t field) { put(encode::lwz(scratch_, 0, displacement_of(field))); }
    void store(unsigned gpr, std::size_t field) { put(encode::stw(gpr, 0, displacement_of(field))); }

    void save() {
        Restart& restart = stub_.restart;
        if (save_gpr_) {
            restart.gpr = static_cast<std::uint8_t>(scratch_);
            restart.gpr_saved = static_cast<std::uint8_t>(count_);
            store(scratch_, slot_field(gpr_slot));
        }
        if (tests_ && save_cr_) {
            put(encode::mfcr(scratch_));
            restart.cr_field = static_cast<std::uint8_t>(field_);
            restart.cr_saved = static_cast<std::uint8_t>(count_);
            store(scratch_, slot_field(cr_slot));
        }
    }
    // Before the commit, while the scratch register is free.
    void restore_cr() {
        if (!tests_ || !save_cr_) return;
        load(slot_field(cr_slot));
        put(encode::mtcrf(encode::field_mask(field_), scratch_));
    }

    // scratch = from & mask, recorded in CR0 if that is the field at hand: a rotate for each run of zeros.
    void keep(unsigned from, std::uint32_t mask, bool record = false) {
        for (unsigned bit = 0; bit < 32; ++bit) {
            if (has(mask, bit) || !has(mask, (bit + 31) % 32)) continue;
            unsigned last = bit;
            while (!has(mask, (last + 1) % 32)) last = (last + 1) % 32;
            put(encode::rlwinm(scratch_, from, 0, (last + 1) % 32, (bit + 31) % 32));
            from = scratch_;
        }
        if (record && field_ == 0 && count_ <= Stub::max_words) {
            stub_.words[count_ - 1] = encode::recording(stub_.words[count_ - 1]);
            recorded_ = true;
        }
    }
    // scratch = (scratch & ~mask) | (from & mask)
    void insert(unsigned from, std::uint32_t mask) {
        for (unsigned bit = 0; bit < 32; ++bit) {
            if (!has(mask, bit) || has(mask, (bit + 31) % 32)) continue;
            unsigned last = bit;
            while (has(mask, (last + 1) % 32)) last = (last + 1) % 32;
            put(encode::rlwimi(scratch_, from, 0, bit, last));
        }
    }
    static bool has(std::uint32_t mask, unsigned bit) { return (mask & isa::ppc_bit(bit)) != 0; }

    // Compares scratch with value in the field at hand.
    void compare(std::int32_t value = 0) {
        if (!recorded_) put(encode::cmpwi(field_, scratch_, value));
    }
    unsigned equal() const { return 4 * field_ + encode::eq; }
    void trap_unless_equal() {
        if (count_ < Stub::max_words) to_trap_[count_] = true;
        put(encode::bc(encode::if_clear, equal(), 0));
    }
    // Goes to a second look, which comes back here or traps.
    void look_again_unless_equal(const Step& step) {
        second_look_ = &step;
        leaves_at_ = count_;
        put(encode::bc(encode::if_clear, equal(), 0));
        back_ = count_;
    }
    void finish_second_look() {
        stub_.words[leaves_at_] |= 4 * (count_ - leaves_at_) & 0xFFFC;
        const Step& step = *second_look_;
        if (step.kind == StepKind::switch_pid) {
            put(encode::xor_(scratch_, scratch_, step.gpr));
            keep(scratch_, step.value, true);
        } else {
            keep(step.gpr, step.value, true);
        }
        compare();
        put(encode::bc(encode::if_set, equal(), 4 * (back_ - count_)));
    }

    void step(const Step& step) {
        switch (step.kind) {
        case StepKind::trap_if_msr_changes:
            load(offsetof(StatePage, msr));
            put(encode::xor_(scratch_, scratch_, step.gpr));
            keep(scratch_, step.value, true);
            compare();
            trap_unless_equal();
            break;
        case StepKind::trap_if_pending:
            load(offsetof(StatePage, pending));
            compare();
            if (step.gpr == plan::any_gpr)
                trap_unless_equal();
            else
                look_again_unless_equal(step);
            break;
        case StepKind::set_msr_bits:
            restore_cr();
            load(offsetof(StatePage, msr));
            if ((step.value & 0xFFFF) != 0) put(encode::ori(scratch_, scratch_, step.value & 0xFFFF));
            if (step.value >> 16 != 0) put(encode::oris(scratch_, scratch_, step.value >> 16));
            commit(scratch_, offsetof(StatePage, msr));
            break;
        case StepKind::clear_msr_bits:
            restore_cr();
            load(offsetof(StatePage, msr));
            keep(scratch_, ~step.value);
            commit(scratch_, offsetof(StatePage, msr));
            break;
        case StepKind::copy_msr_bits:
            restore_cr();
            load(offsetof(StatePage, msr));
            insert(step.gpr, step.value);
            commit(scratch_, offsetof(StatePage, msr));
            break;
        case StepKind::store_field:
            restore_cr();
            commit(step.gpr, step.field);
            break;
        case StepKind::store_field_masked:
            restore_cr();
            if (step.value == all_bits) {
                commit(step.gpr, step.field);
                break;
            }
            keep(step.gpr, step.value);
            commit(scratch_, step.field);
            break;
        case StepKind::switch_pid:
            // A CPU that runs with another PID's mappings has to be told.
            load(offsetof(GuestPage, live_pid));
            compare(static_cast<std::int32_t>(GuestPage::no_pid));
            look_again_unless_equal(step);
            restore_cr();
            keep(step.gpr, step.value);
            commit(scratch_, offsetof(StatePage, pid));
            break;
        case StepKind::end:
        case StepKind::load_field:
        case StepKind::nothing: break; // not in a stub program
        }
    }
    void commit(unsigned gpr, std::size_t field) {
        stub_.restart.commit = static_cast<std::uint8_t>(count_);
        store(gpr, field);
    }

    const plan::Patch& patch_;
    unsigned steps_;
    Stub& stub_;
    unsigned scratch_ = 0, field_ = 0;
    bool tests_ = false, needs_gpr_ = false, save_gpr_ = false, save_cr_ = false;
    bool recorded_ = false; // the last word also compared
    unsigned count_ = 0;
    std::array<bool, Stub::max_words> to_trap_{};
    const Step* second_look_ = nullptr;
    unsigned leaves_at_ = 0, back_ = 0;
};

} // namespace

Shape shape_of(const plan::Patch& patch) {
    const unsigned count = step_count(patch);
    if ((patch.level != 1 && patch.level != 2) || count == 0) return Shape::trap;
    const Step& first = patch.steps[0];
    if (count == 1) {
        if (first.kind == StepKind::nothing) return Shape::word;
        const bool in_page = first.gpr < 32 && first.field % 4 == 0 && first.field < sizeof(StatePage);
        if (first.kind == StepKind::load_field && in_page) return Shape::word;
        if (first.kind == StepKind::store_field && first.gpr < 32 && may_commit(first.field)) return Shape::word;
    }
    return is_stub_program(patch, count) ? Shape::stub : Shape::trap;
}

std::uint32_t patched_word(const plan::Patch& patch) {
    const Step& step = patch.steps[0];
    if (step.kind == StepKind::load_field) return encode::lwz(step.gpr, 0, displacement_of(step.field));
    if (step.kind == StepKind::store_field) return encode::stw(step.gpr, 0, displacement_of(step.field));
    return encode::nop;
}

bool branch_to_stub(std::uint32_t site, std::uint32_t stub, std::uint32_t& word) {
    if (!encode::reaches(stub - site)) return false;
    word = encode::b(stub - site);
    return true;
}

Emitted emit_stub(const plan::Patch& patch, std::uint32_t original, std::uint32_t site, std::uint32_t at,
                  Registers dead, Stub& stub) {
    if (shape_of(patch) != Shape::stub) return Emitted::no_stub;
    constexpr std::uint32_t stub_bytes = Stub::max_words * 4;
    if (!usable_place(site, 8) || !usable_place(at, stub_bytes) || site - at < stub_bytes) return Emitted::out_of_reach;
    const Restart& restart = Writer(patch, step_count(patch), dead, stub).write(original, site, at);
    if (restart.length > Stub::max_words) return Emitted::no_stub;
    const std::uint32_t back_from = at + 4 * (restart.line - 1U);
    if (!encode::reaches(at - site) || !encode::reaches(site + 4 - back_from)) return Emitted::out_of_reach;
    return Emitted::done;
}

} // namespace untrap::ppc
