// SPDX-License-Identifier: GPL-2.0-only
// Finding the block of guest code that is to run, and making it.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <stdexcept>

#include "runtime/known_sites.h"
#include "runtime/soft/jit_engine.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::soft {

using isa::Instruction;
using isa::Trap;
using isa::TrapKind;
using x64::Next;
using x64::Optimisation;
namespace mode = x64::mode;

namespace {

constexpr std::uint32_t page_bytes = 1U << x64::soft_tlb_page_shift;
constexpr std::uint32_t page_mask = ~(page_bytes - 1);
// More than any block needs: 128 instructions of at most some 200 bytes, their slow paths, and the exits.
constexpr std::size_t block_room = 128 * 1024;

std::uint32_t big_endian_word(const std::uint8_t* bytes) {
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

} // namespace

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

Block* JitEngine::find_block(Trap& trap, std::uint32_t further, bool hot) {
    const std::uint32_t pc = vcpu_.state.pc;
    ShadowTlb::FetchEntry* page = fetch_page(pc, trap);
    if (page == nullptr) return nullptr;
    const std::uint32_t bits = selected_->mode | (page->tid == 0 ? mode::global : 0) | further;
    Block* block = cache_.find(pc, page->real + (pc & ~page_mask), bits);
    if (hot && block != nullptr && block->runs_left != nullptr) {
        cache_.replace(*block);
        block = translate(*page, bits, true);
    } else if (block == nullptr) {
        interpret_first_ = 1;
        if (optimises(Optimisation::interpret_first) && first_time(page->real + (pc & ~page_mask), bits)) {
            const std::uint8_t* bytes = vcpu_.memory.find(page->real, page_bytes, false);
            const std::uint32_t offset = pc & ~page_mask;
            if (bytes != nullptr) interpret_first_ = plain_length(bytes + offset, (page_bytes - offset) / 4);
            if (interpret_first_ != 0) return nullptr;
        }
        block = translate(*page, bits, further != 0);
        interpret_first_ = 1;
    }
    if (block != nullptr && further == 0) {
        ShadowTlb::note_jump(*page, pc, selected_->mode);
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

void JitEngine::form(const ShadowTlb::FetchEntry& page, const std::uint8_t* bytes, x64::Optimisations optimisations,
                     const x64::ChooseWay& choose) {
    const std::uint32_t bits = source_.mode;
    const bool handlers = optimises(Optimisation::quick_exits) && vcpu_.patches.handlers_allowed();
    x64::form_block(
        source_, optimisations,
        [&](std::uint32_t at, Instruction& insn, plan::Patch& patch) {
            const std::uint32_t offset = at & ~page_mask;
            insn = isa::decode(big_endian_word(bytes + offset));
            patch = {};
            if ((bits & mode::pr) != 0 || !insn.privileged()) return;
            const plan::Patch* found = vcpu_.patches.find(page.real + offset, insn.word);
            if (found != nullptr && found->level <= 2) patch = *found;
            if (insn.op == isa::Op::tlbwe && handlers) patch.level = x64::in_handler_level;
        },
        choose);
}

std::uint32_t JitEngine::counted_runs(const ShadowTlb::FetchEntry& page, std::uint32_t pc) const {
    if (pc == source_.ea) return plain_runs_;
    const Block* block = cache_.find(pc, page.real + (pc & ~page_mask), source_.mode & ~mode::apart);
    if (block == nullptr) return 0;
    // One that is not counted any more has run more often than that.
    if (block->runs_left == nullptr || *block->runs_left > plain_runs_) return plain_runs_;
    return plain_runs_ - *block->runs_left;
}

namespace {

Next the_other(Next way) { return way == Next::taken ? Next::sequential : Next::taken; }

} // namespace

void JitEngine::form_by_counts(const ShadowTlb::FetchEntry& page, const std::uint8_t* bytes, std::uint64_t content) {
    CodeCache::Choices choices;
    unsigned asked = 0;
    form(page, bytes, optimisations_, [&](std::uint32_t pc, std::uint32_t target, Next by_form) {
        const unsigned number = asked++;
        const std::uint64_t taken = counted_runs(page, target), sequential = counted_runs(page, pc + 4);
        const std::uint64_t usual = by_form == Next::taken ? taken : sequential, other = taken + sequential - usual;
        // Few runs say little, and what is as likely both ways is better left as code is usually written.
        if (number >= CodeCache::Choices::limit || other < plain_runs_ / 16 || other * 4 <= usual * 5) return by_form;
        choices.add(number);
        return the_other(by_form);
    });
    cache_.set_choices(content, choices);
}

void JitEngine::form_as_before(const ShadowTlb::FetchEntry& page, const std::uint8_t* bytes,
                               const CodeCache::Choices& choices) {
    unsigned asked = 0;
    form(page, bytes, optimisations_, [&](std::uint32_t, std::uint32_t, Next by_form) {
        return choices.has(asked++) ? the_other(by_form) : by_form;
    });
}

namespace {

// Of what is done about a privileged instruction.
std::uint32_t fingerprint(const plan::Patch& patch) {
    if (patch.level == 0) return 0;
    std::array<std::uint32_t, 1 + 2 * plan::Patch::max_steps> words{patch.level};
    std::size_t count = 1;
    for (const plan::Step& step : patch.steps) {
        words[count++] = static_cast<std::uint32_t>(step.kind) << 24 | std::uint32_t{step.gpr} << 16 | step.field;
        words[count++] = step.value;
    }
    return static_cast<std::uint32_t>(XXH3_64bits(words.data(), sizeof(words)));
}

} // namespace

std::uint64_t JitEngine::content_hash(x64::Optimisations optimisations) const {
    std::array<std::uint32_t, 6 + x64::max_tails + 3 * x64::max_block_instructions> items{
        source_.ea, source_.mode, source_.link_first, source_.link_last, source_.loops_to, optimisations.disabled()};
    std::size_t count = 6;
    for (unsigned t = 0; t < source_.tail_count; ++t) items[count++] = source_.tails[t].branch;
    for (unsigned i = 0; i < source_.total; ++i) {
        items[count++] = source_.pc[i];
        items[count++] = source_.code[i].word;
        items[count++] = fingerprint(source_.patches[i]);
    }
    return XXH3_64bits(items.data(), count * sizeof(items[0]));
}

Block* JitEngine::revive(std::uint64_t content, std::uint64_t real) {
    if (!optimises(Optimisation::revive)) return nullptr;
    Block* block = cache_.revive(content, source_.ea, source_.mode, real);
    // Where it was made from first, something else may stand now, and contexts that ran it may lead there still.
    if (block != nullptr) shadow_.forget_jump(source_.ea, block->code);
    return block;
}

Block* JitEngine::emit(x64::BlockEmitter& emitter, std::uint64_t content, std::uint64_t real) {
    const auto [first, last] = std::minmax_element(source_.pc.begin(), source_.pc.begin() + source_.total);
    Block* block = &cache_.allocate();
    block->ea = source_.ea;
    block->mode = source_.mode;
    block->real = real;
    block->first = real - source_.ea + *first;
    block->bytes = *last + 4 - *first;
    block->content = content;
    block->runs_left = source_.runs_left;
    block->first_link = cache_.next_link();
    source_.number = static_cast<unsigned>(cache_.block_count() - 1);
    const x64::EmittedBlock& emitted = emitter.emit(source_, cache_.cursor(), cache_.room(), block->first_link);
    if (emitted.size == 0) throw std::runtime_error("a block of guest code could not be translated");
    block->code = cache_.cursor();
    block->reentry = block->code + emitted.reentry;
    for (unsigned i = 0; i < emitted.link_count; ++i) cache_.add_link(*block, emitted.links[i]);
    if (dump_) dump_->block(source_, emitted, block->code);
    cache_.commit(emitted.size);
    if (source_.mapped) {
        block->path = path_;
        cache_.add_mapped(*block, emitted.mapped);
    }
    cache_.publish(*block);
    return block;
}

// The path with all optimisations, into source_, and its hash.
std::uint64_t JitEngine::form_path(const ShadowTlb::FetchEntry& page, const std::uint8_t* bytes, bool hot) {
    form(page, bytes, optimisations_);
    const std::uint64_t content = content_hash(optimisations_);
    if (!optimises(Optimisation::branch_counts) || !optimises(Optimisation::tiers)) return content;
    if (hot)
        form_by_counts(page, bytes, content);
    else if (const CodeCache::Choices* known = cache_.choices(content))
        form_as_before(page, bytes, *known);
    else
        return content;
    return content_hash(optimisations_);
}

Block* JitEngine::translate(const ShadowTlb::FetchEntry& page, std::uint32_t bits, bool hot) {
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
    source_.runs_left = nullptr;
    const bool first_in_page = !cache_.guarded(real);
    if (cache_.room() < block_room) {
        // Full: all translations go, what is hot comes back.
        replaced_.clear();
        cache_.clear();
        shadow_.clear_jumps();
    }
    // The better translation if there is one already, or if it is worth its time.
    bool plain = !hot && optimises(Optimisation::tiers) && cache_.has_counters();
    std::uint64_t content = 0;
    Block* block = nullptr;
    source_.mapped = false;
    if (!plain || cache_.may_have_path(pc, bits)) {
        content = choose_mapping(form_path(page, bytes, hot));
        block = revive(content, real);
        // Such code is known to run long.
        if (source_.mapped) plain = false;
        if (block == nullptr && plain) x64::cut_path(source_);
    } else {
        form(page, bytes, plain_);
    }
    if (block == nullptr && plain) {
        content = content_hash(plain_);
        block = revive(content, real);
        if (block == nullptr) {
            source_.runs_left = cache_.counter();
            *source_.runs_left = plain_runs_;
            block = emit(*plain_emitter_, content, real);
        }
    }
    if (block == nullptr) block = emit(*emitter_, content, real);
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
    cache_.join(link, target, entry);
}

} // namespace untrap::runtime::soft
