// SPDX-License-Identifier: GPL-2.0-only
// Tracepoints, below events/untrap/. Their registration tells the core which it has to call. Linux reads this header
// several times over: no #pragma once.
#undef TRACE_SYSTEM
#define TRACE_SYSTEM untrap

#if !defined(UNTRAP_KMOD_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define UNTRAP_KMOD_TRACE_H

#include <linux/tracepoint.h>

#include "kmod/core_api.h"

#ifndef UNTRAP_KMOD_TRACE_REGISTER
#define UNTRAP_KMOD_TRACE_REGISTER
int untrap_trace_entry_on(void);
void untrap_trace_entry_off(void);
int untrap_trace_exit_on(void);
void untrap_trace_exit_off(void);
int untrap_trace_tlb_on(void);
void untrap_trace_tlb_off(void);
int untrap_trace_patch_on(void);
void untrap_trace_patch_off(void);
#endif

// clang-format off

/* Guest code is about to run. */
TRACE_EVENT_FN(untrap_entry,
    TP_PROTO(u32 vm, u32 pc, u32 msr, u32 pid),
    TP_ARGS(vm, pc, msr, pid),
    TP_STRUCT__entry(
        __field(u32, vm)
        __field(u32, pc)
        __field(u32, msr)
        __field(u32, pid)
    ),
    TP_fast_assign(
        __entry->vm = vm;
        __entry->pc = pc;
        __entry->msr = msr;
        __entry->pid = pid;
    ),
    TP_printk("vm=%u pc=%08x msr=%08x pid=%u", __entry->vm, __entry->pc, __entry->msr, __entry->pid),
    untrap_trace_entry_on, untrap_trace_entry_off
);

/* Guest code stopped; word is the instruction, where the reason has one. */
TRACE_EVENT_FN(untrap_exit,
    TP_PROTO(u32 vm, u32 reason, u32 pc, u32 word),
    TP_ARGS(vm, reason, pc, word),
    TP_STRUCT__entry(
        __field(u32, vm)
        __field(u32, reason)
        __field(u32, pc)
        __field(u32, word)
    ),
    TP_fast_assign(
        __entry->vm = vm;
        __entry->reason = reason;
        __entry->pc = pc;
        __entry->word = word;
    ),
    TP_printk("vm=%u reason=%u %s pc=%08x word=%08x", __entry->vm, __entry->reason,
              untrap_trace_reason(__entry->reason), __entry->pc, __entry->word),
    untrap_trace_exit_on, untrap_trace_exit_off
);

/* An entry was written into the hardware TLB, or taken out of it. */
TRACE_EVENT_FN(untrap_tlb,
    TP_PROTO(u32 vm, u32 index, u32 word0, u32 word1, u32 word2, u32 shadow_pid, int written),
    TP_ARGS(vm, index, word0, word1, word2, shadow_pid, written),
    TP_STRUCT__entry(
        __field(u32, vm)
        __field(u32, index)
        __field(u32, word0)
        __field(u32, word1)
        __field(u32, word2)
        __field(u32, shadow_pid)
        __field(int, written)
    ),
    TP_fast_assign(
        __entry->vm = vm;
        __entry->index = index;
        __entry->word0 = word0;
        __entry->word1 = word1;
        __entry->word2 = word2;
        __entry->shadow_pid = shadow_pid;
        __entry->written = written;
    ),
    TP_printk("vm=%u %s index=%u words=%08x,%08x,%08x shadow_pid=%u", __entry->vm,
              __entry->written ? "write" : "drop", __entry->index, __entry->word0, __entry->word1, __entry->word2,
              __entry->shadow_pid),
    untrap_trace_tlb_on, untrap_trace_tlb_off
);

/* A site was patched, or its patch removed; real is its address in guest memory, word what is in guest memory. */
TRACE_EVENT_FN(untrap_patch,
    TP_PROTO(u32 vm, u64 real, u32 word, u32 level, int patched),
    TP_ARGS(vm, real, word, level, patched),
    TP_STRUCT__entry(
        __field(u64, real)
        __field(u32, vm)
        __field(u32, word)
        __field(u32, level)
        __field(int, patched)
    ),
    TP_fast_assign(
        __entry->real = real;
        __entry->vm = vm;
        __entry->word = word;
        __entry->level = level;
        __entry->patched = patched;
    ),
    TP_printk("vm=%u %s real=%09llx word=%08x level=%u", __entry->vm, __entry->patched ? "patch" : "remove",
              __entry->real, __entry->word, __entry->level),
    untrap_trace_patch_on, untrap_trace_patch_off
);

// clang-format on

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH kmod
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

#include <trace/define_trace.h>
