// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace untrap::tests {

// splitmix64: small, fast, and every seed is a good one.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9E3779B97F4A7C15ULL;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
        return z ^ z >> 31;
    }
    std::uint32_t word() { return static_cast<std::uint32_t>(next() >> 32); }
    // 0 .. count-1; count > 0.
    unsigned below(unsigned count) { return static_cast<unsigned>((next() >> 32) * count >> 32); }
    // first .. last
    unsigned between(unsigned first, unsigned last) { return first + below(last - first + 1); }
    bool chance(unsigned percent) { return below(100) < percent; }
    template <typename T>
    T pick(std::initializer_list<T> values) {
        return values.begin()[below(static_cast<unsigned>(values.size()))];
    }
    template <typename Container>
    const auto& any(const Container& values) {
        return values[below(static_cast<unsigned>(std::size(values)))];
    }

  private:
    std::uint64_t state_;
};

// The seed of this run: UNTRAP_SEED, or a new one. Printed once. salt tells test cases apart.
std::uint64_t test_seed();
inline Random seeded_random(std::uint64_t salt) { return Random(test_seed() * 0x2545F4914F6CDD1DULL + salt); }
// Instructions a test case executes: its share of UNTRAP_INSTRUCTIONS (a number) if set, else its default.
std::uint64_t instruction_goal(std::uint64_t by_default);

// Register contents: special values as often as any.
std::uint32_t random_gpr(Random& random);
std::uint64_t random_fpr(Random& random);
std::uint32_t random_fpscr(Random& random);

} // namespace untrap::tests
