// SPDX-License-Identifier: GPL-2.0-only
// Random guest kernels, patched and unpatched: what every exception's handler could see is the same, with the host
// interrupting the patched one anywhere, mappings of the guest's page missing, and the guest writing to its scratch
// slots.
#include <catch2/catch_test_macros.hpp>

#include <vector>

#include "model.h"
#include "translator/ppc/encode.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

using isa::CpuState;
using isa::TrapKind;
using ppc::GuestPage;
namespace msr = isa::msr;
namespace spr = isa::spr;

// A synchronous exception that the guest is told of.
struct Event {
    TrapKind kind;
    std::uint32_t ea;
    CpuState guest;
};

struct Counts {
    std::uint64_t instructions = 0, emulated = 0, patches = 0, interrupts = 0, interrupts_in_stubs = 0, faults = 0,
                  events = 0;
};

// The guest's handler: leaves the registers alone, and goes on behind the instruction.
void handle(CpuState& guest, std::uint32_t pc) {
    guest.pc = pc + 4;
    guest.page.msr &= ~(msr::pr | msr::is | msr::ds);
    guest.reserve_valid = 0;
}

// A trap of the guest at guest.pc, known to be the guest's own.
void take(Model& model, CpuState& guest, const isa::Trap& trap, std::vector<Event>& events, Counts& counts) {
    const std::uint32_t pc = guest.pc;
    if (trap.kind == TrapKind::privileged && !guest.problem_state()) {
        ++counts.emulated;
        using Outcome = runtime::Emulator::Outcome;
        const Outcome outcome = model.emulate(guest, trap.word);
        if (outcome == Outcome::reset) return; // done, but that nobody resets anything here
        if (outcome != Outcome::reflected) return;
    }
    events.push_back({trap.kind, trap.ea, guest});
    handle(guest, pc);
}

std::vector<Event> run_unpatched(Model& model, CpuState guest, Counts& counts) {
    std::vector<Event> events;
    model.cpu = guest;
    model.patched_context = false;
    while (model.in_code(model.cpu.pc)) {
        const isa::Trap trap = model.step();
        ++counts.instructions;
        if (trap.kind != TrapKind::none) take(model, model.cpu, trap, events, counts);
    }
    events.push_back({TrapKind::none, 0, model.cpu});
    return events;
}

std::vector<Event> run_patched(Model& model, Random& random, CpuState guest, Counts& counts, unsigned disturbance) {
    std::vector<Event> events;
    const auto live_pid = [&] { return random.chance(50) ? GuestPage::no_pid : guest.page.pid; };
    model.enter(guest, live_pid());
    while (model.in_code(model.cpu.pc) || model.in_stub()) {
        const bool in_stub = model.in_stub();
        if (random.chance(disturbance)) {
            guest = model.leave();
            guest.page.pending = random.chance(30) ? random.word() & (isa::msr::ee | isa::msr::ce | isa::msr::de) : 0;
            for (std::uint32_t& slot : guest.page.scratch) slot = random.word();
            model.enter(guest, live_pid());
            ++counts.interrupts;
            if (in_stub) ++counts.interrupts_in_stubs;
            continue;
        }
        model.fault_at = random.chance(disturbance) ? 0 : -1;
        const isa::Trap trap = model.step();
        if (trap.kind == TrapKind::none) continue;
        const bool page_missed = trap.kind == TrapKind::data_miss && trap.ea >= ppc::guest_page_ea && model.page_missed;
        model.page_missed = false;
        guest = model.leave();
        if (page_missed)
            ++counts.faults;
        else
            take(model, guest, trap, events, counts);
        model.enter(guest, live_pid());
    }
    guest = model.leave();
    events.push_back({TrapKind::none, 0, guest});
    return events;
}

class ProgramWriter {
  public:
    explicit ProgramWriter(Random& random)
        : random_(random), use_(RegisterUse::random(random, 0)), generator_(random, use_) {
        for (const Op op : {Op::b, Op::bc, Op::bclr, Op::bcctr, Op::rfi, Op::rfci, Op::rfmci}) generator_.exclude(op);
    }

    std::vector<std::uint32_t> write(unsigned length) {
        std::vector<std::uint32_t> words;
        const unsigned privileged = random_.between(10, 60);
        while (words.size() + 1 < length) {
            const auto left = static_cast<unsigned>(length - words.size());
            if (random_.chance(privileged))
                words.push_back(patchable());
            else if (random_.chance(12) && left > 8)
                words.push_back(forward_branch());
            else
                words.push_back(generator_.instruction(static_cast<unsigned>(words.size()), length));
        }
        words.push_back(match(Op::sc)); // all registers are seen at the end
        return words;
    }

    CpuState first_state() {
        CpuState guest = random_guest(random_, Model::code_ea);
        for (unsigned number = 0; number < 32; ++number) {
            if ((use_.pointers >> number & 1) != 0)
                guest.gpr[number] = Model::data_ea + random_.below(Model::data_bytes);
            if ((use_.offsets >> number & 1) != 0) guest.gpr[number] = random_.below(256) * 4;
        }
        return guest;
    }

  private:
    std::uint32_t patchable() {
        const unsigned gpr = random_.below(32);
        switch (random_.below(9)) {
        case 0: return wrteei(random_.chance(50));
        case 1: return wrtee(gpr);
        case 2: return mtmsr(gpr);
        case 3: return mfmsr(gpr);
        case 4: return mtspr(spr::pid, gpr);
        case 5: return mtspr(random_.pick({spr::srr0, spr::csrr0, spr::mmucr}), gpr);
        case 6: return mtspr(random_.pick({spr::sprg0, spr::sprg1, spr::sprg4, spr::srr1, spr::esr, spr::dear}), gpr);
        case 7:
            return mfspr(gpr, random_.pick({spr::sprg0, spr::sprg4, spr::sprg4_user, spr::srr0, spr::pid, spr::mmucr}));
        default: return match(Op::tlbsync);
        }
    }
    std::uint32_t forward_branch() {
        const std::uint32_t displacement = 4 * random_.between(1, 7);
        return ppc::encode::bc(random_.pick({4U, 12U, 20U, 16U, 18U, 0U, 8U}), random_.below(32), displacement) |
               (random_.chance(20) ? 1U : 0U);
    }

    Random& random_;
    RegisterUse use_;
    CodeGenerator generator_;
};

} // namespace

TEST_CASE("patched and unpatched programs are the same to the guest") {
    Random random = seeded_random(0x9209);
    Model patched, unpatched;
    Counts trap_mode, patch_mode;
    const std::uint64_t goal = instruction_goal(400'000);
    while (trap_mode.instructions < goal) {
        ProgramWriter writer(random);
        const std::vector<std::uint32_t> words = writer.write(random.between(20, 120));
        const CpuState guest = writer.first_state();
        patched.set_code(words);
        unpatched.set_code(words);
        const bool exact = random.chance(20);
        for (std::uint32_t site = Model::code_ea; site < patched.end(); site += 4) {
            const auto dead =
                exact ? ppc::Registers{} : ppc::dead_after(patched.window(site), patched.window_length(site));
            if (random.chance(90) && patched.patch(site, all_levels, dead)) ++patch_mode.patches;
        }
        for (std::uint8_t& byte : patched.data) byte = static_cast<std::uint8_t>(random.word());
        unpatched.data = patched.data;

        const std::vector<Event> expected = run_unpatched(unpatched, guest, trap_mode);
        const std::vector<Event> events =
            run_patched(patched, random, guest, patch_mode, random.pick({0U, 2U, 5U, 12U}));
        REQUIRE(events.size() == expected.size());
        for (std::size_t index = 0; index < events.size(); ++index) {
            INFO("event " << index << " at " << std::hex << expected[index].guest.pc);
            REQUIRE(events[index].kind == expected[index].kind);
            REQUIRE(events[index].ea == expected[index].ea);
            REQUIRE(difference(events[index].guest, expected[index].guest) == "");
        }
        REQUIRE(patched.data == unpatched.data);
        trap_mode.events += expected.size();
    }
    CHECK(patch_mode.emulated < trap_mode.emulated * 2 / 3);
    CHECK(patch_mode.interrupts_in_stubs > 100);
    CHECK(patch_mode.faults > 100);
}

// The rule that no patch traps between lwarx and stwcx.: a patched site there leaves the reservation, and the trap that
// would have come is the only one that still may.
TEST_CASE("a reservation lives through patched sites") {
    Random random = seeded_random(0x1A2C);
    Model model;
    for (unsigned round = 0; round < 2000; ++round) {
        const std::uint32_t between[] = {wrteei(false),     mfmsr(7),     mtspr(spr::sprg0, 7),
                                         wrtee(8),          wrteei(true), mtspr(spr::mmucr, 9),
                                         mtspr(spr::pid, 8)};
        std::vector<std::uint32_t> words = {match(Op::lwarx) | field_rt(5) | field_rb(4)};
        const unsigned sites = random.between(1, 5);
        for (unsigned count = 0; count < sites; ++count) words.push_back(random.any(between));
        words.push_back(match(Op::stwcx_rc) | field_rt(6) | field_rb(4));
        model.set_code(words);
        for (std::uint32_t site = Model::code_ea; site < model.end(); site += 4) model.patch(site, all_levels, {});
        CpuState guest = random_guest(random, Model::code_ea);
        guest.gpr[4] = Model::data_ea;
        model.enter(guest, GuestPage::no_pid);
        while (model.in_code(model.cpu.pc) || model.in_stub()) REQUIRE(model.step().kind == TrapKind::none);
        REQUIRE((isa::cr::decode(model.cpu.crf[0]) & isa::cr::eq) != 0);
    }
}

} // namespace untrap::tests::ppc440
