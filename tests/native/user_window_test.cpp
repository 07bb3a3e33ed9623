// SPDX-License-Identifier: GPL-2.0-only
// A patched kernel's hot single accesses to processes' memory, which are made through windows: that they cost no exit,
// and reach nothing but what the guest's own TLB allows.
#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "comparison.h"
#include "tests/runtime/guest.h"
#include "translator/isa/spr.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using code::Word;
using mmu::TlbEntry;
using native::Comparison;
using native::Machine;
using runtime::ExitReason;
using runtime::RunExit;

constexpr std::uint32_t origin = Comparison::origin, page = 0x80000000, kernel_page = 0x3000;
constexpr std::uint64_t real = 0x40000;
constexpr unsigned process = 3, other_process = 4, rounds = 100;
constexpr unsigned data_miss = static_cast<unsigned>(isa::Interrupt::data_tlb_error);
constexpr unsigned data_storage = static_cast<unsigned>(isa::Interrupt::data_storage);
const Word opens = code::mtspr(isa::spr::pid, 10), closes = code::mtspr(isa::spr::pid, 11);
const Word opens_other = code::mtspr(isa::spr::pid, 12);

class Kernel {
  public:
    explicit Kernel(unsigned host_percent = 0) : random_(seeded_random(61)), guest_(random_) {
        guest_.cpu.interrupt_interval = 0;
        guest_.cpu.host_percent = host_percent;
        guest_.native->set_level(3, 1);
        guest_.start(Comparison::first_state());
        map(5, page, real, process);
        guest_.both([](Machine& machine) {
            for (unsigned word = 0; word < 0x1000; ++word) machine.put(real + 4 * word, 0x01010101 * word);
        });
    }
    void map(unsigned index, std::uint32_t ea, std::uint64_t to, unsigned tid,
             std::uint32_t allowed = TlbEntry::sr | TlbEntry::sw) {
        guest_.both([&](Machine& machine) { machine.map(index, ea, to, 1, allowed, tid); });
    }
    void unmap(unsigned index) {
        guest_.both([&](Machine& machine) {
            const TlbEntry before = machine.vcpu().tlb.entry(index);
            machine.vcpu().tlb.write_word(index, 0, 0, 0);
            machine.engine().tlb_entry_changed(index, before);
        });
    }
    void set_code(std::vector<Word> body) {
        body.push_back(code::bdnz(-4 * static_cast<std::int32_t>(body.size())));
        body.push_back(code::mtdcr(Comparison::dcr_done, 0));
        guest_.put_code(origin, body);
    }
    // The number of the exit that ends it.
    unsigned run(unsigned count = rounds, std::uint32_t address = page) {
        guest_.both([&](Machine& machine) {
            isa::CpuState& state = machine.state();
            machine.vcpu().abandon_instruction();
            state.pc = origin;
            state.page.msr = isa::msr::me;
            state.page.pid = 0;
            state.ctr = count;
            state.gpr[4] = address;
            state.gpr[5] = 0x11223344;
            state.gpr[6] = kernel_page;
            state.gpr[10] = process;
            state.gpr[11] = 0;
            state.gpr[12] = other_process;
            machine.stop_after = machine.progress() + 100000;
        });
        REQUIRE(guest_.interpreted->vcpu().run() == RunExit::dcr);
        REQUIRE(guest_.native->vcpu().run() == RunExit::dcr);
        REQUIRE(difference(*guest_.interpreted, *guest_.native) == "");
        const unsigned number = guest_.native->vcpu().dcr().number;
        REQUIRE(guest_.interpreted->vcpu().dcr().number == number);
        guest_.both([](Machine& machine) { machine.vcpu().complete_dcr(0); });
        return number;
    }
    // Hot, patched and in windows.
    void warm_up(const std::vector<Word>& body) {
        set_code(body);
        for (unsigned time = 0; time < 3; ++time) REQUIRE(run() == Comparison::dcr_done);
        REQUIRE(exits_of_another_run() == 0);
        REQUIRE(windows() != 0);
    }
    std::uint64_t exits_of_another_run(unsigned count = rounds) {
        const std::uint64_t before = guest_.native->exits(ExitReason::dtlb_virt);
        REQUIRE(run(count) == Comparison::dcr_done);
        return guest_.native->exits(ExitReason::dtlb_virt) - before;
    }
    // Windows that have tags.
    unsigned windows() {
        unsigned count = 0;
        for (const auto& hint : native().state().user_window) count += hint[0] != 0 ? 1 : 0;
        return count;
    }
    Machine& native() { return *guest_.native; }
    Comparison& guest() { return guest_; }

  private:
    Random random_;
    Comparison guest_;
};

} // namespace

TEST_CASE("hot single accesses to a process's memory cost no exit", "[window]") {
    for (const Word access :
         {code::lwz(7, 4, 0), code::lwz(7, 4, 8), code::lwz(4, 4, 0), code::stw(5, 4, 12), code::stb(5, 4, 3),
          code::lbz(7, 4, 5), code::lwbrx(7, 0, 4), code::x_form(5, 0, 4, 662), code::x_form(7, 11, 4, 23)}) {
        Kernel kernel;
        kernel.warm_up({code::d_form(15, 4, 0, page >> 16), opens, access, closes});
    }
}

TEST_CASE("two processes with the same addresses have windows of their own", "[window]") {
    {
        Kernel kernel;
        kernel.map(6, page, real + 0x1000, other_process);
        kernel.warm_up({opens, code::lwz(7, 4, 0), code::stw(7, 4, 0x400), closes, code::nop, opens_other,
                        code::lwz(8, 4, 0x800), code::stw(8, 4, 0x100), closes});
        CHECK(kernel.native().state().gpr[7] != kernel.native().state().gpr[8]);
    }
    // The same site for both.
    Kernel shared;
    shared.map(6, page, real + 0x1000, other_process);
    shared.warm_up({opens, code::lwz(7, 4, 0), closes, code::ori(3, 10, 0), code::ori(10, 12, 0), code::ori(12, 3, 0)});
}

TEST_CASE("a window goes with its guest TLB entry", "[window]") {
    const std::vector<Word> body = {opens, code::lwz(7, 4, 4), closes};
    {
        Kernel kernel;
        kernel.warm_up(body);
        kernel.map(5, page, real + 0x2000, process); // another page there
        CHECK(kernel.run() == Comparison::dcr_done);
        CHECK(kernel.native().state().gpr[7] == kernel.native().word(real + 0x2004));
    }
    {
        Kernel kernel;
        kernel.warm_up(body);
        kernel.unmap(5);
        CHECK(kernel.run() == Comparison::dcr_handler + data_miss);
        CHECK(kernel.native().state().page.dear == page + 4);
        CHECK(kernel.native().state().page.srr0 == origin + 4);
        CHECK(kernel.native().state().page.pid == process);
    }
    {
        Kernel kernel;
        kernel.warm_up(body);
        kernel.map(5, page, real, other_process);
        CHECK(kernel.run() == Comparison::dcr_handler + data_miss);
    }
}

TEST_CASE("a process's memory is closed although a window has it", "[window]") {
    // The same stub with PID 0: by CTR, at the last time.
    Kernel kernel;
    kernel.warm_up({opens, code::lwz(7, 4, 0), closes, code::x_form(10, 10, 13, 266)});
    kernel.guest().both([](Machine& machine) { machine.state().gpr[13] = static_cast<std::uint32_t>(-1); });
    CHECK(kernel.run() == Comparison::dcr_handler + data_miss);
    CHECK(kernel.native().state().page.dear == page);
    CHECK(kernel.native().state().page.srr0 == origin + 4);
    CHECK(kernel.native().state().page.pid == process - 1);
}

TEST_CASE("a window allows no store that the guest's entry does not", "[window]") {
    {
        Kernel stores;
        stores.warm_up({opens, code::stw(5, 4, 8), closes});
        stores.map(5, page, real, process, TlbEntry::sr);
        CHECK(stores.run() == Comparison::dcr_handler + data_storage);
        CHECK(stores.native().state().page.dear == page + 8);
        CHECK(stores.native().state().page.esr == isa::esr::st);
        CHECK(stores.native().state().page.srr0 == origin + 4);
    }
    // A page that a load has in a window, and a store whose stub finds it there.
    Kernel both;
    both.map(6, page + 0x4000, real + 0x1000, process);
    both.warm_up({opens, code::lwz(7, 4, 0), code::x_form(14, 4, 13, 266), code::stw(7, 14, 0x400), closes});
    both.map(5, page, real, process, TlbEntry::sr);
    both.guest().both([](Machine& machine) { machine.state().gpr[13] = 0x4000; });
    REQUIRE(both.exits_of_another_run() != 0);
    REQUIRE(both.run() == Comparison::dcr_done);
    REQUIRE(both.exits_of_another_run() == 0);
    both.guest().both([](Machine& machine) { machine.state().gpr[13] = 0; });
    CHECK(both.run() == Comparison::dcr_handler + data_storage);
    CHECK(both.native().state().page.dear == page + 0x400);
}

TEST_CASE("an access over the end of a windowed page", "[window]") {
    Kernel kernel;
    kernel.warm_up({opens, code::lwz(7, 4, 0), closes});
    CHECK(kernel.run(1, page + 0xFFE) == Comparison::dcr_handler + data_miss);
    CHECK(kernel.native().state().page.dear == page + 0x1000);
    kernel.map(6, page + 0x1000, real + 0x2000, process);
    CHECK(kernel.run(5, page + 0xFFE) == Comparison::dcr_done);
    CHECK(kernel.run(rounds, page + 0xFFE) == Comparison::dcr_done);
    CHECK(kernel.run(rounds) == Comparison::dcr_done);
}

TEST_CASE("the log of dirty pages has what windows were used for", "[window]") {
    Kernel kernel;
    kernel.warm_up({opens, code::stw(5, 4, 8), closes});
    kernel.guest().both([](Machine& machine) { machine.log_slot(Comparison::slot, true); });
    CHECK(kernel.run() == Comparison::dcr_done);
    const auto wanted = kernel.guest().interpreted->take_log(Comparison::slot);
    CHECK(kernel.native().take_log(Comparison::slot) == wanted);
    CHECK((wanted[real >> 17] >> (real >> 12 & 31) & 1) == 1);
    CHECK(kernel.run() == Comparison::dcr_done);
    CHECK(kernel.native().take_log(Comparison::slot) == kernel.guest().interpreted->take_log(Comparison::slot));
}

TEST_CASE("memory with patched code has no window", "[window]") {
    {
        Kernel kernel;
        // The process maps the kernel's own code.
        kernel.map(6, page + 0x1000, origin & ~0xFFFU, process);
        kernel.warm_up({opens, code::stw(5, 4, 12), closes});
        kernel.run(rounds, page + 0x1000 + 0xF00);
        kernel.run(rounds, page + 0x1000 + 0xF00);
        CHECK(kernel.native().word((origin & ~0xFFFU) + 0xF0C) == 0x11223344);
        CHECK(kernel.run() == Comparison::dcr_done);
    }
    // A page in a window gets code that is patched.
    Kernel second;
    second.warm_up({opens, code::stw(5, 4, 12), closes});
    second.guest().both([](Machine& machine) {
        machine.put(real, code::mfspr(3, isa::spr::srr0));
        machine.put(real + 4, code::bdnz(-4));
        machine.put(real + 8, code::mtdcr(Comparison::dcr_done, 0));
        machine.engine().memory_written(real, 12);
        machine.vcpu().abandon_instruction();
        machine.state().pc = real;
        machine.state().page.msr = isa::msr::me;
        machine.state().ctr = rounds;
        machine.stop_after = machine.progress() + 100000;
    });
    REQUIRE(second.guest().interpreted->vcpu().run() == RunExit::dcr);
    REQUIRE(second.native().vcpu().run() == RunExit::dcr);
    second.guest().both([](Machine& machine) { machine.vcpu().complete_dcr(0); });
    CHECK(second.run() == Comparison::dcr_done);
}

TEST_CASE("hints that the guest has changed lead to nothing but its own memory", "[window]") {
    Random random = seeded_random(62);
    for (unsigned round = 0; round < 60; ++round) {
        Kernel kernel(round % 3 == 0 ? 30 : 0);
        kernel.map(6, page, real + 0x1000, other_process);
        kernel.set_code({opens, code::lwz(7, 4, 0), closes, code::nop, opens_other, code::lwz(8, 4, 0), closes});
        for (unsigned time = 0; time < 3; ++time) REQUIRE(kernel.run() == Comparison::dcr_done);
        isa::CpuState& state = kernel.native().state();
        const std::uint32_t window = kernel.native().world().arena + runtime::native::Patching::arena_bytes;
        for (auto& hint : state.user_window) {
            // The right page, and what some window or any address is away from it.
            hint[0] = page | (random.chance(50) ? process : other_process);
            hint[1] = (random.chance(80) ? window + (random.below(64) << 13) : random.word() & ~0xFFFU) - page;
        }
        if (random.chance(30)) kernel.unmap(5);
        kernel.guest().both([&](Machine& machine) {
            machine.vcpu().abandon_instruction();
            machine.state().pc = origin;
            machine.state().page.msr = isa::msr::me;
            machine.state().page.pid = 0;
            machine.state().ctr = rounds;
            machine.state().gpr[4] = page;
            machine.stop_after = machine.progress() + 100000;
        });
        // The guest has itself to blame for what it gets: the model looks at whose it is.
        kernel.native().vcpu().run();
    }
}

TEST_CASE("a guest mapping over the windows takes them out", "[window]") {
    Kernel kernel;
    kernel.warm_up({opens, code::lwz(7, 4, 0), closes});
    const std::uint32_t window = kernel.native().world().arena + runtime::native::Patching::arena_bytes;
    REQUIRE(kernel.native().native().is_window(window));
    kernel.map(7, window + 0x2000, real + 0x3000, 0);
    CHECK(kernel.windows() == 0);
    CHECK_FALSE(kernel.native().native().is_window(window));
    CHECK(kernel.run() == Comparison::dcr_done);
    CHECK(kernel.run(rounds, window + 0x2000) == Comparison::dcr_done);
    CHECK(kernel.native().state().gpr[7] == kernel.native().word(real + 0x3000));
}

TEST_CASE("the guest's own access to a window's address finds nothing to run", "[window]") {
    Kernel kernel;
    kernel.warm_up({opens, code::lwz(7, 4, 0), closes});
    const std::uint32_t window = kernel.native().world().arena + runtime::native::Patching::arena_bytes;
    kernel.set_code({code::mtspr(8, 4), 0x4E800020});
    CHECK(kernel.run(1, window) ==
          Comparison::dcr_handler + static_cast<unsigned>(isa::Interrupt::instruction_tlb_error));
}

TEST_CASE("windows on a host that takes TLB entries and interrupts", "[window]") {
    Kernel kernel(20);
    kernel.guest().cpu.interrupt_interval = 40;
    kernel.map(6, page, real + 0x1000, other_process);
    kernel.map(7, page + 0x4000, real + 0x2000, process);
    kernel.set_code({opens, code::lwz(7, 4, 0), code::lbz(8, 4, 0x4001), code::stw(7, 4, 0x4008), closes,
                     code::lwz(9, 6, 0), opens_other, code::lwz(8, 4, 0), code::stw(8, 4, 4), closes});
    for (unsigned time = 0; time < 20; ++time) CHECK(kernel.run() == Comparison::dcr_done);
}

TEST_CASE("a site that finds no window is patched no more", "[window]") {
    Kernel kernel;
    kernel.warm_up({opens, code::lwz(7, 4, 0), closes});
    const std::uint32_t before = kernel.native().native().stubs();
    kernel.guest().both([](Machine& machine) { machine.log_slot(Comparison::slot, true); });
    for (unsigned time = 0; time < 3; ++time) CHECK(kernel.run() == Comparison::dcr_done);
    CHECK(kernel.native().native().stubs() == before - 1);
}
