// SPDX-License-Identifier: GPL-2.0-only
// The way through a block: its path, its loop, and the code beside them that runs rarely.
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Instruction;

BlockWriter::BlockWriter(CodeHolder& code, const BlockSource& source, const Thunks& thunks, Optimisations optimisations,
                         HostFeatures features, std::uint32_t first_link, EmittedBlock& out)
    : a_(&code), source_(source), thunks_(thunks), optimisations_(optimisations), first_link_(first_link), out_(out),
      has_movbe_(optimises(Optimisation::movbe) && features.movbe),
      has_bmi2_(optimises(Optimisation::bmi) && features.bmi2),
      has_lzcnt_(optimises(Optimisation::bmi) && features.lzcnt), fp_host_(thunks.fp.host) {
    for (unsigned number = 0; number < 32; ++number)
        fpr_xmm_[number] = static_cast<std::uint8_t>(xmm_of_fpr(fp_host_, number));
    const unsigned last = source.length - 1;
    completed_ = source.length;
    if (only_leaves(source.code[last], source.patches[last], source.mode)) --completed_;
    for (unsigned i = 0; i < source.total; ++i)
        effects_[i] = effects_of(source.code[i], source.mode | (fp_host_.avx ? 0 : mode::fp_enables));
    plan_page_checks(
        source,
        {.share = optimises(Optimisation::page_checks) && (source.mode & mode::apart) == 0 && !source.mapped,
         .windows = optimises(Optimisation::page_windows) && !source.mapped,
         .fp = fp_host_.avx,
         .known = optimises(Optimisation::constants)},
        page_checks_);
    find_constants();
    choose_assignment();
}

void BlockWriter::write(std::uint8_t* base) {
    base_ = base;
    const Label reentry = a_.newLabel(), over = a_.newLabel();
    if (source_.runs_left != nullptr) count_run();
    // The budget is taken for the whole block at its entry; what leaves early gives the rest back. An ending
    // instruction that only leaves takes nothing, but is not reached with a budget used up: it belongs to the next run.
    const bool ends_by_leaving = completed_ != source_.length;
    if (ends_by_leaving) {
        a_.cmp(budget_reg, source_.length);
        a_.jl(over);
        if (completed_ != 0) change_budget(-static_cast<int>(completed_));
    } else {
        change_budget(-static_cast<int>(completed_));
        a_.js(over);
    }
    push_cold(over, [this, ends_by_leaving] {
        if (!ends_by_leaving) change_budget(static_cast<int>(completed_));
        leave_for_budget(source_.ea);
    });
    for (index_ = 0; index_ < source_.length; ++index_) {
        if (index_ == source_.loops_to) {
            enter_assignment();
            a_.bind(loop_head_);
            slot_in_rcx_ = no_slot;
            flags_at_ = no_flags;
            loop_known_ = known();
        }
        if (source_.is_joined(index_)) {
            a_.bind(join_);
            slot_in_rcx_ = no_slot;
            flags_at_ = no_flags;
            join_known_ = known();
        }
        execute();
    }
    if (open_) {
        if (source_.loops_to != BlockSource::no_loop) {
            close_loop();
        } else {
            flush_lazy();
            if (context_switched_ && (source_.mode & mode::global) == 0) {
                a_.mov(host::eax, source_.goes_on);
                go_to_register(host::eax);
            } else {
                go_to(source_.goes_on);
            }
        }
    }
    for (unsigned number = 0; number < source_.tail_count; ++number) emit_tail(number);
    out_.cold = a_.offset();
    in_cold_ = true;
    // Bodies may append further cold code.
    for (std::size_t i = 0; i < cold_.size(); ++i) {
        a_.bind(cold_[i].label);
        index_ = cold_[i].index;
        cr_ = cold_[i].cr;
        carry_ = cold_[i].carry;
        flags_at_ = no_flags;
        assigned_now_ = cold_[i].assigned;
        fp_ = cold_[i].fp;
        assigned_ = assigned_now_ ? loop_assigned_ : common_assignment;
        const auto body = std::move(cold_[i].body);
        flush_lazy();
        body();
    }
    a_.bind(reentry);
    out_.reentry = a_.offset();
    assigned_now_ = false;
    fp_ = {};
    leave_for(ExitKind::lookup, source_.ea);
    out_.completed = completed_;
    for (std::size_t i = 0; i < mapped_slow_.size(); ++i)
        out_.mapped[i].slow = static_cast<std::uint32_t>(a_.code()->labelOffset(mapped_slow_[i]));
}

void BlockWriter::execute() {
    out_.starts[index_] = static_cast<std::uint32_t>(a_.offset());
    if (source_.ended && index_ + 1 == source_.length) flush_lazy();
    prepare_cr();
    prepare_carry();
    const std::size_t accesses = out_.mapped.size();
    instruction(source_.code[index_], source_.patches[index_]);
    if (out_.mapped.size() != accesses) out_.mapped.back().last = static_cast<std::uint32_t>(a_.offset());
    settle_cr();
    settle_carry();
    const PageCheck& check = page_checks_[index_];
    if (!keeps_rcx(source_.code[index_]))
        slot_in_rcx_ = no_slot;
    else if (out_.mapped.size() != accesses)
        slot_in_rcx_ = flat_pages_slot;
    else if (check.role != PageCheck::Role::alone)
        slot_in_rcx_ = check.slot;
}

void BlockWriter::count_run() {
    const auto counter = reinterpret_cast<std::uintptr_t>(source_.runs_left);
    const Label hot = a_.newLabel();
    FixedCode count = fixed_code();
    count.count_down(counter);
    put(count);
    a_.js(hot);
    push_cold(hot, [this, counter] {
        FixedCode code = fixed_code();
        code.take_address(counter);
        put(code);
        leave_for(ExitKind::hot, source_.ea);
    });
}

void BlockWriter::push_cold(const Label& label, std::function<void()> body) {
    cold_.push_back({label, index_, cr_, carry_, assigned_now_, fp_, std::move(body)});
}

void BlockWriter::push_detour(const Label& label, std::function<void()> body) {
    cold_.push_back({label, index_, {}, {}, assigned_now_, fp_, std::move(body)});
}

// The state is that at the head of the loop already, but for what the next pass writes anew.
bool BlockWriter::agree_with(const Known& there) {
    bool same = true;
    for (unsigned field = 0; field < 8; ++field) {
        const Compare& other = there.cr[field];
        if (other.kind == Compare::Kind::none || other.stored) flush_cr(field);
        same &= other.kind == Compare::Kind::none || other.describes_same(cr_[field]);
    }
    if (there.carry.kind == Carry::Kind::none || there.carry.stored) flush_carry();
    same &= there.carry.kind == Carry::Kind::none || there.carry.describes_same(carry_);
    if (there.fp.ready) fp_ready();
    return same && there.fp.owes_same(fp_);
}

void BlockWriter::close_loop() {
    if (!agree_with(loop_known_)) {
        flush_lazy();
        go_to(source_.goes_on);
        return;
    }
    const unsigned pass = completed_ - source_.loops_to;
    a_.sub(budget_reg, pass);
    a_.jns(loop_head_);
    a_.add(budget_reg, pass);
    flush_lazy();
    leave_for_budget(source_.goes_on);
}

void BlockWriter::emit_tail(unsigned number) {
    const Tail& tail = source_.tails[number];
    const TailEntry& entry = tail_entries_[number];
    if (!entry.label.isValid()) return;
    a_.bind(entry.label);
    cr_ = entry.known.cr;
    carry_ = entry.known.carry;
    fp_ = entry.known.fp;
    assigned_now_ = entry.assigned;
    assigned_ = assigned_now_ ? loop_assigned_ : common_assignment;
    slot_in_rcx_ = no_slot;
    flags_at_ = no_flags;
    open_ = true;
    // What the branch leaves of the budget's share is given back, what is to come from here on is taken.
    index_ = tail.branch;
    const unsigned back = left() - 1, rest = completed_ - source_.tails_join;
    const unsigned taken = tail.length + rest;
    if (taken > back) {
        const Label over = a_.newLabel();
        a_.sub(budget_reg, taken - back);
        a_.js(over);
        push_cold(over, [this, taken, &tail] {
            a_.add(budget_reg, taken);
            leave_for_budget(source_.pc[tail.first]);
        });
    } else if (taken < back) {
        a_.add(budget_reg, back - taken);
    }
    for (index_ = tail.first; index_ < tail.first + tail.length; ++index_) execute();
    --index_; // for what is put off beyond the last one
    if (!open_) return;
    if (agree_with(join_known_)) {
        a_.jmp(join_);
        return;
    }
    flush_lazy();
    a_.add(budget_reg, rest);
    go_to(source_.pc[source_.tails_join]);
}

} // namespace untrap::x64
