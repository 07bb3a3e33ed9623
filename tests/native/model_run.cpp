// SPDX-License-Identifier: GPL-2.0-only
// How the model runs the guest: its storage, and the world switch around it.

#include "machine.h"
#include "model_cpu.h"
#include "model_tables.h"
#include "runtime/byte_order.h"
#include "translator/interp/interpreter.h"
#include "translator/isa/table.h"

namespace untrap::tests::native {

using isa::Interrupt;
using isa::TrapKind;
using mmu::Access;
using mmu::TlbEntry;
using runtime::native::World;
namespace esr = isa::esr;
namespace msr = isa::msr;

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
        const bool by_patch = (opcode == 32 || opcode == 36) && (word_ >> 16 & 31) == 0 &&
                              (ea & (isa::CpuState::page_bytes - 1)) < sizeof(ppc::GuestPage);
        if (!fetch && !by_patch) running_->used_state_page = true;
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

} // namespace untrap::tests::native
