// SPDX-License-Identifier: GPL-2.0-only

// Compiled, never run, by the PowerPC cross compiler: our KVM definitions against the kernel's own header.

#include <linux/kvm.h>

#include "runtime/kvm/untrap_abi.h"

namespace abi = untrap::abi;

#define SAME_SIZE(type) static_assert(sizeof(abi::type) == sizeof(::type), "size of " #type)
// One field: same place, same size.
#define SAME_FIELD(type, ours, theirs)                                                                                 \
    static_assert(offsetof(abi::type, ours) == offsetof(::type, theirs), "offset of " #type "." #theirs);              \
    static_assert(sizeof(abi::type::ours) == sizeof(((::type*)nullptr)->theirs), "size of " #type "." #theirs)
#define FIELD(type, name) SAME_FIELD(type, name, name)
// Fields of nested aggregates: only the place.
#define PLACE(type, ours, theirs)                                                                                      \
    static_assert(offsetof(abi::type, ours) == offsetof(::type, theirs), "offset of " #type "." #theirs)
#define SAME(ours, theirs) static_assert((abi::ours) == (theirs), #ours " is not " #theirs)

// ---- structures

SAME_SIZE(kvm_regs);
FIELD(kvm_regs, pc);
FIELD(kvm_regs, cr);
FIELD(kvm_regs, ctr);
FIELD(kvm_regs, lr);
FIELD(kvm_regs, xer);
FIELD(kvm_regs, msr);
FIELD(kvm_regs, srr0);
FIELD(kvm_regs, srr1);
FIELD(kvm_regs, pid);
PLACE(kvm_regs, sprg[0], sprg0);
PLACE(kvm_regs, sprg[1], sprg1);
PLACE(kvm_regs, sprg[2], sprg2);
PLACE(kvm_regs, sprg[3], sprg3);
PLACE(kvm_regs, sprg[4], sprg4);
PLACE(kvm_regs, sprg[5], sprg5);
PLACE(kvm_regs, sprg[6], sprg6);
PLACE(kvm_regs, sprg[7], sprg7);
FIELD(kvm_regs, gpr);

SAME_SIZE(kvm_sregs);
FIELD(kvm_sregs, pvr);
FIELD(kvm_sregs, u);
static_assert(sizeof(abi::kvm_sregs_booke) == sizeof(((::kvm_sregs*)nullptr)->u.e));
static_assert(sizeof(abi::kvm_sregs_books_layout) == sizeof(((::kvm_sregs*)nullptr)->u.s));
#define BOOKE(name)                                                                                                    \
    PLACE(kvm_sregs, u.e.name, u.e.name);                                                                              \
    static_assert(sizeof(abi::kvm_sregs_booke::name) == sizeof(((::kvm_sregs*)nullptr)->u.e.name), "size of " #name)
BOOKE(impl);
BOOKE(features);
BOOKE(impl_id);
BOOKE(update_special);
BOOKE(pir);
BOOKE(sprg8);
BOOKE(sprg9);
BOOKE(csrr0);
BOOKE(dsrr0);
BOOKE(mcsrr0);
BOOKE(csrr1);
BOOKE(dsrr1);
BOOKE(mcsrr1);
BOOKE(esr);
BOOKE(dear);
BOOKE(ivpr);
BOOKE(mcivpr);
BOOKE(mcsr);
BOOKE(tsr);
BOOKE(tcr);
BOOKE(decar);
BOOKE(dec);
BOOKE(tb);
BOOKE(dbsr);
BOOKE(dbcr);
BOOKE(iac);
BOOKE(dac);
BOOKE(dvc);
BOOKE(num_iac);
BOOKE(num_dac);
BOOKE(num_dvc);
BOOKE(pad);
BOOKE(epr);
BOOKE(vrsave);
BOOKE(epcr);
BOOKE(mas0);
BOOKE(mas1);
BOOKE(mas2);
BOOKE(mas7_3);
BOOKE(mas4);
BOOKE(mas6);
BOOKE(ivor_low);
BOOKE(ivor_high);
BOOKE(mmucfg);
BOOKE(eptcfg);
BOOKE(tlbcfg);
BOOKE(tlbps);
BOOKE(eplc);
BOOKE(epsc);

SAME_SIZE(kvm_fpu);
FIELD(kvm_fpu, fpr);

SAME_SIZE(kvm_userspace_memory_region);
FIELD(kvm_userspace_memory_region, slot);
FIELD(kvm_userspace_memory_region, flags);
FIELD(kvm_userspace_memory_region, guest_phys_addr);
FIELD(kvm_userspace_memory_region, memory_size);
FIELD(kvm_userspace_memory_region, userspace_addr);

SAME_SIZE(kvm_interrupt);
FIELD(kvm_interrupt, irq);

SAME_SIZE(kvm_one_reg);
FIELD(kvm_one_reg, id);
FIELD(kvm_one_reg, addr);

SAME_SIZE(kvm_reg_list);
FIELD(kvm_reg_list, n);
static_assert(sizeof(abi::kvm_reg_list) == offsetof(::kvm_reg_list, reg));

SAME_SIZE(kvm_enable_cap);
FIELD(kvm_enable_cap, cap);
FIELD(kvm_enable_cap, flags);
FIELD(kvm_enable_cap, args);
FIELD(kvm_enable_cap, pad);

SAME_SIZE(kvm_mp_state);
FIELD(kvm_mp_state, mp_state);

SAME_SIZE(kvm_translation);
FIELD(kvm_translation, linear_address);
FIELD(kvm_translation, physical_address);
FIELD(kvm_translation, valid);
FIELD(kvm_translation, writeable);
FIELD(kvm_translation, usermode);
FIELD(kvm_translation, pad);

SAME_SIZE(kvm_dirty_log);
FIELD(kvm_dirty_log, slot);
FIELD(kvm_dirty_log, padding1);
FIELD(kvm_dirty_log, dirty_bitmap);
FIELD(kvm_dirty_log, padding2);

SAME_SIZE(kvm_signal_mask);
FIELD(kvm_signal_mask, len);
static_assert(sizeof(abi::kvm_signal_mask) == offsetof(::kvm_signal_mask, sigset));

SAME_SIZE(kvm_debug_exit_arch);
FIELD(kvm_debug_exit_arch, address);
FIELD(kvm_debug_exit_arch, status);
FIELD(kvm_debug_exit_arch, reserved);

SAME_SIZE(kvm_guest_debug_arch);
FIELD(kvm_guest_debug_arch, bp);
PLACE(kvm_guest_debug_arch, bp[1].addr, bp[1].addr);
PLACE(kvm_guest_debug_arch, bp[1].type, bp[1].type);
PLACE(kvm_guest_debug_arch, bp[1].reserved, bp[1].reserved);

SAME_SIZE(kvm_guest_debug);
FIELD(kvm_guest_debug, control);
FIELD(kvm_guest_debug, pad);
FIELD(kvm_guest_debug, arch);

SAME_SIZE(kvm_irqfd);
FIELD(kvm_irqfd, fd);
FIELD(kvm_irqfd, gsi);
FIELD(kvm_irqfd, flags);
FIELD(kvm_irqfd, resamplefd);
FIELD(kvm_irqfd, pad);

SAME_SIZE(kvm_ioeventfd);
FIELD(kvm_ioeventfd, datamatch);
FIELD(kvm_ioeventfd, addr);
FIELD(kvm_ioeventfd, len);
FIELD(kvm_ioeventfd, fd);
FIELD(kvm_ioeventfd, flags);
FIELD(kvm_ioeventfd, pad);

SAME_SIZE(kvm_run);
FIELD(kvm_run, request_interrupt_window);
FIELD(kvm_run, immediate_exit);
FIELD(kvm_run, padding1);
FIELD(kvm_run, exit_reason);
FIELD(kvm_run, ready_for_interrupt_injection);
FIELD(kvm_run, if_flag);
FIELD(kvm_run, flags);
FIELD(kvm_run, cr8);
FIELD(kvm_run, apic_base);
FIELD(kvm_run, hw);
FIELD(kvm_run, fail_entry);
FIELD(kvm_run, debug);
FIELD(kvm_run, mmio);
FIELD(kvm_run, dcr);
FIELD(kvm_run, internal);
FIELD(kvm_run, system_event);
FIELD(kvm_run, padding);
FIELD(kvm_run, kvm_valid_regs);
FIELD(kvm_run, kvm_dirty_regs);
SAME_FIELD(kvm_run, sync_regs, s);
PLACE(kvm_run, hw.hardware_exit_reason, hw.hardware_exit_reason);
PLACE(kvm_run, fail_entry.hardware_entry_failure_reason, fail_entry.hardware_entry_failure_reason);
PLACE(kvm_run, fail_entry.cpu, fail_entry.cpu);
PLACE(kvm_run, debug.arch, debug.arch);
PLACE(kvm_run, mmio.phys_addr, mmio.phys_addr);
PLACE(kvm_run, mmio.data, mmio.data);
PLACE(kvm_run, mmio.len, mmio.len);
PLACE(kvm_run, mmio.is_write, mmio.is_write);
PLACE(kvm_run, dcr.dcrn, dcr.dcrn);
PLACE(kvm_run, dcr.data, dcr.data);
PLACE(kvm_run, dcr.is_write, dcr.is_write);
PLACE(kvm_run, internal.suberror, internal.suberror);
PLACE(kvm_run, internal.ndata, internal.ndata);
PLACE(kvm_run, internal.data, internal.data);
PLACE(kvm_run, system_event.type, system_event.type);
PLACE(kvm_run, system_event.ndata, system_event.ndata);
PLACE(kvm_run, system_event.data, system_event.data);

// ---- numbers

SAME(api_version, KVM_API_VERSION);
SAME(ioctl_get_api_version, KVM_GET_API_VERSION);
SAME(ioctl_create_vm, KVM_CREATE_VM);
SAME(ioctl_check_extension, KVM_CHECK_EXTENSION);
SAME(ioctl_get_vcpu_mmap_size, KVM_GET_VCPU_MMAP_SIZE);
SAME(ioctl_create_vcpu, KVM_CREATE_VCPU);
SAME(ioctl_get_dirty_log, KVM_GET_DIRTY_LOG);
SAME(ioctl_set_user_memory_region, KVM_SET_USER_MEMORY_REGION);
SAME(ioctl_irqfd, KVM_IRQFD);
SAME(ioctl_ioeventfd, KVM_IOEVENTFD);
SAME(ioctl_run, KVM_RUN);
SAME(ioctl_get_regs, KVM_GET_REGS);
SAME(ioctl_set_regs, KVM_SET_REGS);
SAME(ioctl_get_sregs, KVM_GET_SREGS);
SAME(ioctl_set_sregs, KVM_SET_SREGS);
SAME(ioctl_translate, KVM_TRANSLATE);
SAME(ioctl_interrupt, KVM_INTERRUPT);
SAME(ioctl_set_signal_mask, KVM_SET_SIGNAL_MASK);
SAME(ioctl_get_fpu, KVM_GET_FPU);
SAME(ioctl_set_fpu, KVM_SET_FPU);
SAME(ioctl_get_mp_state, KVM_GET_MP_STATE);
SAME(ioctl_set_mp_state, KVM_SET_MP_STATE);
SAME(ioctl_set_guest_debug, KVM_SET_GUEST_DEBUG);
SAME(ioctl_enable_cap, KVM_ENABLE_CAP);
SAME(ioctl_get_one_reg, KVM_GET_ONE_REG);
SAME(ioctl_set_one_reg, KVM_SET_ONE_REG);
SAME(ioctl_get_reg_list, KVM_GET_REG_LIST);
SAME(ioctl_get_stats_fd, KVM_GET_STATS_FD);
static_assert(abi::untrap_get_stats == _IOR(KVMIO, 0xF0, abi::UntrapStats));
static_assert(abi::untrap_memory_written == _IOW(KVMIO, 0xF1, abi::UntrapMemoryRange));

SAME(mem_log_dirty_pages, KVM_MEM_LOG_DIRTY_PAGES);
SAME(mem_readonly, KVM_MEM_READONLY);
SAME(interrupt_set, KVM_INTERRUPT_SET);
SAME(interrupt_unset, KVM_INTERRUPT_UNSET);
SAME(interrupt_set_level, KVM_INTERRUPT_SET_LEVEL);
SAME(mp_state_runnable, KVM_MP_STATE_RUNNABLE);
SAME(mp_state_halted, KVM_MP_STATE_HALTED);
SAME(mp_state_stopped, KVM_MP_STATE_STOPPED);
SAME(guestdbg_enable, KVM_GUESTDBG_ENABLE);
SAME(guestdbg_singlestep, KVM_GUESTDBG_SINGLESTEP);
SAME(guestdbg_use_sw_bp, KVM_GUESTDBG_USE_SW_BP);
SAME(guestdbg_use_hw_bp, KVM_GUESTDBG_USE_HW_BP);
SAME(debug_none, KVMPPC_DEBUG_NONE);
SAME(debug_breakpoint, KVMPPC_DEBUG_BREAKPOINT);
SAME(debug_watch_write, KVMPPC_DEBUG_WATCH_WRITE);
SAME(debug_watch_read, KVMPPC_DEBUG_WATCH_READ);
SAME(irqfd_flag_deassign, KVM_IRQFD_FLAG_DEASSIGN);
SAME(irqfd_flag_resample, KVM_IRQFD_FLAG_RESAMPLE);
SAME(ioeventfd_flag_datamatch, KVM_IOEVENTFD_FLAG_DATAMATCH);
SAME(ioeventfd_flag_deassign, KVM_IOEVENTFD_FLAG_DEASSIGN);

SAME(sregs_e_base, KVM_SREGS_E_BASE);
SAME(sregs_e_arch206, KVM_SREGS_E_ARCH206);
SAME(sregs_e_64, KVM_SREGS_E_64);
SAME(sregs_e_sprg8, KVM_SREGS_E_SPRG8);
SAME(sregs_e_mcivpr, KVM_SREGS_E_MCIVPR);
SAME(sregs_e_ivor, KVM_SREGS_E_IVOR);
SAME(sregs_e_arch206_mmu, KVM_SREGS_E_ARCH206_MMU);
SAME(sregs_e_debug, KVM_SREGS_E_DEBUG);
SAME(sregs_e_ed, KVM_SREGS_E_ED);
SAME(sregs_e_spe, KVM_SREGS_E_SPE);
SAME(sregs_e_pd, KVM_SREGS_E_PD);
SAME(sregs_e_pc, KVM_SREGS_E_PC);
SAME(sregs_e_pt, KVM_SREGS_E_PT);
SAME(sregs_e_pm, KVM_SREGS_E_PM);
SAME(sregs_e_update_mcsr, KVM_SREGS_E_UPDATE_MCSR);
SAME(sregs_e_update_tsr, KVM_SREGS_E_UPDATE_TSR);
SAME(sregs_e_update_dec, KVM_SREGS_E_UPDATE_DEC);
SAME(sregs_e_update_dbsr, KVM_SREGS_E_UPDATE_DBSR);
SAME(sregs_e_impl_none, KVM_SREGS_E_IMPL_NONE);

SAME(exit_unknown, KVM_EXIT_UNKNOWN);
SAME(exit_exception, KVM_EXIT_EXCEPTION);
SAME(exit_debug, KVM_EXIT_DEBUG);
SAME(exit_hlt, KVM_EXIT_HLT);
SAME(exit_mmio, KVM_EXIT_MMIO);
SAME(exit_shutdown, KVM_EXIT_SHUTDOWN);
SAME(exit_fail_entry, KVM_EXIT_FAIL_ENTRY);
SAME(exit_intr, KVM_EXIT_INTR);
SAME(exit_dcr, KVM_EXIT_DCR);
SAME(exit_internal_error, KVM_EXIT_INTERNAL_ERROR);
SAME(exit_watchdog, KVM_EXIT_WATCHDOG);
SAME(exit_system_event, KVM_EXIT_SYSTEM_EVENT);
SAME(internal_error_emulation, KVM_INTERNAL_ERROR_EMULATION);
SAME(internal_error_simul_ex, KVM_INTERNAL_ERROR_SIMUL_EX);
SAME(internal_error_delivery_ev, KVM_INTERNAL_ERROR_DELIVERY_EV);
SAME(internal_error_unexpected_exit_reason, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON);
SAME(system_event_shutdown, KVM_SYSTEM_EVENT_SHUTDOWN);
SAME(system_event_reset, KVM_SYSTEM_EVENT_RESET);
SAME(system_event_crash, KVM_SYSTEM_EVENT_CRASH);

SAME(cap_user_memory, KVM_CAP_USER_MEMORY);
SAME(cap_nr_vcpus, KVM_CAP_NR_VCPUS);
SAME(cap_nr_memslots, KVM_CAP_NR_MEMSLOTS);
SAME(cap_mp_state, KVM_CAP_MP_STATE);
SAME(cap_coalesced_mmio, KVM_CAP_COALESCED_MMIO);
SAME(cap_sync_mmu, KVM_CAP_SYNC_MMU);
SAME_SIZE(kvm_coalesced_mmio_zone);
FIELD(kvm_coalesced_mmio_zone, addr);
FIELD(kvm_coalesced_mmio_zone, size);
FIELD(kvm_coalesced_mmio_zone, pio);
SAME_SIZE(kvm_coalesced_mmio);
FIELD(kvm_coalesced_mmio, phys_addr);
FIELD(kvm_coalesced_mmio, len);
FIELD(kvm_coalesced_mmio, pio);
FIELD(kvm_coalesced_mmio, data);
FIELD(kvm_coalesced_mmio_ring, first);
FIELD(kvm_coalesced_mmio_ring, last);
PLACE(kvm_coalesced_mmio_ring, coalesced_mmio, coalesced_mmio);
#define PAGE_SIZE 4096 // which the header leaves to its user
SAME(coalesced_mmio_max, KVM_COALESCED_MMIO_MAX);
SAME(ioctl_register_coalesced_mmio, KVM_REGISTER_COALESCED_MMIO);
SAME(ioctl_unregister_coalesced_mmio, KVM_UNREGISTER_COALESCED_MMIO);
SAME(cap_destroy_memory_region_works, KVM_CAP_DESTROY_MEMORY_REGION_WORKS);
SAME(cap_set_guest_debug, KVM_CAP_SET_GUEST_DEBUG);
SAME(cap_join_memory_regions_works, KVM_CAP_JOIN_MEMORY_REGIONS_WORKS);
SAME(cap_irqfd, KVM_CAP_IRQFD);
SAME(cap_ioeventfd, KVM_CAP_IOEVENTFD);
SAME(cap_internal_error_data, KVM_CAP_INTERNAL_ERROR_DATA);
SAME(cap_ppc_segstate, KVM_CAP_PPC_SEGSTATE);
SAME(cap_ppc_unset_irq, KVM_CAP_PPC_UNSET_IRQ);
SAME(cap_enable_cap, KVM_CAP_ENABLE_CAP);
SAME(cap_ppc_irq_level, KVM_CAP_PPC_IRQ_LEVEL);
SAME(cap_ppc_booke_sregs, KVM_CAP_PPC_BOOKE_SREGS);
SAME(cap_max_vcpus, KVM_CAP_MAX_VCPUS);
SAME(cap_ppc_hior, KVM_CAP_PPC_HIOR);
SAME(cap_one_reg, KVM_CAP_ONE_REG);
SAME(cap_readonly_mem, KVM_CAP_READONLY_MEM);
SAME(cap_enable_cap_vm, KVM_CAP_ENABLE_CAP_VM);
SAME(cap_check_extension_vm, KVM_CAP_CHECK_EXTENSION_VM);
SAME(cap_guest_debug_hw_bps, KVM_CAP_GUEST_DEBUG_HW_BPS);
SAME(cap_guest_debug_hw_wps, KVM_CAP_GUEST_DEBUG_HW_WPS);
SAME(cap_max_vcpu_id, KVM_CAP_MAX_VCPU_ID);
SAME(cap_immediate_exit, KVM_CAP_IMMEDIATE_EXIT);
SAME(cap_ppc_guest_debug_sstep, KVM_CAP_PPC_GUEST_DEBUG_SSTEP);
SAME(cap_binary_stats_fd, KVM_CAP_BINARY_STATS_FD);

SAME(reg_ppc, KVM_REG_PPC);
SAME(reg_size_mask, KVM_REG_SIZE_MASK);
SAME(reg_size_u32, KVM_REG_SIZE_U32);
SAME(reg_size_u64, KVM_REG_SIZE_U64);
static_assert(abi::reg_size_bytes(KVM_REG_PPC_FPR0) == 8 && abi::reg_size_bytes(KVM_REG_PPC_TCR) == 4);
SAME(reg_ppc_iac1, KVM_REG_PPC_IAC1);
SAME(reg_ppc_iac2, KVM_REG_PPC_IAC2);
SAME(reg_ppc_iac3, KVM_REG_PPC_IAC3);
SAME(reg_ppc_iac4, KVM_REG_PPC_IAC4);
SAME(reg_ppc_dac1, KVM_REG_PPC_DAC1);
SAME(reg_ppc_dac2, KVM_REG_PPC_DAC2);
SAME(reg_ppc_fpr0, KVM_REG_PPC_FPR0);
SAME(reg_ppc_fpr31, KVM_REG_PPC_FPR31);
SAME(reg_ppc_fpr(7), KVM_REG_PPC_FPR(7));
SAME(reg_ppc_fpscr, KVM_REG_PPC_FPSCR);
SAME(reg_ppc_or_tsr, KVM_REG_PPC_OR_TSR);
SAME(reg_ppc_clear_tsr, KVM_REG_PPC_CLEAR_TSR);
SAME(reg_ppc_tcr, KVM_REG_PPC_TCR);
SAME(reg_ppc_tsr, KVM_REG_PPC_TSR);
SAME(reg_ppc_debug_inst, KVM_REG_PPC_DEBUG_INST);
SAME(reg_ppc_tb_offset, KVM_REG_PPC_TB_OFFSET);
SAME(reg_ppc_pid, KVM_REG_PPC_PID);
SAME(reg_ppc_vrsave, KVM_REG_PPC_VRSAVE);
SAME(reg_ppc_dbsr, KVM_REG_PPC_DBSR);
