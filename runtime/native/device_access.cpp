// SPDX-License-Identifier: GPL-2.0-only
// Accesses where the guest has no memory.
#include "runtime/byte_order.h"
#include "runtime/native/native_engine.h"
#include "translator/interp/simple_access.h"
#include "translator/isa/table.h"

namespace untrap::runtime::native {

using isa::Trap;
using isa::TrapKind;

// Whether the access to no memory is all of its instruction: then the run loop need not interpret it to know.
bool NativeEngine::device_access(const Resolved& at, Trap& trap) {
    const isa::CpuState& state = vcpu_.state;
    if (!quick_ || vcpu_.guest_debug.one_by_one() || at.little_endian || at.page_shift < Memslot::page_shift)
        return false;
    Trap ignored;
    if (!vcpu_.storage.fetch(state.pc, trap.word, ignored)) return false;
    const isa::Instruction insn{.word = trap.word};
    const interp::SimpleAccess access = interp::simple_access(trap.word);
    if (access.size == 0 || access.store != trap.is_store || !interp::is_valid(access, insn)) return false;
    if (interp::address_of(access, insn, state) != trap.ea || (trap.ea & (access.size - 1U)) != 0) return false;
    trap.kind = TrapKind::mmio;
    trap.simple = true;
    trap.size = access.size;
    trap.real = at.real;
    trap.value = access.store ? interp::stored_value(access, insn, state) : 0;
    return true;
}

// An access to a byte that the device's pages are enough for, within the exit of its miss: lbz, stb, and the same
// indexed, as drivers have it. A guest that prints makes two for each character.
bool NativeEngine::device_access_quickly(std::uint32_t ea, const mmu::TlbEntry& entry, mmu::Access access) {
    constexpr std::uint32_t lbz = isa::match_of(isa::Op::lbz), lbzx = isa::match_of(isa::Op::lbzx);
    constexpr std::uint32_t stb = isa::match_of(isa::Op::stb), stbx = isa::match_of(isa::Op::stbx);
    const DevicePages* const pages = vcpu_.device_pages;
    const bool store = access == mmu::Access::store;
    if (pages == nullptr || !quick_ || from_stub_ || access == mmu::Access::fetch) return false;
    if (entry.little_endian() || entry.page_shift() < Memslot::page_shift) return false;
    const std::uint64_t real = entry.translate(ea);
    const DevicePages::Register found = pages->find(real);
    if (found.block == nullptr || vcpu_.memory.slot_of(real) != nullptr) return false;

    isa::CpuState& state = vcpu_.state;
    const Resolved at = vcpu_.storage.resolve(state.pc, mmu::Access::fetch);
    if (at.status != Resolved::Status::ok || at.little_endian) return false;
    const isa::Instruction insn{.word = static_cast<std::uint32_t>(load_big_endian(at.host, 4))};
    auto offset = static_cast<std::uint32_t>(insn.si());
    if (((insn.word ^ (store ? stb : lbz)) & 0xFC000000) != 0) {
        // The bit below the extended number means nothing here.
        if (((insn.word ^ (store ? stbx : lbzx)) & 0xFC0007FE) != 0) return false;
        offset = state.gpr[insn.rb()];
    }
    if ((insn.ra() != 0 ? state.gpr[insn.ra()] : 0) + offset != ea) return false;
    device_access_[store ? 1 : 0] = {
        ea,   state.pc, access_context(), insn.word, insn.rt(), vcpu_.tlb.version(), vcpu_.memory.version(), at.host,
        real, found};
    return same_device_access(ea, access);
}

std::uint32_t NativeEngine::access_context() const {
    const isa::StatePage& page = vcpu_.state.page;
    return (page.msr & (isa::msr::pr | isa::msr::is | isa::msr::ds)) << 8 | page.pid;
}

// The same by the same instruction as last time, with nothing changed between that decides what it does.
bool NativeEngine::same_device_access(std::uint32_t ea, mmu::Access access) {
    const DeviceAccess& last = device_access_[access == mmu::Access::store ? 1 : 0];
    isa::CpuState& state = vcpu_.state;
    if (last.ea != ea || last.pc != state.pc || last.context != access_context() || !quick_ || from_stub_) return false;
    if (last.tlb_version != vcpu_.tlb.version() || last.memory_version != vcpu_.memory.version()) return false;
    if (load_big_endian(last.code, 4) != last.word || !vcpu_.device_pages->is_at(last.found, last.real)) return false;
    std::uint32_t& rt = state.gpr[last.rt];
    if (access != mmu::Access::store) {
        if (!DevicePages::load(last.found, 1, rt)) return false;
    } else if (!DevicePages::no_store(last.found, 1, rt & 0xFF)) {
        DevicePages& pages = *vcpu_.device_pages;
        // The run loop makes the first store, since it sets the timer that ends the waiting of all.
        if (!pages.holds() || !pages.store(last.found, last.real, 1, rt & 0xFF, 0)) return false;
    }
    next();
    count(ExitReason::mmio);
    return true;
}

} // namespace untrap::runtime::native
