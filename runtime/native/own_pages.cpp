// SPDX-License-Identifier: GPL-2.0-only
// Pages of ours in the guest's kernel context: the state page, and the stubs of the arena. What the state page costs at
// each exit; nothing is believed that the guest can write.
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"
#include "runtime/native/patching.h"
#include "translator/ppc/stub.h"

namespace untrap::runtime::native {

using isa::Interrupt;
using mmu::TlbEntry;
namespace msr = isa::msr;

namespace {

constexpr std::uint32_t word0_of(std::uint32_t ea, unsigned shift) {
    return ea | TlbEntry::valid_bit | TlbEntry::ts_bit | (shift - 10) / 2 << 4;
}
constexpr std::uint32_t word1_of(std::uint64_t real) {
    return static_cast<std::uint32_t>(real & 0xFFFFFC00) | static_cast<std::uint32_t>(real >> 32);
}

} // namespace

// The guest was left and may have written the state page: what this class and the run loop rely on is made true again.
// False: its MSR is one that no guest code runs with.
bool NativeEngine::accept_state_page() {
    isa::CpuState& state = vcpu_.state;
    isa::StatePage& page = state.page;
    // Most exits find what the last one has found good, but for bits that may be what they like.
    constexpr std::uint32_t of_no_account =
        msr::ce | msr::ee | msr::fp | msr::me | msr::fe0 | msr::dwe | msr::de | msr::fe1;
    if (((page.msr ^ accepted_.msr) & ~of_no_account) == 0 && page.pid == accepted_.pid &&
        world_.shadow_pid == accepted_.shadow_pid && world_.process_pid == accepted_.process_pid) {
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
    from_stub_ = true;
    stopped_ = Stopped::elsewhere;
    ++patching_.stub_exits;
    // A trap of the stub stands for the site's instruction.
    if (static_cast<Interrupt>(vector) == Interrupt::program && (world_.esr & isa::esr::ptr) != 0) {
        world_.word = patching_.arena.original(*restart, left_at, index);
        world_.esr = isa::esr::ppr;
    }
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
        mapping.word0 = word0_of(ppc::guest_page_ea, Patching::own_page_shift);
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
    return (ea & ~((1U << Patching::own_page_shift) - 1)) == world_.own_page && runs_kernel();
}

// Whether a guest TLB entry takes a place of ours.
bool NativeEngine::takes_our_place(const TlbEntry& entry) const {
    return (world_.own_page != Patching::nowhere && entry.meets(ppc::guest_page_ea, Patching::own_page_shift, 0)) ||
           (world_.arena_bytes != 0 && entry.meets(world_.arena, Patching::reserved_shift, 0));
}

bool NativeEngine::place_is_free(std::uint32_t ea, unsigned shift) const {
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index)
        if (vcpu_.tlb.entry(index).meets(ea, shift, 0)) return false;
    return true;
}

} // namespace untrap::runtime::native
