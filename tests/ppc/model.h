// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/emulate.h"
#include "tests/jit/random.h"
#include "tests/runtime/guest.h"
#include "translator/interp/interpreter.h"
#include "translator/ppc/stub_arena.h"

namespace untrap::tests::ppc440 {

// A 440 host in front of patched guest code: the CPU is the reference interpreter in problem state, its storage the
// patched copy of a code page, a stub arena, the guest's page, and a piece of guest memory. The hypervisor's side is
// what the native engine has to do: restore, read back, emulate.
class Model final : public interp::Storage {
  public:
    static constexpr std::uint32_t code_ea = 0xC0010000, arena_ea = 0xBF000000, data_ea = 0xC0100000;
    static constexpr unsigned data_bytes = 4096, granules = 64;

    Model();

    // The guest's code, unpatched, in place of what was there; stubs go.
    void set_code(std::vector<std::uint32_t> words);
    // Patches the word at this address as far as it can be. False if it stays as it is.
    bool patch(std::uint32_t site, unsigned levels, ppc::Registers dead);
    // The words from this address to the end of the page.
    const std::uint32_t* window(std::uint32_t ea) const { return &original_[(ea - code_ea) / 4]; }
    unsigned window_length(std::uint32_t ea) const {
        return static_cast<unsigned>(original_.size()) - (ea - code_ea) / 4;
    }
    std::uint32_t end() const { return code_ea + 4 * static_cast<std::uint32_t>(original_.size()); }
    bool in_code(std::uint32_t ea) const { return ea >= code_ea && ea < end(); }

    // Into the guest: the CPU's registers and the guest's page from the guest's state. live_pid as the host chooses.
    void enter(const isa::CpuState& guest, std::uint32_t live_pid);
    // Out of it, after whatever stopped the CPU: the guest's state. Fails the test if pc is not the guest's.
    isa::CpuState leave();
    // Emulates the privileged instruction at guest.pc, in supervisor state.
    runtime::Emulator::Outcome emulate(isa::CpuState& guest, std::uint32_t word);

    // One instruction of the CPU.
    isa::Trap step();
    bool in_stub() const { return arena.holds(cpu.pc); }

    bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) override;
    bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) override;
    bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap& trap) override;
    bool check(std::uint32_t ea, bool store, isa::Trap& trap) override;
    void code_invalidated(std::uint32_t) override {}
    std::uint64_t timebase() override { return 0x123456789ABCDEF0; }

    isa::CpuState cpu; // registers of the guest, MSR and SPRG4-7 of the host's CPU
    ppc::GuestPage page;
    ppc::StubArena arena;
    std::array<std::uint8_t, data_bytes> data{};
    bool patched_context = true; // the guest's kernel; other contexts see neither page, arena nor patches
    int fault_at = -1;           // this access to the guest's page, counted down, misses
    bool page_missed = false;    // it did
    unsigned page_accesses = 0;

    std::vector<std::uint32_t> stub_words;
    std::vector<ppc::Restart> restarts;

  private:
    // The word of the guest's page, nullptr if ea is none of it or the access fails.
    std::uint32_t* page_word(std::uint32_t ea, unsigned size, bool is_store, isa::Trap& trap);

    std::vector<std::uint32_t> original_, code_;
    Guest guest_; // for emulation
    isa::StatePage own_;
};

// What differs between two guests' registers, "" if nothing does; not looked at: ignored, pending, scratch.
std::string difference(const isa::CpuState& a, const isa::CpuState& b, ppc::Registers ignored = {});
// A guest in supervisor state with random registers at pc.
isa::CpuState random_guest(Random& random, std::uint32_t pc);

} // namespace untrap::tests::ppc440
