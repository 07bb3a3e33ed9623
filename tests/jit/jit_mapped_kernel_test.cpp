// SPDX-License-Identifier: GPL-2.0-only
// Mapped code of a process under a kernel of the guest, in the run loop: misses are answered by the kernel's handler,
// which generated code mostly goes to and comes back from without being left.
#include "mapped_guest.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::Interrupt;
using isa::Op;
using mmu::TlbEntry;

constexpr std::uint32_t kernel_base = 0xC0000000, device_base = 0xD0000000;
constexpr std::uint32_t kernel_offset = 0x10000; // in the memory that holds code
constexpr unsigned device_index = 62, kernel_index = 63, process_entries = 60;

// Answers each miss with the next one of its entries, and tells a device what a system call has in r7.
class Kernel {
  public:
    explicit Kernel(unsigned levels) {
        guest.pair.both([&](Machine& machine) {
            machine.patches().configure(levels, 4);
            machine.host().vcpu = &machine.vcpu();
            machine.host().stop_after = 10'000'000; // it is lost
        });
        guest.map(kernel_index, kernel_base, Layout::code + kernel_offset, TlbEntry::sr | TlbEntry::sx,
                  MappedGuest::size_64k);
        guest.map(device_index, device_base, Layout::hole, TlbEntry::sr | TlbEntry::sw);
        put(Interrupt::system_call, {immediate(Op::stw, 7, 25, 0), match(Op::rfi)});
        const auto write = [](unsigned gpr, unsigned ws) {
            return match(Op::tlbwe) | field_rt(gpr) | field_ra(22) | field_rb(ws);
        };
        put(Interrupt::data_tlb_error,
            {match(Op::mfspr) | field_rt(20) | field_spr(isa::spr::dear), rotate_and_mask(21, 20, 0, 0, 19),
             immediate(Op::ori, 21, 21, TlbEntry::valid_bit | MappedGuest::size_4k << 4), write(21, 0),
             // One of the frames of the data.
             rotate_and_mask(21, 20, 0, 14, 19), write(21, 1), immediate(Op::addi, 21, 0, MappedGuest::rw),
             write(21, 2), immediate(Op::addi, 22, 22, 1), immediate(Op::cmpi, 0, 22, process_entries + 1),
             match(Op::bc) | 4U << 21 | 2U << 16 | 8, immediate(Op::addi, 22, 0, 1), match(Op::rfi)});
        // Again and again over r3 pages from r8 on.
        std::vector<std::uint32_t> process{immediate(Op::addi, 4, 8, 0)};
        for (const std::uint32_t word : sum_of_pages()) process.push_back(word);
        process.push_back(match(Op::b) |
                          (static_cast<std::uint32_t>(-4 * static_cast<int>(process.size())) & 0x03FFFFFC));
        guest.put(process);
    }

    void start(unsigned pages) {
        guest.start({{3, pages}, {7, 0}, {8, MappedGuest::data_base}, {22, 1}, {25, device_base}});
        guest.pair.both([](Machine& machine) {
            machine.state().ivpr = kernel_base;
            for (unsigned which = 0; which < isa::interrupt_count; ++which) machine.state().ivor[which] = which * 0x100;
        });
    }
    // To the next system call.
    void pass() {
        guest.pair.both([](Machine& machine) {
            runtime::Vcpu& vcpu = machine.vcpu();
            REQUIRE(vcpu.run() == runtime::RunExit::mmio);
            REQUIRE(vcpu.mmio().real == Layout::hole);
            CHECK(vcpu.mmio().value == machine.state().gpr[7]);
            vcpu.complete_mmio(0);
        });
        Machine &reference = guest.pair.reference, &jit = guest.pair.jit;
        CHECK(state_difference(reference.state(), jit.state()).empty());
        CHECK(memory_difference(reference, jit).empty());
        CHECK(tlb_difference(reference, jit).empty());
    }

    MappedGuest guest;

  private:
    void put(Interrupt which, const std::vector<std::uint32_t>& words) {
        REQUIRE(words.size() <= 64);
        guest.put(words, kernel_offset + static_cast<std::uint32_t>(which) * 0x100);
    }
};

} // namespace

TEST_CASE("a process's pages stay mapped as long as its kernel's TLB entries", "[mapped]") {
    for (const unsigned levels : {0U, 30U}) { // without patches and with all
        INFO("levels " << levels);
        constexpr unsigned pages = 30;
        Kernel kernel(levels);
        kernel.start(pages);
        kernel.pass();
        const std::uint64_t first = kernel.guest.faults();
        CHECK(first >= pages);
        CHECK(first <= 2 * pages);
        for (int times = 0; times < 20; ++times) kernel.pass();
        CHECK(kernel.guest.faults() == first);
    }
}

TEST_CASE("a process that its kernel answers misses for all the time is mapped no more", "[mapped]") {
    for (const unsigned levels : {0U, 30U}) {
        INFO("levels " << levels);
        constexpr unsigned pages = process_entries + 30;
        Kernel kernel(levels);
        kernel.start(pages);
        for (int times = 0; times < 20; ++times) kernel.pass();
        CHECK(kernel.guest.faults() >= mmu::GuestTlb::entry_count);
        CHECK(kernel.guest.faults() <= mmu::GuestTlb::entry_count + 8);
        CHECK(kernel.guest.pair.jit.vcpu().exits.total >= 20 * pages);
    }
}
