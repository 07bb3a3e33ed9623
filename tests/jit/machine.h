// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "optimisation_cases.h"
#include "runtime/interpreter_engine.h"
#include "runtime/soft/jit_engine.h"
#include "runtime/vcpu.h"
#include "shared_memory.h"

namespace untrap::tests {

// Guest real memory of the tests. Everything else is a hole: device space.
struct Layout {
    static constexpr std::uint64_t data = 0, data_bytes = 256 << 10;
    static constexpr std::uint64_t rom = 0x02000000, rom_bytes = 16 << 10;
    static constexpr std::uint64_t code = 0x08000000, code_bytes = 128 << 10;
    static constexpr std::uint64_t high = 0x1'00000000, high_bytes = 64 << 10;
    static constexpr std::uint64_t hole = 0x04000000;
};

class QuietHost final : public runtime::Host {
  public:
    std::uint64_t now() override { return 0; }
    void warn(const char*, std::uint32_t, std::uint32_t) override {}
    // Nothing from outside ever wakes a guest here.
    void wait(std::uint64_t until) override {
        if (vcpu != nullptr && until == runtime::Timers::never) vcpu->request_stop();
    }
    void between_slices() override {
        if (vcpu == nullptr) return;
        if (vcpu->state.retired > stop_after) vcpu->request_stop();
        slices.push_back({vcpu->state.retired, vcpu->state.pc, vcpu->state.page.msr});
    }

    // Where the guest was each time the run loop looked.
    struct Slice {
        std::uint64_t retired;
        std::uint32_t pc, msr;
        bool operator==(const Slice&) const = default;
    };
    std::vector<Slice> slices;
    runtime::Vcpu* vcpu = nullptr;
    std::uint64_t stop_after = ~std::uint64_t{0};
};

// A guest with memory and one of the engines, under the guest clock.
class Machine {
  public:
    enum class Kind { interpreter, jit };
    explicit Machine(Kind kind, std::size_t cache_bytes = runtime::soft::JitEngine::default_cache_bytes,
                     x64::Optimisations optimisations = translating_at_once, std::uint32_t runs = plain_runs);

    runtime::Vcpu& vcpu() { return *vcpu_; }
    isa::CpuState& state() { return vcpu_->state; }
    runtime::Engine& engine() { return *engine_; }
    runtime::soft::JitEngine& jit_engine() { return *jit_; }
    runtime::PatchRegistry& patches() { return *patches_; }
    QuietHost& host() { return host_; }

    // All registers but the engine's own.
    void set_state(const isa::CpuState& state);
    std::uint8_t* memory(std::uint64_t real);
    // A write by a device.
    void write_memory(std::uint64_t real, const std::uint8_t* bytes, std::uint32_t length);
    void write_word(std::uint64_t real, std::uint32_t word, bool little_endian = false);

    SharedMemory data, rom, code, high;

  private:
    runtime::PhysicalMemory physical_;
    std::unique_ptr<runtime::PatchRegistry> patches_;
    QuietHost host_;
    std::unique_ptr<runtime::Vcpu> vcpu_;
    runtime::InterpreterEngine interpreter_;
    std::unique_ptr<runtime::soft::JitEngine> jit_;
    runtime::Engine* engine_ = nullptr;
};

// What differs, one line each; empty if nothing does. names: of the two sides.
struct Sides {
    const char* left = "interpreter";
    const char* right = "JIT";
};
std::string state_difference(const isa::CpuState& a, const isa::CpuState& b, Sides sides = {});
std::string trap_difference(const isa::Trap& a, const isa::Trap& b, Sides sides = {});
std::string memory_difference(const Machine& a, const Machine& b, Sides sides = {});
std::string tlb_difference(Machine& a, Machine& b);

std::string describe(const isa::Trap& trap);
std::string describe(const isa::CpuState& state);
std::string describe(const mmu::GuestTlb& tlb);
std::string disassemble(std::uint32_t word);
// Code around an address as the guest sees it now.
std::string listing(Machine& machine, std::uint32_t first, unsigned count, std::uint32_t marked);

// The same guest twice: on the interpreter and on the JIT. Every step is compared.
class Pair {
  public:
    explicit Pair(std::size_t cache_bytes = runtime::soft::JitEngine::default_cache_bytes,
                  x64::Optimisations optimisations = translating_at_once, std::uint32_t runs = plain_runs)
        : reference(Machine::Kind::interpreter), jit(Machine::Kind::jit, cache_bytes, optimisations, runs) {}

    template <typename Action>
    void both(Action&& action) {
        action(reference);
        action(jit);
    }
    // Runs both; a difference fails the test case with a full description. context names the case at hand.
    isa::Trap run(std::uint64_t budget, const std::string& context);
    void compare_memory(const std::string& context);
    std::uint64_t executed() const { return executed_; }

    Machine reference, jit;

  private:
    [[noreturn]] void fail(const std::string& difference, const std::string& context, std::uint64_t budget,
                           const isa::CpuState& before, const isa::Trap& trap);
    std::uint64_t executed_ = 0;
    isa::CpuState last_start_;
};

} // namespace untrap::tests
