// SPDX-License-Identifier: GPL-2.0-only
// Parameters of the module: what patching may take in VMs that are not told otherwise.

#include <linux/module.h>

#include "kmod/vm.h"

#define MEGABYTE (1ull << 20)

static int level = -1;
module_param(level, int, 0444);
MODULE_PARM_DESC(level, "patch level of VMs that ask for none: 0 to 4 (default: the highest)");

// 0: the core's own.
static unsigned int hot_threshold;
module_param(hot_threshold, uint, 0444);
MODULE_PARM_DESC(hot_threshold, "traps of a site before it is patched (default: 4)");

static unsigned int patched_sites;
module_param(patched_sites, uint, 0444);
MODULE_PARM_DESC(patched_sites, "sites patched at a time in each VM (default: as many as its table holds)");

static unsigned int patch_memory = 32;
module_param(patch_memory, uint, 0444);
MODULE_PARM_DESC(patch_memory, "MB that copies of guest code and stubs may take in each VM: 1 to 32 (default: 32)");

// Bit mask of the levels up to it, as UNTRAP_CAP_LEVELS takes it.
static u64 levels(void) { return ((2ull << level) - 1) & ~1ull; }

int untrap_patch_limits_check(void) {
    const u64 available = untrap_core_check_extension(UNTRAP_CAP_LEVELS);
    const u64 most = untrap_core_check_extension(UNTRAP_CAP_PATCH_MEMORY);

    if (level > 4 || (level >= 0 && (levels() & ~available) != 0)) {
        pr_err("untrap: there is no level %d here\n", level);
        return -EINVAL;
    }
    if (patch_memory == 0 || patch_memory * MEGABYTE > most) {
        pr_err("untrap: patch_memory=%u is not 1 to %llu\n", patch_memory, most / MEGABYTE);
        return -EINVAL;
    }
    return 0;
}

int untrap_patch_limits_apply(struct untrap_core_vm* core) {
    const u64 sites[4] = {hot_threshold ?: UNTRAP_DEFAULT_THRESHOLD, patched_sites};
    const u64 memory[4] = {patch_memory * MEGABYTE};
    int result = untrap_core_enable_cap(core, UNTRAP_CAP_THRESHOLD, sites);

    if (!result) result = untrap_core_enable_cap(core, UNTRAP_CAP_PATCH_MEMORY, memory);
    if (!result && level >= 0) {
        const u64 wanted[4] = {levels()};

        result = untrap_core_enable_cap(core, UNTRAP_CAP_LEVELS, wanted);
    }
    return result;
}
