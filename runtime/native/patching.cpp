// SPDX-License-Identifier: GPL-2.0-only
// Patched sites on a 440: words in code copies, and stubs in the arena. Guest memory is never written here.
#include "runtime/native/patching.h"

#include "runtime/byte_order.h"
#include "runtime/debug.h"
#include "runtime/known_sites.h"
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"
#include "translator/ppc/stub.h"

namespace untrap::runtime::native {

using mmu::Access;
using mmu::TlbEntry;
using Use = CodeCopies::Use;
namespace msr = isa::msr;

namespace {

// Where an arena may lie: so far from the 16 MB that its first site is in. Below a kernel first, where Linux has its
// programs' stacks grow down to; 24 MB leave 8 MB of kernel text in reach.
constexpr std::int32_t arena_places[] = {-0x01800000, -0x01000000, 0x01000000, -0x00800000, -0x01400000, 0x00C00000};
constexpr std::uint32_t arena_window = 0x00FFFFFF;

std::uint32_t word_in(const std::uint8_t* at) { return static_cast<std::uint32_t>(load_big_endian(at, 4)); }

} // namespace

// -- patching ------------------------------------------------------------------------------------------------------

bool NativeEngine::start_arena(std::uint32_t site) {
    const std::uint32_t window = site & ~arena_window;
    for (const std::int32_t place : arena_places) {
        const std::uint32_t ea = window + static_cast<std::uint32_t>(place);
        if (!place_is_free(ea, Patching::reserved_shift) ||
            TlbEntry{.word0 = ea | TlbEntry::valid_bit | 0x30}.meets(ppc::guest_page_ea, Patching::own_page_shift, 0))
            continue;
        if (!patching_.copies.set_aside(Patching::arena_bytes)) return false;
        patching_.arena_words = static_cast<std::uint32_t*>(host_.allocate(Patching::arena_shift));
        if (patching_.arena_words == nullptr) {
            patching_.copies.give_back(Patching::arena_bytes);
            return false;
        }
        patching_.arena_real = host_.real_of(patching_.arena_words);
        patching_.arena.start(ea, patching_.arena_words, patching_.restarts.data(), Patching::arena_granules);
        hardware::publish_code(patching_.arena_words, 1U << Patching::arena_shift);
        world_.arena = ea;
        world_.arena_bytes = 1U << Patching::reserved_shift;
        static_assert(Patching::reserved_shift <= mmu::GuestTlb::large_shift); // so it lies in one piece
        vcpu_.tlb.reserve(ea);
        return true;
    }
    return false;
}

// The word that takes the place of the original, 0 if there is none.
std::uint32_t NativeEngine::replacement(const plan::Patch* patch, std::uint32_t original, std::uint32_t ea,
                                        std::uint32_t& stub) {
    stub = 0;
    if (patch != nullptr) {
        switch (ppc::shape_of(*patch)) {
        case ppc::Shape::word: return ppc::patched_word(*patch);
        case ppc::Shape::trap: return 0;
        case ppc::Shape::stub: break;
        }
    }
    if (!one_kernel()) return 0; // levels without stubs
    if (patching_.arena_words == nullptr && !start_arena(ea)) return 0;
    const ppc::StubArena::Made made = patch != nullptr ? patching_.arena.add(*patch, original, ea, {})
                                                       : patching_.arena.add_access(original, window_group_, ea);
    if (made.result == ppc::StubArena::Result::flawed)
        host_.warn("a stub was not what it has to be, the site keeps its trap", ea, original);
    if (made.result != ppc::StubArena::Result::made) return 0;
    stub = made.stub;
    hardware::publish_code(patching_.arena_words + (stub - world_.arena) / 4, made.bytes);
    return made.site_word;
}

std::uint32_t NativeEngine::original_word(const Resolved& at) { return word_in(at.host); }

// A site in the page of pc: what the registry planned for it comes into the copy. That a patch went is no news here:
// memory_written() saw why.
void NativeEngine::change_site(std::uint64_t real) {
    const Resolved at = vcpu_.storage.resolve(vcpu_.state.pc, Access::fetch);
    if (at.status != Resolved::Status::ok || (at.real ^ real) >> CodeCopies::page_shift != 0) return;
    const auto distance = static_cast<std::int32_t>(real - at.real);
    const std::uint32_t original = word_in(at.host + distance);
    const plan::Patch* const patch = vcpu_.patches.find(real, original);
    if (patch == nullptr) return;
    switch (install(real, original, vcpu_.state.pc + static_cast<std::uint32_t>(distance), at, patch)) {
    case Installed::done: break;
    case Installed::never: vcpu_.patches.refuse(real, original); break;
    case Installed::not_now: vcpu_.patches.back_out(real, original); break;
    }
}

NativeEngine::Installed NativeEngine::install(std::uint64_t real, std::uint32_t original, std::uint32_t ea,
                                              const Resolved& at, const plan::Patch* patch) {
    const isa::CpuState& state = vcpu_.state;
    if (patch != nullptr && (patch->level > 2 || ppc::shape_of(*patch) == ppc::Shape::trap)) return Installed::never;
    // Contexts that have no state page, and pages that a copy does not replace.
    if ((state.page.msr & (msr::pr | msr::is | msr::ds)) != 0 || at.little_endian ||
        at.page_shift < CodeCopies::page_shift)
        return Installed::not_now;
    if (debug::stepping(state) || vcpu_.guest_debug.one_by_one() || vcpu_.guest_debug.software_breakpoints)
        return Installed::not_now;
    const Memslot* const slot = vcpu_.memory.slot_of(real);
    if (slot == nullptr || slot->frames == nullptr || patching_.free_site == CodeCopies::no_site)
        return Installed::never;
    if (world_.own_page == Patching::nowhere && !place_is_free(ppc::guest_page_ea, Patching::own_page_shift))
        return Installed::not_now;

    CodeCopies::Block* block = patching_.copies.find(real);
    const bool fresh = block == nullptr;
    if (fresh) {
        const std::uint32_t frame = slot->frames[(real - slot->base) >> Memslot::page_shift];
        const unsigned shift = at.page_shift < (frame & 0xFF) ? at.page_shift : frame & 0xFF;
        // From here on nothing may write what has been copied: mappings go first, and nobody makes one meanwhile.
        block = patching_.copies.make(host_, *slot, real, ea, shift);
        if (block == nullptr) return Installed::never;
        hardware::publish_code(block->copy, block->bytes());
    }
    const bool here = ea - block->ea == static_cast<std::uint32_t>(real - block->real);
    std::uint32_t stub = 0;
    const std::uint32_t word = here ? replacement(patch, original, ea, stub) : 0;
    const std::uint32_t saved = hardware::irq_save();
    if (word == 0) {
        if (fresh) patching_.copies.release(host_, *block);
        hardware::irq_restore(saved);
        return Installed::never;
    }
    if (fresh) {
        drop_real(block->original_real, block->bytes());
        drop_windows();
    }
    const unsigned page = block->page_of(real);
    if (block->use[page] == Use::own)
        copy_again(*block, page, *slot, Use::patched);
    else if (block->use[page] != Use::patched)
        change_use(*block, page, Use::patched);
    const std::uint16_t number = patching_.free_site;
    Patching::Site& site = patching_.sites[number];
    patching_.free_site = site.next;
    // An access is a stub by itself.
    const std::uint8_t level = patch != nullptr ? patch->level : 2;
    site = {real, original, stub, block->first_site[page], level, patch == nullptr};
    if (site.access) ++patching_.accesses;
    block->first_site[page] = number;
    ++patching_.installed;
    store_big_endian(block->word_at(real), 4, word);
    hardware::publish_code(block->word_at(real), 4);
    world_.own_page = ppc::guest_page_ea;
    note_special();
    hardware::irq_restore(saved);
    if ((traces_ & NativeHost::traces_patch) != 0) host_.trace_patch(real, original, level, true);
    return Installed::done;
}

void NativeEngine::release_block(CodeCopies::Block& block) {
    // What lies near it was mapped in smaller pieces than it will be now.
    constexpr std::uint64_t reach = std::uint64_t{1} << 28;
    const std::uint32_t saved = hardware::irq_save();
    drop_real(block.copy_real, block.bytes());
    drop_real(block.original_real & ~(reach - 1), reach);
    drop_handlers_of(block.real, block.bytes()); // nobody sees any more what is stored there
    hardware::irq_restore(saved);
    patching_.copies.release(host_, block);
}

// A patch whose word in the copy is not executed any more.
void NativeEngine::remove_site(Patching::Site& site) {
    if ((traces_ & NativeHost::traces_patch) != 0) host_.trace_patch(site.real, site.original, site.level, false);
    if (site.access)
        --patching_.accesses;
    else
        vcpu_.patches.back_out(site.real, site.original);
    if (site.stub != 0) patching_.arena.remove(site.stub);
    site.next = patching_.free_site;
    patching_.free_site = static_cast<std::uint16_t>(&site - patching_.sites.data());
    --patching_.installed;
    ++patching_.backed_out;
}

// The patch of an access goes, and no other of its page. False: there is none.
bool NativeEngine::back_out_access(std::uint64_t real) {
    CodeCopies::Block* const block = patching_.copies.find(real);
    if (block == nullptr) return false;
    bool found = false;
    const std::uint32_t saved = hardware::irq_save();
    std::uint16_t* from = &block->first_site[block->page_of(real)];
    while (*from != CodeCopies::no_site) {
        Patching::Site& site = patching_.sites[*from];
        if (site.real == real && site.access) {
            *from = site.next;
            store_big_endian(block->word_at(real), 4, site.original);
            hardware::publish_code(block->word_at(real), 4);
            remove_site(site);
            found = true;
            break;
        }
        from = &site.next;
    }
    hardware::irq_restore(saved);
    const unsigned page = block->page_of(real);
    if (found && block->first_site[page] == CodeCopies::no_site) back_out_page(*block, page);
    return found;
}

// The patches of a page go; with the last ones of a block the block.
void NativeEngine::back_out_page(CodeCopies::Block& block, unsigned page) {
    const std::uint32_t saved = hardware::irq_save();
    for (std::uint16_t number = block.first_site[page]; number != CodeCopies::no_site;) {
        Patching::Site& site = patching_.sites[number];
        number = site.next;
        remove_site(site);
    }
    block.first_site[page] = CodeCopies::no_site;
    change_use(block, page, Use::own);
    if (block.patched == 0) release_block(block);
    hardware::invalidate_instruction_cache();
    hardware::irq_restore(saved);
}

void NativeEngine::back_out_all() {
    patching_.copies.for_each([&](CodeCopies::Block& block) {
        for (unsigned page = 0; block.shift != 0 && page < block.pages(); ++page)
            if (block.first_site[page] != CodeCopies::no_site) back_out_page(block, page);
        // One whose only site found no place has none.
        if (block.shift != 0) release_block(block);
    });
    const std::uint32_t saved = hardware::irq_save();
    contexts_.drop_guest_entry(ShadowContexts::own_page);
    contexts_.drop_guest_entry(ShadowContexts::arena);
    close_windows();
    world_.own_page = Patching::nowhere;
    note_special();
    from_stub_ = moved_ = false;
    stopped_ = Stopped::elsewhere;
    vcpu_.tlb.reserve(world_.arena, false);
    vcpu_.tlb.reserve(ppc::guest_page_ea); // it may have been the same piece
    world_.arena = World::no_arena;
    world_.arena_bytes = 0;
    if (patching_.arena_words != nullptr) {
        host_.release(patching_.arena_words, Patching::arena_shift);
        patching_.copies.give_back(Patching::arena_bytes);
        patching_.arena_words = nullptr;
        patching_.arena.start(0, nullptr, patching_.restarts.data(), 0);
        hardware::invalidate_instruction_cache();
    }
    hardware::irq_restore(saved);
}

// Guest memory was written, not through a mapping.
void NativeEngine::memory_written(std::uint64_t real, std::uint64_t length) {
    if (!patching_.copies.any() || length == 0) return;
    code_written(vcpu_, real, length);
    const std::uint64_t last = (real + length - 1) >> CodeCopies::page_shift;
    for (std::uint64_t number = real >> CodeCopies::page_shift; number <= last; ++number) {
        CodeCopies::Block* const block = patching_.copies.find(number << CodeCopies::page_shift);
        if (block == nullptr) continue;
        const unsigned page = block->page_of(number << CodeCopies::page_shift);
        if (block->first_site[page] != CodeCopies::no_site) {
            back_out_page(*block, page);
        } else if (block->use[page] != Use::own) {
            const std::uint32_t saved = hardware::irq_save();
            change_use(*block, page, Use::own);
            hardware::irq_restore(saved);
        }
    }
}

// An access that no mapping can be made for: a patched page that is written, or whose code and data take turns too
// often, loses its patches. True: the access may be tried again.
bool NativeEngine::settle_page(const Resolved& at, Access access) {
    if (!patching_.copies.any() || at.status != Resolved::Status::ok) return false;
    CodeCopies::Block* const block = patching_.copies.find(at.real);
    if (block == nullptr) return false;
    const unsigned page = block->page_of(at.real);
    if (block->first_site[page] == CodeCopies::no_site) return false;
    if (access != Access::store && block->flips[page] < Patching::flips_limit) return false;
    block->flips[page] = 0;
    back_out_page(*block, page);
    count(access == Access::fetch ? ExitReason::itlb_virt : ExitReason::dtlb_virt);
    return true;
}

// -- sites that are left to the quick exits ------------------------------------------------------------------------

// How many instructions the exit of the privileged instruction at pc reaches over; 0: it has to be counted. Those go to
// the run loop, which counts them in the registry: a few exits each, once. What has changed since may reach too far or
// not far enough, which does no harm.
NativeEngine::Settled NativeEngine::span_of(std::uint32_t pc) {
    constexpr Settled alone{.span = 1}, not_settled{.span = 0};
    Settled& known = settled_[pc >> 2 & (settled_count - 1)];
    if (known.pc == pc) return known;
    const isa::StatePage& page = vcpu_.state.page;
    if ((page.msr & (msr::is | msr::ds)) != 0) return alone;
    const Resolved at = vcpu_.storage.resolve(pc, Access::fetch);
    if (at.status != Resolved::Status::ok) return not_settled;
    if (at.little_endian || at.page_shift < CodeCopies::page_shift) return alone;
    if (vcpu_.patches.refused(at.real, world_.word)) {
        known = {pc, 1, false};
        return known;
    }
    const plan::Patch* const patch = vcpu_.patches.find(at.real, world_.word);
    if (patch == nullptr) return vcpu_.patches.note_cold_trap(at.real, world_.word) ? alone : not_settled;
    if (patch->level != 3) return not_settled;
    known = {pc, patch->span, patch->loops};
    return known;
}

} // namespace untrap::runtime::native
