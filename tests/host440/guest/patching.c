// SPDX-License-Identifier: GPL-2.0-only
// A kernel whose privileged instructions are hot, and that does to patched code what a patching hypervisor must not let
// show: reads it, rewrites it, runs it under other addresses, maps its own pages over any place where stubs or the
// state page may be, and is interrupted all the time. It runs on the machine itself as well, and prints the same there:
// one line a test on the serial port. An argument of SCRIBBLE makes it write all over the end of the address space at
// last.
#include "guest/guest.h"

#define UART 0xE0000000u
#define WINDOW 0x01000000u // the code is in the first megabytes
#define ROUNDS 60

static volatile uint32_t ticks, wrong_interrupts, wrong_at, misses, missed_at, stores_done;
static volatile uint32_t window; // where the code runs: this address or 0 is added to its own
static bool failed, in_qemu;

extern char start[], etext[];

// ---- output --------------------------------------------------------------------------------------------------------

static void put(char c) {
    volatile uint8_t* const port = (volatile uint8_t*)(uintptr_t)(UART + DEVICE_UART);

    while ((port[5] & 0x20) == 0) {
    }
    port[0] = (uint8_t)c;
}
static void print(const char* text) {
    for (; *text != '\0'; ++text) put(*text);
}
static void print_number(uint32_t value) {
    int shift;

    for (shift = 28; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
}
static void expect(bool condition, const char* what, uint32_t value) {
    if (condition || failed) return;
    failed = true;
    print("not ok ");
    print(what);
    put(' ');
    print_number(value);
    put('\n');
}
static void end_test(const char* name, uint32_t value) {
    expect(wrong_interrupts == 0, "an interrupt outside the guest's code", wrong_at);
    if (!failed) {
        print("ok ");
        print(name);
        put(' ');
        print_number(value);
        put('\n');
    }
    failed = false;
    wrong_interrupts = 0;
}

// ---- interrupts ----------------------------------------------------------------------------------------------------

static bool own(uint32_t pc) {
    const uint32_t here = pc - window, size = (uintptr_t)etext;

    return (pc & 3) == 0 && (pc < size || here < size);
}

void interrupt(struct frame* frame) {
    switch (frame->vector) {
    case VECTOR_DECREMENTER:
        ++ticks;
        mtspr(SPR_TSR, 0x08000000);
        if (!own(frame->pc) || (frame->msr & MSR_EE) == 0 || (frame->gpr[1] & 15) != 0) {
            ++wrong_interrupts;
            wrong_at = frame->pc;
        }
        return;
    case VECTOR_SYSTEM_CALL:
        if (run_in_stack != 0) leave_run_in(frame);
        return;
    case VECTOR_DATA_MISS:
        ++misses;
        missed_at = frame->dear;
        if (!own(frame->pc)) ++wrong_interrupts;
        frame->pc += 4;
        return;
    case VECTOR_INSTRUCTION_MISS:
        ++misses;
        missed_at = frame->pc;
        frame->pc = frame->lr;
        return;
    default:
        print("not ok: interrupt ");
        print_number(frame->vector);
        print(" at ");
        print_number(frame->pc);
        put('\n');
        mtspr(SPR_DBCR0, 0x30000000);
    }
}

// ---- hot code ------------------------------------------------------------------------------------------------------

// One privileged instruction beside another, of every kind that is patched. Gives what it read, mixed.
__attribute__((noinline)) static uint32_t hot(uint32_t seed) {
    uint32_t a, b, c, d, e, f, sum = seed;

    // Interrupts change SRR0, SRR1, DEAR, ESR, and nothing else.
    __asm__ volatile("wrteei 0\n\t"
                     "mtspr 26,%[seed]; mtspr 27,%[seed]; mfspr %[a],26; mfspr %[b],27\n\t"
                     "mtspr 61,%[seed]; mfspr %[c],61\n\t"
                     "mfmsr %[d]\n\t"
                     "wrteei 1\n\t"
                     "mfmsr %[e]\n\t"
                     "mtspr 274,%[seed]; mfspr %[f],274\n\t"
                     : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [e] "=&r"(e), [f] "=&r"(f)
                     : [seed] "r"(seed & ~3u)
                     : "memory");
    sum = sum * 31 + a;
    sum = sum * 31 + b;
    sum = sum * 31 + c;
    sum = sum * 31 + (d & (MSR_EE | MSR_PR | MSR_IS | MSR_DS));
    sum = sum * 31 + (e & (MSR_EE | MSR_PR | MSR_IS | MSR_DS));
    sum = sum * 31 + f;
    // As Linux locks and unlocks: the old state back by wrtee and mtmsr; PID there and back; CR and carry stay.
    __asm__ volatile("cmpwi %[seed],0; mfmsr %[a]; wrteei 0; mfcr %[b]; mfmsr %[c]; wrtee %[a]; mfmsr %[d]\n\t"
                     "mtspr 48,%[pid]; mfspr %[e],48; mtspr 48,%[zero]; mfspr %[f],48\n\t"
                     "mtmsr %[c]; isync; mtmsr %[a]; isync\n\t"
                     : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [e] "=&r"(e), [f] "=&r"(f)
                     : [seed] "r"(seed), [pid] "r"(seed & 0xFF), [zero] "r"(0)
                     : "memory", "cr0");
    sum = sum * 31 + (b >> 28);
    sum = sum * 31 + (c & MSR_EE);
    sum = sum * 31 + (d & MSR_EE);
    sum = sum * 31 + e;
    return sum * 31 + f;
}

// The same, from the mapping `at` of the code.
static uint32_t hot_at(uint32_t at, uint32_t seed) {
    uint32_t (*const function)(uint32_t) = (uint32_t(*)(uint32_t))((uintptr_t)hot + at);

    window = at;
    return function(seed);
}

static uint32_t expected[ROUNDS];
static uint32_t code_sum(void) {
    const uint32_t* word;
    uint32_t sum = 0;

    for (word = (const uint32_t*)start; word < (const uint32_t*)etext; ++word) sum = (sum ^ *word) * 16777619u;
    return sum;
}

static void learn_results(void) {
    uint32_t round;

    for (round = 0; round != ROUNDS; ++round) expected[round] = hot(round * 0x01234567u);
}

static uint32_t hot_code(uint32_t original) {
    uint32_t round, sum = 0;

    for (round = 0; round != ROUNDS; ++round) sum = sum * 31 + expected[round];
    for (round = 0; round != 100 * ROUNDS; ++round) {
        const uint32_t got = hot(round % ROUNDS * 0x01234567u);

        expect(got == expected[round % ROUNDS], "hot code", round);
        if (round % 200 == 0) expect(code_sum() == original, "the guest's own code, read", round);
    }
    return sum;
}

// ---- code that changes ---------------------------------------------------------------------------------------------

static uint32_t page[1024] __attribute__((aligned(4096)));
#define MFSPRG(number) (31u << 26 | 3u << 21 | (16u + (number)) << 16 | 8u << 11 | 339u << 1) // mfspr r3,SPRG0+number
#define BLR 0x4E800020u

static void flush(uintptr_t address) {
    __asm__ volatile("dcbst 0,%0; sync; icbi 0,%0; sync; isync" : : "r"(address) : "memory");
}
static uint32_t call(uintptr_t address) { return ((uint32_t(*)(void))address)(); }

static uint32_t rewritten(void) {
    const uint32_t aliases[] = {0x40000000u, 0xBFFF0000u, 0xD0000000u};
    const uint32_t offset = (uintptr_t)page;
    uint32_t round, i, other = 0;

    mtspr(SPR_SPRG0 + 2, 0x22222222);
    mtspr(SPR_SPRG0 + 3, 0x33333333);
    mtspr(SPR_TCR, 0); // the handlers know but one window
    page[1] = BLR;
    for (i = 0; i != 3; ++i) write_tlb(20 + i, aliases[i] | TLB_VALID | TLB_4K, offset, TLB_SUPERVISOR, 0);
    for (round = 0; round != 300; ++round) {
        const uint32_t number = 2 + round / 20 % 2, wanted = number * 0x11111111u;
        uint32_t* const by = (uint32_t*)(uintptr_t)(round % 60 < 30 ? offset : aliases[round % 3]);

        if (round % 20 == 0) {
            by[0] = MFSPRG(number);
            if (round % 40 == 0) other += call(offset) == wanted; // without icbi: either word
            flush((uintptr_t)by);
            flush(offset);
            for (i = 0; i != 3; ++i) flush(aliases[i]);
        }
        expect(call(offset) == wanted, "rewritten code", round);
        expect(call(aliases[round % 3]) == wanted, "rewritten code under another address", round);
        expect(page[0] == MFSPRG(number) && *(uint32_t*)(uintptr_t)aliases[0] == page[0], "rewritten code, read",
               round);
    }
    (void)other;
    for (i = 0; i != 3; ++i) write_tlb(20 + i, 0, 0, 0, 0);
    mtspr(SPR_TCR, 0x04400000);
    return MFSPRG(2);
}

// ---- addresses -----------------------------------------------------------------------------------------------------

// Executable pages over everything: whatever lies there gives way, and the code runs there, hot sites and all.
static uint32_t mapped_over(void) {
    uint32_t ea, count = 0, round;

    for (ea = 0x10000000; ea >= 0x10000000; ea += ea >= 0xB0000000 && ea < 0xC4000000 ? WINDOW : 7 * WINDOW) {
        if ((ea & 0xF0000000) == UART) continue;
        write_tlb(24, ea | TLB_VALID | TLB_16M, 0, TLB_SUPERVISOR, 0);
        for (round = 0; round != 12; ++round)
            expect(hot_at(ea, round * 0x01234567u) == expected[round], "code mapped over an address", ea);
        expect(*(uint32_t*)(uintptr_t)(ea + (uintptr_t)hot) == *(uint32_t*)(uintptr_t)hot, "mapped code, read", ea);
        expect(hot(0) == expected[0], "code beside it", ea);
        window = 0;
        ++count;
    }
    write_tlb(24, 0, 0, 0, 0);
    return count;
}

static void tell(uint8_t what) { *(volatile uint8_t*)(uintptr_t)(UART + DEVICE_UART + 7) = what; }

// Executable pages over the places that a hypervisor may have stubs at, one after the other, while the sites are hot:
// the stubs move from one to the next. One place is left.
static uint32_t mapped_over_stubs(void) {
    static const uint32_t places[] = {0xFE800000u, 0xFF000000u, 0x01000000u, 0xFF800000u};
    const unsigned count = sizeof(places) / sizeof(places[0]);
    uint32_t i, round;

    page[0] = MFSPRG(2);
    page[1] = BLR;
    flush((uintptr_t)page);
    for (i = 0; i != count; ++i) {
        const uint32_t ea = places[i];

        tell(PATCHING_BEFORE);
        write_tlb(20 + i, ea | TLB_VALID | TLB_4K, (uintptr_t)page, TLB_SUPERVISOR, 0);
        tell(PATCHING_MAPPED);
        mtspr(SPR_TCR, 0); // the handlers know but one window
        mtspr(SPR_SPRG0 + 2, 0x22222222);
        for (round = 0; round != 20; ++round) expect(call(ea) == 0x22222222, "a page over stubs", ea);
        mtspr(SPR_TCR, 0x04400000);
        expect(*(volatile uint32_t*)(uintptr_t)ea == MFSPRG(2), "a page over stubs, read", ea);
        for (round = 0; round != 600; ++round)
            expect(hot(round % ROUNDS * 0x01234567u) == expected[round % ROUNDS], "hot code without its stubs", ea);
        expect(*(volatile uint32_t*)(uintptr_t)(ea + 4) == BLR, "a page over stubs, read again", ea);
    }
    tell(PATCHING_BEFORE);
    for (i = 0; i != count; ++i) write_tlb(20 + i, 0, 0, 0, 0);
    page[0] = page[1] = 0;
    flush((uintptr_t)page);
    return count;
}

// A page of its own at the end of the address space, where the hypervisor may have one.
static uint32_t last_page(void) {
    static uint32_t own_page[1024] __attribute__((aligned(4096)));
    volatile uint32_t* const there = (volatile uint32_t*)(uintptr_t)0xFFFFF000u;
    uint32_t round, i;

    for (round = 0; round != 6; ++round) {
        write_tlb(25, 0xFFFFF000u | TLB_VALID | TLB_4K, (uintptr_t)own_page, TLB_SUPERVISOR, 0);
        for (i = 0; i != 1024; ++i) {
            there[i] = i * 0x01010101u + round;
            if (i % 64 == 0) expect(hot(0x01234567u) == expected[1], "hot code beside a page of its own at the end", i);
        }
        for (i = 0; i != 1024; ++i) expect(own_page[i] == i * 0x01010101u + round, "a page of its own at the end", i);
        // Code of its own there.
        own_page[0] = MFSPRG(2);
        own_page[1] = BLR;
        flush((uintptr_t)own_page);
        flush(0xFFFFF000u);
        mtspr(SPR_TCR, 0);
        mtspr(SPR_SPRG0 + 2, 0x22222222);
        for (i = 0; i != 20; ++i) expect(call(0xFFFFF000u) == 0x22222222, "code of its own at the end", i);
        mtspr(SPR_TCR, 0x04400000);
        write_tlb(25, 0, 0, 0, 0);
        for (i = 0; i != ROUNDS; ++i) expect(hot(i * 0x01234567u) == expected[i], "hot code afterwards", i);
    }
    return round;
}

// User mode reads, writes and jumps where the guest has no mapping: a miss each, as on the machine.
static uint32_t probe(uint32_t first, uint32_t step, uint32_t count) {
    uint32_t i;

    for (i = 0; i != count; ++i) {
        (void)*(volatile uint32_t*)(uintptr_t)(first + i * step);
        *(volatile uint32_t*)(uintptr_t)(first + i * step) = 0xBADBAD;
    }
    return 0;
}
static uint32_t probes(void) {
    static const struct {
        uint32_t first, step, count;
    } places[] = {
        {0xFFFFF000u, 4, 1024},       {0xFFFF0000u, 64, 1024},     {0xBE000000u, 0x4000, 2048},
        {0x02000000u, 0x10000, 1024}, {0xC0000000u, 0x40000, 256}, {0x7F000000u, 0x8000, 512},
    };
    uint32_t i, j, all = 0;

    for (i = 0; i != sizeof(places) / sizeof(places[0]); ++i) {
        misses = 0;
        run_in(MSR_PR | MSR_EE, (uintptr_t)probe, places[i].first, places[i].step, places[i].count);
        expect(misses == 2 * places[i].count, "user mode at unmapped addresses", places[i].first);
        for (j = 0; j < places[i].count; j += 16) {
            const uint32_t at = places[i].first + j * places[i].step;

            misses = 0;
            window = at; // a fetch that misses is at its own address
            run_in(MSR_PR, at, 0, 0, 0);
            window = 0;
            expect(misses == 1 && missed_at == at, "a jump of user mode to an unmapped address", at);
        }
        all += places[i].count;
        expect(hot(0) == expected[0], "hot code after user mode's attempts", i);
    }
    // The kernel itself: whatever is beyond the first kilobyte of the last page misses.
    misses = 0;
    probe(0xFFFFF400u, 4, 768);
    expect(misses == 2 * 768 || (in_qemu && misses <= 2 * 768), "the kernel at unmapped addresses of the last page",
           misses);
    return all;
}

// Entries rewritten over and over, and read through.
static uint32_t tlb_writes(void) {
    static uint32_t target[4][1024] __attribute__((aligned(4096)));
    uint32_t round, sum = 0;

    for (round = 0; round != 4; ++round) target[round][5] = 0xA0 + round;
    for (round = 0; round != 1000; ++round) {
        const uint32_t ea = 0x50000000u + round % 7 * 0x1000, index = 28 + round % 3;

        // Never two for one address.
        write_tlb(28, 0, 0, 0, 0);
        write_tlb(29, 0, 0, 0, 0);
        write_tlb(30, 0, 0, 0, 0);
        write_tlb(index, ea | TLB_VALID | TLB_4K, (uintptr_t)target[round % 4], TLB_SUPERVISOR, 0);
        expect(*(volatile uint32_t*)(uintptr_t)(ea + 20) == 0xA0 + round % 4, "a TLB entry written anew", round);
        sum += *(volatile uint32_t*)(uintptr_t)(ea + 20);
    }
    write_tlb(28, 0, 0, 0, 0);
    write_tlb(29, 0, 0, 0, 0);
    write_tlb(30, 0, 0, 0, 0);
    return sum;
}

// ---- a kernel with a TLB-miss handler
// --------------------------------------------------------------------------------

#define PAGES 32u
#define FIRST_PAGE 0x48000000u // 64 KB apart, as is what they map
#define FIRST_REAL 0x00100000u
#define PROCESS 5u
#define VALUE 0xB0000000u

// The pages of `refill_table` go to entries 48 to 63 in turn, for the process. It is written as one that may be
// compiled.
uint32_t refill_table[PAGES];
volatile uint32_t refill_next;
extern char refill[];
__asm__(".text; .balign 16; .globl refill; refill:\n"
        "mtspr 272,10; mtspr 276,11; mtspr 277,12; mfcr 11; mtspr 279,11; mfspr 10,61; mfspr 12,48; mtspr 946,12\n"
        "rlwinm 11,10,18,25,29; lis 12,refill_table@ha; addi 12,12,refill_table@l; lwzx 11,11,12\n"
        "lis 12,refill_next@ha; lwz 12,refill_next@l(12); addi 12,12,1; rlwinm 12,12,0,28,31\n"
        "lis 10,refill_next@ha; stw 12,refill_next@l(10); addi 12,12,48; mfspr 10,61\n"
        "tlbwe 11,12,1; rlwinm 10,10,0,0,19; ori 10,10,0x210; tlbwe 10,12,0; li 11,0x3F; tlbwe 11,12,2\n"
        "mfspr 11,263; mtcr 11; mfspr 12,261; mfspr 11,260; mfspr 10,272; rfi; nop; nop\n");

// What entry maps a page by now, 0: none; the page that an entry maps, PAGES: none.
static uint8_t entry_of[PAGES], page_of[64];
static bool of_process[PAGES];

static void note_entry(uint32_t index, uint32_t number, bool process) {
    if (page_of[index] != PAGES) entry_of[page_of[index]] = 0;
    page_of[index] = (uint8_t)number;
    if (number == PAGES) return;
    entry_of[number] = (uint8_t)index;
    of_process[number] = process;
}

static uint32_t read_user(uint32_t address) { return *(volatile uint32_t*)(uintptr_t)address; }

// Reads a page, in user mode or here: by the entry there is, or by one more of the handler's.
static void touch_page(uint32_t number, bool user) {
    const uint32_t ea = FIRST_PAGE + number * 0x10000u + 20, before = refill_next;
    const bool there = entry_of[number] != 0;

    if (user) {
        mtmsr(mfmsr() & ~MSR_EE);
        run_in(MSR_PR | MSR_EE, (uintptr_t)read_user, ea, 0, 0);
        mtmsr(mfmsr() | MSR_EE);
    } else {
        expect(read_user(ea) == VALUE + number, "a page of the handler's", number);
    }
    expect(refill_next == (there ? before : (before + 1) % 16), "runs of the handler", number);
    if (refill_next != before) note_entry(48 + refill_next, number, true);
}

struct found {
    uint32_t index, cr;
};
// As Linux takes a page out: with two registers for the address, and with one that is the result's as well.
__attribute__((noinline)) static struct found take_out(uint32_t base, uint32_t offset, uint32_t xer) {
    struct found found = {0x5A5A, 0};

    __asm__ volatile("mtxer %4; tlbsx. %0,%2,%3; bne 1f; sync; tlbwe %0,%0,0; isync; 1: mfcr %1"
                     : "+&r"(found.index), "=&r"(found.cr)
                     : "b"(base), "r"(offset), "r"(xer)
                     : "cr0", "xer", "memory");
    return found;
}
__attribute__((noinline)) static struct found take_out_alias(uint32_t ea, uint32_t xer) {
    struct found found = {ea, 0};

    __asm__ volatile("mtxer %2; tlbsx. %0,0,%0; bne 1f; sync; tlbwe %0,%0,0; isync; 1: mfcr %1"
                     : "+&r"(found.index), "=&r"(found.cr)
                     : "r"(xer)
                     : "cr0", "xer", "memory");
    return found;
}

static uint32_t searches(void) {
    uint32_t round, i, random = 12345, sum = 0;

    for (i = 0; i != PAGES; ++i) {
        refill_table[i] = FIRST_REAL + i * 0x10000u;
        *(volatile uint32_t*)(uintptr_t)(FIRST_REAL + i * 0x10000u + 20) = VALUE + i;
        entry_of[i] = 0;
    }
    for (i = 0; i != 64; ++i) page_of[i] = PAGES;
    mtspr(SPR_IVOR0 + VECTOR_DATA_MISS, (uintptr_t)refill);
    mtspr(SPR_PID, PROCESS);
    for (round = 0; round != 6000; ++round) {
        const bool alias = round / 500 % 2 != 0;
        uint32_t number, index, ea, stid, xer;
        struct found found;
        bool there;

        random = random * 1664525u + 1013904223u;
        number = random >> 8 & (PAGES - 1);
        index = 32 + (random >> 16 & 15);
        if (entry_of[number] == 0 && page_of[index] == PAGES && (random & 0x80) != 0) {
            const uint32_t size = (random >> 20 & 7) == 0 ? TLB_64K : TLB_4K;
            const bool process = (random >> 23 & 1) != 0;

            write_tlb(index, (FIRST_PAGE + number * 0x10000u) | TLB_VALID | size, refill_table[number],
                      TLB_USER | TLB_SUPERVISOR, process ? PROCESS : 0);
            note_entry(index, number, process);
        }
        if ((random >> 24 & 3) != 0) touch_page(number, (random >> 24 & 3) == 1);
        random = random * 1664525u + 1013904223u;
        if ((random >> 30) != 0) number = random >> 8 & (PAGES - 1);
        ea = FIRST_PAGE + number * 0x10000u + (random & 0xFFC);
        stid = (random >> 14 & 3) == 0 ? 0 : PROCESS;
        xer = (random >> 16 & 1) << 31;
        index = entry_of[number];
        there = index != 0 && (!of_process[number] || stid == PROCESS);
        mtspr(SPR_MMUCR, stid);
        found = alias ? take_out_alias(ea, xer) : take_out(ea - 0x1230, 0x1230, xer);
        if (!there) found.index = 0; // the manual leaves it open
        expect(found.index == index * there, "the entry that a search has found", round);
        expect(found.cr >> 28 == (there ? 2 : 0) + (xer >> 31), "CR after a search", round);
        if (there) {
            uint32_t word;

            __asm__ volatile("tlbre %0,%1,0" : "=r"(word) : "r"(index));
            expect((word & TLB_VALID) == 0, "an entry that was taken out", round);
            if (!of_process[number]) { // QEMU 10 keeps what it has of everybody's while PID is not 0
                mtspr(SPR_PID, 0);
                mtspr(SPR_PID, PROCESS);
            }
            note_entry(index, PAGES, false);
        }
        if ((random >> 18 & 7) == 0) touch_page(number, (random >> 21 & 1) != 0);
        if (round % 50 == 0) (void)((volatile uint8_t*)(uintptr_t)(UART + DEVICE_UART))[5];
        sum = sum * 31 + found.index + (found.cr >> 28);
    }
    __asm__ volatile("mtxer %0" : : "r"(0) : "xer"); // hot code has CR in what it gives
    for (i = 32; i != 64; ++i) write_tlb(i, 0, 0, 0, 0);
    mtspr(SPR_PID, 0);
    mtspr(SPR_IVOR0 + VECTOR_DATA_MISS, 0x100 + 0x20 * VECTOR_DATA_MISS);
    return sum;
}

// The kernel writes all over the place where the state page may be, with other values each time. On the machine there
// is nothing; under a hypervisor the guest may come to harm, and nobody else.
static void scribble(void) {
    uint32_t round, i, value = 0x12345678;

    for (round = 0; round != 50; ++round) {
        for (i = 0; i != 1024; ++i) {
            value = value * 1664525u + 1013904223u;
            ((volatile uint32_t*)(uintptr_t)0xFFFFF000u)[i] = round % 3 == 0 ? 0xFFFFFFFFu : round % 3 == 1 ? 0 : value;
        }
        hot(round);
    }
}

uint32_t guest_main(uint32_t argument, uint32_t second) {
    const uint32_t original = code_sum();
    uint32_t i;

    (void)second;
    in_qemu = argument == PATCHING_IN_QEMU;
    // Its own entries: the code and the serial port, and nothing else.
    mtspr(SPR_MMUCR, 0);
    __asm__ volatile("tlbwe %0,%3,1; tlbwe %1,%3,2; tlbwe %2,%3,0; isync" // it runs by this one
                     :
                     : "r"(0), "r"(TLB_USER | TLB_SUPERVISOR), "r"(TLB_VALID | TLB_16M), "r"(0)
                     : "memory");
    write_tlb(1, UART | TLB_VALID | TLB_4K, DEVICE_REAL, 0x500 | 3, 0);
    for (i = 2; i != 64; ++i) write_tlb(i, 0, 0, 0, 0);
    mtspr(SPR_DECAR, 100000);
    mtspr(SPR_DEC, 100000);
    mtspr(SPR_TCR, 0x04400000); // DIE, ARE
    mtmsr(mfmsr() | MSR_EE);
    learn_results();
    end_test("pages mapped over stubs", mapped_over_stubs());
    end_test("hot code", hot_code(original));
    end_test("entries searched for and taken out", searches());
    end_test("rewritten code", rewritten());
    end_test("code mapped over everything", mapped_over());
    end_test("a page of its own at the end", last_page());
    end_test("user mode", probes());
    mtmsr(mfmsr() | MSR_EE); // run_in came back without
    end_test("TLB entries", tlb_writes());
    expect(code_sum() == original, "the guest's own code at the end", 0);
    expect(ticks > 8, "interrupts", ticks);
    end_test("the guest's own code", 0);
    if (argument == PATCHING_SCRIBBLE) scribble();
    print("done\n");
    mtspr(SPR_TCR, 0);
    mtspr(SPR_DBCR0, 0x30000000);
    for (;;) {
    }
}
