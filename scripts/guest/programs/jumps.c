// SPDX-License-Identifier: GPL-2.0-only
// Non-local ways through a program: setjmp and longjmp out of deep recursion, nested signals on an own stack,
// recovery from accesses to unmapped and read-only memory, from illegal and trap instructions and
// from misuse of privileged ones. Signals and fault addresses go into the output.
#include "checksum.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static jmp_buf deep;
static sigjmp_buf recover;
static volatile sig_atomic_t nesting, deepest, caught;
static volatile uintptr_t fault_address;

// Goes down and never returns the ordinary way: the stop at the bottom jumps out.
static int dive(int depth, void (*at_bottom)(void)) {
    volatile uint32_t local[16];
    for (int i = 0; i < 16; ++i) local[i] = random_word();
    if (depth == 0) {
        at_bottom();
        return 0;
    }
    return dive(depth - 1, at_bottom) + (int)local[depth & 15];
}

static void leave(void) { longjmp(deep, 7); }

static uint32_t jump_out_of(int depth) {
    const int came_back = setjmp(deep);
    if (came_back == 0) return (uint32_t)dive(depth, leave);
    return (uint32_t)came_back;
}

static void on_nested(int number) {
    if (++nesting > deepest) deepest = nesting;
    if (nesting < 8) raise(number);
    --nesting;
    ++caught;
}

static void on_fault(int number, siginfo_t* info, void* context) {
    (void)context;
    fault_address = (uintptr_t)info->si_addr;
    siglongjmp(recover, number);
}

static uint8_t* page;
static volatile uintptr_t near_null = 8;

static void read_unmapped(void) { (void)*(volatile uint32_t*)(page + 2 * 4096 + 12); }
static void write_unmapped(void) { *(volatile uint8_t*)(page + 2 * 4096 + 77) = 1; }
static void write_read_only(void) { *(volatile uint16_t*)(page + 4096 + 34) = 1; }
static void read_null(void) { (void)*(volatile uint8_t*)near_null; }
static void illegal(void) { __asm__ volatile(".long 0"); }
static void trap(void) { __asm__ volatile("twi 31, 0, 0"); }
static void privileged_msr(void) { __asm__ volatile("mfmsr 0" ::: "r0"); }
static void privileged_tlb(void) { __asm__ volatile(".long 0x7c0007a4" ::: "memory"); } // tlbwe r0,r0,0
static void across_pages(void) { *(volatile uint32_t*)(page + 4096 - 2) = 0x01020304; }

static const struct {
    const char* name;
    void (*run)(void);
    int has_address;
} faults[] = {
    {"read-unmapped", read_unmapped, 1},
    {"write-unmapped", write_unmapped, 1},
    {"write-read-only", write_read_only, 1},
    {"read-null", read_null, 1},
    {"illegal", illegal, 0},
    {"trap", trap, 0},
    {"mfmsr", privileged_msr, 0},
    {"tlbwe", privileged_tlb, 0},
    {"across-pages", across_pages, 0},
};
enum { fault_count = sizeof faults / sizeof *faults };

// The signal that the fault raised, 0 when it raised none.
static int run_fault(int which) {
    const int number = sigsetjmp(recover, 1);
    if (number == 0) faults[which].run();
    return number;
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    for (int depth = 1; depth <= 200; depth += 13) checksum_word(jump_out_of(depth));
    checksum_word(random_word());
    checksum_report("longjmp");

    static uint8_t other_stack[64 * 1024];
    const stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    struct sigaction nested = {.sa_handler = on_nested, .sa_flags = SA_NODEFER | SA_ONSTACK};
    if (sigaltstack(&stack, NULL) != 0 || sigaction(SIGUSR2, &nested, NULL) != 0) return 1;
    for (int i = 0; i < 50; ++i) raise(SIGUSR2);
    printf("nested %d deep, %d caught\n", (int)deepest, (int)caught);

    page = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || mprotect(page + 4096, 4096, PROT_READ) != 0 || munmap(page + 2 * 4096, 4096) != 0)
        return 1;
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGILL, &fault, NULL);
    sigaction(SIGTRAP, &fault, NULL);
    for (int repeat = 0; repeat < 20; ++repeat) {
        for (int which = 0; which < fault_count; ++which) {
            const int number = run_fault(which);
            if (number == 0) {
                printf("%s went through\n", faults[which].name);
                return 1;
            }
            checksum_word((uint32_t)number);
            if (repeat != 0) continue;
            printf("%s signal %d", faults[which].name, number);
            if (faults[which].has_address) // relative to the area, whose place differs from system to system
                printf(" at %x", (unsigned)(fault_address < 4096 ? fault_address : fault_address - (uintptr_t)page));
            putchar('\n');
        }
    }
    checksum_report("faults");
    return 0;
}
