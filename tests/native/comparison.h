// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <initializer_list>
#include <span>
#include <string>

#include "machine.h"

namespace untrap::tests::native {

// The same guest twice: on the interpreter and on the native engine with the model of its host. The first 256 MB are
// mapped to themselves by entry 63, as far as there is memory; every interrupt handler ends in an exit of its own.
struct Comparison {
    static constexpr std::uint32_t origin = 0x1000, handlers = 0x10000;
    static constexpr std::uint64_t memory_bytes = 0x100000;
    static constexpr unsigned slot = 0, boot_entry = 63;
    static constexpr unsigned dcr_done = 0x100, dcr_handler = 0x200; // of the program, and of handler n

    explicit Comparison(Random& random, unsigned pinned_from = 62);

    template <typename Action>
    void both(Action&& action) {
        action(*interpreted);
        action(*native);
    }
    // A reset guest in supervisor state that stands at the origin, nothing mapped but memory.
    static isa::CpuState first_state();
    void start(const isa::CpuState& state);
    void put(std::uint32_t address, std::initializer_list<std::uint32_t> words);
    // The same in place of code that has run.
    void put_code(std::uint32_t address, std::span<const std::uint32_t> words);
    // Runs both to their next exit, which is returned; a difference in exit, registers, memory, TLB or counts fails the
    // test case. context names the case at hand.
    runtime::RunExit run(const std::string& context);
    // The number of the handler that was reached, -1 if the exit was no handler's.
    int handler() const;

    Random& random;
    ModelCpu cpu;
    runtime::native::ShadowTlb tlb;
    Machine::Pointer interpreted, native;
};

} // namespace untrap::tests::native
