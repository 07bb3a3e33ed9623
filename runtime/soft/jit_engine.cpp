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

// How many bytes each plain load or store accesses; 0 for all other instructions.
const std::array<std::uint8_t, isa::op_count + 1>& plain_access_bytes() {
    static const std::array<std::uint8_t, isa::op_count + 1> table = [] {
        std::array<std::uint8_t, isa::op_count + 1> bytes{};
        for (std::size_t op = 0; op < isa::op_count; ++op) {
            const isa::InstructionInfo& info = isa::instruction_table[op];
            const bool store = (info.flags & isa::flag::store) != 0, load = (info.flags & isa::flag::load) != 0;
            const auto which = static_cast<isa::Op>(op);
            if ((!store && !load) || (info.flags & (isa::flag::multiple | isa::flag::cache)) != 0 ||
                which == isa::Op::lwarx || which == isa::Op::stwcx_rc)
                continue;
            // The letters of the mnemonic tell: lbz, sthbrx, lfs, stfd, stfiwx.
            const char* width = info.mnemonic + (store ? 2 : 1);
            if ((info.flags & isa::flag::fp) != 0) ++width;
            bytes[op] = *width == 'b' ? 1 : *width == 'h' ? 2 : *width == 'd' ? 8 : 4;
        }
        return bytes;
    }();
    return table;
}

std::uint32_t big_endian_word(const std::uint8_t* bytes) {
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

} // namespace

JitEngine::JitEngine(Vcpu& vcpu, std::size_t cache_bytes, x64::Optimisations optimisations)
    : vcpu_(vcpu), optimisations_(optimisations), cache_(cache_bytes), access_bytes_(plain_access_bytes()) {
    const x64::Helpers helpers{&JitEngine::interpret, &JitEngine::access, &JitEngine::switch_context};
    const x64::FpHost fp_host = x64::FpHost::detect(optimisations);
    const std::size_t used = x64::emit_thunks(helpers, fp_host, cache_.cursor(), cache_.room(), enter_, thunks_);
    if (used == 0) throw std::runtime_error("generated code could not be set up");
    cache_.commit(used);
    cache_.keep();
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
    isa::CpuState& state = vcpu_.state;
    const std::uint32_t msr = state.page.msr;
    const std::uint32_t process = (state.page.pid & 0xFF) | ((msr & isa::msr::pr) != 0 ? 0x100U : 0);
    const std::uint32_t data_key = process | ((msr & isa::msr::ds) != 0 ? 0x200U : 0);
    if (data_key != data_key_) {
        data_ = &shadow_.data_context(data_key);
        data_key_ = data_key;
        state.engine_slots[x64::slot_soft_tlb] = reinterpret_cast<std::uintptr_t>(data_->entries.data());
    }
    const std::uint32_t instruction_key = process | ((msr & isa::msr::is) != 0 ? 0x200U : 0);
    const std::uint32_t bits = current_mode();
    if (instruction_key != instruction_key_) {
        instructions_ = &shadow_.instruction_context(instruction_key);
        instruction_key_ = instruction_key;
    } else if (bits == mode_) {
        return;
    }
    mode_ = bits;
    jumps_ = &ShadowTlb::jump_cache(*instructions_, bits);
    state.engine_slots[x64::slot_jump_cache] = reinterpret_cast<std::uintptr_t>(jumps_->data());
}

void JitEngine::switch_context(void* engine) { static_cast<JitEngine*>(engine)->select_context(); }

// -- helpers of generated code ---------------------------------------------------------------------------------------

Instruction JitEngine::decode(std::uint32_t word) {
    Instruction& known = decoded_[(word * 0x9E3779B1U) >> 24];
    if (known.word != word) known = isa::decode(word);
    return known;
}

bool JitEngine::execute(std::uint32_t word, std::uint32_t left) {
    isa::CpuState& state = vcpu_.state;
    const auto budget = state.engine_slots[x64::slot_budget];
    // The timebase may be read: the count is made exact. Generated code keeps it in the budget.
    state.retired = state.engine_slots[x64::slot_target] - (budget + left);
    const Instruction insn = decode(word);
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
    const Instruction insn = self.decode(word);
    const bool store = insn.has(isa::flag::store);
    const Filled filled = self.fill(ea, store, true);
    if (filled == Filled::miss && self.report_miss(insn, left, ea)) return false;
    if (self.execute(word, left)) return true;
    if (self.trap_.kind == TrapKind::data_miss) self.missed_ = {self.data_key_, self.trap_.ea, store, true, false};
    return false;
}

bool JitEngine::report_miss(Instruction insn, std::uint32_t left, std::uint32_t ea) {
    const unsigned bytes = access_bytes_[static_cast<std::size_t>(insn.op)];
    if (bytes == 0 || (ea & ~page_mask) + bytes > page_bytes) return false;
    isa::CpuState& state = vcpu_.state;
    state.engine_slots[x64::slot_budget] += left;
    trap_ = {.kind = TrapKind::data_miss,
             .is_store = insn.has(isa::flag::store),
             .size = static_cast<std::uint8_t>(bytes),
             .word = insn.word,
             .ea = ea};
    missed_ = {data_key_, ea, trap_.is_store, true, false};
    return true;
}

JitEngine::Filled JitEngine::fill(std::uint32_t ea, bool store, bool counted) {
    const x64::SoftTlbEntry& present = data_->entries[x64::soft_tlb_index(ea)];
    const std::uint32_t page = ea & page_mask;
    if ((store ? present.write_tag : present.read_tag) == page) return Filled::no; // misaligned, or not the TLB's fault
    if (optimises(Optimisation::tlb_victims) && ShadowTlb::recall(*data_, ea, store)) return Filled::yes;
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
    shadow_.fill_data(*data_, ea, host_page, store, where.tlb_index);
    return Filled::yes;
}

// Guest code stopped for a walk of the guest TLB: an exit, unless it is within one.
void JitEngine::count_refill(ExitReason reason) {
    ++refills_;
    if (!vcpu_.in_handler()) vcpu_.count_exit(reason);
}

void JitEngine::insert_after_miss() {
    if (!optimises(Optimisation::tlb_answer)) return;
    if (!missed_.pending || !missed_.answered || missed_.context != data_key_) return;
    missed_.pending = false;
    fill(missed_.ea, missed_.store, false);
}

// -- finding and making blocks ---------------------------------------------------------------------------------------

ShadowTlb::FetchEntry* JitEngine::fetch_page(std::uint32_t pc, Trap& trap) {
    if (ShadowTlb::FetchEntry* known = ShadowTlb::find_fetch(*instructions_, pc)) return known;
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
    ShadowTlb::FetchEntry filled;
    filled.tag = pc & page_mask;
    filled.tlb_index = where.tlb_index;
    filled.tid = entry.tid;
    filled.first = entry.epn();
    filled.last = entry.epn() | ~entry.page_mask();
    filled.real = where.real & ~std::uint64_t{page_bytes - 1};
    return &shadow_.fill_fetch(*instructions_, filled);
}

Block* JitEngine::find_block(Trap& trap) {
    const std::uint32_t pc = vcpu_.state.pc;
    ShadowTlb::FetchEntry* page = fetch_page(pc, trap);
    if (page == nullptr) return nullptr;
    const std::uint32_t bits = current_mode() | (page->tid == 0 ? mode::global : 0);
    Block* block = cache_.find(pc, page->real + (pc & ~page_mask), bits);
    if (block == nullptr) block = translate(*page, bits);
    if (block != nullptr) {
        ShadowTlb::note_jump(*page, pc);
        x64::JumpCacheEntry& jump = (*jumps_)[x64::jump_cache_index(pc)];
        jump.ea = pc;
        jump.code = block->code;
    }
    return block;
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
    x64::form_block(source_, optimisations_, [&](std::uint32_t at, Instruction& insn, plan::Patch& patch) {
        const std::uint32_t offset = at & ~page_mask;
        insn = isa::decode(big_endian_word(bytes + offset));
        patch = {};
        if ((bits & mode::pr) != 0 || !insn.privileged()) return;
        const plan::Patch* found = vcpu_.patches.find(page.real + offset, insn.word);
        if (found != nullptr && found->level <= 2) patch = *found;
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
        cache_.commit(emitted.size);
        cache_.publish(*block);
    }
    if (first_in_page) shadow_.write_protect(bytes);
    return block;
}

void JitEngine::make_link(x64::ExitLink& link, Block& target) {
    const Block& owner = *static_cast<Block*>(link.owner);
    if (!optimises(Optimisation::link) || !owner.live || link.target != nullptr) return;
    std::uint8_t entry = x64::ExitLink::no_entry;
    if (((link.target_ea ^ owner.ea) & page_mask) != 0) {
        // Two pages: good as long as one guest TLB entry maps both.
        const ShadowTlb::FetchEntry* page = ShadowTlb::find_fetch(*instructions_, link.target_ea);
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

Trap JitEngine::run(Vcpu& vcpu, std::uint64_t budget) {
    const Trap trap = run_blocks(vcpu, budget);
    x64::settle_fpscr(vcpu.state);
    return trap;
}

Trap JitEngine::run_blocks(Vcpu& vcpu, std::uint64_t budget) {
    isa::CpuState& state = vcpu.state;
    std::uint64_t left = budget;
    state.engine_slots[x64::slot_target] = state.retired + budget;
    x64::ExitLink* link = nullptr;
    in_guest_ = false;
    for (;;) {
        if (left == 0) return finish({.kind = TrapKind::budget}, 0);
        select_context();
        if (!in_guest_) insert_after_miss();
        const void* code = nullptr;
        const x64::JumpCacheEntry& known = (*jumps_)[x64::jump_cache_index(state.pc)];
        if (link == nullptr && known.ea == state.pc) {
            code = known.code;
        } else {
            Trap trap;
            const std::uint64_t epoch = cache_.epoch();
            Block* block = find_block(trap);
            // Making room for the target may have cleared the cache, and the link with it.
            if (block != nullptr && link != nullptr && epoch == cache_.epoch()) make_link(*link, *block);
            link = nullptr;
            if (block == nullptr) {
                if (trap.kind != TrapKind::none) return finish(trap, left);
                // Code that is not translated: one instruction at a time.
                finish({}, left);
                x64::settle_fpscr(state);
                trap = interp::run(state, vcpu.storage, 1);
                if (trap.kind != TrapKind::budget) return trap;
                --left;
                continue;
            }
            code = block->code;
        }
        in_guest_ = true;
        const auto kind = static_cast<x64::ExitKind>(enter_(&state, static_cast<std::int64_t>(left), code));
        left = state.engine_slots[x64::slot_budget];
        Trap trap;
        trap.word = static_cast<std::uint32_t>(state.engine_slots[x64::slot_exit_info]);
        switch (kind) {
        case x64::ExitKind::budget: {
            // The next block is longer than what is left: the interpreter goes exactly to the end.
            finish({}, left);
            x64::settle_fpscr(state);
            trap = interp::run(state, vcpu.storage, left);
            return trap;
        }
        case x64::ExitKind::lookup:
            // A jump cache that still names a stale block would lead here again.
            (*jumps_)[x64::jump_cache_index(state.pc)] = {};
            continue;
        case x64::ExitKind::link:
            link = reinterpret_cast<x64::ExitLink*>(state.engine_slots[x64::slot_exit_info]);
            continue;
        case x64::ExitKind::helper_trap: return finish(trap_, left);
        case x64::ExitKind::privileged: trap.kind = TrapKind::privileged; break;
        case x64::ExitKind::system_call: trap.kind = TrapKind::system_call; break;
        case x64::ExitKind::illegal: trap.kind = TrapKind::illegal; break;
        case x64::ExitKind::fp_unavailable: trap.kind = TrapKind::fp_unavailable; break;
        case x64::ExitKind::trap_condition: trap.kind = TrapKind::trap_condition; break;
        }
        return finish(trap, left);
    }
}

// -- changes
// -------------------------------------------------------------------------------------------------------------

void JitEngine::tlb_entry_changed(unsigned index, const mmu::TlbEntry& before) {
    missed_.answered = true;
    if (!before.valid()) return;
    shadow_.drop(index, before);
    cache_.unlink_entry(index);
}

void JitEngine::memory_written(std::uint64_t real, std::uint64_t length) {
    cache_.written(real, length);
    code_written(vcpu_, real, length);
}

void JitEngine::site_changed(std::uint64_t real) { cache_.invalidate_site(real); }

void JitEngine::dirty_log_taken() { shadow_.write_protect_all(); }

void JitEngine::flush() {
    cache_.clear();
    shadow_.clear();
}

} // namespace untrap::runtime::soft
