// SPDX-License-Identifier: GPL-2.0-only
// Windows: pages of processes at addresses of ours in the context of the guest's kernel, for the stubs of its hot
// single accesses (translator/ppc/access_stub.h). Each is a mapping like any other, made from an entry of the guest TLB
// and gone with it; so there is nothing to be kept in step but that. The tags that stubs compare are the guest's to
// write and may be out of date: then the access is one to an address that is not mapped, or to its own, and comes here.
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

// What a site has to wait for: nothing the first times, then twice as often for each time before to get hot once more.
constexpr unsigned times_at_once = 3, most_times = 11;
// How often a site may go to another group because it finds a window in use by others.
constexpr unsigned most_moves = 3;
// Misses of a patched site in memory that no window can have, until it is patched no more.
constexpr unsigned failures_limit = 64;
// A site in a row of accesses, which a mapping would serve better, has to get hot anew, and so has what else is that
// near: its loop's other half, whose accesses are perhaps to the kernel's own memory, and seen by nobody.
constexpr std::uint32_t same_loop = 16;

} // namespace

static_assert(sizeof(isa::CpuState::user_window) == sizeof(ppc::GuestPage::windows));
static_assert(offsetof(ppc::GuestPage, windows) - offsetof(ppc::GuestPage, live_pid) ==
              offsetof(isa::CpuState, user_window) - offsetof(isa::CpuState, live_pid));
static_assert(ppc::window_shift == Memslot::page_shift);

std::uint32_t NativeEngine::window_ea(unsigned number) const {
    return world_.arena + Patching::arena_bytes + number * reach;
}

std::uint32_t NativeEngine::tag_of(std::uint32_t ea) const { return (ea & page_mask) | (vcpu_.state.page.pid & 0xFF); }

// Whether ea is in a window or behind one.
bool NativeEngine::is_window(std::uint32_t ea) const {
    return world_.arena_bytes != 0 && ea - window_ea(0) < windows_bytes;
}

// The stub of an access was left by this interrupt; the guest's registers are in place. An address in a window becomes
// the guest's own.
void NativeEngine::leave_access(const ppc::Restart& restart, std::uint32_t original, unsigned vector) {
    const auto which = static_cast<Interrupt>(vector);
    if (which != Interrupt::data_tlb_error && which != Interrupt::data_storage) return;
    stopped_ = Stopped::access;
    window_group_ = restart.group;
    if (!is_window(world_.dear)) return;
    const isa::Instruction insn{.word = original};
    const interp::SimpleAccess shape = interp::simple_access(original);
    const std::uint32_t ea = interp::address_of(shape, insn, vcpu_.state);
    stopped_ = (ea & ~page_mask) + shape.size > page_bytes ? Stopped::behind_window : Stopped::window;
    world_.dear = (ea & page_mask) + (world_.dear & (reach - 1));
}

// The guest does not stand in a stub. If it stands where the world switch has left one, that has done it for an address
// that is no window's.
void NativeEngine::find_access() {
    stopped_ = Stopped::elsewhere;
    if (vcpu_.state.pc != world_.access_site) return;
    world_.access_site = no_site;
    unsigned index = 0;
    const ppc::Restart* const restart = patching_.arena.find(world_.access_stub, index);
    if (restart == nullptr || !restart->is_access() || restart->site != vcpu_.state.pc) return;
    stopped_ = Stopped::access;
    window_group_ = restart->group;
}

// The access of a stub to ea failed at its window. Without one it tries ea itself next: that may be mapped, so no
// mapping is made for it here, and what the guest is to be told of it is told then.
bool NativeEngine::window_fault(std::uint32_t ea, Access access) {
    if (stopped_ == Stopped::behind_window) return false; // the interpreter does both pages
    count(ExitReason::dtlb_virt);
    const isa::StatePage& page = vcpu_.state.page;
    if (const int index = search_guest_tlb(ea, access); index >= 0) {
        const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(index));
        if (mmu::GuestTlb::permits(entry, (page.msr & msr::pr) != 0, access) &&
            open_window(ea, entry, static_cast<unsigned>(index)) == Opened::done)
            return true;
    }
    close_window(ppc::window_of(tag_of(ea), window_group_));
    return true;
}

// The window that may have the page of ea gets it, by this guest TLB entry. Not before the page has missed some times
// in a row here: it costs more than the access does.
NativeEngine::Opened NativeEngine::open_window(std::uint32_t ea, const TlbEntry& entry, unsigned guest_index) {
    isa::CpuState& state = vcpu_.state;
    if (!runs_kernel() || !one_kernel() || world_.arena_bytes == 0 || (state.page.msr & (msr::is | msr::pr)) != 0)
        return Opened::never;
    if (entry.tid == 0 || entry.little_endian() || (entry.word2 & TlbEntry::attr_i) != 0 ||
        entry.page_shift() < ppc::window_shift)
        return Opened::never;
    const std::uint64_t real = entry.translate(ea);
    const Memslot* const slot = plain_memory(real);
    if (slot == nullptr || slot->frames == nullptr) return Opened::never;

    const std::uint32_t tag = tag_of(ea);
    if (stopped_ == Stopped::access && !access_repeats(state.pc, tag)) return Opened::not_yet;
    const unsigned number = ppc::window_of(tag, window_group_);
    UserWindow& window = user_windows_[number];
    unsigned group = window_group_;
    if (window.tag != tag && better_group(tag, group) && access_site(state.pc).moves < most_moves) {
        hot_access_ = state.pc;
        return Opened::elsewhere;
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
    vcpu_.state.user_window[number] = {};
    if (window_is_used(number)) contexts_.drop(user_windows_[number].slot);
    user_windows_[number].tag = no_window;
}

// Another group, where what `group` has for this tag is in use for another one: one that has the page already, or has
// room. With interrupts off.
bool NativeEngine::better_group(std::uint32_t tag, unsigned& group) const {
    const auto window_in = [&](unsigned of) { return ppc::window_of(tag, of); };
    if (!window_is_used(window_in(group))) return false;
    for (unsigned other = 0; other < ppc::window_groups; ++other) {
        if (user_windows_[window_in(other)].tag != tag || !window_is_used(window_in(other))) continue;
        group = other;
        return true;
    }
    for (unsigned other = 0; other < ppc::window_groups; ++other) {
        if (window_is_used(window_in(other))) continue;
        group = other;
        return true;
    }
    return false;
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

void NativeEngine::wait_for_more(AccessSite& site) {
    if (site.times < most_times) ++site.times;
    if (site.times > times_at_once) site.wait = static_cast<std::uint8_t>((1U << (site.times - times_at_once)) - 1);
}

// A single access by this instruction to a page with its PID, when it was made here or is going to be. True: as often
// in a row as it takes, and the count begins anew.
bool NativeEngine::access_repeats(std::uint32_t pc, std::uint32_t tag) {
    std::uint32_t& known = repeats_of(pc);
    const bool again = ((known ^ tag) & ~std::uint32_t{REPEATS_FIELD}) == 0;
    const bool enough = again && ((known + REPEATS_ONE) & REPEATS_FIELD) == 0;
    known = again && !enough ? known + REPEATS_ONE : tag;
    return enough;
}

// A single access. True: the instruction makes so many of them that it is to be patched.
bool NativeEngine::access_is_hot(std::uint32_t ea, std::uint32_t pc) {
    if (!access_repeats(pc, tag_of(ea))) return false;
    AccessSite& site = access_site(pc);
    if ((vcpu_.patches.levels() >> 2 & 1) == 0 || site.never) return false;
    if (site.wait != 0) {
        --site.wait;
        return false;
    }
    wait_for_more(site);
    hot_access_ = pc;
    return true;
}

// A patched site is in a row of accesses.
void NativeEngine::row_at_stub(std::uint32_t pc) {
    access_site(pc).in_row = true;
    hot_access_ = pc;
}

// The site that is hot, or has found no windows, where the guest stands. Interrupts are on.
void NativeEngine::change_access() {
    hot_access_ = no_site;
    const std::uint32_t pc = vcpu_.state.pc;
    long_runs_[pc >> 2 & (long_runs - 1)] = {}; // rows there are to be seen
    AccessSite& site = access_site(pc);
    const Resolved at = vcpu_.storage.resolve(pc, Access::fetch);
    if (at.status != Resolved::Status::ok) return;
    if (site.failures >= failures_limit) {
        site.never = true;
        back_out_access(at.real);
        return;
    }
    if (site.in_row) {
        site.in_row = false;
        for (std::uint32_t near = pc - same_loop; near != pc + same_loop; near += 4) {
            if (((near ^ pc) & page_mask) != 0 || !back_out_access(at.real + near - pc)) continue;
            wait_for_more(access_site(near));
        }
        return;
    }
    unsigned group = 0;
    if (stopped_ == Stopped::access) {
        group = window_group_;
        ++site.moves;
        back_out_access(at.real);
    }
    const std::uint32_t saved = hardware::irq_save();
    better_group(tag_of(world_.dear), group);
    hardware::irq_restore(saved);
    window_group_ = static_cast<std::uint8_t>(group);
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
