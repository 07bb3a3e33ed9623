// SPDX-License-Identifier: GPL-2.0-only
// Whole random kernels in the run loop: whatever is patched, and whatever engine runs it, a guest sees the same. Time
// is the count of its instructions, so interrupts come at exact points, and every exit to userspace is compared.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>

#include "optimisation_cases.h"
#include "random_kernel.h"
#include "run_random.h"
#include "runtime/page_hash.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using runtime::RunExit;

struct Configuration {
    std::string name;
    Machine::Kind kind;
    unsigned levels;
    x64::Optimisations optimisations = translating_at_once;
    bool knows_all = false; // every privileged word of the code is known to be hot
};

// The first one is the reference.
const Configuration configurations[] = {
    {"interpreter, trap", Machine::Kind::interpreter, 0},
    {"JIT, trap", Machine::Kind::jit, 0},
    {"JIT, level 1", Machine::Kind::jit, 1U << 1},
    {"JIT, level 2", Machine::Kind::jit, 1U << 2},
    {"JIT, level 3", Machine::Kind::jit, 1U << 3},
    {"JIT, levels 1-2", Machine::Kind::jit, 6},
    {"JIT, levels 1-3", Machine::Kind::jit, 14},
    {"JIT, all levels", Machine::Kind::jit, 30},
    {"JIT, level 4", Machine::Kind::jit, 1U << 4},
    {"interpreter, all levels", Machine::Kind::interpreter, 30},
    {"JIT, all sites known", Machine::Kind::jit, 30, translating_at_once, true},
    {"interpreter, all sites known", Machine::Kind::interpreter, 30, translating_at_once, true},
};

// What userspace saw at an exit.
struct Seen {
    RunExit exit = RunExit::dead;
    isa::CpuState state;
    std::uint32_t dcr = 0, dcr_value = 0;
    std::uint64_t real = 0, value = 0;
    unsigned size = 0;
};

class Session {
  public:
    explicit Session(const Configuration& configuration)
        : configuration_(configuration),
          machine_(std::make_unique<Machine>(configuration.kind, runtime::soft::JitEngine::default_cache_bytes,
                                             configuration.optimisations)) {}

    void start(const RandomKernel& kernel, const isa::CpuState& state, const std::vector<std::uint8_t>& data,
               unsigned threshold) {
        runtime::Vcpu& vcpu = machine_->vcpu();
        vcpu.set_interrupt_line(false, false);
        vcpu.set_interrupt_line(true, false);
        vcpu.reset();
        machine_->patches().configure(configuration_.levels, threshold);
        std::ranges::copy(data, machine_->data.begin());
        know(kernel);
        for (std::size_t i = 0; i < kernel.code().size(); ++i)
            runtime_store(machine_->code.data() + 4 * i, kernel.code()[i]);
        machine_->engine().flush();
        const auto fixed = RandomKernel::fixed_entries();
        for (unsigned index = 0; index < fixed.size(); ++index) vcpu.set_tlb_entry(index, fixed[index]);
        machine_->set_state(state);
        vcpu.timers.reset();
        machine_->host().vcpu = &vcpu;
        machine_->host().slices.clear();
        machine_->host().stop_after = 60'000;
        laps_ = 0;
    }

    // To the next exit that userspace sees.
    Seen run() {
        runtime::Vcpu& vcpu = machine_->vcpu();
        Seen seen;
        seen.exit = vcpu.run();
        vcpu.timers.advance(); // what TSR shows depends on when it was looked at last
        seen.state = vcpu.state;
        if (seen.exit == RunExit::dcr) {
            seen.dcr = vcpu.dcr().number | (vcpu.dcr().is_write ? 0x8000U : 0);
            seen.dcr_value = vcpu.dcr().value;
        }
        if (seen.exit == RunExit::mmio) {
            seen.real = vcpu.mmio().real;
            seen.size = vcpu.mmio().size | (vcpu.mmio().is_write ? 0x80U : 0);
            seen.value = vcpu.mmio().is_write ? vcpu.mmio().value : 0;
        }
        return seen;
    }

    // The device's part. False when the kernel has run often enough.
    bool answer(const Seen& seen) {
        runtime::Vcpu& vcpu = machine_->vcpu();
        if (seen.exit == RunExit::mmio) {
            vcpu.complete_mmio(seen.real * 0x0101010101010101ULL + 0x8899AABBCCDDEEFF);
            return true;
        }
        if (seen.exit != RunExit::dcr) return false;
        switch (seen.dcr & 0x7FFF) {
        case RandomKernel::dcr_external_done: vcpu.set_interrupt_line(false, false); break;
        case RandomKernel::dcr_critical_done: vcpu.set_interrupt_line(true, false); break;
        case RandomKernel::dcr_raise_external: vcpu.set_interrupt_line(false, true); break;
        case RandomKernel::dcr_raise_critical: vcpu.set_interrupt_line(true, true); break;
        case RandomKernel::dcr_pulse_external: vcpu.pulse_external(); break;
        case RandomKernel::dcr_lap:
            if (++laps_ == 3) return false;
            break;
        default: break;
        }
        vcpu.complete_dcr(0x13579BDF ^ seen.dcr);
        return true;
    }

    Machine& machine() { return *machine_; }
    const Configuration& configuration() const { return configuration_; }
    bool finished() const { return laps_ == 3; }

  private:
    void know(const RandomKernel& kernel) {
        known_.clear();
        if (!configuration_.knows_all) return;
        const std::size_t words = kernel.code().size();
        std::vector<std::uint8_t> bytes((words * 4 + 4095) / 4096 * 4096);
        // What the machine has behind the kernel's code stays there.
        std::copy_n(machine_->code.begin(), std::min(bytes.size(), machine_->code.size()), bytes.begin());
        for (std::size_t i = 0; i < words; ++i) runtime_store(bytes.data() + 4 * i, kernel.code()[i]);
        for (std::size_t i = 0; i < words; ++i) {
            if (!isa::decode(kernel.code()[i]).privileged()) continue;
            const std::uint64_t hash = runtime::page_hash(bytes.data() + i * 4 / 4096 * 4096);
            known_.push_back({hash, kernel.code()[i], static_cast<std::uint16_t>(i * 4 % 4096), 0});
        }
        std::ranges::sort(known_, [](const auto& a, const auto& b) { return a.before(b); });
        known_.erase(
            std::unique(known_.begin(), known_.end(), [](const auto& a, const auto& b) { return !a.before(b); }),
            known_.end());
        machine_->patches().set_known(known_.data(), static_cast<std::uint32_t>(known_.size()));
    }
    static void runtime_store(std::uint8_t* to, std::uint32_t word) {
        for (unsigned i = 0; i < 4; ++i) to[i] = static_cast<std::uint8_t>(word >> (24 - 8 * i));
    }

    Configuration configuration_;
    std::unique_ptr<Machine> machine_;
    std::vector<runtime::HotSite> known_;
    unsigned laps_ = 0;
};

// The first point where other was and the reference was not, though it was looked at after as many instructions.
std::string first_difference(Session& reference, Session& other) {
    const auto& known = reference.machine().host().slices;
    const QuietHost::Slice* last = nullptr;
    for (const QuietHost::Slice& slice : other.machine().host().slices) {
        auto at = std::lower_bound(known.begin(), known.end(), slice.retired,
                                   [](const auto& a, std::uint64_t retired) { return a.retired < retired; });
        if (at == known.end()) break;
        const QuietHost::Slice* elsewhere = nullptr;
        bool found = false;
        for (; at != known.end() && at->retired == slice.retired && !found; ++at) {
            found = *at == slice;
            elsewhere = &*at;
        }
        if (elsewhere != nullptr && !found) {
            char text[256];
            std::snprintf(
                text, sizeof(text), "after %llu instructions: reference pc %08x msr %08x, here pc %08x msr %08x\n",
                static_cast<unsigned long long>(slice.retired), elsewhere->pc, elsewhere->msr, slice.pc, slice.msr);
            std::string result = text;
            if (last != nullptr) {
                std::snprintf(text, sizeof(text), "after %llu still the same: pc %08x msr %08x\n",
                              static_cast<unsigned long long>(last->retired), last->pc, last->msr);
                result += text + listing(reference.machine(), last->pc - 16, 40, last->pc);
            }
            return result;
        }
        if (found) last = &slice;
    }
    return "no earlier difference seen\n";
}

[[noreturn]] void fail(const std::string& difference, std::uint64_t kernel, std::size_t exit, Session& reference,
                       Session& other, const isa::CpuState& before, const isa::CpuState& now) {
    Machine& machine = other.machine();
    const std::string text =
        "seed " + std::to_string(test_seed()) + ", kernel " + std::to_string(kernel) + ", exit " +
        std::to_string(exit) + ", " + other.configuration().name + "\n-- difference to the reference\n" + difference +
        "-- where they part\n" + first_difference(reference, other) + "-- reference at the exit before\n" +
        describe(before) + "-- reference at this exit\n" + describe(now) + "-- TLB\n" + describe(machine.vcpu().tlb) +
        "-- code from the exit before\n" + listing(machine, before.pc - 32, 120, before.pc) + "-- code here\n" +
        listing(machine, now.pc - 200, 60, now.pc);
    std::fputs(text.c_str(), stderr);
    FAIL("a guest sees a difference");
    std::abort(); // not reached: FAIL throws
}

// Runs one kernel everywhere; returns the instructions executed.
std::uint64_t run_kernel(std::uint64_t number, std::vector<Session>& sessions, Random& random, unsigned& finished) {
    const RandomKernel kernel(random);
    isa::CpuState state =
        random_state(random, kernel.registers(), [&] { return RandomKernel::random_pointer(random); });
    state.pc = RandomKernel::main_base;
    state.ivpr = RandomKernel::code_base;
    for (unsigned i = 0; i < isa::interrupt_count; ++i) state.ivor[i] = i * 0x100;
    state.page.msr = isa::msr::me | isa::msr::ce | (random.chance(70) ? isa::msr::fp : 0);
    state.pvr = isa::spr::pvr_440ep;
    std::vector<std::uint8_t> data(Layout::data_bytes);
    for (auto& byte : data) byte = static_cast<std::uint8_t>(random.word());
    const unsigned threshold = random.pick<unsigned>({1, 1, 2, 4});

    std::uint64_t executed = 0;
    std::vector<Seen> expected;
    for (Session& session : sessions) {
        session.start(kernel, state, data, threshold);
        const bool reference = &session == &sessions.front();
        for (std::size_t index = 0;; ++index) {
            Seen seen = session.run();
            if (reference) expected.push_back(seen);
            const Seen& wanted = expected[index];
            // A kernel that got lost is stopped somewhere: only its exits up to then count.
            if (wanted.exit == RunExit::interrupted || seen.exit == RunExit::interrupted) break;
            const Sides sides{"reference", session.configuration().name.c_str()};
            std::string difference = state_difference(wanted.state, seen.state, sides);
            if (wanted.exit != seen.exit || wanted.dcr != seen.dcr || wanted.dcr_value != seen.dcr_value ||
                wanted.real != seen.real || wanted.size != seen.size || wanted.value != seen.value)
                difference += "the exits differ\n";
            const bool more = session.answer(seen);
            if (!more && !reference)
                difference += memory_difference(sessions.front().machine(), session.machine(), sides) +
                              tlb_difference(sessions.front().machine(), session.machine());
            if (!difference.empty())
                fail(difference, number, index, sessions.front(), session,
                     index == 0 ? state : expected[index - 1].state, wanted.state);
            if (!more) break;
        }
        executed += session.machine().state().retired;
        if (reference && session.finished()) ++finished;
    }
    return executed;
}

} // namespace

TEST_CASE("patched or not, a guest kernel does the same", "[patch]") {
    Random random = seeded_random(7);
    std::vector<Session> sessions;
    for (const Configuration& configuration : configurations) sessions.emplace_back(configuration);
    const std::uint64_t goal = instruction_goal(6'000'000);
    std::uint64_t executed = 0, kernels = 0;
    unsigned finished = 0;
    while (executed < goal) executed += run_kernel(kernels++, sessions, random, finished);
    // Few kernels may get lost, or the test would be worth little.
    CHECK(finished * 2 > kernels);
    for (Session& session : sessions) {
        INFO(session.configuration().name);
        const auto& exits = session.machine().vcpu().exits;
        UNSCOPED_INFO("exits " << exits.total);
        CHECK(exits.total > 1000);
    }
    // Patching takes exits away.
    const auto emulation = [](Session& session) {
        std::uint64_t count = 0;
        for (std::size_t reason = 0; reason < runtime::exit_reason_count; ++reason)
            if (runtime::is_emulation(static_cast<runtime::ExitReason>(reason)))
                count += session.machine().vcpu().exits.by_reason[reason];
        return count;
    };
    for (std::size_t index = 2; index <= 8; ++index) {
        INFO(configurations[index].name);
        CHECK(emulation(sessions[index]) < emulation(sessions[1]));
    }
    // So does knowing beforehand.
    CHECK(emulation(sessions[10]) < emulation(sessions[7]));
    CHECK(sessions[10].machine().patches().patched_by_knowledge() > 0);
}

TEST_CASE("without each optimisation, a patched guest kernel does the same", "[patch][optimisations]") {
    Random random = seeded_random(8);
    std::vector<Session> sessions;
    sessions.emplace_back(configurations[0]);
    for (const auto& [name, disabled] : optimisation_cases())
        sessions.emplace_back(
            Configuration{"JIT, all levels, without " + std::string(name), Machine::Kind::jit, 30, disabled});
    const std::uint64_t goal = instruction_goal(2'000'000);
    std::uint64_t executed = 0, kernels = 0;
    unsigned finished = 0;
    while (executed < goal) executed += run_kernel(kernels++, sessions, random, finished);
    CHECK(finished * 2 > kernels);
}
