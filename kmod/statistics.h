// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// The numbers of a vCPU that debugfs and the statistics descriptors show.

#include <linux/types.h>

#include "kmod/core_api.h"

struct untrap_vcpu;

enum untrap_statistic_source {
    UNTRAP_STATISTIC_EXITS,        // of one reason
    UNTRAP_STATISTIC_EXITS_PREFIX, // of all reasons whose name begins so
    UNTRAP_STATISTIC_EXITS_TOTAL,
    UNTRAP_STATISTIC_EXITS_LIGHT, // those that did not go to userspace
    UNTRAP_STATISTIC_HALT_WAKEUPS,
    UNTRAP_STATISTIC_CORE // a field of untrap_core_statistics
};

struct untrap_statistic {
    const char* name;      // in debugfs: those of the old KVM where it had one
    const char* long_name; // of the descriptors: likewise
    enum untrap_statistic_source source;
    bool instant;       // a state, not a count that only grows
    const char* reason; // UNTRAP_STATISTIC_EXITS and _EXITS_PREFIX
    size_t offset;      // UNTRAP_STATISTIC_CORE
};

extern const struct untrap_statistic untrap_statistics[];
extern const u32 untrap_statistic_count;

// `core` was filled by untrap_core_statistics.
u64 untrap_statistic_value(const struct untrap_statistic* statistic, const struct untrap_vcpu* vcpu,
                           const struct untrap_core_statistics* core);
