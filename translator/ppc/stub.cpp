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

// Tests and a commit.
bool is_stub_program(const plan::Patch& patch, unsigned count) {
    if (count == 0) return false;
    for (unsigned index = 0; index + 1 < count; ++index) {
        const Step& step = patch.steps[index];
        const bool any = step.kind == StepKind::trap_if_pending && step.gpr == plan::any_gpr;
        if (!is_test(step.kind) || step.value == 0 || step.value == all_bits || (step.gpr >= 32 && !any)) return false;
    }
    return can_commit(patch.steps[count - 1]);
}

// Writes one stub. `scratch_` is the only register it changes.
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
        if (save_gpr_) {
            restart.gpr = static_cast<std::uint8_t>(scratch_);
            restart.gpr_saved = static_cast<std::uint8_t>(count_);
            store(scratch_, slot_field(gpr_slot));
        }
        for (unsigned index = 0; index < steps_; ++index) {
            step(patch_.steps[index]);
            if (count_ >= Stub::max_words) return too_long();
        }
        if (save_gpr_) load(slot_field(gpr_slot));
        put(encode::b(site + 4 - (at + 4 * count_)));
        restart.line = static_cast<std::uint8_t>(count_);
        if (tests_) put(original);
        if (count_ > Stub::max_words) return too_long();
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
    }

    void put(std::uint32_t word) {
        if (count_ < Stub::max_words) stub_.words[count_] = word;
        ++count_;
    }
    void load(std::size_t field) { put(encode::lwz(scratch_, 0, displacement_of(field))); }
    void store(unsigned gpr, std::size_t field) { put(encode::stw(gpr, 0, displacement_of(field))); }

    // scratch = from & mask: a rotate for each run of zeros.
    void keep(unsigned from, std::uint32_t mask) {
        for (unsigned bit = 0; bit < 32; ++bit) {
            if (has(mask, bit) || !has(mask, (bit + 31) % 32)) continue;
            unsigned last = bit;
            while (!has(mask, (last + 1) % 32)) last = (last + 1) % 32;
            put(encode::rlwinm(scratch_, from, 0, (last + 1) % 32, (bit + 31) % 32));
            from = scratch_;
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

    void trap_unless(std::int32_t value) { put(encode::twnei(scratch_, value)); }

    void step(const Step& step) {
        switch (step.kind) {
        case StepKind::trap_if_msr_changes:
            load(offsetof(StatePage, msr));
            put(encode::xor_(scratch_, scratch_, step.gpr));
            keep(scratch_, step.value);
            trap_unless(0);
            break;
        case StepKind::trap_if_pending:
            // What holds an interrupt back is an MSR bit here and there. One that the instruction does not write may be
            // among them: then it traps, and is emulated, for nothing.
            load(offsetof(StatePage, pending));
            if (step.gpr != plan::any_gpr) put(encode::and_(scratch_, scratch_, step.gpr));
            trap_unless(0);
            break;
        case StepKind::set_msr_bits:
            load(offsetof(StatePage, msr));
            if ((step.value & 0xFFFF) != 0) put(encode::ori(scratch_, scratch_, step.value & 0xFFFF));
            if (step.value >> 16 != 0) put(encode::oris(scratch_, scratch_, step.value >> 16));
            commit(scratch_, offsetof(StatePage, msr));
            break;
        case StepKind::clear_msr_bits:
            load(offsetof(StatePage, msr));
            keep(scratch_, ~step.value);
            commit(scratch_, offsetof(StatePage, msr));
            break;
        case StepKind::copy_msr_bits:
            load(offsetof(StatePage, msr));
            insert(step.gpr, step.value);
            commit(scratch_, offsetof(StatePage, msr));
            break;
        case StepKind::store_field: commit(step.gpr, step.field); break;
        case StepKind::store_field_masked:
            if (step.value == all_bits) {
                commit(step.gpr, step.field);
                break;
            }
            keep(step.gpr, step.value);
            commit(scratch_, step.field);
            break;
        case StepKind::switch_pid:
            // A CPU that runs with a process's mappings has to be told.
            load(offsetof(GuestPage, live_pid));
            trap_unless(static_cast<std::int32_t>(GuestPage::no_pid));
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
    unsigned scratch_ = 0, count_ = 0;
    bool tests_ = false, needs_gpr_ = false, save_gpr_ = false;
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
