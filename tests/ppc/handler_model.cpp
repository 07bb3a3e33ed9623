// SPDX-License-Identifier: GPL-2.0-only
#include "handler_model.h"

#include <catch2/catch_test_macros.hpp>

#include "model.h"
#include "runtime/byte_order.h"
#include "runtime/emulate.h"
#include "translator/interp/interpreter.h"
#include "translator/ppc/handler_code.h"

namespace untrap::tests::ppc440 {

using isa::CpuState;
using isa::Trap;
using isa::TrapKind;
using ppc::Windows;

ppc::HandlerPlace HandlerModel::place() const {
    ppc::HandlerPlace place;
    place.leave = leave_ea;
    place.finish = finish_ea;
    if (early) {
        place.commit = commit_ea;
        place.end = end_ea;
        if (walking) {
            place.record = record_exit_ea;
            place.recall = recall_exit_ea;
            place.walks = walks_ea;
        }
    }
    place.windows = windows_ea;
    place.code = near_exit ? code_ea : 0;
    place.gpr = offsetof(Record, gpr);
    place.lr = offsetof(Record, lr);
    place.cr = offsetof(Record, cr);
    place.page = offsetof(Record, page);
    place.tlb = offsetof(Record, tlb);
    place.missed = offsetof(Record, missed);
    place.fixed = offsetof(Record, fixed);
    place.memos = offsetof(Record, memos);
    place.reads = offsetof(Record, reads);
    return place;
}

HandlerModel::HandlerModel() : windows(std::make_unique<Windows>()) {
    reference.vcpu.set_clock(runtime::Clock::host, false); // time stands still
}

void HandlerModel::start(Random& random, const std::vector<std::uint32_t>& handler) {
    handler_ = handler;
    near_exit = random.chance(50);
    early = random.chance(70);
    walking = random.chance(80); // of those where a branch gets there
    walks.assign(ppc::walk_count, {});
    for (std::uint32_t offset = 0; offset < data_bytes; ++offset)
        reference.ram[data_real + offset] = static_cast<std::uint8_t>(random.word());
    for (unsigned index = 0; index < handler.size(); ++index)
        runtime::store_big_endian(&reference.ram[entry - guest_ea + 4 * index], 4, handler[index]);
    memory = reference.ram;
    start_again(random);

    *windows = {};
    const std::uint32_t data = guest_ea + data_real;
    if (random.chance(90)) windows->load(data) = {guest_ea, memory_ea - guest_ea};
    for (std::uint32_t page = data; page < data + data_bytes; page += 4096)
        if (random.chance(90)) windows->store(page) = {page, memory_ea - guest_ea};
}

void HandlerModel::start_again(Random& random) {
    runtime::Vcpu& vcpu = reference.vcpu;
    vcpu.reset();
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index) vcpu.set_tlb_entry(index, {});
    reference.map(62, other_ea, 0, 5, 0x80 | 7); // 1 MB, little-endian
    reference.map(63, guest_ea, 0, 9, 7);
    guest = random_guest(random, entry);
    for (std::uint32_t& gpr : guest.gpr)
        if (random.chance(60)) gpr = guest_ea + data_real + 8 * random.between(0x100, 0x300);
    guest.page.msr &= ppc::handler_code::interrupted_msr;
    guest.page.esr &= isa::esr::st | isa::esr::fp;
    vcpu.state = guest;
}

bool HandlerModel::compile(unsigned count) {
    code.assign(ppc::handler_max_words, 0);
    if (!ppc::compile_handler(handler_.data(), count, entry, place(), work, code.data(), compiled)) return false;
    const ppc::HandlerFlaw flaw = ppc::verify_handler(code.data(), compiled, place());
    INFO(ppc::name(flaw));
    REQUIRE(flaw == ppc::HandlerFlaw::none);
    REQUIRE(compiled.reach <= count);
    // A host that has nothing at a fixed address does not run it.
    for (unsigned number = 0; number < compiled.fixed; ++number)
        if (compiled.addresses[number].ea - guest_ea - data_real >= data_bytes) return false;
    return true;
}

// Perhaps a second time, when accesses know their windows.
HandlerModel::Result HandlerModel::run(Random& random, bool decline) {
    record = {};
    if (random.chance(50)) {
        const std::vector<std::uint8_t> before = memory;
        run_once(random, decline);
        memory = before;
    }
    return run_once(random, decline);
}

HandlerModel::Result HandlerModel::run_once(Random& random, bool decline) {
    cpu = guest;
    Record fresh;
    for (unsigned number = 0; number < ppc::handler_memos; ++number) fresh.memos[number] = record.memos[number];
    record = fresh;
    record.page = guest.page;
    record.page.msr |= random.word() & ~ppc::handler_code::interrupted_msr; // of before the interrupt
    for (unsigned number = 0; number < compiled.fixed; ++number)
        record.fixed[number] = compiled.addresses[number].ea - guest_ea + memory_ea;
    record.cr = guest.cr();
    record.lr = random.word();
    record.page_missed = (guest.page.dear & 0xFFFFF000) | 0x210;
    for (ppc::WalkRead& read : record.reads.loads)
        read.address = random.chance(50) ? memory_ea + data_real : 0; // of before
    for (unsigned number = 3; number < 8; ++number) {
        record.gpr[number] = guest.gpr[number];
        cpu.gpr[number] = random.word();
    }
    cpu.set_cr(random.word());
    cpu.gpr[3] = record.page.esr;
    cpu.gpr[7] = record.page_missed;
    cpu.gpr[4] = record_ea;
    record.gpr[4] = random.word(); // it is in SPRG0
    cpu.page = {};
    cpu.page.msr = isa::msr::me;
    for (unsigned number = 4; number < 8; ++number) cpu.page.sprg[number] = guest.page.sprg[number];
    cpu.page.sprg[0] = guest.gpr[4];
    cpu.pc = code_ea;

    Result result;
    for (;;) {
        if (cpu.pc == leave_ea) {
            result.pc = cpu.gpr[3];
            result.flags = cpu.gpr[5];
            return result;
        }
        if (cpu.pc == recall_exit_ea) {
            ++result.recalled;
            const std::size_t number = (cpu.gpr[5] - walks_ea) / sizeof(ppc::Walk);
            REQUIRE((number < walks.size() && (cpu.gpr[5] - walks_ea) % sizeof(ppc::Walk) == 0));
            const ppc::Walk& walk = walks[number];
            record.tlb = {cpu.gpr[3], {record.page_missed, walk.words[0], walk.words[1]}};
            for (const unsigned gpr : {3, 5, 6, 7}) cpu.gpr[gpr] = random.word();
            record.lr = cpu.lr;
            if (random.chance(80)) {
                cpu.set_cr(record.cr);
                result.finished = true;
                result.flags = ppc::handler_exit::words;
                return result;
            }
            cpu.set_cr(random.word());
            cpu.lr = random.word();
            cpu.pc = code_ea + 4 * compiled.declined;
        }
        if (cpu.pc == commit_ea || cpu.pc == record_exit_ea) {
            const bool done = random.chance(70);
            if (done && cpu.pc == record_exit_ea && record.tlb.words[0] == record.page_missed) {
                ++result.recorded;
                keep_walk();
            }
            ++(done ? result.commits : result.declined);
            for (const unsigned number : {3, 5, 6, 7, 10, 11, 12}) cpu.gpr[number] = random.word();
            cpu.set_cr((random.word() & ~0x20000000U) | (done ? 0x20000000U : 0));
            cpu.pc = cpu.lr;
        }
        if (cpu.pc == end_ea) {
            result.finished = true;
            result.flags = ppc::handler_exit::words;
            return result;
        }
        if (cpu.pc == finish_ea) {
            result.finished = true;
            result.flags = cpu.gpr[5];
            if (!decline) return result;
            result.finished = false;
            for (const unsigned number : {3, 5, 6, 7}) cpu.gpr[number] = random.word();
            cpu.pc = cpu.lr;
        }
        REQUIRE(result.instructions++ < ppc::handler_max_words);
        Trap trap;
        std::uint32_t word = 0;
        REQUIRE(fetch(cpu.pc, word, trap));
        const isa::Instruction insn = isa::decode(word);
        trap = interp::execute(cpu, *this, insn);
        if (trap.kind == TrapKind::none) continue;
        REQUIRE(trap.kind == TrapKind::privileged);
        if (insn.op == isa::Op::mfspr && insn.spr() == isa::spr::sprg0) {
            cpu.gpr[insn.rt()] = cpu.page.sprg[0];
            cpu.pc += 4;
            continue;
        }
        REQUIRE(insn.op == isa::Op::mtspr);
        if (insn.spr() == isa::spr::sprg0) {
            cpu.page.sprg[0] = cpu.gpr[insn.rs()];
            cpu.pc += 4;
            continue;
        }
        const unsigned number = insn.spr() - isa::spr::sprg4;
        REQUIRE(number < 4);
        cpu.page.sprg[4 + number] = cpu.gpr[insn.rs()];
        cpu.pc += 4;
    }
}

// As the host does: of what was read on all ways, by a handler that leaves MMUCR as it is.
void HandlerModel::keep_walk() {
    const std::uint32_t key = (record.page_missed & 0xFFFFF000) | (record.page.pid & 0xFF) << 2 |
                              (record.page.esr & (isa::esr::st | isa::esr::fp)) >> 23;
    ppc::Walk walk;
    walk.key = key;
    for (unsigned number = 0; number < compiled.inputs; ++number)
        walk.inputs[number] = *reinterpret_cast<const std::uint32_t*>(reinterpret_cast<const char*>(&record.page) +
                                                                      compiled.input_fields[number]);
    for (unsigned number = 0; number < compiled.loads; ++number) {
        walk.loads[number] = record.reads.loads[number];
        if (walk.loads[number].address == 0) return;
    }
    if (record.reads.mmucr != record.page.mmucr) return;
    walk.words[0] = record.tlb.words[1];
    walk.words[1] = record.tlb.words[2];
    walks[ppc::walk_number(key)] = walk;
}

CpuState HandlerModel::leave(const Result& result) {
    CpuState state = cpu;
    for (unsigned number = 3; number < 8; ++number)
        state.gpr[number] = number == 4 ? cpu.page.sprg[0] : record.gpr[number];
    state.lr = record.lr;
    for (unsigned number = 4; number < 8; ++number) CHECK(cpu.page.sprg[number] == record.page.sprg[number]);
    state.page = record.page;
    state.page.msr &= ppc::handler_code::interrupted_msr;
    state.pc = result.pc;
    return state;
}

bool HandlerModel::refer(const Result& result, unsigned most) {
    runtime::Vcpu& vcpu = reference.vcpu;
    std::uint32_t last = entry - 4;
    for (unsigned step = 0; step <= most; ++step) {
        const bool back = vcpu.state.pc <= last;
        last = vcpu.state.pc;
        if (!result.finished && vcpu.state.pc == result.pc && (back || !leaves_backward(result.pc))) return true;
        if (back) return false; // the code would have left
        Trap trap;
        std::uint32_t word = 0;
        if (!vcpu.storage.fetch(vcpu.state.pc, word, trap)) return false;
        const isa::Instruction insn = isa::decode(word);
        trap = interp::execute(vcpu.state, vcpu.storage, insn);
        if (trap.kind == TrapKind::none) continue;
        if (trap.kind != TrapKind::privileged) return false;
        if (insn.op == isa::Op::rfi && result.finished) return true;
        if (runtime::Emulator(vcpu).execute(insn) != runtime::Emulator::Outcome::completed) return false;
    }
    return false;
}

void HandlerModel::commit(mmu::GuestTlb& tlb, const Result& result) const {
    for (unsigned word = 0; word < 3; ++word)
        if ((result.flags >> word & 1) != 0)
            tlb.write_word(record.tlb.index, word, record.tlb.words[word], record.page.mmucr);
}

bool HandlerModel::run_both(Random& random, bool decline, Result& result) {
    mmu::GuestTlb tlb = reference.vcpu.tlb;
    result = run(random, decline);
    if ((result.flags & ppc::handler_exit::words) != 0) {
        record.tlb.index &= 63; // as the exits do
        // An entry that the handler itself needs: when that shows is not said before the next synchronisation.
        if (record.tlb.index >= 62) return false;
    }
    commit(tlb, result);
    CpuState state = leave(result);
    if (!refer(result, compiled.guest + 1)) {
        // Reached only if what was written translates addresses that are translated already.
        REQUIRE((result.flags & ppc::handler_exit::words) != 0);
        return false;
    }
    const CpuState& expected = reference.vcpu.state;
    if (result.finished) state.pc = expected.pc;
    INFO(listing());
    REQUIRE(difference(state, expected) == "");
    REQUIRE(memory == reference.ram);
    for (unsigned index = 0; index < 64; ++index) REQUIRE(tlb.entry(index) == reference.vcpu.tlb.entry(index));
    return true;
}

std::string HandlerModel::listing() const {
    std::string text;
    char line[32];
    for (unsigned index = 0; index < compiled.length; ++index) {
        std::snprintf(line, sizeof line, "%08x\n", code[index]);
        text += line;
    }
    return text;
}

// Whether the code left by a branch of the guest's to somewhere before it: the last instruction that was executed.
bool HandlerModel::leaves_backward(std::uint32_t pc) const {
    isa::CpuState now = cpu;
    for (unsigned number = 3; number < 8; ++number)
        now.gpr[number] = number == 4 ? cpu.page.sprg[0] : record.gpr[number];
    const isa::CpuState& at = reference.vcpu.state;
    return pc < entry + 4 * compiled.reach && (now.gpr != at.gpr || now.cr() != at.cr() || record.lr != at.lr ||
                                               now.ctr != at.ctr || memory != reference.ram);
}

std::uint32_t* HandlerModel::word_at(std::uint32_t ea) {
    if (ea % 4 != 0) return nullptr;
    if (ea - record_ea < sizeof record) return reinterpret_cast<std::uint32_t*>(&record) + (ea - record_ea) / 4;
    if (ea - walks_ea < walks.size() * sizeof(ppc::Walk))
        return reinterpret_cast<std::uint32_t*>(walks.data()) + (ea - walks_ea) / 4;
    if (ea - windows_ea < sizeof(Windows))
        return reinterpret_cast<std::uint32_t*>(windows.get()) + (ea - windows_ea) / 4;
    return nullptr;
}

bool HandlerModel::load(std::uint32_t ea, unsigned size, std::uint64_t& value, Trap&) {
    if (const std::uint32_t* word = word_at(ea); word != nullptr && size == 4) {
        value = *word;
        return true;
    }
    ++accesses;
    REQUIRE(std::uint64_t{ea - memory_ea} + size <= memory.size());
    value = runtime::load_big_endian(&memory[ea - memory_ea], size);
    return true;
}

bool HandlerModel::store(std::uint32_t ea, unsigned size, std::uint64_t value, Trap&) {
    if (std::uint32_t* word = word_at(ea); word != nullptr && size == 4) {
        REQUIRE(ea - record_ea < sizeof record);
        const std::uint32_t offset = ea - record_ea;
        REQUIRE(offset >= offsetof(Record, cr));
        REQUIRE((offset < offsetof(Record, page) || offset >= offsetof(Record, page) + 8)); // neither MSR nor pending
        *word = static_cast<std::uint32_t>(value);
        return true;
    }
    ++accesses;
    // Nothing but what the windows for stores lead to.
    REQUIRE(std::uint64_t{ea - memory_ea - data_real} + size <= data_bytes);
    runtime::store_big_endian(&memory[ea - memory_ea], size, value);
    return true;
}

bool HandlerModel::fetch(std::uint32_t pc, std::uint32_t& word, Trap&) {
    REQUIRE(pc % 4 == 0);
    REQUIRE(pc - code_ea < 4 * compiled.length);
    word = code[(pc - code_ea) / 4];
    return true;
}

bool HandlerModel::check(std::uint32_t, bool, Trap&) {
    FAIL("a cache instruction");
    return false;
}

} // namespace untrap::tests::ppc440
