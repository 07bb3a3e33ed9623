// SPDX-License-Identifier: GPL-2.0-only
// Level 4: the guest's TLB-miss handlers as code that the world switch runs. What they are made from and what the
// tables of memory say is dropped as soon as it might not hold any more.
#include "runtime/native/miss_handlers.h"

#include "runtime/byte_order.h"
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"

namespace untrap::runtime::native {

using mmu::Access;
using mmu::TlbEntry;
using Use = CodeCopies::Use;

namespace {

constexpr std::uint32_t none = MissHandlers::none;
constexpr unsigned level = 4;
// Misses before a handler is compiled, and before it is tried again, as multiples of the threshold for sites; each
// failure doubles the latter.
constexpr std::uint64_t threshold_factor = 4;
constexpr unsigned most_doublings = 12;

std::uint32_t address_of(const void* object) {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(object));
}

} // namespace

ppc::HandlerPlace NativeEngine::handler_place(unsigned which) const {
    const auto base = reinterpret_cast<std::uintptr_t>(&world_);
    const auto at = [&](const void* object) {
        return static_cast<std::int16_t>(reinterpret_cast<std::uintptr_t>(object) - base);
    };
    ppc::HandlerPlace place;
    place.leave = world_.handler_leave;
    place.finish = world_.handler_finish;
    place.commit = world_.handler_commit[which];
    place.flags = which == 0 ? 0 : ppc::handler_exit::fetch;
    place.end = world_.handler_end;
    place.windows = address_of(&handlers_.windows);
    place.gpr = at(vcpu_.state.gpr.data());
    place.lr = at(&vcpu_.state.lr);
    place.cr = at(&world_.cr);
    place.page = at(&vcpu_.state.page);
    place.tlb = at(&world_.handler_tlb);
    place.missed = at(&world_.handler_window);
    place.fixed = at(world_.handler_fixed[which]);
    place.memos = at(world_.handler_memos[which]);
    place.reads = at(&world_.walk_reads);
    if (which == 0) {
        place.record = world_.handler_record;
        place.recall = world_.handler_recall;
        place.walks = address_of(handlers_.walks.data());
    }
    return place;
}

// Called with interrupts on, before guest code runs: handlers that are hot and have no code get it.
void NativeEngine::consider_handlers() {
    if ((vcpu_.patches.levels() >> level & 1) == 0 || world_.quick == 0 || vcpu_.tlb.had_tiny()) {
        if (handlers_in_use()) drop_handlers();
        return;
    }
    if (world_.handler_code[0] != 0) consider_sites();
    for (unsigned which = 0; which < MissHandlers::count; ++which) {
        MissHandlers::Program& program = handlers_.programs[which];
        const std::uint32_t entry =
            vcpu_.state.ivpr | vcpu_.state.ivor[static_cast<unsigned>(MissHandlers::interrupt(which))];
        if (program.entry == entry) {
            if (world_.handler_code[which] == 0) start_handler(which);
            continue;
        }
        drop_handler(which);
        const auto reason = which == 0 ? ExitReason::dtlb_real : ExitReason::itlb_real;
        const std::uint64_t misses =
            vcpu_.exits.by_reason[static_cast<unsigned>(reason)] + uncounted(static_cast<unsigned>(reason));
        const std::uint64_t hot = threshold_factor * vcpu_.patches.threshold();
        if (misses < hot || misses < program.not_before) continue;
        if (compile_handler(which, entry)) continue;
        program.not_before = misses + (hot << (program.tries < most_doublings ? program.tries : most_doublings));
        ++program.tries;
    }
}

// Sees to it that a page that the guest's kernel executes at ea is executed from a copy, so that nothing changes it
// unseen. Interrupts on.
void NativeEngine::guard_code(std::uint32_t ea) {
    const int found = vcpu_.tlb.search(ea, 0, vcpu_.state.page.pid & 0xFF);
    if (found < 0) return;
    const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(found));
    if (entry.tid != 0 || entry.little_endian() || entry.page_shift() < CodeCopies::page_shift) return;
    const std::uint64_t real = entry.translate(ea);
    const Memslot* const slot = vcpu_.memory.slot_of(real);
    if (slot == nullptr || slot->frames == nullptr) return;
    CodeCopies::Block* block = patching_.copies.find(real);
    if (block == nullptr) {
        const unsigned contiguous = slot->frames[(real - slot->base) >> Memslot::page_shift] & 0xFF;
        const unsigned shift = entry.page_shift() < contiguous ? entry.page_shift() : contiguous;
        block = patching_.copies.make(host_, *slot, real, ea, shift);
        if (block == nullptr) return;
        hardware::publish_code(block->copy, block->bytes());
        const std::uint32_t saved = hardware::irq_save();
        drop_real(block->original_real, block->bytes());
        drop_windows();
        hardware::irq_restore(saved);
    } else if (const unsigned page = block->page_of(real); block->use[page] == Use::own) {
        const std::uint32_t saved = hardware::irq_save();
        copy_again(*block, page, *slot, Use::copied);
        hardware::irq_restore(saved);
    }
}

// Words of the guest's handler, at most as many, that nothing can change unseen: in pages that are executed from a
// copy. 0 if it has none, or if the entry that maps it may come and go.
unsigned NativeEngine::read_handler(std::uint32_t entry, unsigned most, unsigned& index, std::uint64_t& real) {
    const int found = vcpu_.tlb.search(entry, 0, vcpu_.state.page.pid & 0xFF);
    if (found < 0) return 0;
    index = static_cast<unsigned>(found);
    const TlbEntry& mapping = vcpu_.tlb.entry(index);
    if (mapping.tid != 0 || mapping.little_endian() || mapping.page_shift() < CodeCopies::page_shift ||
        !mmu::GuestTlb::permits(mapping, false, Access::fetch))
        return 0;
    real = mapping.translate(entry);
    constexpr std::uint32_t page_bytes = 1U << CodeCopies::page_shift;
    unsigned count = 0;
    for (std::uint64_t at = real; count < most;) {
        const auto offset = static_cast<std::uint32_t>(at) & (page_bytes - 1);
        CodeCopies::Block* const block = patching_.copies.find(at);
        if (block == nullptr || block->use[block->page_of(at)] == Use::own) break;
        const std::uint8_t* const page = vcpu_.memory.find(at - offset, page_bytes, false);
        if (page == nullptr) break;
        for (std::uint32_t byte = offset; byte < page_bytes && count < most; byte += 4)
            handlers_.guest_code[count++] = static_cast<std::uint32_t>(load_big_endian(page + byte, 4));
        at += page_bytes - offset;
        if ((static_cast<std::uint32_t>(at) & ~mapping.page_mask()) == 0) break; // the end of what the entry maps
    }
    return count;
}

bool NativeEngine::compile_handler(unsigned which, std::uint32_t entry) {
    MissHandlers::Program& program = handlers_.programs[which];
    guard_code(entry);
    if (const std::uint32_t last = entry + 4 * ppc::handler_window - 4; ((last ^ entry) >> CodeCopies::page_shift) != 0)
        guard_code(last);
    const std::uint32_t saved = hardware::irq_save();
    unsigned index = 0;
    const unsigned count = read_handler(entry, ppc::handler_window, index, program.real);
    ppc::HandlerPlace place = handler_place(which);
    place.code = which == 0 ? hardware::data_handler_place(program.words.data()) : address_of(program.words.data());
    ppc::CompiledHandler result;
    bool good = count != 0 && ppc::compile_handler(handlers_.guest_code.data(), count, entry, place, handlers_.work,
                                                   program.words.data(), result);
    good = good && !result.other_context;
    ppc::HandlerFlaw flaw = good ? ppc::verify_handler(program.words.data(), result, place) : ppc::HandlerFlaw::none;
    if (good && flaw == ppc::HandlerFlaw::none) {
        for (ppc::Window& window : world_.handler_memos[which]) window = {}; // the other code's
        if (which == 0) start_walks(result);
        hardware::publish_code(program.words.data(), 4 * result.length);
        program.bytes = 4 * result.reach;
        program.entry = entry;
        note_special();
        program.length = result.length;
        program.declined = result.declined;
        program.fixed = result.fixed;
        for (unsigned number = 0; number < result.fixed; ++number) program.addresses[number] = result.addresses[number];
        contexts_.watch(index);
        ++handlers_.compiled;
        start_handler(which);
    }
    hardware::irq_restore(saved);
    if (flaw != ppc::HandlerFlaw::none) host_.warn(ppc::name(flaw), entry, 0);
    return good && flaw == ppc::HandlerFlaw::none;
}

// What the world switch keeps of a handler's way: which fields of the state page; for what there is not, a word that
// stays 0.
void NativeEngine::start_walks(const ppc::CompiledHandler& compiled) {
    const auto base = reinterpret_cast<std::uintptr_t>(&world_);
    const auto from_world = [&](const void* field) {
        return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(field) - base);
    };
    const auto* const page = reinterpret_cast<const std::uint8_t*>(&vcpu_.state.page);
    for (unsigned number = 0; number < ppc::walk_inputs; ++number)
        world_.walk_fields[number] =
            number < compiled.inputs ? from_world(page + compiled.input_fields[number]) : from_world(&world_.nothing);
    for (unsigned number = 0; number < ppc::walk_loads; ++number)
        world_.walk_reads.loads[number] = {address_of(&world_.nothing), 0};
    world_.walks = address_of(handlers_.walks.data());
    drop_walks();
}

void NativeEngine::drop_walks() {
    if (world_.walks_kept == 0) return;
    world_.walks_kept = 0;
    for (ppc::Walk& walk : handlers_.walks) walk.key = ppc::Walk::no_key;
}

// The code runs from now on, if the host has its addresses.
void NativeEngine::start_handler(unsigned which) {
    MissHandlers::Program& program = handlers_.programs[which];
    const std::uint32_t saved = hardware::irq_save();
    bool complete = true;
    for (unsigned number = 0; number < program.fixed && complete; ++number) {
        const ppc::FixedAddress& address = program.addresses[number];
        std::uint32_t host = 0;
        complete =
            window_entry(address.ea, ppc::store_shift, address.store ? Access::store : Access::load, host) != nullptr;
        world_.handler_fixed[which][number] = host | (address.ea & ((1U << ppc::store_shift) - 1));
    }
    set_handler_code(which, complete);
    hardware::irq_restore(saved);
}

void NativeEngine::set_handler_code(unsigned which, bool runs) {
    const MissHandlers::Program& program = handlers_.programs[which];
    if (which != 0) {
        world_.handler_code[which] = runs ? address_of(program.words.data()) : 0;
        return;
    }
    const std::uint32_t saved = hardware::irq_save();
    const std::uint32_t* const words = runs ? program.words.data() : nullptr;
    const std::uint32_t place = runs ? hardware::data_handler_place(words) : 0;
    world_.handler_code[0] = place;
    world_.declined = place + 4 * program.declined;
    world_.data_handler = address_of(words);
    world_.data_handler_length = program.length;
    hardware::use_data_handler(words, world_.data_handler_length);
    hardware::irq_restore(saved);
}

void NativeEngine::drop_handler(unsigned which) {
    MissHandlers::Program& program = handlers_.programs[which];
    if (program.entry == none) return;
    program.entry = none;
    note_special();
    set_handler_code(which, false);
    ++handlers_.dropped;
}

void NativeEngine::drop_handlers() {
    code_changed();
    drop_sites();
    for (unsigned which = 0; which < MissHandlers::count; ++which) drop_handler(which);
    drop_windows();
    retained_.clear();
    contexts_.watch_nothing();
}

void NativeEngine::drop_windows() {
    // One by one: a kernel's stack has no room for a table.
    for (ppc::Window& window : handlers_.windows.loads) window = {};
    for (ppc::Window& window : handlers_.windows.stores) window = {};
    for (auto& memos : world_.handler_memos)
        for (ppc::Window& window : memos) window = {};
    for (MissHandlers::Block& block : handlers_.blocks) block = {};
    drop_walks();
    // What runs now is in no handler: their addresses are looked up anew at once. Where one is not to be had, the code
    // waits for consider_handlers().
    for (unsigned which = 0; which < MissHandlers::count; ++which) {
        if (handlers_.programs[which].fixed != 0 && world_.handler_code[which] != 0) start_handler(which);
    }
}

// Those that were made from this memory, which may change unseen from now on.
void NativeEngine::drop_handlers_of(std::uint64_t real, std::uint64_t bytes) {
    code_changed();
    for (unsigned which = 0; which < MissHandlers::count; ++which) {
        const MissHandlers::Program& program = handlers_.programs[which];
        if (program.entry != none && program.real < real + bytes && real < program.real + program.bytes)
            drop_handler(which);
    }
    drop_sites_of(real, bytes);
}

// A page of guest memory is used in another way from now on.
void NativeEngine::handler_page_changed(std::uint64_t real) {
    constexpr std::uint64_t page_bytes = 1U << CodeCopies::page_shift;
    drop_handlers_of(real & ~(page_bytes - 1), page_bytes);
    drop_windows();
}

// -- leaving --------------------------------------------------------------------------------------------------------

// A handler left before its rfi: the guest goes on by itself, from where it stands.
bool NativeEngine::handler_left() {
    const std::uint32_t flags = world_.handler_flags;
    const ppc::TlbWrites& writes = world_.handler_tlb;
    world_.handler_flags = 0;
    count_handler(flags);
    const unsigned index = writes.index & (mmu::GuestTlb::entry_count - 1);
    if ((flags & ppc::handler_exit::words) != 0) {
        if ((flags & 1) != 0 && patched() && takes_our_place({.word0 = writes.words[0]})) {
            world_.handler_flags = flags; // interrupts on, to give our places up: finish_tlb_writes()
            return false;
        }
        write_noted_words(index, flags);
    }
    if ((flags & ppc::handler_exit::load_miss) != 0) open_load_window(world_.handler_window);
    if ((flags & ppc::handler_exit::store_miss) != 0) open_store_window(world_.handler_window);
    if ((flags & ppc::handler_exit::words) == ppc::handler_exit::words) open_block(writes.words[1]);
    select_context();
    update_run_msr();
    return true;
}

void NativeEngine::write_noted_words(unsigned index, std::uint32_t flags) {
    const ppc::TlbWrites& writes = world_.handler_tlb;
    if (contexts_.uses_guest_entry(index) || contexts_.watches(index)) tlb_entry_changed(index, vcpu_.tlb.entry(index));
    if ((flags & 1) != 0) retained_.entry_made(writes.words[0]);
    for (unsigned word = 0; word < 3; ++word)
        if ((flags >> word & 1) != 0) vcpu_.tlb.write_word(index, word, writes.words[word], vcpu_.state.page.mmucr);
}

// The rest of handler_left(), with interrupts on.
void NativeEngine::finish_tlb_writes() {
    const std::uint32_t flags = world_.handler_flags;
    world_.handler_flags = 0;
    if ((flags & ppc::handler_exit::words) == 0) return;
    back_out_all();
    const std::uint32_t saved = hardware::irq_save();
    write_noted_words(world_.handler_tlb.index & (mmu::GuestTlb::entry_count - 1), flags);
    hardware::irq_restore(saved);
}

// -- memory ----------------------------------------------------------------------------------------------------------

// The guest TLB entry that gives every process this access in supervisor state, big-endian, and memory in one piece of
// 2^shift bytes; nullptr: there is no such thing. host: where that piece begins for the host.
const TlbEntry* NativeEngine::window_entry(std::uint32_t ea, unsigned shift, Access access, std::uint32_t& host) {
    const int found = vcpu_.tlb.search(ea, 0, vcpu_.state.page.pid & 0xFF);
    if (found < 0) return nullptr;
    const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(found));
    if (entry.tid != 0 || entry.little_endian() || entry.page_shift() < shift ||
        !mmu::GuestTlb::permits(entry, false, access))
        return nullptr;
    host = host_piece(entry.translate(ea), shift, access == Access::store);
    if (host == 0) return nullptr;
    contexts_.watch(static_cast<unsigned>(found));
    return &entry;
}

// The host's address of the 2^shift bytes of guest memory around real, 0 unless they are in one piece in the linear
// mapping and may be read, or written, by anybody at any time.
std::uint32_t NativeEngine::host_piece(std::uint64_t real, unsigned shift, bool write) {
    real &= ~((std::uint64_t{1} << shift) - 1);
    const Memslot* const slot = vcpu_.memory.slot_of(real);
    if (slot == nullptr || slot->frames == nullptr || slot->pages == nullptr) return 0;
    const auto page = static_cast<std::size_t>((real - slot->base) >> Memslot::page_shift);
    if ((slot->frames[page] & 0xFF) < shift) return 0;
    if (write) {
        if (slot->read_only || slot->dirty != nullptr) return 0;
        if (CodeCopies::Block* const block = patching_.copies.find(real);
            block != nullptr && block->use[block->page_of(real)] != Use::own)
            return 0;
    }
    return host_.linear(slot->pages[page], 1U << shift);
}

void NativeEngine::open_load_window(std::uint32_t ea) {
    constexpr std::uint32_t mask = 0 - (1U << ppc::load_shift);
    std::uint32_t host = 0;
    if (window_entry(ea, ppc::load_shift, Access::load, host) != nullptr)
        handlers_.windows.load(ea) = {ea & mask, host - (ea & mask)};
}

void NativeEngine::open_store_window(std::uint32_t ea) {
    constexpr std::uint32_t mask = 0 - (1U << ppc::store_shift);
    std::uint32_t host = 0;
    if (window_entry(ea, ppc::store_shift, Access::store, host) != nullptr)
        handlers_.windows.store(ea) = {ea & mask, host - (ea & mask)};
}

// Word 1 of an entry that the guest wrote.
void NativeEngine::open_block(std::uint32_t word1) {
    constexpr unsigned shift = MissHandlers::block_shift;
    MissHandlers::Block& block = handlers_.block(word1);
    const std::uint32_t tag = word1 & MissHandlers::tag_mask;
    if (block.refused == tag) return;
    const std::uint64_t real = (std::uint64_t{word1 & 0xF} << 32 | word1) & 0xF'FFF00000;
    const Memslot* const slot = vcpu_.memory.slot_of(real);
    if (slot != nullptr && slot->frames != nullptr && !slot->read_only && slot->dirty == nullptr) {
        const std::uint32_t frame = slot->frames[(real - slot->base) >> Memslot::page_shift];
        if ((frame & 0xFF) >= shift && patching_.copies.apart(real, shift) >= shift) {
            block = {tag, (frame >> 8 << 12) | frame >> 28, host_piece(real, shift, true)};
            return;
        }
    }
    block.refused = tag;
}

} // namespace untrap::runtime::native
