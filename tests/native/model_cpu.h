// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>

#include "host_memory.h"
#include "mmu/guest_tlb.h"
#include "mmu/tlb_entry.h"
#include "runtime/native/shadow_tlb.h"
#include "runtime/native/world.h"
#include "tests/jit/random.h"
#include "translator/isa/state.h"
#include "translator/isa/trap.h"

namespace untrap::tests::native {

class Machine;

// A 440 with a Linux host on it, as far as the native engine has to do with them: runtime/native/hardware.h acts on
// the one model that exists. Guest code is run by the reference interpreter through the model's TLB, in problem state
// and address space 1. Between its instructions, and whenever interrupts are on, the host does what Linux may do:
// interrupts the guest, replaces TLB entries below its pinned ones, drops all of them, uses the FPU and USPRG0.
//
// What would harm a real host is found here and fails the test: see violation().
class ModelCpu {
  public:
    static constexpr unsigned entry_count = 64;

    // pinned_from: the host's own entries begin here.
    ModelCpu(Random& random, unsigned pinned_from = 62);
    ~ModelCpu();
    ModelCpu(const ModelCpu&) = delete;
    ModelCpu& operator=(const ModelCpu&) = delete;
    static ModelCpu& current();

    // What the engine calls.
    void write_tlb(unsigned index, std::uint32_t word0, std::uint32_t word1, std::uint32_t word2, unsigned pid);
    mmu::TlbEntry read_tlb(unsigned index);
    void invalidate_tlb(unsigned index);
    void invalidate_instruction_cache();
    std::uint64_t timebase() { return ++ticks_; }
    std::uint32_t irq_save();
    void irq_restore(std::uint32_t saved);
    void load_user_registers(std::uint32_t usprg0);
    std::uint32_t read_usprg0();
    void load_fpu(const std::uint64_t* fpr, std::uint32_t fpscr);
    void store_fpu(std::uint64_t* fpr, std::uint32_t& fpscr);
    void enter_guest(runtime::native::World& world);

    // Host code that runs with interrupts on, for Machine's host.
    void expect_interrupts(bool on, const char* where);
    void host_runs();
    void fpu_permission(bool given);

    // Something that a real 440 host would suffer from, or a guest could tell. Ends the test case.
    [[noreturn]] void violation(const std::string& what);

    void add(Machine& machine) { machines_.insert(&machine); }
    void remove(Machine& machine);

    struct Entry {
        mmu::TlbEntry words;
        std::uint64_t meaning = 0; // of the context that it was made for
        unsigned process = 0;      // the guest PID whose mapping it is; 0: one of all processes
    };
    const Entry& entry(unsigned index) const { return tlb_[index]; }
    // The guest entries in the TLB; those for one context.
    unsigned guest_entries() const;
    // Removes everything below the pinned entries, as the host's _tlbil_all.
    void drop_all();
    // The host writes one of its own mappings there.
    void host_takes(unsigned index);

    Random& random;
    HostMemory memory;
    unsigned pinned_from;
    // 0: the host never comes in between. Else about one interrupt in so many instructions.
    unsigned interrupt_interval = 0;
    // Percent of the times interrupts are on in which the host replaces TLB entries.
    unsigned host_percent = 0;
    // The guest's TLB has no two entries for one address, so every hit can be compared with it.
    bool compare_translations = true;
    // Whether sc and rfi may be handled as the assembly does.
    bool assembly_paths = true;

    // Where compiled handlers leave to.
    static constexpr std::uint32_t handler_leave_ea = 0x7FFF0000, handler_finish_ea = 0x7FFF0100,
                                   handler_commit_ea = 0x7FFF0200, handler_end_ea = 0x7FFF0300,
                                   handler_record_ea = 0x7FFF0400, handler_recall_ea = 0x7FFF0500,
                                   handler_place_ea = 0x7FFE0000;
    // Exits of them: those that came to their rfi, those that did not.
    std::uint64_t handlers_finished = 0, handlers_left = 0;
    // Entries that they wrote before their last instructions, and those that were refused then: besides the kernel's,
    // so many percent.
    const std::uint32_t* data_handler = nullptr; // what the vector of data TLB errors leads to
    std::uint64_t commits = 0, commits_declined = 0, recalls = 0, recalls_declined = 0, rfis_known = 0,
                  searches_known = 0;
    unsigned decline_percent = 0;

    // Statistics of all machines.
    std::uint64_t instructions = 0, exits = 0, host_interrupts = 0, writes = 0, assembly_exits = 0,
                  instruction_cache_invalidations = 0;

  private:
    friend class GuestStorageModel;

    // Why the guest was left.
    struct Left {
        isa::Interrupt vector;
        std::uint32_t esr = 0, dear = 0, word = 0;
        bool sets_esr = false, sets_dear = false;
    };

    void check_entry(const mmu::TlbEntry& entry, unsigned index);
    void check_before_guest(Machine& machine, const runtime::native::World& world);
    void load_guest(Machine& machine, const runtime::native::World& world);
    void store_guest(Machine& machine, runtime::native::World& world);
    Left run_guest(Machine& machine, const runtime::native::World& world);
    Left interrupt_of(const isa::Trap& trap, std::uint32_t word) const;
    bool assembly_path(Machine& machine, runtime::native::World& world, const Left& left);
    bool assembly_delivers(Machine& machine, runtime::native::World& world, isa::Interrupt which, unsigned reason);
    bool assembly_misses(Machine& machine, const runtime::native::World& world, std::uint32_t ea, isa::Interrupt which);
    void write_tlb_in_switch(Machine& machine, runtime::native::World& world,
                             const runtime::native::ShadowTlb::Mapping& mapping, unsigned slot);
    enum class Ran { no, finished, left };
    Ran assembly_handles(Machine& machine, runtime::native::World& world, const Left& left);
    bool assembly_program(Machine& machine, runtime::native::World& world, const Left& left);
    static void keep_walk(Machine& machine, runtime::native::World& world);
    bool assembly_search(Machine& machine, runtime::native::World& world, const Left& left);
    bool assembly_returns(Machine& machine, runtime::native::World& world);
    // The TLB entry for an address in address space 1, -1 if none; two are a machine check.
    int search(std::uint32_t ea, unsigned pid);
    bool is_in_host_order(std::uint32_t ea, const mmu::TlbEntry& entry) const;
    // Host memory behind ea for the guest, nullptr with the kind of trap if the TLB does not allow it.
    bool guest_allows(std::uint32_t ea, mmu::Access access, const std::uint8_t* host, bool little_endian);
    std::uint8_t* access(std::uint32_t ea, mmu::Access access, isa::TrapKind& kind, bool& little_endian);
    std::uint32_t word_of_instruction(std::uint32_t pc, unsigned pid);

    std::array<Entry, entry_count> tlb_{};
    bool interrupts_on_ = true;
    bool fpu_permitted_ = false, fpu_of_guest_ = false;
    std::array<std::uint64_t, 32> fpr_{};
    std::uint32_t fpscr_ = 0, usprg0_ = 0;
    std::uint64_t ticks_ = 0;
    unsigned host_next_ = 0; // Linux replaces entries round robin
    unsigned until_interrupt_ = 0;
    std::uint32_t word_ = 0; // the instruction being executed
    std::uint32_t stuck_at_ = 0;
    unsigned stuck_ = 0;                          // exits in a row at that address
    std::array<std::uint64_t, 256> cached_for_{}; // by PID: the context whose instructions are in the cache
    isa::CpuState hardware_;
    std::set<Machine*> machines_;
    Machine* running_ = nullptr;
    std::uint64_t meaning_ = 0; // of the context that runs
};

} // namespace untrap::tests::native
