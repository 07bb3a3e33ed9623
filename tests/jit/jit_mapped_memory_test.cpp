// SPDX-License-Identifier: GPL-2.0-only
// Memory and hosts that do not allow what it takes to map a guest's pages.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "child_process.h"
#include "mapped_guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::TrapKind;
using x64::Optimisation;
using x64::Optimisations;

constexpr std::uint32_t data_base = MappedGuest::data_base, page_bytes = MappedGuest::page_bytes;
constexpr std::size_t cache_bytes = runtime::soft::JitEngine::default_cache_bytes;

constexpr unsigned pages = MappedGuest::sum_pages;

// From now on the host does not map it a second time.
void make_private(SharedMemory& memory) {
    REQUIRE(::mmap(memory.data(), memory.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                   0) == memory.data());
}

} // namespace

TEST_CASE("memory that is not shared is not mapped", "[mapped]") {
    struct Private {
        bool data, code;
    };
    for (const auto& [data, code] : {Private{true, true}, Private{false, true}, Private{true, false}}) {
        INFO("data " << data << ", code " << code);
        MappedGuest guest(cache_bytes, translating_at_once, [&](Machine& machine) {
            if (data) make_private(machine.data);
            if (code) make_private(machine.code);
        });
        guest.put_sum();
        for (int times = 0; times < 8; ++times) CHECK(guest.sum() == TrapKind::system_call);
        if (code)
            CHECK(guest.faults() == 0);
        else // the page of code is all that it asks about first; one fault tells the rest
            CHECK(guest.faults() == 1);
    }
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
