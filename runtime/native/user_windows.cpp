// SPDX-License-Identifier: GPL-2.0-only
// Windows: pages of processes at addresses of ours in the context of the guest's kernel, for the stubs of its hot single
// accesses (translator/ppc/access_stub.h). Each is a mapping like any other, made from an entry of the guest TLB and gone
// with it; so there is nothing to be kept in step but that. The tags that stubs compare are the guest's to write and may be
// out of date: then the access is one to an address that is not mapped, or to its own, and comes here.
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"
#include "translator/interp/simple_access.h"

namespace untrap::runtime::native {

using isa::Interrupt;
using mmu::Access;
using mmu::TlbEntry;
namespace msr = isa::msr;

namespace {

constexpr std::uint32_t page_bytes = 1U << ppc::window_shift;
constexpr std::uint32_t page_mask = ~(page_bytes - 1);
constexpr std::uint32_t reach = 1U << ppc::window_distance_shift; // of a window and the gap behind it
constexpr std::uint32_t windows_bytes = reach * isa::CpuState::user_windows;

// Single accesses of a site until it is patched: twice as many each time, and then so often as many.
constexpr unsigned accesses_until_hot = 32, most_accesses = 255, most_doublings = 8;
// Misses of a patched site in memory that no window can have, until it is patched no more.
constexpr unsigned failures_limit = 64;

} // namespace

static_assert(sizeof(isa::CpuState::user_window) == sizeof(ppc::GuestPage::windows));
static_assert(offsetof(ppc::GuestPage, windows) - offsetof(ppc::GuestPage, live_pid) ==
              offsetof(isa::CpuState, user_window) - offsetof(isa::CpuState, live_pid));
static_assert(ppc::window_shift == Memslot::page_shift);

std::uint32_t NativeEngine::window_ea(unsigned number) const {
    return world_.arena + Patching::arena_bytes + number * reach;
}

// Whether ea is in a window or behind one.
bool NativeEngine::is_window(std::uint32_t ea) const {
    return world_.arena_bytes != 0 && ea - window_ea(0) < windows_bytes;
}

// The stub of an access was left by this interrupt; the guest's registers are in place. An address in a window becomes the
// guest's own.
void NativeEngine::leave_access(std::uint32_t original, unsigned vector) {
    const auto which = static_cast<Interrupt>(vector);
    if (which != Interrupt::data_tlb_error && which != Interrupt::data_storage) return;
    stopped_ = Stopped::access;
    if (!is_window(world_.dear)) return;
    const isa::Instruction insn{.word = original};
    const interp::SimpleAccess shape = interp::simple_access(original);
    const std::uint32_t ea = interp::address_of(shape, insn, vcpu_.state);
    stopped_ = (ea & ~page_mask) + shape.size > page_bytes ? Stopped::behind_window : Stopped::window;
    world_.dear = (ea & page_mask) + (world_.dear & (reach - 1));
}

// The world switch has done that for an address that is no window's, if the guest stands where it left it.
void NativeEngine::left_access(unsigned vector) {
    world_.access_site = no_site;
    if (static_cast<Interrupt>(vector) == Interrupt::data_tlb_error) stopped_ = Stopped::access;
}

// The access of a stub to ea failed at its window. What the guest's TLB says of ea holds; ea itself may be mapped, so no
// mapping is made for it here.
bool NativeEngine::window_fault(std::uint32_t ea, Access access) {
    if (stopped_ == Stopped::behind_window) return false; // the interpreter does both pages
    const isa::StatePage& page = vcpu_.state.page;
    const unsigned number = ppc::window_of((ea & page_mask) | (page.pid & 0xFF));
    if (!is_own_page(ea)) {
        const int index = search_guest_tlb(ea, access);
        if (index < 0) return reflect_miss(ea, access);
        const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(index));
        if (!mmu::GuestTlb::permits(entry, (page.msr & msr::pr) != 0, access)) return deny(ea, access);
        if (open_window(ea, entry, static_cast<unsigned>(index)) == Opened::done) {
            count(ExitReason::dtlb_virt);
            return true;
        }
    }
    close_window(number);
    count(ExitReason::dtlb_virt);
    return true;
}

// The window that may have the page of ea gets it, by this guest TLB entry. Not at its first miss, for pages that are used
// once are many.
NativeEngine::Opened NativeEngine::open_window(std::uint32_t ea, const TlbEntry& entry, unsigned guest_index) {
    isa::CpuState& state = vcpu_.state;
    if (!runs_kernel() || !one_kernel() || world_.arena_bytes == 0 || (state.page.msr & (msr::is | msr::pr)) != 0)
        return Opened::never;
    if (entry.tid == 0 || entry.little_endian() || (entry.word2 & TlbEntry::attr_i) != 0 ||
        entry.page_shift() < ppc::window_shift)
        return Opened::never;
    const std::uint64_t real = entry.translate(ea);
    const Memslot* const slot = vcpu_.memory.slot_of(real);
    if (slot == nullptr || slot->frames == nullptr || slot->read_only || slot->dirty != nullptr) return Opened::never;
    if (CodeCopies::Block* const block = patching_.copies.find(real);
        block != nullptr && block->use[block->page_of(real)] != CodeCopies::Use::own)
        return Opened::never;

    const std::uint32_t tag = (ea & page_mask) | (state.page.pid & 0xFF);
    const unsigned number = ppc::window_of(tag);
    UserWindow& window = user_windows_[number];
    if (stopped_ == Stopped::access && world_.wanted[number] != tag) {
        world_.wanted[number] = tag;
        return Opened::not_yet;
    }
    close_window(number);
    const std::uint64_t frame = slot->frames[(real - slot->base) >> Memslot::page_shift] >> 8;
    ShadowTlb::Mapping mapping;
    mapping.word0 = window_ea(number) | TlbEntry::valid_bit | TlbEntry::ts_bit | 0x10;
    mapping.word1 = static_cast<std::uint32_t>(frame << Memslot::page_shift) | static_cast<std::uint32_t>(frame >> 20);
    mapping.word2 =
        ((entry.word2 & 0x03) << 3) | TlbEntry::sr | (entry.word2 & TlbEntry::attr_g); // never to be executed
    mapping.pid = static_cast<std::uint8_t>(world_.shadow_pid);
    mapping.guest_index = static_cast<std::uint8_t>(guest_index);
    window = {tag, contexts_.insert(mapping, world_.executed_slot)};
    state.user_window[number] = {tag, window_ea(number) - (ea & page_mask)};
    if ((traces_ & NativeHost::traces_tlb) != 0)
        host_.trace_tlb(window.slot, {mapping.word0, mapping.word1, mapping.word2}, mapping.pid, true);
    return Opened::done;
}

void NativeEngine::close_window(unsigned number) {
    UserWindow& window = user_windows_[number];
    vcpu_.state.user_window[number] = {};
    if (window.tag == no_window) return;
    window.tag = no_window;
    contexts_.drop_at(window.slot, window_ea(number));
}

void NativeEngine::close_windows() {
    for (unsigned number = 0; number < isa::CpuState::user_windows; ++number) close_window(number);
}

// -- which sites ---------------------------------------------------------------------------------------------------

NativeEngine::AccessSite& NativeEngine::access_site(std::uint32_t pc) {
    AccessSite& site = access_sites_[pc >> 2 & (access_site_count - 1)];
    if (site.pc != pc) site = {pc};
    return site;
}

// So many may come before the next one is to be looked at.
void NativeEngine::expect_accesses(std::uint32_t pc) {
    const unsigned count = accesses_until_hot << access_site(pc).doublings;
    world_.access_counts[access_count_of(pc)] =
        static_cast<std::uint8_t>(count < most_accesses ? count : most_accesses);
}

// A single access by this instruction. True: it makes so many of them that it is to be patched.
bool NativeEngine::access_is_hot(std::uint32_t pc) {
    std::uint8_t& left = world_.access_counts[access_count_of(pc)];
    if (left > 1) { // else the world switch was here, or it comes to that
        --left;
        return false;
    }
    AccessSite& site = access_site(pc);
    expect_accesses(pc);
    if ((vcpu_.patches.levels() >> 2 & 1) == 0 || site.never) return false;
    if (site.wait != 0) {
        --site.wait;
        return false;
    }
    const unsigned more = site.doublings < 3 ? 0 : (1U << (site.doublings - 3)) - 1;
    site.wait = static_cast<std::uint8_t>(more);
    if (site.doublings < most_doublings) ++site.doublings;
    expect_accesses(pc);
    hot_access_ = pc;
    return true;
}

// The site that is hot, or has found no windows, where the guest stands. Interrupts are on.
void NativeEngine::change_access() {
    hot_access_ = no_site;
    const std::uint32_t pc = vcpu_.state.pc;
    AccessSite& site = access_site(pc);
    const Resolved at = vcpu_.storage.resolve(pc, Access::fetch);
    if (at.status != Resolved::Status::ok) return;
    if (site.failures >= failures_limit) {
        site = {pc};
        site.never = true;
        back_out_access(at.real);
        return;
    }
    const std::uint32_t original = original_word(at);
    if (!ppc::has_access_stub(original) || vcpu_.patches.left_alone(at.real) ||
        vcpu_.patches.patched_sites() + patching_.accesses >= vcpu_.patches.most_patched() ||
        install(at.real, original, pc, at, nullptr) == Installed::never)
        site.never = true;
}

// A patched site missed in memory that no window can have. True: too often.
bool NativeEngine::access_fails(std::uint32_t pc) {
    AccessSite& site = access_site(pc);
    if (site.failures >= failures_limit || ++site.failures < failures_limit) return false;
    hot_access_ = pc;
    return true;
}

} // namespace untrap::runtime::native
