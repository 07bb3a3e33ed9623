// SPDX-License-Identifier: GPL-2.0-only
#include "model_cpu.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>

#include "machine.h"
#include "model_tables.h"
#include "tests/jit/machine.h"
#include "translator/isa/table.h"

namespace untrap::tests::native {

using isa::Interrupt;
using mmu::TlbEntry;
using runtime::native::World;
namespace msr = isa::msr;

namespace {

ModelCpu* the_cpu = nullptr;

std::string describe(unsigned index, const TlbEntry& entry) {
    char line[160];
    std::snprintf(line, sizeof line, "%2u: ea %08x shift %2u ts %u tid %02x -> %09llx attr %04x\n", index, entry.epn(),
                  entry.page_shift(), entry.ts(), entry.tid, static_cast<unsigned long long>(entry.rpn()), entry.word2);
    return line;
}

bool overlap(const TlbEntry& a, const TlbEntry& b) {
    if (!a.valid() || !b.valid() || a.page_shift() == 0 || b.page_shift() == 0) return false;
    if (a.ts() != b.ts() || (a.tid != b.tid && a.tid != 0 && b.tid != 0)) return false;
    const std::uint32_t common = a.page_mask() & b.page_mask();
    return ((a.word0 ^ b.word0) & 0xFFFFFC00 & common) == 0;
}

} // namespace

ModelCpu& ModelCpu::current() {
    if (the_cpu == nullptr) std::abort();
    return *the_cpu;
}

ModelCpu::ModelCpu(Random& random_in, unsigned pinned) : random(random_in), pinned_from(pinned) {
    REQUIRE(the_cpu == nullptr);
    the_cpu = this;
    for (unsigned index = pinned_from; index < entry_count; ++index)
        tlb_[index].words = {.word0 = 0xC0000000 + ((index - pinned_from) << 28) + (TlbEntry::valid_bit | 0x90),
                             .word1 = (index - pinned_from) << 28,
                             .word2 = TlbEntry::sx | TlbEntry::sw | TlbEntry::sr};
    for (unsigned index = 0; index < pinned_from; ++index) host_takes(index);
}

ModelCpu::~ModelCpu() { the_cpu = nullptr; }

void ModelCpu::remove(Machine& machine) { machines_.erase(&machine); }

void ModelCpu::violation(const std::string& what) {
    std::string text = "seed " + std::to_string(test_seed()) + ": " + what + "\n";
    for (unsigned index = 0; index < pinned_from; ++index)
        if (tlb_[index].words.valid() && tlb_[index].words.ts() != 0) text += describe(index, tlb_[index].words);
    if (running_ != nullptr) {
        text += "-- guest\n" + tests::describe(running_->state()) + "-- its TLB\n" +
                tests::describe(running_->vcpu().tlb) +
                listing(*running_, running_->state().pc - 32, 16, running_->state().pc);
        text += "-- on the CPU\n" + tests::describe(hardware_);
    }
    // Not through FAIL, which would wrap the lines.
    std::fputs(text.c_str(), stderr);
    FAIL(what);
    std::abort(); // not reached: FAIL throws
}

// -- the host --------------------------------------------------------------------------------------------------------

void ModelCpu::expect_interrupts(bool on, const char* where) {
    if (interrupts_on_ != on) violation(std::string(where) + (on ? ": interrupts are off" : ": interrupts are on"));
}

void ModelCpu::fpu_permission(bool given) {
    expect_interrupts(false, "taking the FPU");
    if (fpu_permitted_ == given) violation("the FPU was taken twice");
    fpu_permitted_ = given;
}

void ModelCpu::host_takes(unsigned index) {
    TlbEntry entry;
    entry.word0 = (random.word() & 0x7FFFF000) | TlbEntry::valid_bit | 0x10;
    entry.word1 = random.word() & 0xFFFFF00F;
    entry.word2 = random.word() & 0x3F;
    entry.tid = static_cast<std::uint8_t>(random.word());
    tlb_[index] = {entry, 0};
}

void ModelCpu::drop_all() {
    for (unsigned index = 0; index < pinned_from; ++index) tlb_[index] = {};
}

void ModelCpu::host_runs() {
    expect_interrupts(true, "host code");
    if (fpu_of_guest_) violation("host code runs while the FPU holds a guest's registers");
    if (running_ != nullptr) violation("host code runs inside the world switch");
    for (auto& fpr : fpr_) fpr = random.next();
    fpscr_ = random.word();
    usprg0_ = random.word();
    if (!random.chance(host_percent)) return;
    if (random.chance(10)) drop_all();
    for (unsigned count = random.between(1, 8); count != 0; --count) {
        host_takes(host_next_);
        host_next_ = (host_next_ + 1) % pinned_from;
    }
}

// -- hardware.h ------------------------------------------------------------------------------------------------------

// What holds for a guest's entry at any time.
void ModelCpu::check_entry(const TlbEntry& entry, unsigned index) {
    const auto wrong = [&](const char* what) { violation(std::string(what) + ": " + describe(index, entry)); };
    if (!entry.valid() || entry.page_shift() == 0) wrong("an entry that maps nothing");
    if (entry.ts() == 0) wrong("a guest's entry in the host's address space");
    if (entry.tid == 0) wrong("a guest's entry that every process matches");
    if ((entry.word0 & 0xFFFFFC00 & ~entry.page_mask()) != 0 || (entry.word1 & 0xFFFFFC00 & ~entry.page_mask()) != 0)
        wrong("an entry that is not aligned to its size");
    if ((entry.word0 & 0xF) != 0 || (entry.word1 & 0x3F0) != 0) wrong("an entry with bits that are reserved");
    if ((entry.word2 & (TlbEntry::sx | TlbEntry::sw)) != 0) wrong("an entry that supervisor code can run or write");
    if (machines_.empty()) return;

    const HostMemory::Block* block = memory.find(entry.rpn());
    if (block != nullptr && block->slot >= HostMemory::own_slot) {
        if (block->shift < entry.page_shift()) wrong("an entry that maps more than a block of the host's own");
        const bool page = entry.rpn() - HostMemory::window < 0x10000000;
        if (page ? (entry.word2 & 0x3F) != (TlbEntry::ur | TlbEntry::uw) || entry.word0 >> 10 != 0xFFFFF000 >> 10
                 : (entry.word2 & 0x3F) != (TlbEntry::ux | TlbEntry::sr))
            wrong("patched code or a state page with other permissions than theirs");
        return;
    }
    if ((entry.word2 & TlbEntry::sr) == 0) wrong("an entry through which the instruction that traps cannot be read");
    if (block == nullptr || block->shift < entry.page_shift()) wrong("an entry that maps memory of no guest");
    const auto owner = std::find_if(machines_.begin(), machines_.end(),
                                    [&](const Machine* machine) { return machine->vm() == block->vm; });
    if (owner == machines_.end()) wrong("an entry that maps memory of a guest that is gone");
    const runtime::Memslot& slot = (*owner)->vcpu().memory.slot(block->slot);
    const std::uint64_t offset = block->guest_real + (entry.rpn() - block->real) - slot.base;
    if (offset >= slot.size) wrong("an entry that maps a slot that is gone");
    if ((entry.word2 & TlbEntry::uw) == 0) return;
    if (slot.read_only) wrong("an entry that allows stores to a read-only slot");
    if (slot.dirty == nullptr) return;
    if (entry.page_shift() > 12) wrong("an entry for stores of more than a page of a logged slot");
    const auto page = static_cast<std::size_t>(offset >> 12);
    if ((slot.dirty[page / 32] >> (page & 31) & 1) == 0) wrong("an entry that allows stores to a clean page");
}

void ModelCpu::write_tlb(unsigned index, std::uint32_t word0, std::uint32_t word1, std::uint32_t word2, unsigned pid) {
    expect_interrupts(false, "writing the TLB");
    if (index >= pinned_from) violation("one of the host's pinned entries was written");
    if (pid > 0xFF) violation("a PID that is none");
    const TlbEntry entry{word0, word1, word2, static_cast<std::uint8_t>(pid)};
    unsigned process = 0;
    check_entry(entry, index);
    for (unsigned other = 0; other < entry_count; ++other)
        if (other != index && overlap(entry, tlb_[other].words))
            violation("two entries for the same address in the same context:\n" + describe(index, entry) +
                      describe(other, tlb_[other].words));
    if (!machines_.empty()) {
        if (running_ == nullptr) violation("a mapping is made while no guest runs");
        if (memory.find(entry.rpn())->vm != running_->vm()) violation("a guest is given another one's memory");
        if (pid != running_->world().shadow_pid) violation("a mapping for another context than the current one");
        meaning_ = meaning_of(*running_, running_->world());
        const isa::StatePage& page = running_->state().page;
        const int from = running_->vcpu().tlb.search(entry.epn(), (page.msr & msr::is) != 0 ? 1 : 0, page.pid & 0xFF);
        if (from >= 0) process = running_->vcpu().tlb.entry(static_cast<unsigned>(from)).tid;
        if (memory.find(entry.rpn())->slot >= HostMemory::own_slot && (meaning_ & 3) != 0)
            violation("a context that is no kernel's sees patched code or a state page");
    }
    tlb_[index] = {entry, meaning_, process};
    ++writes;
}

// The one entry that a compiled handler's return writes: for the context that comes next.
void ModelCpu::write_tlb_in_switch(Machine& machine, World& world, const runtime::native::ShadowTlb::Mapping& mapping,
                                   unsigned slot) {
    // By the rules for any other, in the context that the guest goes on in.
    const std::uint32_t before = world.shadow_pid, msr_before = machine.state().page.msr;
    world.shadow_pid = mapping.pid;
    machine.state().page.msr = machine.state().page.srr1;
    write_tlb(slot, mapping.word0, mapping.word1, mapping.word2, mapping.pid);
    machine.state().page.msr = msr_before;
    world.shadow_pid = before;
}

mmu::TlbEntry ModelCpu::read_tlb(unsigned index) {
    expect_interrupts(false, "reading the TLB");
    if (index >= entry_count) violation("a TLB entry that is none was read");
    mmu::TlbEntry words = tlb_[index].words;
    words.word2 = 0;
    return words;
}

void ModelCpu::invalidate_tlb(unsigned index) {
    expect_interrupts(false, "writing the TLB");
    if (index >= pinned_from) violation("one of the host's pinned entries was invalidated");
    if (tlb_[index].words.valid() && tlb_[index].words.ts() == 0) violation("an entry of the host was invalidated");
    tlb_[index] = {};
}

void ModelCpu::invalidate_instruction_cache() {
    cached_for_ = {};
    ++instruction_cache_invalidations;
}

std::uint32_t ModelCpu::irq_save() {
    const bool before = interrupts_on_;
    interrupts_on_ = false;
    return before ? msr::ee : 0;
}

void ModelCpu::irq_restore(std::uint32_t saved) {
    if (saved == 0) return;
    interrupts_on_ = true;
    host_runs();
}

void ModelCpu::load_user_registers(std::uint32_t usprg0) {
    expect_interrupts(false, "loading USPRG0");
    usprg0_ = usprg0;
}

std::uint32_t ModelCpu::read_usprg0() { return usprg0_; }

void ModelCpu::load_fpu(const std::uint64_t* fpr, std::uint32_t fpscr) {
    expect_interrupts(false, "loading the FPU");
    if (!fpu_permitted_) violation("the FPU is loaded without having been taken");
    std::copy_n(fpr, fpr_.size(), fpr_.begin());
    fpscr_ = fpscr;
    fpu_of_guest_ = true;
}

void ModelCpu::store_fpu(std::uint64_t* fpr, std::uint32_t& fpscr) {
    expect_interrupts(false, "storing the FPU");
    if (!fpu_of_guest_) violation("the FPU is stored though it does not hold the guest's registers");
    std::copy(fpr_.begin(), fpr_.end(), fpr);
    fpscr = fpscr_;
    fpu_of_guest_ = false;
}

unsigned ModelCpu::guest_entries() const {
    return static_cast<unsigned>(std::count_if(
        tlb_.begin(), tlb_.end(), [](const Entry& entry) { return entry.words.valid() && entry.words.ts() != 0; }));
}

void ModelCpu::enter_guest(World& world) {
    const auto found =
        std::find_if(machines_.begin(), machines_.end(), [&](Machine* machine) { return &machine->world() == &world; });
    if (found == machines_.end()) violation("a guest that is none is entered");
    Machine& machine = **found;
    if (running_ != nullptr) violation("a guest is entered inside another one");
    running_ = &machine;
    data_handler = reinterpret_cast<const std::uint32_t*>(std::uintptr_t{world.data_handler});
    Left left{};
    do {
        for (;;) {
            check_before_guest(machine, world);
            load_guest(machine, world);
            left = run_guest(machine, world);
            store_guest(machine, world);
            // Interrupted for ever it would be the host's fault.
            const bool host = left.vector == Interrupt::external_input || left.vector == Interrupt::decrementer;
            stuck_ = machine.state().pc == stuck_at_ && hardware_.retired == 0 && !host ? stuck_ + 1 : 0;
            stuck_at_ = machine.state().pc;
            if (stuck_ > 2000)
                violation("a guest gets nowhere, by interrupt " + std::to_string(static_cast<unsigned>(left.vector)) +
                          " for " + std::to_string(left.dear));
            if (left.vector == Interrupt::program)
                left.word = word_of_instruction(machine.state().pc, world.shadow_pid);
            const std::uint64_t left_before = handlers_left;
            if (!assembly_paths || !assembly_path(machine, world, left)) {
                if (handlers_left != left_before) left = {static_cast<Interrupt>(HANDLER_LEFT)};
                break;
            }
            ++assembly_exits;
        }
        ++exits;
        // Registers that this interrupt does not set keep what the host left in them.
        world.vector = static_cast<std::uint32_t>(left.vector);
        world.esr = left.sets_esr ? left.esr : random.word();
        world.dear = left.sets_dear ? left.dear : random.word();
        if (left.vector == Interrupt::program) world.word = left.word;
    } while (machine.native().exit(world.vector));
    expect_interrupts(false, "leaving the guest");
    running_ = nullptr;
}

} // namespace untrap::tests::native
