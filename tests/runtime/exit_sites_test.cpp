// SPDX-License-Identifier: GPL-2.0-only
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <sys/mman.h>
#include <vector>

#include "guest.h"
#include "runtime/exit_sites.h"
#include "runtime/kvm/exit_sites.h"
#include "runtime/soft/kvm_front.h"

using namespace untrap;
using runtime::ExitReason;
using runtime::ExitSite;
using runtime::ExitSites;

namespace {

struct Table {
    std::vector<ExitSite> memory = std::vector<ExitSite>(ExitSites::elements(ExitSites::least));
    ExitSites sites{memory.data(), ExitSites::least};

    std::uint64_t exits() const {
        std::uint64_t sum = 0;
        for (const ExitSite& site : memory) sum += site.exits;
        return sum;
    }
    const ExitSite* find(ExitReason reason, std::uint32_t ea) const {
        for (const ExitSite& site : memory)
            if (site.exits != 0 && site.reason == reason && site.ea == ea && !site.elsewhere) return &site;
        return nullptr;
    }
};

// A loop of three passes: two privileged sites that become patched, an rfi-like one that stays, and a device.
const std::initializer_list<std::uint32_t> loop = {
    code::li(9, 8),
    code::mtspr(9, 9),                      // ctr: passes
    code::mfmsr(3),                         // level 1
    code::wrteei(0),                        // level 2
    code::mtspr(340, 4),                    // TCR: no level by itself
    16U << 26 | 16U << 21 | (-12 & 0xFFFC), // bdnz to the mfmsr
    code::lis(31, 0x3000),
    code::mtspr(308, 31) // reset
};

} // namespace

TEST_CASE("exit sites: told apart by place, word, reason and privilege") {
    Table table;
    const ExitSites::Where here{0x1000, 0xC0001000, 0x7C0000A6, false};
    ExitSites::Where other = here;
    table.sites.note(ExitReason::emul_mfmsr, here, 10);
    table.sites.note(ExitReason::emul_mfmsr, here, 11); // the first took one instruction
    table.sites.close(15);
    table.sites.close(99); // nothing is open any more
    table.sites.note(ExitReason::dtlb_virt, here, 100);
    table.sites.close(200); // a refill executes nothing
    other.user = true;
    table.sites.note(ExitReason::emul_mfmsr, other, 200);
    other = here;
    other.real = 0x5000;
    table.sites.note(ExitReason::emul_mfmsr, other, 200);
    table.sites.add_ticks(7);
    CHECK(table.exits() == 5);
    unsigned sites = 0;
    for (const ExitSite& site : table.memory) {
        if (site.exits == 0) continue;
        ++sites;
        if (site.exits == 2) {
            CHECK(site.instructions == 5);
            CHECK(site.word == 0x7C0000A6);
        }
        if (site.reason == ExitReason::dtlb_virt) CHECK(site.instructions == 0);
        CHECK(site.ticks == (site.real == 0x5000 ? 7U : 0U));
    }
    CHECK(sites == 4);
}

TEST_CASE("exit sites: what finds no room is still counted") {
    Table table;
    constexpr std::uint32_t places = 5000;
    for (std::uint32_t i = 0; i < places; ++i)
        table.sites.note(ExitReason::mmio, {i * 4, 0xC0000000 + i * 4, 0, false}, 0);
    table.sites.note(ExitReason::dcr, {~0ULL, 4, 0, false}, 0);
    CHECK(table.exits() == places + 1);
    const ExitSite& rest = table.sites.at(ExitSites::least + static_cast<std::uint32_t>(ExitReason::mmio));
    CHECK(rest.elsewhere);
    CHECK(rest.exits >= places - ExitSites::least);
    CHECK(rest.exits < places - ExitSites::least / 2);
}

TEST_CASE("exit sites: every exit of a guest, where it happened") {
    for (const unsigned levels : {0U, 0b1110U}) {
        Guest g;
        Table table;
        g.patches->configure(levels, 4);
        g.vcpu.exit_sites = &table.sites;
        g.put(Guest::origin, loop);
        REQUIRE(g.finish());
        CHECK(table.exits() == g.vcpu.exits.total);
        const ExitSite* tcr = table.find(ExitReason::emul_mtspr, Guest::origin + 16);
        REQUIRE(tcr != nullptr);
        CHECK(tcr->exits == 8);
        CHECK(tcr->real == Guest::origin + 16);
        CHECK(tcr->word == code::mtspr(340, 4));
        CHECK(tcr->instructions == 8);
        CHECK_FALSE(tcr->user);
    }
}

TEST_CASE("exit sites: where there is no instruction") {
    Guest g;
    Table table;
    g.vcpu.exit_sites = &table.sites;
    g.put(Guest::vector(isa::Interrupt::instruction_tlb_error), {END_BY_RESET(31)});
    g.vcpu.set_tlb_entry(0, {});
    g.map(0, 0, 0, 5, 0x3F); // 1 MB
    g.put(Guest::origin, {code::lis(3, 0x7000), code::mtspr(9, 3), 0x4E800420});
    REQUIRE(g.finish());
    const ExitSite* missing = table.find(ExitReason::itlb_real, 0x70000000);
    REQUIRE(missing != nullptr);
    CHECK(missing->real == ExitSite::unknown_real);
    CHECK(missing->word == 0);
}

TEST_CASE("exit sites: through the KVM interface") {
    runtime::soft::KvmFront kvm;
    const auto number = [](std::uintptr_t value) { return reinterpret_cast<void*>(value); };
    const int system = kvm.open();
    CHECK(kvm.ioctl(system, abi::ioctl_check_extension, number(abi::cap_untrap_exit_sites)) == 1);
    const int vm = kvm.ioctl(system, abi::ioctl_create_vm, nullptr);
    const auto enable = [&](std::uint32_t cap, std::uint64_t value) {
        abi::kvm_enable_cap request{};
        request.cap = cap;
        request.args[0] = value;
        return kvm.ioctl(vm, abi::ioctl_enable_cap, &request);
    };
    CHECK(enable(abi::cap_untrap_exit_sites, abi::untrap_most_exit_sites + 1) == -EINVAL);
    CHECK(enable(abi::cap_untrap_exit_sites, ~0ULL) == -EINVAL);
    REQUIRE(enable(abi::cap_untrap_exit_sites, 1500) == 0);
    REQUIRE(enable(abi::cap_untrap_clock, abi::untrap_clock_guest) == 0);
    const int vcpu = kvm.ioctl(vm, abi::ioctl_create_vcpu, nullptr);
    constexpr std::size_t bytes = 1 << 20;
    auto* const ram =
        static_cast<std::uint8_t*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    abi::kvm_userspace_memory_region region{0, 0, 0, bytes, reinterpret_cast<std::uintptr_t>(ram)};
    REQUIRE(kvm.ioctl(vm, abi::ioctl_set_user_memory_region, &region) == 0);
    std::uint32_t at = 0x1000;
    for (const std::uint32_t word : loop) {
        runtime::store_big_endian(ram + at, 4, word);
        at += 4;
    }
    abi::kvm_regs regs{};
    REQUIRE(kvm.ioctl(vcpu, abi::ioctl_get_regs, &regs) == 0);
    regs.pc = 0x1000;
    REQUIRE(kvm.ioctl(vcpu, abi::ioctl_set_regs, &regs) == 0);

    std::array<abi::UntrapExitSite, 2> part{};
    abi::UntrapExitSites request{.sites = reinterpret_cast<std::uintptr_t>(part.data()), .count = 2, .next = 0};
    CHECK(kvm.ioctl(vcpu, abi::untrap_get_exit_sites, &request) == -ENOENT); // nothing has run
    REQUIRE(kvm.ioctl(vcpu, abi::ioctl_run, nullptr) == 0);
    CHECK(enable(abi::cap_untrap_exit_sites, 0) == -EBUSY);
    abi::UntrapStats stats{};
    REQUIRE(kvm.ioctl(vcpu, abi::untrap_get_stats, &stats) == 0);

    std::uint64_t exits = 0;
    unsigned word = 0, stub = 0, refused = 0;
    do {
        request.count = 2;
        REQUIRE(kvm.ioctl(vcpu, abi::untrap_get_exit_sites, &request) == 0);
        REQUIRE(request.count <= 2);
        for (std::uint32_t i = 0; i < request.count; ++i) {
            const abi::UntrapExitSite& site = part[i];
            exits += site.exits;
            if (site.ea == 0x1008) {
                CHECK(site.exits == abi::untrap_default_threshold);
                word += site.level;
            }
            if (site.ea == 0x100C) stub += site.level;
            if (site.ea == 0x1010 && (site.flags & abi::untrap_site_refused) != 0) refused += site.exits == 8;
        }
    } while (request.next != 0);
    CHECK(exits == stats.exits_total);
    CHECK(word == 1);
    CHECK(stub == 2);
    CHECK(refused == 1);

    request.count = 0;
    CHECK(kvm.ioctl(vcpu, abi::untrap_get_exit_sites, &request) == -EINVAL);
    request = {.sites = reinterpret_cast<std::uintptr_t>(part.data()), .count = 2, .next = 1U << 30};
    CHECK(kvm.ioctl(vcpu, abi::untrap_get_exit_sites, &request) == -EINVAL);
    request = {.sites = 0, .count = 2, .next = 0};
    CHECK(kvm.ioctl(vcpu, abi::untrap_get_exit_sites, &request) == -EFAULT);
    CHECK(kvm.ioctl(vcpu, abi::untrap_get_exit_sites, nullptr) == -EFAULT);
    ::munmap(ram, bytes);
}
