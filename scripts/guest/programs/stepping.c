// SPDX-License-Identifier: GPL-2.0-only
// ptrace: single-steps a child through a known loop and counts the steps, then stops it at a software breakpoint,
// and reads and changes its registers and memory on the way.
#include "checksum.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

// In assembly so that the number of instructions is known: sums 50, 49, ... 1. Nothing stepped depends on r2 or r3:
// Linux 6.1 forgets a user's when an interrupt comes between two steps (the debug exception that its vector's first
// instruction then causes returns early, without restoring them).
__asm__(".text\n"
        ".globl stepped_loop, stepped_end\n"
        "stepped_loop:\n"
        "    li 9, 50\n"
        "    mtctr 9\n"
        "    li 4, 0\n"
        "1:  add 4, 4, 9\n"
        "    addi 9, 9, -1\n"
        "    bdnz 1b\n"
        "stepped_end:\n"
        "    mr 3, 4\n"
        "    blr\n");
extern uint32_t stepped_loop(uint32_t n);
extern const char stepped_end[];

enum {
    rounds = 50,
    steps_in_loop = 3 + 3 * rounds,
    register_r3 = 3,
    register_r4 = 4,
    register_r9 = 9,
    register_nip = 32
};

static void stop(const char* what) {
    perror(what);
    exit(1);
}

static uint32_t child_register(pid_t child, int index) {
    return (uint32_t)ptrace(PTRACE_PEEKUSER, child, (void*)(uintptr_t)(index * 4), NULL);
}

static int wait_for_trap(pid_t child) {
    int status = 0;
    if (waitpid(child, &status, 0) != child) stop("stepping: waitpid");
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    const pid_t child = fork();
    if (child < 0) stop("stepping: fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(99);
        raise(SIGTRAP);
        _exit(stepped_loop(rounds) == rounds * (rounds + 1) / 2 + 1000 ? 17 : 18);
    }
    if (!wait_for_trap(child)) stop("stepping: no first stop");
    // A trap instruction over the function's first word brings the child there.
    void* const start = (void*)(uintptr_t)stepped_loop;
    const long original = ptrace(PTRACE_PEEKTEXT, child, start, NULL);
    if (ptrace(PTRACE_POKETEXT, child, start, (void*)0x7fe00008) != 0) stop("stepping: poke");
    if (ptrace(PTRACE_CONT, child, NULL, NULL) != 0 || !wait_for_trap(child))
        stop("stepping: no stop at the breakpoint");
    printf("breakpoint at %s, argument %u\n",
           child_register(child, register_nip) == (uintptr_t)start ? "start" : "elsewhere",
           (unsigned)child_register(child, register_r3));
    if (ptrace(PTRACE_POKETEXT, child, start, (void*)original) != 0) stop("stepping: restore");
    unsigned steps = 0;
    while (child_register(child, register_nip) != (uintptr_t)stepped_end) {
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0 || !wait_for_trap(child)) stop("stepping: step");
        checksum_word(child_register(child, register_nip) - (uint32_t)(uintptr_t)start);
        checksum_word(child_register(child, register_r9));
        // Before its li, r4 is whatever the caller left.
        if (steps >= 2) checksum_word(child_register(child, register_r4));
        if (++steps > 10 * steps_in_loop) {
            puts("stepping: the child never arrives");
            kill(child, SIGKILL);
            return 1;
        }
    }
    const uint32_t sum = child_register(child, register_r4);
    printf("steps %u, sum %u\n", steps, (unsigned)sum);
    checksum_report("stepping");
    if (ptrace(PTRACE_POKEUSER, child, (void*)(register_r4 * 4), (void*)(uintptr_t)(sum + 1000)) != 0)
        stop("stepping: change a register");
    int status = 0;
    if (ptrace(PTRACE_CONT, child, NULL, NULL) != 0 || waitpid(child, &status, 0) != child) stop("stepping: end");
    printf("child ended with %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return steps == steps_in_loop && WIFEXITED(status) && WEXITSTATUS(status) == 17 ? 0 : 1;
}
