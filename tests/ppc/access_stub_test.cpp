// SPDX-License-Identifier: GPL-2.0-only
// Stubs of accesses to a process's memory, against the access itself: with a window and without, interrupted before
// each of their words, with a fault in each of their accesses, with registers that collide, over the ends of pages.
#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <vector>

#include "model.h"
#include "translator/interp/interpreter.h"
#include "translator/ppc/access_stub.h"
#include "translator/ppc/encode.h"
#include "words.h"

namespace untrap::tests::ppc440 {
namespace {

using isa::CpuState;
using isa::TrapKind;

constexpr std::uint32_t site = 0xC0010004, arena_ea = 0xBF000000, page = 0x10003000, window = 0xBF014000;
constexpr unsigned pid = 5, bytes = 4096;

// Which memory is there.
enum class Mapped { page, window, both, nothing };

// The CPU in front of a site, its stub, the guest's page, a page of a process and a window; each of both is 4 KB with
// nothing around it. They have the same contents but where a test says otherwise.
class Machine final : public interp::Storage {
  public:
    explicit Machine(std::uint32_t original_in, unsigned group_in = 0) : original(original_in), group(group_in) {
        words.resize(16 * ppc::StubArena::granule_words);
        restarts.resize(16);
        arena.start(arena_ea, words.data(), restarts.data(), 16);
        const ppc::StubArena::Made made = arena.add_access(original, group, site);
        INFO(ppc::name(arena.flaw()));
        REQUIRE(made.result == ppc::StubArena::Result::made);
        site_word = made.site_word;
    }
    bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) override {
        value = 0;
        for (unsigned byte = 0; byte < size; ++byte) {
            const std::uint8_t* const at = find(ea, byte, size, false, trap);
            if (at == nullptr) return false;
            value = value << 8 | *at;
        }
        return true;
    }
    bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) override {
        std::array<std::uint8_t*, 8> at{};
        for (unsigned byte = 0; byte < size; ++byte)
            if (at[byte] = find(ea, byte, size, true, trap); at[byte] == nullptr) return false;
        for (unsigned byte = 0; byte < size; ++byte)
            *at[byte] = static_cast<std::uint8_t>(value >> 8 * (size - 1 - byte));
        return true;
    }
    bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap& trap) override {
        if (pc == site) {
            word = patched ? site_word : original;
            return true;
        }
        if (arena.holds(pc)) {
            word = words[(pc - arena_ea) / 4];
            return true;
        }
        trap.kind = TrapKind::fetch_miss;
        return false;
    }
    bool check(std::uint32_t ea, bool is_store, isa::Trap& trap) override {
        return find(ea, 0, 1, is_store, trap) != nullptr;
    }
    void code_invalidated(std::uint32_t) override {}
    std::uint64_t timebase() override { return 0; }

    isa::Trap step() {
        isa::Trap trap;
        std::uint32_t word = 0;
        if (!fetch(cpu.pc, word, trap)) return trap;
        return interp::execute(cpu, *this, isa::decode(word));
    }
    void set_window(std::uint32_t tag, std::uint32_t distance) {
        own.windows[ppc::window_of(tag, group)] = {tag, distance};
    }

    std::uint32_t original, site_word = 0;
    unsigned group;
    bool patched = true;
    CpuState cpu;
    ppc::GuestPage own;
    ppc::StubArena arena;
    std::vector<std::uint32_t> words;
    std::vector<ppc::Restart> restarts;
    Mapped mapped = Mapped::both;
    bool writable = true;
    std::array<std::uint8_t, bytes> memory{};
    bool used_page = false, used_window = false;
    int fault_at = -1; // an access to the guest's page

  private:
    std::uint8_t* find(std::uint32_t ea, unsigned byte, unsigned size, bool is_store, isa::Trap& trap) {
        if (ea >= ppc::guest_page_ea && arena.holds(cpu.pc)) {
            REQUIRE(size == 4);
            REQUIRE(ea % 4 == 0);
            REQUIRE(ea - ppc::guest_page_ea < sizeof own);
            if (byte == 0 && fault_at >= 0 && fault_at-- == 0) {
                trap.kind = TrapKind::data_miss;
                trap.ea = ea;
                return nullptr;
            }
            // Words of the host's.
            return reinterpret_cast<std::uint8_t*>(&own) + (ea - ppc::guest_page_ea) + (3 - byte);
        }
        const bool at_window = ea + byte - window < bytes, at_page = ea + byte - page < bytes;
        used_window = used_window || at_window;
        used_page = used_page || at_page;
        const bool there = (at_window && (mapped == Mapped::window || mapped == Mapped::both)) ||
                           (at_page && (mapped == Mapped::page || mapped == Mapped::both));
        if (there && (writable || !is_store)) return &memory[ea + byte - (at_window ? window : page)];
        trap.kind = there ? TrapKind::data_denied : TrapKind::data_miss;
        trap.ea = ea + byte;
        trap.is_store = is_store;
        return nullptr;
    }
};

std::vector<std::uint32_t> accesses(unsigned rt, unsigned ra, unsigned rb, std::int32_t d) {
    std::vector<std::uint32_t> found;
    for (const unsigned opcode : {32U, 34U, 40U, 36U, 38U, 44U})
        found.push_back(ppc::encode::d_form(opcode, rt, ra, d));
    for (const unsigned extended : {23U, 279U, 87U, 534U, 790U, 151U, 407U, 215U, 662U, 918U})
        found.push_back(ppc::encode::x_form(extended, rt, ra, rb));
    return found;
}

// A guest whose `original` accesses ea, false if it cannot.
bool aim(CpuState& guest, std::uint32_t original, std::uint32_t ea) {
    const isa::Instruction insn{.word = original};
    if (original >> 26 != 31) {
        if (insn.ra() == 0) return false;
        guest.gpr[insn.ra()] = ea - static_cast<std::uint32_t>(insn.si());
        return true;
    }
    if (insn.ra() == insn.rb() && insn.ra() != 0) {
        guest.gpr[insn.ra()] = ea / 2;
        return ea % 2 == 0;
    }
    guest.gpr[insn.rb()] = ea - (insn.ra() != 0 ? guest.gpr[insn.ra()] : 0);
    return true;
}

struct Outcome {
    CpuState guest;
    std::array<std::uint8_t, bytes> memory{};
    unsigned instructions = 0;
};

// To the next instruction; what stops the CPU shows the guest as it was before the site, and starts it anew.
Outcome run(Machine& machine, Random& random, const CpuState& guest, int interrupt_at, int fault_at) {
    Outcome outcome;
    machine.cpu = guest;
    machine.fault_at = fault_at;
    const auto stop = [&] {
        CpuState view = machine.cpu;
        if (machine.arena.holds(view.pc)) REQUIRE(machine.arena.restore(view, machine.own.state));
        REQUIRE_FALSE(machine.arena.holds(view.pc));
        if (view.pc == site)
            REQUIRE(difference(view, guest) == "");
        else
            REQUIRE(view.pc == site + 4);
        for (std::uint32_t& slot : machine.own.state.scratch) slot = random.word();
        machine.cpu = view;
    };
    while (machine.cpu.pc != site + 4) {
        REQUIRE(outcome.instructions < 200);
        if (static_cast<int>(outcome.instructions++) == interrupt_at) {
            stop();
            continue;
        }
        const isa::Trap trap = machine.step();
        if (trap.kind == TrapKind::none) continue;
        REQUIRE(trap.kind == TrapKind::data_miss);
        REQUIRE(trap.ea >= ppc::guest_page_ea);
        stop();
    }
    outcome.guest = machine.cpu;
    outcome.memory = machine.memory;
    return outcome;
}

void compare(std::uint32_t original, std::uint32_t ea, Mapped mapped, bool has_window, Random& random) {
    Machine machine(original, random.below(ppc::window_groups));
    CpuState guest = random_guest(random, site);
    guest.page.pid = pid;
    machine.own.state.pid = pid;
    for (ppc::GuestPage::Window& other : machine.own.windows) other = {random.word() | 0x80, random.word()};
    if (has_window) machine.set_window(page | pid, window - page);
    if (!aim(guest, original, ea)) return;
    for (std::uint8_t& byte : machine.memory) byte = static_cast<std::uint8_t>(random.word());
    const auto contents = machine.memory;

    // What the access does.
    Machine plain(original);
    plain.patched = false;
    plain.mapped = Mapped::page;
    plain.memory = contents;
    const Outcome wanted = run(plain, random, guest, -1, -1);

    machine.mapped = mapped;
    const unsigned length = run(machine, random, guest, -1, -1).instructions;
    REQUIRE(machine.used_window == has_window);
    REQUIRE(machine.used_page == !has_window);
    const auto check = [&](int interrupt_at, int fault_at) {
        machine.memory = contents;
        const Outcome got = run(machine, random, guest, interrupt_at, fault_at);
        REQUIRE(difference(got.guest, wanted.guest) == "");
        REQUIRE(got.memory == wanted.memory);
    };
    check(-1, -1);
    for (unsigned at = 0; at < length; ++at) check(static_cast<int>(at), -1);
    for (unsigned at = 0; at < 12; ++at) check(-1, static_cast<int>(at));
}

} // namespace

TEST_CASE("an access stub does what the access does, by a window or without", "[access]") {
    Random random = seeded_random(71);
    for (unsigned round = 0; round < 12; ++round) {
        const unsigned rt = random.below(32), ra = random.below(32), rb = random.below(32);
        const auto d = static_cast<std::int32_t>(random.below(0x10000)) - 0x8000;
        for (const std::uint32_t original : accesses(rt, ra, rb, round % 3 == 0 ? 0 : d)) {
            const std::uint32_t ea = page + (random.below(bytes - 4) & ~1U);
            compare(original, ea, Mapped::window, true, random);
            compare(original, ea, Mapped::page, false, random);
        }
    }
}

TEST_CASE("an access stub with any registers", "[access]") {
    Random random = seeded_random(72);
    for (unsigned rt = 0; rt < 14; ++rt)
        for (unsigned ra = 0; ra < 14; ++ra) {
            compare(ppc::encode::d_form(34, rt, ra, 0), page + 8, Mapped::window, true, random);
            compare(ppc::encode::d_form(36, rt, ra, 4), page + 8, Mapped::window, true, random);
            for (unsigned rb = 4; rb < 14; rb += 3)
                compare(ppc::encode::x_form(23, rt, ra, rb), page + 8, Mapped::window, true, random);
        }
}

TEST_CASE("an access stub tells a fault at its window from one that is the page's own", "[access]") {
    Random random = seeded_random(73);
    for (const std::uint32_t original : accesses(9, 10, 11, 4)) {
        for (const bool has_window : {true, false}) {
            Machine machine(original);
            CpuState guest = random_guest(random, site);
            machine.own.state.pid = pid;
            if (has_window) machine.set_window(page | pid, window - page);
            REQUIRE(aim(guest, original, page + 16));
            machine.mapped = Mapped::nothing;
            machine.cpu = guest;
            isa::Trap trap;
            while (trap.kind == TrapKind::none) trap = machine.step();
            REQUIRE(trap.kind == TrapKind::data_miss);
            REQUIRE(trap.ea == (has_window ? window : page) + 16);
            unsigned index = 0;
            const ppc::Restart* const restart = machine.arena.find(machine.cpu.pc, index);
            REQUIRE(restart != nullptr);
            REQUIRE(index == restart->commit);
            REQUIRE(machine.arena.original(*restart, machine.cpu.pc, index) == original);
            REQUIRE(machine.arena.restore(machine.cpu, machine.own.state));
            REQUIRE(difference(machine.cpu, guest) == "");
        }
    }
}

TEST_CASE("an access over the end of a page finds no window behind it", "[access]") {
    Random random = seeded_random(74);
    for (const std::uint32_t original : {ppc::encode::lwz(9, 10, 0), ppc::encode::stw(9, 10, 4)}) {
        Machine machine(original);
        CpuState guest = random_guest(random, site);
        machine.own.state.pid = pid;
        machine.set_window(page | pid, window - page);
        machine.set_window((page + 0x1000) | pid, window + (1U << ppc::window_distance_shift) - page - 0x1000);
        REQUIRE(aim(guest, original, page + 0xFFE));
        machine.cpu = guest;
        isa::Trap trap;
        while (trap.kind == TrapKind::none) trap = machine.step();
        REQUIRE(trap.kind == TrapKind::data_miss);
        REQUIRE(trap.ea == window + 0x1000);
    }
}

TEST_CASE("no window for another PID, and none for another page", "[access]") {
    Random random = seeded_random(75);
    const std::uint32_t original = ppc::encode::lwz(9, 10, 0);
    for (const std::uint32_t tag : {page | (pid + 4), (page + 0x4000) | pid, page | pid}) {
        Machine machine(original);
        machine.own.state.pid = pid;
        machine.set_window(tag, window - page);
        CpuState guest = random_guest(random, site);
        REQUIRE(aim(guest, original, page));
        run(machine, random, guest, -1, -1);
        CHECK(machine.used_window == (tag == (page | pid)));
    }
}

TEST_CASE("no stub for what is no plain access", "[access]") {
    for (const std::uint32_t word :
         {ppc::encode::d_form(33, 9, 10, 4), ppc::encode::d_form(37, 9, 10, 4),  // lwzu stwu
          ppc::encode::d_form(46, 9, 10, 4), ppc::encode::d_form(47, 9, 10, 4),  // lmw stmw
          ppc::encode::d_form(48, 9, 10, 4), ppc::encode::x_form(20, 9, 10, 11), // lfs lwarx
          ppc::encode::x_form(150, 9, 10, 11) | 1, ppc::encode::x_form(1014, 0, 10, 11), ppc::encode::nop, 0U})
        CHECK_FALSE(ppc::has_access_stub(word));
}

TEST_CASE("an access stub with a changed word is refused", "[access]") {
    for (const std::uint32_t original :
         {ppc::encode::lwz(9, 10, 0), ppc::encode::stw(5, 6, 8), ppc::encode::x_form(87, 7, 8, 9)}) {
        ppc::Stub stub;
        REQUIRE(ppc::emit_access_stub(original, 2, site, arena_ea, stub) == ppc::Emitted::done);
        REQUIRE(ppc::verify_access(stub.words.data(), arena_ea, stub.restart, original) == ppc::Flaw::none);
        for (unsigned index = 0; index < stub.restart.length; ++index) {
            for (unsigned bit = 0; bit < 32; ++bit) {
                ppc::Stub changed = stub;
                changed.words[index] ^= 1U << bit;
                INFO(index << " " << bit);
                // Reserved bits of X-forms may be anything.
                const bool reserved = isa::decode(changed.words[index]).op == isa::decode(stub.words[index]).op &&
                                      ((stub.words[index] >> 26 == 31 && bit == 0) ||
                                       (isa::decode(stub.words[index]).op == Op::cntlzw && bit > 10 && bit < 16));
                if (!reserved)
                    CHECK(ppc::verify_access(changed.words.data(), arena_ea, changed.restart, original) !=
                          ppc::Flaw::none);
            }
        }
        for (unsigned number = 0; number < 4; ++number) {
            ppc::Stub changed = stub;
            changed.restart.access[number] ^= 1;
            CHECK(ppc::verify_access(changed.words.data(), arena_ea, changed.restart, original) != ppc::Flaw::none);
        }
        for (const int by : {-1, 1}) {
            ppc::Stub changed = stub;
            changed.restart.commit = static_cast<std::uint8_t>(changed.restart.commit + by);
            CHECK(ppc::verify_access(changed.words.data(), arena_ea, changed.restart, original) != ppc::Flaw::none);
        }
    }
}

} // namespace untrap::tests::ppc440
