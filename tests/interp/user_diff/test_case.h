// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/interp/user_diff/layout.h"
#include "translator/interp/interpreter.h"

namespace untrap::user_diff {

inline constexpr unsigned max_instructions = CASE_WORDS - CASE_PROLOGUE - 1;
inline constexpr std::uint32_t nop = 0x60000000; // in the slots no branch leads to
inline constexpr std::uint32_t scratch_address = FRAME + FRAME_SCRATCH;

// Everything a test case starts from, or ends with, that both sides can see.
struct Frame {
    isa::CpuState cpu;
    std::array<std::uint8_t, SCRATCH_SIZE> scratch{};
    std::uint32_t signal = 0, nip = 0;
};

// A short instruction sequence and what the interpreter makes of it.
struct TestCase {
    Frame before, after;
    std::vector<std::uint32_t> words;
    std::uint32_t address = 0;     // of the first instruction, as is words[0]
    std::vector<isa::Op> executed; // in order, the one that ended it by a signal included
};

// Makes test cases at random. The instructions are chosen while the interpreter executes them, so that addresses and
// branch targets can be made to fit, and what must not be compared (see rejected()) is left out.
class Generator {
  public:
    explicit Generator(std::uint64_t seed) : random_(seed) {}
    // The case with this number in its batch.
    TestCase make(unsigned number);

  private:
    std::uint32_t word() { return static_cast<std::uint32_t>(random_()); }
    std::uint32_t below(std::uint32_t bound) { return word() % bound; }
    bool chance(unsigned one_in) { return below(one_in) == 0; }

    std::uint32_t general_value();
    std::uint64_t fp_value();
    Frame initial_frame(const TestCase& test, unsigned count);
    isa::Instruction candidate(const isa::CpuState& cpu, unsigned slots_left);
    bool matching_store(std::uint32_t& instruction_word, const isa::CpuState& cpu);
    bool aim(std::uint32_t& instruction_word, const isa::CpuState& cpu);

    std::mt19937_64 random_;
};

// Memory as the interpreter sees it: the scratch area alone.
class ScratchStorage final : public interp::Storage {
  public:
    explicit ScratchStorage(std::array<std::uint8_t, SCRATCH_SIZE>& bytes) : bytes_(bytes) {}
    bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) override;
    bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) override;
    bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap& trap) override;
    bool check(std::uint32_t ea, bool store, isa::Trap& trap) override;
    void code_invalidated(std::uint32_t) override {}
    std::uint64_t timebase() override { return 0; }

  private:
    std::array<std::uint8_t, SCRATCH_SIZE>& bytes_;
};

} // namespace untrap::user_diff
