// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <vector>

#include "code_generator.h"
#include "mmu/tlb_entry.h"
#include "translator/isa/msr.h"
#include "translator/isa/spr.h"

namespace untrap::tests {

// A random supervisor program: handlers for all interrupts and a main part full of privileged instructions, loops so
// that sites grow hot, timers, changes of mode, PID and TLB. It tells the outside by DCRs of what it does.
class RandomKernel {
  public:
    // Effective addresses. Code and data are mapped for good, in both address spaces.
    static constexpr std::uint32_t code_base = 0xC0000000, main_base = code_base + 0x2000;
    static constexpr std::uint32_t process_base = code_base + 0x10000; // a page of code, another one for each PID
    static constexpr std::uint32_t data_base = 0xD0000000, device_base = 0xD0020000;
    static constexpr std::uint32_t writable_code_base = 0xD0040000; // code_base as data
    static constexpr std::uint32_t window_base = 0xE0000000;        // tlbwe of the main part
    static constexpr std::uint32_t refill_base = 0xA0000000;        // mapped by the TLB-miss handler

    enum Dcr : unsigned {
        dcr_external_done = 0x10, // the external input handler ran
        dcr_critical_done = 0x11,
        dcr_raise_external = 0x12,
        dcr_raise_critical = 0x13,
        dcr_pulse_external = 0x14,
        dcr_lap = 0x1F, // the main part starts over
        dcr_other = 0x20,
    };

    explicit RandomKernel(Random& random);

    // Words from code_base on.
    const std::vector<std::uint32_t>& code() const { return code_; }
    // TLB entries 0, 1, ...: those that stay.
    static std::vector<mmu::TlbEntry> fixed_entries();
    static std::uint32_t random_pointer(Random& random);
    RegisterUse registers() const { return use_; }

  private:
    static constexpr unsigned first_window = 8, windows = 24; // TLB entries written by the main part
    static constexpr unsigned first_refill = 40;
    static constexpr unsigned t0 = 24, t1 = 25, t2 = 26;          // of the main part's sequences
    static constexpr unsigned h0 = 20, h1 = 21, h2 = 22, h3 = 23; // of handlers

    void emit(std::uint32_t word) { code_[next_++] = word; }
    std::uint32_t here() const { return code_base + 4 * next_; }
    void load_constant(unsigned gpr, std::uint32_t value);
    void to_spr(unsigned number, unsigned gpr);
    void from_spr(unsigned gpr, unsigned number);
    void to_dcr(unsigned number, unsigned gpr);
    void change_msr(std::uint32_t value);

    void handler(isa::Interrupt which);
    void skip_instruction();
    void return_to_end(unsigned pc_spr, unsigned msr_spr);
    void refill();

    void main_part();
    void loop();
    void sequence();
    void interrupt_enables();
    void registers_moves();
    void tlb_write();
    void return_from_interrupt();
    void timers();
    void devices();
    void modify_code();
    void leave_code_alone();
    void process_pages();
    void call_process_page();
    void forward_branch();
    std::uint32_t random_mode();

    Random& random_;
    RegisterUse use_;
    CodeGenerator generator_;
    std::vector<std::uint32_t> code_;
    unsigned next_ = 0;
    struct Branch {
        unsigned at;
        unsigned sequences; // how many it jumps over
    };
    std::vector<Branch> branches_;
    std::vector<unsigned> starts_; // of sequences
};

} // namespace untrap::tests
