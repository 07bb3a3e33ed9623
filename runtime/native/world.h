// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/native/shadow_tlb.h"
#include "runtime/native/world_layout.h"
#include "runtime/vcpu.h"
#include "translator/ppc/guest_page.h"
#include "translator/ppc/handler.h"

namespace untrap::runtime::native {

constexpr std::uint32_t word_of(std::uint32_t high, std::uint32_t low) { return high << 16 | low; }

// A tlbsx. of the guest's kernel that nothing can change unseen, with what follows it up to a tlbwe of word 0 that
// makes void the entry that was found, since it writes its number. rt, ra and rb: where its registers are, in bytes
// from World on. missed, found: where the guest goes on, after the tlbwe if there was one.
struct KnownSearch {
    static constexpr std::uint32_t none = 1; // no address of an instruction
    std::uint32_t site = none, rt = 0, ra = 0, rb = 0, missed = 0, found = 0;
};

// What the world switch (kmod/world_switch.S) reads and writes, directly before the vCPU's CpuState. The guest's
// registers go straight into CpuState but for CR and XER, which keep the CPU's format here until the core needs them.
// Lies in memory that the host's pinned TLB entries cover: guest vectors run without any other mapping.
struct World {
    static constexpr std::uint32_t no_arena = 0xFFF00000;
    std::uint32_t run_msr = 0;    // MSR to run the guest with: problem state, address space 1
    std::uint32_t shadow_pid = 0; // PID register to run the guest with
    std::uint32_t cr = 0, xer = 0;
    std::uint32_t word = 0; // the instruction, after a program interrupt
    std::uint32_t esr = 0, dear = 0;
    std::uint32_t vector = 0; // the interrupt that ended guest execution, isa::Interrupt
    std::uint32_t host_r1 = 0, host_r2 = 0, host_pid = 0, host_msr = 0;
    std::uint32_t host_ivpr = 0, guest_ivpr = 0;
    std::uint32_t exit = 0;      // function called with the host's world restored: untrap_world_exit
    std::uint32_t attention = 0; // not 0: the run loop has to look at something before the guest goes on
    std::uint32_t quick = 0;     // not 0: the assembly paths may be used, nothing watches single exits
    std::uint32_t pids = 0;      // address of ShadowContexts' table: a byte per context
    std::uint32_t fpu_msr = 0;   // MSR[FP,FE0,FE1] while the FPU holds the guest's registers
    std::uint32_t tlb_sets = 0;  // address of the guest TLB's sets of candidates
    // Bits of the guest's PID that choose a context of its kernel: all, or none where the kernel has one for all PIDs.
    std::uint32_t kernel_pids = 0xFF;
    // Address of the state page where it is mapped, else one that no address without its low 10 bits equals.
    std::uint32_t own_page = 1;
    // Addresses of stubs and, behind them, of windows: a multiple of the bytes. None: 0 bytes.
    std::uint32_t arena = no_arena, arena_bytes = 0;
    // The guest PID whose own mappings its kernel's one context has now, or isa::CpuState::no_pid. CpuState::live_pid
    // is the copy of it that the guest's stubs read, and that the guest may have written.
    std::uint32_t process_pid = isa::CpuState::no_pid;
    std::uint32_t tlb_slots = 0; // address of the guest TLB's entries
    std::uint32_t reserved[6] = {};
    std::uint32_t exits[32] = {}; // by ExitReason, not yet in Vcpu::exits
    // The code of the guest's TLB-miss handlers for data and for instructions, 0 where there is none; the address that
    // missed (at least its page; see WORLD_HANDLER_MISSED); ppc::handler_exit; the function that takes their rfi.
    std::uint32_t more[2] = {}, handler_code[2] = {};
    std::uint32_t handler_missed = 0, handler_flags = 0, handler_return = 0;
    ppc::TlbWrites handler_tlb;
    std::uint32_t handler_finishes = 0;                  // handler_exit of the rfi that is being looked at
    std::uint32_t handler_window = 0;                    // the address that no window was found for
    std::uint32_t handler_leave = 0, handler_finish = 0; // the exits of such code
    std::uint32_t handler_back = 0;                      // where it goes on if its rfi is not taken
    std::uint32_t handler_blocks = 0;                    // address of MissHandlers::blocks
    std::uint32_t shadow_slots = 0;                      // of what ShadowTlb notes of slot 0
    ShadowContexts::Links links{};
    std::uint32_t replaced = 0;                          // mappings written there, not yet in ShadowTlb::inserted
    std::uint32_t contexts = 0, context_sets = 0;        // addresses of ShadowContexts and of its sets
    std::uint32_t executed_slot = ShadowTlb::slot_count; // what the page being executed was last mapped by
    std::uint32_t of_process = 0;                        // address of ShadowContexts::of_process
    // kernel_access.cpp: where it began to look at once for more than one access (a table), the last access, how many
    // in a row, where the row began.
    std::uint32_t long_runs = 0, accessed_ea = 0, accessed_pc = 0, access_run = 0, access_begin = 0;
    std::uint32_t dropped = 0, stub_exits = 0; // not yet in ShadowTlb::dropped, Patching::stub_exits
    // The site whose stub the world switch has left last, and its instruction: its registers are the guest's already.
    std::uint32_t access_site = 1, access_word = 0, access_stub = 0; // and where in the stub
    // By the low bits of a site's address and of the PID: the page with the PID of its last single access, and in
    // between how often in a row it was that one.
    std::array<std::uint32_t, 512> repeats{};
    std::uint32_t retained = 0;                              // address of RetainedMappings' entries
    std::uint32_t handler_fixed[2][ppc::handler_fixed] = {}; // the host's addresses of what the code of handlers needs
    std::uint32_t handler_commit[2] = {}, handler_end = 0;   // more exits of such code
    std::uint32_t commits[2] = {};                           // handlers for data and for instructions
    std::uint32_t kernel_pid_at = 0;
    std::uint32_t surviving_msr = word_of(SURVIVING_MSR_HIGH, SURVIVING_MSR_LOW);
    std::uint32_t slow_msr = word_of(SLOW_MSR_HIGH, SLOW_MSR_LOW) | ~isa::msr::defined;
    std::uint32_t nothing = 0; // a shadow PID that is none
    ppc::Window handler_memos[2][ppc::handler_memos] = {};
    std::uint32_t walks = 0; // address of MissHandlers::walks
    std::uint32_t walk_fields[ppc::walk_inputs] = {};
    ppc::WalkReads walk_reads;
    std::uint32_t handler_record = 0, handler_recall = 0; // more exits
    std::uint32_t recalls = 0, walk = 0;
    std::uint32_t late_count = 0, late_from = LATE_AFTER;
    std::array<std::uint8_t, LATE_LIMIT> late{};
    std::uint32_t walks_kept = 0, declined = 0;
    std::uint32_t data_handler = 0, data_handler_length = 0; // address and number of its words; 0: there is none
    static constexpr std::uint32_t no_site = 1;
    std::uint32_t rfi_sites[8] = {no_site, no_site, no_site, no_site, no_site, no_site, no_site, no_site};
    std::uint32_t rfi_seen = no_site;
    KnownSearch search;
    std::uint32_t search_seen = no_site; // that of an exit to C++
    std::uint32_t unused[293] = {};
};

#define UNTRAP_AT(member, offset) static_assert(offsetof(World, member) == (offset))
UNTRAP_AT(run_msr, WORLD_RUN_MSR);
UNTRAP_AT(shadow_pid, WORLD_SHADOW_PID);
UNTRAP_AT(cr, WORLD_CR);
UNTRAP_AT(xer, WORLD_XER);
UNTRAP_AT(word, WORLD_WORD);
UNTRAP_AT(esr, WORLD_ESR);
UNTRAP_AT(dear, WORLD_DEAR);
UNTRAP_AT(vector, WORLD_VECTOR);
UNTRAP_AT(host_r1, WORLD_HOST_R1);
UNTRAP_AT(host_r2, WORLD_HOST_R2);
UNTRAP_AT(host_pid, WORLD_HOST_PID);
UNTRAP_AT(host_msr, WORLD_HOST_MSR);
UNTRAP_AT(host_ivpr, WORLD_HOST_IVPR);
UNTRAP_AT(guest_ivpr, WORLD_GUEST_IVPR);
UNTRAP_AT(exit, WORLD_EXIT);
UNTRAP_AT(attention, WORLD_ATTENTION);
UNTRAP_AT(quick, WORLD_QUICK);
UNTRAP_AT(pids, WORLD_PIDS);
UNTRAP_AT(fpu_msr, WORLD_FPU_MSR);
UNTRAP_AT(tlb_sets, WORLD_TLB_SETS);
UNTRAP_AT(kernel_pids, WORLD_KERNEL_PIDS);
UNTRAP_AT(own_page, WORLD_OWN_PAGE);
UNTRAP_AT(arena, WORLD_ARENA);
UNTRAP_AT(arena_bytes, WORLD_ARENA_BYTES);
UNTRAP_AT(process_pid, WORLD_PROCESS_PID);
UNTRAP_AT(tlb_slots, WORLD_TLB_SLOTS);
UNTRAP_AT(exits, WORLD_EXITS);
UNTRAP_AT(handler_code, WORLD_HANDLER_CODE(0));
UNTRAP_AT(handler_code, WORLD_HANDLER_CODE(0));
UNTRAP_AT(handler_missed, WORLD_HANDLER_MISSED);
UNTRAP_AT(handler_flags, WORLD_HANDLER_FLAGS);
UNTRAP_AT(handler_return, WORLD_HANDLER_RETURN);
UNTRAP_AT(handler_tlb, WORLD_HANDLER_TLB);
UNTRAP_AT(handler_finishes, WORLD_HANDLER_FINISHES);
UNTRAP_AT(handler_window, WORLD_HANDLER_WINDOW);
UNTRAP_AT(handler_back, WORLD_HANDLER_BACK);
UNTRAP_AT(handler_blocks, WORLD_HANDLER_BLOCKS);
UNTRAP_AT(shadow_slots, WORLD_SHADOW_SLOTS);
UNTRAP_AT(links, WORLD_LINKS);
UNTRAP_AT(replaced, WORLD_REPLACED);
UNTRAP_AT(contexts, WORLD_CONTEXTS);
UNTRAP_AT(context_sets, WORLD_CONTEXT_SETS);
UNTRAP_AT(executed_slot, WORLD_EXECUTED_SLOT);
UNTRAP_AT(of_process, WORLD_OF_PROCESS);
UNTRAP_AT(long_runs, WORLD_LONG_RUNS);
UNTRAP_AT(accessed_ea, WORLD_ACCESSED_EA);
UNTRAP_AT(accessed_pc, WORLD_ACCESSED_PC);
UNTRAP_AT(access_run, WORLD_ACCESS_RUN);
UNTRAP_AT(access_begin, WORLD_ACCESS_BEGIN);
UNTRAP_AT(dropped, WORLD_DROPPED);
UNTRAP_AT(stub_exits, WORLD_STUB_EXITS);
UNTRAP_AT(access_site, WORLD_ACCESS_SITE);
UNTRAP_AT(access_word, WORLD_ACCESS_WORD);
UNTRAP_AT(access_stub, WORLD_ACCESS_STUB);
UNTRAP_AT(repeats, WORLD_REPEATS);
UNTRAP_AT(retained, WORLD_RETAINED);
UNTRAP_AT(commits, WORLD_COMMITS(0));
UNTRAP_AT(kernel_pid_at, WORLD_KERNEL_PID_AT);
UNTRAP_AT(surviving_msr, WORLD_SURVIVING_MSR);
UNTRAP_AT(slow_msr, WORLD_SLOW_MSR);
UNTRAP_AT(walks, WORLD_WALKS);
UNTRAP_AT(walk_fields, WORLD_WALK_FIELD(0));
UNTRAP_AT(walk_reads, WORLD_WALK_READS);
UNTRAP_AT(recalls, WORLD_RECALLS);
UNTRAP_AT(walk, WORLD_WALK);
UNTRAP_AT(late_count, WORLD_LATE_COUNT);
UNTRAP_AT(late_from, WORLD_LATE_FROM);
UNTRAP_AT(late, WORLD_LATE);
UNTRAP_AT(walks_kept, WORLD_WALKS_KEPT);
UNTRAP_AT(declined, WORLD_DECLINED);
UNTRAP_AT(rfi_sites, WORLD_RFI(0));
UNTRAP_AT(rfi_seen, WORLD_RFI_SEEN);
UNTRAP_AT(search, WORLD_SEARCH);
UNTRAP_AT(search.rt, WORLD_SEARCH_RT);
UNTRAP_AT(search.ra, WORLD_SEARCH_RA);
UNTRAP_AT(search.rb, WORLD_SEARCH_RB);
UNTRAP_AT(search.missed, WORLD_SEARCH_MISSED);
UNTRAP_AT(search.found, WORLD_SEARCH_FOUND);
#undef UNTRAP_AT
static_assert(sizeof(World) == WORLD_BYTES);

// CpuState holds pointers: the offsets are those of a 32-bit CPU.
#define UNTRAP_STATE_AT(member, offset)                                                                                \
    static_assert(offsetof(isa::CpuState, member) + WORLD_BYTES == (offset) || sizeof(void*) != 4)
#define UNTRAP_PAGE_AT(member, offset)                                                                                 \
    static_assert(offsetof(isa::StatePage, member) + offsetof(isa::CpuState, page) + WORLD_BYTES == (offset) ||        \
                  sizeof(void*) != 4)
UNTRAP_STATE_AT(gpr, WORLD_GPR(0));
UNTRAP_STATE_AT(pc, WORLD_PC);
UNTRAP_STATE_AT(lr, WORLD_LR);
UNTRAP_STATE_AT(ctr, WORLD_CTR);
UNTRAP_STATE_AT(reserve_valid, WORLD_RESERVE_VALID);
UNTRAP_STATE_AT(live_pid, WORLD_LIVE_PID);
UNTRAP_STATE_AT(ivpr, WORLD_IVPR);
UNTRAP_STATE_AT(ivor, WORLD_IVOR(0));
UNTRAP_PAGE_AT(msr, WORLD_MSR);
UNTRAP_PAGE_AT(pending, WORLD_PENDING);
UNTRAP_PAGE_AT(srr0, WORLD_SRR0);
UNTRAP_PAGE_AT(srr1, WORLD_SRR1);
UNTRAP_PAGE_AT(dear, WORLD_DEAR_PAGE);
UNTRAP_PAGE_AT(esr, WORLD_ESR_PAGE);
UNTRAP_PAGE_AT(pid, WORLD_PID);
UNTRAP_PAGE_AT(mmucr, WORLD_MMUCR);
UNTRAP_PAGE_AT(sprg, WORLD_SPRG4 - 16);
UNTRAP_PAGE_AT(scratch, WORLD_ACCESS_SLOT(0) - 4 * ppc::access_slot);
#undef UNTRAP_STATE_AT
static_assert((ppc::displacement_of(ppc::slot_field(ppc::access_slot)) & 0xFFFF) == ACCESS_SLOT_LOW);
static_assert(WORLD_BYTES % isa::CpuState::page_bytes == 0);
static_assert(offsetof(isa::CpuState, live_pid) - offsetof(isa::CpuState, page) == offsetof(ppc::GuestPage, live_pid));
static_assert(sizeof(ppc::GuestPage) <= isa::CpuState::page_bytes && isa::CpuState::no_pid == ppc::GuestPage::no_pid);
#undef UNTRAP_PAGE_AT

// Problem state in address space 1, host interrupts on.
inline constexpr std::uint32_t run_msr_base = isa::msr::pr | isa::msr::ee | isa::msr::me | isa::msr::is | isa::msr::ds;
static_assert(word_of(RUN_MSR_HIGH, RUN_MSR_LOW) == run_msr_base);
static_assert(word_of(SURVIVING_MSR_HIGH, SURVIVING_MSR_LOW) == (isa::msr::ce | isa::msr::me | isa::msr::de));
static_assert(word_of(SLOW_MSR_HIGH, SLOW_MSR_LOW) ==
              (isa::msr::we | isa::msr::de | isa::msr::dwe | isa::msr::is | isa::msr::ds));
static_assert(EXIT_DSI == static_cast<unsigned>(ExitReason::dsi));
static_assert(EXIT_ITLB_VIRT == static_cast<unsigned>(ExitReason::itlb_virt));
static_assert(EXIT_DTLB_VIRT == static_cast<unsigned>(ExitReason::dtlb_virt));
static_assert(EXIT_ITLB_REAL == static_cast<unsigned>(ExitReason::itlb_real));
static_assert(EXIT_DTLB_REAL == static_cast<unsigned>(ExitReason::dtlb_real));
static_assert(word_of(ESR_DATA_HIGH, 0) == (isa::esr::st | isa::esr::fp));
static_assert(TLB_SETS_PAGES == mmu::GuestTlb::page_sets && TLB_SET_BYTES == sizeof(mmu::GuestTlb::EntrySet));
static_assert(HANDLER_FETCH == ppc::handler_exit::fetch && HANDLER_WORDS == ppc::handler_exit::words &&
              SHADOW_SLOTS == ShadowTlb::slot_count && NO_LINK == ShadowContexts::no_link &&
              OTHER_LINK == ShadowContexts::other_link);
static_assert(MISSED_IN_KERNEL == 0x800 && ppc::Walk::no_key == 0xC00);
static_assert(WALK_SHIFT == ppc::walk_shift && WALK_BITS == ppc::walk_bits);
static_assert(WALK_INPUT(0) == offsetof(ppc::Walk, inputs) && WALK_READ(0) == offsetof(ppc::Walk, loads) &&
              WALK_WORD(0) == offsetof(ppc::Walk, words) && WALK_HOST(0) == offsetof(ppc::Walk, host) &&
              WORLD_WALK_READ(0) == WORLD_WALK_READS + offsetof(ppc::WalkReads, loads));
static_assert(ppc::walk_inputs == 3 && ppc::walk_loads == 4); // as many as the world switch has
static_assert(TLB_WORD2 == mmu::TlbEntry::word2_mask);
static_assert(TLB_KIND_LATE == mmu::GuestTlb::late);
static_assert(TLB_SLOT_KIND == mmu::GuestTlb::shift_offset && TLB_SLOT_BIT == mmu::GuestTlb::bit_offset &&
              TLB_SEGMENTS == mmu::GuestTlb::segments_offset() && TLB_LARGE == mmu::GuestTlb::large_offset() &&
              TLB_VERSION == mmu::GuestTlb::version_offset() && TLB_LARGE_SHIFT == mmu::GuestTlb::large_shift);
static_assert(TLB_SLOT_SHIFT == mmu::GuestTlb::slot_shift && TLB_SLOT_MATCH == mmu::GuestTlb::match_offset);
static_assert(EXIT_SYSCALL == static_cast<unsigned>(ExitReason::syscall));
static_assert(EXIT_EMUL_TLBSX == static_cast<unsigned>(ExitReason::emul_tlbsx));
static_assert(EXIT_EMUL_RFI == static_cast<unsigned>(ExitReason::emul_rfi));
static_assert(exit_reason_count <= 32);

} // namespace untrap::runtime::native
