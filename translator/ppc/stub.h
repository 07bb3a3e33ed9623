// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/plan/plan.h"
#include "translator/ppc/liveness.h"
#include "translator/ppc/restart.h"

// What a patched site becomes on a 440: one word in place of the original, or a branch to a stub.
//
// Nothing here traps that would not have trapped without the patch: a stub's traps stand for the site's own, so code
// between lwarx and stwcx. is left no more often than before. (Stores of the same processor to other addresses, such as
// a stub's, keep a reservation.)
namespace untrap::ppc {

enum class Shape : std::uint8_t {
    trap, // stays as it is
    word, // patched_word()
    stub, // emit_stub()
};
// How this program is done here. Level 1 writes that drop bits (SRR0, CSRR0) need a stub; SPRG4-7 keep their trap to be
// written, because the CPU's own SPRG4-7 are what unprivileged reads of them give.
Shape shape_of(const plan::Patch& patch);

// The instruction that takes the site's place; shape_of() says word.
std::uint32_t patched_word(const plan::Patch& patch);
// The branch that takes the site's place. The stub has to be within 32 MB: false if it is not.
bool branch_to_stub(std::uint32_t site, std::uint32_t stub, std::uint32_t& word);

struct Stub {
    static constexpr unsigned max_words = 32;
    std::array<std::uint32_t, max_words> words{};
    Restart restart;
};

enum class Emitted : std::uint8_t {
    done,
    no_stub,      // shape_of() says otherwise
    out_of_reach, // site and stub are more than 32 MB apart, or one of them lies in the guest's page
};

// Writes the stub for the privileged instruction `original` at `site`, to stand at address `at`. It saves one GPR at
// most, none if there is a dead one (dead_after(), or nothing to have registers exact at any moment).
Emitted emit_stub(const plan::Patch& patch, std::uint32_t original, std::uint32_t site, std::uint32_t at,
                  Registers dead, Stub& stub);

} // namespace untrap::ppc
