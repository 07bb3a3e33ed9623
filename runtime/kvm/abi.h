// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// The KVM user interface as a PowerPC host defines it: structures, ioctl numbers, exit reasons, capabilities and
// register identifiers, under the KVM names without their KVM_ prefix. Both hosts speak it: native440 as a kernel
// module, soft440 in process on x86-64. Every 64-bit field is 8-byte aligned on both, so one definition serves both;
// tests/abi compares all of it with the <linux/kvm.h> of a PowerPC cross compiler.
//
// Fields are in host byte order except where noted.

#include <cstddef>
#include <cstdint>

namespace untrap::abi {

// ---- ioctl numbers -------------------------------------------------------------------------------------------------

// PowerPC encodes an ioctl as 3 direction bits, 13 size bits, 8 type bits, 8 number bits (x86 has 2 and 14).
namespace ioc {
inline constexpr std::uint32_t none = 1;
inline constexpr std::uint32_t read = 2;  // the kernel writes, userspace reads
inline constexpr std::uint32_t write = 4; // userspace writes, the kernel reads
inline constexpr std::uint32_t kvm_type = 0xAE;

constexpr std::uint32_t encode(std::uint32_t direction, std::uint32_t number, std::size_t size) {
    return direction << 29 | static_cast<std::uint32_t>(size) << 16 | kvm_type << 8 | number;
}

constexpr std::uint32_t io(std::uint32_t number) { return encode(none, number, 0); }
template <typename T>
constexpr std::uint32_t ior(std::uint32_t number) {
    return encode(read, number, sizeof(T));
}
template <typename T>
constexpr std::uint32_t iow(std::uint32_t number) {
    return encode(write, number, sizeof(T));
}
template <typename T>
constexpr std::uint32_t iowr(std::uint32_t number) {
    return encode(read | write, number, sizeof(T));
}
} // namespace ioc

inline constexpr int api_version = 12;

// ---- structures ----------------------------------------------------------------------------------------------------

struct kvm_regs {
    std::uint64_t pc;
    std::uint64_t cr;
    std::uint64_t ctr;
    std::uint64_t lr;
    std::uint64_t xer;
    std::uint64_t msr;
    std::uint64_t srr0;
    std::uint64_t srr1;
    std::uint64_t pid;
    std::uint64_t sprg[8]; // sprg0 … sprg7, eight fields in the kernel's header
    std::uint64_t gpr[32];
};

// Which sections of kvm_sregs.u.e are valid (u.e.features).
inline constexpr std::uint32_t sregs_e_base = 1u << 0; // CSRR0/1 ESR DEAR MCSR TSR TCR DEC TB VRSAVE (USPRG0)
inline constexpr std::uint32_t sregs_e_arch206 = 1u << 1;
inline constexpr std::uint32_t sregs_e_64 = 1u << 2;
inline constexpr std::uint32_t sregs_e_sprg8 = 1u << 3;
inline constexpr std::uint32_t sregs_e_mcivpr = 1u << 4;
inline constexpr std::uint32_t sregs_e_ivor = 1u << 5; // IVOR0 … IVOR15
inline constexpr std::uint32_t sregs_e_arch206_mmu = 1u << 6;
inline constexpr std::uint32_t sregs_e_debug = 1u << 7; // DBSR DBCR IAC DAC DVC
inline constexpr std::uint32_t sregs_e_ed = 1u << 8;
inline constexpr std::uint32_t sregs_e_spe = 1u << 9;
inline constexpr std::uint32_t sregs_e_pd = 1u << 11;
inline constexpr std::uint32_t sregs_e_pc = 1u << 12;
inline constexpr std::uint32_t sregs_e_pt = 1u << 13;
inline constexpr std::uint32_t sregs_e_pm = 1u << 14;

// Registers that KVM_SET_SREGS changes only when their bit is set in u.e.update_special.
inline constexpr std::uint32_t sregs_e_update_mcsr = 1u << 0;
inline constexpr std::uint32_t sregs_e_update_tsr = 1u << 1;
inline constexpr std::uint32_t sregs_e_update_dec = 1u << 2;
inline constexpr std::uint32_t sregs_e_update_dbsr = 1u << 3;

inline constexpr std::uint32_t sregs_e_impl_none = 0;

// The Book E half of kvm_sregs.
struct kvm_sregs_booke {
    union {
        std::uint64_t align;
        std::uint8_t pad[256];
    } impl;
    std::uint32_t features;       // sregs_e_*
    std::uint32_t impl_id;        // sregs_e_impl_*
    std::uint32_t update_special; // sregs_e_update_*
    std::uint32_t pir;
    std::uint64_t sprg8;
    std::uint64_t sprg9;
    std::uint64_t csrr0;
    std::uint64_t dsrr0;
    std::uint64_t mcsrr0;
    std::uint32_t csrr1;
    std::uint32_t dsrr1;
    std::uint32_t mcsrr1;
    std::uint32_t esr;
    std::uint64_t dear;
    std::uint64_t ivpr;
    std::uint64_t mcivpr;
    std::uint64_t mcsr;
    std::uint32_t tsr;
    std::uint32_t tcr;
    std::uint32_t decar;
    std::uint32_t dec;
    std::uint64_t tb;
    std::uint32_t dbsr;
    std::uint32_t dbcr[3];
    std::uint32_t iac[4];
    std::uint32_t dac[2];
    std::uint32_t dvc[2];
    std::uint8_t num_iac;
    std::uint8_t num_dac;
    std::uint8_t num_dvc;
    std::uint8_t pad;
    std::uint32_t epr;
    std::uint32_t vrsave; // USPRG0
    std::uint32_t epcr;
    std::uint32_t mas0;
    std::uint32_t mas1;
    std::uint64_t mas2;
    std::uint64_t mas7_3;
    std::uint32_t mas4;
    std::uint32_t mas6;
    std::uint32_t ivor_low[16];
    std::uint32_t ivor_high[18];
    std::uint32_t mmucfg;
    std::uint32_t eptcfg;
    std::uint32_t tlbcfg[4];
    std::uint32_t tlbps[4];
    std::uint32_t eplc;
    std::uint32_t epsc;
};

// The Book S half has a larger structure inside the same union; only its size matters here.
struct kvm_sregs_books_layout {
    std::uint64_t sdr1;
    std::uint64_t slb[64][2];
    std::uint32_t sr[16];
    std::uint64_t ibat[8];
    std::uint64_t dbat[8];
};

struct kvm_sregs {
    std::uint32_t pvr;
    union {
        kvm_sregs_booke e;
        kvm_sregs_books_layout s;
        std::uint8_t pad[1020];
    } u;
};

struct kvm_fpu {
    std::uint64_t fpr[32];
};

struct kvm_userspace_memory_region {
    std::uint32_t slot;
    std::uint32_t flags; // mem_*
    std::uint64_t guest_phys_addr;
    std::uint64_t memory_size; // bytes; 0 removes the slot
    std::uint64_t userspace_addr;
};

inline constexpr std::uint32_t mem_log_dirty_pages = 1u << 0;
inline constexpr std::uint32_t mem_readonly = 1u << 1;

struct kvm_interrupt {
    std::uint32_t irq; // interrupt_*
};

inline constexpr std::uint32_t interrupt_set = 0xFFFFFFFFu;       // edge: taken back when delivered
inline constexpr std::uint32_t interrupt_unset = 0xFFFFFFFEu;     // takes either kind back
inline constexpr std::uint32_t interrupt_set_level = 0xFFFFFFFDu; // stays until interrupt_unset

struct kvm_one_reg {
    std::uint64_t id;   // reg_*
    std::uint64_t addr; // userspace address of the value, whose size is in the id
};

struct kvm_reg_list {
    std::uint64_t n; // in: room in identifiers, out: how many there are; the identifiers follow this structure
};

struct kvm_enable_cap {
    std::uint32_t cap; // cap_*
    std::uint32_t flags;
    std::uint64_t args[4];
    std::uint8_t pad[64];
};

struct kvm_mp_state {
    std::uint32_t mp_state; // mp_state_*
};

inline constexpr std::uint32_t mp_state_runnable = 0;
inline constexpr std::uint32_t mp_state_halted = 3;
inline constexpr std::uint32_t mp_state_stopped = 5;

struct kvm_translation {
    std::uint64_t linear_address; // in
    std::uint64_t physical_address;
    std::uint8_t valid;
    std::uint8_t writeable;
    std::uint8_t usermode;
    std::uint8_t pad[5];
};

struct kvm_dirty_log {
    std::uint32_t slot;
    std::uint32_t padding1;
    union {
        void* dirty_bitmap; // one bit per page
        std::uint64_t padding2;
    };
};

struct kvm_signal_mask {
    std::uint32_t len; // bytes of the kernel's signal set, which follows this structure
};

inline constexpr std::uint32_t guestdbg_enable = 0x00000001;
inline constexpr std::uint32_t guestdbg_singlestep = 0x00000002;
inline constexpr std::uint32_t guestdbg_use_sw_bp = 0x00010000;
inline constexpr std::uint32_t guestdbg_use_hw_bp = 0x00020000;

// Type of a hardware breakpoint, and the status of a debug exit.
inline constexpr std::uint32_t debug_none = 0;
inline constexpr std::uint32_t debug_breakpoint = 1u << 1;
inline constexpr std::uint32_t debug_watch_write = 1u << 2;
inline constexpr std::uint32_t debug_watch_read = 1u << 3;

struct kvm_debug_exit_arch {
    std::uint64_t address;
    std::uint32_t status; // debug_*
    std::uint32_t reserved;
};

struct kvm_guest_debug_breakpoint {
    std::uint64_t addr;
    std::uint32_t type; // debug_*
    std::uint32_t reserved;
};

struct kvm_guest_debug_arch {
    kvm_guest_debug_breakpoint bp[16];
};

struct kvm_guest_debug {
    std::uint32_t control; // guestdbg_*
    std::uint32_t pad;
    kvm_guest_debug_arch arch;
};

struct kvm_irqfd {
    std::uint32_t fd;
    std::uint32_t gsi;
    std::uint32_t flags; // irqfd_flag_*
    std::uint32_t resamplefd;
    std::uint8_t pad[16];
};

inline constexpr std::uint32_t irqfd_flag_deassign = 1u << 0;
inline constexpr std::uint32_t irqfd_flag_resample = 1u << 1;

struct kvm_ioeventfd {
    std::uint64_t datamatch;
    std::uint64_t addr;
    std::uint32_t len; // 1, 2, 4 or 8 bytes; 0: any
    std::int32_t fd;
    std::uint32_t flags; // ioeventfd_flag_*
    std::uint8_t pad[36];
};

// Stores to such a range may go into the ring and not end KVM_RUN.
struct kvm_coalesced_mmio_zone {
    std::uint64_t addr;
    std::uint32_t size; // bytes
    std::uint32_t pio;  // 0
};

struct kvm_coalesced_mmio {
    std::uint64_t phys_addr;
    std::uint32_t len;
    std::uint32_t pio;
    std::uint8_t data[8];
};

// A page behind kvm_run, at the offset in pages that cap_coalesced_mmio tells. Userspace takes entries from `first` on,
// the host adds them at `last`; empty where the two are equal.
inline constexpr std::uint32_t coalesced_mmio_max = (4096 - 2 * 4) / sizeof(kvm_coalesced_mmio);
struct kvm_coalesced_mmio_ring {
    std::uint32_t first;
    std::uint32_t last;
    kvm_coalesced_mmio coalesced_mmio[coalesced_mmio_max]; // a flexible array in the kernel's header
};

inline constexpr std::uint32_t ioeventfd_flag_datamatch = 1u << 0;
inline constexpr std::uint32_t ioeventfd_flag_deassign = 1u << 2;

// ---- kvm_run, the page shared by vCPU and userspace ----------------------------------------------------------------

inline constexpr std::uint32_t exit_unknown = 0;
inline constexpr std::uint32_t exit_exception = 1;
inline constexpr std::uint32_t exit_debug = 4;
inline constexpr std::uint32_t exit_hlt = 5;
inline constexpr std::uint32_t exit_mmio = 6;
inline constexpr std::uint32_t exit_shutdown = 8;
inline constexpr std::uint32_t exit_fail_entry = 9;
inline constexpr std::uint32_t exit_intr = 10;
inline constexpr std::uint32_t exit_dcr = 15;
inline constexpr std::uint32_t exit_internal_error = 17;
inline constexpr std::uint32_t exit_watchdog = 21;
inline constexpr std::uint32_t exit_system_event = 24;

struct kvm_exit_hw {
    std::uint64_t hardware_exit_reason;
};

struct kvm_exit_fail_entry {
    std::uint64_t hardware_entry_failure_reason;
    std::uint32_t cpu;
};

struct kvm_exit_debug {
    kvm_debug_exit_arch arch;
};

struct kvm_exit_mmio {
    std::uint64_t phys_addr;
    std::uint8_t data[8]; // in the order of the bytes in guest memory
    std::uint32_t len;    // 1, 2, 4 or 8
    std::uint8_t is_write;
};

struct kvm_exit_dcr {
    std::uint32_t dcrn;
    std::uint32_t data;
    std::uint8_t is_write;
};

struct kvm_exit_internal {
    std::uint32_t suberror; // internal_error_*
    std::uint32_t ndata;    // valid entries of data
    std::uint64_t data[16];
};

inline constexpr std::uint32_t internal_error_emulation = 1;
inline constexpr std::uint32_t internal_error_simul_ex = 2;
inline constexpr std::uint32_t internal_error_delivery_ev = 3;
inline constexpr std::uint32_t internal_error_unexpected_exit_reason = 4;

struct kvm_exit_system_event {
    std::uint32_t type; // system_event_*
    std::uint32_t ndata;
    std::uint64_t data[16];
};

inline constexpr std::uint32_t system_event_shutdown = 1;
inline constexpr std::uint32_t system_event_reset = 2;
inline constexpr std::uint32_t system_event_crash = 3;

struct kvm_run {
    std::uint8_t request_interrupt_window;
    std::uint8_t immediate_exit; // in: KVM_RUN returns -EINTR at once while this is not 0
    std::uint8_t padding1[6];
    std::uint32_t exit_reason; // exit_*
    std::uint8_t ready_for_interrupt_injection;
    std::uint8_t if_flag;
    std::uint16_t flags;
    std::uint64_t cr8;
    std::uint64_t apic_base;
    union {
        kvm_exit_hw hw;
        kvm_exit_fail_entry fail_entry;
        kvm_exit_debug debug;
        kvm_exit_mmio mmio; // answered by the next KVM_RUN
        kvm_exit_dcr dcr;   // likewise
        kvm_exit_internal internal;
        kvm_exit_system_event system_event;
        std::uint8_t padding[256];
    };
    std::uint64_t kvm_valid_regs;
    std::uint64_t kvm_dirty_regs;
    std::uint8_t sync_regs[2048];
};

// ---- ioctls --------------------------------------------------------------------------------------------------------

// On the /dev/kvm descriptor.
inline constexpr std::uint32_t ioctl_get_api_version = ioc::io(0x00);
inline constexpr std::uint32_t ioctl_create_vm = ioc::io(0x01);
inline constexpr std::uint32_t ioctl_check_extension = ioc::io(0x03); // also on a VM
inline constexpr std::uint32_t ioctl_get_vcpu_mmap_size = ioc::io(0x04);

// On a VM.
inline constexpr std::uint32_t ioctl_create_vcpu = ioc::io(0x41);
inline constexpr std::uint32_t ioctl_get_dirty_log = ioc::iow<kvm_dirty_log>(0x42);
inline constexpr std::uint32_t ioctl_set_user_memory_region = ioc::iow<kvm_userspace_memory_region>(0x46);
inline constexpr std::uint32_t ioctl_register_coalesced_mmio = ioc::iow<kvm_coalesced_mmio_zone>(0x67);
inline constexpr std::uint32_t ioctl_unregister_coalesced_mmio = ioc::iow<kvm_coalesced_mmio_zone>(0x68);
inline constexpr std::uint32_t ioctl_irqfd = ioc::iow<kvm_irqfd>(0x76);
inline constexpr std::uint32_t ioctl_ioeventfd = ioc::iow<kvm_ioeventfd>(0x79);

// On a vCPU.
inline constexpr std::uint32_t ioctl_run = ioc::io(0x80);
inline constexpr std::uint32_t ioctl_get_regs = ioc::ior<kvm_regs>(0x81);
inline constexpr std::uint32_t ioctl_set_regs = ioc::iow<kvm_regs>(0x82);
inline constexpr std::uint32_t ioctl_get_sregs = ioc::ior<kvm_sregs>(0x83);
inline constexpr std::uint32_t ioctl_set_sregs = ioc::iow<kvm_sregs>(0x84);
inline constexpr std::uint32_t ioctl_translate = ioc::iowr<kvm_translation>(0x85);
inline constexpr std::uint32_t ioctl_interrupt = ioc::iow<kvm_interrupt>(0x86);
inline constexpr std::uint32_t ioctl_set_signal_mask = ioc::iow<kvm_signal_mask>(0x8b);
inline constexpr std::uint32_t ioctl_get_fpu = ioc::ior<kvm_fpu>(0x8c);
inline constexpr std::uint32_t ioctl_set_fpu = ioc::iow<kvm_fpu>(0x8d);
inline constexpr std::uint32_t ioctl_get_mp_state = ioc::ior<kvm_mp_state>(0x98);
inline constexpr std::uint32_t ioctl_set_mp_state = ioc::iow<kvm_mp_state>(0x99);
inline constexpr std::uint32_t ioctl_set_guest_debug = ioc::iow<kvm_guest_debug>(0x9b);
inline constexpr std::uint32_t ioctl_enable_cap = ioc::iow<kvm_enable_cap>(0xa3); // also on a VM
inline constexpr std::uint32_t ioctl_get_one_reg = ioc::iow<kvm_one_reg>(0xab);
inline constexpr std::uint32_t ioctl_set_one_reg = ioc::iow<kvm_one_reg>(0xac);
inline constexpr std::uint32_t ioctl_get_reg_list = ioc::iowr<kvm_reg_list>(0xb0);
inline constexpr std::uint32_t ioctl_get_stats_fd = ioc::io(0xce); // on a VM or a vCPU

// ---- capabilities, as asked by KVM_CHECK_EXTENSION -----------------------------------------------------------------

inline constexpr std::uint32_t cap_user_memory = 3;
inline constexpr std::uint32_t cap_nr_vcpus = 9;
inline constexpr std::uint32_t cap_nr_memslots = 10;
inline constexpr std::uint32_t cap_mp_state = 14;
inline constexpr std::uint32_t cap_coalesced_mmio = 15;
inline constexpr std::uint32_t cap_sync_mmu = 16;
inline constexpr std::uint32_t cap_destroy_memory_region_works = 21;
inline constexpr std::uint32_t cap_set_guest_debug = 23;
inline constexpr std::uint32_t cap_join_memory_regions_works = 30;
inline constexpr std::uint32_t cap_irqfd = 32;
inline constexpr std::uint32_t cap_ioeventfd = 36;
inline constexpr std::uint32_t cap_internal_error_data = 40;
inline constexpr std::uint32_t cap_ppc_segstate = 43;
inline constexpr std::uint32_t cap_ppc_unset_irq = 53;
inline constexpr std::uint32_t cap_enable_cap = 54;
inline constexpr std::uint32_t cap_ppc_irq_level = 58;
inline constexpr std::uint32_t cap_ppc_booke_sregs = 62;
inline constexpr std::uint32_t cap_max_vcpus = 66;
inline constexpr std::uint32_t cap_ppc_hior = 67;
inline constexpr std::uint32_t cap_one_reg = 70;
inline constexpr std::uint32_t cap_readonly_mem = 81;
inline constexpr std::uint32_t cap_enable_cap_vm = 98;
inline constexpr std::uint32_t cap_check_extension_vm = 105;
inline constexpr std::uint32_t cap_guest_debug_hw_bps = 119;
inline constexpr std::uint32_t cap_guest_debug_hw_wps = 120;
inline constexpr std::uint32_t cap_max_vcpu_id = 128;
inline constexpr std::uint32_t cap_immediate_exit = 136;
inline constexpr std::uint32_t cap_ppc_guest_debug_sstep = 176;
inline constexpr std::uint32_t cap_binary_stats_fd = 203;

// ---- registers of KVM_GET_ONE_REG ----------------------------------------------------------------------------------

inline constexpr std::uint64_t reg_ppc = 0x1000000000000000u;
inline constexpr std::uint64_t reg_size_mask = 0x00F0000000000000u;
inline constexpr std::uint64_t reg_size_u32 = 0x0020000000000000u;
inline constexpr std::uint64_t reg_size_u64 = 0x0030000000000000u;

// Bytes of the value that a register identifier names.
constexpr std::size_t reg_size_bytes(std::uint64_t id) { return std::size_t{1} << ((id & reg_size_mask) >> 52); }

inline constexpr std::uint64_t reg_ppc_iac1 = reg_ppc | reg_size_u64 | 0x2;
inline constexpr std::uint64_t reg_ppc_iac2 = reg_ppc | reg_size_u64 | 0x3;
inline constexpr std::uint64_t reg_ppc_iac3 = reg_ppc | reg_size_u64 | 0x4;
inline constexpr std::uint64_t reg_ppc_iac4 = reg_ppc | reg_size_u64 | 0x5;
inline constexpr std::uint64_t reg_ppc_dac1 = reg_ppc | reg_size_u64 | 0x6;
inline constexpr std::uint64_t reg_ppc_dac2 = reg_ppc | reg_size_u64 | 0x7;
inline constexpr std::uint64_t reg_ppc_fpr0 = reg_ppc | reg_size_u64 | 0x20;
inline constexpr std::uint64_t reg_ppc_fpr31 = reg_ppc | reg_size_u64 | 0x3f;
constexpr std::uint64_t reg_ppc_fpr(unsigned n) { return reg_ppc_fpr0 + n; }
inline constexpr std::uint64_t reg_ppc_fpscr = reg_ppc | reg_size_u64 | 0x80;
inline constexpr std::uint64_t reg_ppc_or_tsr = reg_ppc | reg_size_u32 | 0x87;
inline constexpr std::uint64_t reg_ppc_clear_tsr = reg_ppc | reg_size_u32 | 0x88;
inline constexpr std::uint64_t reg_ppc_tcr = reg_ppc | reg_size_u32 | 0x89;
inline constexpr std::uint64_t reg_ppc_tsr = reg_ppc | reg_size_u32 | 0x8a;
inline constexpr std::uint64_t reg_ppc_debug_inst = reg_ppc | reg_size_u32 | 0x8b;
inline constexpr std::uint64_t reg_ppc_tb_offset = reg_ppc | reg_size_u64 | 0x9c;
inline constexpr std::uint64_t reg_ppc_pid = reg_ppc | reg_size_u64 | 0xb2;
inline constexpr std::uint64_t reg_ppc_vrsave = reg_ppc | reg_size_u32 | 0xb4;
inline constexpr std::uint64_t reg_ppc_dbsr = reg_ppc | reg_size_u32 | 0xbb;

// ---- what the numbers above must come out as -----------------------------------------------------------------------

static_assert(ioctl_get_regs == 0x4188AE81u);
static_assert(ioctl_run == 0x2000AE80u);
static_assert(sizeof(kvm_regs) == 392);
static_assert(offsetof(kvm_run, mmio) == 32);
static_assert(sizeof(kvm_run) == 32 + 256 + 16 + 2048);

} // namespace untrap::abi
