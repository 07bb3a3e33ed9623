// SPDX-License-Identifier: GPL-2.0-only
#include "model_cpu.h"

#include <algorithm>
#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "machine.h"
#include "runtime/byte_order.h"
#include "runtime/native/handler_return.h"
#include "runtime/native/hardware.h"
#include "tests/jit/machine.h"
#include "translator/interp/interpreter.h"
#include "translator/isa/table.h"

namespace untrap::tests::native {

using isa::Interrupt;
using isa::TrapKind;
using mmu::Access;
using mmu::TlbEntry;
using runtime::native::ShadowContexts;
using runtime::native::World;
namespace esr = isa::esr;
namespace msr = isa::msr;

namespace {

ModelCpu* the_cpu = nullptr;

// What tells contexts apart on the whole machine; never 0.
std::uint64_t meaning_of(Machine& machine, const World& world) {
    const isa::StatePage& page = machine.state().page;
    const std::uint32_t guest = page.msr;
    std::uint16_t key = ShadowContexts::key(page.pid, (guest & msr::is) != 0, (guest & msr::pr) != 0);
    if (world.kernel_pids == 0 && (key & 3) == 0) key = 0; // a kernel with one context for all PIDs
    return std::uint64_t{machine.vm()} << 16 | key;
}

std::string describe(unsigned index, const TlbEntry& entry) {
    char line[160];
    std::snprintf(line, sizeof line, "%2u: ea %08x shift %2u ts %u tid %02x -> %09llx attr %04x\n", index, entry.epn(),
                  entry.page_shift(), entry.ts(), entry.tid, static_cast<unsigned long long>(entry.rpn()), entry.word2);
    return line;
}

// What struct World gives the assembly the address of: machines lie in the lowest 4 GB.
template <typename T>
const T* table_at(std::uint32_t address) {
    return reinterpret_cast<const T*>(std::uintptr_t{address});
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

std::uint32_t ModelCpu::read_tlb(unsigned index, unsigned& pid) {
    expect_interrupts(false, "reading the TLB");
    if (index >= entry_count) violation("a TLB entry that is none was read");
    pid = tlb_[index].words.tid;
    return tlb_[index].words.word0;
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

// -- the guest's storage ---------------------------------------------------------------------------------------------

int ModelCpu::search(std::uint32_t ea, unsigned pid) {
    int found = -1;
    for (unsigned index = 0; index < entry_count; ++index) {
        if (!tlb_[index].words.matches(ea, 1, pid)) continue;
        if (found >= 0) violation("a machine check: two TLB entries match an address");
        found = static_cast<int>(index);
    }
    return found;
}

// State page and stubs are made of this host's own words.
bool ModelCpu::is_in_host_order(std::uint32_t ea, const TlbEntry& entry) const {
    const HostMemory::Block* block = memory.find(entry.rpn());
    if (std::endian::native != std::endian::little || block == nullptr || block->slot < HostMemory::own_slot)
        return false;
    const World& world = running_->world();
    return block->slot == HostMemory::own_slot || ea - world.arena < world.arena_bytes;
}

// Whether the guest's TLB gives it this memory. Where several of its entries match, which a guest must not have, the
// manual leaves open which of them counts: a PID that patched code writes does not change what is mapped.
bool ModelCpu::guest_allows(std::uint32_t ea, Access access, const std::uint8_t* host, bool little_endian) {
    runtime::Vcpu& vcpu = running_->vcpu();
    const isa::StatePage& page = vcpu.state.page;
    std::uint32_t pid = page.pid & 0xFF;
    if (running_->native().is_window(ea)) { // what it was made for counts, whatever the guest makes of its hints
        const std::uint32_t tag = running_->native().window_tag(ea);
        if (access == Access::fetch) return false;
        ea = (tag & ~0xFFFU) | (ea & 0xFFF);
        pid = tag & 0xFF;
    }
    const unsigned space = (page.msr & (access == Access::fetch ? msr::is : msr::ds)) != 0 ? 1 : 0;
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index) {
        const TlbEntry& entry = vcpu.tlb.entry(index);
        if (!entry.valid() || entry.page_shift() == 0 || entry.ts() != space) continue;
        if ((entry.tid != 0 && entry.tid != pid) || ((entry.word0 ^ ea) & entry.page_mask() & ~0x3FFU) != 0) continue;
        if (entry.little_endian() != little_endian || !mmu::GuestTlb::permits(entry, (page.msr & msr::pr) != 0, access))
            continue;
        if (vcpu.memory.find(entry.translate(ea), 1, access == Access::store) == host) return true;
    }
    return false;
}

std::uint8_t* ModelCpu::access(std::uint32_t ea, Access access, TrapKind& kind, bool& little_endian) {
    const bool fetch = access == Access::fetch;
    const int index = search(ea, hardware_.page.pid);
    if (index < 0) {
        kind = fetch ? TrapKind::fetch_miss : TrapKind::data_miss;
        return nullptr;
    }
    const Entry& entry = tlb_[static_cast<unsigned>(index)];
    if (entry.meaning != meaning_) violation("a mapping of another context is used");
    if (!mmu::GuestTlb::permits(entry.words, true, access)) {
        kind = fetch ? TrapKind::fetch_denied : TrapKind::data_denied;
        return nullptr;
    }
    little_endian = entry.words.little_endian();
    if (is_in_host_order(ea, entry.words)) {
        little_endian = true;
        // The guest's own idea, and the one address at which a guest can tell.
        const std::uint32_t opcode = word_ >> 26;
        if (!fetch && ((opcode != 32 && opcode != 36) || (word_ >> 16 & 31) != 0)) running_->used_state_page = true;
    }
    std::uint8_t* const host = memory.at(entry.words.translate(ea));
    const HostMemory::Block* block = memory.find(entry.words.rpn());
    if (compare_translations && (block == nullptr || block->slot < HostMemory::own_slot)) {
        if (!guest_allows(ea, access, host, little_endian))
            violation("the guest's own TLB does not allow what the hardware does at " + std::to_string(ea));
    }
    return host;
}

// What the interpreter sees: address space 1, shadow PID, problem state.
class GuestStorageModel final : public interp::Storage {
  public:
    explicit GuestStorageModel(ModelCpu& cpu) : cpu_(cpu) {}

    bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) override {
        std::uint8_t* bytes[8];
        bool little_endian = false;
        if (!find(ea, size, Access::load, bytes, little_endian, trap)) return false;
        value = 0;
        for (unsigned i = 0; i < size; ++i) value = value << 8 | *bytes[i];
        if (little_endian) value = runtime::reverse_bytes(value, size);
        return true;
    }
    bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) override {
        std::uint8_t* bytes[8];
        bool little_endian = false;
        if (!find(ea, size, Access::store, bytes, little_endian, trap)) return false;
        if (little_endian) value = runtime::reverse_bytes(value, size);
        for (unsigned i = 0; i < size; ++i) *bytes[i] = static_cast<std::uint8_t>(value >> 8 * (size - 1 - i));
        return true;
    }
    bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap& trap) override {
        std::uint8_t* bytes[8];
        bool little_endian = false;
        if (!find(pc, 4, Access::fetch, bytes, little_endian, trap)) return false;
        word = static_cast<std::uint32_t>(runtime::load_big_endian(bytes[0], 4));
        if (little_endian) word = __builtin_bswap32(word);
        return true;
    }
    bool check(std::uint32_t ea, bool store, isa::Trap& trap) override {
        std::uint8_t* bytes[8];
        bool little_endian = false;
        return find(ea, 1, store ? Access::store : Access::load, bytes, little_endian, trap);
    }
    void code_invalidated(std::uint32_t) override {}
    // The host's timebase is the guest's from when it first runs on.
    std::uint64_t timebase() override { return cpu_.running_->vcpu().timers.timebase(); }

  private:
    // The first page's byte order is the access's.
    bool find(std::uint32_t ea, unsigned size, Access access, std::uint8_t* (&bytes)[8], bool& little_endian,
              isa::Trap& trap) {
        for (unsigned i = 0; i < size; ++i) {
            if (i != 0 && ((ea + i) & 0x3FF) != 0) { // no page is smaller
                bytes[i] = bytes[i - 1] + 1;
                continue;
            }
            TrapKind kind = TrapKind::none;
            bool order = false;
            bytes[i] = cpu_.access(ea + i, access, kind, order);
            if (bytes[i] == nullptr) {
                trap = {};
                trap.kind = kind;
                trap.ea = ea + i;
                trap.is_store = access == Access::store;
                return false;
            }
            if (i == 0) little_endian = order;
        }
        return true;
    }

    ModelCpu& cpu_;
};

// The world switch reads it in supervisor state through address space 1.
std::uint32_t ModelCpu::word_of_instruction(std::uint32_t pc, unsigned pid) {
    const int index = search(pc, pid);
    if (index < 0) violation("the instruction that trapped cannot be read: no TLB entry");
    const TlbEntry& entry = tlb_[static_cast<unsigned>(index)].words;
    if (!mmu::GuestTlb::permits(entry, false, Access::load)) violation("the instruction that trapped cannot be read");
    const auto word = static_cast<std::uint32_t>(runtime::load_big_endian(memory.at(entry.translate(pc)), 4));
    return entry.little_endian() || is_in_host_order(pc, entry) ? __builtin_bswap32(word) : word;
}

// -- the world switch ------------------------------------------------------------------------------------------------

void ModelCpu::check_before_guest(Machine& machine, const World& world) {
    expect_interrupts(false, "entering the guest");
    if (fpu_permitted_) violation("the FPU was not given back");
    const std::uint32_t guest = machine.state().page.msr;
    constexpr std::uint32_t base = msr::pr | msr::ee | msr::me | msr::is | msr::ds;
    constexpr std::uint32_t fpu = msr::fp | msr::fe0 | msr::fe1;
    if ((world.run_msr & ~fpu) != base) violation("the guest would run with a wrong MSR");
    if ((world.run_msr & msr::fp) != 0 && !fpu_of_guest_) violation("the guest would see the host's FPU");
    if (((world.run_msr ^ guest) & (fpu_of_guest_ ? fpu : 0)) != 0) violation("the guest's FPU is not as its MSR says");
    if ((guest & msr::we) != 0) violation("a waiting guest runs");
    if (((guest & msr::is) != 0) != ((guest & msr::ds) != 0)) violation("a guest with two address spaces runs");
    if (world.shadow_pid == 0 || world.shadow_pid > 0xFF) violation("the guest would run with PID 0");
    meaning_ = meaning_of(machine, world);
    for (unsigned index = 0; index < entry_count; ++index) {
        const Entry& entry = tlb_[index];
        if (!entry.words.valid() || entry.words.ts() == 0) continue;
        check_entry(entry.words, index);
        if ((entry.words.tid == world.shadow_pid) != (entry.meaning == meaning_))
            violation("entry " + std::to_string(index) + " belongs to another context than its PID");
        if (entry.meaning == meaning_ && entry.process != 0 && entry.process != machine.state().page.pid)
            violation("entry " + std::to_string(index) + " is another process's than the one at hand");
    }
}

void ModelCpu::load_guest(Machine& machine, const World& world) {
    const isa::CpuState& state = machine.state();
    hardware_.gpr = state.gpr;
    hardware_.pc = state.pc;
    hardware_.lr = state.lr;
    hardware_.ctr = state.ctr;
    hardware_.set_cr(world.cr);
    hardware_.set_xer(world.xer);
    // On a 440 the reservation stays in the CPU, where nothing but stwcx. takes it away. It is carried like this so
    // that a guest does the same on every engine.
    hardware_.reserve_valid = state.reserve_valid;
    hardware_.reserve_address = state.reserve_address;
    hardware_.page.msr = world.run_msr;
    hardware_.page.pid = world.shadow_pid;
    hardware_.page.sprg = state.page.sprg; // of which SPRG4-7 can be read
    hardware_.usprg0 = usprg0_;
    hardware_.fpr = fpr_;
    hardware_.fpscr = fpscr_;
    hardware_.retired = 0;
}

void ModelCpu::store_guest(Machine& machine, World& world) {
    isa::CpuState& state = machine.state();
    state.gpr = hardware_.gpr;
    state.pc = hardware_.pc;
    state.lr = hardware_.lr;
    state.ctr = hardware_.ctr;
    world.cr = hardware_.cr();
    world.xer = hardware_.xer();
    state.reserve_valid = hardware_.reserve_valid;
    state.reserve_address = hardware_.reserve_address;
    usprg0_ = hardware_.usprg0;
    fpr_ = hardware_.fpr;
    fpscr_ = hardware_.fpscr;
    machine.executed += hardware_.retired + 1; // so that a guest that only traps comes to an end too
    instructions += hardware_.retired;
}

ModelCpu::Left ModelCpu::interrupt_of(const isa::Trap& trap, std::uint32_t word) const {
    const std::uint32_t fp = isa::decode(word).has(isa::flag::fp) ? esr::fp : 0;
    Left left{Interrupt::program};
    left.sets_esr = true;
    left.esr = (trap.is_store ? esr::st : 0) | fp;
    left.dear = trap.ea;
    switch (trap.kind) {
    // A host may lack an instruction that guests know: a 440GX has no rfmci.
    case TrapKind::privileged: left.esr = isa::decode(word).op == isa::Op::rfmci ? esr::pil : esr::ppr; break;
    case TrapKind::illegal: left.esr = esr::pil; break;
    case TrapKind::trap_condition: left.esr = esr::ptr; break;
    case TrapKind::fp_exception: left.esr = esr::fp; break;
    case TrapKind::system_call:
        left.vector = Interrupt::system_call;
        left.sets_esr = false;
        break;
    case TrapKind::fp_unavailable:
        left.vector = Interrupt::fp_unavailable;
        left.sets_esr = false;
        break;
    case TrapKind::alignment:
        left.vector = Interrupt::alignment;
        left.sets_dear = true;
        break;
    case TrapKind::data_miss:
        left.vector = Interrupt::data_tlb_error;
        left.sets_dear = true;
        break;
    case TrapKind::data_denied:
        left.vector = Interrupt::data_storage;
        left.sets_dear = true;
        break;
    case TrapKind::fetch_miss:
        left.vector = Interrupt::instruction_tlb_error;
        left.sets_esr = false;
        break;
    case TrapKind::fetch_denied:
        left.vector = Interrupt::instruction_storage;
        left.esr = 0;
        break;
    default: std::abort(); // the model's storage and the interpreter give no others
    }
    return left;
}

// Until an interrupt.
ModelCpu::Left ModelCpu::run_guest(Machine& machine, const World& world) {
    GuestStorageModel storage(*this);
    for (;;) {
        // A guest that is to stop is interrupted, so that somebody looks.
        if (machine.progress() + hardware_.retired > machine.stop_after) return {Interrupt::external_input};
        if (interrupt_interval != 0 && until_interrupt_-- == 0) {
            // Now and then not for a while: a stub that is interrupted every few instructions starts over for ever.
            until_interrupt_ = random.below(2 * interrupt_interval) + (random.chance(15) ? 100 : 0);
            ++host_interrupts;
            return {random.chance(50) ? Interrupt::external_input : Interrupt::decrementer};
        }
        isa::Trap trap;
        std::uint32_t word = 0;
        if (storage.fetch(hardware_.pc, word, trap)) {
            std::uint64_t& cached_for = cached_for_[world.shadow_pid];
            if (cached_for != 0 && cached_for != meaning_)
                violation("instructions of another context are in the cache under this PID");
            cached_for = meaning_;
            word_ = word;
            trap = interp::execute(hardware_, storage, isa::decode(word));
        }
        if (trap.kind == TrapKind::none) continue;
        if (trap.kind == TrapKind::system_call) {
            hardware_.pc += 4;
            ++hardware_.retired;
        }
        return interrupt_of(trap, word);
    }
}

// The storage of a compiled handler, in supervisor state: its code, the host's record of the guest and its tables, and
// guest memory of this VM in the linear mapping. Nothing else.
class HandlerStorage final : public interp::Storage {
  public:
    HandlerStorage(ModelCpu& cpu, Machine& machine, std::uint32_t code) : cpu_(cpu), machine_(machine), code_(code) {}

    bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap&) override {
        if (!HostMemory::is_linear(ea)) {
            value = *own_word(ea, size, false);
            return true;
        }
        value = runtime::load_big_endian(guest_memory(ea, size, false), size);
        return true;
    }
    bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap&) override {
        if (!HostMemory::is_linear(ea))
            *own_word(ea, size, true) = static_cast<std::uint32_t>(value);
        else
            runtime::store_big_endian(guest_memory(ea, size, true), size, value);
        return true;
    }
    bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap&) override {
        if (pc % 4 != 0 || pc - code_ >= 4 * ppc::handler_max_words) cpu_.violation("a compiled handler runs away");
        word = *table_at<std::uint32_t>(pc);
        return true;
    }
    bool check(std::uint32_t, bool, isa::Trap&) override { cpu_.violation("a compiled handler touches caches"); }
    void code_invalidated(std::uint32_t) override { cpu_.violation("a compiled handler touches caches"); }
    std::uint64_t timebase() override { return machine_.vcpu().storage.timebase(); }

  private:
    std::uint32_t* own_word(std::uint32_t ea, unsigned size, bool is_store) {
        const auto within = [&](const void* object, std::size_t bytes) {
            return ea - static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(object)) < bytes;
        };
        const isa::CpuState& state = machine_.state();
        const World& world = machine_.world();
        const bool there = within(&world.cr, 4) || within(&world.handler_tlb, sizeof world.handler_tlb) ||
                           within(&world.handler_window, 4) || within(state.gpr.data(), sizeof state.gpr) ||
                           within(&state.lr, 4) || within(&state.page, sizeof state.page) ||
                           (!is_store && within(&machine_.native().handlers().windows, sizeof(ppc::Windows)));
        if (size != 4 || ea % 4 != 0 || !there) cpu_.violation("a compiled handler touches what it must not");
        return const_cast<std::uint32_t*>(table_at<std::uint32_t>(ea));
    }
    std::uint8_t* guest_memory(std::uint32_t ea, unsigned size, bool is_store) {
        const std::uint64_t real = HostMemory::real_of_linear(ea);
        const HostMemory::Block* const block = cpu_.memory.find(real);
        if (ea % size != 0 || block == nullptr || block->vm != machine_.vm() || block->slot >= HostMemory::own_slot)
            cpu_.violation("a compiled handler touches memory that is not its guest's");
        const runtime::Memslot& slot = machine_.vcpu().memory.slot(block->slot);
        if (is_store && (slot.read_only || slot.dirty != nullptr))
            cpu_.violation("a compiled handler stores to a read-only or logged slot");
        return cpu_.memory.at(real);
    }

    ModelCpu& cpu_;
    Machine& machine_;
    std::uint32_t code_;
};

// What kmod/world_switch.S does without going to C++: the same conditions, the same stores.
bool ModelCpu::assembly_path(Machine& machine, World& world, const Left& left) {
    if (world.quick == 0) return false;
    isa::StatePage& page = machine.state().page;
    switch (left.vector) {
    case Interrupt::system_call: return assembly_delivers(machine, world, left.vector, EXIT_SYSCALL);
    case Interrupt::data_tlb_error:
        if (((left.dear ^ world.own_page) & ~0xFFFU) == 0) return false;
        if (machine.state().pc - world.arena < world.arena_bytes && (page.msr & msr::pr) == 0) return false;
        if (!assembly_misses(machine, world, left.dear, left.vector)) return false;
        if (const Ran ran = assembly_handles(machine, world, left); ran != Ran::no) return ran == Ran::finished;
        page.dear = left.dear;
        page.esr = left.esr & runtime::native::word_of(ESR_DATA_HIGH, 0);
        return assembly_delivers(machine, world, left.vector, EXIT_DTLB_REAL);
    case Interrupt::instruction_tlb_error:
        if (machine.state().pc - world.arena < world.arena_bytes ||
            !assembly_misses(machine, world, machine.state().pc, left.vector))
            return false;
        if (const Ran ran = assembly_handles(machine, world, left); ran != Ran::no) return ran == Ran::finished;
        return assembly_delivers(machine, world, left.vector, EXIT_ITLB_REAL);
    case Interrupt::program: return left.word == 0x4C000064 && assembly_returns(machine, world);
    default: return false;
    }
}

bool ModelCpu::assembly_delivers(Machine& machine, World& world, Interrupt which, unsigned reason) {
    isa::CpuState& state = machine.state();
    isa::StatePage& page = state.page;
    if (world.process_pid != isa::CpuState::no_pid) return false;
    const std::uint8_t pid = table_at<std::uint8_t>(world.pids)[(page.pid & world.kernel_pids) << 2];
    if (pid == 0) return false;
    world.shadow_pid = pid;
    page.srr0 = state.pc;
    page.srr1 = page.msr;
    page.msr &= runtime::native::word_of(SURVIVING_MSR_HIGH, SURVIVING_MSR_LOW);
    state.pc = state.ivpr | state.ivor[static_cast<unsigned>(which)];
    state.reserve_valid = 0;
    world.run_msr = RUN_MSR_LOW;
    ++world.exits[reason];
    return true;
}

// The guest TLB has no entry for the address, and it is no handler's own miss.
bool ModelCpu::assembly_misses(Machine& machine, const World& world, std::uint32_t ea, Interrupt which) {
    const isa::CpuState& state = machine.state();
    const auto* sets = table_at<std::uint32_t>(world.tlb_sets);
    const std::uint32_t page = (ea >> 12) % TLB_SETS_PAGES, segment = TLB_SETS_PAGES + (ea >> 28);
    if ((sets[2 * page] | sets[2 * page + 1] | sets[2 * segment] | sets[2 * segment + 1]) != 0) {
        if ((state.page.msr & (msr::is | msr::ds)) != 0) return false;
        const auto* slots = table_at<std::uint8_t>(world.tlb_slots);
        for (unsigned index = 0; index < entry_count; ++index) {
            std::uint32_t words[2];
            std::memcpy(words, slots + (index << TLB_SLOT_SHIFT) + TLB_SLOT_MATCH, sizeof words);
            const bool candidate =
                ((sets[2 * page + index / 32] | sets[2 * segment + index / 32]) << index % 32) >> 31 != 0;
            if (candidate && ((words[0] ^ ((ea & ~0x3FFU) | (state.page.pid & 0xFF))) & words[1]) == 0) return false;
        }
    }
    return state.pc != (state.ivpr | state.ivor[static_cast<unsigned>(which)]);
}

// A miss that there is a compiled handler for: as the assembly enters it, what it does, and what follows. no: nothing
// was done. left: to the C++ side, as if by an interrupt.
ModelCpu::Ran ModelCpu::assembly_handles(Machine& machine, World& world, const Left& left) {
    isa::CpuState& state = machine.state();
    isa::StatePage& page = state.page;
    const unsigned which = left.vector == Interrupt::data_tlb_error ? 0 : 1;
    const std::uint32_t missed = which == 0 ? left.dear : state.pc;
    if (world.handler_code[which] == 0) return Ran::no;
    if (machine.native().handlers().programs[which].entry !=
        (state.ivpr | state.ivor[static_cast<unsigned>(left.vector)]))
        violation("the code is that of another handler");
    if ((missed & 0xFFFFF000) == (world.own_page & 0xFFFFF000) || missed - world.arena < world.arena_bytes)
        return Ran::no;
    if ((page.msr & (msr::is | msr::ds)) != 0) return Ran::no;
    ++world.exits[which == 0 ? EXIT_DTLB_REAL : EXIT_ITLB_REAL];
    if (which == 0) {
        page.dear = left.dear;
        page.esr = left.esr & runtime::native::word_of(ESR_DATA_HIGH, 0);
    }
    world.handler_missed = missed;
    page.srr0 = state.pc;
    page.srr1 = page.msr;
    page.msr &= runtime::native::word_of(SURVIVING_MSR_HIGH, SURVIVING_MSR_LOW);
    state.reserve_valid = 0;

    HandlerStorage storage(*this, machine, world.handler_code[which]);
    isa::CpuState cpu = hardware_;
    for (const unsigned number : {3, 5, 6, 7}) cpu.gpr[number] = random.word();
    cpu.gpr[4] = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(&world));
    cpu.lr = random.word();
    cpu.page = {};
    cpu.page.msr = msr::me;
    cpu.pc = world.handler_code[which];
    const auto take_registers = [&] {
        for (unsigned number = 0; number < 32; ++number)
            if (number < 3 || number > 7) state.gpr[number] = cpu.gpr[number];
        state.ctr = cpu.ctr;
        state.set_xer(cpu.xer());
        world.xer = cpu.xer();
        world.cr = cpu.cr();
        usprg0_ = cpu.usprg0;
    };
    for (unsigned count = 0;; ++count) {
        if (count > ppc::handler_max_words) violation("a compiled handler does not end");
        if (cpu.pc == handler_finish_ea) {
            take_registers();
            const auto write = [&](const runtime::native::ShadowTlb::Mapping& mapping, unsigned slot) {
                write_tlb_in_switch(machine, world, mapping, slot);
            };
            if (machine.native().return_from_handler(cpu.gpr[5], write)) {
                ++handlers_finished;
                return Ran::finished;
            }
            for (const unsigned number : {3, 5, 6, 7}) cpu.gpr[number] = random.word();
            cpu.pc = cpu.lr;
        }
        if (cpu.pc == handler_leave_ea) {
            take_registers();
            state.pc = cpu.gpr[3];
            world.handler_flags = cpu.gpr[5];
            ++handlers_left;
            return Ran::left;
        }
        isa::Trap trap;
        std::uint32_t word = 0;
        storage.fetch(cpu.pc, word, trap);
        const isa::Instruction insn = isa::decode(word);
        trap = interp::execute(cpu, storage, insn);
        if (trap.kind == TrapKind::none) continue;
        if (trap.kind != TrapKind::privileged || insn.op != isa::Op::mtspr || insn.spr() < isa::spr::sprg4 ||
            insn.spr() > isa::spr::sprg7)
            violation("a compiled handler traps");
        if (page.sprg[insn.spr() - isa::spr::sprg0] != cpu.gpr[insn.rs()]) violation("SPRG4-7 differ from the guest's");
        cpu.pc += 4;
    }
}

bool ModelCpu::assembly_returns(Machine& machine, World& world) {
    isa::CpuState& state = machine.state();
    isa::StatePage& page = state.page;
    if ((page.msr & msr::pr) != 0 || page.pending != 0 || world.process_pid != isa::CpuState::no_pid) return false;
    if ((page.srr1 & runtime::native::word_of(SLOW_MSR_HIGH, SLOW_MSR_LOW)) != 0) return false;
    const bool user = (page.srr1 & msr::pr) != 0;
    const unsigned key = (page.pid & (user ? 0xFF : world.kernel_pids)) << 2 | (user ? 1 : 0);
    const std::uint8_t pid = table_at<std::uint8_t>(world.pids)[key];
    if (pid == 0) return false;
    world.shadow_pid = pid;
    page.msr = page.srr1 & runtime::native::word_of(DEFINED_MSR_HIGH, DEFINED_MSR_LOW);
    world.run_msr = (page.msr & world.fpu_msr) | RUN_MSR_LOW;
    state.pc = page.srr0 & ~3U;
    state.reserve_valid = 0;
    ++world.exits[EXIT_EMUL_RFI];
    return true;
}

void ModelCpu::enter_guest(World& world) {
    const auto found =
        std::find_if(machines_.begin(), machines_.end(), [&](Machine* machine) { return &machine->world() == &world; });
    if (found == machines_.end()) violation("a guest that is none is entered");
    Machine& machine = **found;
    if (running_ != nullptr) violation("a guest is entered inside another one");
    running_ = &machine;
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

// -- runtime/native/hardware.h ---------------------------------------------------------------------------------------

namespace untrap::runtime::native::hardware {

namespace {
tests::native::ModelCpu& cpu() { return tests::native::ModelCpu::current(); }
} // namespace

void write_tlb(unsigned index, std::uint32_t word0, std::uint32_t word1, std::uint32_t word2, unsigned pid) {
    cpu().write_tlb(index, word0, word1, word2, pid);
}
std::uint32_t read_tlb(unsigned index, unsigned& pid) { return cpu().read_tlb(index, pid); }
void invalidate_tlb(unsigned index) { cpu().invalidate_tlb(index); }
void publish_code(const void*, std::uint32_t) { cpu().invalidate_instruction_cache(); }
void invalidate_instruction_cache() { cpu().invalidate_instruction_cache(); }
std::uint64_t timebase() { return cpu().timebase(); }
std::uint32_t ticks() { return static_cast<std::uint32_t>(cpu().timebase()); }
std::uint32_t irq_save() { return cpu().irq_save(); }
void irq_restore(std::uint32_t saved) { cpu().irq_restore(saved); }
void load_user_registers(std::uint32_t usprg0) { cpu().load_user_registers(usprg0); }
std::uint32_t read_usprg0() { return cpu().read_usprg0(); }
void load_fpu(const std::uint64_t* fpr, std::uint32_t fpscr) { cpu().load_fpu(fpr, fpscr); }
void store_fpu(std::uint64_t* fpr, std::uint32_t& fpscr) { cpu().store_fpu(fpr, fpscr); }
void enter_guest(void* world) { cpu().enter_guest(*static_cast<World*>(world)); }

} // namespace untrap::runtime::native::hardware
