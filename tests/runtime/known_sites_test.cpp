// SPDX-License-Identifier: GPL-2.0-only
// Sites known from earlier runs, code that keeps changing, and limits of the patch registry.
#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <random>

#include "guest.h"
#include "runtime/known_sites.h"
#include "runtime/kvm/hot_sites.h"
#include "runtime/page_hash.h"

using namespace untrap;
using namespace untrap::runtime;

namespace {

constexpr unsigned all_levels = 0b1110;
constexpr std::uint64_t page = 0x3000;

struct Engine final : runtime::Engine {
    isa::Trap run(Vcpu&, std::uint64_t) override { return {}; }
    void tlb_entry_changed(unsigned, const mmu::TlbEntry&) override {}
    void memory_written(std::uint64_t, std::uint64_t) override {}
    void site_changed(std::uint64_t real) override { changed.push_back(real); }
    void flush() override {}
    std::vector<std::uint64_t> changed;
};

// A guest with a page of mfmsr r3 at 0, 8, 16 and 24, whose engine tells what it heard.
struct Site : Guest {
    Site() {
        vcpu.set_engine(heard);
        for (std::uint32_t at = 0; at < 32; at += 8)
            put(static_cast<std::uint32_t>(page) + at, {code::mfmsr(3), code::nop});
        patches->configure(all_levels, 2);
    }
    std::uint64_t hash() { return page_hash(&ram[page]); }
    const plan::Patch* trap(std::uint64_t real) {
        const SiteWindow window = site_window(memory, real, 4096);
        bool newly = false;
        return patches->note_trap(real, window.words.data(), window.length, newly);
    }
    bool patched(std::uint64_t real) { return patches->find(real, word(static_cast<std::uint32_t>(real))) != nullptr; }
    void change(std::uint32_t address, std::uint32_t value) {
        put(address, {value});
        code_written(vcpu, address, 4);
    }
    Engine heard;
};

} // namespace

TEST_CASE("a page's hash is XXH3, the same on every host") {
    std::array<std::uint8_t, hashed_page_bytes> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7 + (i >> 5));
    CHECK(page_hash(bytes.data()) == 0xdcf5273256f049a2);
}

TEST_CASE("a known site is patched before it traps, when page and word are those that were known") {
    Site guest;
    std::vector<HotSite> known = {{guest.hash(), code::mfmsr(3), 0, 0},
                                  {guest.hash(), code::mfmsr(4), 8, 0},
                                  {guest.hash(), code::nop, 12, 0},
                                  {guest.hash(), code::mfmsr(3), 16, 0},
                                  {guest.hash() + 1, code::mfmsr(3), 24, 0}};
    if (known[4].page_hash == 0) known.pop_back();
    guest.patches->set_known(known.data(), static_cast<std::uint32_t>(known.size()));
    patch_known_sites(guest.vcpu, page + 0x400);
    CHECK(guest.patched(page));
    CHECK_FALSE(guest.patched(page + 8));  // another word
    CHECK_FALSE(guest.patched(page + 12)); // not privileged
    CHECK(guest.patched(page + 16));
    CHECK_FALSE(guest.patched(page + 24)); // another page
    CHECK(guest.patches->patched_by_knowledge() == 2);
    CHECK(guest.heard.changed == std::vector<std::uint64_t>{page, page + 16});
    // Found once, the page is not looked at again until it changes.
    CHECK_FALSE(guest.patches->match_due(page));
    guest.change(static_cast<std::uint32_t>(page) + 0x800, code::nop);
    CHECK(guest.patches->match_due(page));
}

TEST_CASE("a page that is not known yet is asked for again, ever more rarely") {
    Site guest;
    const HotSite known{guest.hash(), code::mfmsr(3), 0, 0};
    guest.patches->set_known(&known, 1);
    guest.put(static_cast<std::uint32_t>(page) + 0x800, {1}); // nobody tells
    unsigned due = 0;
    for (unsigned i = 0; i < 1000; ++i) due += guest.patches->match_due(page) ? 1 : 0;
    CHECK(due == 10);
    guest.put(static_cast<std::uint32_t>(page) + 0x800, {0});
    for (unsigned i = 0; i < 100; ++i) patch_known_sites(guest.vcpu, page);
    CHECK(guest.patched(page));
}

TEST_CASE("trap mode patches no known site") {
    Site guest;
    guest.patches->configure(0, 1);
    const HotSite known{guest.hash(), code::mfmsr(3), 0, 0};
    guest.patches->set_known(&known, 1);
    patch_known_sites(guest.vcpu, page);
    CHECK(guest.patches->patched_sites() == 0);
}

TEST_CASE("a patched word that changes is forgotten, and a page where that goes on is left alone") {
    Site guest;
    guest.patches->limit(0, 3);
    for (unsigned i = 0; i < 2; ++i) {
        guest.trap(page + 16);
        guest.trap(page);
    }
    REQUIRE(guest.patches->patched_sites() == 2);
    guest.change(static_cast<std::uint32_t>(page) + 4, 0x4C00012C); // no site there
    guest.change(static_cast<std::uint32_t>(page), code::mfmsr(3)); // the same again
    CHECK(guest.patches->patched_sites() == 2);
    for (unsigned round = 0; round < 3; ++round) {
        CHECK_FALSE(guest.patches->left_alone(page));
        CHECK(guest.patched(page + 16));
        guest.heard.changed.clear();
        guest.change(static_cast<std::uint32_t>(page), code::mfmsr(round + 4));
        CHECK(guest.heard.changed.front() == page);
        if (round == 2) break;
        guest.trap(page);
        guest.trap(page);
        CHECK(guest.patched(page));
    }
    CHECK(guest.patches->left_alone(page));
    CHECK(guest.patches->pages_left_alone() == 1);
    CHECK(guest.heard.changed == std::vector<std::uint64_t>{page, page + 16});
    CHECK(guest.patches->patched_sites() == 0);
    for (unsigned i = 0; i < 10; ++i) CHECK(guest.trap(page + 16) == nullptr);
    CHECK(guest.trap(0x5000) == nullptr);
    // Elsewhere nothing has changed.
    guest.put(0x5000, {code::mfmsr(3)});
    guest.trap(0x5000);
    CHECK(guest.trap(0x5000) != nullptr);
}

TEST_CASE("a change of part of a word, and one across pages, is noticed") {
    Site guest;
    guest.put(0x3FFC, {code::mfmsr(3), code::mfmsr(3)});
    for (unsigned i = 0; i < 2; ++i) {
        guest.trap(0x3FFC);
        guest.trap(0x4000);
    }
    REQUIRE(guest.patches->patched_sites() == 2);
    guest.ram[0x3FFF] ^= 0x20;
    guest.ram[0x4000] ^= 0x20;
    code_written(guest.vcpu, 0x3FFF, 2);
    CHECK(guest.patches->patched_sites() == 0);
}

TEST_CASE("no more sites are patched than the limit allows") {
    Site guest;
    guest.patches->limit(2, 0);
    for (unsigned i = 0; i < 3; ++i)
        for (std::uint64_t at = 0; at < 32; at += 8) guest.trap(page + at);
    CHECK(guest.patches->patched_sites() == 2);
}

TEST_CASE("what is patched is read out and is a cache for the next guest") {
    Site guest;
    for (unsigned i = 0; i < 2; ++i) guest.trap(page + 8);
    std::vector<abi::UntrapHotSite> sites(abi::untrap_hot_sites_in_page);
    abi::UntrapHotSites request{0, abi::untrap_hot_sites_in_page - 1, 0};
    CHECK(kvm_hot_sites::read(guest.vcpu, request, sites.data()) == -EINVAL);
    request = {0, abi::untrap_hot_sites_in_page, CodePages::capacity};
    CHECK(kvm_hot_sites::read(guest.vcpu, request, sites.data()) == -EINVAL);
    request.next = 0;
    std::vector<abi::UntrapHotSite> all;
    do {
        request.count = abi::untrap_hot_sites_in_page;
        REQUIRE(kvm_hot_sites::read(guest.vcpu, request, sites.data()) == 0);
        all.insert(all.end(), sites.begin(), sites.begin() + request.count);
    } while (request.next != 0);
    REQUIRE(all.size() == 1);
    CHECK(all[0].page_hash == guest.hash());
    CHECK(all[0].offset == 8);
    CHECK(all[0].word == code::mfmsr(3));

    Site next;
    next.patches->set_known(kvm_hot_sites::take(all.data(), 1), 1);
    patch_known_sites(next.vcpu, page);
    CHECK(next.patched(page + 8));
    CHECK(next.patches->patched_sites() == 1);
}

TEST_CASE("sites given by userspace are checked one by one") {
    const auto good = [](std::initializer_list<abi::UntrapHotSite> list) {
        std::vector<abi::UntrapHotSite> sites(list);
        return kvm_hot_sites::take(sites.data(), static_cast<std::uint32_t>(sites.size())) != nullptr;
    };
    CHECK(good({{1, 0, 0, 0}, {1, 0, 4, 0}, {2, 0, 0, 0}, {~0ull, ~0u, 4092, 0}}));
    CHECK_FALSE(good({{1, 0, 2, 0}}));
    CHECK_FALSE(good({{1, 0, 4096, 0}}));
    CHECK_FALSE(good({{1, 0, 0, 1}}));
    CHECK_FALSE(good({{1, 0, 0, 0}, {1, 5, 0, 0}}));
    CHECK_FALSE(good({{2, 0, 0, 0}, {1, 0, 0, 0}}));
    CHECK_FALSE(good({{1, 0, 8, 0}, {1, 0, 4, 0}}));
    std::vector<abi::UntrapHotSite> many(abi::untrap_most_hot_sites + 1);
    CHECK(kvm_hot_sites::take(many.data(), abi::untrap_most_hot_sites + 1) == nullptr);
}
