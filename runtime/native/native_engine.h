// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/engine.h"
#include "runtime/exit_reason.h"
#include "runtime/exit_sites.h"
#include "runtime/interpreter_engine.h"
#include "runtime/native/native_host.h"
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
    NativeEngine(Vcpu& vcpu, World& world, ShadowTlb& tlb, NativeHost& host);

    isa::Trap run(Vcpu& vcpu, std::uint64_t budget) override;
    bool counts_instructions() const override { return false; }
    void tlb_entry_changed(unsigned index, const mmu::TlbEntry& before) override;
    void memory_written(std::uint64_t, std::uint64_t) override {} // level 0 makes nothing from code
    void site_changed(std::uint64_t) override {}
    void flush() override;

    // The guest was left by this interrupt; interrupts are off, the host's world is back. True: back into the guest.
    bool exit(unsigned vector) {
        if (vector == static_cast<unsigned>(isa::Interrupt::program) && world_.quick != 0) return program_interrupt();
        return observed_ ? observed_exit(vector) : quick_exit(vector);
    }

    // Exits counted here and not yet in Vcpu::exits.
    void count_exits();
    std::uint32_t uncounted(unsigned reason) const { return world_.exits[reason]; }

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
    // quick_exits.cpp
    bool quick_exit(unsigned vector);
    bool program_interrupt();
    bool emulate_quickly(std::uint32_t word);
    bool write_spr(unsigned number, std::uint32_t value);
    bool write_msr(std::uint32_t value);
    void write_tlb_word(unsigned index, unsigned ws, std::uint32_t value);
    bool return_from_interrupt();
    bool system_call();
    bool tlb_miss(std::uint32_t ea, mmu::Access access);
    bool storage_interrupt(std::uint32_t ea);
    bool deliver(isa::Interrupt which, std::uint32_t return_address);

    // Maps ea by this guest TLB entry if there is memory behind it.
    bool map(std::uint32_t ea, unsigned guest_index, mmu::Access access);
    void select_context();
    void update_run_msr();
    bool interrupt_would_come(std::uint32_t new_msr) const;
    void next() { vcpu_.state.pc += 4; }
    void count(ExitReason reason) {
        ++world_.exits[static_cast<unsigned>(reason)];
        reason_ = reason;
    }

    void take_fpu();
    void give_fpu();
    isa::Trap trap_of(unsigned vector);
    isa::Trap program_trap();
    isa::Trap data_trap();
    void to_core();
    void from_core();

    // observed_exits.cpp: tracepoints, exit timing, exits by site
    bool observed_exit(unsigned vector);
    void observe_entry();
    void finish_exit(ExitReason reason);

    Vcpu& vcpu_;
    World& world_;
    ShadowContexts contexts_;
    NativeHost& host_;
    InterpreterEngine interpreter_;
    std::uint32_t interpreter_tlb_version_ = 0; // of the guest TLB, when the interpreter last ran
    ExitReason reason_ = ExitReason::signal;
    bool quick_ = false; // quick exits are allowed: nothing watches single instructions
    bool timing_ = false;
    bool observed_ = false; // exits are timed, traced, or told apart by site
    bool exit_open_ = false, exit_was_quick_ = false;
    std::uint32_t traces_ = 0;
    ExitSites::Where left_at_{};
    std::uint32_t entered_ = 0, left_ = 0, left_pc_ = 0, left_word_ = 0; // ticks, and where the guest was
    unsigned executed_slot_ = ShadowTlb::slot_count; // what the page being executed was last mapped by
    std::uint64_t armed_for_ = 0;                    // the deadline that the host timer is set to
    Times times_{};
};

} // namespace untrap::runtime::native
