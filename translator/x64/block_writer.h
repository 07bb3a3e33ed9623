// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <asmjit/x86.h>

#include <functional>
#include <vector>

#include "translator/x64/block.h"
#include "translator/x64/effects.h"
#include "translator/x64/fixed_code.h"
#include "translator/x64/known_values.h"
#include "translator/x64/layout.h"
#include "translator/x64/page_checks.h"

namespace untrap::x64 {

// Writes the host code of one block: the state of emission that the instruction families share.
class BlockWriter {
  public:
    BlockWriter(asmjit::CodeHolder& code, const BlockSource& source, const Thunks& thunks, Optimisations optimisations,
                HostFeatures features, std::uint32_t first_link, EmittedBlock& out);
    void write(std::uint8_t* base);
    // Instructions a full pass completes: all, or all but an ending one that only leaves.
    unsigned completed() const { return completed_; }

  private:
    using Gp = host::Gp;
    using Mem = host::Mem;

    // -- guest registers (emit_registers.cpp)
    // Numbers 0-31, or ctr_number. Which ones have a host register is the block's choice while its loop runs.
    static constexpr unsigned ctr_number = 32;
    bool pinned(unsigned gpr) const { return assigned_[gpr] != not_pinned; }
    Gp pin(unsigned gpr) const { return host::gpd(assigned_[gpr]); }
    static Mem home(unsigned gpr) {
        return gpr == ctr_number ? state32(offsetof(isa::CpuState, ctr)) : host::dword_ptr(state_reg, gpr_offset(gpr));
    }
    void choose_assignment();
    // Between the assignment that all code agrees on and the block's own; flags and rax, rcx, rdx stay.
    void enter_assignment();
    void leave_assignment();
    void call_helper(std::uint64_t thunk, bool may_trap); // may_trap: ZF then leaves
    Gp read(unsigned gpr, const Gp& scratch);             // the pinned register, or scratch loaded
    void load(const Gp& into, unsigned gpr);              // copies into a given register
    asmjit::Operand source_operand(unsigned gpr) const;   // register or memory, as a source operand
    Gp destination(unsigned gpr, const Gp& scratch) const { return pinned(gpr) ? pin(gpr) : scratch; }
    void commit(unsigned gpr, const Gp& value); // stores what destination() did not place
    void move(unsigned to, unsigned from);
    void extend(const Gp& into, unsigned gpr); // its sign to 64 bits
    // The register of rt, or eax, with the value of gpr; other: one that is read after it was written.
    Gp start_result(unsigned rt, unsigned gpr, unsigned other);
    static constexpr unsigned no_register = 33;
    void emit2(host::Inst::Id id, const asmjit::Operand& to, const asmjit::Operand& from);
    void emit3(host::Inst::Id id, const asmjit::Operand& to, const asmjit::Operand& from, const asmjit::Operand& with);

    // -- condition register (emit_cr.cpp)
    Mem cr_field(unsigned field) const;
    // What a field holds, as a compare of registers that still have their values.
    struct Compare {
        enum class Kind : std::uint8_t { none, with_signed, with_unsigned } kind = Kind::none;
        bool stored = true; // the field in memory is good
        std::uint8_t a = 0;
        std::uint8_t b = immediate; // a register, or
        std::int32_t value = 0;     // this
        static constexpr std::uint8_t immediate = 0xFF;
        bool describes_same(const Compare& other) const {
            return kind == other.kind && a == other.a && b == other.b && value == other.value;
        }
    };
    void record(unsigned gpr); // CR0 from a result
    void set_cr(unsigned field, const Compare& compare);
    void store_cr(unsigned field, const Gp& wide); // wide: as in cr.h
    void forget_cr(unsigned field) { cr_[field] = {}; }
    void flush_cr(unsigned field); // clobbers rcx, rdx
    void flush_lazy();             // all fields, and the carry
    // Before the instruction at hand: fields that it reads or that can not be told from registers any more.
    void prepare_cr();
    void settle_cr(); // and after it
    bool cr_needed(unsigned field) const;
    void compare_again(const Compare& compare);
    void compare(isa::Instruction insn);
    void condition_logic(isa::Instruction insn);
    void condition_logic_of_one_field(isa::Instruction insn);
    void move_from_cr(isa::Instruction insn);
    void move_to_cr(isa::Instruction insn);
    void load_table(std::uint64_t address);
    void move_cr_field(isa::Instruction insn);
    // Jumps to target if CR bit (manual number) has the given value.
    void jump_on_cr_bit(unsigned bit, bool value, const asmjit::Label& target);

    // -- carry (emit_carry.cpp)
    // What XER[CA] holds, as a comparison of registers that still have their values.
    struct Carry {
        enum class Kind : std::uint8_t { none, below, not_above } kind = Kind::none; // unsigned, a to b
        bool stored = true;                                                          // XER[CA] in memory is good
        std::uint8_t a = 0;
        std::uint8_t b = immediate; // a register, or
        std::int32_t value = 0;     // this
        static constexpr std::uint8_t immediate = 0xFF;
        bool describes_same(const Carry& other) const {
            return kind == other.kind && a == other.a && b == other.b && value == other.value;
        }
    };
    bool carrying(isa::Instruction insn); // false: it is none of those that set XER[CA] and do not shift
    void set_carry(const Carry& carry);
    void compare_for_carry();
    void flush_carry(); // clobbers edx
    // Before the instruction at hand, and after it, as for CR.
    void prepare_carry();
    void settle_carry();
    bool carry_spoilt() const;
    bool carry_needed() const;
    void carry_in(bool inverse);
    void carry_out(bool inverse);

    // -- integer (emit_integer.cpp); false: no host code for this one, the interpreter does it
    bool integer(isa::Instruction insn);
    void logic2(host::Inst::Id id, isa::Instruction insn, bool invert_rb, bool invert_result);
    void logic_immediate(host::Inst::Id id, isa::Instruction insn, std::uint32_t value);
    void add_immediate(isa::Instruction insn);
    void rotate(isa::Instruction insn); // emit_rotate.cpp
    void rotated(const Gp& into, unsigned gpr, unsigned by);
    void rotate_and_mask(unsigned ra, unsigned rs, unsigned by, std::uint32_t mask);
    void shift(isa::Instruction insn);
    void divide(isa::Instruction insn);
    void special_register(isa::Instruction insn, bool& done);

    // -- storage (emit_memory.cpp)
    bool storage(isa::Instruction insn);
    void load_value(isa::Instruction insn, unsigned bytes);
    void store_value(isa::Instruction insn, unsigned bytes);
    void multiple(isa::Instruction insn);
    void fp_load_store(isa::Instruction insn);
    void reserve(isa::Instruction insn);
    void zero_line(isa::Instruction insn);
    void big_endian_load(const Gp& into, const Mem& from);
    void big_endian_store(const Mem& to, const Gp& from);

    // -- where storage accesses go (emit_address.cpp)
    // into: the effective address of the access at hand, and so many bytes more. Clobbers nothing else.
    void effective_address(isa::Instruction insn, const Gp& into, std::int32_t more = 0);
    Gp address_of(isa::Instruction insn); // the register that holds it, eax if no guest register does
    void update_base(isa::Instruction insn);
    bool flat() const { return optimises(Optimisation::flat_tlb); }
    void find_entry(const Gp& ea);                           // rcx: SoftTlbEntry of the page; flat: the page's number
    void take_addend(bool store, const asmjit::Label& fail); // rcx: from there, the addend; clobbers edx
    // Goes to fail if EA .. EA+bytes-1 is not in one page. Clobbers edx.
    void stay_in_page(const Gp& ea, unsigned bytes, const asmjit::Label& fail);
    // rcx: the entry's addend; leaves for slow if EA .. EA+bytes-1 is not covered. Clobbers edx.
    void translate(const Gp& ea, unsigned bytes, bool store, const asmjit::Label& slow);
    // Where the access at hand finds its bytes. Clobbers eax, ecx, edx; address_ then is the effective address, or
    // invalid if that is to be had from the base register.
    Mem locate(isa::Instruction insn, unsigned bytes, bool store);
    Mem locate_mapped(isa::Instruction insn);
    void load_flat_pages(); // rcx
    void look_up(const PageCheck& check, const asmjit::Label& fail);
    void look_up_tagged(const PageCheck& check, const asmjit::Label& fail);
    void fill_window(isa::Instruction insn, const PageCheck& check, const asmjit::Label& fail,
                     const asmjit::Label& found);
    // rcx: the addend of the page of all bytes of a check at a known address.
    void look_up_known(const PageCheck& check, const asmjit::Label& fail);
    void check_page(isa::Instruction insn, const PageCheck& check, const asmjit::Label& fail);
    Mem lead_page_check(isa::Instruction insn, const PageCheck& check);
    Mem follow_page_check(const PageCheck& check);
    asmjit::Label push_reach(isa::Instruction insn, const PageCheck& check, const asmjit::Label& found);

    // -- floating point (emit_fp.cpp); false: no host code for this one
    bool fp_instruction(isa::Instruction insn);
    bool fp_arithmetic(isa::Instruction insn);
    bool fp_move(isa::Instruction insn);
    void fp_select(isa::Instruction insn);
    void fp_compare(isa::Instruction insn);
    void fp_convert(isa::Instruction insn);
    void fp_control(isa::Instruction insn); // emit_fp_control.cpp
    void fp_control_by_interpreter(isa::Instruction insn);
    void fp_round_single(isa::Instruction insn, const asmjit::Label& slow);
    asmjit::Label fp_slow(isa::Instruction insn, const asmjit::Label& resume); // cold code: by the interpreter
    void fp_transfer(isa::Instruction insn);                                   // loads and stores (emit_fp_memory.cpp)
    void fp_store_single(isa::Instruction insn);

    // -- FPRs and what is owed to FPSCR (emit_fp_state.cpp)
    using Xmm = host::Xmm;
    void fp_ready(); // FPRs into host registers
    bool fpr_pinned(unsigned fpr) const { return fpr_xmm_[fpr] != fpr_in_memory; }
    Xmm fpr_pin(unsigned fpr) const { return host::xmm(fpr_xmm_[fpr]); }
    Xmm fpr(unsigned fpr, const Xmm& scratch);     // the pinned register, or scratch loaded
    Xmm fpr_low(unsigned fpr, const Xmm& scratch); // one of xmm0-xmm15, for instructions without an EVEX form
    asmjit::Operand fpr_operand(unsigned fpr) const;
    void fpr_copy(const Xmm& into, unsigned fpr);
    void fpr_commit(unsigned fpr, const Xmm& value);
    void fp_keep_operands(unsigned fpr); // before fpr is overwritten by other than arithmetic
    void fp_executed(isa::Instruction insn);
    void fp_owe();  // writes down in FpPending what is owed; keeps the host's flags and general registers
    void fp_home(); // the same, and nothing is owed by this block any more
    Mem fp_constant(std::size_t offset, unsigned bytes) const;

    // -- control (emit_path.cpp, emit_block.cpp, emit_branch.cpp, emit_leave.cpp)
    void count_run();
    void instruction(isa::Instruction insn, const plan::Patch& patch);
    void stub(isa::Instruction insn, const plan::Patch& patch);
    void write_tlb(isa::Instruction insn);
    void branch(isa::Instruction insn);
    void conditional_branch(isa::Instruction insn);
    void trap_instruction(isa::Instruction insn);
    // Cold code: the branch at hand has completed, the guest goes to target.
    asmjit::Label side_exit(std::uint32_t target);
    void branch_on(isa::Instruction insn, bool taken, const asmjit::Label& to); // jumps if the branch is (not) taken
    void branch_in_path(isa::Instruction insn);
    void execute(); // the instruction at hand
    void close_loop();
    void go_to(std::uint32_t target); // direct jump: link or lookup
    bool is_linked(std::uint32_t target) const;
    void go_to_linked(std::uint32_t target, bool apart, bool call);
    void go_to_apart();                    // to the instruction at hand, in a block of mode::apart
    void go_to_register(const Gp& target); // eax
    void go_to_dispatcher(const Gp& target);
    // A guest call, and a return to rax.
    void load_link();
    void load_counter_target();
    void call_to(std::uint32_t target);
    void call_register(const Gp& target);
    void push_return();
    void come_back();
    void return_to_register();
    void interpret(isa::Instruction insn); // through the interpreter, in line or in cold code that resumes
    void interpret_and_leave(isa::Instruction insn);
    void interpret_summary_overflow(isa::Instruction insn); // likewise, or goes on in the next block
    void leave_for(ExitKind kind, std::uint32_t pc_then);
    void leave_for_budget(std::uint32_t pc_then);
    // Code of fixed form at the present place.
    FixedCode fixed_code() const { return FixedCode(base_ + a_.offset()); }
    void put(const FixedCode& code) { a_.embed(code.data(), code.size()); }
    void change_budget(int by);
    // ecx: the word of the instruction at hand, edx: what is left(), and its pc.
    void put_helper_arguments(isa::Instruction insn);
    void leave(ExitKind kind, isa::Instruction insn); // the instruction at hand does not complete
    asmjit::Label cold_leave(ExitKind kind, isa::Instruction insn);
    // Cold code: does the access at hand by the interpreter and resumes behind it.
    asmjit::Label slow_access(isa::Instruction insn);
    std::uint32_t pc() const { return source_.pc[index_]; }
    bool optimises(Optimisation which) const { return optimisations_.has(which); }
    unsigned left() const {
        if (index_ < source_.length) return completed_ - index_;
        // A tail is taken from the budget together with what it joins.
        const Tail& tail = source_.tail_of(index_);
        return tail.first + tail.length - index_ + completed_ - source_.tails_join;
    }
    // Behind the last instruction of the path or tail at hand.
    unsigned end() const {
        if (index_ < source_.length) return source_.length;
        const Tail& tail = source_.tail_of(index_);
        return tail.first + tail.length;
    }
    void push_cold(const asmjit::Label& label, std::function<void()> body);
    // The same for code that comes back and neither leaves nor calls: all registers and flags are as they were.
    void push_detour(const asmjit::Label& label, std::function<void()> body);

    host::Assembler a_;
    const BlockSource& source_;
    const Thunks& thunks_;
    const Optimisations optimisations_;
    const std::uint32_t first_link_;
    EmittedBlock& out_;
    std::uint8_t* base_ = nullptr;
    unsigned index_ = 0;
    unsigned completed_ = 0;
    bool has_movbe_, has_bmi2_, has_lzcnt_;
    bool in_cold_ = false;
    bool open_ = true; // the end of the block is still reachable
    bool context_switched_ = false;
    asmjit::Label resume_; // where slow_access comes back

    PerInstruction<Effects> effects_;
    PerInstruction<PageCheck> page_checks_;
    // The slot whose host address rcx still holds from the instruction before.
    static constexpr std::uint8_t no_slot = 0xFF;
    static constexpr std::uint8_t flat_pages_slot = 0xFE; // it is slot_soft_tlb
    std::uint8_t slot_in_rcx_ = no_slot;
    bool keeps_rcx(isa::Instruction insn) const;
    Gp address_;
    struct Constant {
        bool known = false;
        std::int32_t value = 0;
    };
    PerInstruction<Constant> constants_; // results
    void find_constants();
    std::array<Compare, 8> cr_{};
    // Host registers of guest registers and CTR, or not_pinned.
    using Assignment = std::array<std::uint8_t, 33>;
    static constexpr Assignment common_assignment = [] {
        Assignment common{};
        for (unsigned i = 0; i < 32; ++i) common[i] = pinned_id[i];
        common[ctr_number] = not_pinned;
        return common;
    }();
    void move_registers(const Assignment& from, const Assignment& to);
    Assignment assigned_ = common_assignment; // in force
    Assignment loop_assigned_ = common_assignment;
    bool own_assignment_ = false; // differs from pinned_gprs, and
    bool assigned_now_ = false;   // is in force
    asmjit::Label loop_head_ = a_.newLabel();
    Carry carry_{};
    // Where the host's carry flag is XER[CA] as the instruction before left it, or its inverse.
    static constexpr std::size_t no_flags = ~std::size_t{0};
    std::size_t flags_at_ = no_flags;
    bool flags_inverse_ = false;

    // What FPSCR is owed at a point of the block: the last arithmetic instruction and where its operands are.
    struct FpTrack {
        static constexpr std::uint8_t saved = 32;  // and 33: in a register for that
        static constexpr std::uint8_t stored = 34; // in FpPending already
        static constexpr std::uint8_t unused = 35;
        std::uint32_t word = 0;                                    // 0: none
        std::array<std::uint8_t, 3> place{unused, unused, unused}; // of frA, frB, frC: an FPR, or one of the above
        bool compared = false;                                     // a compare came after it
        bool ready = false;                                        // FPRs are in host registers
        bool owes_same(const FpTrack& other) const {
            return word == other.word && (word == 0 || place == other.place) && compared == other.compared;
        }
    };
    FpHost fp_host_;
    std::array<std::uint8_t, 32> fpr_xmm_;
    FpTrack fp_;

    // What is known at a point that is jumped to from behind.
    struct Known {
        std::array<Compare, 8> cr{};
        Carry carry{};
        FpTrack fp;
    };
    Known loop_known_, join_known_;
    Known known() const { return {cr_, carry_, fp_}; }
    // Makes what is known here what is known there; false: it is not.
    bool agree_with(const Known& there);
    asmjit::Label join_ = a_.newLabel(); // of tails
    // The beginning of a tail; no label: its branch turned out to need none.
    struct TailEntry {
        asmjit::Label label;
        Known known;
        bool assigned = false;
    };
    std::array<TailEntry, max_tails> tail_entries_;
    void emit_tail(unsigned number);

    // Code for what is rare, written behind the block with the state as it was where it is jumped to. CR fields go to
    // memory first: of the scratch registers only rax still has its value then.
    struct Cold {
        asmjit::Label label;
        unsigned index;
        std::array<Compare, 8> cr;
        Carry carry;
        bool assigned;
        FpTrack fp;
        std::function<void()> body;
    };
    std::vector<Cold> cold_;

    // Of out_.mapped: where each goes on.
    std::vector<asmjit::Label> mapped_slow_;
};

} // namespace untrap::x64
