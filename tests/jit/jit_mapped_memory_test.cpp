// SPDX-License-Identifier: GPL-2.0-only
// Memory and hosts that do not allow what it takes to map a guest's pages.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "child_process.h"
#include "mapped_guest.h"
#include "runtime/soft/mapped_pages.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::TrapKind;
using x64::Optimisation;
using x64::Optimisations;

constexpr std::uint32_t data_base = MappedGuest::data_base, page_bytes = MappedGuest::page_bytes;
constexpr std::size_t cache_bytes = runtime::soft::JitEngine::default_cache_bytes;

constexpr unsigned pages = MappedGuest::sum_pages;

// Puts new memory in its place. What is private the host does not map a second time.
void replace(SharedMemory& memory, int kind) {
    REQUIRE(::mmap(memory.data(), memory.size(), PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            memory.data());
}

} // namespace

TEST_CASE("mapped pages may be accessed as the software TLB has them", "[mapped]") {
    using runtime::soft::MappedPages;
    constexpr std::uint32_t page = 0x7654'3000;
    SharedMemory memory(std::size_t{2} * page_bytes);
    void* const space =
        ::mmap(nullptr, x64::mapped_space_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(space != MAP_FAILED);
    MappedPages mapped(static_cast<std::uint8_t*>(space));
    std::uint8_t* const at = static_cast<std::uint8_t*>(space) + x64::mapped_guard_bytes + page;
    // The kernel's own accesses tell what is there without faults.
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const auto loads = [&] { return ::write(ends[1], at, 1) == 1; };
    const auto stores = [&] { return ::write(ends[1], "x", 1) == 1 && ::read(ends[0], at, 1) == 1; };
    const auto addend = [&](unsigned number) {
        return reinterpret_cast<std::uint64_t>(memory.data() + std::size_t{number} * page_bytes) - page;
    };
    const auto map = [&](unsigned number, bool store) {
        REQUIRE(mapped.map(page, memory.data() + std::size_t{number} * page_bytes, store));
    };
    CHECK_FALSE(loads());
    map(0, false);
    CHECK(loads());
    CHECK_FALSE(stores());
    map(0, true);
    CHECK(stores());
    mapped.allow(page + page_bytes, 0, 0); // a neighbour's, and one's that is told by the same bits
    mapped.allow(page ^ 0x8000'0000, 0, 0);
    mapped.allow(page, addend(0), addend(0));
    CHECK(stores());
    // Stores no more: nothing, until it is mapped anew.
    mapped.allow(page, addend(0), 0);
    CHECK_FALSE(stores());
    map(0, false);
    CHECK(loads());
    mapped.allow(page, addend(0), 0);
    CHECK(loads());
    // Another page.
    mapped.allow(page, addend(1), 0);
    CHECK_FALSE(loads());
    map(1, true);
    memory[page_bytes] = 'a';
    CHECK(at[0] == 'a');
    mapped.allow(page, 0, 0);
    CHECK_FALSE(loads());
    map(1, true);
    mapped.clear();
    CHECK_FALSE(loads());
    map(1, false);
    CHECK(at[0] == 'a');
    ::close(ends[0]);
    ::close(ends[1]);
    ::munmap(space, x64::mapped_space_bytes);
}

TEST_CASE("memory that is not shared is not mapped", "[mapped]") {
    struct Private {
        bool data, code;
    };
    for (const auto& [data, code] : {Private{true, true}, Private{false, true}, Private{true, false}}) {
        INFO("data " << data << ", code " << code);
        MappedGuest guest(cache_bytes, translating_at_once, [&](Machine& machine) {
            if (data) replace(machine.data, MAP_PRIVATE);
            if (code) replace(machine.code, MAP_PRIVATE);
        });
        guest.put_sum();
        for (int times = 0; times < 8; ++times) CHECK(guest.sum() == TrapKind::system_call);
        if (code)
            CHECK(guest.faults() == 0);
        else // the page of code is all that it asks about first; one fault tells the rest
            CHECK(guest.faults() == 1);
    }
}

TEST_CASE("other memory at the same place of the host is seen after a flush", "[mapped]") {
    MappedGuest guest;
    guest.put_sum();
    for (int times = 0; times < 2; ++times) CHECK(guest.sum() == TrapKind::system_call);
    const std::uint64_t before = guest.faults();
    CHECK(before >= pages);
    guest.pair.both([](Machine& machine) {
        replace(machine.data, MAP_SHARED);
        machine.engine().flush();
    });
    guest.rest();
    // Where it faults, an access goes another way: the second time tells what is mapped.
    for (int times = 0; times < 2; ++times) {
        CHECK(guest.sum() == TrapKind::system_call);
        CHECK(guest.gpr(7) == 0); // nobody wrote there
    }
    CHECK(guest.faults() >= before + pages);
}

TEST_CASE("supervisor code is not mapped", "[mapped]") {
    MappedGuest guest;
    guest.put_sum();
    constexpr std::uint32_t all = 0x3F;
    guest.map(MappedGuest::code_index, MappedGuest::code_base, Layout::code, all, MappedGuest::size_64k);
    guest.map(1, data_base, MappedGuest::frame(0), all, MappedGuest::size_64k);
    guest.set_msr(0);
    for (int times = 0; times < 3; ++times) CHECK(guest.sum() == TrapKind::system_call);
    CHECK(guest.faults() == 0);
    // The same code of a process is.
    guest.set_msr(isa::msr::pr);
    CHECK(guest.sum() == TrapKind::system_call);
    CHECK(guest.faults() >= pages);
}

TEST_CASE("without host-mmu nothing is mapped", "[mapped]") {
    for (const Optimisation off : {Optimisation::host_mmu, Optimisation::flat_tlb}) {
        MappedGuest guest(Optimisations(translating_at_once.disabled() | Optimisations::bit(off)));
        guest.put_sum();
        for (int times = 0; times < 3; ++times) CHECK(guest.sum() == TrapKind::system_call);
        CHECK(guest.faults() == 0);
    }
    MappedGuest guest;
    guest.put_sum();
    CHECK(guest.sum() == TrapKind::system_call);
    CHECK(guest.faults() >= pages);
}

TEST_CASE("a process that has just begun may use what is mapped, unless such ones do it one after the other",
          "[mapped]") {
    // So many that no path of code has to run long, but a process has to.
    constexpr std::uint32_t runs = 249;
    MappedGuest guest(
        cache_bytes, translating_at_once, [](Machine&) {}, runs);
    constexpr std::uint8_t processes = 16, most_visits = 8;
    const auto barred = [&guest] {
        using runtime::soft::MappedCode;
        const auto& choices = guest.pair.jit.jit_engine().translations().mapped().choices();
        return std::ranges::count_if(choices,
                                     [](const auto& path) { return path.second == MappedCode::Choice::barred; });
    };
    std::uint64_t before = 0;
    for (std::uint8_t pid = 1; pid <= processes; ++pid) {
        INFO("process " << unsigned{pid});
        if (pid == 1)
            guest.put_sum(pid);
        else
            guest.map(1U + pid, data_base, MappedGuest::frame(pages), MappedGuest::rw, MappedGuest::size_64k, pid);
        guest.set_pid(pid);
        CHECK(guest.sum() == TrapKind::system_call);
        const std::uint64_t first = guest.faults() - before;
        CHECK(guest.sum() == TrapKind::system_call);
        if (pid <= most_visits) {
            CHECK(first >= pages);
            CHECK(first <= 2 * pages);
            CHECK(guest.faults() == before + first);
        }
        CHECK((barred() != 0) == (pid > most_visits));
        before = guest.faults();
    }
}

// AddressSanitizer has most of the address space, and does not live with a host without mappings to give.
#ifndef __SANITIZE_ADDRESS__

namespace {

// From now on there is room for no more than a table of pages without the space behind it.
bool limit_address_space() {
    std::size_t in_use = 0;
    std::ifstream("/proc/self/statm") >> in_use;
    rlimit limit{};
    limit.rlim_cur = limit.rlim_max = in_use * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + (1U << 30);
    return in_use != 0 && ::setrlimit(RLIMIT_AS, &limit) == 0;
}

// Of which the host has so many.
bool use_up_mappings(std::size_t most, bool whole) {
    void* const memory =
        ::mmap(nullptr, 2 * most * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    std::size_t page = 1;
    while (page < 2 * most &&
           ::mprotect(static_cast<std::uint8_t*>(memory) + page * page_bytes, page_bytes, PROT_READ) == 0)
        page += 2;
    for (std::size_t more = 0; whole; ++more) {
        if (more == most) return false;
        if (::mmap(nullptr, page_bytes, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) break;
    }
    return page < 2 * most;
}

} // namespace

TEST_CASE("without address space for the guest's nothing is mapped", "[mapped]") {
    const auto sums = [](MappedGuest& guest, std::uint32_t pid) {
        guest.set_pid(pid);
        return guest.sum() == TrapKind::system_call && guest.sum() == TrapKind::system_call;
    };
    CHECK(true_in_child([&] {
        if (!limit_address_space()) return false;
        MappedGuest guest;
        guest.put_sum(1);
        return sums(guest, 1) && guest.faults() == 0;
    }));
    // It is taken for all contexts that there can be: one that comes later has its own.
    CHECK(true_in_child([&] {
        MappedGuest guest;
        guest.put_sum(1);
        guest.put_sum(2);
        if (!sums(guest, 1)) return false;
        const std::uint64_t before = guest.faults();
        return before >= pages && limit_address_space() && sums(guest, 2) && guest.faults() >= before + pages;
    }));
}

TEST_CASE("a host that has no more mappings to give is lived with", "[mapped]") {
    std::size_t most = 0;
    std::ifstream("/proc/sys/vm/max_map_count") >> most;
    if (most == 0 || most > 200'000) SKIP("this host has very many");
    // To the limit for the parts of a mapping, and to the one for whole ones.
    for (const bool whole : {false, true}) {
        CHECK(true_in_child([&] {
            MappedGuest guest;
            guest.put_sum();
            // Neighbours in real memory too, so that all pages are one mapping, which has to be split.
            for (int times = 0; times < 3; ++times)
                if (guest.sum() != TrapKind::system_call) return false;
            const std::uint64_t before = guest.faults();
            if (!use_up_mappings(most, whole)) return false;
            guest.map(1, data_base, MappedGuest::frame(32), MappedGuest::rw, MappedGuest::size_64k);
            for (int times = 0; times < 3; ++times)
                if (guest.sum() != TrapKind::system_call) return false;
            // One fault shows that nothing more can be mapped.
            return before >= pages && guest.faults() > before && guest.faults() < before + 4;
        }));
    }
}

#endif
