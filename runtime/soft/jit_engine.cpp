// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/jit_engine.h"

#include <stdexcept>
#include <utility>

#include "runtime/known_sites.h"
#include "runtime/vcpu.h"
#include "translator/interp/interpreter.h"
#include "translator/x64/fp_pending.h"

namespace untrap::runtime::soft {

using isa::Instruction;
using isa::Trap;
using isa::TrapKind;
using x64::Optimisation;
namespace mode = x64::mode;

namespace {

constexpr std::uint32_t page_bytes = 1U << x64::soft_tlb_page_shift;
constexpr std::uint32_t page_mask = ~(page_bytes - 1);
// What a plain load or store does, by its opcode; zero for all other instructions.
struct PlainAccess {
    std::uint8_t bytes : 4 = 0;
    std::uint8_t store : 1 = 0;
};

// The table for primary opcodes, and behind it the one for the extended opcodes of primary 31.
std::array<PlainAccess, 64 + 1024> make_plain_accesses() {
    std::array<PlainAccess, 64 + 1024> table{};
    const auto describe = [](std::uint32_t word) {
        const Instruction insn = isa::decode(word);
        PlainAccess access;
        const bool store = insn.has(isa::flag::store);
        if ((!store && !insn.has(isa::flag::load)) || insn.has(isa::flag::multiple | isa::flag::cache) ||
            insn.op == isa::Op::lwarx || insn.op == isa::Op::stwcx_rc)
            return access;
        // The letters of the mnemonic tell: lbz, sthbrx, lfs, stfd, stfiwx.
        const char* width = insn.info().mnemonic + (store ? 2 : 1);
        if (insn.has(isa::flag::fp)) ++width;
        access.bytes = *width == 'b' ? 1 : *width == 'h' ? 2 : *width == 'd' ? 8 : 4;
        access.store = store;
        return access;
    };
    for (std::uint32_t primary = 0; primary < 64; ++primary)
        if (primary != 31) table[primary] = describe(primary << 26);
    for (std::uint32_t extended = 0; extended < 1024; ++extended)
        table[64 + extended] = describe(31U << 26 | extended << 1);
    return table;
}

// Made with the first engine: programs that run no guest have no use for it.
std::array<PlainAccess, 64 + 1024> plain_accesses;

PlainAccess plain_access(std::uint32_t word) {
    const std::uint32_t primary = word >> 26;
    return plain_accesses[primary == 31 ? 64 + (word >> 1 & 0x3FF) : primary];
}

// 256 KB: a boot asks for some 50 000 places.
constexpr std::size_t asked_for_words = 32768;

} // namespace

JitEngine::JitEngine(Vcpu& vcpu, std::size_t cache_bytes, x64::Optimisations optimisations, std::uint32_t plain_runs)
    : vcpu_(vcpu), emulator_(vcpu), optimisations_(optimisations), cache_(cache_bytes),
      plain_(x64::plain(optimisations)), plain_runs_(plain_runs), block_slices_(std::min(plain_runs / 250, 8U)),
      context_slices_(std::min(plain_runs / 30, 64U)) {
    [[maybe_unused]] static const bool made = (plain_accesses = make_plain_accesses(), true);
    const bool in_place = optimises(Optimisation::quick_exits) && optimises(Optimisation::exits_in_place);
    const x64::Helpers helpers{.interpret = &JitEngine::interpret,
                               .access = &JitEngine::access,
                               .reach = &JitEngine::reach,
                               .switch_context = &JitEngine::switch_context,
                               .go_on = in_place ? &JitEngine::go_on : nullptr,
                               .write_tlb = &JitEngine::write_tlb};
    const x64::FpHost fp_host = x64::FpHost::detect(optimisations);
    const std::size_t used = x64::emit_thunks(helpers, fp_host, cache_.cursor(), cache_.room(), enter_, thunks_);
    if (used == 0) throw std::runtime_error("generated code could not be set up");
    if (dump_) dump_->shared_code(cache_.cursor(), used);
    cache_.commit(used);
    cache_.keep();
    asked_for_.resize(asked_for_words);
    forget_windows();
    emitter_ = std::make_unique<x64::BlockEmitter>(thunks_, optimisations);
    plain_emitter_ = std::make_unique<x64::BlockEmitter>(thunks_, plain_);
    if (!optimises(Optimisation::host_mmu) || !optimises(Optimisation::flat_tlb) || !shadow_.has_space())
        mapping_ = Mapping::impossible;
    vcpu.state.engine_slots[x64::slot_engine] = reinterpret_cast<std::uintptr_t>(this);
}

// -- contexts ------------------------------------------------------------------------------------------------------

std::uint32_t JitEngine::current_mode() const {
    const isa::CpuState& state = vcpu_.state;
    const std::uint32_t msr = state.page.msr;
    return ((msr & isa::msr::pr) != 0 ? mode::pr : 0) | ((msr & isa::msr::is) != 0 ? mode::is : 0) |
           ((msr & isa::msr::fp) != 0 ? mode::fp : 0) | ((msr & (isa::msr::fe0 | isa::msr::fe1)) != 0 ? mode::fe : 0) |
           (state.xer_so != 0 ? mode::so : 0) | ((state.fpscr & x64::fpscr_enables) != 0 ? mode::fp_enables : 0);
}

// All that a context depends on.
inline std::uint32_t JitEngine::context_key() const {
    const isa::CpuState& state = vcpu_.state;
    const std::uint32_t msr = state.page.msr, pid = state.page.pid & 0xFF;
    static_assert((isa::msr::pr | isa::msr::fp | isa::msr::fe0 | isa::msr::fe1) < 0x10000 && isa::msr::fe1 > 0xFF &&
                  (isa::msr::is | isa::msr::ds) == 0x30);
    return pid | (msr & (isa::msr::pr | isa::msr::fp | isa::msr::fe0 | isa::msr::fe1)) |
           (msr & (isa::msr::is | isa::msr::ds)) << 12 | std::uint32_t{state.xer_so} << 18 |
           ((state.fpscr & x64::fpscr_enables) != 0 ? 1U << 19 : 0U);
}

void JitEngine::select_context() {
    const std::uint32_t key = context_key();
    if (key == selected_->key) return;
    Selection& known = selections_[selection_index(key)];
    if (known.key != key) return select(key);
    take(known);
}

void JitEngine::select(std::uint32_t key) {
    Selection& place = selections_[selection_index(key)];
    look_up_context(key, place);
    take(place);
}

inline void JitEngine::take(Selection& selection) {
    selected_ = &selection;
    forget_windows();
    vcpu_.state.engine_slots[x64::slot_soft_tlb] = selection.soft_tlb;
    vcpu_.state.engine_slots[x64::slot_jump_cache] = reinterpret_cast<std::uintptr_t>(selection.jumps->data());
}

void JitEngine::look_up_context(std::uint32_t key, Selection& found) {
    const isa::CpuState& state = vcpu_.state;
    const std::uint32_t msr = state.page.msr;
    const std::uint32_t process = (state.page.pid & 0xFF) | ((msr & isa::msr::pr) != 0 ? 0x100U : 0);
    const std::uint64_t before = shadow_.assignments();
    Selection made;
    made.key = key;
    made.mode = current_mode();
    made.data_key = process | ((msr & isa::msr::ds) != 0 ? 0x200U : 0);
    made.data = &shadow_.data_context(made.data_key);
    if (context_slices_ == 0) made.data->faults.grant();
    made.soft_tlb = optimises(Optimisation::flat_tlb) ? reinterpret_cast<std::uintptr_t>(made.data->pages.entries())
                                                      : reinterpret_cast<std::uintptr_t>(made.data->entries.data());
    // Kernels run in pages that all processes share, and one context then serves them for every PID.
    const bool shared = (msr & isa::msr::pr) == 0 && !own_supervisor_code_ && optimises(Optimisation::kernel_context);
    made.instructions = &shadow_.instruction_context((shared ? 0 : process) | ((msr & isa::msr::is) != 0 ? 0x200U : 0));
    made.jumps = &ShadowTlb::jump_cache(*made.instructions, made.mode);
    // A context that means something else now is not to be found under what it meant.
    if (shadow_.assignments() != before) selections_.fill({});
    found = made;
}

void JitEngine::forget_windows() {
    for (unsigned window = 0; window < x64::page_windows; ++window)
        vcpu_.state.engine_slots[x64::first_window_slot + window] = x64::forgotten_page;
}

void JitEngine::switch_context(void* engine) { static_cast<JitEngine*>(engine)->select_context(); }

// -- helpers of generated code ---------------------------------------------------------------------------------------

bool JitEngine::execute(std::uint32_t word, std::uint32_t left) {
    isa::CpuState& state = vcpu_.state;
    const auto budget = state.engine_slots[x64::slot_budget];
    // The timebase may be read: the count is made exact. Generated code keeps it in the budget.
    state.retired = state.engine_slots[x64::slot_target] - (budget + left);
    const Instruction insn = isa::decode(word);
    if (insn.has(isa::flag::fp) && !insn.has(isa::flag::load | isa::flag::store)) x64::settle_fpscr(state);
    trap_ = interp::execute(state, vcpu_.storage, insn);
    if (trap_.kind == TrapKind::none) return true;
    state.engine_slots[x64::slot_budget] = budget + left;
    return false;
}

bool JitEngine::interpret(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t) {
    return static_cast<JitEngine*>(engine)->execute(word, left);
}

// What the guest TLB does not have, no table made from it has.
inline bool JitEngine::note_miss(std::uint32_t word, std::uint32_t left, std::uint32_t ea) {
    const PlainAccess plain = plain_access(word);
    const isa::StatePage& page = vcpu_.state.page;
    if (plain.bytes == 0 || (ea & ~page_mask) + plain.bytes > page_bytes ||
        vcpu_.tlb.find(ea, (page.msr & isa::msr::ds) != 0 ? 1 : 0, page.pid & 0xFF) >= 0)
        return false;
    // As the interpreter would report it.
    const bool store = plain.store != 0;
    vcpu_.state.engine_slots[x64::slot_budget] += left;
    trap_ = {.kind = TrapKind::data_miss, .is_store = store, .size = plain.bytes, .word = word, .ea = ea};
    missed_ = {selected_->data_key, ea, store, true, false};
    return true;
}

// The same, out of line.
bool JitEngine::tell_miss(std::uint32_t word, std::uint32_t left, std::uint32_t ea) {
    return note_miss(word, left, ea);
}

bool JitEngine::access(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea) {
    auto& self = *static_cast<JitEngine*>(engine);
    if (self.fault_ != nullptr) return self.access_after_fault(word, left, ea);
    return !self.note_miss(word, left, ea) && self.access_memory(word, left, ea);
}

bool JitEngine::access_memory(std::uint32_t word, std::uint32_t left, std::uint32_t ea) {
    const PlainAccess plain = plain_access(word);
    const bool store = plain.bytes != 0 ? plain.store != 0 : isa::decode(word).has(isa::flag::store);
    fill(ea, store, true);
    if (execute(word, left)) return true;
    if (trap_.kind == TrapKind::data_miss) missed_ = {selected_->data_key, trap_.ea, store, true, false};
    return false;
}

bool JitEngine::reach(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea) {
    auto& self = *static_cast<JitEngine*>(engine);
    if (self.note_miss(word, left, ea)) return false;
    const PlainAccess plain = plain_access(word);
    if (plain.bytes != 0 && (ea & ~page_mask) + plain.bytes <= page_bytes) self.fill(ea, plain.store != 0, true);
    return true;
}

// In one piece: it runs twice for each TLB miss of the guest.
void JitEngine::fill(std::uint32_t ea, bool store, bool counted) {
    const std::uint32_t page = ea & page_mask;
    ShadowTlb::DataContext& data = *selected_->data;
    const auto known = [&](bool for_store) {
        if (optimises(Optimisation::flat_tlb)) return data.pages.knows(page, for_store);
        const x64::SoftTlbEntry& entry = data.entries[x64::soft_tlb_index(ea)];
        return (for_store ? entry.write_tag : entry.read_tag) == page;
    };
    if (known(store)) return; // misaligned, or not the TLB's fault
    // The table of all pages has the victims too.
    if (!optimises(Optimisation::flat_tlb) && optimises(Optimisation::tlb_victims) &&
        ShadowTlb::recall(data, ea, store))
        return;
    const isa::StatePage& state = vcpu_.state.page;
    const bool problem_state = (state.msr & isa::msr::pr) != 0;
    const int index = vcpu_.tlb.find(ea, (state.msr & isa::msr::ds) != 0 ? 1 : 0, state.pid & 0xFF);
    if (index < 0) return;
    const mmu::Translation where = vcpu_.tlb.through(static_cast<unsigned>(index), ea, problem_state,
                                                     store ? mmu::Access::store : mmu::Access::load);
    if (where.status != mmu::Translation::Status::ok) return;
    std::uint8_t* const host = vcpu_.memory.find(where.real, 1, store);
    if (host == nullptr) return;
    if (store && known(false) && cache_.guarded(where.real)) return; // slow for good, and known
    if (counted) count_refill(ExitReason::dtlb_virt);
    if (where.little_endian || where.page_shift < x64::soft_tlb_page_shift) return;
    if (store && cache_.guarded(where.real)) return;
    // Stores by generated code are not seen from here on, until the log is taken.
    if (store) vcpu_.memory.mark_dirty(where.real, 1);
    const bool load = !store || mmu::GuestTlb::permits(vcpu_.tlb.entry(where.index), problem_state, mmu::Access::load);
    ++fills_;
    shadow_.fill_data(data, ea, host - (ea & ~page_mask), load, store, where.index);
}

// Guest code stopped for a walk of the guest TLB: an exit, unless it is within one.
void JitEngine::count_refill(ExitReason reason) {
    ++refills_;
    if (!vcpu_.in_handler()) vcpu_.count_exit(reason);
}

void JitEngine::insert_after_miss() {
    if (!optimises(Optimisation::tlb_answer)) return;
    if (!missed_.pending || !missed_.answered || missed_.context != selected_->data_key) return;
    missed_.pending = false;
    if (missed_.mapped) [[unlikely]]
        return insert_mapped();
    fill(missed_.ea, missed_.store, false);
}

// -- running
// -----------------------------------------------------------------------------------------------------------

Trap JitEngine::finish(Trap trap, std::uint64_t left) {
    vcpu_.state.retired = vcpu_.state.engine_slots[x64::slot_target] - left;
    return trap;
}

Trap JitEngine::run(Vcpu&, std::uint64_t budget) {
    quick_ = false;
    exact_ = true;
    const Trap trap = run_until_trap(budget);
    x64::settle_fpscr(vcpu_.state);
    return trap;
}

Trap JitEngine::run_guest(Vcpu&, std::uint64_t budget) {
    quick_ = optimises(Optimisation::quick_exits) && vcpu_.undisturbed();
    exact_ = vcpu_.timers.clock() == Clock::guest;
    const Trap trap = run_until_trap(budget);
    x64::settle_fpscr(vcpu_.state);
    return trap;
}

Trap JitEngine::run_until_trap(std::uint64_t budget) {
    isa::CpuState& state = vcpu_.state;
    const HostFaults faults(&JitEngine::resume_after_fault, this);
    std::uint64_t left = budget;
    state.engine_slots[x64::slot_target] = state.retired + budget;
    x64::ExitLink* link = nullptr;
    bool hot = false;
    in_guest_ = false;
    Trap answer;
    // Whether the guest goes on after this; if not, answer is for the run loop.
    const auto goes_on = [&](const Trap& trap) {
        state.retired = state.engine_slots[x64::slot_target] - left;
        if (!quick_ || std::exchange(declined_, false) || !quick_exit(trap)) {
            answer = trap;
            return false;
        }
        left = state.engine_slots[x64::slot_target] - state.retired;
        in_guest_ = false;
        if (!vcpu_.undisturbed()) return false;
        vcpu_.close_exit();
        return true;
    };
    for (;;) {
        if (!replaced_.empty()) replace_blocks();
        if (left == 0) return finish({.kind = TrapKind::budget}, 0);
        select_context();
        if (!in_guest_) insert_after_miss();
        const void* code = nullptr;
        const x64::JumpCacheEntry& known = (*selected_->jumps)[x64::jump_cache_index(state.pc)];
        if (link == nullptr && !hot && known.ea == state.pc) {
            code = known.code;
        } else {
            Trap trap;
            const std::uint64_t epoch = cache_.epoch();
            Block* block = find_block(trap, link != nullptr && link->apart ? mode::apart : 0, hot);
            hot = false;
            // Making room for the target may have cleared the cache, and the link with it.
            if (block != nullptr && link != nullptr && epoch == cache_.epoch()) make_link(*link, *block);
            link = nullptr;
            if (block == nullptr) {
                if (trap.kind != TrapKind::none) {
                    if (!goes_on(trap)) return answer;
                    continue;
                }
                // Code that is not translated, or not yet.
                const std::uint64_t count = std::min<std::uint64_t>(interpret_first_, left);
                finish({}, left);
                x64::settle_fpscr(state);
                trap = interp::run(state, vcpu_.storage, count);
                if (trap.kind != TrapKind::budget) return trap;
                left -= count;
                continue;
            }
            code = block->code;
        }
        in_guest_ = true;
        const auto kind = static_cast<x64::ExitKind>(enter_(&state, static_cast<std::int64_t>(left), code));
        left = state.engine_slots[x64::slot_budget];
        Trap trap;
        switch (kind) {
        case x64::ExitKind::budget:
            note_slice(state.engine_slots[x64::slot_exit_info]);
            if (!exact_) {
                vcpu_.disturb();
                return finish({}, left);
            }
            // The next block is longer than what is left: the interpreter goes exactly to the end.
            finish({}, left);
            x64::settle_fpscr(state);
            return interp::run(state, vcpu_.storage, left);
        case x64::ExitKind::lookup:
            // A jump cache that still names a stale block would lead here again.
            (*selected_->jumps)[x64::jump_cache_index(state.pc)] = {};
            continue;
        case x64::ExitKind::link: link = &cache_.link(state.engine_slots[x64::slot_exit_info]); continue;
        case x64::ExitKind::hot:
            // Whatever becomes of it, it does not leave at once again.
            *reinterpret_cast<std::uint32_t*>(state.engine_slots[x64::slot_exit_info]) = plain_runs_;
            hot = true;
            continue;
        case x64::ExitKind::resumed: in_guest_ = false; continue;
        case x64::ExitKind::disturbed: return {};
        case x64::ExitKind::helper_trap:
            if (trap_.kind == TrapKind::none || goes_on(trap_)) continue;
            return answer;
        case x64::ExitKind::privileged: trap.kind = TrapKind::privileged; break;
        case x64::ExitKind::system_call: trap.kind = TrapKind::system_call; break;
        case x64::ExitKind::illegal: trap.kind = TrapKind::illegal; break;
        case x64::ExitKind::fp_unavailable: trap.kind = TrapKind::fp_unavailable; break;
        case x64::ExitKind::trap_condition: trap.kind = TrapKind::trap_condition; break;
        }
        trap.word = static_cast<std::uint32_t>(state.engine_slots[x64::slot_exit_info]);
        if (!goes_on(trap)) return answer;
    }
}

// -- changes
// -------------------------------------------------------------------------------------------------------------

void JitEngine::tlb_entry_changed(unsigned index, const mmu::TlbEntry& before) {
    missed_.answered = true;
    if (!before.valid()) return; // and nothing was made from it
    if (shadow_.used(index)) forget_windows();
    shadow_.drop(index, before);
    cache_.unlink_entry(index);
}

void JitEngine::memory_written(std::uint64_t real, std::uint64_t length) {
    cache_.written(real, length);
    code_written(vcpu_, real, length);
}

void JitEngine::site_changed(std::uint64_t real) { cache_.invalidate_site(real); }

void JitEngine::dirty_log_taken() {
    shadow_.write_protect_all();
    forget_windows();
}

void JitEngine::flush() {
    replaced_.clear();
    cache_.clear();
    shadow_.clear();
    forget_windows();
}

} // namespace untrap::runtime::soft
