// SPDX-License-Identifier: GPL-2.0-only
// The debug facility through ptrace: a hardware instruction breakpoint (IAC) stops a child at a function each time it
// is called, and a hardware data breakpoint (DAC) stops it at the stores to one variable.
#include "checksum.h"

#include <asm/ptrace.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { calls = 5, register_nip = 32, register_r3 = 3 };

static volatile uint32_t watched, beside;

__attribute__((noinline, noclone)) static void marked(uint32_t value) {
    __asm__ volatile("" : : "r"(value) : "memory");
    beside += value;
}

// The child's way to stop and to end, past the C library: Linux 6.1 forgets the user's r2, the thread pointer, when a
// single-stepped instruction misses the TLB (the early return of its critical debug exception restores other registers
// but not that one), and raise() would go through it.
static long direct_call(long number, long first, long second) {
    register long r0 __asm__("r0") = number;
    register long r3 __asm__("r3") = first;
    register long r4 __asm__("r4") = second;
    __asm__ volatile("sc"
                     : "+r"(r0), "+r"(r3), "+r"(r4)
                     :
                     : "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "ctr", "cr0", "memory");
    return r3;
}

static void trap_here(void) { direct_call(__NR_kill, direct_call(__NR_getpid, 0, 0), SIGTRAP); }

static void stop(const char* what) {
    perror(what);
    exit(1);
}

// True at a stop by SIGTRAP, false when the child has ended.
static int next_stop(pid_t child) {
    int status = 0;
    if (waitpid(child, &status, 0) != child) stop("watching: waitpid");
    if (WIFEXITED(status)) {
        printf("child ended with %d\n", WEXITSTATUS(status));
        return 0;
    }
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
        printf("watching: wait status %x\n", (unsigned)status);
        exit(1);
    }
    return 1;
}

static uint32_t child_register(pid_t child, int index) {
    return (uint32_t)ptrace(PTRACE_PEEKUSER, child, (void*)(uintptr_t)(index * 4), NULL);
}

static long set_breakpoint(pid_t child, uint32_t type, volatile const void* address) {
    struct ppc_hw_breakpoint request;
    memset(&request, 0, sizeof request);
    request.version = 1;
    request.trigger_type = type;
    request.addr_mode = PPC_BREAKPOINT_MODE_EXACT;
    request.condition_mode = PPC_BREAKPOINT_CONDITION_NONE;
    request.addr = (uintptr_t)address;
    return ptrace((enum __ptrace_request)PPC_PTRACE_SETHWDEBUG, child, 0, &request);
}

static void go_on(pid_t child, enum __ptrace_request how) {
    if (ptrace(how, child, NULL, NULL) != 0) stop("watching: ptrace");
    if (!next_stop(child)) exit(1);
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    const pid_t child = fork();
    if (child < 0) stop("watching: fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(99);
        trap_here();
        for (uint32_t i = 1; i <= calls; ++i) marked(i * 3);
        trap_here();
        for (uint32_t i = 1; i <= calls; ++i) {
            watched = i * 7;
            beside += watched;
        }
        direct_call(__NR_exit, (long)watched, 0);
    }
    if (!next_stop(child)) return 1;
    // Linux disarms a breakpoint when it strikes: step past the instruction, then arm it again.
    for (int call = 1; call <= calls; ++call) {
        if (set_breakpoint(child, PPC_BREAKPOINT_TRIGGER_EXECUTE, (const void*)(uintptr_t)marked) < 0)
            stop("watching: no hardware instruction breakpoint");
        go_on(child, PTRACE_CONT);
        const int in_place = child_register(child, register_nip) == (uintptr_t)marked;
        printf("instruction breakpoint at %s, argument %u\n", in_place ? "function" : "elsewhere",
               (unsigned)child_register(child, register_r3));
        if (!in_place) exit(1);
        go_on(child, PTRACE_SINGLESTEP);
    }
    go_on(child, PTRACE_CONT);
    for (int store = 1; store <= calls; ++store) {
        if (set_breakpoint(child, PPC_BREAKPOINT_TRIGGER_WRITE, &watched) < 0)
            stop("watching: no hardware data breakpoint");
        go_on(child, PTRACE_CONT);
        // Stopped before or after the store, as the implementation has it; after a step it is done in any case.
        go_on(child, PTRACE_SINGLESTEP);
        const uint32_t value = (uint32_t)ptrace(PTRACE_PEEKDATA, child, (void*)(uintptr_t)&watched, NULL);
        printf("data breakpoint, value %u\n", (unsigned)value);
        if (value != (uint32_t)store * 7) exit(1);
    }
    if (ptrace(PTRACE_CONT, child, NULL, NULL) != 0 || next_stop(child)) stop("watching: one stop too many");
    return 0;
}
