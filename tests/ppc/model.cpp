// SPDX-License-Identifier: GPL-2.0-only
#include "model.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdio>
#include <utility>

#include "words.h"

namespace untrap::tests::ppc440 {

using isa::CpuState;
using isa::Trap;
using isa::TrapKind;
namespace msr = isa::msr;

Model::Model() {
    stub_words.resize(granules * ppc::StubArena::granule_words);
    restarts.resize(granules);
    guest_.vcpu.set_clock(runtime::Clock::host, false); // time stands still
    set_code({});
}

void Model::set_code(std::vector<std::uint32_t> words) {
    original_ = std::move(words);
    code_ = original_;
    arena.start(arena_ea, stub_words.data(), restarts.data(), granules);
    guest_.vcpu.reset();
}

bool Model::patch(std::uint32_t site, unsigned levels, ppc::Registers dead) {
    const plan::Patch patch = plan::make_patch(window(site), window_length(site), levels);
    std::uint32_t& word = code_[(site - code_ea) / 4];
    switch (ppc::shape_of(patch)) {
    case ppc::Shape::trap: return false;
    case ppc::Shape::word: word = ppc::patched_word(patch); return true;
    case ppc::Shape::stub: break;
    }
    const ppc::StubArena::Made made = arena.add(patch, *window(site), site, dead);
    if (made.result == ppc::StubArena::Result::no_room) return false;
    INFO(ppc::name(arena.flaw()));
    REQUIRE(made.result == ppc::StubArena::Result::made);
    word = made.site_word;
    return true;
}

void Model::enter(const CpuState& guest, std::uint32_t live_pid) {
    cpu = guest;
    own_ = guest.page;
    page.state = guest.page;
    page.live_pid = live_pid;
    cpu.page = {};
    cpu.page.msr = msr::pr | msr::ee | msr::me | msr::is | msr::ds | (guest.page.msr & (msr::fp | msr::fe0 | msr::fe1));
    for (unsigned number = 4; number < 8; ++number) cpu.page.sprg[number] = guest.page.sprg[number];
    patched_context = (guest.page.msr & (msr::pr | msr::is | msr::ds)) == 0;
}

CpuState Model::leave() {
    if (arena.holds(cpu.pc)) REQUIRE(arena.restore(cpu, page.state));
    REQUIRE_FALSE(arena.holds(cpu.pc));
    CpuState guest = cpu;
    guest.page = own_;
    ppc::read_back(guest.page, page.state);
    return guest;
}

runtime::Emulator::Outcome Model::emulate(CpuState& guest, std::uint32_t word) {
    runtime::Vcpu& vcpu = guest_.vcpu;
    vcpu.state = guest;
    const runtime::Emulator::Outcome outcome = runtime::Emulator(vcpu).execute(isa::decode(word));
    if (outcome == runtime::Emulator::Outcome::dcr) runtime::Emulator(vcpu).finish_dcr(isa::decode(word), 0x5EED);
    guest = vcpu.state;
    return outcome;
}

Trap Model::step() {
    Trap trap;
    std::uint32_t word = 0;
    if (!fetch(cpu.pc, word, trap)) return trap;
    const std::uint32_t pc = cpu.pc;
    trap = interp::execute(cpu, *this, isa::decode(word));
    // A stub's trap instruction stands for the site's own.
    unsigned index = 0;
    if (trap.kind != TrapKind::trap_condition) return trap;
    if (const ppc::Restart* const restart = arena.find(pc, index); restart != nullptr) {
        trap.kind = TrapKind::privileged;
        trap.word = arena.original(*restart, pc, index);
    }
    return trap;
}

std::uint32_t* Model::page_word(std::uint32_t ea, unsigned size, bool is_store, Trap& trap) {
    // Only patched code: what the guest's own accesses to this address find is the engine's business.
    const bool patched = in_stub() || (in_code(cpu.pc) && code_[(cpu.pc - code_ea) / 4] != *window(cpu.pc));
    if (ea < ppc::guest_page_ea || !patched_context || !patched) return nullptr;
    REQUIRE(size == 4);
    REQUIRE(ea % 4 == 0);
    REQUIRE(ea - ppc::guest_page_ea < sizeof page);
    ++page_accesses;
    if (fault_at >= 0 && fault_at-- == 0) {
        page_missed = true;
        trap.kind = TrapKind::data_miss;
        trap.ea = ea;
        trap.is_store = is_store;
        return nullptr;
    }
    return reinterpret_cast<std::uint32_t*>(&page) + (ea - ppc::guest_page_ea) / 4;
}

bool Model::load(std::uint32_t ea, unsigned size, std::uint64_t& value, Trap& trap) {
    if (const std::uint32_t* word = page_word(ea, size, false, trap)) {
        value = *word;
        return true;
    }
    if (trap.kind != TrapKind::none || !check(ea, false, trap) || !check(ea + size - 1, false, trap)) return false;
    value = 0;
    for (unsigned byte = 0; byte < size; ++byte) value = value << 8 | data[ea - data_ea + byte];
    return true;
}

bool Model::store(std::uint32_t ea, unsigned size, std::uint64_t value, Trap& trap) {
    if (std::uint32_t* word = page_word(ea, size, true, trap)) {
        *word = static_cast<std::uint32_t>(value);
        return true;
    }
    if (trap.kind != TrapKind::none || !check(ea, true, trap) || !check(ea + size - 1, true, trap)) return false;
    for (unsigned byte = 0; byte < size; ++byte)
        data[ea - data_ea + byte] = static_cast<std::uint8_t>(value >> 8 * (size - 1 - byte));
    return true;
}

bool Model::fetch(std::uint32_t pc, std::uint32_t& word, Trap& trap) {
    if (in_code(pc)) {
        word = patched_context ? code_[(pc - code_ea) / 4] : *window(pc);
        return true;
    }
    if (arena.holds(pc) && patched_context) {
        word = stub_words[(pc - arena_ea) / 4];
        return true;
    }
    trap.kind = TrapKind::fetch_miss;
    return false;
}

bool Model::check(std::uint32_t ea, bool store, Trap& trap) {
    if (ea - data_ea < data_bytes) return true;
    trap.kind = TrapKind::data_miss;
    trap.ea = ea;
    trap.is_store = store;
    return false;
}

std::string difference(const CpuState& a, const CpuState& b, ppc::Registers ignored) {
    std::string text;
    const auto compare = [&](const char* what, unsigned number, std::uint32_t left, std::uint32_t right) {
        if (left == right) return;
        char line[80];
        std::snprintf(line, sizeof line, "%s%u %08X %08X; ", what, number, left, right);
        text += line;
    };
    for (unsigned number = 0; number < 32; ++number)
        if ((ignored.gpr >> number & 1) == 0) compare("r", number, a.gpr[number], b.gpr[number]);
    for (unsigned field = 0; field < 8; ++field)
        if ((ignored.cr >> field & 1) == 0)
            compare("cr", field, isa::cr::decode(a.crf[field]), isa::cr::decode(b.crf[field]));
    compare("pc", 0, a.pc, b.pc);
    compare("lr", 0, a.lr, b.lr);
    compare("ctr", 0, a.ctr, b.ctr);
    compare("xer", 0, a.xer(), b.xer());
    compare("reserve", 0, a.reserve_valid, b.reserve_valid);
    compare("msr", 0, a.page.msr, b.page.msr);
    compare("srr", 0, a.page.srr0, b.page.srr0);
    compare("srr", 1, a.page.srr1, b.page.srr1);
    compare("csrr", 0, a.page.csrr0, b.page.csrr0);
    compare("csrr", 1, a.page.csrr1, b.page.csrr1);
    compare("mcsrr", 0, a.page.mcsrr0, b.page.mcsrr0);
    compare("mcsrr", 1, a.page.mcsrr1, b.page.mcsrr1);
    compare("dear", 0, a.page.dear, b.page.dear);
    compare("esr", 0, a.page.esr, b.page.esr);
    compare("pid", 0, a.page.pid, b.page.pid);
    compare("mmucr", 0, a.page.mmucr, b.page.mmucr);
    for (unsigned number = 0; number < 8; ++number) compare("sprg", number, a.page.sprg[number], b.page.sprg[number]);
    compare("usprg", 0, a.usprg0, b.usprg0);
    compare("fpscr", 0, a.fpscr, b.fpscr);
    for (unsigned number = 0; number < 32; ++number) {
        compare("fh", number, static_cast<std::uint32_t>(a.fpr[number] >> 32),
                static_cast<std::uint32_t>(b.fpr[number] >> 32));
        compare("fl", number, static_cast<std::uint32_t>(a.fpr[number]), static_cast<std::uint32_t>(b.fpr[number]));
    }
    return text;
}

CpuState random_guest(Random& random, std::uint32_t pc) {
    CpuState guest;
    guest.reset();
    for (std::uint32_t& gpr : guest.gpr) gpr = random_gpr(random);
    guest.pc = pc;
    guest.lr = random.word();
    guest.ctr = random.word();
    guest.set_cr(random.word());
    guest.set_xer(random.word());
    isa::StatePage& page = guest.page;
    page.msr = random.word() & (msr::ee | msr::ce | msr::me | msr::de | msr::fp | msr::fe0 | msr::fe1);
    page.srr0 = random.word() & ~3U;
    page.srr1 = random.word();
    page.csrr0 = random.word() & ~3U;
    page.csrr1 = random.word();
    page.dear = random.word();
    page.esr = random.word();
    page.pid = random.below(4);
    page.mmucr = random.word() & isa::mmucr::writable;
    for (std::uint32_t& sprg : page.sprg) sprg = random.word();
    for (std::uint32_t& slot : page.scratch) slot = random.word();
    for (unsigned number = 0; number < 16; ++number) guest.ivor[number] = 0x100 * (number + 1);
    return guest;
}

} // namespace untrap::tests::ppc440
