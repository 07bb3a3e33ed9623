// SPDX-License-Identifier: GPL-2.0-only
// The shadow TLB and its contexts alone, against a plain list of what should be there.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <memory>
#include <set>

#include "model_cpu.h"
#include "runtime/native/hardware.h"
#include "runtime/native/shadow_tlb.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using mmu::TlbEntry;
using native::ModelCpu;
using runtime::native::ShadowContexts;
using runtime::native::ShadowTlb;

// Mappings that were made, by the slot they went to; the host may have taken the hardware's entry since.
struct Expected {
    unsigned owner;
    ShadowTlb::Mapping mapping;
};

struct Model {
    explicit Model(unsigned slots, Random& random_in) : random(random_in), cpu(random, slots) {
        tlb.start(slots);
        runtime::native::hardware::irq_save();
        for (unsigned owner = 0; owner < 2; ++owner)
            owners[owner] = std::make_unique<ShadowContexts>(tlb, links[owner]);
    }

    // No two mappings of one context overlap: each page is a number.
    ShadowTlb::Mapping mapping(unsigned pid, unsigned page, unsigned guest_index) {
        return {page << 14 | TlbEntry::valid_bit | TlbEntry::ts_bit | (random.chance(50) ? 0x10U : 0x20U),
                random.word() & 0xFFFFC00F, TlbEntry::sr | (random.word() & 0x38), static_cast<std::uint8_t>(pid),
                static_cast<std::uint8_t>(guest_index)};
    }
    bool in_hardware(unsigned slot, const ShadowTlb::Mapping& wanted) const {
        const TlbEntry& entry = cpu.entry(slot).words;
        return entry.word0 == wanted.word0 && entry.word1 == wanted.word1 && entry.word2 == wanted.word2 &&
               entry.tid == wanted.pid;
    }
    template <typename Condition>
    void erase_if(Condition&& condition) {
        std::erase_if(expected, [&](const auto& entry) {
            if (!condition(entry)) return false;
            of_process.erase(entry.first);
            return true;
        });
    }
    // Everything of a guest that is in the hardware is expected there, under a PID that its context still has.
    void compare() {
        for (unsigned slot = 0; slot < ModelCpu::entry_count; ++slot) {
            const TlbEntry& entry = cpu.entry(slot).words;
            if (!entry.valid() || entry.ts() == 0) continue;
            const auto found = expected.find(slot);
            REQUIRE(found != expected.end());
            REQUIRE(in_hardware(slot, found->second.mapping));
        }
        for (unsigned slot = 0; slot < ModelCpu::entry_count; ++slot) {
            const auto found = expected.find(slot);
            for (unsigned owner = 0; owner < 2; ++owner) {
                const bool has = found != expected.end() && found->second.owner == owner;
                REQUIRE(tlb.owned(*owners[owner], slot) == has);
                REQUIRE(owners[owner]->of_process.has(slot) == (has && of_process.contains(slot)));
            }
        }
        for (const auto& [slot, what] : expected) {
            REQUIRE(tlb.owned(*owners[what.owner], slot));
            REQUIRE(owners[what.owner]->uses_guest_entry(what.mapping.guest_index));
        }
        for (unsigned owner = 0; owner < 2; ++owner) {
            for (unsigned index = 0; index < 64; ++index) {
                unsigned count = 0, slot_of = 0;
                for (const auto& [slot, what] : expected) {
                    if (what.owner != owner || what.mapping.guest_index != index) continue;
                    ++count;
                    slot_of = slot;
                }
                const bool other = count > 1 || owners[owner]->watches(index);
                const unsigned link = other        ? ShadowContexts::other_link
                                      : count == 1 ? slot_of
                                                   : ShadowContexts::no_link;
                REQUIRE(links[owner][index] == link);
            }
        }
    }

    // Several mappings of one guest entry are not replaced.
    bool several(unsigned owner, unsigned index) const {
        return std::count_if(expected.begin(), expected.end(), [&](const auto& entry) {
                   return entry.second.owner == owner && entry.second.mapping.guest_index == index;
               }) > 1;
    }
    static void writes(const ShadowTlb::Mapping& mapping, unsigned slot) {
        runtime::native::hardware::write_tlb(slot, mapping.word0, mapping.word1, mapping.word2, mapping.pid);
    }

    Random& random;
    ModelCpu cpu;
    ShadowTlb tlb;
    ShadowContexts::Links links[2];
    std::unique_ptr<ShadowContexts> owners[2];
    std::map<unsigned, Expected> expected; // by slot
    std::set<unsigned> of_process;         // slots, whoever's they are
};

} // namespace

TEST_CASE("the shadow TLB holds what was put in and nothing that was taken out", "[shadow]") {
    Random random = seeded_random(1);
    std::uint64_t all_recycled = 0; // not every round comes to it
    for (unsigned round = 0; round < 20; ++round) {
        Model model(random.between(16, 63), random);
        // (owner, key) -> PID, as given out
        std::map<std::pair<unsigned, unsigned>, unsigned> pids;
        std::map<std::pair<unsigned, unsigned>, std::set<unsigned>> pages; // (owner, PID) -> pages in use
        const auto forget_page = [&](const Expected& what) {
            pages[{what.owner, what.mapping.pid}].erase(what.mapping.word0 >> 14);
        };
        unsigned spare = ShadowTlb::slot_count;
        std::uint64_t written = 0;
        for (unsigned step = 0; step < 4000; ++step) {
            const unsigned owner = random.below(2);
            switch (random.below(20)) {
            case 0: model.cpu.host_takes(random.below(model.tlb.slots())); break;
            case 1:
                if (random.chance(5)) model.cpu.drop_all();
                break;
            case 2:
            case 3: { // a guest TLB entry changes
                const unsigned index = random.below(64);
                model.owners[owner]->drop_guest_entry(index);
                CHECK(!model.owners[owner]->uses_guest_entry(index));
                model.erase_if([&](const auto& entry) {
                    const Expected& what = entry.second;
                    if (what.owner != owner || what.mapping.guest_index != index) return false;
                    CHECK(!model.in_hardware(entry.first, what.mapping));
                    forget_page(what);
                    return true;
                });
                break;
            }
            case 4:
                if (random.chance(5)) {
                    model.owners[owner]->drop_process();
                    model.erase_if([&](const auto& entry) {
                        if (entry.second.owner != owner || !model.of_process.contains(entry.first)) return false;
                        CHECK(!model.in_hardware(entry.first, entry.second.mapping));
                        forget_page(entry.second);
                        return true;
                    });
                }
                if (random.chance(10)) model.owners[owner]->watch(random.below(64));
                if (random.chance(2)) model.owners[owner]->watch_nothing();
                if (!random.chance(2)) break;
                model.owners[owner]->clear();
                for (unsigned index = 0; index < 64; ++index) CHECK(!model.owners[owner]->uses_guest_entry(index));
                model.erase_if([&](const auto& entry) { return entry.second.owner == owner; });
                std::erase_if(pids, [&](const auto& entry) { return entry.first.first == owner; });
                std::erase_if(pages, [&](const auto& entry) { return entry.first.first == owner; });
                break;
            default: { // a miss in some context
                const unsigned wide = random.chance(10) ? ShadowContexts::key_count : 80;
                const auto key = static_cast<std::uint16_t>(random.below(wide));
                const std::uint64_t invalidations = model.cpu.instruction_cache_invalidations;
                const std::uint64_t recycled = model.tlb.recycled;
                const unsigned pid = model.owners[owner]->pid(key);
                REQUIRE(pid >= 1);
                REQUIRE(pid <= 255);
                const auto known = pids.find({owner, key});
                if (known != pids.end()) {
                    REQUIRE(known->second == pid);
                } else {
                    // Another context may have had it: that one lost all it had, and the cached instructions went.
                    const auto loser =
                        std::find_if(pids.begin(), pids.end(), [&](const auto& entry) { return entry.second == pid; });
                    CHECK((loser != pids.end()) == (model.tlb.recycled != recycled));
                    if (loser != pids.end()) {
                        CHECK(model.cpu.instruction_cache_invalidations > invalidations);
                        // What is noted of slots that the host has taken goes when one of the owner's PIDs does.
                        model.erase_if([&](const auto& entry) {
                            return entry.second.mapping.pid == pid ||
                                   (entry.second.owner == loser->first.first &&
                                    !model.in_hardware(entry.first, entry.second.mapping));
                        });
                        pages.erase(std::pair{loser->first.first, pid});
                        pids.erase(loser);
                    }
                    pids[{owner, key}] = pid;
                }
                for (unsigned slot = 0; slot < model.tlb.slots() && known == pids.end(); ++slot)
                    REQUIRE((model.cpu.entry(slot).words.ts() == 0 || model.cpu.entry(slot).words.tid != pid));
                auto& used = pages[{owner, pid}];
                const unsigned page = random.below(2000);
                if (!used.insert(page).second) break;
                const ShadowTlb::Mapping mapping = model.mapping(pid, page, random.below(64));
                if (random.chance(30)) spare = random.below(model.tlb.slots());
                unsigned slot = 0;
                bool in_place = false;
                if (random.chance(70)) {
                    slot = model.owners[owner]->insert(mapping, spare);
                } else {
                    in_place = model.owners[owner]->uses_guest_entry(mapping.guest_index);
                    if (!model.owners[owner]->replace(mapping, spare, slot, model.writes)) {
                        CHECK(model.several(owner, mapping.guest_index));
                        used.erase(page);
                        break;
                    }
                    CHECK(!model.several(owner, mapping.guest_index));
                }
                REQUIRE(slot < model.tlb.slots());
                if (!in_place) REQUIRE(slot != spare);
                REQUIRE(model.in_hardware(slot, mapping));
                if (const auto lost = model.expected.find(slot); lost != model.expected.end())
                    forget_page(lost->second);
                model.expected[slot] = {owner, mapping};
                if (!in_place) model.of_process.erase(slot);
                if (random.chance(20)) {
                    model.of_process.insert(slot);
                    model.owners[owner]->of_process.add(slot);
                }
                ++written;
                // What ran last is what is spared next.
                if (random.chance(30)) spare = slot;
                break;
            }
            }
            if (step % 16 == 0) model.compare();
        }
        CHECK(model.tlb.inserted == written);
        CHECK(model.cpu.writes == written);
        all_recycled += model.tlb.recycled;
        model.compare();
        model.owners[0]->clear();
        model.owners[1]->clear();
        CHECK(model.cpu.guest_entries() == 0);
    }
    CHECK(all_recycled > 0);
}

TEST_CASE("every entry is used in turn but for the spared one", "[shadow]") {
    Random random = seeded_random(2);
    Model model(20, random);
    const unsigned pid = model.owners[0]->pid(ShadowContexts::key(1, false, true));
    const unsigned spare = model.owners[0]->insert(model.mapping(pid, 5000, 0), ShadowTlb::slot_count);
    std::set<unsigned> used;
    for (unsigned page = 0; page < 19; ++page) used.insert(model.owners[0]->insert(model.mapping(pid, page, 1), spare));
    CHECK(used.size() == 19);
    CHECK(!used.contains(spare));
    // A freed entry is used before another mapping has to go.
    model.owners[0]->drop_guest_entry(0);
    CHECK(model.owners[0]->insert(model.mapping(pid, 6000, 2), ShadowTlb::slot_count) == spare);
}

TEST_CASE("a PID goes round before it means something else", "[shadow]") {
    Random random = seeded_random(3);
    Model model(30, random);
    std::set<unsigned> pids;
    for (unsigned i = 0; i < 255; ++i) pids.insert(model.owners[i & 1]->pid(static_cast<std::uint16_t>(i)));
    CHECK(pids.size() == 255);
    CHECK(!pids.contains(0));
    CHECK(model.tlb.recycled == 0);
    const unsigned first = model.owners[0]->pid(0);
    model.owners[0]->insert(model.mapping(first, 1, 3), ShadowTlb::slot_count);
    CHECK(model.cpu.guest_entries() == 1);
    // The oldest goes, whoever has it, and its mappings with it.
    CHECK(model.owners[1]->pid(999) == first);
    CHECK(model.tlb.recycled == 1);
    CHECK(model.cpu.guest_entries() == 0);
    CHECK(model.owners[0]->pid(0) != first);
}

TEST_CASE("a guest entry's only mapping is replaced in place, and gone with its entry", "[shadow]") {
    Random random = seeded_random(4);
    Model model(20, random);
    ShadowContexts& owner = *model.owners[0];
    const unsigned kernel = owner.pid(ShadowContexts::key(0, false, false)),
                   process = owner.pid(ShadowContexts::key(1, false, true));
    unsigned slot = 0, page = 0;
    const auto replace = [&](unsigned index, unsigned pid) {
        REQUIRE(owner.replace(model.mapping(pid, ++page, index), ShadowTlb::slot_count, slot, model.writes));
        return slot;
    };
    for (unsigned index = 0; index < 20; ++index)
        owner.insert(model.mapping(index < 4 ? kernel : process, ++page, 40 + index), ShadowTlb::slot_count);
    CHECK(replace(47, process) == 7);
    CHECK(replace(47, kernel) == 7);
    CHECK(replace(2, process) == 0); // in turn
    CHECK(!owner.uses_guest_entry(40));
    CHECK(owner.uses_guest_entry(42));
    // One that was free is not any more.
    owner.drop_guest_entry(52);
    CHECK(replace(12, process) == 12);
    CHECK(owner.insert(model.mapping(process, ++page, 60), ShadowTlb::slot_count) != 12);
    CHECK(owner.uses_guest_entry(12));
    // What is gone by its only mapping is no mapping of the process any more.
    owner.of_process.add(12);
    owner.drop_guest_entry(12);
    const ShadowTlb::Mapping last = model.mapping(kernel, ++page, 12);
    REQUIRE(owner.replace(last, ShadowTlb::slot_count, slot, model.writes));
    CHECK(slot == 12);
    owner.drop_process();
    CHECK(owner.uses_guest_entry(12));
    CHECK(model.in_hardware(12, last));
}
