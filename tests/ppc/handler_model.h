// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/jit/random.h"
#include "tests/runtime/guest.h"
#include "translator/interp/storage.h"
#include "translator/ppc/handler.h"

namespace untrap::tests::ppc440 {

// A 440 host that runs a compiled handler in supervisor state: the reference interpreter, whose storage is the host's
// record of the guest, the tables of windows and the guest's memory. An access to anything else fails the test, as does
// a privileged instruction other than those that handlers are made of.
class HandlerModel final : public interp::Storage {
  public:
    static constexpr std::uint32_t code_ea = 0xA0000000, record_ea = 0xD0000000, windows_ea = 0xD0012FF8,
                                   memory_ea = 0xE0000000, leave_ea = 0xD0020000, finish_ea = 0xA1000100,
                                   commit_ea = 0xA1000200, end_ea = 0xA1000300, record_exit_ea = 0xA1000400,
                                   recall_exit_ea = 0xA1000500, walks_ea = 0xD003FFC0;
    // Where the guest finds its memory: what a TLB entry for everything maps, and a smaller one, little-endian.
    static constexpr std::uint32_t guest_ea = 0xC0000000, other_ea = 0x90000000;
    static constexpr std::uint32_t entry = guest_ea + 0x11E00, data_real = 0x40000, data_bytes = 0x4000;

    struct Record {
        std::uint32_t reserved[4] = {};
        std::uint32_t cr = 0, lr = 0, missed = 0;
        ppc::TlbWrites tlb;
        std::uint32_t fixed[ppc::handler_fixed] = {};
        ppc::Window memos[ppc::handler_memos];
        std::uint32_t page_missed = 0;
        ppc::WalkReads reads;
        std::uint32_t gpr[32] = {};
        isa::StatePage page;
    };
    ppc::HandlerPlace place() const;
    bool near_exit = false; // the way to an rfi's exit is that of one branch
    bool early = true;      // there is an exit before the last instructions
    bool walking = true;    // and what was found is kept

    HandlerModel();
    // What both the reference and the host begin with.
    void start(Random& random, const std::vector<std::uint32_t>& handler);
    // The same handler, from another state.
    void start_again(Random& random);
    bool compile(unsigned count);

    struct Result {
        bool finished = false; // at an rfi, else left
        std::uint32_t pc = 0;  // where it was left
        std::uint32_t flags = 0;
        unsigned instructions = 0, commits = 0, declined = 0, recalled = 0, recorded = 0;
    };
    // Runs the code. decline: an rfi is not taken.
    Result run(Random& random, bool decline);
    // The guest as the record and the CPU have it now.
    isa::CpuState leave(const Result& result);
    // The reference, from the entry on to this place or over the first rfi. False if the guest trapped before.
    bool refer(const Result& result, unsigned most);

    // The guest TLB as the exits leave it.
    void commit(mmu::GuestTlb& tlb, const Result& result) const;
    // The code and the reference from here on; they must agree. False if there is nothing to compare.
    bool run_both(Random& random, bool decline, Result& result);
    std::string listing() const;

    bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) override;
    bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) override;
    bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap& trap) override;
    bool check(std::uint32_t, bool, isa::Trap&) override;
    void code_invalidated(std::uint32_t) override {}
    std::uint64_t timebase() override { return reference.vcpu.storage.timebase(); }

    std::vector<std::uint32_t> code;
    ppc::CompiledHandler compiled;
    ppc::HandlerWork work;
    isa::CpuState cpu;
    Record record;
    std::unique_ptr<ppc::Windows> windows;
    std::vector<ppc::Walk> walks;
    std::vector<std::uint8_t> memory; // the guest's, as the code changed it
    Guest reference;
    isa::CpuState guest; // at the entry
    bool protected_page = false;
    unsigned accesses = 0;

  private:
    Result run_once(Random& random, bool decline);
    void keep_walk();
    bool leaves_backward(std::uint32_t pc) const;
    std::uint32_t* word_at(std::uint32_t ea);
    std::vector<std::uint32_t> handler_;
};

} // namespace untrap::tests::ppc440
