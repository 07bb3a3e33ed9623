// SPDX-License-Identifier: GPL-2.0-only
// Patched sites on a 440: code copies, the stub arena, and what the state page costs at each exit. Guest memory is
// never written here, and nothing is believed that the guest can write.
#include "runtime/native/patching.h"

#include "runtime/byte_order.h"
#include "runtime/debug.h"
#include "runtime/known_sites.h"
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"
#include "translator/ppc/stub.h"

namespace untrap::runtime::native {

using isa::Interrupt;
using mmu::Access;
using mmu::TlbEntry;
using Use = CodeCopies::Use;
namespace msr = isa::msr;

namespace {

// What World::own_page is while the state page is not mapped.
constexpr std::uint32_t nowhere = 1;
constexpr std::uint32_t page_bytes = 1U << CodeCopies::page_shift;
constexpr unsigned own_page_shift = 10;

// Reads of a patched page that are interpreted before it is mapped for them, and how often that may alternate.
constexpr unsigned reads_limit = 8, flips_limit = 64;
// Fetches from an own page after which it is copied again, for the sake of the pages around it; and how often it may
// have become own.
constexpr unsigned fetches_limit = 32, returns_limit = 4;

// Pages that become own together: 64 KB.
constexpr unsigned own_shift = 16;

// Where an arena may lie: so far from the 16 MB that its first site is in. Below a kernel first, where Linux has its
// programs' stacks grow down to; 24 MB leave 8 MB of kernel text in reach.
constexpr std::int32_t arena_places[] = {-0x01800000, -0x01000000, 0x01000000, -0x00800000, -0x01400000, 0x00C00000};
constexpr std::uint32_t arena_window = 0x00FFFFFF;

constexpr std::uint32_t word0_of(std::uint32_t ea, unsigned shift) {
    return ea | TlbEntry::valid_bit | TlbEntry::ts_bit | (shift - 10) / 2 << 4;
}
constexpr std::uint32_t word1_of(std::uint64_t real) {
    return static_cast<std::uint32_t>(real & 0xFFFFFC00) | static_cast<std::uint32_t>(real >> 32);
}

// Whether a guest TLB entry has a place for itself in address space 0 that it shares with 2^shift bytes at ea.
bool meets(const TlbEntry& entry, std::uint32_t ea, unsigned shift) {
    if (!entry.valid() || entry.page_shift() == 0 || entry.ts() != 0) return false;
    const std::uint32_t mask = entry.page_mask() & (0 - (1U << shift));
    return ((entry.word0 ^ ea) & mask & 0xFFFFFC00) == 0;
}

std::uint32_t word_in(const std::uint8_t* at) { return static_cast<std::uint32_t>(load_big_endian(at, 4)); }

} // namespace

// -- the state page -------------------------------------------------------------------------------------------------

// The guest was left and may have written the state page: what this class and the run loop rely on is made true again.
// False: its MSR is one that no guest code runs with.
bool NativeEngine::accept_state_page() {
    isa::CpuState& state = vcpu_.state;
    isa::StatePage& page = state.page;
    // Most exits find what the last one has found good.
    if (page.msr == accepted_.msr && page.pid == accepted_.pid && world_.shadow_pid == accepted_.shadow_pid &&
        world_.process_pid == accepted_.process_pid) {
        state.live_pid = world_.process_pid;
        return true;
    }
    page.msr &= msr::defined;
    page.pid &= 0xFF;
    const bool space = (page.msr & msr::is) != 0, problem = (page.msr & msr::pr) != 0;
    const std::uint16_t running = contexts_.key_of(world_.shadow_pid);
    const std::uint16_t own = ShadowContexts::key(page.pid, space, problem);
    const bool shared = one_kernel() && !space && !problem && running == ShadowContexts::key(0, false, false);
    state.live_pid = world_.process_pid;
    const bool other_process = world_.process_pid != isa::CpuState::no_pid && world_.process_pid != page.pid;
    if ((running != own && !shared) || other_process) {
        select_context();
        update_run_msr();
        moved_ = true;
        return (page.msr & msr::we) == 0 && space == ((page.msr & msr::ds) != 0);
    }
    if ((page.msr & msr::we) != 0 || space != ((page.msr & msr::ds) != 0)) return false;
    accepted_ = {page.msr, page.pid, world_.shadow_pid, world_.process_pid};
    return true;
}

// Registers that the run loop and userspace see.
void NativeEngine::read_state_page_back() {
    isa::StatePage& page = vcpu_.state.page;
    ppc::read_back(page, page);
    page.mcsrr0 &= ~3U;
}

// The guest's CPU stands in an arena: its registers become the guest's own.
void NativeEngine::leave_stub(unsigned& vector) {
    isa::CpuState& state = vcpu_.state;
    if (!runs_kernel()) return; // a guest's own code at that address
    unsigned index = 0;
    const ppc::Restart* const restart = patching_.arena.find(state.pc, index);
    if (restart == nullptr) {
        // It went there of its own will: there is nothing at this address.
        if (static_cast<Interrupt>(vector) == Interrupt::program)
            vector = static_cast<unsigned>(Interrupt::instruction_tlb_error);
        world_.vector = vector;
        return;
    }
    const ppc::GuestView view = ppc::view(*restart, index, state.page);
    const std::uint32_t left_at = state.pc;
    state.pc = view.pc;
    for (unsigned number = 0; number < view.count; ++number)
        state.gpr[view.gprs[number].number & 31] = view.gprs[number].value;
    world_.cr = (world_.cr & ~view.cr_mask) | view.cr_value;
    from_stub_ = true;
    stopped_ = Stopped::elsewhere;
    ++patching_.stub_exits;
    if (restart->is_access() && index == restart->commit)
        leave_access(*restart, patching_.arena.original(*restart, left_at, index), vector);
}

// A stub could not be fetched; the guest stands before its site again.
bool NativeEngine::stub_miss() {
    if (!runs_kernel()) return false;
    map_own(ShadowContexts::arena);
    count(ExitReason::itlb_virt);
    return true;
}

// A mapping of the state page or the arena for the context that runs, a kernel's.
void NativeEngine::map_own(unsigned which) {
    ShadowTlb::Mapping mapping;
    if (which == ShadowContexts::own_page) {
        mapping.word0 = word0_of(ppc::guest_page_ea, own_page_shift);
        mapping.word1 = word1_of(host_.real_of(&vcpu_.state.page));
        mapping.word2 = TlbEntry::ur | TlbEntry::uw;
    } else {
        mapping.word0 = word0_of(world_.arena, Patching::arena_shift);
        mapping.word1 = word1_of(patching_.arena_real);
        mapping.word2 = TlbEntry::ux | TlbEntry::sr;
    }
    mapping.pid = static_cast<std::uint8_t>(world_.shadow_pid);
    mapping.guest_index = static_cast<std::uint8_t>(which);
    contexts_.insert(mapping, world_.executed_slot);
}

bool NativeEngine::is_own_page(std::uint32_t ea) const {
    return (ea & ~((1U << own_page_shift) - 1)) == world_.own_page && runs_kernel();
}

// Whether a guest TLB entry takes a place of ours.
bool NativeEngine::takes_our_place(const TlbEntry& entry) const {
    return (world_.own_page != nowhere && meets(entry, ppc::guest_page_ea, own_page_shift)) ||
           (world_.arena_bytes != 0 && meets(entry, world_.arena, Patching::reserved_shift));
}

bool NativeEngine::place_is_free(std::uint32_t ea, unsigned shift) const {
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index)
        if (meets(vcpu_.tlb.entry(index), ea, shift)) return false;
    return true;
}

// -- what a page is mapped by --------------------------------------------------------------------------------------

// What maps a page goes, and all that is in the way of mapping it together with those around it. What is around that
// piece is mapped as before.
void NativeEngine::drop_piece(const CodeCopies::Block& block, unsigned page) {
    const unsigned shift = CodeCopies::piece_of(block, page);
    const std::uint32_t bytes = 1U << shift, offset = (page << CodeCopies::page_shift) & (0U - bytes);
    contexts_.drop_real(block.copy_real + offset, bytes);
    contexts_.drop_real(block.original_real + offset, bytes);
}

void NativeEngine::change_use(CodeCopies::Block& block, unsigned page, Use use) {
    const Use before = block.use[page];
    patching_.copies.set_use(block, page, use);
    if (CodeCopies::same_mapping(before, use)) return;
    drop_piece(block, page);
    if ((use == Use::own) != (before == Use::own))
        handler_page_changed(block.real + (std::uint64_t{page} << CodeCopies::page_shift));
}

// A copied page is used as data: it is the guest's own memory from now on, and so are those around it, since data lies
// together and would be mapped page by page otherwise.
void NativeEngine::make_own(CodeCopies::Block& block, unsigned page) {
    unsigned shift = own_shift < block.shift ? own_shift : block.shift, first = 0, end = 0;
    const auto unpatched = [&] {
        const unsigned count = 1U << (shift - CodeCopies::page_shift);
        first = page & ~(count - 1);
        end = first + count;
        for (unsigned other = first; other < end; ++other)
            if (block.use[other] != Use::copied && block.use[other] != Use::own) return false;
        return true;
    };
    while (!unpatched()) shift -= 2;
    for (unsigned other = first; other < end; ++other) {
        if (block.use[other] == Use::own) continue;
        patching_.copies.set_use(block, other, Use::own);
        if (block.flips[other] < returns_limit) ++block.flips[other];
        block.reads[other] = 0;
        handler_page_changed(block.real + (std::uint64_t{other} << CodeCopies::page_shift));
    }
    drop_piece(block, page);
}

// An own page is executed from its copy again. Interrupts are off.
void NativeEngine::copy_again(CodeCopies::Block& block, unsigned page, const Memslot& slot, Use use) {
    change_use(block, page, use); // nothing stores to it any more
    patching_.copies.refresh(slot, block, page);
    hardware::publish_code(block.copy + std::size_t{page} * page_bytes, page_bytes);
}

// Which memory an access to real, which guest TLB entry `entry` translates ea to, is to be done in. False: neither, it
// has to be interpreted.
bool NativeEngine::choose_memory(std::uint32_t ea, const TlbEntry& entry, std::uint64_t real, Access access,
                                 unsigned& shift, View& view) {
    CodeCopies& copies = patching_.copies;
    CodeCopies::Block* const block = copies.find(real);
    if (block == nullptr) {
        shift = copies.apart(real, shift);
        return true;
    }
    const unsigned page = block->page_of(real);
    const bool kernel = (vcpu_.state.page.msr & (msr::pr | msr::is)) == 0;
    const bool here =
        kernel && !entry.little_endian() && ea - block->ea == static_cast<std::uint32_t>(real - block->real);
    const bool fetch = access == Access::fetch;
    Use use = block->use[page];
    if (use == Use::copied && !(here && fetch)) {
        make_own(*block, page);
        use = Use::own;
    } else if (use == Use::own && here && fetch && block->flips[page] < returns_limit &&
               ++block->reads[page] >= fetches_limit) {
        copy_again(*block, page, *vcpu_.memory.slot_of(real), Use::copied);
        use = Use::copied;
        block->reads[page] = 0;
    }
    if ((use == Use::patched || use == Use::mirrored) && access == Access::store) return false;
    if (use == Use::mirrored && here && fetch) {
        if (++block->flips[page] >= flips_limit) return false;
        block->reads[page] = 0;
        change_use(*block, page, Use::patched);
        use = Use::patched;
    }
    if (use == Use::patched && here && !fetch) {
        if (++block->reads[page] < reads_limit) return false;
        change_use(*block, page, Use::mirrored);
        use = Use::mirrored;
    }
    shift = copies.alike(*block, real, shift);
    if (use == Use::own) return true;
    if (here && fetch) {
        view.copied = true;
        view.frame = (block->copy_real >> CodeCopies::page_shift) + page;
        view.allowed = TlbEntry::ux;
        return true;
    }
    // The guest's own memory, by itself: whoever else uses it executes it as it is.
    if (shift > CodeCopies::page_shift) shift = CodeCopies::page_shift;
    view.allowed = use == Use::mirrored && here ? TlbEntry::ur : TlbEntry::ur | TlbEntry::ux;
    return true;
}

// A data access to a page that is mapped for execution alone, or a fetch from one that is not.
bool NativeEngine::wrong_view(std::uint32_t ea, Access access) {
    const isa::StatePage& page = vcpu_.state.page;
    const int index = search_guest_tlb(ea, access);
    if (index < 0) return false;
    const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(index));
    if (!mmu::GuestTlb::permits(entry, (page.msr & msr::pr) != 0, access)) return false;
    const std::uint64_t real = entry.translate(ea);
    CodeCopies::Block* const block = patching_.copies.find(real);
    if (block == nullptr) return false;
    const Use use = block->use[block->page_of(real)];
    if (use == Use::own) {
        // The entry is older than that, or the access is none that the guest may make.
        return false;
    }
    // What is in the way went with the page's change of state.
    if (!map(ea, static_cast<unsigned>(index), access)) return false;
    count(access == Access::fetch ? ExitReason::itlb_virt : ExitReason::dtlb_virt);
    return true;
}

// -- patching ------------------------------------------------------------------------------------------------------

bool NativeEngine::start_arena(std::uint32_t site) {
    const std::uint32_t window = site & ~arena_window;
    for (const std::int32_t place : arena_places) {
        const std::uint32_t ea = window + static_cast<std::uint32_t>(place);
        if (!place_is_free(ea, Patching::reserved_shift) ||
            meets({.word0 = ea | TlbEntry::valid_bit | 0x30}, ppc::guest_page_ea, own_page_shift))
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
    if (world_.own_page == nowhere && !place_is_free(ppc::guest_page_ea, own_page_shift)) return Installed::not_now;

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
        contexts_.drop_real(block->original_real, block->bytes());
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
    hardware::irq_restore(saved);
    if ((traces_ & NativeHost::traces_patch) != 0) host_.trace_patch(real, original, level, true);
    return Installed::done;
}

void NativeEngine::release_block(CodeCopies::Block& block) {
    // What lies near it was mapped in smaller pieces than it will be now.
    constexpr std::uint64_t reach = std::uint64_t{1} << 28;
    const std::uint32_t saved = hardware::irq_save();
    contexts_.drop_real(block.copy_real, block.bytes());
    contexts_.drop_real(block.original_real & ~(reach - 1), reach);
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
    world_.own_page = nowhere;
    from_stub_ = moved_ = false;
    stopped_ = Stopped::elsewhere;
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
    if (access != Access::store && block->flips[page] < flips_limit) return false;
    block->flips[page] = 0;
    back_out_page(*block, page);
    count(access == Access::fetch ? ExitReason::itlb_virt : ExitReason::dtlb_virt);
    return true;
}

// -- sites that are left to the quick exits ------------------------------------------------------------------------

// How many instructions the exit of the privileged instruction at pc reaches over; 0: it has to be counted. Those go to
// the run loop, which counts them in the registry: a few exits each, once. What has changed since may reach too far or
// not far enough, which does no harm.
unsigned NativeEngine::span_of(std::uint32_t pc) {
    Settled& known = settled_[pc >> 2 & (settled_count - 1)];
    if (known.pc == pc) return known.span;
    const isa::StatePage& page = vcpu_.state.page;
    if ((page.msr & (msr::is | msr::ds)) != 0) return 1;
    const Resolved at = vcpu_.storage.resolve(pc, Access::fetch);
    if (at.status != Resolved::Status::ok) return 0;
    if (at.little_endian || at.page_shift < CodeCopies::page_shift) return 1;
    if (vcpu_.patches.refused(at.real, world_.word)) {
        known = {pc, 1};
        return 1;
    }
    const plan::Patch* const patch = vcpu_.patches.find(at.real, world_.word);
    if (patch == nullptr) return vcpu_.patches.note_cold_trap(at.real, world_.word) ? 1 : 0;
    if (patch->level != 3) return 0;
    known = {pc, patch->span};
    return patch->span;
}

} // namespace untrap::runtime::native
