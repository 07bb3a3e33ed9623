// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/engine.h"
#include "runtime/exit_reason.h"
#include "runtime/exit_sites.h"
#include "runtime/interpreter_engine.h"
#include "runtime/native/miss_handlers.h"
#include "runtime/native/native_host.h"
#include "runtime/native/patching.h"
#include "runtime/native/retained_mappings.h"
#include "runtime/native/sequences.h"
#include "runtime/native/shadow_tlb.h"
#include "runtime/native/world.h"

namespace untrap::runtime::native {

// Guest code on the 440 itself: problem state, address space 1, a shadow PID per context.
//
// Guest execution ends in one of three ways. Quick exits (quick_exits.cpp) are handled by the function that the world
// switch calls, with interrupts off, and the guest goes on at once. Host interrupts are taken in run(). Everything else
// becomes a Trap, and the run loop emulates or reflects it as on any other engine.
//
// The budget of run() is not counted: a 440 cannot. TrapKind::budget means that something outside wants attention.
class NativeEngine final : public Engine {
  public:
    NativeEngine(Vcpu& vcpu, World& world, ShadowTlb& tlb, NativeHost& host, Patching& patching);

    isa::Trap run(Vcpu& vcpu, std::uint64_t budget) override { return in_copy(&run_there)(*this, vcpu, budget); }
    isa::Trap run_guest(Vcpu& vcpu, std::uint64_t budget) override { return run(vcpu, budget); }
    bool counts_instructions() const override { return false; }
    void tlb_entry_changed(unsigned index, const mmu::TlbEntry& before) override;
    void memory_written(std::uint64_t real, std::uint64_t length) override;
    void site_changed(std::uint64_t real) override { in_copy (&site_changed_there)(*this, real); }
    void flush() override;
    void dirty_log_taken() override;

    // A copy of this code that costs the host's TLB less, as a distance from it. Virtual functions are not called
    // there: those that are called often go on in it.
    void set_copy(std::uintptr_t distance) { to_copy_ = distance; }

    // The guest was left by this interrupt; interrupts are off, the host's world is back. True: back into the guest.
    bool exit(unsigned vector) {
        if (special_) {
            // Each was an entry of the guest TLB; the rest of it has time until count_exits().
            const std::uint32_t commits = world_.commits[0] + world_.commits[1] + world_.recalls;
            if (commits != commits_seen_) {
                vcpu_.tlb.count_changes(commits - commits_seen_);
                commits_seen_ = commits;
            }
            if (world_.late_count != 0) settle();
            if (patched()) return patched_exit(vector);
        }
        if (vector == static_cast<unsigned>(isa::Interrupt::program) && world_.quick != 0) return program_interrupt();
        return vector == HANDLER_LEFT ? handler_left() : other_exit(vector);
    }

    // Patches there are, and those that were taken out again; their memory in bytes; stubs among them, and exits that
    // were taken from inside one.
    std::uint32_t patches_in() const { return patching_.installed; }
    std::uint64_t patches_out() const { return patching_.backed_out; }
    std::uint64_t copied_bytes() const { return patching_.copies.bytes(); }
    std::uint32_t stubs() const { return patching_.arena.stubs(); }
    std::uint64_t stub_exits() const { return patching_.stub_exits + world_.stub_exits; }
    // Where the guest's kernel runs with one context for all PIDs, as long as it uses no mapping of one of them.
    bool one_kernel() const { return world_.kernel_pids == 0; }

    // handler_return.h
    template <typename WriteTlb>
    bool return_from_handler(std::uint32_t flags, WriteTlb&& write_tlb);
    const MissHandlers& handlers() const { return handlers_; }
    // Whether windows of processes' pages lie there, and the page with the PID that the one of ea was made for.
    bool is_window(std::uint32_t ea) const;
    std::uint32_t window_tag(std::uint32_t ea) const {
        return user_windows_[(ea - window_ea(0)) >> ppc::window_distance_shift & (isa::CpuState::user_windows - 1)].tag;
    }
    std::uint32_t handler_blocks() const {
        return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(handlers_.blocks.data()));
    }

    // Exits counted here and not yet in Vcpu::exits.
    void count_exits();
    void count_handler(std::uint32_t flags) {
        ++world_.exits[(flags & ppc::handler_exit::fetch) != 0 ? EXIT_ITLB_REAL : EXIT_DTLB_REAL];
    }
    std::uint32_t uncounted(unsigned reason) const {
        std::uint32_t commits = 0;
        if (reason == static_cast<unsigned>(ExitReason::dtlb_real))
            commits = world_.commits[0] - commits_counted_[0] + world_.recalls - recalls_counted_;
        if (reason == static_cast<unsigned>(ExitReason::itlb_real)) commits = world_.commits[1] - commits_counted_[1];
        return world_.exits[reason] + commits;
    }

    // Exit timing, in timebase ticks: by reason from leaving the guest to entering it again, and the time between.
    struct Times {
        struct Reason {
            std::uint64_t min = 0, max = 0, sum = 0, squares = 0;
        };
        std::array<Reason, exit_reason_count> reasons{};
        std::uint64_t guest = 0;
    };
    void set_timing(bool on);
    const Times& times() const { return times_; }

  private:
    // A guest with patches: it may have been in a stub, and has written what it liked into the state page.
    bool patched_exit(unsigned vector) {
        from_stub_ = moved_ = false;
        if (vector == HANDLER_LEFT) return handler_left() && accept_state_page();
        if (vcpu_.state.pc - world_.arena < world_.arena_bytes) leave_stub(vector);
        if (!accept_state_page()) return false;
        if (vector == static_cast<unsigned>(isa::Interrupt::program) && world_.quick != 0) return program_interrupt();
        return other_exit(vector);
    }
    // Entries of the guest TLB that the world switch has left late (kmod/world_entry.inc).
    void settle() {
        vcpu_.tlb.settle(world_.late.data(), world_.late_count);
        world_.late_count = 0;
        world_.late_from = world_.recalls + LATE_AFTER;
    }
    bool other_exit(unsigned vector) { return observed_ ? observed_exit(vector) : quick_exit(vector); }
    // quick_exits.cpp
    bool quick_exit(unsigned vector);
    bool program_interrupt();
    bool emulate_quickly(std::uint32_t word);
    bool emulate(std::uint32_t word);
    bool emulate_tlbwe(isa::Instruction insn);
    bool write_spr(unsigned number, std::uint32_t value);
    void follow_spr(unsigned number);
    bool write_msr(std::uint32_t value);
    bool write_tlb_word(unsigned index, unsigned ws, std::uint32_t value);
    bool return_from_interrupt();
    bool system_call();
    bool tlb_miss(std::uint32_t ea, mmu::Access access);
    bool storage_interrupt(std::uint32_t ea);
    int search_guest_tlb(std::uint32_t ea, mmu::Access access) const;
    bool deny(std::uint32_t ea, mmu::Access access);
    bool denied_access(std::uint32_t ea, mmu::Access access);
    void search_tlb(isa::Instruction insn);
    // kernel_access.cpp
    bool continues_row(std::uint32_t ea, std::uint32_t pc) const;
    enum class ForKernel : std::uint8_t { made, map, patch };
    ForKernel access_for_kernel(std::uint32_t ea, const mmu::TlbEntry& entry, mmu::Access access);
    bool deliver(isa::Interrupt which, std::uint32_t return_address);

    // user_windows.cpp
    // The page with the PID that a window has, and the slot of its mapping.
    static constexpr std::uint32_t no_window = 0x800;
    struct UserWindow {
        std::uint32_t tag = no_window;
        unsigned slot = 0;
    };
    enum class Opened : std::uint8_t { done, not_yet, never, elsewhere };
    std::uint32_t window_ea(unsigned number) const;
    void leave_access(const ppc::Restart& restart, std::uint32_t original, unsigned vector);
    void find_access();
    bool window_fault(std::uint32_t ea, mmu::Access access);
    Opened open_window(std::uint32_t ea, const mmu::TlbEntry& entry, unsigned guest_index);
    void close_window(unsigned number);
    void drop_real(std::uint64_t real, std::uint64_t bytes) {
        retained_.clear();
        contexts_.drop_real(real, bytes);
    }
    bool window_is_used(unsigned number) const {
        const UserWindow& window = user_windows_[number];
        return window.tag != no_window && contexts_.maps_at(window.slot, window_ea(number));
    }
    bool better_group(std::uint32_t tag, unsigned& group) const;
    std::uint32_t tag_of(std::uint32_t ea) const;
    void close_windows();
    struct AccessSite;
    AccessSite& access_site(std::uint32_t pc);
    std::uint32_t& repeats_of(std::uint32_t pc) {
        return world_.repeats[(vcpu_.state.page.pid & 7) << 6 | (pc >> 2 & 63)];
    }
    static void wait_for_more(AccessSite& site);
    bool access_repeats(std::uint32_t pc, std::uint32_t tag);
    bool access_is_hot(std::uint32_t ea, std::uint32_t pc);
    bool access_fails(std::uint32_t pc);
    void row_at_stub(std::uint32_t pc);
    void change_access();

    // Maps ea by this guest TLB entry if there is memory behind it.
    bool map(std::uint32_t ea, unsigned guest_index, mmu::Access access);
    bool map_again(std::uint32_t ea, unsigned guest_index, mmu::Access access);
    void select_context();
    void drop_process();
    void update_run_msr();
    bool interrupt_would_come(std::uint32_t new_msr) const;
    void next() { vcpu_.state.pc += 4; }
    void count(ExitReason reason) {
        ++world_.exits[static_cast<unsigned>(reason)];
        reason_ = reason;
    }

    // patching.cpp
    struct View {
        bool copied = false;
        std::uint64_t frame = 0;     // host real address >> 12, if copied
        std::uint32_t allowed = ~0U; // of the permissions that the guest gives
    };
    enum class Installed : std::uint8_t { done, never, not_now };
    bool patched() const { return world_.own_page != 1; }
    // Patched, or with compiled handlers: what exits look at.
    bool special_ = false;
    // Of World::commits and recalls, which only grow.
    std::uint32_t commits_seen_ = 0, commits_counted_[2] = {}, recalls_counted_ = 0;
    void note_special() { special_ = patched() || handlers_in_use(); }
    bool accept_state_page();
    void read_state_page_back();
    void leave_stub(unsigned& vector);
    bool stub_miss();
    bool runs_kernel() const { return (contexts_.key_of(world_.shadow_pid) & 3) == 0; }
    void map_own(unsigned which);
    bool is_own_page(std::uint32_t ea) const;
    bool takes_our_place(const mmu::TlbEntry& entry) const;
    bool place_is_free(std::uint32_t ea, unsigned shift) const;
    void drop_piece(const CodeCopies::Block& block, unsigned page);
    void change_use(CodeCopies::Block& block, unsigned page, CodeCopies::Use use);
    void make_own(CodeCopies::Block& block, unsigned page);
    void copy_again(CodeCopies::Block& block, unsigned page, const Memslot& slot, CodeCopies::Use use);
    bool choose_memory(std::uint32_t ea, const mmu::TlbEntry& entry, std::uint64_t real, mmu::Access access,
                       unsigned& shift, View& view);
    bool wrong_view(std::uint32_t ea, mmu::Access access);
    // The slot of real, where stores need nothing but to be made: writable, without dirty log, no code copy; or
    // nullptr.
    const Memslot* plain_memory(std::uint64_t real);
    void change_site(std::uint64_t real);
    bool start_arena(std::uint32_t site);
    std::uint32_t replacement(const plan::Patch* patch, std::uint32_t original, std::uint32_t ea, std::uint32_t& stub);
    // patch: nullptr for an access to a process's memory.
    Installed install(std::uint64_t real, std::uint32_t original, std::uint32_t ea, const Resolved& at,
                      const plan::Patch* patch);
    static std::uint32_t original_word(const Resolved& at);
    void remove_site(Patching::Site& site);
    bool back_out_access(std::uint64_t real);
    void release_block(CodeCopies::Block& block);
    void back_out_page(CodeCopies::Block& block, unsigned page);
    void back_out_all();
    bool settle_page(const Resolved& at, mmu::Access access);
    // Sites that stay traps, by the low bits of their address: how many instructions such an exit reaches over, and
    // whether it goes round with a loop. 0: not known yet.
    struct Settled {
        std::uint32_t pc = 1;
        std::uint16_t span = 0;
        bool loops = false;
    };
    static constexpr unsigned settled_count = 512;
    Settled span_of(std::uint32_t pc);
    // sequences.cpp
    Sequence* sequence_at(std::uint32_t site, const Settled& settled);
    void go_on(std::uint32_t site, const Settled& settled);
    unsigned sweep(const Sequence& sequence, unsigned& rounds);
    void trust_sequence(Sequence& sequence);

    // known_sites.cpp
    void consider_sites();
    void consider_rfi(std::uint32_t site);
    void consider_search(std::uint32_t site);
    void drop_sites();
    void drop_sites_of(std::uint64_t real, std::uint64_t bytes);

    // miss_handlers.cpp
    ppc::HandlerPlace handler_place(unsigned which) const;
    void start_handler(unsigned which);
    void set_handler_code(unsigned which, bool runs);
    void start_walks(const ppc::CompiledHandler& compiled);
    void drop_walks();
    bool handlers_in_use() const {
        return handlers_.programs[0].entry != MissHandlers::none || handlers_.programs[1].entry != MissHandlers::none;
    }
    void consider_handlers();
    void guard_code(std::uint32_t ea);
    unsigned read_handler(std::uint32_t entry, unsigned most, unsigned& index, std::uint64_t& real);
    bool compile_handler(unsigned which, std::uint32_t entry);
    void drop_handler(unsigned which);
    void drop_handlers();
    void drop_windows();
    void handler_page_changed(std::uint64_t real);
    void drop_handlers_of(std::uint64_t real, std::uint64_t bytes);
    bool handler_left();
    void write_noted_words(unsigned index, std::uint32_t flags);
    void finish_tlb_writes();
    const mmu::TlbEntry* window_entry(std::uint32_t ea, unsigned shift, mmu::Access access, std::uint32_t& host);
    std::uint32_t host_piece(std::uint64_t real, unsigned shift, bool write);
    void open_load_window(std::uint32_t ea);
    void open_store_window(std::uint32_t ea);
    void open_block(std::uint32_t word1);

    template <typename Function>
    Function* in_copy(Function* function) const {
        return reinterpret_cast<Function*>(reinterpret_cast<std::uintptr_t>(function) + to_copy_);
    }
    static isa::Trap run_there(NativeEngine& engine, Vcpu& vcpu, std::uint64_t budget) {
        return engine.run_until_trap(vcpu, budget);
    }
    static void site_changed_there(NativeEngine& engine, std::uint64_t real) { engine.change_site(real); }
    isa::Trap run_until_trap(Vcpu& vcpu, std::uint64_t budget);
    void take_fpu();
    void give_fpu();
    isa::Trap trap_of(unsigned vector);
    isa::Trap program_trap();
    isa::Trap data_trap();
    // device_access.cpp
    bool device_access(const Resolved& at, isa::Trap& trap);
    bool device_access_quickly(std::uint32_t ea, const mmu::TlbEntry& entry, mmu::Access access);
    bool same_device_access(std::uint32_t ea, mmu::Access access);
    std::uint32_t access_context() const;
    void to_core();
    void from_core();

    // observed_exits.cpp: tracepoints, exit timing, exits by site
    bool observed_exit(unsigned vector);
    void observe_entry();
    void finish_exit(ExitReason reason);

    // What each exit reads stands first, within reach of one instruction.
    Vcpu& vcpu_;
    World& world_;
    NativeHost& host_;
    Patching& patching_;
    std::uintptr_t to_copy_ = 0;
    ExitReason reason_ = ExitReason::signal;
    bool quick_ = false;     // quick exits are allowed: nothing watches single instructions
    bool from_stub_ = false; // the guest was left in a stub
    bool moved_ = false;     // and is in another context than its CPU was, because it wrote the state page
    // For a data TLB error, or a data storage interrupt of a stub: the stub was one of an access, which failed at its
    // own address, in a window, at one and behind its end.
    enum class Stopped : std::uint8_t { elsewhere, access, window, behind_window } stopped_ = Stopped::elsewhere;
    std::uint8_t window_group_ = 0; // of that stub
    bool patches_ = false;          // there are levels in use
    bool timing_ = false;
    bool observed_ = false; // exits are timed, traced, or told apart by site
    bool exit_open_ = false, exit_was_quick_ = false;
    std::uint32_t traces_ = 0;
    ShadowContexts contexts_;
    std::array<Settled, settled_count> settled_{};
    ExitSites::Where left_at_{};
    std::uint32_t entered_ = 0, left_ = 0, left_pc_ = 0, left_word_ = 0; // ticks, and where the guest was
    // kernel_access.cpp: by the low bits of a place where rows of accesses were long, and how often to believe that.
    struct LongRun {
        std::uint32_t pc = 1, left = 0;
    };
    static constexpr unsigned long_runs = LONG_RUNS;
    static_assert(sizeof(LongRun) == 8);
    std::array<LongRun, long_runs> long_runs_{};
    std::array<UserWindow, isa::CpuState::user_windows> user_windows_{};
    // user_windows.cpp. Sites of single accesses by the low bits of their address.
    static constexpr std::uint32_t no_site = 1;
    struct AccessSite {
        std::uint32_t pc = no_site;
        std::uint8_t times = 0, wait = 3; // how often it got hot, and is to get hot until it is patched
        std::uint8_t moves = 0;           // between groups of windows
        std::uint8_t failures = 0;        // see user_windows.cpp
        bool never = false, in_row = false;
    };
    static constexpr unsigned access_site_count = 128;
    std::array<AccessSite, access_site_count> access_sites_{};
    std::uint32_t hot_access_ = no_site; // for the run loop, at this exit
    // The last load and the last store that a device's pages were enough for.
    struct DeviceAccess {
        std::uint32_t ea = 0, pc = 1, context = 0; // pc 1: none
        std::uint32_t word = 0, rt = 0;            // its instruction
        std::uint32_t tlb_version = 0, memory_version = 0;
        const std::uint8_t* code = nullptr;
        std::uint64_t real = 0;
        DevicePages::Register found;
    };
    std::array<DeviceAccess, 2> device_access_{};
    // What accept_state_page() accepted last, valid as long as shadow PIDs stand for what they did then.
    struct Accepted {
        std::uint32_t msr = ~0U, pid = 0, shadow_pid = 0, process_pid = 0;
    } accepted_;
    std::uint64_t armed_for_ = 0; // the deadline that the host timer is set to
    Times times_{};
    std::uint32_t runs_ = 0;
    std::uint32_t interpreter_tlb_version_ = 0; // of the guest TLB, when the interpreter last ran
    InterpreterEngine interpreter_;
    MissHandlers handlers_;
    Sequences sequences_;
    // Counts what may have changed code that is executed from copies, or what maps it.
    std::uint32_t code_generation_ = Sequence::never + 1;
    void code_changed() {
        if (++code_generation_ == Sequence::never) ++code_generation_;
    }
    RetainedMappings retained_;
};

// A word of a guest TLB entry is written by the guest. Written over an entry that was never used, it costs no more than
// the write. False, with nothing done: the patches are in the way.
[[gnu::always_inline]] inline bool NativeEngine::write_tlb_word(unsigned index, unsigned ws, std::uint32_t value) {
    if (ws == 0 && !mmu::GuestTlb::is_void(value) && patched() && takes_our_place({.word0 = value})) return false;
    if (world_.links[index] != ShadowContexts::no_link) {
        if (contexts_.watches(index) || traces_ != 0)
            tlb_entry_changed(index, vcpu_.tlb.entry(index));
        else
            contexts_.drop_guest_entry(index);
    }
    if (ws == 0 && mmu::GuestTlb::is_void(value)) {
        vcpu_.tlb.invalidate(index, value, vcpu_.state.page.mmucr & 0xFF);
    } else {
        if (ws == 0) retained_.entry_made(value);
        vcpu_.tlb.write_word(index, ws, value, vcpu_.state.page.mmucr);
    }
    return true;
}

} // namespace untrap::runtime::native
