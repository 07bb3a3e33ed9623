// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/jit_engine.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <stdexcept>

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
// More than any block needs: 128 instructions of at most some 200 bytes, their slow paths, and the exits.
constexpr std::size_t block_room = 128 * 1024;

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

PlainAccess plain_access(std::uint32_t word) {
    static const std::array<PlainAccess, 64 + 1024> table = make_plain_accesses();
    const std::uint32_t primary = word >> 26;
    return table[primary == 31 ? 64 + (word >> 1 & 0x3FF) : primary];
}

std::uint32_t big_endian_word(const std::uint8_t* bytes) {
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

// 256 KB: a boot asks for some 50 000 places.
constexpr std::size_t asked_for_words = 32768;

} // namespace

JitEngine::JitEngine(Vcpu& vcpu, std::size_t cache_bytes, x64::Optimisations optimisations)
    : vcpu_(vcpu), emulator_(vcpu), optimisations_(optimisations), cache_(cache_bytes) {
    const x64::Helpers helpers{&JitEngine::interpret, &JitEngine::access, &JitEngine::reach, &JitEngine::switch_context,
                               &JitEngine::write_tlb};
    const x64::FpHost fp_host = x64::FpHost::detect(optimisations);
    const std::size_t used = x64::emit_thunks(helpers, fp_host, cache_.cursor(), cache_.room(), enter_, thunks_);
    if (used == 0) throw std::runtime_error("generated code could not be set up");
    if (dump_) dump_->shared_code(cache_.cursor(), used);
    cache_.commit(used);
    cache_.keep();
    asked_for_.resize(asked_for_words);
    forget_windows();
    emitter_ = std::make_unique<x64::BlockEmitter>(thunks_, optimisations);
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

void JitEngine::select_context() {
    const isa::CpuState& state = vcpu_.state;
    const std::uint32_t msr = state.page.msr, pid = state.page.pid & 0xFF;
    // All that a context depends on.
    const std::uint32_t key = pid | (msr & (isa::msr::pr | isa::msr::fp | isa::msr::fe0 | isa::msr::fe1)) |
                              (msr & (isa::msr::is | isa::msr::ds)) << 12 | std::uint32_t{state.xer_so} << 18 |
                              ((state.fpscr & x64::fpscr_enables) != 0 ? 1U << 19 : 0U);
    static_assert((isa::msr::pr | isa::msr::fp | isa::msr::fe0 | isa::msr::fe1) < 0x10000 && isa::msr::fe1 > 0xFF &&
                  (isa::msr::is | isa::msr::ds) == 0x30);
    if (key == selected_->key) return;
    Selection& known = selections_[(key * 0x9E3779B1U) >> 28];
    if (known.key != key) look_up_context(key, known);
    selected_ = &known;
    forget_windows();
    vcpu_.state.engine_slots[x64::slot_soft_tlb] = reinterpret_cast<std::uintptr_t>(selected_->data->entries.data());
    vcpu_.state.engine_slots[x64::slot_jump_cache] = reinterpret_cast<std::uintptr_t>(selected_->jumps->data());
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

bool JitEngine::access(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea) {
    auto& self = *static_cast<JitEngine*>(engine);
    const PlainAccess plain = plain_access(word);
    const bool store = plain.bytes != 0 ? plain.store != 0 : isa::decode(word).has(isa::flag::store);
    const Filled filled = self.fill(ea, store, true);
    if (filled == Filled::miss && plain.bytes != 0 && (ea & ~page_mask) + plain.bytes <= page_bytes) {
        // As the interpreter would report it.
        self.vcpu_.state.engine_slots[x64::slot_budget] += left;
        self.trap_ = {.kind = TrapKind::data_miss, .is_store = store, .size = plain.bytes, .word = word, .ea = ea};
        self.missed_ = {self.selected_->data_key, ea, store, true, false};
        return false;
    }
    if (self.execute(word, left)) return true;
    if (self.trap_.kind == TrapKind::data_miss)
        self.missed_ = {self.selected_->data_key, self.trap_.ea, store, true, false};
    return false;
}

bool JitEngine::reach(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea) {
    auto& self = *static_cast<JitEngine*>(engine);
    const PlainAccess plain = plain_access(word);
    if (plain.bytes == 0 || (ea & ~page_mask) + plain.bytes > page_bytes) return true;
    const bool store = plain.store != 0;
    if (self.fill(ea, store, true) != Filled::miss) return true;
    // As the interpreter would report it.
    self.vcpu_.state.engine_slots[x64::slot_budget] += left;
    self.trap_ = {.kind = TrapKind::data_miss, .is_store = store, .size = plain.bytes, .word = word, .ea = ea};
    self.missed_ = {self.selected_->data_key, ea, store, true, false};
    return false;
}

JitEngine::Filled JitEngine::fill(std::uint32_t ea, bool store, bool counted) {
    const x64::SoftTlbEntry& present = selected_->data->entries[x64::soft_tlb_index(ea)];
    const std::uint32_t page = ea & page_mask;
    if ((store ? present.write_tag : present.read_tag) == page) return Filled::no; // misaligned, or not the TLB's fault
    if (optimises(Optimisation::tlb_victims) && ShadowTlb::recall(*selected_->data, ea, store)) return Filled::yes;
    const Resolved where = vcpu_.storage.resolve(ea, store ? mmu::Access::store : mmu::Access::load);
    if (where.status == Resolved::Status::miss) return Filled::miss;
    if (where.status != Resolved::Status::ok) return Filled::no;
    if (store && present.read_tag == page && cache_.guarded(where.real)) return Filled::no; // slow for good, and known
    if (counted) count_refill(ExitReason::dtlb_virt);
    if (where.little_endian || where.page_shift < x64::soft_tlb_page_shift) return Filled::no;
    std::uint8_t* host_page = where.host - (ea & ~page_mask);
    if (store && cache_.guarded(where.real)) return Filled::no;
    // Stores by generated code are not seen from here on, until the log is taken.
    if (store) vcpu_.memory.mark_dirty(where.real, 1);
    shadow_.fill_data(*selected_->data, ea, host_page, store, where.tlb_index);
    return Filled::yes;
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
    fill(missed_.ea, missed_.store, false);
}

// -- finding and making blocks ---------------------------------------------------------------------------------------

ShadowTlb::FetchEntry* JitEngine::fetch_page(std::uint32_t pc, Trap& trap) {
    if (ShadowTlb::FetchEntry* known = ShadowTlb::find_fetch(*selected_->instructions, pc)) return known;
    const Resolved where = vcpu_.storage.resolve(pc, mmu::Access::fetch);
    switch (where.status) {
    case Resolved::Status::miss: trap.kind = TrapKind::fetch_miss; return nullptr;
    case Resolved::Status::denied: trap.kind = TrapKind::fetch_denied; return nullptr;
    case Resolved::Status::no_memory: trap.kind = TrapKind::fetch_bus_error; return nullptr;
    case Resolved::Status::ok: break;
    }
    if (where.little_endian || where.page_shift < x64::soft_tlb_page_shift) return nullptr;
    // On the way in the hypervisor is running anyway: no exit more.
    if (in_guest_) count_refill(ExitReason::itlb_virt);
    const mmu::TlbEntry& entry = vcpu_.tlb.entry(where.tlb_index);
    if (entry.tid != 0 && (selected_->mode & mode::pr) == 0 && !own_supervisor_code_) {
        // Supervisor code of one process alone: from now on each PID has a context.
        own_supervisor_code_ = true;
        selections_.fill({});
        select_context();
    }
    ShadowTlb::FetchEntry filled;
    filled.tag = pc & page_mask;
    filled.tlb_index = where.tlb_index;
    filled.tid = entry.tid;
    filled.first = entry.epn();
    filled.last = entry.epn() | ~entry.page_mask();
    filled.real = where.real & ~std::uint64_t{page_bytes - 1};
    return &shadow_.fill_fetch(*selected_->instructions, filled);
}

Block* JitEngine::find_block(Trap& trap, std::uint32_t further) {
    const std::uint32_t pc = vcpu_.state.pc;
    ShadowTlb::FetchEntry* page = fetch_page(pc, trap);
    if (page == nullptr) return nullptr;
    const std::uint32_t bits = selected_->mode | (page->tid == 0 ? mode::global : 0) | further;
    Block* block = cache_.find(pc, page->real + (pc & ~page_mask), bits);
    if (block == nullptr) {
        interpret_first_ = 1;
        if (optimises(Optimisation::interpret_first) && first_time(page->real + (pc & ~page_mask), bits)) {
            const std::uint8_t* bytes = vcpu_.memory.find(page->real, page_bytes, false);
            const std::uint32_t offset = pc & ~page_mask;
            if (bytes != nullptr) interpret_first_ = plain_length(bytes + offset, (page_bytes - offset) / 4);
            if (interpret_first_ != 0) return nullptr;
        }
        block = translate(*page, bits);
        interpret_first_ = 1;
    }
    if (block != nullptr && further == 0) {
        ShadowTlb::note_jump(*page, pc);
        x64::JumpCacheEntry& jump = (*selected_->jumps)[x64::jump_cache_index(pc)];
        jump.ea = pc;
        jump.code = block->code;
    }
    return block;
}

bool JitEngine::first_time(std::uint64_t real, std::uint32_t bits) {
    const std::uint64_t hash = (real >> 2 ^ std::uint64_t{bits} << 40) * 0x9E3779B97F4A7C15ULL;
    std::uint64_t& word = asked_for_[hash >> 58 | (hash >> 40 & (asked_for_.size() / 64 - 1)) << 6];
    const std::uint64_t bit = std::uint64_t{1} << (hash >> 34 & 63);
    const bool first = (word & bit) == 0;
    word |= bit;
    return first;
}

unsigned JitEngine::plain_length(const std::uint8_t* bytes, unsigned limit) {
    limit = std::min(limit, x64::max_path_instructions);
    for (unsigned length = 0; length < limit; ++length) {
        const Instruction insn = isa::decode(big_endian_word(bytes + 4 * length));
        if (insn.op == isa::Op::illegal || insn.privileged()) return length;
        if (insn.has(isa::flag::branch | isa::flag::ends)) return length + 1;
    }
    return limit;
}

Block* JitEngine::translate(const ShadowTlb::FetchEntry& page, std::uint32_t bits) {
    const std::uint32_t pc = vcpu_.state.pc;
    const std::uint64_t real = page.real + (pc & ~page_mask);
    const std::uint8_t* bytes = vcpu_.memory.find(page.real, page_bytes, false);
    if (bytes == nullptr) return nullptr;
    if ((bits & mode::pr) == 0) patch_known_sites(vcpu_, real);
    source_.ea = pc;
    source_.mode = bits;
    const bool far = (bits & mode::global) != 0 && optimises(Optimisation::far_link);
    source_.link_first = far ? page.first : pc & page_mask;
    source_.link_last = far ? page.last : pc | ~page_mask;
    const bool handlers = optimises(Optimisation::quick_exits) && vcpu_.patches.handlers_allowed();
    x64::form_block(source_, optimisations_, [&](std::uint32_t at, Instruction& insn, plan::Patch& patch) {
        const std::uint32_t offset = at & ~page_mask;
        insn = isa::decode(big_endian_word(bytes + offset));
        patch = {};
        if ((bits & mode::pr) != 0 || !insn.privileged()) return;
        const plan::Patch* found = vcpu_.patches.find(page.real + offset, insn.word);
        if (found != nullptr && found->level <= 2) patch = *found;
        if (insn.op == isa::Op::tlbwe && handlers) patch.level = x64::in_handler_level;
    });
    XXH3_state_t hash;
    XXH3_64bits_reset(&hash);
    const std::uint32_t identity[] = {pc, bits, source_.link_first, source_.link_last, source_.loops_to};
    XXH3_64bits_update(&hash, identity, sizeof(identity));
    std::uint32_t first = pc, last = pc;
    for (unsigned i = 0; i < source_.length; ++i) {
        const std::uint32_t item[] = {source_.pc[i], source_.code[i].word, source_.patches[i].level};
        XXH3_64bits_update(&hash, item, sizeof(item));
        first = std::min(first, source_.pc[i]);
        last = std::max(last, source_.pc[i]);
    }
    const std::uint64_t content = XXH3_64bits_digest(&hash);
    const bool first_in_page = !cache_.guarded(real);
    Block* block = optimises(Optimisation::revive) ? cache_.revive(content, pc, bits, real) : nullptr;
    // Where it was made from first, something else may stand now, and contexts that ran it may lead there still.
    if (block != nullptr) shadow_.forget_jump(pc, block->code);
    if (block == nullptr) {
        if (cache_.room() < block_room) {
            // Full: all translations go, what is hot comes back.
            cache_.clear();
            shadow_.clear_jumps();
        }
        block = &cache_.allocate();
        block->ea = pc;
        block->mode = bits;
        block->real = real;
        block->first = page.real + (first & ~page_mask);
        block->bytes = last + 4 - first;
        block->content = content;
        block->links.resize(x64::link_limit(source_));
        const x64::EmittedBlock emitted = emitter_->emit(source_, cache_.cursor(), cache_.room(), block->links.data());
        if (emitted.size == 0) throw std::runtime_error("a block of guest code could not be translated");
        block->code = cache_.cursor();
        block->reentry = block->code + emitted.reentry;
        block->links.resize(emitted.link_count); // fewer: they stay where they are
        for (unsigned i = 0; i < emitted.link_count; ++i) {
            block->links[i] = emitted.links[i];
            block->links[i].owner = block;
        }
        if (dump_) dump_->block(source_, emitted, block->code);
        cache_.commit(emitted.size);
        cache_.publish(*block);
    }
    if (first_in_page) {
        shadow_.write_protect(bytes);
        forget_windows();
    }
    return block;
}

void JitEngine::make_link(x64::ExitLink& link, Block& target) {
    const Block& owner = *static_cast<Block*>(link.owner);
    if (!optimises(Optimisation::link) || !owner.live || link.target != nullptr) return;
    std::uint8_t entry = x64::ExitLink::no_entry;
    if (((link.target_ea ^ owner.ea) & page_mask) != 0) {
        // Two pages: good as long as one guest TLB entry maps both.
        const ShadowTlb::FetchEntry* page = ShadowTlb::find_fetch(*selected_->instructions, link.target_ea);
        if (page == nullptr || owner.ea < page->first || owner.ea > page->last) return;
        entry = page->tlb_index;
    }
    cache_.link(link, target, entry);
}

// -- running
// -----------------------------------------------------------------------------------------------------------

Trap JitEngine::finish(Trap trap, std::uint64_t left) {
    vcpu_.state.retired = vcpu_.state.engine_slots[x64::slot_target] - left;
    return trap;
}

Trap JitEngine::run(Vcpu&, std::uint64_t budget) {
    quick_ = false;
    const Trap trap = run_until_trap(budget);
    x64::settle_fpscr(vcpu_.state);
    return trap;
}

Trap JitEngine::run_guest(Vcpu&, std::uint64_t budget) {
    quick_ = optimises(Optimisation::quick_exits) && vcpu_.undisturbed();
    const Trap trap = run_until_trap(budget);
    x64::settle_fpscr(vcpu_.state);
    return trap;
}

Trap JitEngine::run_until_trap(std::uint64_t budget) {
    isa::CpuState& state = vcpu_.state;
    std::uint64_t left = budget;
    state.engine_slots[x64::slot_target] = state.retired + budget;
    x64::ExitLink* link = nullptr;
    in_guest_ = false;
    Trap answer;
    // Whether the guest goes on after this; if not, answer is for the run loop.
    const auto goes_on = [&](const Trap& trap) {
        state.retired = state.engine_slots[x64::slot_target] - left;
        if (!quick_ || !quick_exit(trap)) {
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
        if (left == 0) return finish({.kind = TrapKind::budget}, 0);
        select_context();
        if (!in_guest_) insert_after_miss();
        const void* code = nullptr;
        const x64::JumpCacheEntry& known = (*selected_->jumps)[x64::jump_cache_index(state.pc)];
        if (link == nullptr && known.ea == state.pc) {
            code = known.code;
        } else {
            Trap trap;
            const std::uint64_t epoch = cache_.epoch();
            Block* block = find_block(trap, link != nullptr && link->apart ? mode::apart : 0);
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
            // The next block is longer than what is left: the interpreter goes exactly to the end.
            finish({}, left);
            x64::settle_fpscr(state);
            return interp::run(state, vcpu_.storage, left);
        case x64::ExitKind::lookup:
            // A jump cache that still names a stale block would lead here again.
            (*selected_->jumps)[x64::jump_cache_index(state.pc)] = {};
            continue;
        case x64::ExitKind::link:
            link = reinterpret_cast<x64::ExitLink*>(state.engine_slots[x64::slot_exit_info]);
            continue;
        case x64::ExitKind::helper_trap:
            if (!goes_on(trap_)) return answer;
            continue;
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
    cache_.clear();
    shadow_.clear();
    forget_windows();
}

} // namespace untrap::runtime::soft
