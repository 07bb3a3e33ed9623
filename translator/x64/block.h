// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <asmjit/x86.h>

#include <array>
#include <cstdint>
#include <vector>

#include "translator/isa/table.h"
#include "translator/plan/plan.h"
#include "translator/x64/optimisations.h"

namespace untrap::x64 {

inline constexpr unsigned max_block_instructions = 64;

// What a block is made from: straight-line guest code of one page, up to the first instruction that must end it.
struct BlockSource {
    std::uint32_t ea = 0;
    std::uint32_t mode = 0; // mode::*
    // Targets in [link_first, link_last] are reached by the same guest TLB entry whenever this block is, so a direct
    // jump may join the two blocks; others are looked up by address each time.
    std::uint32_t link_first = 0, link_last = 0;
    unsigned length = 0; // instructions, the ending one included
    std::array<isa::Instruction, max_block_instructions> code{};
    std::array<plan::Patch, max_block_instructions> patches{}; // level 0, or the stub of a privileged instruction
};

// Whether a block ends with this instruction (patch: what is done about it if it is privileged).
bool ends_block(isa::Instruction instruction, const plan::Patch& patch, std::uint32_t mode);

// A direct jump out of a block. Until it is linked, site jumps to stub, which leaves generated code.
struct ExitLink {
    std::uint32_t target_ea = 0;
    std::uint8_t* site = nullptr; // the jmp rel32
    std::uint8_t* stub = nullptr;
    void* owner = nullptr;             // the block it leaves: the code cache's
    void* target = nullptr;            // the block it is linked to, or nullptr
    std::uint8_t tlb_index = no_entry; // the link is good while this guest TLB entry stays
    static constexpr std::uint8_t no_entry = 0xFF;
};

// Entry points of the code that all blocks share.
struct Thunks {
    std::uint64_t exit = 0;           // eax ExitKind, rdx info: guest registers go home, back to the caller of enter
    std::uint64_t interpret = 0;      // ecx word, edx instructions of the block not completed; returns, or leaves
    std::uint64_t access = 0;         // like interpret, eax the effective address: fills the software TLB first
    std::uint64_t switch_context = 0; // PID changed: other software TLB and jump cache
    std::uint64_t decode_cr = 0;      // rax CrField -> eax four bits; clobbers rcx, rdx
};

// Functions behind the thunks. engine is slot_engine. interpret and access return false to leave generated code with
// ExitKind::helper_trap; CpuState then is exact.
struct Helpers {
    bool (*interpret)(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    bool (*access)(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    void (*switch_context)(void* engine);
};

// Signature of the entry thunk: state, budget, code. Returns the ExitKind.
using EnterFunction = std::uint32_t (*)(void* state, std::int64_t budget, const void* code);

// Emits the entry thunk and all shared ones at base (where room bytes are free). Returns the bytes used; 0 on failure.
std::size_t emit_thunks(const Helpers& helpers, std::uint8_t* base, std::size_t room, EnterFunction& enter,
                        Thunks& thunks);

struct EmittedBlock {
    std::size_t size = 0;    // bytes at base
    std::size_t reentry = 0; // offset of a stub that leaves with ExitKind::lookup and pc = ea
    unsigned completed = 0;  // guest instructions counted by one pass through the whole block
    unsigned link_count = 0;
    std::array<ExitLink, 2> links;
};

// Emits one block at base. link_address[i] is where the caller will keep links[i]. size 0: room was too small.
class BlockEmitter {
  public:
    explicit BlockEmitter(const Thunks& thunks, Optimisations optimisations = {});
    EmittedBlock emit(const BlockSource& source, std::uint8_t* base, std::size_t room,
                      const std::array<ExitLink*, 2>& link_address);

  private:
    Thunks thunks_;
    Optimisations optimisations_;
    asmjit::CodeHolder code_;
};

// Changes where the jmp rel32 at site goes.
void set_jump(std::uint8_t* site, const std::uint8_t* target);

} // namespace untrap::x64
