// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model_cpu.h"
#include "runtime/interpreter_engine.h"
#include "runtime/native/native_engine.h"
#include "runtime/vcpu.h"

namespace untrap::tests::native {

// How a memory slot is made.
struct SlotOptions {
    bool read_only = false;
    bool logged = false;
    unsigned largest_block = 28; // log2 of the largest contiguous piece of host memory
    bool mixed = false;          // pieces of random sizes up to that
    int bank = -1;               // of host memory; -1: any
};

// A VM with one vCPU, run by the native engine on the model, or by the interpreter for comparison. Time stands still
// but for what a test adds to it and what the guest waits for, so that both see the same.
class Machine {
  public:
    enum class Kind { interpreter, native };
    struct Deleter {
        void operator()(Machine* machine) const;
    };
    using Pointer = std::unique_ptr<Machine, Deleter>;
    // In the lowest 4 GB, where struct World's addresses of 32 bits reach.
    static Pointer make(ModelCpu& cpu, Kind kind, runtime::native::ShadowTlb& tlb);

    // Replaces a slot, or removes it (size 0), as the module does: the engine is told.
    void set_slot(unsigned number, std::uint64_t base, std::uint64_t size, const SlotOptions& options = {});
    void remove_slot(unsigned number) { set_slot(number, 0, 0); }
    // Switches logging of a slot, with an empty log.
    void log_slot(unsigned number, bool on);
    // What was logged since the last time; pages are clean afterwards.
    std::vector<std::uint32_t> take_log(unsigned number);

    // Guest real memory, which must be there.
    std::uint8_t* at(std::uint64_t real);
    void put(std::uint64_t real, std::uint32_t word, bool little_endian = false);
    std::uint32_t word(std::uint64_t real);
    std::vector<std::uint8_t> contents(unsigned slot);
    void fill(unsigned slot, const std::vector<std::uint8_t>& bytes);

    runtime::Vcpu& vcpu() { return vcpu_; }
    isa::CpuState& state() { return vcpu_.state; }
    runtime::native::World& world() { return world_; }
    runtime::native::NativeEngine& native() { return *native_; }
    unsigned patch_levels() const { return patches_->levels(); }
    runtime::PatchRegistry& patches() { return *patches_; }
    // Patch levels up to this one, from the next start on.
    void set_levels(unsigned levels, unsigned threshold);
    void set_level(unsigned level, unsigned threshold);
    // Memory of copies and stubs, in bytes; nothing may be patched.
    void limit_patch_memory(std::uint64_t bytes) { patching_->copies.limit(bytes); }
    runtime::Engine& engine() { return vcpu_.engine(); }
    ModelCpu& cpu() { return cpu_; }
    unsigned vm() const { return vm_; }
    Kind kind() const { return kind_; }
    // With those that the engine has not handed over yet.
    std::uint64_t exits(runtime::ExitReason reason) const {
        const auto number = static_cast<unsigned>(reason);
        return vcpu_.exits.by_reason[number] + (native_ ? native_->uncounted(number) : 0);
    }
    std::uint64_t exits() const {
        std::uint64_t all = 0;
        for (unsigned reason = 0; reason < runtime::exit_reason_count; ++reason)
            all += exits(static_cast<runtime::ExitReason>(reason));
        return all;
    }

    // Everything of a reset vCPU but for these, and no TLB entry.
    void start(const isa::CpuState& state);
    // A guest TLB entry; size_code as in word 0.
    void map(unsigned index, std::uint32_t ea, std::uint64_t real, unsigned size_code, std::uint32_t attributes,
             unsigned tid = 0, unsigned space = 0);

    // Time goes on, and the host's timer rings if it is due.
    void pass_time(std::uint64_t ticks);
    void ring();
    std::uint64_t timer() const { return timer_; }

    std::uint64_t time = 0;
    // Instructions of the guest, about.
    std::uint64_t progress() const { return executed + vcpu_.state.retired; }
    std::uint64_t executed = 0;                   // instructions of the guest on the model
    std::uint64_t stop_after = ~std::uint64_t{0}; // instructions, after which the vCPU is stopped
    unsigned waits = 0;
    bool used_state_page = false;                    // by an access of its own
    unsigned largest_allocation = 20;                // log2 of the bytes that the host has in one piece
    std::uint64_t allocated = 0, most_allocated = 0; // bytes
    std::uint32_t traces = 0;
    std::uint64_t traced = 0;
    // Level of each patch that is in, by its place, and how often one came: as far as patches are traced.
    std::map<std::uint64_t, unsigned> traced_patches;
    std::uint64_t patches_traced = 0;
    std::vector<std::string> warnings;

  private:
    friend class ModelCpu;

    class MachineHost final : public runtime::native::NativeHost {
      public:
        explicit MachineHost(Machine& machine) : machine_(machine) {}
        std::uint64_t now() override { return machine_.time; }
        void warn(const char* message, std::uint32_t, std::uint32_t) override;
        void wait(std::uint64_t until) override;
        void between_slices() override;
        bool poll() override;
        void arm_timer(std::uint64_t until) override;
        void take_fpu() override;
        void give_fpu() override;
        std::uint32_t traces() override { return machine_.traces; }
        void* allocate(unsigned shift) override;
        void release(void* block, unsigned shift) override;
        std::uint64_t real_of(const void* linear) override;
        std::uint32_t linear(const void* memory, std::uint32_t bytes) override;
        void trace_patch(std::uint64_t real, std::uint32_t word, unsigned level, bool patched) override;
        void trace_entry(std::uint32_t pc, std::uint32_t msr, std::uint32_t pid) override;
        void trace_exit(unsigned reason, std::uint32_t pc, std::uint32_t word) override;
        void trace_tlb(unsigned index, const std::uint32_t (&words)[3], unsigned pid, bool written) override;

      private:
        Machine& machine_;
    };

    struct Slot {
        std::vector<std::uint8_t*> pages;
        std::vector<std::uint32_t> frames, dirty;
    };

    Machine(ModelCpu& cpu, Kind kind, runtime::native::ShadowTlb& tlb);
    ~Machine();
    void give_slot(unsigned number, runtime::Memslot region);

    ModelCpu& cpu_;
    Kind kind_;
    unsigned vm_;
    runtime::PhysicalMemory physical_;
    std::unique_ptr<runtime::PatchRegistry> patches_;
    std::unique_ptr<runtime::native::Patching> patching_;
    std::array<Slot, runtime::PhysicalMemory::slot_count> slots_;
    std::uint64_t timer_ = runtime::Timers::never;
    MachineHost host_;
    runtime::native::World world_;
    runtime::Vcpu vcpu_;
    runtime::InterpreterEngine interpreter_;
    std::optional<runtime::native::NativeEngine> native_;
};

// What differs between two machines that a guest could tell, one line each; empty if nothing does.
std::string difference(Machine& reference, Machine& other);
// Exits for emulation, and those reflected, counted differently.
std::string count_difference(const Machine& reference, const Machine& other);
// Code around an address as the guest sees it.
std::string listing(Machine& machine, std::uint32_t first, unsigned count, std::uint32_t marked);

} // namespace untrap::tests::native
