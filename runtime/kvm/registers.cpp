// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/kvm/registers.h"

#include <array>
#include <cstddef>

#include "runtime/debug.h"
#include "runtime/kvm/errno_values.h"
#include "translator/fp/fpscr.h"

namespace untrap::runtime::kvm_registers {

namespace {

constexpr std::uint32_t instruction_address = ~std::uint32_t{3};
constexpr std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }

// Arrays of the architecture's registers to those of the interface, and back under a mask.
template <typename To, std::size_t Count>
void copy(const std::array<std::uint32_t, Count>& from, To (&to)[Count]) {
    for (std::size_t index = 0; index < Count; ++index) to[index] = from[index];
}
template <typename From, std::size_t Count>
void copy(const From (&from)[Count], std::array<std::uint32_t, Count>& to, std::uint32_t mask = 0xFFFFFFFF) {
    for (std::size_t index = 0; index < Count; ++index) to[index] = low(from[index]) & mask;
}

constexpr std::uint32_t sections = abi::sregs_e_base | abi::sregs_e_ivor | abi::sregs_e_mcivpr | abi::sregs_e_debug;

} // namespace

void get(Vcpu& vcpu, abi::kvm_regs& regs) {
    const isa::CpuState& state = vcpu.state;
    regs = {};
    regs.pc = state.pc;
    regs.cr = state.cr();
    regs.ctr = state.ctr;
    regs.lr = state.lr;
    regs.xer = state.xer();
    regs.msr = state.page.msr;
    regs.srr0 = state.page.srr0;
    regs.srr1 = state.page.srr1;
    regs.pid = state.page.pid;
    copy(state.page.sprg, regs.sprg);
    copy(state.gpr, regs.gpr);
}

void set(Vcpu& vcpu, const abi::kvm_regs& regs) {
    isa::CpuState& state = vcpu.state;
    vcpu.abandon_instruction();
    state.pc = low(regs.pc) & instruction_address;
    state.set_cr(low(regs.cr));
    state.ctr = low(regs.ctr);
    state.lr = low(regs.lr);
    state.set_xer(low(regs.xer));
    vcpu.set_msr(low(regs.msr));
    state.page.srr0 = low(regs.srr0) & instruction_address;
    state.page.srr1 = low(regs.srr1);
    vcpu.set_pid(low(regs.pid));
    copy(regs.sprg, state.page.sprg);
    copy(regs.gpr, state.gpr);
    state.reserve_valid = 0;
}

void get(Vcpu& vcpu, abi::kvm_sregs& sregs) {
    const isa::CpuState& state = vcpu.state;
    __builtin_memset(&sregs, 0, sizeof(sregs));
    sregs.pvr = state.pvr;
    abi::kvm_sregs_booke& e = sregs.u.e;
    e.features = sections;
    e.impl_id = abi::sregs_e_impl_none;
    e.pir = state.pir;
    e.csrr0 = state.page.csrr0;
    e.csrr1 = state.page.csrr1;
    e.mcsrr0 = state.page.mcsrr0;
    e.mcsrr1 = state.page.mcsrr1;
    e.esr = state.page.esr;
    e.dear = state.page.dear;
    e.mcsr = state.mcsr;
    e.tsr = vcpu.timers.tsr();
    e.tcr = state.tcr;
    e.decar = state.decar;
    e.dec = vcpu.timers.dec();
    e.tb = vcpu.timers.timebase();
    e.vrsave = state.usprg0;
    e.ivpr = state.ivpr;
    copy(state.ivor, e.ivor_low);
    e.dbsr = state.dbsr;
    e.dbcr[0] = state.dbcr0;
    e.dbcr[1] = state.dbcr1;
    e.dbcr[2] = state.dbcr2;
    copy(state.iac, e.iac);
    copy(state.dac, e.dac);
    copy(state.dvc, e.dvc);
    e.num_iac = 4;
    e.num_dac = 2;
    e.num_dvc = 2;
}

int set(Vcpu& vcpu, const abi::kvm_sregs& sregs) {
    isa::CpuState& state = vcpu.state;
    const abi::kvm_sregs_booke& e = sregs.u.e;
    if (sregs.pvr != state.pvr || (e.features & ~sections) != 0) return -errno_values::einval;
    vcpu.abandon_instruction();
    if ((e.features & abi::sregs_e_base) != 0) {
        state.page.csrr0 = low(e.csrr0) & instruction_address;
        state.page.csrr1 = e.csrr1;
        state.page.esr = e.esr;
        state.page.dear = low(e.dear);
        state.usprg0 = e.vrsave;
        vcpu.timers.set_tcr(e.tcr);
        vcpu.timers.write_decar(e.decar);
        vcpu.timers.set_timebase(e.tb);
        if ((e.update_special & abi::sregs_e_update_mcsr) != 0) state.mcsr = low(e.mcsr);
        if ((e.update_special & abi::sregs_e_update_tsr) != 0) vcpu.timers.set_tsr(e.tsr);
        if ((e.update_special & abi::sregs_e_update_dec) != 0) vcpu.timers.write_dec(e.dec);
    }
    if ((e.features & abi::sregs_e_mcivpr) != 0) {
        state.page.mcsrr0 = low(e.mcsrr0) & instruction_address;
        state.page.mcsrr1 = e.mcsrr1;
    }
    if ((e.features & abi::sregs_e_ivor) != 0) {
        state.ivpr = low(e.ivpr) & 0xFFFF0000;
        copy(e.ivor_low, state.ivor, 0xFFF0);
    }
    if ((e.features & abi::sregs_e_debug) != 0) {
        if ((e.update_special & abi::sregs_e_update_dbsr) != 0) state.dbsr = e.dbsr;
        state.dbcr0 = e.dbcr[0] & ~isa::dbcr0::rst; // a reset is no state
        state.dbcr1 = e.dbcr[1];
        state.dbcr2 = e.dbcr[2];
        copy(e.iac, state.iac, instruction_address);
        copy(e.dac, state.dac);
        copy(e.dvc, state.dvc);
        debug::control_changed(vcpu);
    }
    vcpu.update_pending();
    return 0;
}

void get(const Vcpu& vcpu, abi::kvm_fpu& fpu) {
    static_assert(sizeof(fpu.fpr) == sizeof(vcpu.state.fpr));
    __builtin_memcpy(fpu.fpr, vcpu.state.fpr.data(), sizeof(fpu.fpr));
}

void set(Vcpu& vcpu, const abi::kvm_fpu& fpu) { __builtin_memcpy(vcpu.state.fpr.data(), fpu.fpr, sizeof(fpu.fpr)); }

namespace {

// Registers of one value each. Returns false for an unknown one.
bool read_one(Vcpu& vcpu, std::uint64_t id, std::uint64_t& value) {
    const isa::CpuState& state = vcpu.state;
    if (id >= abi::reg_ppc_fpr0 && id <= abi::reg_ppc_fpr31) {
        value = state.fpr[low(id - abi::reg_ppc_fpr0)];
        return true;
    }
    if (id >= abi::reg_ppc_iac1 && id <= abi::reg_ppc_iac4) {
        value = state.iac[low(id - abi::reg_ppc_iac1)];
        return true;
    }
    switch (id) {
    case abi::reg_ppc_dac1: value = state.dac[0]; return true;
    case abi::reg_ppc_dac2: value = state.dac[1]; return true;
    case abi::reg_ppc_fpscr: value = state.fpscr; return true;
    case abi::reg_ppc_tcr: value = state.tcr; return true;
    case abi::reg_ppc_tsr: value = vcpu.timers.tsr(); return true;
    case abi::reg_ppc_pid: value = state.page.pid; return true;
    case abi::reg_ppc_vrsave: value = state.usprg0; return true;
    case abi::reg_ppc_dbsr: value = state.dbsr; return true;
    case abi::reg_ppc_debug_inst: value = GuestDebug::breakpoint_word; return true;
    default: return false;
    }
}

bool write_one(Vcpu& vcpu, std::uint64_t id, std::uint64_t value) {
    isa::CpuState& state = vcpu.state;
    if (id >= abi::reg_ppc_fpr0 && id <= abi::reg_ppc_fpr31) {
        state.fpr[low(id - abi::reg_ppc_fpr0)] = value;
        return true;
    }
    if (id >= abi::reg_ppc_iac1 && id <= abi::reg_ppc_iac4) {
        state.iac[low(id - abi::reg_ppc_iac1)] = low(value) & instruction_address;
        return true;
    }
    switch (id) {
    case abi::reg_ppc_dac1: state.dac[0] = low(value); break;
    case abi::reg_ppc_dac2: state.dac[1] = low(value); break;
    case abi::reg_ppc_fpscr: state.fpscr = fp::with_summaries(low(value)); break;
    case abi::reg_ppc_tcr: vcpu.timers.set_tcr(low(value)); break;
    case abi::reg_ppc_tsr: vcpu.timers.set_tsr(low(value)); break;
    case abi::reg_ppc_or_tsr: vcpu.timers.set_tsr(vcpu.timers.tsr() | low(value)); break;
    case abi::reg_ppc_clear_tsr: vcpu.timers.clear_tsr(low(value)); break;
    case abi::reg_ppc_pid: vcpu.set_pid(low(value)); break;
    case abi::reg_ppc_vrsave: state.usprg0 = low(value); break;
    case abi::reg_ppc_dbsr:
        state.dbsr = low(value);
        debug::control_changed(vcpu);
        break;
    default: return false;
    }
    vcpu.update_pending();
    return true;
}

constexpr std::uint64_t registers_but_fprs[] = {
    abi::reg_ppc_iac1, abi::reg_ppc_iac2,   abi::reg_ppc_iac3, abi::reg_ppc_iac4, abi::reg_ppc_dac1,
    abi::reg_ppc_dac2, abi::reg_ppc_fpscr,  abi::reg_ppc_tcr,  abi::reg_ppc_tsr,  abi::reg_ppc_debug_inst,
    abi::reg_ppc_pid,  abi::reg_ppc_vrsave, abi::reg_ppc_dbsr};
constexpr unsigned fprs = 32;
constexpr unsigned others = sizeof(registers_but_fprs) / sizeof(registers_but_fprs[0]);

} // namespace

int get_one(Vcpu& vcpu, std::uint64_t id, std::uint64_t& value) {
    return read_one(vcpu, id, value) ? 0 : -errno_values::einval;
}

int set_one(Vcpu& vcpu, std::uint64_t id, std::uint64_t value) {
    return write_one(vcpu, id, value) ? 0 : -errno_values::einval;
}

unsigned register_count() { return fprs + others; }

std::uint64_t register_id(unsigned index) {
    if (index < fprs) return abi::reg_ppc_fpr(index);
    return index < fprs + others ? registers_but_fprs[index - fprs] : 0;
}

void translate(const Vcpu& vcpu, abi::kvm_translation& translation) {
    const std::uint64_t address = translation.linear_address;
    const auto ea = low(address);
    const auto space = static_cast<unsigned>(address >> 40 & 1);
    const auto pid = static_cast<unsigned>(address >> 32 & 0xFF);
    translation = {};
    translation.linear_address = address;
    const int index = vcpu.tlb.search(ea, space, pid);
    if (index < 0) return;
    const mmu::TlbEntry& entry = vcpu.tlb.entry(static_cast<unsigned>(index));
    translation.physical_address = entry.translate(ea);
    translation.valid = 1;
    translation.writeable = (entry.word2 & (mmu::TlbEntry::sw | mmu::TlbEntry::uw)) != 0;
    translation.usermode = (entry.word2 & (mmu::TlbEntry::ux | mmu::TlbEntry::uw | mmu::TlbEntry::ur)) != 0;
}

std::uint32_t get_mp_state(const Vcpu& vcpu) {
    return (vcpu.state.page.msr & isa::msr::we) != 0 ? abi::mp_state_halted : abi::mp_state_runnable;
}

int set_mp_state(Vcpu& vcpu, std::uint32_t mp_state) {
    if (mp_state != abi::mp_state_runnable && mp_state != abi::mp_state_halted) return -errno_values::einval;
    const std::uint32_t msr = vcpu.state.page.msr;
    vcpu.set_msr(mp_state == abi::mp_state_halted ? msr | isa::msr::we : msr & ~isa::msr::we);
    return 0;
}

int set_guest_debug(Vcpu& vcpu, const abi::kvm_guest_debug& request) {
    constexpr std::uint32_t known_control =
        abi::guestdbg_enable | abi::guestdbg_singlestep | abi::guestdbg_use_sw_bp | abi::guestdbg_use_hw_bp;
    constexpr std::uint32_t known_types = abi::debug_breakpoint | abi::debug_watch_read | abi::debug_watch_write;
    if ((request.control & ~known_control) != 0) return -errno_values::einval;
    GuestDebug config;
    const bool enabled = (request.control & abi::guestdbg_enable) != 0;
    config.single_step = enabled && (request.control & abi::guestdbg_singlestep) != 0;
    config.software_breakpoints = enabled && (request.control & abi::guestdbg_use_sw_bp) != 0;
    if (enabled && (request.control & abi::guestdbg_use_hw_bp) != 0) {
        for (const abi::kvm_guest_debug_breakpoint& point : request.arch.bp) {
            if (point.type == abi::debug_none) continue;
            if ((point.type & ~known_types) != 0 || low(point.addr) != point.addr) return -errno_values::einval;
            if ((point.type & abi::debug_breakpoint) != 0) {
                if (config.breakpoint_count == GuestDebug::breakpoint_limit) return -errno_values::einval;
                config.breakpoints[config.breakpoint_count++] = low(point.addr);
            } else {
                if (config.watchpoint_count == GuestDebug::watchpoint_limit) return -errno_values::einval;
                config.watchpoints[config.watchpoint_count++] = {low(point.addr),
                                                                 (point.type & abi::debug_watch_read) != 0,
                                                                 (point.type & abi::debug_watch_write) != 0};
            }
        }
    }
    vcpu.guest_debug = config;
    return 0;
}

} // namespace untrap::runtime::kvm_registers
