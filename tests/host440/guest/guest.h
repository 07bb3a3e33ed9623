// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// Guests of the tests on the 440 host that are more than a snippet: linked to run at 0 by the reset mapping, entered at
// guest_main. start.S has their vectors.

#include <stdbool.h>
#include <stdint.h>

#include "guest/protocol.h"

#define SPR_LR 8
#define SPR_SRR0 26
#define SPR_SRR1 27
#define SPR_DEC 22
#define SPR_PID 48
#define SPR_DECAR 54
#define SPR_DEAR 61
#define SPR_ESR 62
#define SPR_IVPR 63
#define SPR_USPRG0 256
#define SPR_SPRG4_USER 260
#define SPR_SPRG0 272
#define SPR_DBSR 304
#define SPR_DBCR0 308
#define SPR_DBCR1 309
#define SPR_IAC1 312
#define SPR_DAC1 316
#define SPR_TSR 336
#define SPR_TCR 340
#define SPR_IVOR0 400
#define SPR_MMUCR 946

#define MSR_WE 0x00040000u
#define MSR_CE 0x00020000u
#define MSR_EE 0x00008000u
#define MSR_PR 0x00004000u
#define MSR_FP 0x00002000u
#define MSR_ME 0x00001000u
#define MSR_DE 0x00000200u
#define MSR_IS 0x00000020u
#define MSR_DS 0x00000010u

#define ESR_PIL 0x08000000u
#define ESR_PPR 0x04000000u
#define ESR_PTR 0x02000000u
#define ESR_ST 0x00800000u

enum vector {
    VECTOR_CRITICAL,
    VECTOR_MACHINE_CHECK,
    VECTOR_DATA_STORAGE,
    VECTOR_INSTRUCTION_STORAGE,
    VECTOR_EXTERNAL,
    VECTOR_ALIGNMENT,
    VECTOR_PROGRAM,
    VECTOR_FP_UNAVAILABLE,
    VECTOR_SYSTEM_CALL,
    VECTOR_AP_UNAVAILABLE,
    VECTOR_DECREMENTER,
    VECTOR_FIXED_INTERVAL,
    VECTOR_WATCHDOG,
    VECTOR_DATA_MISS,
    VECTOR_INSTRUCTION_MISS,
    VECTOR_DEBUG,
    VECTORS
};

// What was interrupted, as start.S saves and restores it.
struct frame {
    uint32_t gpr[32];
    uint32_t cr, lr, ctr, xer;
    uint32_t pc, msr; // (C)SRR0 and 1
    uint32_t vector, dear, esr;
};
_Static_assert(sizeof(struct frame) == 164, "start.S knows the offsets");

// Of the guest's program: the value becomes DCR_DONE's.
uint32_t guest_main(uint32_t argument, uint32_t second);
void interrupt(struct frame* frame);

// start.S: calls function(a, b, c) with that MSR. It comes back by the system call that the function returns to, for
// which interrupt() does leave_run_in().
uint32_t run_in(uint32_t msr, uintptr_t function, uint32_t a, uint32_t b, uint32_t c);
extern uint32_t run_in_stack; // 0: not in run_in
extern char run_in_return[];

static inline void leave_run_in(struct frame* frame) {
    frame->gpr[1] = run_in_stack;
    frame->pc = (uintptr_t)run_in_return;
    frame->msr &= ~(MSR_PR | MSR_IS | MSR_DS | MSR_EE | MSR_FP);
    run_in_stack = 0;
}

#define mfspr(number)                                                                                                  \
    ({                                                                                                                 \
        uint32_t value_;                                                                                               \
        __asm__ volatile("mfspr %0,%1" : "=r"(value_) : "i"(number));                                                  \
        value_;                                                                                                        \
    })
#define mtspr(number, value) __asm__ volatile("mtspr %0,%1" : : "i"(number), "r"((uint32_t)(value)) : "memory")
#define mfdcr(number)                                                                                                  \
    ({                                                                                                                 \
        uint32_t value_;                                                                                               \
        __asm__ volatile("mfdcr %0,%1" : "=r"(value_) : "i"(number) : "memory");                                       \
        value_;                                                                                                        \
    })
#define mtdcr(number, value) __asm__ volatile("mtdcr %0,%1" : : "i"(number), "r"((uint32_t)(value)) : "memory")

static inline uint32_t mfmsr(void) {
    uint32_t value;
    __asm__ volatile("mfmsr %0" : "=r"(value));
    return value;
}
static inline void mtmsr(uint32_t value) { __asm__ volatile("mtmsr %0; isync" : : "r"(value) : "memory"); }
static inline uint32_t time_low(void) {
    uint32_t value;
    __asm__ volatile("mftb %0" : "=r"(value));
    return value;
}

// One TLB entry. real has 36 bits.
#define TLB_VALID 0x200u
#define TLB_TS 0x100u
#define TLB_SIZE(code) ((uint32_t)(code) << 4) // 4^code KB
#define TLB_4K TLB_SIZE(1)
#define TLB_64K TLB_SIZE(3)
#define TLB_16M TLB_SIZE(7)
#define TLB_256M TLB_SIZE(9)
#define TLB_USER 0x38u
#define TLB_SUPERVISOR 0x07u
static inline void write_tlb(uint32_t index, uint32_t word0, uint64_t real, uint32_t word2, uint32_t pid) {
    const uint32_t word1 = ((uint32_t)real & 0xFFFFFC00u) | (uint32_t)(real >> 32);

    mtspr(SPR_MMUCR, pid);
    // Invalid until it is complete.
    __asm__ volatile("tlbwe %0,%4,0; tlbwe %1,%4,1; tlbwe %2,%4,2; tlbwe %3,%4,0; isync"
                     :
                     : "r"(word0 & ~TLB_VALID), "r"(word1), "r"(word2), "r"(word0), "r"(index)
                     : "memory");
}
