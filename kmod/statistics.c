// SPDX-License-Identifier: GPL-2.0-only
#include "kmod/statistics.h"

#include <linux/kernel.h>
#include <linux/stddef.h>
#include <linux/string.h>

#include "kmod/vm.h"

#define EXITS(name, long_name, reason)                                                                                 \
    { name, long_name, UNTRAP_STATISTIC_EXITS, false, reason, 0 }
#define CORE(field, instant)                                                                                           \
    { #field, #field, UNTRAP_STATISTIC_CORE, instant, NULL, offsetof(struct untrap_core_statistics, field) }

const struct untrap_statistic untrap_statistics[] = {
    {"exits", "sum_exits", UNTRAP_STATISTIC_EXITS_TOTAL, false, NULL, 0},
    {"light", "light_exits", UNTRAP_STATISTIC_EXITS_LIGHT, false, NULL, 0},
    EXITS("mmio", "mmio_exits", "MMIO"),
    EXITS("dcr", "dcr_exits", "DCR"),
    EXITS("sig", "signal_exits", "SIGNAL"),
    EXITS("itlb_r", "itlb_real_miss_exits", "ITLB_REAL"),
    EXITS("itlb_v", "itlb_virt_miss_exits", "ITLB_VIRT"),
    EXITS("dtlb_r", "dtlb_real_miss_exits", "DTLB_REAL"),
    EXITS("dtlb_v", "dtlb_virt_miss_exits", "DTLB_VIRT"),
    EXITS("sysc", "syscall_exits", "SYSCALL"),
    EXITS("isi", "isi_exits", "ISI"),
    EXITS("dsi", "dsi_exits", "DSI"),
    {"inst_emu", "emulated_inst_exits", UNTRAP_STATISTIC_EXITS_PREFIX, false, "EMUL_", 0},
    EXITS("emul_mtspr", "emulated_mtspr_exits", "EMUL_MTSPR"),
    EXITS("emul_mfspr", "emulated_mfspr_exits", "EMUL_MFSPR"),
    EXITS("emul_mtmsr", "emulated_mtmsr_exits", "EMUL_MTMSR"),
    EXITS("emul_mfmsr", "emulated_mfmsr_exits", "EMUL_MFMSR"),
    EXITS("emul_wrtee", "emulated_wrtee_exits", "EMUL_WRTEE"),
    EXITS("emul_tlbwe", "emulated_tlbwe_exits", "EMUL_TLBWE"),
    EXITS("emul_tlbre", "emulated_tlbre_exits", "EMUL_TLBRE"),
    EXITS("emul_tlbsx", "emulated_tlbsx_exits", "EMUL_TLBSX"),
    EXITS("emul_rfi", "emulated_rfi_exits", "EMUL_RFI"),
    EXITS("emul_cache", "emulated_cache_exits", "EMUL_CACHE"),
    EXITS("emul_other", "emulated_other_exits", "EMUL_OTHER"),
    EXITS("emul_wait", "emulated_wait_exits", "EMUL_WAIT"),
    EXITS("dec", "dec_exits", "DEC"),
    EXITS("ext_intr", "ext_intr_exits", "EXTINT"),
    EXITS("fp_unavail", "fp_unavail_exits", "FP_UNAVAIL"),
    EXITS("debug", "debug_exits", "DEBUG"),
    EXITS("usr_pr_inst", "usr_pr_inst_exits", "USR_PR_INST"),
    {"halt_wakeup", "halt_wakeup", UNTRAP_STATISTIC_HALT_WAKEUPS, false, NULL, 0},
    CORE(shadow_refills, false),
    CORE(shadow_drops, false),
    CORE(large_refills, false),
    CORE(shadow_pid_recycles, false),
    CORE(patched_sites, true),
    CORE(known_sites, false),
    CORE(left_alone_pages, true),
    CORE(patches_installed, false),
    CORE(patches_backed_out, false),
    CORE(code_copy_bytes, true),
    CORE(stubs, true),
    CORE(stub_exits, false),
    CORE(host_instructions, false),
};

const u32 untrap_statistic_count = ARRAY_SIZE(untrap_statistics);

static u64 exits_named(const struct untrap_core_statistics* core, const char* reason, bool prefix) {
    const u32 count = min_t(u32, untrap_core_exit_reason_count(), UNTRAP_CORE_EXIT_SLOTS);
    u64 sum = 0;
    u32 i;

    for (i = 0; i != count; ++i) {
        const char* name = untrap_core_exit_name(i);

        if (prefix ? strstarts(name, reason) : strcmp(name, reason) == 0) sum += core->exits[i];
    }
    return sum;
}

u64 untrap_statistic_value(const struct untrap_statistic* statistic, const struct untrap_vcpu* vcpu,
                           const struct untrap_core_statistics* core) {
    switch (statistic->source) {
    case UNTRAP_STATISTIC_EXITS: return exits_named(core, statistic->reason, false);
    case UNTRAP_STATISTIC_EXITS_PREFIX: return exits_named(core, statistic->reason, true);
    case UNTRAP_STATISTIC_EXITS_TOTAL: return core->exits_total;
    // A KVM_RUN that is interrupted before the guest ran returns without an exit.
    case UNTRAP_STATISTIC_EXITS_LIGHT: return core->exits_total - min(core->exits_total, vcpu->run_returns);
    case UNTRAP_STATISTIC_HALT_WAKEUPS: return vcpu->halt_wakeups;
    case UNTRAP_STATISTIC_CORE: return *(const u64*)((const u8*)core + statistic->offset);
    }
    return 0;
}
