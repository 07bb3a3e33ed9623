// SPDX-License-Identifier: GPL-2.0-only
// Level 4: instructions of the guest's kernel that the world switch knows by their address, while there is a compiled
// handler for misses of data. Like that, they lie in pages that are executed from copies: nothing changes them unseen.
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"
#include "translator/isa/table.h"

namespace untrap::runtime::native {

using Kind = Sequence::Kind;
namespace msr = isa::msr;

// What exits have noted. Interrupts on.
void NativeEngine::consider_sites() {
    if (world_.rfi_seen != World::no_site) consider_rfi(world_.rfi_seen);
    world_.rfi_seen = World::no_site;
    if (world_.search_seen == World::no_site || (vcpu_.state.page.msr & (msr::is | msr::ds | msr::pr)) != 0) return;
    if (world_.search_seen != world_.search.site) consider_search(world_.search_seen);
    world_.search_seen = World::no_site;
}

void NativeEngine::consider_rfi(std::uint32_t site) {
    guard_code(site);
    const std::uint32_t saved = hardware::irq_save();
    unsigned index = 0;
    std::uint64_t real = 0;
    if (read_handler(site, 1, index, real) != 0 && handlers_.guest_code[0] == isa::match_of(isa::Op::rfi)) {
        const unsigned number = site >> 2 & 7;
        contexts_.watch(index);
        handlers_.rfi_real[number] = real;
        world_.rfi_sites[number] = site;
    }
    hardware::irq_restore(saved);
}

namespace {

// tlbsx. RT,RA,RB; bne out of it; isync and the like; tlbwe RT,RT,0, the last. skipped: what the branch leads to.
bool voids_what_it_finds(const Sequence& sequence, unsigned& skipped) {
    const unsigned last = sequence.count - 1;
    const isa::Instruction search = isa::decode(sequence.words[0]), branch = isa::decode(sequence.words[1]),
                           write = isa::decode(sequence.words[last]);
    constexpr unsigned if_clear = 4, cr0_eq = 2;
    if (sequence.loops || last < 2 || search.op != isa::Op::tlbsx || !search.rc()) return false;
    if (sequence.steps[1].kind != Kind::branch || (branch.bo() & ~1U) != if_clear || branch.bi() != cr0_eq ||
        branch.bd() <= 0)
        return false;
    skipped = 1 + static_cast<unsigned>(branch.bd()) / 4;
    for (unsigned at = 2; at < last; ++at)
        if (sequence.steps[at].kind != Kind::nothing) return false;
    return skipped > last && sequence.steps[last].kind == Kind::tlb_word && write.ws() == 0 &&
           write.rs() == search.rt() && write.ra() == search.rt();
}

} // namespace

void NativeEngine::consider_search(std::uint32_t site) {
    guard_code(site);
    const std::uint32_t saved = hardware::irq_save();
    const Settled settled = span_of(site);
    const Sequence* const sequence = settled.span > 1 ? sequence_at(site, settled) : nullptr;
    unsigned skipped = 0;
    if (sequence != nullptr && sequence->generation == code_generation_ && voids_what_it_finds(*sequence, skipped)) {
        const isa::Instruction search = isa::decode(sequence->words[0]);
        const auto at = [&](const std::uint32_t& word) {
            return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(&word) -
                                              reinterpret_cast<std::uintptr_t>(&world_));
        };
        const auto& gpr = vcpu_.state.gpr;
        handlers_.search_real = sequence->entry.translate(site);
        world_.search = {.site = site,
                         .rt = at(gpr[search.rt()]),
                         .ra = at(search.ra() != 0 ? gpr[search.ra()] : world_.nothing),
                         .rb = at(gpr[search.rb()]),
                         .missed = site + 4 * skipped,
                         .found = site + 4 * sequence->count};
    }
    hardware::irq_restore(saved);
}

void NativeEngine::drop_sites() {
    for (std::uint32_t& site : world_.rfi_sites) site = World::no_site;
    world_.search = {};
}

void NativeEngine::drop_sites_of(std::uint64_t real, std::uint64_t bytes) {
    const auto is_there = [&](std::uint64_t site) { return site >= real && site < real + bytes; };
    for (unsigned number = 0; number < handlers_.rfi_real.size(); ++number)
        if (is_there(handlers_.rfi_real[number])) world_.rfi_sites[number] = World::no_site;
    if (is_there(handlers_.search_real)) world_.search = {};
}

} // namespace untrap::runtime::native
