// SPDX-License-Identifier: GPL-2.0-only
// Differences and failure dumps.
#include <array>
#include <cstdio>
#include <cstring>

#include "machine.h"

namespace untrap::tests {

namespace {

using isa::CpuState;
using isa::TrapKind;

std::string format(const char* pattern, auto... values) {
    char line[256];
    std::snprintf(line, sizeof(line), pattern, values...);
    return line;
}

// Calls visit(name, index, value) for every register a guest can see.
template <typename Visitor>
void visit_registers(const CpuState& s, Visitor&& visit) {
    for (unsigned i = 0; i < 32; ++i) visit("r", i, std::uint64_t{s.gpr[i]});
    visit("pc", 0U, std::uint64_t{s.pc});
    visit("lr", 0U, std::uint64_t{s.lr});
    visit("ctr", 0U, std::uint64_t{s.ctr});
    visit("cr", 0U, std::uint64_t{s.cr()});
    visit("xer", 0U, std::uint64_t{s.xer()});
    visit("retired", 0U, s.retired);
    visit("reserve_valid", 0U, std::uint64_t{s.reserve_valid});
    visit("reserve_address", 0U, std::uint64_t{s.reserve_address});
    for (unsigned i = 0; i < 32; ++i) visit("f", i, s.fpr[i]);
    visit("fpscr", 0U, std::uint64_t{s.fpscr});
    const isa::StatePage& p = s.page;
    const std::pair<const char*, std::uint32_t> named[] = {
        {"msr", p.msr},       {"srr0", p.srr0},     {"srr1", p.srr1}, {"csrr0", p.csrr0}, {"csrr1", p.csrr1},
        {"mcsrr0", p.mcsrr0}, {"mcsrr1", p.mcsrr1}, {"dear", p.dear}, {"esr", p.esr},     {"pid", p.pid},
        {"mmucr", p.mmucr},   {"usprg0", s.usprg0}, {"ivpr", s.ivpr}, {"dbsr", s.dbsr},   {"dbcr0", s.dbcr0},
        {"dbcr1", s.dbcr1},   {"dbcr2", s.dbcr2},   {"tsr", s.tsr},   {"tcr", s.tcr},     {"decar", s.decar},
        {"ccr0", s.ccr0},     {"ccr1", s.ccr1},     {"mcsr", s.mcsr}, {"ivlim", s.ivlim}, {"dvlim", s.dvlim}};
    for (const auto& [name, value] : named) visit(name, 0U, std::uint64_t{value});
    for (unsigned i = 0; i < 8; ++i) visit("sprg", i, std::uint64_t{p.sprg[i]});
    for (unsigned i = 0; i < isa::interrupt_count; ++i) visit("ivor", i, std::uint64_t{s.ivor[i]});
    for (unsigned i = 0; i < 4; ++i) {
        visit("iac", i, std::uint64_t{s.iac[i]});
        visit("inv", i, std::uint64_t{s.inv[i]});
        visit("itv", i, std::uint64_t{s.itv[i]});
        visit("dnv", i, std::uint64_t{s.dnv[i]});
        visit("dtv", i, std::uint64_t{s.dtv[i]});
    }
    for (unsigned i = 0; i < 2; ++i) {
        visit("dac", i, std::uint64_t{s.dac[i]});
        visit("dvc", i, std::uint64_t{s.dvc[i]});
    }
}

constexpr std::size_t register_count = 152;

std::array<std::uint64_t, register_count> flatten(const CpuState& state) {
    std::array<std::uint64_t, register_count> values;
    std::size_t used = 0;
    visit_registers(state, [&](const char*, unsigned, std::uint64_t value) { values[used++] = value; });
    return values;
}

const char* name_of(TrapKind kind) {
    constexpr const char* names[] = {"none",           "budget",      "privileged",     "illegal",
                                     "trap_condition", "system_call", "fp_unavailable", "fp_exception",
                                     "alignment",      "fetch_miss",  "fetch_denied",   "fetch_bus_error",
                                     "data_miss",      "data_denied", "mmio",           "debug"};
    return names[static_cast<unsigned>(kind)];
}

bool has_address(TrapKind kind) {
    return kind == TrapKind::alignment || kind == TrapKind::data_miss || kind == TrapKind::data_denied ||
           kind == TrapKind::mmio;
}

} // namespace

std::string state_difference(const CpuState& a, const CpuState& b, Sides sides) {
    const auto left = flatten(a), right = flatten(b);
    if (left == right) return {};
    std::string text;
    std::size_t index = 0;
    visit_registers(a, [&](const char* name, unsigned number, std::uint64_t) {
        if (left[index] != right[index])
            text += format("%s[%u]: %s %016llx, %s %016llx\n", name, number, sides.left,
                           static_cast<unsigned long long>(left[index]), sides.right,
                           static_cast<unsigned long long>(right[index]));
        ++index;
    });
    return text;
}

std::string trap_difference(const isa::Trap& a, const isa::Trap& b, Sides sides) {
    bool same = a.kind == b.kind && (a.kind == TrapKind::budget || a.word == b.word);
    if (same && has_address(a.kind)) same = a.ea == b.ea && a.is_store == b.is_store;
    if (same && a.kind == TrapKind::mmio) same = a.size == b.size && a.real == b.real && a.value == b.value;
    if (same) return {};
    return std::string("trap: ") + sides.left + " " + describe(a) + ", " + sides.right + " " + describe(b) + "\n";
}

std::string memory_difference(const Machine& a, const Machine& b, Sides sides) {
    std::string text;
    const auto compare = [&](std::uint64_t base, const SharedMemory& left, const SharedMemory& right) {
        if (std::memcmp(left.data(), right.data(), left.size()) == 0) return;
        unsigned shown = 0;
        for (std::size_t i = 0; i < left.size() && shown < 16; ++i) {
            if (left[i] == right[i]) continue;
            ++shown;
            text += format("memory %09llx: %s %02x, %s %02x\n", static_cast<unsigned long long>(base + i), sides.left,
                           left[i], sides.right, right[i]);
        }
    };
    compare(Layout::data, a.data, b.data);
    compare(Layout::rom, a.rom, b.rom);
    compare(Layout::code, a.code, b.code);
    compare(Layout::high, a.high, b.high);
    return text;
}

std::string tlb_difference(Machine& a, Machine& b) {
    std::string text;
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index)
        if (!(a.vcpu().tlb.entry(index) == b.vcpu().tlb.entry(index))) text += format("TLB entry %u differs\n", index);
    return text;
}

std::string describe(const isa::Trap& trap) {
    return format("%s word %08x ea %08x %s size %u real %09llx value %llx", name_of(trap.kind), trap.word, trap.ea,
                  trap.is_store ? "store" : "load", trap.size, static_cast<unsigned long long>(trap.real),
                  static_cast<unsigned long long>(trap.value));
}

std::string describe(const CpuState& s) {
    std::string text =
        format("pc %08x lr %08x ctr %08x cr %08x xer %08x msr %08x pid %02x fpscr %08x retired %llu\n", s.pc, s.lr,
               s.ctr, s.cr(), s.xer(), s.page.msr, s.page.pid, s.fpscr, static_cast<unsigned long long>(s.retired));
    text += format("reserve %u %08x mmucr %08x srr0 %08x srr1 %08x\n", s.reserve_valid, s.reserve_address, s.page.mmucr,
                   s.page.srr0, s.page.srr1);
    for (unsigned i = 0; i < 32; ++i) text += format("r%-2u %08x%s", i, s.gpr[i], i % 8 == 7 ? "\n" : "  ");
    for (unsigned i = 0; i < 32; ++i)
        text += format("f%-2u %016llx%s", i, static_cast<unsigned long long>(s.fpr[i]), i % 4 == 3 ? "\n" : "  ");
    return text;
}

std::string describe(const mmu::GuestTlb& tlb) {
    std::string text;
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index) {
        const mmu::TlbEntry& entry = tlb.entry(index);
        if (!entry.valid()) continue;
        text += format("%2u: ea %08x shift %2u ts %u tid %02x -> %09llx attr %04x\n", index, entry.epn(),
                       entry.page_shift(), entry.ts(), entry.tid, static_cast<unsigned long long>(entry.rpn()),
                       entry.word2);
    }
    return text;
}

std::string disassemble(std::uint32_t word) {
    const isa::Instruction insn = isa::decode(word);
    const isa::Form form = insn.info().form;
    std::string text = insn.info().mnemonic;
    if (insn.records_overflow()) text += "o";
    if (insn.has(isa::flag::rc) && insn.rc()) text += ".";
    switch (form) {
    case isa::Form::none: break;
    case isa::Form::i: text += format(" %+d%s%s", insn.li(), insn.aa() ? " aa" : "", insn.lk() ? " lk" : ""); break;
    case isa::Form::b:
        text += format(" bo=%u bi=%u %+d%s%s", insn.bo(), insn.bi(), insn.bd(), insn.aa() ? " aa" : "",
                       insn.lk() ? " lk" : "");
        break;
    case isa::Form::xl_branch: text += format(" bo=%u bi=%u%s", insn.bo(), insn.bi(), insn.lk() ? " lk" : ""); break;
    case isa::Form::xfx_spr:
    case isa::Form::xfx_dcr: text += format(" r%u spr=%u", insn.rt(), insn.spr()); break;
    case isa::Form::d_mem:
    case isa::Form::d_fmem: text += format(" %u,%d(r%u)", insn.rt(), insn.si(), insn.ra()); break;
    case isa::Form::d_arith:
    case isa::Form::d_arith0:
    case isa::Form::d_logic:
    case isa::Form::d_cmp:
    case isa::Form::d_cmpl:
    case isa::Form::d_trap: text += format(" %u,r%u,%d", insn.rt(), insn.ra(), insn.si()); break;
    case isa::Form::m_imm:
    case isa::Form::m_reg:
        text += format(" rs=%u ra=%u sh=%u mb=%u me=%u", insn.rs(), insn.ra(), insn.sh(), insn.mb(), insn.me());
        break;
    default: text += format(" %u,%u,%u (frc %u)", insn.rt(), insn.ra(), insn.rb(), insn.frc()); break;
    }
    return text;
}

std::string listing(Machine& machine, std::uint32_t first, unsigned count, std::uint32_t marked) {
    std::string text;
    for (unsigned i = 0; i < count; ++i) {
        const std::uint32_t pc = first + 4 * i;
        isa::Trap trap;
        std::uint32_t word = 0;
        if (!machine.vcpu().storage.fetch(pc, word, trap)) {
            text += format("  %08x %s\n", pc, name_of(trap.kind));
            continue;
        }
        if (word == 0 && static_cast<std::int32_t>(pc - marked) > 0) {
            text += format("  %08x ...\n", pc);
            break;
        }
        text += format("%s %08x %08x  ", pc == marked ? ">" : " ", pc, word) + disassemble(word) + "\n";
    }
    return text;
}

} // namespace untrap::tests
