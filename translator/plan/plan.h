// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "translator/isa/table.h"

namespace untrap::plan {

// One step of a stub program. Both emitters (PowerPC and x86-64) turn the same steps into host code. gpr is a guest
// register; field a byte offset in the state page.
enum class StepKind : std::uint8_t {
    end,
    load_field,          // gpr = field
    store_field,         // field = gpr
    store_field_masked,  // field = gpr & value
    set_msr_bits,        // msr |= value
    clear_msr_bits,      // msr &= ~value
    copy_msr_bits,       // msr = (msr & ~value) | (gpr & value)
    trap_if_msr_changes, // trap (original instruction) if (gpr ^ msr) & value: before any step that commits
    trap_if_pending,     // trap if gpr & value is not 0 and an interrupt is pending: before the commit
    switch_pid,          // PID = gpr; the context follows
    nothing,             // the instruction has no effect here (tlbsync)
};

// As a gpr of trap_if_pending: whatever is in value becomes set.
inline constexpr std::uint8_t any_gpr = 0xFF;

struct Step {
    StepKind kind = StepKind::end;
    std::uint8_t gpr = 0;
    std::uint16_t field = 0;
    std::uint32_t value = 0;
};

// What is done about one privileged site.
struct Patch {
    static constexpr unsigned max_steps = 6;
    std::uint8_t level = 0; // 0: not patched; 1 word, 2 stub, 3 sequence. Level 4 is no patch of a site.
    // Level 3: the trap stays, and its exit goes on through the next instructions: this many, the site included, up to
    // the last privileged one in reach. Bounded by faults and timer deadlines.
    std::uint8_t span = 0;
    // The last of these is a branch back to the site: the exit goes round with it (Linux invalidates the TLB that way),
    // as often as sequence_rounds says.
    bool loops = false;
    std::array<Step, max_steps> steps{};
};

// Instructions a sequence may reach over.
inline constexpr unsigned sequence_window = 24;
// Unprivileged instructions between two privileged ones that it reaches over: to interpret more costs more than a trap.
inline constexpr unsigned sequence_gap = 4;
// Rounds of a loop within one exit: as many as a TLB has entries.
inline constexpr unsigned sequence_rounds = 64;

// Whether an instruction may stand inside a sequence: anything but what leaves it (branches other than short forward
// conditional ones, system calls, traps), what must not be interrupted by an exit (reservations), what needs userspace
// (DCRs) and what the CPU itself has to do with its caches.
bool continues_sequence(isa::Instruction instruction);
// The branch at `site` + 4 * `index` that closes a loop around the site: any conditional one that sets no LR.
bool closes_loop(isa::Instruction instruction, unsigned index);
// Whether a handler of TLB misses may have this privileged instruction: it reads and writes the TLB and registers that
// have no other effect, and returns by rfi.
bool belongs_to_handler(isa::Instruction instruction);
// rfi and its kin: the last instruction of a sequence.
bool ends_sequence(isa::Instruction instruction);

// Plans the patch for the privileged instruction window[0] using the allowed levels (bit n = level n).
// Returns a patch of level 0 if no allowed level covers it.
Patch make_patch(const std::uint32_t* window, unsigned window_length, unsigned levels);

} // namespace untrap::plan
