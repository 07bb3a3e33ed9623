// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <asmjit/x86.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "translator/isa/table.h"
#include "translator/plan/plan.h"
#include "translator/x64/fp_layout.h"
#include "translator/x64/optimisations.h"

namespace untrap::x64 {

// A block without its loop repeated, and with.
inline constexpr unsigned max_path_instructions = 64;
inline constexpr unsigned max_block_instructions = 128;
inline constexpr unsigned max_tails = 8;
// Exits that may be linked: one per branch or group of accesses, one per tail and three at the end.
inline constexpr unsigned max_links = max_block_instructions + max_tails + 3;

// Where a block goes on after an instruction.
enum class Next : std::uint8_t {
    sequential, // behind it; a branch leaves the block when it is taken
    taken,      // where the branch leads; it leaves the block when it is not taken
};

// A way from a branch that leaves a loop back into it: instructions [first, first + length) of the block. The last of
// them are again those of the loop before the instruction where it is joined.
struct Tail {
    unsigned branch = 0;
    unsigned first = 0, length = 0;
};

// What a block is made from: a path through guest code of one page, up to the first instruction that must end it.
struct BlockSource {
    std::uint32_t ea = 0;
    std::uint32_t mode = 0; // mode::*
    // Targets in [link_first, link_last] are reached by the same guest TLB entry whenever this block is, so a direct
    // jump may join the two blocks; others are looked up by address each time.
    std::uint32_t link_first = 0, link_last = 0;
    // Counts down the runs of the block, and leaves it for good below zero; nullptr: it is not counted. Within 2 GB of
    // the code.
    std::uint32_t* runs_left = nullptr;
    // Accesses leave it to the host's MMU to find their pages (mapped_base), and go to their slow paths if the host
    // faults.
    bool mapped = false;
    unsigned number = 0; // of the block; what leaves for ExitKind::budget tells
    unsigned length = 0; // instructions of the path, the ending one included
    unsigned total = 0;  // and those of the tails
    // Where the path goes on behind its last instruction, unless that one ends it; no_loop, or the instruction of the
    // block that is.
    std::uint32_t goes_on = 0;
    bool ended = false; // by an instruction that must
    unsigned loops_to = no_loop;
    static constexpr unsigned no_loop = ~0U;
    unsigned tails_join = no_loop; // the instruction of the loop that tails go on with
    unsigned tail_count = 0;
    std::array<Tail, max_tails> tails{};
    // The tail that instruction i, behind the path, belongs to.
    const Tail& tail_of(unsigned i) const {
        unsigned t = 0;
        while (i >= tails[t].first + tails[t].length) ++t;
        return tails[t];
    }
    bool is_joined(unsigned i) const { return tail_count != 0 && i == tails_join; }
    std::array<std::uint32_t, max_block_instructions> pc{};
    std::array<Next, max_block_instructions> next{};
    std::array<isa::Instruction, max_block_instructions> code{};
    std::array<plan::Patch, max_block_instructions> patches{}; // level 0, or the stub of a privileged instruction
};

// As the level of a patch: a tlbwe that may stand in a handler of TLB misses run within an exit. It asks
// Helpers::write_tlb, and leaves if that says no.
inline constexpr std::uint8_t in_handler_level = 4;

// Whether an instruction leaves generated code without completing.
bool only_leaves(isa::Instruction instruction, const plan::Patch& patch, std::uint32_t mode);
// Whether a block ends with this instruction (patch: what is done about it if it is privileged).
bool ends_block(isa::Instruction instruction, const plan::Patch& patch, std::uint32_t mode);

// Reads the instruction at an address of the block's page and what is done about it.
using FetchInstruction = std::function<void(std::uint32_t pc, isa::Instruction& insn, plan::Patch& patch)>;
// Where a path goes on behind the conditional branch at pc, whose target lies in the same page. by_form: where it would
// by the form of the branch alone. Asked in the order in which the block is formed; empty: always by_form.
using ChooseWay = std::function<Next(std::uint32_t pc, std::uint32_t target, Next by_form)>;
// Chooses the path from source.ea (mode and link range are given too) and fills in the rest.
void form_block(BlockSource& source, Optimisations optimisations, const FetchInstruction& fetch,
                const ChooseWay& choose = {});

// Where a path goes on behind a branch at pc; false: the branch ends it.
bool follow_branch(isa::Instruction insn, std::uint32_t pc, const ChooseWay& choose, Next& next, std::uint32_t& to);
// Adds tails to a loop, as far as there is room.
void add_tails(BlockSource& source, const FetchInstruction& fetch, const ChooseWay& choose);

// Leaves of a path what Optimisation::paths and loops switched off would have made: it ends with its first branch.
void cut_path(BlockSource& source);

// A direct jump or call out of a block. Until it is linked, site jumps to stub, which leaves generated code.
struct ExitLink {
    std::uint32_t target_ea = 0;
    std::uint8_t* site = nullptr; // the jmp or call rel32
    std::uint8_t* stub = nullptr;
    void* owner = nullptr;             // the block it leaves: the code cache's
    void* target = nullptr;            // the block it is linked to, or nullptr
    bool apart = false;                // to a block of mode::apart
    std::uint8_t tlb_index = no_entry; // the link is good while this guest TLB entry stays
    static constexpr std::uint8_t no_entry = 0xFF;
};

// Entry points of the code that all blocks share.
struct Thunks {
    std::uint64_t exit = 0;           // eax ExitKind, rdx info: guest registers go home, back to the caller of enter
    std::uint64_t interpret = 0;      // ecx word, edx instructions of the block not completed; ZF: go to trapped
    std::uint64_t access = 0;         // like interpret, eax the effective address: fills the software TLB first
    std::uint64_t reach = 0;          // as access, but the instruction is not executed: its page may be there then
    std::uint64_t trapped = 0;        // the helper did not complete the instruction: leaves with what it said
    std::uint64_t write_tlb = 0;      // eax index, ecx value, edx as Helpers::write_tlb; ZF: it has to leave
    std::uint64_t switch_context = 0; // PID changed: other software TLB and jump cache
    std::uint64_t decode_cr = 0;      // rax CrField -> eax four bits; clobbers rcx, rdx
    std::uint64_t gather_cr = 0;      // -> eax CR; clobbers rcx, rdx and xmm0 to xmm2
    std::uint64_t cr_encodings = 0;   // isa::cr::encodings, beside the code: blocks have no absolute addresses
    std::uint64_t cr_pairs = 0;       // two encodings for each byte of CR, likewise
    FpThunks fp;
};

// Where generated code goes on behind an exit; nullptr: it is left for this reason.
struct Resumption {
    const std::uint8_t* code;
    std::uint64_t kind; // ExitKind
};

// Functions behind the thunks. engine is slot_engine. interpret, access and reach return false to leave generated code
// with ExitKind::helper_trap; CpuState then is exact.
struct Helpers {
    bool (*interpret)(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    bool (*access)(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    bool (*reach)(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    void (*switch_context)(void* engine);
    // The exit may be handled without leaving. All guest state is at home, before and after. nullptr: generated code is
    // left, whichever it is.
    Resumption (*go_on)(void* engine, std::uint32_t kind);
    // tlbwe of word control & 3; control >> 8: instructions of the block not completed. False: not here.
    bool (*write_tlb)(void* engine, std::uint32_t index, std::uint32_t control, std::uint32_t value);
};

// Signature of the entry thunk: state, budget, code. Returns the ExitKind.
using EnterFunction = std::uint32_t (*)(void* state, std::int64_t budget, const void* code);

// Emits the entry thunk and all shared ones at base (where room bytes are free). Returns the bytes used; 0 on failure.
std::size_t emit_thunks(const Helpers& helpers, const FpHost& fp_host, std::uint8_t* base, std::size_t room,
                        EnterFunction& enter, Thunks& thunks);

// What of the host CPU generated code uses where it helps. Tests of the code itself choose it.
struct HostFeatures {
    bool movbe = true, bmi2 = true, lzcnt = true;
    static HostFeatures of_this_host();
};

// Code of an access that may fault, and where it goes on if it does. Offsets from the block's base.
struct MappedAccess {
    std::uint32_t first = 0, last = 0; // [first, last)
    std::uint32_t slow = 0;
};

struct EmittedBlock {
    std::size_t size = 0;    // bytes at base
    std::size_t cold = 0;    // offset of what runs rarely: slow paths, unlinked exits
    std::size_t reentry = 0; // offset of a stub that leaves with ExitKind::lookup and pc = ea
    unsigned completed = 0;  // guest instructions counted by one pass through the whole block
    unsigned link_count = 0;
    std::array<ExitLink, max_links> links;
    std::vector<MappedAccess> mapped;                           // in the order of their code
    std::array<std::uint32_t, max_block_instructions> starts{}; // offset of each instruction's code
};

// Emits one block at base. links[i] of the result will be known by the number first_link + i. size 0: room was too
// small. The code is the same wherever base is, as long as the thunks and the counter of runs are as far away.
class BlockEmitter {
  public:
    explicit BlockEmitter(const Thunks& thunks, Optimisations optimisations = {},
                          HostFeatures features = HostFeatures::of_this_host());
    // The result is good until the next one.
    const EmittedBlock& emit(const BlockSource& source, std::uint8_t* base, std::size_t room, std::uint32_t first_link);

  private:
    Thunks thunks_;
    Optimisations optimisations_;
    HostFeatures features_;
    asmjit::CodeHolder code_;
    EmittedBlock emitted_; // large: neither made nor copied for each block
};

// Changes where the jmp or call rel32 at site goes.
void set_target(std::uint8_t* site, const std::uint8_t* target);
// Writes a jmp rel32.
void set_jump(std::uint8_t* site, const std::uint8_t* target);

} // namespace untrap::x64
