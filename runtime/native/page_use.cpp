// SPDX-License-Identifier: GPL-2.0-only
// What the pages of a code copy's block are mapped by: the guest's own memory, or the copy.
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"
#include "runtime/native/patching.h"

namespace untrap::runtime::native {

using mmu::Access;
using mmu::TlbEntry;
using Use = CodeCopies::Use;
namespace msr = isa::msr;

namespace {

constexpr std::uint32_t page_bytes = 1U << CodeCopies::page_shift;

// Reads of a patched page that are interpreted before it is mapped for them.
constexpr unsigned reads_limit = 8;
// Fetches from an own page after which it is copied again, for the sake of the pages around it; and how often it may
// have become own.
constexpr unsigned fetches_limit = 32, returns_limit = 4;

// Pages that become own together: 64 KB.
constexpr unsigned own_shift = 16;

} // namespace

// What maps a page goes, and all that is in the way of mapping it together with those around it. What is around that
// piece is mapped as before.
void NativeEngine::drop_piece(const CodeCopies::Block& block, unsigned page) {
    const unsigned shift = CodeCopies::piece_of(block, page);
    const std::uint32_t bytes = 1U << shift, offset = (page << CodeCopies::page_shift) & (0U - bytes);
    drop_real(block.copy_real + offset, bytes);
    drop_real(block.original_real + offset, bytes);
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
        if (++block->flips[page] >= Patching::flips_limit) return false;
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

const Memslot* NativeEngine::plain_memory(std::uint64_t real) {
    const Memslot* const slot = vcpu_.memory.slot_of(real);
    if (slot == nullptr || slot->read_only || slot->dirty != nullptr) return nullptr;
    const CodeCopies::Block* const block = patching_.copies.find(real);
    return block == nullptr || block->use[block->page_of(real)] == Use::own ? slot : nullptr;
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

} // namespace untrap::runtime::native
