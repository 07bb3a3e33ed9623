// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

// What the x86-64 translator and its engine do for speed alone, each with a switch, so that its gain can be measured
// and its correctness tested by leaving it out. Stands on nothing: command lines name the switches too.
namespace untrap::x64 {

enum class Optimisation : unsigned {
#define OPTIMISATION(identifier, name, what) identifier,
#include "translator/x64/optimisations.inc"
#undef OPTIMISATION
};

struct OptimisationRow {
    Optimisation which;
    std::string_view name;
    std::string_view what;
};

inline constexpr auto optimisation_table = std::to_array<OptimisationRow>({
#define OPTIMISATION(identifier, name, what) {Optimisation::identifier, name, what},
#include "translator/x64/optimisations.inc"
#undef OPTIMISATION
});

// A set of them; as made, all are on.
class Optimisations {
  public:
    static constexpr std::uint32_t known = (std::uint32_t{1} << optimisation_table.size()) - 1;

    constexpr Optimisations() = default;
    // disabled: bit n for the optimisation whose enumerator is n.
    constexpr explicit Optimisations(std::uint32_t disabled) : disabled_(disabled & known) {}

    constexpr bool has(Optimisation which) const { return (disabled_ & bit(which)) == 0; }
    constexpr std::uint32_t disabled() const { return disabled_; }
    static constexpr std::uint32_t bit(Optimisation which) { return std::uint32_t{1} << static_cast<unsigned>(which); }

  private:
    std::uint32_t disabled_ = 0;
};

// The same without what costs much time to make: for code that may not run often.
constexpr Optimisations plain(Optimisations all) {
    constexpr std::uint32_t costly = Optimisations::bit(Optimisation::paths) | Optimisations::bit(Optimisation::loops) |
                                     Optimisations::bit(Optimisation::page_checks) |
                                     Optimisations::bit(Optimisation::page_windows);
    return Optimisations(all.disabled() | costly);
}

// KVM_CHECK_EXTENSION answers the set as a positive int.
static_assert(optimisation_table.size() <= 31);

} // namespace untrap::x64
