// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "code_generator.h"
#include "machine.h"
#include "random.h"
#include "runtime/byte_order.h"
#include "translator/isa/spr.h"

namespace untrap::tests {

inline std::uint32_t indexed(isa::Op op, unsigned rt, unsigned ra, unsigned rb) {
    return match(op) | field_rt(rt) | field_ra(ra) | field_rb(rb);
}
// bdnz by so many instructions.
inline std::uint32_t count_down(int instructions) {
    return match(isa::Op::bc) | 16U << 21 | (static_cast<std::uint32_t>(instructions * 4) & 0xFFFC);
}

// Adds up the first words of r3 pages in r7, r4 being the first one's address, and leaves the sum so far beside each.
inline std::vector<std::uint32_t> sum_of_pages() {
    using isa::Op;
    return {match(Op::mtspr) | field_rt(3) | field_spr(isa::spr::ctr),
            immediate(Op::lwz, 5, 4, 0),
            indexed(Op::add, 7, 7, 5),
            immediate(Op::stw, 7, 4, 8),
            immediate(Op::addi, 4, 4, 0x1000),
            count_down(-4),
            match(Op::sc)};
}

// A process on the interpreter and on the JIT. Accesses of its code are mapped from the first time on; a system call
// ends a program.
class MappedGuest {
  public:
    static constexpr std::uint32_t code_base = 0x10000000, data_base = 0x20000000;
    static constexpr std::uint32_t page_bytes = 0x1000;
    static constexpr unsigned code_index = 0; // of the TLB entry for 64 KB of code
    static constexpr unsigned size_4k = 1, size_64k = 3, size_256k = 4;
    static constexpr std::uint32_t rw = mmu::TlbEntry::ur | mmu::TlbEntry::uw;
    static constexpr std::uint32_t most_instructions = 100'000;

    // prepare: of the machine with the JIT, before there is anything in its memory.
    template <typename Prepare>
    MappedGuest(std::size_t cache_bytes, x64::Optimisations optimisations, Prepare&& prepare,
                std::uint32_t runs = plain_runs)
        : pair(cache_bytes, optimisations, runs) {
        prepare(pair.jit);
        Random random = seeded_random(440);
        for (std::uint64_t real = Layout::data; real < Layout::data + Layout::data_bytes; real += 4) {
            const std::uint32_t word = random.word();
            pair.both([&](Machine& machine) { runtime::store_big_endian(machine.memory(real), 4, word); });
        }
        map(code_index, code_base, Layout::code, mmu::TlbEntry::ur | mmu::TlbEntry::ux, size_64k);
    }
    MappedGuest() : MappedGuest(translating_at_once) {}
    explicit MappedGuest(x64::Optimisations optimisations)
        : MappedGuest(runtime::soft::JitEngine::default_cache_bytes, optimisations, [](Machine&) {}) {}

    // Code at code_base.
    void put(const std::vector<std::uint32_t>& words, std::uint32_t offset = 0) {
        for (const std::uint32_t word : words) {
            pair.both([&](Machine& machine) { machine.write_word(Layout::code + offset, word); });
            offset += 4;
        }
    }

    static mmu::TlbEntry entry(std::uint32_t ea, std::uint64_t real, std::uint32_t rights, unsigned size = size_4k,
                               std::uint8_t tid = 0) {
        return {.word0 = ea | mmu::TlbEntry::valid_bit | size << 4,
                .word1 = static_cast<std::uint32_t>(real) | static_cast<std::uint32_t>(real >> 32),
                .word2 = rights,
                .tid = tid};
    }
    void set_entry(unsigned index, const mmu::TlbEntry& value) {
        pair.both([&](Machine& machine) { machine.vcpu().set_tlb_entry(index, value); });
    }
    void map(unsigned index, std::uint32_t ea, std::uint64_t real, std::uint32_t rights, unsigned size = size_4k,
             std::uint8_t tid = 0) {
        set_entry(index, entry(ea, real, rights, size, tid));
    }
    // A word of an entry, as tlbwe writes it.
    void write_entry(unsigned index, unsigned word_number, std::uint32_t value) {
        pair.both([&](Machine& machine) { machine.vcpu().write_tlb_word(index, word_number, value); });
    }
    // Of what starts then.
    void set_pid(std::uint32_t pid) { pid_ = pid; }
    void set_msr(std::uint32_t msr) { msr_ = msr; }

    using Registers = std::initializer_list<std::pair<unsigned, std::uint32_t>>;
    // Fresh registers, at an offset of the code.
    void start(Registers registers, std::uint32_t offset = 0) {
        isa::CpuState state;
        state.reset();
        for (unsigned gpr = 0; gpr < 32; ++gpr) state.gpr[gpr] = gpr * 0x01010101;
        for (const auto& [gpr, value] : registers) state.gpr[gpr] = value;
        for (unsigned fpr = 0; fpr < 32; ++fpr) state.fpr[fpr] = 0x4000'0000'0000'0000 | std::uint64_t{fpr} << 40;
        state.page.msr = msr_;
        state.page.pid = pid_;
        state.pc = code_base + offset;
        state.retired = pair.reference.state().retired;
        pair.both([&](Machine& machine) { machine.set_state(state); });
    }
    isa::Trap run(Registers registers, const std::string& what, std::uint32_t offset = 0) {
        start(registers, offset);
        return go_on(what);
    }
    // Goes on at pc.
    isa::Trap go_on(const std::string& what, std::uint64_t budget = most_instructions) {
        const isa::Trap trap = pair.run(budget, what);
        pair.compare_memory(what);
        return trap;
    }
    // The same up to the system call at its end.
    void complete(Registers registers, const std::string& what, std::uint32_t offset = 0) {
        REQUIRE(run(registers, what, offset).kind == isa::TrapKind::system_call);
    }

    // sum_of_pages over the first of the process's pages, which lie in frames of its own.
    static constexpr unsigned sum_pages = 16;
    void put_sum(std::uint8_t pid = 0) {
        put(sum_of_pages());
        map(1U + pid, data_base, frame(sum_pages * pid), rw, size_64k, pid);
    }
    isa::TrapKind sum() { return run({{3, sum_pages}, {4, data_base}, {7, 0}}, "sum of pages").kind; }

    // So many slices of time without faults that as many as ever are to be had.
    void rest() {
        constexpr std::uint32_t offset = 0xFF00;
        put({match(isa::Op::b)}, offset);
        run({}, "rest", offset);
        for (unsigned slice = 0; slice < 8 * mmu::GuestTlb::entry_count; ++slice) pair.run(10, "rest");
    }

    std::uint32_t gpr(unsigned number) { return pair.jit.state().gpr[number]; }
    // Of memory, where the JIT has it.
    std::uint32_t word_at(std::uint64_t real) {
        return static_cast<std::uint32_t>(runtime::load_big_endian(pair.jit.memory(real), 4));
    }
    std::uint64_t faults() { return pair.jit.jit_engine().mapped_faults(); }

    static std::uint64_t frame(unsigned number) { return Layout::data + std::uint64_t{number} * page_bytes; }

    Pair pair;

  private:
    std::uint32_t pid_ = 0, msr_ = isa::msr::pr | isa::msr::fp;
};

} // namespace untrap::tests
