// SPDX-License-Identifier: GPL-2.0-only
// Faults of the host: which of them go to an engine, which to the process's own handler, and how many a guest may have.
#include "runtime/soft/host_faults.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "child_process.h"
#include "mapped_guest.h"
#include "runtime/soft/mapped_code.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using runtime::soft::FaultAccount;
using runtime::soft::HostFaults;

// A handler as a program has it that uses an engine: what it was told, and how often. It allows the access.
std::atomic<unsigned> handled = 0;
std::atomic<bool> was_caused = false;
std::atomic<void*> fault_address = nullptr, frame_address = nullptr;
void* forbidden = nullptr;
constexpr std::size_t page_bytes = 0x1000;

void allow(int) {
    ++handled;
    ::mprotect(forbidden, page_bytes, PROT_READ);
}
void allow_and_note(int number, siginfo_t* info, void*) {
    was_caused = info->si_code > 0;
    fault_address = info->si_code > 0 ? info->si_addr : nullptr;
    frame_address = __builtin_frame_address(0);
    allow(number);
}

bool set_handler(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    return ::sigaction(SIGSEGV, &action, nullptr) == 0;
}
bool set_noting_handler(int more_flags = 0) {
    struct sigaction action {};
    action.sa_sigaction = &allow_and_note;
    action.sa_flags = SA_SIGINFO | more_flags;
    return ::sigaction(SIGSEGV, &action, nullptr) == 0;
}

// Of this program, not of generated code.
void fault() {
    if (forbidden == nullptr)
        forbidden = ::mmap(nullptr, page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    else
        ::mprotect(forbidden, page_bytes, PROT_NONE);
    [[maybe_unused]] const int value = *static_cast<volatile int*>(forbidden);
}

// An engine that never goes on, and counts how often it was asked.
struct Engine {
    std::atomic<unsigned> asked = 0;
    HostFaults faults{&Engine::resume, this};
    static const std::uint8_t* resume(void* engine, const std::uint8_t*) {
        ++static_cast<Engine*>(engine)->asked;
        return nullptr;
    }
};

} // namespace

TEST_CASE("faults that no engine goes on after reach the handler that was there before", "[mapped][faults]") {
    CHECK(true_in_child([] {
        if (!set_noting_handler() || !HostFaults::install() || !HostFaults::install()) return false;
        fault();
        if (handled != 1 || !was_caused || fault_address != forbidden) return false;
        const Engine outer;
        fault();
        if (handled != 2 || outer.asked != 1) return false;
        {
            const Engine inner;
            fault();
            if (handled != 3 || inner.asked != 1) return false;
        }
        fault();
        if (handled != 4 || outer.asked != 2) return false;
        // One of another thread is not for the engine of this one.
        std::thread(fault).join();
        return handled == 5 && outer.asked == 2;
    }));
    // A handler of the older kind, set when another one was known.
    CHECK(true_in_child([] {
        if (!set_noting_handler() || !HostFaults::install() || !set_handler(&allow) || !HostFaults::install())
            return false;
        const Engine engine;
        fault();
        return handled == 1 && engine.asked == 1;
    }));
    // One with a stack of its own.
    CHECK(true_in_child([] {
        static std::array<std::uint8_t, 1 << 16> stack;
        const stack_t other{.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
        if (::sigaltstack(&other, nullptr) != 0 || !set_noting_handler(SA_ONSTACK) || !HostFaults::install())
            return false;
        fault();
        const auto* const frame = static_cast<std::uint8_t*>(frame_address.load());
        return handled == 1 && frame >= stack.data() && frame < stack.data() + stack.size();
    }));
}

TEST_CASE("a SIGSEGV that was sent reaches the handler that was there before", "[mapped][faults]") {
    CHECK(true_in_child([] {
        forbidden = ::mmap(nullptr, page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (!set_noting_handler() || !HostFaults::install()) return false;
        const Engine engine;
        ::raise(SIGSEGV);
        if (handled != 1 || was_caused) return false;
        ::pthread_kill(::pthread_self(), SIGSEGV);
        if (handled != 2) return false;
        ::kill(::getpid(), SIGSEGV);
        return handled == 3 && engine.asked == 0;
    }));
    // Ignored, as many as come; and the handler for faults stays.
    CHECK(true_in_child([] {
        if (!set_handler(SIG_IGN) || !HostFaults::install()) return false;
        ::raise(SIGSEGV);
        ::raise(SIGSEGV);
        struct sigaction present {};
        return ::sigaction(SIGSEGV, nullptr, &present) == 0 && (present.sa_flags & SA_SIGINFO) != 0;
    }));
}

TEST_CASE("without a handler of its own a process ends by its faults, as ever", "[mapped][faults]") {
    const auto none = [] { return set_handler(SIG_DFL) && HostFaults::install(); };
    CHECK(signal_of_child([&] {
              if (!none()) return false;
              fault();
              return true;
          }) == SIGSEGV);
    CHECK(signal_of_child([&] {
              if (!none()) return false;
              ::raise(SIGSEGV);
              return true;
          }) == SIGSEGV);
    CHECK(signal_of_child([] { // that cannot be ignored
              if (!set_handler(SIG_IGN) || !HostFaults::install()) return false;
              fault();
              return true;
          }) == SIGSEGV);
}

TEST_CASE("a guest's faults do not reach the process's handler, and what is sent to it meanwhile does",
          "[mapped][faults]") {
    CHECK(true_in_child([] {
        forbidden = ::mmap(nullptr, page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (!set_noting_handler()) return false;
        MappedGuest guest;
        guest.put_sum();
        if (guest.sum() != isa::TrapKind::system_call || guest.faults() < MappedGuest::sum_pages || handled != 0)
            return false;
        // Loads that never end, from a page that is mapped.
        guest.put({immediate(isa::Op::lwz, 3, 4, 0), immediate(isa::Op::lwz, 5, 4, 4), immediate(isa::Op::lwz, 6, 4, 8),
                   match(isa::Op::b) | (static_cast<std::uint32_t>(-12) & 0x03FFFFFC)},
                  0x100);
        if (guest.run({{4, MappedGuest::data_base}}, "loads", 0x100).kind != isa::TrapKind::budget) return false;
        const std::uint64_t before = guest.faults();
        constexpr unsigned signals = 40;
        std::atomic<bool> over = false;
        const pthread_t runner = ::pthread_self();
        std::thread sender([&] {
            using Clock = std::chrono::steady_clock;
            for (unsigned sent = 0; sent < signals && handled == sent; ++sent) {
                ::pthread_kill(runner, SIGSEGV);
                const auto give_up = Clock::now() + std::chrono::seconds(2);
                while (handled == sent && Clock::now() < give_up) std::this_thread::yield();
            }
            over = true;
        });
        Machine& machine = guest.pair.jit;
        while (!over) machine.engine().run(machine.vcpu(), 50'000);
        sender.join();
        return handled == signals && !was_caused && guest.faults() == before && guest.gpr(3) == guest.word_at(0);
    }));
}

namespace {

// Faults in a row that an account has, the copy being spent.
unsigned credit(FaultAccount account) {
    unsigned count = 0;
    while (count < 1000 && account.spend()) ++count;
    return count;
}

} // namespace

TEST_CASE("an account of faults grants the pages of a TLB at once, and little in the long run", "[mapped][faults]") {
    constexpr unsigned young = 10, at_once = mmu::GuestTlb::entry_count;
    FaultAccount account;
    for (unsigned slice = 0; slice + 1 < young; ++slice) {
        account.count_slice(young, 0);
        CHECK(credit(account) == 0);
        CHECK_FALSE(account.full());
    }
    account.count_slice(young, 0);
    CHECK(account.full());
    CHECK(credit(account) == at_once);
    // Time without faults adds nothing to that, and what was spent comes back with time.
    for (unsigned slice = 0; slice < 10'000; ++slice) account.count_slice(young, 0);
    CHECK(credit(account) == at_once);
    CHECK(account.spend());
    CHECK_FALSE(account.full());
    CHECK(credit(account) == at_once - 1);
    unsigned slices = 0;
    for (; slices < 1000 && credit(account) != at_once; ++slices) account.count_slice(young, 0);
    CHECK(account.full());
    CHECK(slices == 8);
    FaultAccount granted;
    CHECK(credit(granted) == 0);
    granted.grant();
    CHECK(granted.full());
    CHECK(credit(granted) == at_once);
}

TEST_CASE("an account that was spent pauses, each time for twice as long", "[mapped][faults]") {
    constexpr unsigned young = 1;
    FaultAccount account;
    account.count_slice(young, 0);
    for (unsigned fault = 0; fault < mmu::GuestTlb::entry_count; ++fault) CHECK(account.spend());
    CHECK_FALSE(account.spend());
    std::uint64_t expected = 512;
    for (unsigned pause = 0; pause < 16; ++pause) {
        std::uint64_t slices = 0;
        for (; slices <= 2 * expected && credit(account) == 0; ++slices) {
            account.count_slice(young, 0);
            // More of them while it pauses change nothing.
            if (slices < 100) CHECK_FALSE(account.spend());
        }
        CHECK(slices == expected + 8); // and as long as it takes to pay for one
        if (pause < 12) expected *= 2;
        CHECK(account.spend());
        CHECK_FALSE(account.spend());
    }
    // It is never over for good.
    for (std::uint64_t slice = 0; slice < expected + 512; ++slice) account.count_slice(young, 0);
    CHECK(account.full());
}

TEST_CASE("pages that come and go cost an account what their faults would", "[mapped][faults]") {
    constexpr unsigned young = 1, at_once = mmu::GuestTlb::entry_count;
    FaultAccount account;
    account.count_slice(young, 0);
    account.count_slice(young, 3);
    CHECK_FALSE(account.full());
    CHECK(credit(account) == at_once - 3);
    account.count_slice(young, std::uint64_t{1} << 40);
    CHECK(credit(account) == 0);
    // That is no pause: nothing was lost by it.
    for (unsigned slice = 0; slice < 8; ++slice) account.count_slice(young, 0);
    CHECK(credit(account) == 1);
}
