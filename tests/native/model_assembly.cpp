// SPDX-License-Identifier: GPL-2.0-only
// What the model does in place of kmod/world_switch.S, where that does not go to C++.
#include <cstring>

#include "machine.h"
#include "model_cpu.h"
#include "model_tables.h"
#include "runtime/byte_order.h"
#include "runtime/native/handler_return.h"
#include "translator/interp/interpreter.h"
#include "translator/isa/table.h"

namespace untrap::tests::native {

using isa::Interrupt;
using isa::TrapKind;
using runtime::native::World;
namespace msr = isa::msr;

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
        word = code_ == ModelCpu::handler_place_ea ? cpu_.data_handler[(pc - code_) / 4] : *table_at<std::uint32_t>(pc);
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
                           within(&world.handler_window, 4) ||
                           within(world.handler_memos, sizeof world.handler_memos) ||
                           within(&world.walk_reads, sizeof world.walk_reads) ||
                           (!is_store && within(machine_.native().handlers().walks.data(),
                                                sizeof(ppc::Walk) * machine_.native().handlers().walks.size())) ||
                           (!is_store && within(world.handler_fixed, sizeof world.handler_fixed)) ||
                           within(state.gpr.data(), sizeof state.gpr) || within(&state.lr, 4) ||
                           within(&state.page, sizeof state.page) ||
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
    case Interrupt::program: return assembly_program(machine, world, left);
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
    if (which == 0) {
        page.dear = left.dear;
        page.esr = left.esr & runtime::native::word_of(ESR_DATA_HIGH, 0);
    }
    world.handler_missed = (missed & 0xFFFFF000) | ((page.msr & msr::pr) != 0 ? 0x210
                                                    : which == 0              ? MISSED_IN_KERNEL
                                                                              : 0);
    page.srr0 = state.pc;
    page.srr1 = page.msr;
    state.reserve_valid = 0;

    HandlerStorage storage(*this, machine, world.handler_code[which]);
    isa::CpuState cpu = hardware_;
    for (const unsigned number : {3, 5, 6, 7}) cpu.gpr[number] = random.word();
    cpu.page = {};
    std::uint32_t sprg0 = state.gpr[4];
    cpu.gpr[4] = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(&world));
    if (which == 0) {
        cpu.set_cr(random.word());
        cpu.gpr[3] = page.esr;
        cpu.gpr[7] = world.handler_missed;
        cpu.lr = state.lr;
        state.lr = random.word();
        if (reinterpret_cast<std::uintptr_t>(data_handler) != world.data_handler) violation("another guest's handler");
    } else {
        cpu.lr = random.word();
    }
    cpu.page.msr = msr::me;
    cpu.pc = world.handler_code[which];
    const auto take_registers = [&] {
        for (unsigned number = 0; number < 32; ++number)
            if (number < 3 || number > 7) state.gpr[number] = cpu.gpr[number];
        state.gpr[4] = sprg0;
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
        if (cpu.pc == handler_recall_ea) {
            const auto number = (cpu.gpr[5] - world.walks) / sizeof(ppc::Walk);
            if (number >= ppc::walk_count || (cpu.gpr[5] - world.walks) % sizeof(ppc::Walk) != 0 || which != 0)
                violation("there is no such walk");
            const ppc::Walk& walk = machine.native().handlers().walks[number];
            world.handler_tlb = {cpu.gpr[3], {world.handler_missed, walk.words[0], walk.words[1]}};
            const auto write = [&](const runtime::native::ShadowTlb::Mapping& mapping, unsigned slot) {
                if (mapping.word1 != walk.host[0] || mapping.word2 != walk.host[1])
                    violation("a walk maps something else");
                write_tlb_in_switch(machine, world, mapping, slot);
            };
            if ((page.msr & msr::pr) == 0) violation("a walk of the kernel's");
            const bool done = (decline_percent == 0 || !random.chance(decline_percent)) &&
                              machine.native().return_from_handler(ppc::handler_exit::words, write);
            ++(done ? recalls : recalls_declined);
            state.lr = cpu.lr;
            if (done) {
                cpu.set_cr(world.cr);
                take_registers();
                ++handlers_finished;
                return Ran::finished;
            }
            for (const unsigned gpr : {3, 5, 6, 7}) cpu.gpr[gpr] = random.word();
            cpu.set_cr(random.word());
            cpu.lr = random.word();
            cpu.pc = world.declined;
        }
        if (cpu.pc == handler_commit_ea || cpu.pc == handler_record_ea) {
            const auto write = [&](const runtime::native::ShadowTlb::Mapping& mapping, unsigned slot) {
                write_tlb_in_switch(machine, world, mapping, slot);
            };
            const bool done = (page.srr1 & msr::pr) != 0 && (decline_percent == 0 || !random.chance(decline_percent)) &&
                              machine.native().return_from_handler(
                                  ppc::handler_exit::words | (which == 0 ? 0 : ppc::handler_exit::fetch), write);
            ++(done ? commits : commits_declined);
            if (done && cpu.pc == handler_record_ea && world.handler_tlb.words[0] == world.handler_missed &&
                random.chance(70))
                keep_walk(machine, world);
            for (const unsigned number : {3, 5, 6, 7, 10, 11, 12}) cpu.gpr[number] = random.word();
            cpu.set_cr((random.word() & ~0x20000000U) | (done ? 0x20000000U : 0));
            cpu.pc = cpu.lr;
        }
        if (cpu.pc == handler_end_ea) {
            take_registers();
            ++handlers_finished;
            return Ran::finished;
        }
        if (cpu.pc == handler_leave_ea) {
            take_registers();
            page.msr &= runtime::native::word_of(SURVIVING_MSR_HIGH, SURVIVING_MSR_LOW);
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
        if (trap.kind == TrapKind::privileged && insn.op == isa::Op::mfspr && insn.spr() == isa::spr::sprg0) {
            cpu.gpr[insn.rt()] = sprg0;
            cpu.pc += 4;
            continue;
        }
        if (trap.kind == TrapKind::privileged && insn.op == isa::Op::mtspr && insn.spr() == isa::spr::sprg0) {
            sprg0 = cpu.gpr[insn.rs()];
            cpu.pc += 4;
            continue;
        }
        if (trap.kind != TrapKind::privileged || insn.op != isa::Op::mtspr || insn.spr() < isa::spr::sprg4 ||
            insn.spr() > isa::spr::sprg7)
            violation("a compiled handler traps");
        if (page.sprg[insn.spr() - isa::spr::sprg0] != cpu.gpr[insn.rs()]) violation("SPRG4-7 differ from the guest's");
        cpu.pc += 4;
    }
}

// untrap_world_data_record
void ModelCpu::keep_walk(Machine& machine, World& world) {
    const isa::StatePage& page = machine.state().page;
    for (const ppc::WalkRead& read : world.walk_reads.loads)
        if (read.address == 0) return;
    if (world.walk_reads.mmucr != page.mmucr) return;
    ppc::Walk walk;
    walk.key =
        (world.handler_missed & 0xFFFFF000) | (page.pid & 0xFF) << 2 | (page.esr & (isa::esr::st | isa::esr::fp)) >> 23;
    for (unsigned number = 0; number < ppc::walk_inputs; ++number) {
        walk.inputs[number] =
            *reinterpret_cast<const std::uint32_t*>(reinterpret_cast<const char*>(&world) + world.walk_fields[number]);
    }
    for (unsigned number = 0; number < ppc::walk_loads; ++number) walk.loads[number] = world.walk_reads.loads[number];
    const std::uint32_t word1 = world.handler_tlb.words[1], word2 = world.handler_tlb.words[2];
    walk.words[0] = word1 & mmu::TlbEntry::word1_mask;
    walk.words[1] = word2 & mmu::TlbEntry::word2_mask;
    const auto& blocks = machine.native().handlers().blocks;
    using runtime::native::MissHandlers;
    walk.host[0] =
        blocks[word1 >> MissHandlers::block_shift & (MissHandlers::block_count - 1)].word1 | (word1 & 0xFF000);
    walk.host[1] = (word2 & (0x38U | mmu::TlbEntry::attr_e | mmu::TlbEntry::attr_g)) | mmu::TlbEntry::sr;
    const auto at = static_cast<std::uint32_t>(world.walks + ppc::walk_number(walk.key) * sizeof walk);
    *const_cast<ppc::Walk*>(table_at<ppc::Walk>(at)) = walk;
    world.walks_kept = 1;
}

// With a handler for misses of data, an rfi that is known is not fetched.
bool ModelCpu::assembly_program(Machine& machine, World& world, const Left& left) {
    constexpr std::uint32_t rfi = 0x4C000064;
    const isa::CpuState& state = machine.state();
    if (data_handler != nullptr && world.rfi_sites[state.pc >> 2 & 7] == state.pc &&
        (state.page.msr & (msr::pr | msr::is | msr::ds)) == 0) {
        if (left.word != rfi) violation("an rfi that is known is none");
        ++rfis_known;
        return assembly_returns(machine, world);
    }
    if (data_handler != nullptr && world.search.site == state.pc &&
        (state.page.msr & (msr::pr | msr::is | msr::ds)) == 0)
        return assembly_search(machine, world, left);
    if (left.word != rfi) return false;
    if (data_handler != nullptr) world.rfi_seen = state.pc;
    return assembly_returns(machine, world);
}

// One that is known, with the tlbwe behind it.
bool ModelCpu::assembly_search(Machine& machine, World& world, const Left& left) {
    using mmu::GuestTlb;
    isa::CpuState& state = machine.state();
    GuestTlb& tlb = machine.vcpu().tlb;
    const isa::Instruction insn = isa::decode(left.word);
    if (insn.op != isa::Op::tlbsx || !insn.rc()) violation("a tlbsx that is known is none");
    const auto at = [&](std::uint32_t offset) -> std::uint32_t& {
        return *reinterpret_cast<std::uint32_t*>(reinterpret_cast<char*>(&world) + offset);
    };
    const std::uint32_t control = state.page.mmucr, pid = control & isa::mmucr::stid;
    if ((control & isa::mmucr::sts) != 0) return false;
    const std::uint32_t ea = at(world.search.ra) + at(world.search.rb);
    const int found = tlb.search(ea, 0, pid);
    std::uint32_t result = world.xer >> 31;
    if (found >= 0) {
        const auto index = static_cast<unsigned>(found);
        unsigned matches = 0;
        for (unsigned number = 0; number < GuestTlb::entry_count; ++number)
            matches += tlb.entry(number).matches(ea, 0, pid) ? 1 : 0;
        if (matches > 1 || tlb.entry(index).page_shift() != 12 || world.links[index] > NO_LINK) return false;
        const mmu::TlbEntry before = tlb.entry(index);
        tlb.invalidate(index, index, pid);
        if (world.links[index] < NO_LINK) machine.native().tlb_entry_changed(index, before);
        at(world.search.rt) = index;
        result |= 2;
    }
    world.cr = (world.cr & 0x0FFFFFFF) | result << 28;
    state.pc = found >= 0 ? world.search.found : world.search.missed;
    ++world.exits[EXIT_EMUL_TLBSX];
    ++searches_known;
    return true;
}

bool ModelCpu::assembly_returns(Machine& machine, World& world) {
    isa::CpuState& state = machine.state();
    isa::StatePage& page = state.page;
    if ((page.msr & msr::pr) != 0 || page.pending != 0 || world.process_pid != isa::CpuState::no_pid) return false;
    if ((page.srr1 & world.slow_msr) != 0) return false;
    const bool user = (page.srr1 & msr::pr) != 0;
    const unsigned key = (page.pid & (user ? 0xFF : world.kernel_pids)) << 2 | (user ? 1 : 0);
    const std::uint8_t pid = table_at<std::uint8_t>(world.pids)[key];
    if (pid == 0) return false;
    world.shadow_pid = pid;
    page.msr = page.srr1;
    world.run_msr = (page.msr & world.fpu_msr) | RUN_MSR_LOW;
    state.pc = page.srr0 & ~3U;
    state.reserve_valid = 0;
    ++world.exits[EXIT_EMUL_RFI];
    return true;
}

} // namespace untrap::tests::native
