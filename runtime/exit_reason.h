// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace untrap::runtime {

// Why unprivileged guest execution stopped and the hypervisor ran. The names are those of the old KVM exit
// timing where it had one; tools and JSON files read them, so they never change.
enum class ExitReason : std::uint8_t {
    mmio,
    dcr,
    signal,
    itlb_real, // instruction TLB miss reflected to the guest
    itlb_virt, // the guest TLB had the mapping, only the shadow TLB lacked it
    dtlb_real,
    dtlb_virt,
    syscall,
    isi,
    dsi,
    emul_mtspr,
    emul_mfspr,
    emul_mtmsr,
    emul_mfmsr,
    emul_wrtee,
    emul_tlbwe,
    emul_tlbre,
    emul_tlbsx,
    emul_rfi,
    emul_cache,
    emul_other,
    emul_wait,
    dec,
    extint,
    fp_unavail,
    debug,
    usr_pr_inst, // user mode met a privileged, illegal or trap instruction: reflected
    count
};

inline constexpr std::size_t exit_reason_count = static_cast<std::size_t>(ExitReason::count);

inline constexpr std::array<const char*, exit_reason_count> exit_reason_names = {
    "MMIO",       "DCR",        "SIGNAL",     "ITLB_REAL",  "ITLB_VIRT",  "DTLB_REAL",   "DTLB_VIRT",
    "SYSCALL",    "ISI",        "DSI",        "EMUL_MTSPR", "EMUL_MFSPR", "EMUL_MTMSR",  "EMUL_MFMSR",
    "EMUL_WRTEE", "EMUL_TLBWE", "EMUL_TLBRE", "EMUL_TLBSX", "EMUL_RFI",   "EMUL_CACHE",  "EMUL_OTHER",
    "EMUL_WAIT",  "DEC",        "EXTINT",     "FP_UNAVAIL", "DEBUG",      "USR_PR_INST",
};

// An emulation exit is one that exists only because a privileged guest instruction trapped.
constexpr bool is_emulation(ExitReason reason) {
    return reason >= ExitReason::emul_mtspr && reason <= ExitReason::emul_wait;
}

static_assert(exit_reason_count <= 32, "the statistics ABI has 32 slots");

} // namespace untrap::runtime
