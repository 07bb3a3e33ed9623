// SPDX-License-Identifier: GPL-2.0-only
// The tracepoints, and which of them are on.

#include <linux/types.h>

#include "kmod/core_api.h"

static const char* untrap_trace_reason(u32 reason) {
    return reason < untrap_core_exit_reason_count() ? untrap_core_exit_name(reason) : "?";
}

#define CREATE_TRACE_POINTS
#include "kmod/trace.h"

// Linux calls these one at a time, the first probe of an event and the last.
#define SWITCH(name, bit)                                                                                              \
    int untrap_trace_##name##_on(void) {                                                                               \
        untrap_core_trace |= (bit);                                                                                    \
        return 0;                                                                                                      \
    }                                                                                                                  \
    void untrap_trace_##name##_off(void) { untrap_core_trace &= ~(bit); }

SWITCH(entry, UNTRAP_TRACE_ENTRY)
SWITCH(exit, UNTRAP_TRACE_EXIT)
SWITCH(tlb, UNTRAP_TRACE_TLB)
SWITCH(patch, UNTRAP_TRACE_PATCH)
