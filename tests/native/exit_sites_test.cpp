// SPDX-License-Identifier: GPL-2.0-only
// The table of exits by site: quick exits, the run loop's and the host's interrupts each have their instruction.
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <vector>

#include "comparison.h"
#include "runtime/exit_sites.h"
#include "tests/runtime/guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using native::Comparison;
using runtime::ExitReason;
using runtime::ExitSite;
using runtime::ExitSites;
using runtime::RunExit;

constexpr std::uint32_t done = code::mtdcr(Comparison::dcr_done, 0);

} // namespace

TEST_CASE("exits by site add up to the exits, each at its instruction", "[sites]") {
    Random random = seeded_random(31);
    Comparison guest(random);
    std::vector<ExitSite> memory(ExitSites::elements(ExitSites::least));
    ExitSites sites(memory.data(), ExitSites::least);
    guest.native->vcpu().exit_sites = &sites;
    constexpr std::uint32_t origin = Comparison::origin;
    guest.start(Comparison::first_state());
    guest.put(origin, {code::mfmsr(3), code::mtspr(272, 3), code::mfspr(5, 272), code::wrteei(0), code::lwz(6, 0, 0x40),
                       code::mtspr(340, 0), code::tlbsx_rc(7, 0, 3), code::sc, done});
    std::uint64_t runs = 0;
    for (; runs < 3; ++runs) {
        guest.both([&](native::Machine& machine) {
            machine.vcpu().abandon_instruction();
            machine.state().pc = origin;
            machine.state().page.msr = isa::msr::me;
            machine.stop_after = machine.progress() + 1000;
        });
        CHECK(guest.run("a few privileged instructions and a system call") == RunExit::dcr);
        CHECK(guest.handler() == static_cast<int>(isa::Interrupt::system_call));
        guest.both([](native::Machine& machine) { machine.vcpu().complete_dcr(0); });
    }

    std::vector<std::uint64_t> by_reason(runtime::exit_reason_count);
    std::uint64_t mfmsr = 0, sprg = 0, calls = 0, instructions = 0;
    for (const ExitSite& site : memory) {
        if (site.exits == 0) continue;
        CAPTURE(site.ea, static_cast<int>(site.reason));
        by_reason[static_cast<std::size_t>(site.reason)] += site.exits;
        instructions += site.instructions;
        if (runtime::is_emulation(site.reason)) {
            CHECK(site.word == guest.native->word(site.ea));
            CHECK(site.real == site.ea);
        }
        if (site.reason == ExitReason::emul_mfmsr) mfmsr += site.ea == origin ? site.exits : 100;
        if (site.reason == ExitReason::emul_mtspr && site.ea == origin + 4) sprg += site.exits;
        if (site.reason == ExitReason::syscall) calls += site.ea == origin + 28 ? site.exits : 100;
    }
    CHECK(mfmsr == runs);
    CHECK(sprg == runs);
    CHECK(calls == runs);
    CHECK(instructions <= 20 * runs);
    for (std::size_t reason = 0; reason < by_reason.size(); ++reason) {
        CAPTURE(runtime::exit_reason_names[reason]);
        CHECK(by_reason[reason] == guest.native->exits(static_cast<ExitReason>(reason)));
    }
}
