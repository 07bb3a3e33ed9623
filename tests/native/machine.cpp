// SPDX-License-Identifier: GPL-2.0-only
#include "machine.h"

#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

#include "tests/jit/machine.h"

namespace untrap::tests::native {

using runtime::ExitReason;
using runtime::Memslot;

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::uint64_t largest_compared = 2 << 20;
unsigned next_vm = 1;

} // namespace

// -- the host --------------------------------------------------------------------------------------------------------

void Machine::MachineHost::warn(const char* message, std::uint32_t, std::uint32_t) {
    machine_.warnings.emplace_back(message);
}

void Machine::MachineHost::wait(std::uint64_t until) {
    machine_.cpu_.expect_interrupts(true, "waiting");
    machine_.cpu_.host_runs();
    ++machine_.waits;
    if (until == runtime::Timers::never)
        machine_.vcpu_.request_stop();
    else if (until > machine_.time)
        machine_.pass_time(until - machine_.time);
}

void Machine::MachineHost::between_slices() {
    machine_.cpu_.expect_interrupts(true, "between slices");
    if (machine_.progress() > machine_.stop_after) machine_.vcpu_.request_stop();
}

bool Machine::MachineHost::poll() {
    machine_.cpu_.expect_interrupts(true, "polling");
    machine_.cpu_.host_runs();
    return machine_.progress() > machine_.stop_after;
}

void Machine::MachineHost::arm_timer(std::uint64_t until) {
    machine_.cpu_.expect_interrupts(true, "arming the timer");
    machine_.timer_ = until;
    machine_.pass_time(0);
}

void* Machine::MachineHost::allocate(unsigned shift) {
    machine_.cpu_.expect_interrupts(true, "allocating memory");
    if (shift > machine_.largest_allocation) return nullptr;
    machine_.allocated += std::uint64_t{1} << shift;
    machine_.most_allocated = std::max(machine_.most_allocated, machine_.allocated);
    return machine_.cpu_.memory.allocate_own(shift, machine_.vm_);
}
void Machine::MachineHost::release(void* block, unsigned shift) {
    machine_.allocated -= std::uint64_t{1} << shift;
    machine_.cpu_.memory.release_own(static_cast<std::uint8_t*>(block));
}
std::uint64_t Machine::MachineHost::real_of(const void* linear) {
    return machine_.cpu_.memory.real_of(linear, machine_.vm_, isa::CpuState::page_bytes);
}

std::uint32_t Machine::MachineHost::linear(const void* memory, std::uint32_t bytes) {
    return machine_.cpu_.memory.linear(memory, bytes);
}

void Machine::MachineHost::take_fpu() { machine_.cpu_.fpu_permission(true); }
void Machine::MachineHost::give_fpu() { machine_.cpu_.fpu_permission(false); }
void Machine::MachineHost::trace_entry(std::uint32_t, std::uint32_t, std::uint32_t) { ++machine_.traced; }
void Machine::MachineHost::trace_patch(std::uint64_t real, std::uint32_t word, unsigned level, bool patched) {
    ++machine_.traced;
    if (patched) {
        ++machine_.patches_traced;
        CHECK((level == 1 || level == 2));
        CHECK(machine_.traced_patches.emplace(real, level).second);
        CHECK(machine_.vcpu_.patches.find(real, word) != nullptr);
        return;
    }
    const auto patch = machine_.traced_patches.find(real);
    REQUIRE(patch != machine_.traced_patches.end());
    CHECK(patch->second == level);
    machine_.traced_patches.erase(patch);
}
void Machine::MachineHost::trace_exit(unsigned, std::uint32_t, std::uint32_t) { ++machine_.traced; }
void Machine::MachineHost::trace_tlb(unsigned, const std::uint32_t (&)[3], unsigned, bool) { ++machine_.traced; }

void Machine::pass_time(std::uint64_t ticks) {
    time += ticks;
    if (timer_ != runtime::Timers::never && timer_ <= time) ring();
}

void Machine::ring() {
    timer_ = runtime::Timers::never;
    world_.attention = 1;
}

// -- making ----------------------------------------------------------------------------------------------------------

Machine::Machine(ModelCpu& cpu, Kind kind, runtime::native::ShadowTlb& tlb)
    : cpu_(cpu), kind_(kind), vm_(next_vm++), patches_(std::make_unique<runtime::PatchRegistry>()),
      patching_(std::make_unique<runtime::native::Patching>()), host_(*this), vcpu_(physical_, *patches_, host_) {
    if (kind_ == Kind::native) {
        native_.emplace(vcpu_, world_, tlb, host_, *patching_);
        world_.tlb_sets = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(vcpu_.tlb.candidate_sets()));
        world_.tlb_slots = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(vcpu_.tlb.slots()));
        world_.handler_leave = ModelCpu::handler_leave_ea;
        world_.handler_finish = ModelCpu::handler_finish_ea;
        world_.handler_commit[0] = world_.handler_commit[1] = ModelCpu::handler_commit_ea;
        world_.handler_end = ModelCpu::handler_end_ea;
        world_.handler_record = ModelCpu::handler_record_ea;
        world_.handler_recall = ModelCpu::handler_recall_ea;
        vcpu_.set_engine(*native_);
    } else {
        vcpu_.set_engine(interpreter_);
    }
    vcpu_.set_clock(runtime::Clock::host, false);
    cpu_.add(*this);
}

Machine::~Machine() {
    // After a violation nothing is as it should be, and another one must not be thrown from here.
    if (native_ && std::uncaught_exceptions() == 0) native_->flush();
    for (unsigned slot = 0; slot < slots_.size(); ++slot) cpu_.memory.release(vm_, slot);
    cpu_.memory.release_windows(vm_);
    cpu_.remove(*this);
}

Machine::Pointer Machine::make(ModelCpu& cpu, Kind kind, runtime::native::ShadowTlb& tlb) {
    void* const memory =
        mmap(nullptr, sizeof(Machine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return Pointer(new (memory) Machine(cpu, kind, tlb));
}

void Machine::Deleter::operator()(Machine* machine) const {
    machine->~Machine();
    munmap(machine, sizeof(Machine));
}

void Machine::set_levels(unsigned levels, unsigned threshold) {
    engine().flush();
    patches_->configure(levels, threshold);
}

void Machine::set_level(unsigned level, unsigned threshold) {
    engine().flush();
    patches_->configure(((2U << level) - 1) & ~1U, threshold);
}

// -- memory ----------------------------------------------------------------------------------------------------------

void Machine::give_slot(unsigned number, Memslot region) {
    REQUIRE(physical_.set_slot(number, region));
    engine().flush();
}

void Machine::set_slot(unsigned number, std::uint64_t base, std::uint64_t size, const SlotOptions& options) {
    give_slot(number, {});
    cpu_.memory.release(vm_, number);
    Slot& slot = slots_[number];
    slot = {};
    if (size == 0) return;
    Random& random = cpu_.random;
    slot.pages.resize(size / page_bytes);
    slot.frames.resize(slot.pages.size());
    for (std::uint64_t offset = 0; offset < size;) {
        unsigned shift = 12;
        for (const unsigned larger : {14U, 16U, 18U, 20U, 24U, 28U}) {
            const std::uint64_t bytes = std::uint64_t{1} << larger;
            if (larger > options.largest_block || ((base + offset) & (bytes - 1)) != 0 || size - offset < bytes) break;
            if (options.mixed && random.chance(25)) break;
            shift = larger;
        }
        const std::uint64_t bytes = std::uint64_t{1} << shift;
        const HostMemory::Block& block =
            cpu_.memory.allocate(shift, options.bank < 0 ? random.below(2) : static_cast<unsigned>(options.bank), vm_,
                                 number, base + offset);
        for (std::uint64_t inside = 0; inside < bytes; inside += page_bytes) {
            const auto page = static_cast<std::size_t>((offset + inside) / page_bytes);
            slot.pages[page] = cpu_.memory.at(block.real + inside);
            slot.frames[page] = static_cast<std::uint32_t>((block.real + inside) >> 12) << 8 | shift;
        }
        offset += bytes;
    }
    Memslot region;
    region.base = base;
    region.size = size;
    region.read_only = options.read_only;
    region.pages = slot.pages.data();
    region.frames = slot.frames.data();
    give_slot(number, region);
    if (options.logged) log_slot(number, true);
}

void Machine::log_slot(unsigned number, bool on) {
    Slot& slot = slots_[number];
    Memslot region = physical_.slot(number);
    slot.dirty.assign((slot.pages.size() + 31) / 32, 0);
    region.dirty = on ? slot.dirty.data() : nullptr;
    give_slot(number, region);
}

std::vector<std::uint32_t> Machine::take_log(unsigned number) {
    Slot& slot = slots_[number];
    std::vector<std::uint32_t> log = slot.dirty;
    std::fill(slot.dirty.begin(), slot.dirty.end(), 0);
    engine().dirty_log_taken();
    return log;
}

std::uint8_t* Machine::at(std::uint64_t real) {
    std::uint8_t* const host = physical_.find(real, 1, false);
    if (host == nullptr) FAIL("no memory at this real address");
    return host;
}

void Machine::put(std::uint64_t real, std::uint32_t word, bool little_endian) {
    for (unsigned i = 0; i < 4; ++i) *at(real + i) = static_cast<std::uint8_t>(word >> 8 * (little_endian ? i : 3 - i));
}

std::uint32_t Machine::word(std::uint64_t real) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i) value = value << 8 | *at(real + i);
    return value;
}

std::vector<std::uint8_t> Machine::contents(unsigned number) {
    std::vector<std::uint8_t> bytes;
    for (const std::uint8_t* page : slots_[number].pages) bytes.insert(bytes.end(), page, page + page_bytes);
    return bytes;
}

void Machine::fill(unsigned number, const std::vector<std::uint8_t>& bytes) {
    const Slot& slot = slots_[number];
    REQUIRE(bytes.size() == slot.pages.size() * page_bytes);
    for (std::size_t page = 0; page < slot.pages.size(); ++page)
        std::memcpy(slot.pages[page], bytes.data() + page * page_bytes, page_bytes);
}

// -- running ---------------------------------------------------------------------------------------------------------

void Machine::start(const isa::CpuState& state) {
    vcpu_.set_interrupt_line(false, false);
    vcpu_.set_interrupt_line(true, false);
    vcpu_.reset();
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index) vcpu_.set_tlb_entry(index, {});
    const auto slots = vcpu_.state.engine_slots;
    vcpu_.state = state;
    vcpu_.state.engine_slots = slots;
    vcpu_.timers.reset();
    engine().flush();
    if (native_) native_->count_exits();
    vcpu_.exits = {};
    time = 0;
    timer_ = runtime::Timers::never;
    executed = 0;
    used_state_page = false;
    waits = 0;
    warnings.clear();
}

void Machine::map(unsigned index, std::uint32_t ea, std::uint64_t real, unsigned size_code, std::uint32_t attributes,
                  unsigned tid, unsigned space) {
    vcpu_.set_tlb_entry(index, {ea | mmu::TlbEntry::valid_bit | space << 8 | size_code << 4,
                                static_cast<std::uint32_t>(real & 0xFFFFFC00) | static_cast<std::uint32_t>(real >> 32),
                                attributes, static_cast<std::uint8_t>(tid)});
}

std::string difference(Machine& reference, Machine& other) {
    isa::CpuState left = reference.state(), right = other.state();
    left.retired = right.retired = 0; // which a 440 does not count
    std::string text = state_difference(left, right, {"interpreter", "native"});
    char line[160];
    for (unsigned index = 0; index < mmu::GuestTlb::entry_count; ++index) {
        if (reference.vcpu().tlb.entry(index) == other.vcpu().tlb.entry(index)) continue;
        std::snprintf(line, sizeof line, "guest TLB entry %u differs\n", index);
        text += line;
    }
    for (unsigned slot = 0; slot < runtime::PhysicalMemory::slot_count; ++slot) {
        const Memslot& region = reference.vcpu().memory.slot(slot);
        if (region.size > largest_compared) continue; // those who use so much compare what they wrote
        unsigned shown = 0;
        for (std::uint64_t page = 0; page < region.size / page_bytes; ++page) {
            const std::uint8_t* const a = reference.at(region.base + page * page_bytes);
            const std::uint8_t* const b = other.at(region.base + page * page_bytes);
            if (std::memcmp(a, b, page_bytes) == 0) continue;
            for (std::size_t i = 0; i < page_bytes && shown < 16; ++i) {
                if (a[i] == b[i]) continue;
                ++shown;
                std::snprintf(line, sizeof line, "memory %09llx: interpreter %02x, native %02x\n",
                              static_cast<unsigned long long>(region.base + page * page_bytes + i), a[i], b[i]);
                text += line;
            }
        }
    }
    return text;
}

std::string count_difference(const Machine& reference, const Machine& other) {
    const bool patched = other.patch_levels() != 0;
    std::string text;
    for (std::size_t index = 0; index < runtime::exit_reason_count; ++index) {
        const auto reason = static_cast<ExitReason>(index);
        // Of the host's own making: interrupts, the lazy FPU, misses of the shadow TLB, a stop.
        if (reason == ExitReason::extint || reason == ExitReason::fp_unavail || reason == ExitReason::itlb_virt ||
            reason == ExitReason::dtlb_virt || reason == ExitReason::signal)
            continue;
        if (reference.exits(reason) == other.exits(reason)) continue;
        // Patches spare exits of these kinds, and cause none.
        const bool emulation = std::string_view(runtime::exit_reason_names[index]).starts_with("EMUL_");
        if (patched && emulation && other.exits(reason) < reference.exits(reason)) continue;
        char line[160];
        std::snprintf(line, sizeof line, "exits %s: interpreter %llu, native %llu\n", runtime::exit_reason_names[index],
                      static_cast<unsigned long long>(reference.exits(reason)),
                      static_cast<unsigned long long>(other.exits(reason)));
        text += line;
    }
    return text;
}

std::string listing(Machine& machine, std::uint32_t first, unsigned count, std::uint32_t marked) {
    std::string text;
    for (unsigned i = 0; i < count; ++i) {
        const std::uint32_t pc = first + 4 * i;
        isa::Trap trap;
        std::uint32_t word = 0;
        const bool there = machine.vcpu().storage.fetch(pc, word, trap);
        char line[64];
        std::snprintf(line, sizeof line, "%s %08x %08x  ", pc == marked ? ">" : " ", pc, word);
        text += line + (there ? disassemble(word) : std::string("not mapped")) + "\n";
    }
    return text;
}

} // namespace untrap::tests::native
