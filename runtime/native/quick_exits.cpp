// SPDX-License-Identifier: GPL-2.0-only
// The exits that a guest kernel causes by the thousand, handled with interrupts off between leaving the guest and
// entering it again. Each function either does all that the run loop would do, or changes nothing and returns false:
// then the run loop does it. Every instruction here is paid by each exit; bench/native/run measures them.
#include "runtime/interrupts.h"
#include "runtime/native/hardware.h"
#include "runtime/native/native_engine.h"
#include "runtime/spr_table.h"
#include "translator/interp/interpreter.h"
#include "translator/isa/table.h"

namespace untrap::runtime::native {

using isa::Interrupt;
using mmu::Access;
using mmu::TlbEntry;
namespace esr = isa::esr;
namespace msr = isa::msr;
namespace spr = isa::spr;

namespace {

// What tells an instruction of primary opcode 31.
constexpr std::uint32_t extended(isa::Op op) { return isa::match_of(op) >> 1 & 0x3FF; }

constexpr bool is_translation_fault(Interrupt which) {
    return which == Interrupt::data_tlb_error || which == Interrupt::instruction_tlb_error ||
           which == Interrupt::data_storage || which == Interrupt::instruction_storage;
}

constexpr std::uint32_t ee_ce_me = msr::ee | msr::ce | msr::me;

} // namespace

bool NativeEngine::quick_exit(unsigned vector) {
    if (moved_ && is_translation_fault(static_cast<Interrupt>(vector))) {
        count(ExitReason::dtlb_virt); // the fault is the other context's, and may not be this one's
        return true;
    }
    switch (static_cast<Interrupt>(vector)) {
    case Interrupt::program: return quick_ && program_interrupt();
    case Interrupt::system_call: return quick_ && system_call();
    case Interrupt::data_tlb_error: {
        const Access access = (world_.esr & esr::st) != 0 ? Access::store : Access::load;
        if (!from_stub_) find_access();
        return stopped_ > Stopped::access ? window_fault(world_.dear, access) : tlb_miss(world_.dear, access);
    }
    case Interrupt::instruction_tlb_error: return from_stub_ ? stub_miss() : tlb_miss(vcpu_.state.pc, Access::fetch);
    case Interrupt::data_storage: {
        const bool store = (world_.esr & esr::st) != 0;
        const Access access = store ? Access::store : Access::load;
        if (from_stub_ && stopped_ > Stopped::access) return window_fault(world_.dear, access);
        if (store && storage_interrupt(world_.dear)) return true;
        return (patching_.copies.any() && wrong_view(world_.dear, access)) || denied_access(world_.dear, access);
    }
    case Interrupt::instruction_storage:
        return (patching_.copies.any() && wrong_view(vcpu_.state.pc, Access::fetch)) ||
               denied_access(vcpu_.state.pc, Access::fetch);
    case Interrupt::fp_unavailable:
        if ((vcpu_.state.page.msr & msr::fp) == 0) return false;
        if (world_.fpu_msr != 0) { // MSR[FP] was set behind our back
            if (!patched()) return false;
            update_run_msr();
            return true;
        }
        count(ExitReason::fp_unavail);
        take_fpu();
        update_run_msr();
        return true;
    default: return false;
    }
}

// -- emulation
// ---------------------------------------------------------------------------------------------------------

// A register was written that more depends on.
void NativeEngine::follow_spr(unsigned number) {
    if (number == spr::pid)
        select_context();
    else if (handlers_in_use()) // IVPR or an IVOR: what was compiled is no handler any more
        drop_handlers();
}

[[gnu::always_inline]] inline bool NativeEngine::write_spr(unsigned number, std::uint32_t value) {
    isa::CpuState& state = vcpu_.state;
    const SprRow& row = spr_row(number);
    if (!row.plain_write()) return false;
    spr_word(state, row) = value & row.mask;
    if (row.write == SprRow::Write::followed) [[unlikely]]
        follow_spr(number);
    return true;
}

// Whether something waits that the MSR to be written lets through.
[[gnu::always_inline]] inline bool NativeEngine::interrupt_would_come(std::uint32_t new_msr) const {
    return (vcpu_.state.page.pending & new_msr) != 0; // other bits the guest has written there itself
}

[[gnu::always_inline]] inline bool NativeEngine::write_msr(std::uint32_t value) {
    std::uint32_t& guest = vcpu_.state.page.msr;
    if (((value ^ guest) & ~ee_ce_me) != 0 || interrupt_would_come(value)) return false;
    guest = value;
    return true;
}

bool NativeEngine::return_from_interrupt() {
    isa::CpuState& state = vcpu_.state;
    const std::uint32_t value = state.page.srr1 & msr::defined;
    if ((value & (msr::we | msr::de)) != 0 || ((value & msr::is) != 0) != ((value & msr::ds) != 0)) return false;
    if (interrupt_would_come(value)) return false;
    count(ExitReason::emul_rfi);
    state.page.msr = value;
    state.pc = state.page.srr0 & ~3U;
    state.reserve_valid = 0;
    select_context();
    update_run_msr();
    return true;
}

[[gnu::always_inline]] inline bool NativeEngine::emulate_quickly(std::uint32_t word) {
    isa::CpuState& state = vcpu_.state;
    if (word == isa::match_of(isa::Op::rfi)) return return_from_interrupt();
    if (word >> 26 != 31) return false;
    const isa::Instruction insn{.word = word}; // its fields: a decoder would look for what the switch finds
    std::uint32_t& rt = state.gpr[insn.rt()];
    switch (word >> 1 & 0x3FF) {
    case extended(isa::Op::mfspr): {
        const SprRow& row = spr_row(insn.spr());
        if (!row.plain_read) return false;
        rt = spr_word(state, row);
        count(ExitReason::emul_mfspr);
        break;
    }
    case extended(isa::Op::mtspr):
        if (!write_spr(insn.spr(), rt)) return false;
        // A stub traps here for the sake of shadow contexts alone: on another host it would not.
        count(from_stub_ ? ExitReason::dtlb_virt : ExitReason::emul_mtspr);
        break;
    case extended(isa::Op::mfmsr):
        rt = state.page.msr;
        count(ExitReason::emul_mfmsr);
        break;
    case extended(isa::Op::wrtee):
        if (!write_msr((state.page.msr & ~msr::ee) | (rt & msr::ee))) return false;
        count(ExitReason::emul_wrtee);
        break;
    case extended(isa::Op::wrteei):
        if (!write_msr((state.page.msr & ~msr::ee) | (insn.e() ? msr::ee : 0))) return false;
        count(ExitReason::emul_wrtee);
        break;
    case extended(isa::Op::mtmsr):
        if (!write_msr(rt & msr::defined)) return false;
        count(ExitReason::emul_mtmsr);
        break;
    case extended(isa::Op::tlbwe):
        if (!emulate_tlbwe(insn)) return false;
        count(ExitReason::emul_tlbwe);
        break;
    case extended(isa::Op::tlbsx): // Rc is no part of this number
        search_tlb(insn);
        count(ExitReason::emul_tlbsx);
        break;
    default: return false;
    }
    next();
    return true;
}

// By itself: the registers that it needs are not to be saved for all the others.
[[gnu::noinline]] bool NativeEngine::emulate_tlbwe(isa::Instruction insn) {
    const isa::CpuState& state = vcpu_.state;
    return write_tlb_word(state.gpr[insn.ra()] & 63, insn.ws(), state.gpr[insn.rs()]);
}

// As Emulator::tlb_search, with CR as the CPU has it.
void NativeEngine::search_tlb(isa::Instruction insn) {
    isa::CpuState& state = vcpu_.state;
    const std::uint32_t base = insn.ra() != 0 ? state.gpr[insn.ra()] : 0, control = state.page.mmucr;
    world_.search_seen = state.pc;
    const int index = vcpu_.tlb.search(base + state.gpr[insn.rb()], (control & isa::mmucr::sts) != 0 ? 1 : 0,
                                       control & isa::mmucr::stid);
    if (index >= 0) state.gpr[insn.rt()] = static_cast<std::uint32_t>(index);
    if (!insn.rc()) return;
    const std::uint32_t found = index >= 0 ? 2 : 0, overflow = world_.xer >> 31;
    world_.cr = (world_.cr & 0x0FFFFFFF) | (found | overflow) << 28;
}

bool NativeEngine::program_interrupt() {
    if ((world_.esr & esr::ppr) == 0 || (vcpu_.state.page.msr & msr::pr) != 0) return false;
    if (!patches_ || from_stub_) return emulate_quickly(world_.word);
    const std::uint32_t pc = vcpu_.state.pc;
    const Settled settled = span_of(pc);
    if (settled.span == 0 || !emulate_quickly(world_.word)) return false;
    if (settled.span > 1) go_on(pc, settled);
    return true;
}

// The same, for whoever is not in a hurry.
bool NativeEngine::emulate(std::uint32_t word) { return emulate_quickly(word); }

// -- reflection
// --------------------------------------------------------------------------------------------------------

// Enters a handler of the guest. False, with nothing done, if it would only fault again where it stands: the run loop
// keeps count of that.
bool NativeEngine::deliver(Interrupt which, std::uint32_t return_address) {
    isa::CpuState& state = vcpu_.state;
    const std::uint32_t handler = state.ivpr | state.ivor[static_cast<unsigned>(which)];
    if (return_address == handler) return false;
    state.page.srr0 = return_address;
    state.page.srr1 = state.page.msr;
    state.page.msr &= interrupts::surviving_msr(which);
    state.pc = handler;
    state.reserve_valid = 0;
    select_context();
    update_run_msr();
    return true;
}

bool NativeEngine::system_call() {
    if (!deliver(Interrupt::system_call, vcpu_.state.pc)) return false;
    count(ExitReason::syscall);
    return true;
}

bool NativeEngine::tlb_miss(std::uint32_t ea, Access access) {
    isa::StatePage& page = vcpu_.state.page;
    const bool fetch = access == Access::fetch;
    if (!fetch && is_own_page(ea)) {
        map_own(ShadowContexts::own_page);
        count(ExitReason::dtlb_virt);
        return true;
    }
    if (ea == device_access_[access == Access::store ? 1 : 0].ea && same_device_access(ea, access)) return true;
    const int index = vcpu_.tlb.search(ea, (page.msr & msr::ds) != 0 ? 1 : 0, page.pid);
    if (index < 0) {
        if (!quick_) return false;
        if (!deliver(fetch ? Interrupt::instruction_tlb_error : Interrupt::data_tlb_error, vcpu_.state.pc))
            return false;
        if (!fetch) {
            page.dear = ea;
            page.esr = world_.esr & (esr::st | esr::fp);
        }
        count(fetch ? ExitReason::itlb_real : ExitReason::dtlb_real);
        return true;
    }
    const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(index));
    if (!mmu::GuestTlb::permits(entry, (page.msr & msr::pr) != 0, access)) return deny(ea, access);
    if (entry.tid != 0 && !fetch && one_kernel() && (page.msr & (msr::is | msr::pr)) == 0) {
        if (stopped_ == Stopped::access) {
            const Opened opened = open_window(ea, entry, static_cast<unsigned>(index));
            if (opened == Opened::done) count(ExitReason::dtlb_virt);
            if (opened == Opened::done) return true;
            if (opened == Opened::elsewhere) return false;
            if (opened == Opened::never && access_fails(vcpu_.state.pc)) return false;
        }
        switch (access_for_kernel(ea, entry, access)) {
        case ForKernel::made: return true;
        case ForKernel::patch: return false;
        case ForKernel::map: break;
        }
    }
    if (entry.page_shift() > Memslot::page_shift && map_again(ea, static_cast<unsigned>(index), access)) {
        count(fetch ? ExitReason::itlb_virt : ExitReason::dtlb_virt);
        return true;
    }
    // Devices are where the guest has no caches.
    const bool device = (entry.word2 & TlbEntry::attr_i) != 0;
    if (device && device_access_quickly(ea, entry, access)) return true;
    if (!map(ea, static_cast<unsigned>(index), access)) return !device && device_access_quickly(ea, entry, access);
    count(fetch ? ExitReason::itlb_virt : ExitReason::dtlb_virt);
    return true;
}

// A page of the guest's kernel that was mapped before and is not any more: as the world switch does it.
bool NativeEngine::map_again(std::uint32_t ea, unsigned guest_index, Access access) {
    const bool fetch = access == Access::fetch;
    if (!one_kernel() || (vcpu_.state.page.msr & (msr::is | msr::ds | msr::pr)) != 0) return false;
    const ShadowTlb::Mapping* const known = retained_.find(ea, fetch);
    const std::uint32_t wanted = access == Access::store ? TlbEntry::uw : TlbEntry::ur;
    if (known == nullptr || (!fetch && (known->word2 & wanted) == 0)) return false;
    ShadowTlb::Mapping mapping = *known;
    mapping.pid = static_cast<std::uint8_t>(world_.shadow_pid);
    mapping.guest_index = static_cast<std::uint8_t>(guest_index);
    const unsigned used = contexts_.insert(mapping, world_.executed_slot);
    if (fetch) world_.executed_slot = used;
    return true;
}

// The guest TLB has an entry that does not allow this access.
bool NativeEngine::deny(std::uint32_t ea, Access access) {
    const bool fetch = access == Access::fetch;
    if (!quick_) return false;
    if (!deliver(fetch ? Interrupt::instruction_storage : Interrupt::data_storage, vcpu_.state.pc)) return false;
    isa::StatePage& page = vcpu_.state.page;
    if (!fetch) page.dear = ea;
    page.esr = fetch ? 0 : world_.esr & (esr::st | esr::fp);
    count(fetch ? ExitReason::isi : ExitReason::dsi);
    return true;
}

// The guest TLB entry for an access in the state that the guest is in, or -1.
int NativeEngine::search_guest_tlb(std::uint32_t ea, Access access) const {
    const isa::StatePage& page = vcpu_.state.page;
    return vcpu_.tlb.search(ea, (page.msr & (access == Access::fetch ? msr::is : msr::ds)) != 0 ? 1 : 0, page.pid);
}

// A storage interrupt that may be nothing but the guest's own.
bool NativeEngine::denied_access(std::uint32_t ea, Access access) {
    const isa::StatePage& page = vcpu_.state.page;
    const int index = search_guest_tlb(ea, access);
    if (index < 0) return false;
    const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(index));
    return !mmu::GuestTlb::permits(entry, (page.msr & msr::pr) != 0, access) && deny(ea, access);
}

// A store where the shadow entry does not allow one though the guest's does: a page that is clean in the dirty log.
bool NativeEngine::storage_interrupt(std::uint32_t ea) {
    const isa::StatePage& page = vcpu_.state.page;
    const int index = vcpu_.tlb.search(ea, (page.msr & msr::ds) != 0 ? 1 : 0, page.pid);
    if (index < 0) return false;
    const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(index));
    if (!mmu::GuestTlb::permits(entry, (page.msr & msr::pr) != 0, Access::store)) return false;
    const Memslot* slot = vcpu_.memory.slot_of(entry.translate(ea));
    if (slot == nullptr || slot->read_only || slot->dirty == nullptr) return false;
    contexts_.drop_guest_entry(static_cast<unsigned>(index)); // the read-only one
    if (!map(ea, static_cast<unsigned>(index), Access::store)) return false;
    count(ExitReason::dtlb_virt);
    return true;
}

// -- the shadow entry
// --------------------------------------------------------------------------------------------------

bool NativeEngine::map(std::uint32_t ea, unsigned guest_index, Access access) {
    const TlbEntry& entry = vcpu_.tlb.entry(guest_index);
    const std::uint64_t real = entry.translate(ea);
    const Memslot* slot = vcpu_.memory.slot_of(real);
    if (slot == nullptr || slot->frames == nullptr) return false;
    if (slot->read_only && access == Access::store) return false;
    const auto page = static_cast<std::uint32_t>((real - slot->base) >> 12);
    const std::uint32_t frame = slot->frames[page];

    // The whole guest page if the host's memory is in one piece there, else as much as is.
    unsigned shift = entry.page_shift();
    if ((frame & 0xFF) < shift) shift = frame & 0xFF;
    bool writable = !slot->read_only;
    if (slot->dirty != nullptr) {
        if (shift > 12) shift = 12;
        if (access == Access::store) slot->dirty[page / 32] |= 1U << (page & 31);
        writable = writable && (slot->dirty[page / 32] >> (page & 31) & 1) != 0;
    }
    View view;
    if (patching_.copies.any() && !choose_memory(ea, entry, real, access, shift, view)) return false;
    const std::uint32_t offset_mask = (1U << shift) - 1;
    const std::uint64_t host_frame = view.copied ? view.frame : frame >> 8;

    // Two entries of the guest for one address are its own mistake, but in the hardware they would be a machine check
    // of the host: the other one's mappings go.
    const isa::StatePage& context = vcpu_.state.page;
    vcpu_.tlb.for_others_in_page(guest_index, ea, shift, entry.ts(), context.pid,
                                 [&](unsigned other) { contexts_.drop_guest_entry(other); });

    ShadowTlb::Mapping mapping;
    mapping.word0 = (ea & ~offset_mask) | TlbEntry::valid_bit | TlbEntry::ts_bit | (shift - 10) / 2 << 4;
    // 1 KB pages: the part of the 4 KB frame.
    const std::uint32_t low = static_cast<std::uint32_t>(host_frame << 12) | (static_cast<std::uint32_t>(real) & 0xFFF);
    mapping.word1 = (low & ~offset_mask & 0xFFFFFC00) | static_cast<std::uint32_t>(host_frame >> 20);
    // The guest's permissions for the state it is in are the hardware's for problem state. SR is for the world switch,
    // which reads the instruction that trapped. Memory is cached as the host has it; byte order and guard are kept.
    const bool problem = (vcpu_.state.page.msr & msr::pr) != 0;
    std::uint32_t allowed = problem ? entry.word2 & 0x38 : (entry.word2 & 0x07) << 3;
    if (!writable) allowed &= ~TlbEntry::uw;
    allowed &= view.allowed;
    mapping.word2 = allowed | TlbEntry::sr | (entry.word2 & (TlbEntry::attr_e | TlbEntry::attr_g));
    mapping.pid = static_cast<std::uint8_t>(world_.shadow_pid);
    mapping.guest_index = static_cast<std::uint8_t>(guest_index);
    // The world switch maps the next one of there.
    if (entry.page_shift() == MissHandlers::page_shift &&
        handlers_.block(entry.word1).tag != (entry.word1 & MissHandlers::tag_mask))
        open_block(entry.word1);
    const bool fetch = access == Access::fetch;
    const bool kernel = (context.msr & (msr::is | msr::pr)) == 0 && one_kernel();
    // Own pages that are executed may be copied again (choose_memory() counts). Who else is there is asked here alone.
    if (kernel && (fetch ? view.copied : slot->dirty == nullptr) && entry.page_shift() > Memslot::page_shift &&
        contexts_.watches(guest_index) && vcpu_.tlb.is_alone_in_page(guest_index, ea, shift, 0))
        retained_.keep(ea, shift, fetch, mapping);
    const unsigned used = contexts_.insert(mapping, fetch ? ShadowTlb::slot_count : world_.executed_slot);
    if (fetch) world_.executed_slot = used;
    // The kernel uses memory of a process: a PID that is written has to find it out of the way.
    if (entry.tid != 0 && kernel) {
        contexts_.of_process.add(used);
        world_.process_pid = vcpu_.state.live_pid = context.pid;
    }
    if ((traces_ & NativeHost::traces_tlb) != 0)
        host_.trace_tlb(used, {mapping.word0, mapping.word1, mapping.word2}, mapping.pid, true);
    return true;
}

} // namespace untrap::runtime::native
