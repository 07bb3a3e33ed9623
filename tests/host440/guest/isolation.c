// SPDX-License-Identifier: GPL-2.0-only
// A guest that tries what it must not. Each test tells its result as a text.
#include "guest/guest.h"

// What interrupt() saw.
static volatile struct { uint32_t count, vector, dear, esr, pc, msr; } last;
static volatile uint32_t by_vector[VECTORS];

void interrupt(struct frame* frame) {
    ++last.count;
    ++by_vector[frame->vector % VECTORS];
    last.vector = frame->vector;
    last.dear = frame->dear;
    last.esr = frame->esr;
    last.pc = frame->pc;
    last.msr = frame->msr;
    switch (frame->vector) {
    case VECTOR_SYSTEM_CALL:
        if (run_in_stack != 0) leave_run_in(frame);
        return;
    case VECTOR_MACHINE_CHECK: // a fetch: back to the caller
    case VECTOR_INSTRUCTION_STORAGE:
    case VECTOR_INSTRUCTION_MISS: frame->pc = frame->lr; return;
    case VECTOR_DEBUG:
        mtspr(SPR_DBCR0, 0);
        mtspr(SPR_DBSR, 0xFFFFFFFF);
        frame->msr &= ~MSR_DE;
        return;
    case VECTOR_DECREMENTER:
    case VECTOR_FIXED_INTERVAL:
    case VECTOR_WATCHDOG:
    case VECTOR_EXTERNAL:
        mtspr(SPR_TCR, 0);
        mtspr(SPR_TSR, 0xFFFFFFFF);
        frame->msr &= ~MSR_WE;
        return;
    default: frame->pc += 4; return;
    }
}

static void clear_counts(void) {
    unsigned i;

    last.count = 0;
    for (i = 0; i != VECTORS; ++i) by_vector[i] = 0;
}

// ---- results -------------------------------------------------------------------------------------------------------

static bool failed;

static void tell(uint32_t value, const char* text) {
    mtdcr(DCR_VALUE, value);
    mtdcr(DCR_TEXT, (uintptr_t)text);
}

// The first failure of a test is told, with a number.
static void fail(const char* why, uint32_t value) {
    if (!failed) tell(value, why);
    failed = true;
}

#define TEST(name, call)                                                                                               \
    do {                                                                                                               \
        failed = false;                                                                                                \
        clear_counts();                                                                                                \
        call;                                                                                                          \
        if (!failed) tell(last.count, "ok " name);                                                                     \
    } while (0)
#define EXPECT(name, condition, value)                                                                                 \
    do {                                                                                                               \
        if (!(condition)) fail("not ok " name ": " #condition, value);                                                 \
    } while (0)

// ---- single instructions -------------------------------------------------------------------------------------------

static uint32_t code[64] __attribute__((aligned(256)));

static void prepare(uint32_t word) {
    code[0] = word;
    code[1] = 0x4E800020; // blr
    __asm__ volatile("dcbst 0,%0; sync; icbi 0,%0; sync; isync" : : "r"(code) : "memory");
}

// With r3 to r5 = a, b, c; gives r3.
static uint32_t execute(uint32_t word, uint32_t a, uint32_t b, uint32_t c) {
    uint32_t (*const function)(uint32_t, uint32_t, uint32_t) = (void*)(uintptr_t)code;

    prepare(word);
    return function(a, b, c);
}

static uint32_t execute_in(uint32_t msr, uint32_t word, uint32_t a, uint32_t b, uint32_t c) {
    prepare(word);
    return run_in(msr, (uintptr_t)code, a, b, c);
}

// Instruction words with r3, r4 and r5 as operands.
#define X_FORM(opcode) (31u << 26 | 3u << 21 | 4u << 16 | 5u << 11 | (uint32_t)(opcode) << 1)
#define SPR_FORM(opcode, number) (31u << 26 | 3u << 21 | ((number)&31u) << 16 | (number) >> 5 << 11 | (opcode) << 1)
#define MFSPR(number) SPR_FORM(339u, (uint32_t)(number))
#define MTSPR(number) SPR_FORM(467u, (uint32_t)(number))
#define RFI 0x4C000064u
#define RFCI 0x4C000066u
#define RFMCI 0x4C00004Cu
#define LWZ (32u << 26 | 3u << 21 | 3u << 16) // lwz r3,0(r3)
#define STW (36u << 26 | 4u << 21 | 3u << 16) // stw r4,0(r3)
#define NOP 0x60000000u

static const uint32_t privileged[] = {
    31u << 26 | 3u << 21 | 83 << 1,             // mfmsr r3
    31u << 26 | 3u << 21 | 146 << 1,            // mtmsr r3
    31u << 26 | 3u << 21 | 131 << 1,            // wrtee r3
    31u << 26 | 163 << 1,                       // wrteei 0
    31u << 26 | 0x8000 | 163 << 1,              // wrteei 1
    X_FORM(946),                                // tlbre r3,r4,0
    X_FORM(978),                                // tlbwe
    X_FORM(914),                                // tlbsx
    31u << 26 | 566 << 1,                       // tlbsync
    31u << 26 | 4u << 16 | 5u << 11 | 470 << 1, // dcbi r4,r5
    31u << 26 | 4u << 16 | 5u << 11 | 454 << 1, // dccci
    31u << 26 | 4u << 16 | 5u << 11 | 966 << 1, // iccci
    X_FORM(486),                                // dcread
    31u << 26 | 4u << 16 | 5u << 11 | 998 << 1, // icread
    SPR_FORM(323u, 0x100u),                     // mfdcr r3,0x100
    SPR_FORM(451u, 0x100u),                     // mtdcr
    RFI,
    RFCI,
};

static bool is_privileged_spr(uint32_t number) { return (number & 0x10) != 0; }

// ---- contexts ------------------------------------------------------------------------------------------------------

// Entry 0 is the memory in address space 0, for everybody, and entry 1 in address space 1.
static void map_memory_everywhere(void) {
    write_tlb(1, 0 | TLB_VALID | TLB_TS | TLB_256M, 0, TLB_USER | TLB_SUPERVISOR, 0);
    // The guest runs by this one.
    __asm__ volatile("tlbwe %0,%1,2; isync" : : "r"(TLB_USER | TLB_SUPERVISOR), "r"(0) : "memory");
}

static const uint32_t contexts[] = {
    0, MSR_IS | MSR_DS, MSR_PR, MSR_PR | MSR_IS | MSR_DS, MSR_DS, MSR_IS, MSR_PR | MSR_DS, MSR_PR | MSR_IS,
};
#define CONTEXTS (sizeof(contexts) / sizeof(contexts[0]))
#define SAME_SPACE 4u // of these, with instructions and data in the same space

// ---- tests ---------------------------------------------------------------------------------------------------------

// Every special register can be tried; nothing but a program interrupt comes of it.
#define SPRS "special registers by a supervisor"
static void supervisor_sprs(void) {
    uint32_t number;

    for (number = 0; number != 1024; ++number) {
        const uint32_t faults = last.count;
        uint32_t value;

        value = execute(MFSPR(number), 0x5EED, 0, 0);
        if (last.count != faults) EXPECT(SPRS, last.vector == VECTOR_PROGRAM, number << 16 | last.vector);
        if (number == SPR_LR || number == SPR_DBCR0 || (number >= SPR_IVOR0 && number < SPR_IVOR0 + 16) ||
            number == SPR_IVPR)
            continue;
        if (last.count != faults) value = 0;
        (void)execute(MTSPR(number), value ^ 0x00FF00FF, 0, 0);
        mtspr(SPR_TCR, 0);
        (void)execute(MTSPR(number), value, 0, 0);
        mtspr(SPR_TCR, 0);
        mtspr(SPR_DBCR0, 0);
        mtspr(SPR_PID, 0);
    }
    EXPECT(SPRS, by_vector[VECTOR_PROGRAM] == last.count, last.vector);
    EXPECT(SPRS, last.count > 1000, last.count);
}

#define USER_INSTRUCTIONS "privileged instructions in user mode"
static void user_instructions(void) {
    unsigned i, j;

    for (j = 0; j != CONTEXTS; ++j) {
        if ((contexts[j] & MSR_PR) == 0) continue;
        for (i = 0; i != sizeof(privileged) / sizeof(privileged[0]); ++i) {
            const uint32_t before = by_vector[VECTOR_PROGRAM];
            const uint32_t result = execute_in(contexts[j], privileged[i], 0x5EED, 0, 0);

            // The system call that led back left ESR as it was.
            EXPECT(USER_INSTRUCTIONS, by_vector[VECTOR_PROGRAM] == before + 1, privileged[i]);
            EXPECT(USER_INSTRUCTIONS, (last.esr & ESR_PPR) == ESR_PPR, last.esr);
            EXPECT(USER_INSTRUCTIONS, result == 0x5EED, result);
        }
    }
    EXPECT(USER_INSTRUCTIONS, last.count == by_vector[VECTOR_PROGRAM] + by_vector[VECTOR_SYSTEM_CALL], last.vector);
}

#define USER_SPRS "special registers in user mode"
static void user_sprs(void) {
    uint32_t number, i;

    for (i = 0; i != 4; ++i) execute(MTSPR(SPR_SPRG0 + 4 + i), 0x51510000 + i, 0, 0);
    mtspr(SPR_USPRG0, 0x11223344);
    for (number = 0; number != 1024; ++number) {
        uint32_t before = by_vector[VECTOR_PROGRAM];
        uint32_t value = execute_in(MSR_PR, MFSPR(number), 0x5EED, 0, 0);

        if (is_privileged_spr(number)) {
            EXPECT(USER_SPRS, by_vector[VECTOR_PROGRAM] == before + 1, number);
            EXPECT(USER_SPRS, value == 0x5EED, number);
            before = by_vector[VECTOR_PROGRAM];
            execute_in(MSR_PR, MTSPR(number), 0xFFFFFFFF, 0, 0);
            EXPECT(USER_SPRS, by_vector[VECTOR_PROGRAM] == before + 1, number);
        } else if (number >= SPR_SPRG4_USER && number < SPR_SPRG4_USER + 4) {
            // The guest's, not the host's, which has the same registers.
            EXPECT(USER_SPRS, value == 0x51510000 + (number - SPR_SPRG4_USER), value);
            execute_in(MSR_PR, MTSPR(number), 0x12, 0, 0);
            value = execute_in(MSR_PR, MFSPR(number), 0, 0, 0);
            EXPECT(USER_SPRS, value == 0x51510000 + (number - SPR_SPRG4_USER), value);
        } else if (number == SPR_USPRG0) {
            EXPECT(USER_SPRS, value == 0x11223344, value);
        }
    }
    EXPECT(USER_SPRS, last.count == by_vector[VECTOR_PROGRAM] + by_vector[VECTOR_SYSTEM_CALL], last.vector);
}

// A load, a store and a fetch at every megabyte that the guest has not mapped, in every context; the host's kernel is
// at 0xC0000000, its process below. Each is a TLB miss of the guest's.
#define WILD "wild addresses"
static uint32_t load_all(uint32_t first, uint32_t step, uint32_t store) {
    uint32_t ea = first;

    do {
        if (store)
            *(volatile uint32_t*)(uintptr_t)ea = ea;
        else
            (void)*(volatile uint32_t*)(uintptr_t)ea;
        ea += step;
    } while (ea >= first);
    return 0;
}

static void wild_addresses(void) {
    const uint32_t first = 0x10000000, step = 0x00100000, per_sweep = 0xF00;
    unsigned i;
    uint32_t ea;

    for (i = 0; i != CONTEXTS; ++i) {
        uint32_t before;

        clear_counts();
        run_in(contexts[i], (uintptr_t)load_all, first, i < SAME_SPACE ? step : step * 16, 0);
        run_in(contexts[i], (uintptr_t)load_all, first, i < SAME_SPACE ? step : step * 16, 1);
        before = i < SAME_SPACE ? 2 * per_sweep : 2 * per_sweep / 16;
        EXPECT(WILD, by_vector[VECTOR_DATA_MISS] == before, by_vector[VECTOR_DATA_MISS]);
        EXPECT(WILD, last.count == before + 2, last.vector);
        for (ea = first; ea >= first; ea += 0x01000000) {
            before = by_vector[VECTOR_INSTRUCTION_MISS];
            run_in(contexts[i], ea, 0, 0, 0);
            EXPECT(WILD, by_vector[VECTOR_INSTRUCTION_MISS] == before + 1, ea);
        }
    }
    // Where the fault was.
    last.dear = 0;
    execute_in(MSR_PR, LWZ, 0xC0001234, 0, 0);
    EXPECT(WILD, last.dear == 0xC0001234, last.dear);
}

// Cache instructions there.
#define WILD_CACHE "cache instructions on wild addresses"
static void wild_cache(void) {
    static const uint32_t opcodes[] = {86, 54, 278, 246, 982, 1014, 758}; // dcbf dcbst dcbt dcbtst icbi dcbz dcba
    unsigned i, j;
    uint32_t ea;

    for (i = 0; i != SAME_SPACE; ++i) {
        for (j = 0; j != sizeof(opcodes) / sizeof(opcodes[0]); ++j)
            for (ea = 0xC0000000; ea >= 0xC0000000; ea += 0x03456780)
                execute_in(contexts[i], 31u << 26 | 3u << 11 | opcodes[j] << 1, ea, 0, 0);
    }
    EXPECT(WILD_CACHE, last.count == by_vector[VECTOR_DATA_MISS] + by_vector[VECTOR_SYSTEM_CALL], last.vector);
    for (ea = 0xC0000000; ea >= 0xC0000000; ea += 0x03456780) {
        execute(31u << 26 | 3u << 11 | 470 << 1, ea, 0, 0);            // dcbi
        execute(31u << 26 | 3u << 11 | 454 << 1, ea, 0, 0);            // dccci
        execute(31u << 26 | 3u << 11 | 966 << 1, ea, 0, 0);            // iccci
        execute(31u << 26 | 3u << 21 | 3u << 11 | 486 << 1, ea, 0, 0); // dcread
        execute(31u << 26 | 3u << 11 | 998 << 1, ea, 0, 0);            // icread
    }
}

// The guest's own mappings where the host has its: the guest's memory is there, in every context.
#define HOST_ADDRESSES "the host's addresses mapped by the guest"
static void host_addresses(void) {
    static uint32_t marker;
    uint32_t ea;
    unsigned i;

    for (ea = 0x10000000; ea != 0; ea += 0x10000000) {
        write_tlb(8, ea | TLB_VALID | TLB_16M, 0, TLB_USER | TLB_SUPERVISOR, 0);
        write_tlb(9, ea | TLB_VALID | TLB_TS | TLB_16M, 0, TLB_USER | TLB_SUPERVISOR, 0);
        for (i = 0; i != CONTEXTS; ++i) {
            const uint32_t before = by_vector[VECTOR_DATA_MISS];

            marker = ea + i;
            EXPECT(HOST_ADDRESSES, execute_in(contexts[i], LWZ, ea + (uintptr_t)&marker, 0, 0) == ea + i, ea + i);
            execute_in(contexts[i], STW, ea + (uintptr_t)&marker, ~ea, 0);
            EXPECT(HOST_ADDRESSES, marker == ~ea, ea + i);
            // Code runs there too.
            prepare(NOP);
            run_in(contexts[i], ea + (uintptr_t)code, 0, 0, 0);
            EXPECT(HOST_ADDRESSES, by_vector[VECTOR_DATA_MISS] == before, ea);
            execute_in(contexts[i], LWZ, ea + 0x01000000, 0, 0);
            EXPECT(HOST_ADDRESSES, by_vector[VECTOR_DATA_MISS] == before + 1, ea);
        }
        write_tlb(8, 0, 0, 0, 0);
        write_tlb(9, 0, 0, 0, 0);
        for (i = 0; i != CONTEXTS; ++i) {
            const uint32_t before = by_vector[VECTOR_DATA_MISS];

            execute_in(contexts[i], LWZ, ea + (uintptr_t)&marker, 0, 0);
            EXPECT(HOST_ADDRESSES, by_vector[VECTOR_DATA_MISS] == before + 1, ea);
        }
    }
}

// Real addresses without memory, where the host's has some: a device's, each.
#define OUT_OF_SLOT "real addresses outside the slots"
static void out_of_slot(void) {
    const uint32_t window = 0x50000000;
    uint32_t extended, offset;

    for (extended = 0; extended != 16; ++extended) {
        const uint64_t real = (uint64_t)extended << 32;

        write_tlb(8, window | TLB_VALID | TLB_256M, real, TLB_USER | TLB_SUPERVISOR, 0);
        (void)mfdcr(DCR_MMIO_LOADS);
        (void)mfdcr(DCR_MMIO_STORES);
        for (offset = extended == 0 ? ISOLATION_MEMORY : 0; offset < 0x10000000; offset += 0x00213574) {
            const volatile uint32_t* address = (const volatile uint32_t*)(uintptr_t)(window + (offset & ~3u));
            uint32_t value;

            if (extended == 0 && offset - ISOLATION_READ_ONLY < ISOLATION_READ_ONLY_BYTES) continue;
            value = *address;
            EXPECT(OUT_OF_SLOT, value == MMIO_PATTERN(offset & ~3u), value);
            EXPECT(OUT_OF_SLOT, mfdcr(DCR_MMIO_ADDRESS) == (offset & ~3u), offset);
            EXPECT(OUT_OF_SLOT, mfdcr(DCR_MMIO_ADDRESS_HIGH) == extended, extended);
            EXPECT(OUT_OF_SLOT, mfdcr(DCR_MMIO_LOADS) == 1, offset);
            *(volatile uint32_t*)(uintptr_t)(window + (offset & ~3u)) = offset;
            EXPECT(OUT_OF_SLOT, mfdcr(DCR_MMIO_STORES) == 1, offset);
            EXPECT(OUT_OF_SLOT, mfdcr(DCR_MMIO_ADDRESS) == (offset & ~3u), offset);
        }
    }
    // Around the end of the memory.
    write_tlb(8, window | TLB_VALID | TLB_256M, 0, TLB_USER | TLB_SUPERVISOR, 0);
    *(volatile uint32_t*)(uintptr_t)(ISOLATION_MEMORY - 4) = 0x01020304;
    EXPECT(OUT_OF_SLOT, *(volatile uint32_t*)(uintptr_t)(window + ISOLATION_MEMORY - 4) == 0x01020304, 0);
    EXPECT(OUT_OF_SLOT, mfdcr(DCR_MMIO_LOADS) == 0, 0);
    (void)*(volatile uint32_t*)(uintptr_t)(window + ISOLATION_MEMORY - 2);
    EXPECT(OUT_OF_SLOT, mfdcr(DCR_MMIO_LOADS) == 2, 2); // two bytes of four
    // A fetch from there is a machine check, where those are on.
    EXPECT(OUT_OF_SLOT, last.count == 0, last.vector);
    prepare(NOP);
    run_in(MSR_ME, window + 0x08000000, 0, 0, 0);
    EXPECT(OUT_OF_SLOT, by_vector[VECTOR_MACHINE_CHECK] == 1, last.vector);
    write_tlb(8, 0, 0, 0, 0);
}

#define READ_ONLY "read-only memory"
static void read_only(void) {
    static const uint32_t stores[] = {
        STW,                                        // r4
        38u << 26 | 4u << 21 | 3u << 16,            // stb
        44u << 26 | 4u << 21 | 3u << 16,            // sth
        47u << 26 | 29u << 21 | 3u << 16,           // stmw r29
        31u << 26 | 4u << 21 | 3u << 11 | 662 << 1, // stwbrx
        31u << 26 | 3u << 11 | 470 << 1,            // dcbi
        31u << 26 | 3u << 11 | 86 << 1,             // dcbf
    };
    const uint32_t window = 0x60000000;
    unsigned i, j;
    uint32_t offset;

    write_tlb(8, window | TLB_VALID | TLB_SIZE(3), ISOLATION_READ_ONLY, TLB_USER | TLB_SUPERVISOR, 0);
    write_tlb(9, window | TLB_VALID | TLB_TS | TLB_SIZE(3), ISOLATION_READ_ONLY, TLB_USER | TLB_SUPERVISOR, 0);
    for (i = 0; i != CONTEXTS; ++i) {
        for (offset = 0; offset < ISOLATION_READ_ONLY_BYTES; offset += 0x1004) {
            const uint32_t value = execute_in(contexts[i], LWZ, window + offset, 0, 0);

            EXPECT(READ_ONLY, value == ISOLATION_READ_ONLY + offset, value);
            for (j = 0; j != sizeof(stores) / sizeof(stores[0]); ++j)
                execute_in(contexts[i], stores[j], window + offset, 0xBADBAD, 0);
            EXPECT(READ_ONLY, execute_in(contexts[i], LWZ, window + offset, 0, 0) == ISOLATION_READ_ONLY + offset, i);
        }
    }
    EXPECT(READ_ONLY, mfdcr(DCR_MMIO_LOADS) == 0, 0);
    EXPECT(READ_ONLY, mfdcr(DCR_MMIO_STORES) != 0, 0);
    write_tlb(8, 0, 0, 0, 0);
    write_tlb(9, 0, 0, 0, 0);
}

// Pages whose permissions forbid it.
#define PERMISSIONS "permissions of pages"
static void permissions(void) {
    const uint32_t window = 0x70000000;
    unsigned bits, i;

    for (bits = 0; bits != 64; ++bits) {
        write_tlb(8, window | TLB_VALID | TLB_4K, (uintptr_t)code & ~0xFFFu, bits, 0);
        for (i = 0; i != 2; ++i) {
            const uint32_t msr = i == 0 ? 0 : MSR_PR;
            const uint32_t mine = bits >> (3 * i);
            const uint32_t at = window + ((uintptr_t)code & 0xFFF);
            uint32_t before = by_vector[VECTOR_DATA_STORAGE];

            execute_in(msr, LWZ, at + 128, 0, 0);
            EXPECT(PERMISSIONS, by_vector[VECTOR_DATA_STORAGE] == before + !(mine & 1), bits << 4 | i);
            before = by_vector[VECTOR_DATA_STORAGE];
            execute_in(msr, STW, at + 128, 0, 0);
            EXPECT(PERMISSIONS, by_vector[VECTOR_DATA_STORAGE] == before + !(mine & 2), bits << 4 | i | 2);
            before = by_vector[VECTOR_INSTRUCTION_STORAGE];
            prepare(NOP);
            run_in(msr, at, 0, 0, 0);
            EXPECT(PERMISSIONS, by_vector[VECTOR_INSTRUCTION_STORAGE] == before + !(mine & 4), bits << 4 | i | 4);
        }
    }
    write_tlb(8, 0, 0, 0, 0);
}

static uint32_t seed = 0x1234567;
static uint32_t any(void) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

// Entries of every kind, over one another: large ones, reserved sizes, both spaces, any process, any real address. What
// a load sees is memory, a device or a fault.
#define TLB_CHAOS "huge, overlapping and nonsensical TLB entries"
static void tlb_chaos(void) {
    uint32_t i, j;

    for (i = 0; i != 3000; ++i) {
        const uint32_t index = 8 + any() % 56;
        uint32_t word0 = (any() & 0xFFFFFFF0u) | (any() % 4 != 0 ? TLB_VALID : 0);

        // Not where the guest itself is. The largest page reaches 256 MB.
        if (word0 < 0x10000000) word0 |= 0x50000000;
        if (any() % 2 != 0) word0 = (word0 & ~0xF0u) | TLB_SIZE(any() % 2 != 0 ? 9 : 7);
        mtspr(SPR_MMUCR, any() & 0xFF);
        __asm__ volatile("tlbwe %0,%1,0" : : "r"(word0), "r"(index) : "memory");
        __asm__ volatile("tlbwe %0,%1,1"
                         :
                         : "r"(any() & (any() % 2 != 0 ? 0x003FFC00u : 0xFFFFFFFFu)), "r"(index)
                         : "memory");
        __asm__ volatile("tlbwe %0,%1,2; isync"
                         :
                         : "r"(any() & (any() % 2 != 0 ? 0xFFFFu : 0xFF3Fu)), "r"(index)
                         : "memory");
        mtspr(SPR_PID, any() % 4 != 0 ? 0 : any() & 0xFF);
        for (j = 0; j != 4; ++j) {
            const uint32_t near = (word0 & 0xFFFFFC00u) + (any() & 0x003FFFFC);

            execute_in(contexts[any() % CONTEXTS], LWZ, near >= 0x10000000 ? near : near | 0x50000000, 0, 0);
        }
    }
    mtspr(SPR_PID, 0);
    for (i = 8; i != 64; ++i) write_tlb(i, 0, 0, 0, 0);
    EXPECT(TLB_CHAOS, by_vector[VECTOR_PROGRAM] == 0, last.pc);
    EXPECT(TLB_CHAOS, last.count > by_vector[VECTOR_SYSTEM_CALL], 0);
}

// The host's registers are not in the FPU, and without MSR[FP] there is none.
#define FPU "floating point"
static void fpu(void) {
    static uint64_t value;
    unsigned i;

    for (i = 0; i != 32; ++i) {
        const uint32_t stfd = 54u << 26 | i << 21 | 3u << 16;

        value = 1;
        execute(stfd, (uintptr_t)&value, 0, 0);
        EXPECT(FPU, value == 1, i);
        EXPECT(FPU, by_vector[VECTOR_FP_UNAVAILABLE] == i + 1, i);
    }
    for (i = 0; i != 32; ++i) {
        const uint32_t stfd = 54u << 26 | i << 21 | 3u << 16;

        value = 1;
        execute_in(MSR_FP, stfd, (uintptr_t)&value, 0, 0);
        EXPECT(FPU, value == 0, i);
        value = 0x7FF8000012340000ull + i;
        execute_in(MSR_FP | MSR_PR, 50u << 26 | i << 21 | 3u << 16, (uintptr_t)&value, 0, 0); // lfd
    }
    for (i = 0; i != 32; ++i) {
        value = 1;
        execute_in(MSR_FP, 54u << 26 | i << 21 | 3u << 16, (uintptr_t)&value, 0, 0);
        EXPECT(FPU, value == 0x7FF8000012340000ull + i, i);
    }
}

// Breakpoints on the host's code and data concern the guest's own alone.
#define DEBUG_REGISTERS "debug registers"
static void debug_registers(void) {
    static uint32_t target;
    uint32_t i;

    for (i = 0; i != 20; ++i) {
        mtspr(SPR_IAC1, 0xC0000000 + i * 0x1004);
        mtspr(SPR_DAC1, 0xC0000000 + i * 0x10000);
        mtspr(SPR_DBCR1, any() & 0x0000FFFF);
        mtspr(SPR_DBCR0, 0x40000000 | (any() & 0x00FF0000)); // IDM
        EXPECT(DEBUG_REGISTERS, execute(NOP, 77, 0, 0) == 77, i);
        mtspr(SPR_DBCR0, 0);
        mtspr(SPR_DBCR1, 0);
        mtspr(SPR_DBSR, 0xFFFFFFFF);
    }
    clear_counts();
    mtspr(SPR_DAC1, (uintptr_t)&target);
    mtspr(SPR_DBCR0, 0x40000000 | 0x00040000); // IDM, DAC1W
    execute_in(MSR_DE | MSR_PR, STW, (uintptr_t)&target, 5, 0);
    EXPECT(DEBUG_REGISTERS, by_vector[VECTOR_DEBUG] == 1, last.vector);
    EXPECT(DEBUG_REGISTERS, target == 5, target);
}

// MSR bits of all kinds, by way of rfi and mtmsr.
#define ANY_MSR "any MSR"
static void any_msr(void) {
    uint32_t i;

    for (i = 0; i != 2000; ++i) {
        const uint32_t msr = any() & ~MSR_WE;

        mtspr(SPR_TSR, 0xFFFFFFFF);
        EXPECT(ANY_MSR, execute_in(msr & ~(MSR_DE | MSR_CE), NOP, i, 0, 0) == i, msr);
        mtmsr(any() & ~(MSR_WE | MSR_PR | MSR_IS | MSR_DS | MSR_DE | MSR_CE));
    }
    mtmsr(0);
}

uint32_t guest_main(uint32_t argument, uint32_t second) {
    (void)argument;
    (void)second;
    map_memory_everywhere();
    TEST(FPU, fpu());
    TEST(SPRS, supervisor_sprs());
    TEST(USER_INSTRUCTIONS, user_instructions());
    TEST(USER_SPRS, user_sprs());
    TEST(WILD, wild_addresses());
    TEST(WILD_CACHE, wild_cache());
    TEST(HOST_ADDRESSES, host_addresses());
    TEST(OUT_OF_SLOT, out_of_slot());
    TEST(READ_ONLY, read_only());
    TEST(PERMISSIONS, permissions());
    TEST(TLB_CHAOS, tlb_chaos());
    TEST(DEBUG_REGISTERS, debug_registers());
    TEST(ANY_MSR, any_msr());
    return 0;
}
