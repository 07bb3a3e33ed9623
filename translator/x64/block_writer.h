// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <asmjit/x86.h>

#include <functional>
#include <vector>

#include "translator/x64/block.h"
#include "translator/x64/layout.h"

namespace untrap::x64 {

// Writes the host code of one block: the state of emission that the instruction families share.
class BlockWriter {
  public:
    BlockWriter(asmjit::CodeHolder& code, const BlockSource& source, const Thunks& thunks, Optimisations optimisations,
                const std::array<ExitLink*, 2>& link_address);
    EmittedBlock write(std::uint8_t* base);
    // Instructions a full pass completes: all, or all but an ending one that only leaves.
    unsigned completed() const { return completed_; }

  private:
    using Gp = host::Gp;
    using Mem = host::Mem;

    // -- guest registers (emit_block.cpp)
    static bool pinned(unsigned gpr) { return pinned_id[gpr] != not_pinned; }
    static Gp pin(unsigned gpr) { return host::gpd(pinned_id[gpr]); }
    static Mem home(unsigned gpr) { return host::dword_ptr(state_reg, gpr_offset(gpr)); }
    Gp read(unsigned gpr, const Gp& scratch);           // the pinned register, or scratch loaded
    void load(const Gp& into, unsigned gpr);            // copies into a given register
    asmjit::Operand source_operand(unsigned gpr) const; // register or memory, as a source operand
    Gp destination(unsigned gpr, const Gp& scratch) const { return pinned(gpr) ? pin(gpr) : scratch; }
    void commit(unsigned gpr, const Gp& value); // stores what destination() did not place
    void emit2(host::Inst::Id id, const asmjit::Operand& to, const asmjit::Operand& from);

    // -- condition register (emit_cr.cpp)
    Mem cr_field(unsigned field) const;
    void record(const Gp& result);                 // CR0 from a result
    void store_cr(unsigned field, const Gp& wide); // wide: 64-bit difference; host flags describe it
    void compare(isa::Instruction insn);
    void condition_logic(isa::Instruction insn);
    void move_from_cr(isa::Instruction insn);
    void move_to_cr(isa::Instruction insn);
    void move_cr_field(isa::Instruction insn);
    // Jumps to target if CR bit (manual number) has the given value.
    void jump_on_cr_bit(unsigned bit, bool value, const asmjit::Label& target);

    // -- integer (emit_integer.cpp); false: no host code for this one, the interpreter does it
    bool integer(isa::Instruction insn);
    void logic2(host::Inst::Id id, isa::Instruction insn, bool invert_rb, bool invert_result);
    void logic_immediate(host::Inst::Id id, isa::Instruction insn, std::uint32_t value);
    void rotate(isa::Instruction insn);
    void shift(isa::Instruction insn);
    void divide(isa::Instruction insn);
    void special_register(isa::Instruction insn, bool& done);

    // -- storage (emit_memory.cpp)
    bool storage(isa::Instruction insn);
    void effective_address(isa::Instruction insn); // eax
    // rax: EA -> rcx: SoftTlbEntry; leaves for slow if EA .. EA+bytes-1 is not covered. Clobbers edx.
    void translate(unsigned bytes, bool store, const asmjit::Label& slow);
    void load_value(isa::Instruction insn, unsigned bytes);
    void store_value(isa::Instruction insn, unsigned bytes);
    void multiple(isa::Instruction insn);
    void fp_load_store(isa::Instruction insn);
    void reserve(isa::Instruction insn);
    void zero_line(isa::Instruction insn);
    void big_endian_load(const Gp& into, const Mem& from);
    void big_endian_store(const Mem& to, const Gp& from);

    // -- control (emit_block.cpp)
    void instruction(isa::Instruction insn, const plan::Patch& patch);
    void stub(isa::Instruction insn, const plan::Patch& patch);
    void branch(isa::Instruction insn);
    void conditional_branch(isa::Instruction insn);
    void trap_instruction(isa::Instruction insn);
    void go_to(std::uint32_t target);      // direct jump: link or lookup
    void go_to_register(const Gp& target); // eax
    void go_to_dispatcher(const Gp& target);
    void interpret(isa::Instruction insn); // through the interpreter, in line
    void interpret_and_leave(isa::Instruction insn);
    void leave(ExitKind kind, isa::Instruction insn); // the instruction at hand does not complete
    asmjit::Label cold_leave(ExitKind kind, isa::Instruction insn);
    // Cold code: does the instruction at hand by the interpreter, EA in eax, and resumes behind it.
    asmjit::Label slow_access(isa::Instruction insn);
    std::uint32_t pc() const { return source_.ea + 4 * index_; }
    bool optimises(Optimisation which) const { return optimisations_.has(which); }
    unsigned left() const { return completed_ - index_; }
    void drop_flags() { flags_field_ = no_field; }

    host::Assembler a_;
    const BlockSource& source_;
    const Thunks& thunks_;
    const Optimisations optimisations_;
    std::array<ExitLink*, 2> link_address_;
    EmittedBlock out_;
    std::uint8_t* base_ = nullptr;
    unsigned index_ = 0;
    unsigned completed_ = 0;
    bool has_movbe_;
    bool open_ = true; // the end of the block is still reachable
    bool context_switched_ = false;
    static constexpr unsigned no_field = 8;
    unsigned flags_field_ = no_field; // CR field that the host flags describe (jl, jg, je)
    bool keep_flags_ = false;         // the instruction at hand left them so
    asmjit::Label resume_;            // where slow_access comes back

    struct Cold {
        asmjit::Label label;
        unsigned index;
        std::function<void()> body;
    };
    std::vector<Cold> cold_;
};

} // namespace untrap::x64
