// SPDX-License-Identifier: GPL-2.0-only
// Single instructions that leave the guest: what the quick exits and the assembly make of them, against the run loop.
#include <catch2/catch_test_macros.hpp>
#include <cstdio>

#include "comparison.h"
#include "tests/runtime/guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::Interrupt;
using native::Comparison;
using native::Machine;
using runtime::ExitReason;
using runtime::RunExit;
namespace msr = isa::msr;

constexpr std::uint32_t done = code::mtdcr(Comparison::dcr_done, 0);
constexpr std::uint32_t mfspr_any(unsigned rt, unsigned number) { return code::mfspr(rt, number); }

std::string name(const char* what, std::uint32_t value) {
    char text[96];
    std::snprintf(text, sizeof text, "%s %08x", what, value);
    return text;
}

std::uint32_t random_msr(Random& random) {
    std::uint32_t value = random.word() & (msr::ee | msr::ce | msr::me | msr::fp | msr::fe0 | msr::fe1);
    if (random.chance(30)) value |= msr::pr;
    if (random.chance(10)) value |= msr::is | msr::ds;
    if (random.chance(6)) value ^= msr::is;
    if (random.chance(6)) value ^= msr::ds;
    if (random.chance(10)) value |= msr::de;
    if (random.chance(4)) value |= msr::we;
    if (random.chance(4)) value |= msr::dwe;
    if (random.chance(10)) value |= random.word() & ~msr::defined; // bits that no MSR has
    return value;
}

isa::CpuState random_state(Random& random) {
    isa::CpuState state = Comparison::first_state();
    for (auto& gpr : state.gpr) gpr = random_gpr(random);
    state.lr = random_gpr(random);
    state.ctr = random_gpr(random);
    state.set_cr(random.word());
    state.set_xer(random.word() & 0xE000007F);
    for (auto& fpr : state.fpr) fpr = random_fpr(random);
    state.fpscr = random_fpscr(random);
    state.usprg0 = random.word();
    for (auto& sprg : state.page.sprg) sprg = random.word();
    state.page.srr0 = random.chance(80) ? 0x2000 : random.word();
    state.page.srr1 = random_msr(random);
    state.page.csrr0 = random.chance(80) ? 0x2000 : random.word();
    state.page.csrr1 = random_msr(random);
    state.page.dear = random.word();
    state.page.esr = random.word();
    state.page.pid = random.below(5);
    state.page.mmucr = random.word() & isa::mmucr::writable;
    state.page.msr = random_msr(random) & msr::defined & ~msr::we;
    if (random.chance(8)) {
        state.dbcr0 = (random.word() & ~isa::dbcr0::rst) | isa::dbcr0::idm;
        state.iac[0] = Comparison::origin;
        state.dac[0] = random.word();
    }
    if (random.chance(20)) {
        state.reserve_valid = 1;
        state.reserve_address = random.word() & ~3U;
    }
    return state;
}

// Lines, timers that are due, and how the host behaves.
void random_surroundings(Comparison& guest, Random& random) {
    const bool external = random.chance(25), critical = random.chance(10), pulse = random.chance(5);
    const std::uint32_t tcr = random.chance(15) ? isa::tcr::die | isa::tcr::fie : 0;
    const std::uint32_t tsr = random.chance(50) ? isa::tsr::dis : isa::tsr::fis;
    guest.both([&](Machine& machine) {
        machine.vcpu().set_interrupt_line(false, external);
        machine.vcpu().set_interrupt_line(true, critical);
        if (pulse) machine.vcpu().pulse_external();
        if (tcr == 0) return;
        machine.vcpu().timers.set_tcr(tcr);
        machine.vcpu().timers.set_tsr(tsr);
    });
    guest.cpu.assembly_paths = random.chance(60);
    guest.cpu.host_percent = random.pick({0U, 50U});
    guest.cpu.interrupt_interval = random.pick({0U, 0U, 3U, 10U});
    guest.native->native().set_timing(random.chance(10));
}

// Runs one instruction, and what follows, to an exit or two.
void one_instruction(Comparison& guest, std::uint32_t word, const isa::CpuState& state, const std::string& context) {
    guest.start(state);
    // Address space 1 is mapped too, and what rfi goes to.
    guest.both([&](Machine& machine) {
        machine.map(62, 0, 0, 9, 0x3F, 0, 1);
        machine.stop_after = 2000;
    });
    guest.put(Comparison::origin, {word, done, code::b(-8)});
    guest.put(0x2000, {code::mfmsr(9), mfspr_any(10, 48), code::sc, done});
    random_surroundings(guest, guest.random);
    for (unsigned exits = guest.random.between(1, 3); exits != 0; --exits) {
        const RunExit exit = guest.run(context);
        if (exit == RunExit::dcr)
            guest.both([](Machine& machine) { machine.vcpu().complete_dcr(0x55AA55AA); });
        else if (exit == RunExit::mmio)
            guest.both([](Machine& machine) { machine.vcpu().complete_mmio(0x1122334455667788); });
        else
            break;
    }
}

} // namespace

TEST_CASE("every special register is read and written as by the run loop", "[quick]") {
    Random random = seeded_random(11);
    Comparison guest(random);
    for (unsigned number = 0; number < 1024; ++number) {
        for (unsigned repeat = 0; repeat < 3; ++repeat) {
            const unsigned gpr = random.below(32);
            isa::CpuState state = random_state(random);
            if (repeat == 0) state.page.msr &= ~(msr::pr | msr::de);
            one_instruction(guest, code::mfspr(gpr, number), state, name("mfspr", number));
            if (repeat == 0) state.page.msr &= ~(msr::pr | msr::de);
            one_instruction(guest, code::mtspr(number, gpr), state, name("mtspr", number));
        }
    }
    CHECK(guest.native->exits(ExitReason::emul_mfspr) == guest.interpreted->exits(ExitReason::emul_mfspr));
}

TEST_CASE("privileged and trapping instructions do what the run loop does", "[quick]") {
    Random random = seeded_random(12);
    Comparison guest(random);
    const std::uint64_t cases = instruction_goal(20'000);
    for (std::uint64_t number = 0; number < cases; ++number) {
        isa::CpuState state = random_state(random);
        const unsigned rt = random.below(32), ra = random.below(32), rb = random.below(32);
        std::uint32_t word = 0;
        switch (random.below(20)) {
        case 0: word = code::x_form(rt, 0, 0, 131); break; // wrtee
        case 1: word = code::wrteei(random.below(2)); break;
        case 2:
        case 3:
            word = code::mtmsr(rt);
            state.gpr[rt] = random.chance(90) ? random_msr(random) : random.word();
            break;
        case 4:
        case 5: word = code::rfi; break;
        case 6: word = random.chance(50) ? code::rfci : 0x4C00004C; break; // or rfmci
        case 7:
        case 8:
            word = code::tlbwe(rt, ra, random.below(4));
            // Not over the two entries that map the code.
            state.gpr[ra] = (state.gpr[ra] & ~63U) | random.below(60);
            // Nor another one for the code: what a 440 does with two is left open.
            if (state.gpr[rt] < 0x10000000) state.gpr[rt] |= 0x10000000;
            break;
        case 9: word = random.chance(50) ? code::tlbre(rt, ra, random.below(4)) : code::tlbsx_rc(rt, ra, rb); break;
        case 10: word = code::mtspr(isa::spr::pid, rt); break;
        case 11: word = code::mtspr(isa::spr::mmucr, rt); break;
        case 12: word = code::sc; break;
        case 13: word = code::mfmsr(rt); break;
        case 14: word = random.chance(50) ? code::trap : code::illegal; break;
        case 15: word = 0xFC20082A | rt << 21 | ra << 16 | rb << 11; break;                           // fadd
        case 16: word = random.chance(50) ? 0xFC00048E | rt << 21 : code::stfd(rt, 0, 0x4000); break; // mffs
        case 17:
            word = random.pick({code::x_form(0, 0, 0, 966), code::x_form(0, 0, 0, 454), code::x_form(0, 0, 0, 566),
                                code::dcbi(0, rb)});
            break;                                          // iccci, dccci, tlbsync
        case 18: word = code::x_form(rt, 0, rb, 20); break; // lwarx
        default: word = random.chance(50) ? code::mfdcr(rt, 0x30) : code::mtdcr(0x30, rt); break;
        }
        one_instruction(guest, word, state, "case " + std::to_string(number) + " " + name("word", word));
    }
}

TEST_CASE("quick exits do not leave the host's kernel", "[quick]") {
    Random random = seeded_random(13);
    Comparison guest(random);
    struct Case {
        std::uint32_t word;
        ExitReason reason;
    };
    const Case cases[] = {
        {code::mfspr(3, isa::spr::sprg0), ExitReason::emul_mfspr},
        {code::mtspr(isa::spr::sprg7, 3), ExitReason::emul_mtspr},
        {code::mtspr(isa::spr::pid, 4), ExitReason::emul_mtspr},
        {code::mtspr(isa::spr::mmucr, 3), ExitReason::emul_mtspr},
        {code::mfmsr(3), ExitReason::emul_mfmsr},
        {code::wrteei(1), ExitReason::emul_wrtee},
        {code::wrteei(0), ExitReason::emul_wrtee},
        {code::tlbwe(3, 4, 0), ExitReason::emul_tlbwe},
        {code::sc, ExitReason::syscall},
    };
    for (const Case& one : cases) {
        guest.start(Comparison::first_state());
        guest.put(Comparison::origin, {one.word, code::nop, done});
        REQUIRE(guest.run(name("word", one.word)) == RunExit::dcr);
        CHECK(guest.native->exits(one.reason) == 1);
        // The engine came back once: with the DCR access that ended it (state.retired counts returns).
        CHECK(guest.native->state().retired <= 1);
    }
}

TEST_CASE("TLB misses are reflected with address, cause and return address", "[quick]") {
    Random random = seeded_random(14);
    Comparison guest(random);
    struct Case {
        std::uint32_t word;
        bool store, fp;
    };
    const Case cases[] = {{code::lwz(3, 4, 8), false, false},         {code::stw(3, 4, 8), true, false},
                          {code::stfd(3, 4, 8), true, true},          {code::lmw(30, 4, 8), false, false},
                          {code::x_form(0, 0, 4, 86), false, false},  // dcbf
                          {code::x_form(0, 0, 4, 1014), true, false}, // dcbz
                          {code::x_form(3, 0, 4, 599), false, true}}; // lfdx
    for (const Case& one : cases) {
        for (const bool user : {false, true}) {
            for (const bool missing : {true, false}) { // no entry, or one without permission
                isa::CpuState state = Comparison::first_state();
                state.page.msr |= msr::fp | (user ? msr::pr : 0);
                state.gpr[4] = 0x50000000;
                guest.start(state);
                if (!missing) guest.both([](Machine& machine) { machine.map(5, 0x50000000, 0x20000, 1, 0x24); });
                guest.put(Comparison::origin, {one.word, done});
                REQUIRE(guest.run(name("word", one.word)) == RunExit::dcr);
                const Interrupt which = missing ? Interrupt::data_tlb_error : Interrupt::data_storage;
                CHECK(guest.handler() == static_cast<int>(which));
                const isa::StatePage& page = guest.native->state().page;
                CHECK((page.dear & ~31U) == 0x50000000);
                CHECK(page.esr == ((one.store ? isa::esr::st : 0) | (one.fp ? isa::esr::fp : 0)));
                CHECK(page.srr0 == Comparison::origin);
                CHECK(page.srr1 == state.page.msr);
                CHECK(guest.native->exits(missing ? ExitReason::dtlb_real : ExitReason::dsi) == 1);
            }
        }
    }
    // Instructions.
    for (const bool missing : {true, false}) {
        isa::CpuState state = Comparison::first_state();
        state.page.srr0 = 0x60000004;
        state.page.srr1 = msr::me | msr::pr;
        guest.start(state);
        if (!missing) guest.both([](Machine& machine) { machine.map(5, 0x60000000, 0x20000, 1, 0x1B); });
        guest.put(Comparison::origin, {code::rfi});
        REQUIRE(guest.run("fetch") == RunExit::dcr);
        CHECK(guest.handler() ==
              static_cast<int>(missing ? Interrupt::instruction_tlb_error : Interrupt::instruction_storage));
        CHECK(guest.native->state().page.srr0 == 0x60000004);
        CHECK(guest.native->exits(missing ? ExitReason::itlb_real : ExitReason::isi) == 1);
    }
}

TEST_CASE("the FPU is handed over when it is used, and only then", "[quick]") {
    Random random = seeded_random(15);
    Comparison guest(random);
    isa::CpuState state = Comparison::first_state();
    state.page.msr |= msr::fp;
    state.fpr[1] = 0x3FF8000000000000;
    guest.start(state);
    guest.put(Comparison::origin, {code::mfmsr(3), code::sc});
    REQUIRE(guest.run("no FP") == RunExit::dcr);
    CHECK(guest.native->exits(ExitReason::fp_unavail) == 0);

    guest.start(state);
    // fadd f2,f1,f1; mfsprg; fadd f3,f2,f1
    guest.put(Comparison::origin, {0xFC41082A, code::mfspr(3, 272), 0xFC62082A, done});
    REQUIRE(guest.run("FP") == RunExit::dcr);
    CHECK(guest.native->exits(ExitReason::fp_unavail) == 1);
    CHECK(guest.native->state().fpr[3] == 0x4012000000000000);

    state.page.msr &= ~msr::fp;
    guest.start(state);
    guest.put(Comparison::origin, {0xFC41082A, done});
    REQUIRE(guest.run("FP off") == RunExit::dcr);
    CHECK(guest.handler() == static_cast<int>(Interrupt::fp_unavailable));
    CHECK(guest.native->exits(ExitReason::fp_unavail) == 1);
}

TEST_CASE("exits are timed and traced when that is asked for", "[quick]") {
    Random random = seeded_random(18);
    Comparison guest(random);
    guest.start(Comparison::first_state());
    guest.put(Comparison::origin, {code::mfspr(3, isa::spr::sprg0), code::mfspr(3, isa::spr::tcr), code::sc});
    REQUIRE(guest.run("plain") == RunExit::dcr);
    CHECK(guest.native->traced == 0);
    CHECK(guest.native->native().times().guest == 0);
    guest.native->native().set_timing(true);
    guest.native->traces = runtime::native::NativeHost::traces_entry | runtime::native::NativeHost::traces_exit;
    guest.start(Comparison::first_state());
    REQUIRE(guest.run("observed") == RunExit::dcr);
    const auto& times = guest.native->native().times();
    const auto& emulated = times.reasons[static_cast<std::size_t>(ExitReason::emul_mfspr)];
    CHECK(emulated.min > 0);
    CHECK(emulated.min <= emulated.max);
    CHECK(emulated.sum >= emulated.min + emulated.max);
    CHECK(emulated.squares >= emulated.sum);
    CHECK(times.reasons[static_cast<std::size_t>(ExitReason::syscall)].sum > 0);
    CHECK(times.reasons[static_cast<std::size_t>(ExitReason::emul_rfi)].sum == 0);
    CHECK(times.guest > 0);
    CHECK(guest.native->traced > 0);
}

TEST_CASE("a guest that cannot reach any handler is given up", "[quick]") {
    Random random = seeded_random(16);
    Comparison guest(random);
    isa::CpuState state = Comparison::first_state();
    state.ivpr = 0x70000000;
    state.gpr[4] = 0x50000000;
    for (const std::uint32_t word : {code::lwz(3, 4, 0), code::sc, code::illegal, code::trap}) {
        guest.start(state);
        guest.put(Comparison::origin, {word, done});
        const RunExit wanted = guest.interpreted->vcpu().run();
        CHECK(wanted == RunExit::dead);
        CHECK(guest.native->vcpu().run() == RunExit::dead);
    }
}

TEST_CASE("a line, a stop and a timer end guest code that runs on", "[quick]") {
    Random random = seeded_random(17);
    Comparison guest(random);
    guest.cpu.interrupt_interval = 20;
    guest.cpu.host_percent = 30;
    isa::CpuState state = Comparison::first_state();
    state.page.msr |= msr::ee;
    guest.start(state);
    guest.put(Comparison::origin, {code::b(0)});
    Machine& machine = *guest.native;
    machine.stop_after = 500;
    CHECK(machine.vcpu().run() == RunExit::interrupted);
    CHECK(machine.executed > 500);
    CHECK(machine.executed < 1000);
    CHECK(machine.exits(ExitReason::signal) == 1);
    machine.stop_after = ~std::uint64_t{0};
    machine.vcpu().set_interrupt_line(false, true);
    machine.world().attention = 1;
    REQUIRE(machine.vcpu().run() == RunExit::dcr);
    CHECK(guest.handler() == static_cast<int>(Interrupt::external_input));

    // The timer is armed for the decrementer, and rings.
    machine.start(state);
    machine.map(Comparison::boot_entry, 0, 0, 9, 0x3F);
    machine.vcpu().timers.set_tcr(isa::tcr::die);
    machine.vcpu().timers.write_dec(1000);
    machine.stop_after = 500;
    CHECK(machine.vcpu().run() == RunExit::interrupted);
    CHECK(machine.timer() == 1000);
    // A tick early: it is armed again.
    machine.ring();
    machine.stop_after = machine.progress() + 500;
    CHECK(machine.vcpu().run() == RunExit::interrupted);
    CHECK(machine.timer() == 1000);
    machine.stop_after = ~std::uint64_t{0};
    machine.pass_time(999);
    CHECK(machine.world().attention == 0);
    machine.pass_time(1);
    CHECK(machine.world().attention == 1);
    REQUIRE(machine.vcpu().run() == RunExit::dcr);
    CHECK(guest.handler() == static_cast<int>(Interrupt::decrementer));
    CHECK(machine.exits(ExitReason::dec) == 1);
}
