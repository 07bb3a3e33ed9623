// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "runtime/byte_order.h"
#include "runtime/interpreter_engine.h"
#include "runtime/vcpu.h"

// Instruction words, by mnemonic.
namespace code {

using Word = std::uint32_t;

constexpr Word d_form(Word op, Word rt, Word ra, Word imm) { return op << 26 | rt << 21 | ra << 16 | (imm & 0xFFFF); }
constexpr Word x_form(Word rt, Word ra, Word rb, Word xo) {
    return 31U << 26 | rt << 21 | ra << 16 | rb << 11 | xo << 1;
}
constexpr Word spr_form(Word rt, Word spr, Word xo) { return x_form(rt, spr & 31, spr >> 5, xo); }

constexpr Word li(Word rt, Word imm) { return d_form(14, rt, 0, imm); }
constexpr Word lis(Word rt, Word imm) { return d_form(15, rt, 0, imm); }
constexpr Word addi(Word rt, Word ra, Word imm) { return d_form(14, rt, ra, imm); }
constexpr Word ori(Word ra, Word rs, Word imm) { return d_form(24, rs, ra, imm); }
constexpr Word lwz(Word rt, Word ra, Word d) { return d_form(32, rt, ra, d); }
constexpr Word lbz(Word rt, Word ra, Word d) { return d_form(34, rt, ra, d); }
constexpr Word stw(Word rt, Word ra, Word d) { return d_form(36, rt, ra, d); }
constexpr Word stb(Word rt, Word ra, Word d) { return d_form(38, rt, ra, d); }
constexpr Word lmw(Word rt, Word ra, Word d) { return d_form(46, rt, ra, d); }
constexpr Word stmw(Word rt, Word ra, Word d) { return d_form(47, rt, ra, d); }
constexpr Word stfd(Word rt, Word ra, Word d) { return d_form(54, rt, ra, d); }
constexpr Word lwbrx(Word rt, Word ra, Word rb) { return x_form(rt, ra, rb, 534); }
constexpr Word stswx(Word rt, Word ra, Word rb) { return x_form(rt, ra, rb, 661); }
constexpr Word mfspr(Word rt, Word spr) { return spr_form(rt, spr, 339); }
constexpr Word mtspr(Word spr, Word rs) { return spr_form(rs, spr, 467); }
constexpr Word mfdcr(Word rt, Word dcr) { return spr_form(rt, dcr, 323); }
constexpr Word mtdcr(Word dcr, Word rs) { return spr_form(rs, dcr, 451); }
constexpr Word mfmsr(Word rt) { return x_form(rt, 0, 0, 83); }
constexpr Word mtmsr(Word rs) { return x_form(rs, 0, 0, 146); }
constexpr Word wrteei(Word e) { return 31U << 26 | e << 15 | 163U << 1; }
constexpr Word tlbre(Word rt, Word ra, Word ws) { return x_form(rt, ra, ws, 946); }
constexpr Word tlbwe(Word rs, Word ra, Word ws) { return x_form(rs, ra, ws, 978); }
constexpr Word tlbsx_rc(Word rt, Word ra, Word rb) { return x_form(rt, ra, rb, 914) | 1; }
constexpr Word dcbi(Word ra, Word rb) { return x_form(0, ra, rb, 470); }
constexpr Word b(std::int32_t offset) { return 18U << 26 | (static_cast<Word>(offset) & 0x03FFFFFC); }
constexpr Word bdnz(std::int32_t offset) { return 16U << 26 | 16U << 21 | (static_cast<Word>(offset) & 0xFFFC); }
constexpr Word beq(Word offset) { return 16U << 26 | 12U << 21 | 2U << 16 | (offset & 0xFFFC); }
constexpr Word nop = 0x60000000, sc = 0x44000002, trap = 0x7FE00008, rfi = 0x4C000064, rfci = 0x4C000066,
               illegal = 0x00000000;

static_assert(mtspr(26, 3) == 0x7C7A03A6 && mfspr(3, 22) == 0x7C7602A6); // mtsrr0 r3, mfdec r3

} // namespace code

// A host whose time stands still unless told, which counts its warnings.
class FakeHost final : public untrap::runtime::Host {
  public:
    std::uint64_t now() override { return time; }
    void warn(const char* message, std::uint32_t, std::uint32_t) override { warnings.emplace_back(message); }
    void wait(std::uint64_t until) override {
        ++waits;
        if (until != ~std::uint64_t{0}) time = until;
        if (on_wait != nullptr) on_wait(*this);
    }

    std::uint64_t time = 1000;
    unsigned waits = 0;
    void (*on_wait)(FakeHost&) = nullptr;
    void* context = nullptr;
    std::vector<std::string> warnings;
};

// A machine of 1 MB at real address 0, run by the interpreter, in supervisor state at 0x1000.
struct Guest {
    static constexpr std::uint32_t origin = 0x1000;
    static constexpr std::uint32_t bytes = 1 << 20;

    Guest() : patches(std::make_unique<untrap::runtime::PatchRegistry>()), vcpu(memory, *patches, host) {
        ram.resize(bytes);
        memory.set_slot(0, {0, bytes, ram.data(), false});
        vcpu.set_engine(engine);
        vcpu.set_clock(untrap::runtime::Clock::guest, false);
        vcpu.state.pc = origin;
        for (unsigned i = 0; i < 16; ++i) vcpu.state.ivor[i] = 0x100 * (i + 1);
        vcpu.state.ivpr = 0x00010000;
    }

    // Address of an interrupt's handler.
    static std::uint32_t vector(untrap::isa::Interrupt which) {
        return 0x00010000 + 0x100 * (static_cast<std::uint32_t>(which) + 1);
    }
    void put(std::uint32_t address, std::initializer_list<std::uint32_t> words) {
        for (const std::uint32_t word : words) {
            untrap::runtime::store_big_endian(&ram[address], 4, word);
            address += 4;
        }
    }
    std::uint32_t word(std::uint32_t address) const {
        return static_cast<std::uint32_t>(untrap::runtime::load_big_endian(&ram[address], 4));
    }
    std::uint64_t exits(untrap::runtime::ExitReason reason) const {
        return vcpu.exits.by_reason[static_cast<std::size_t>(reason)];
    }
    // Runs until a reset, which code ends with, and says whether it came to that.
    bool finish() { return vcpu.run() == untrap::runtime::RunExit::reset; }
    void map(unsigned index, std::uint32_t ea, std::uint64_t real, unsigned size_code, std::uint32_t attributes,
             std::uint8_t tid = 0, unsigned space = 0) {
        vcpu.set_tlb_entry(index,
                           {ea | 0x200 | space << 8 | size_code << 4,
                            static_cast<std::uint32_t>(real & 0xFFFFFC00) | static_cast<std::uint32_t>(real >> 32),
                            attributes, tid});
    }

    std::vector<std::uint8_t> ram;
    untrap::runtime::PhysicalMemory memory;
    std::unique_ptr<untrap::runtime::PatchRegistry> patches;
    FakeHost host;
    untrap::runtime::InterpreterEngine engine;
    untrap::runtime::Vcpu vcpu;
};

// mtspr DBCR0 with a system reset; needs a register.
#define END_BY_RESET(r) code::lis(r, 0x3000), code::mtspr(308, r)
