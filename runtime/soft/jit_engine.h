// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "runtime/emulate.h"
#include "runtime/engine.h"
#include "runtime/exit_reason.h"
#include "runtime/soft/code_cache.h"
#include "runtime/soft/host_faults.h"
#include "runtime/soft/jit_dump.h"
#include "runtime/soft/shadow_tlb.h"
#include "translator/x64/block.h"

namespace untrap::runtime::soft {

// Runs guest code as x86-64 code made block by block. One vCPU's; used by the thread that runs it.
class JitEngine final : public Engine {
  public:
    static constexpr std::size_t default_cache_bytes = std::size_t{64} << 20;
    static constexpr std::uint32_t default_plain_runs = 2000;

    // Throws std::runtime_error if generated code cannot be had.
    // plain_runs: of a plain translation, until it is made anew with all optimisations.
    explicit JitEngine(Vcpu& vcpu, std::size_t cache_bytes = default_cache_bytes, x64::Optimisations optimisations = {},
                       std::uint32_t plain_runs = default_plain_runs);

    isa::Trap run(Vcpu& vcpu, std::uint64_t budget) override;
    isa::Trap run_guest(Vcpu& vcpu, std::uint64_t budget) override;
    void tlb_entry_changed(unsigned index, const mmu::TlbEntry& before) override;
    void memory_written(std::uint64_t real, std::uint64_t length) override;
    void site_changed(std::uint64_t real) override;
    void flush() override;
    void dirty_log_taken() override;

    // Translations of another VM (code_image.h), before the first run. False: none of them is used.
    bool take_translations(std::span<const std::uint8_t> image) { return cache_.unpack(image, plain_runs_); }
    const CodeCache& translations() const { return cache_; }

    std::uint64_t translated_blocks() const { return cache_.translated(); }
    std::uint64_t shadow_refills() const { return refills_; }
    // Faults of the host in guest code that was resumed after them.
    std::uint64_t mapped_faults() const { return mapped_faults_; }

  private:
    // What generated code calls back.
    static bool interpret(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    static bool access(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    static bool reach(void* engine, std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    static void switch_context(void* engine);
    static x64::Resumption go_on(void* engine, std::uint32_t kind);
    static bool write_tlb(void* engine, std::uint32_t index, std::uint32_t control, std::uint32_t value);

    bool execute(std::uint32_t word, std::uint32_t left);
    // Software TLB refill from the guest TLB, where that has the page with the right. counted: guest code stopped for
    // it.
    void fill(std::uint32_t ea, bool store, bool counted);
    // Whether a plain access at ea is a TLB miss of the guest, which is then told in trap_.
    bool note_miss(std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    bool tell_miss(std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    bool access_memory(std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    void count_refill(ExitReason reason);
    void insert_after_miss();
    [[gnu::noinline, gnu::cold]] void insert_mapped();
    void select_context();
    std::uint32_t context_key() const;
    [[gnu::noinline, gnu::cold]] void select(std::uint32_t key);
    // Mappings or the context changed: generated code knows no pages by itself any more.
    void forget_windows();
    std::uint32_t current_mode() const;
    ShadowTlb::FetchEntry* fetch_page(std::uint32_t pc, isa::Trap& trap);
    // The block at state.pc, translated if need be; nullptr with a trap, or without one if this code cannot be
    // translated (little-endian or 1 KB pages): the interpreter runs it.
    // further: mode bits that no jump cache leads to. hot: the block there has run often.
    Block* find_block(isa::Trap& trap, std::uint32_t further, bool hot);
    Block* translate(const ShadowTlb::FetchEntry& page, std::uint32_t mode, bool hot);
    // Chooses the path of a block into source_, and the hash of all that its code depends on.
    void form(const ShadowTlb::FetchEntry& page, const std::uint8_t* bytes, x64::Optimisations optimisations,
              const x64::ChooseWay& choose = {});
    std::uint64_t form_path(const ShadowTlb::FetchEntry& page, const std::uint8_t* bytes, bool hot);
    // The same, going where plain translations went, and where the same code went when it was formed so before.
    void form_by_counts(const ShadowTlb::FetchEntry& page, const std::uint8_t* bytes, std::uint64_t content);
    void form_as_before(const ShadowTlb::FetchEntry& page, const std::uint8_t* bytes,
                        const CodeCache::Choices& choices);
    // How often code at pc, in the page of the block that is formed, ran as far as that was counted.
    std::uint32_t counted_runs(const ShadowTlb::FetchEntry& page, std::uint32_t pc) const;
    std::uint64_t content_hash(x64::Optimisations optimisations) const;
    Block* revive(std::uint64_t content, std::uint64_t real);
    // Translates source_.
    Block* emit(x64::BlockEmitter& emitter, std::uint64_t content, std::uint64_t real);
    bool optimises(x64::Optimisation which) const { return optimisations_.has(which); }
    // Whether code at real was never asked for before; for some it says no all the same. Remembers.
    bool first_time(std::uint64_t real, std::uint32_t bits);
    // Instructions that can be interpreted from bytes on, up to a branch or before what must be left to a block.
    static unsigned plain_length(const std::uint8_t* bytes, unsigned limit);
    void make_link(x64::ExitLink& link, Block& target);
    isa::Trap finish(isa::Trap trap, std::uint64_t left);
    isa::Trap run_until_trap(std::uint64_t budget);

    // -- exits handled here (quick_exits.cpp)
    // Whether it was handled; nothing has changed if not. state is exact.
    bool quick_exit(const isa::Trap& trap);
    bool quick_exit(x64::ExitKind kind);
    bool quick_emulation(std::uint32_t word);
    bool settled(std::uint32_t word);
    bool settled_tlbwe();
    bool write_tlb_out_of_line(std::uint32_t index, std::uint32_t control, std::uint32_t value);

    // -- accesses that the host's MMU makes (mapped_accesses.cpp)
    bool may_map();
    void note_slice(std::uint64_t number);
    static const std::uint8_t* resume_after_fault(void* engine, const std::uint8_t* code);
    bool access_after_fault(std::uint32_t word, std::uint32_t left, std::uint32_t ea);
    static bool may_visit(ShadowTlb::DataContext& context, Block& block);
    bool map_page(std::uint32_t ea);
    void stop_mapping();
    void replace_blocks();
    // Whether accesses of source_, a path with this hash, are mapped; the hash of what is made then.
    std::uint64_t choose_mapping(std::uint64_t path);

    Vcpu& vcpu_;
    Emulator emulator_;
    const x64::Optimisations optimisations_;
    CodeCache cache_;
    ShadowTlb shadow_;
    x64::Thunks thunks_;
    x64::EnterFunction enter_ = nullptr;
    const x64::Optimisations plain_; // as optimisations_, without what costs much time to make
    const std::uint32_t plain_runs_;
    std::unique_ptr<x64::BlockEmitter> emitter_, plain_emitter_;
    // What the guest's state selects; those selected lately are at hand.
    struct Selection {
        std::uint32_t key = ~std::uint32_t{0};
        std::uint32_t data_key = 0, mode = 0;
        std::uintptr_t soft_tlb = 0; // what generated code looks into
        ShadowTlb::DataContext* data = nullptr;
        ShadowTlb::InstructionContext* instructions = nullptr;
        ShadowTlb::JumpCache* jumps = nullptr;
    };
    static constexpr unsigned selection_index(std::uint32_t key) { return (key * 0x9E3779B1U) >> 28; }
    void look_up_context(std::uint32_t key, Selection& found);
    void take(Selection& selection);
    std::array<Selection, 16> selections_;
    Selection* selected_ = &selections_[0];
    std::vector<std::uint64_t> asked_for_; // a bit for each hash of a place
    unsigned interpret_first_ = 1;         // instructions to interpret at pc where find_block gave no block
    isa::Trap trap_;
    // The last access that was reflected as a data TLB miss. Once the guest has written a TLB entry and is back in that
    // context, the mapping is put in before it runs: its retry then needs no exit of its own.
    struct {
        std::uint32_t context = 0;
        std::uint32_t ea = 0;
        bool store = false;
        bool pending = false, answered = false;
        bool mapped = false; // it faulted where the page should be mapped
    } missed_;
    enum class Mapping : std::uint8_t { untried, possible, impossible } mapping_ = Mapping::untried;
    const std::uint32_t block_slices_, context_slices_; // until a block's accesses are mapped
    const MappedCode::Site* fault_ = nullptr;           // of the access at hand
    std::vector<std::uint32_t> replaced_;               // numbers of blocks to be made anew
    bool own_supervisor_code_ = false;                  // some process has pages that supervisor code runs in
    bool quick_ = false;                                // exits may be handled here
    bool exact_ = true;     // a budget is used up to its last instruction: it may be the guest's time
    bool declined_ = false; // go_on() found that this one may not
    bool in_guest_ = false; // guest code has run since run() was entered
    std::uint64_t refills_ = 0, mapped_faults_ = 0;
    std::uint64_t fills_ = 0, fills_counted_ = 0; // of the software TLB, and as many as its contexts were told of
    x64::BlockSource source_;
    std::uint64_t path_ = 0; // of source_, if its accesses are mapped
    const std::unique_ptr<JitDump> dump_ = JitDump::from_environment();
};

} // namespace untrap::runtime::soft
