/* SPDX-License-Identifier: GPL-2.0-only */
/* Runs a batch of test cases (standard input, a regular file) under qemu-ppc: for each one loads the whole register
   file from its frame, runs its instructions, and writes the frame with what became of it to standard output. A
   signal ends a case early; the frame then says which one and where, with the registers as they were there. */
#include "layout.h"

#define SYS_exit 1
#define SYS_write 4
#define SYS_rt_sigaction 173
#define SYS_sigaltstack 185
#define SYS_mmap2 192

#define SIGILL 4
#define SIGTRAP 5
#define SIGBUS 7
#define SIGFPE 8
#define SIGSEGV 11

/* Word numbers in the signal context's register array. */
#define PT_NIP 32
#define PT_CTR 35
#define PT_LNK 36
#define PT_XER 37
#define PT_CCR 38
#define PT_FPR 48 /* 32 doublewords and FPSCR as one more */
#define UC_REGS 48

#define r0 0
#define r3 3
#define r4 4
#define r5 5
#define r6 6
#define r7 7
#define r8 8
#define r9 9
#define r10 10

        .section .low, "aw"
        .space FRAME_SIZE
next_code: .space 4
next_frame: .space 4
cases_left: .space 4
dummy:  .space 4
signal_stack: .long SIGNAL_STACK, 0, SIGNAL_STACK_SIZE
        /* handler, flags SA_SIGINFO | SA_ONSTACK | SA_NODEFER, restorer, mask */
signal_action: .long on_signal, 0x48000004, 0, 0, 0

        .text
        /* Here, at TEXT, a case ends. */
        b sequence_done

        .globl _start
_start:
        lis r3, BATCH@h /* mmap2(BATCH, 64 MB, all, private fixed, 0, 0) */
        lis r4, 0x0400
        li r5, 7
        li r6, 0x12
        li r7, 0
        li r8, 0
        li r0, SYS_mmap2
        sc
        bso fail
        lis r3, SIGNAL_STACK@h /* the same, anonymous */
        lis r4, SIGNAL_STACK_SIZE@h
        li r5, 3
        li r6, 0x32
        li r7, -1
        li r8, 0
        li r0, SYS_mmap2
        sc
        bso fail
        li r3, signal_stack
        li r4, 0
        li r0, SYS_sigaltstack
        sc
        bso fail
        .irp signal, SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV
        li r3, \signal
        li r4, signal_action
        li r5, 0
        li r6, 8
        li r0, SYS_rt_sigaction
        sc
        bso fail
        .endr

        lis r9, BATCH@h
        lwz r3, 0(r9)
        stw r3, cases_left(0)
        lwz r3, 4(r9)
        add r3, r3, r9
        stw r3, next_frame(0)
        addi r3, r9, CODE_OFFSET
        stw r3, next_code(0)

next_case:
        lwz r3, cases_left(0)
        cmpwi r3, 0
        beq finished
        addi r3, r3, -1
        stw r3, cases_left(0)

        lwz r3, next_frame(0)
        li r4, FRAME - 4
        addi r3, r3, -4
        li r5, FRAME_SIZE / 4
        mtctr r5
1:      lwzu r5, 4(r3)
        stwu r5, 4(r4)
        bdnz 1b
        addi r3, r3, 4
        stw r3, next_frame(0)

        lfd 0, FRAME + FRAME_FPSCR(0)
        mtfsfi 6, 0 /* no exception is enabled while the status bits change */
        mtfsfi 7, 0
        mtfsf 0xFC, 0
        mtfsf 0xFF, 0
        .irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        lfd \number, FRAME + FRAME_FPR + 8 * \number(0)
        .endr
        lwz r3, FRAME + FRAME_CR(0)
        mtcr r3
        lwz r3, FRAME + FRAME_XER(0)
        mtxer r3
        lwz r3, FRAME + FRAME_LR(0)
        mtlr r3
        lwz r3, FRAME + FRAME_USPRG0(0)
        mtspr 256, r3

        lwz r3, next_code(0)
        addi r4, r3, CASE_WORDS * 4
        stw r4, next_code(0)
        mtctr r3
        lmw 1, FRAME + FRAME_GPR + 4(0)
        lwz r0, FRAME + FRAME_GPR(0)
        bctr

sequence_done:
        stmw r0, FRAME + FRAME_GPR(0)
        mfcr r3
        stw r3, FRAME + FRAME_CR(0)
        mfxer r3
        stw r3, FRAME + FRAME_XER(0)
        mflr r3
        stw r3, FRAME + FRAME_LR(0)
        mfctr r3
        stw r3, FRAME + FRAME_CTR(0)
        li r3, 0
        stw r3, FRAME + FRAME_SIGNAL(0)
        stw r3, FRAME + FRAME_NIP(0)
        .irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        stfd \number, FRAME + FRAME_FPR + 8 * \number(0)
        .endr
        mffs 0
        stfd 0, FRAME + FRAME_FPSCR(0)
write_frame:
        mfspr r3, 256
        stw r3, FRAME + FRAME_USPRG0(0)
        li r3, dummy /* no reservation outlives its case */
        stwcx. r3, 0, r3
        li r3, 1
        li r4, FRAME
        li r5, FRAME_SIZE
        li r0, SYS_write
        sc
        bso fail
        cmpwi r3, FRAME_SIZE
        bne fail
        b next_case

on_signal:
        lwz r9, UC_REGS(r5)
        stw r3, FRAME + FRAME_SIGNAL(0)
        addi r6, r9, -4
        li r7, FRAME + FRAME_GPR - 4
        li r8, 32
        mtctr r8
1:      lwzu r8, 4(r6)
        stwu r8, 4(r7)
        bdnz 1b
        lwz r8, 4 * PT_NIP(r9)
        stw r8, FRAME + FRAME_NIP(0)
        lwz r8, 4 * PT_CTR(r9)
        stw r8, FRAME + FRAME_CTR(0)
        lwz r8, 4 * PT_LNK(r9)
        stw r8, FRAME + FRAME_LR(0)
        lwz r8, 4 * PT_XER(r9)
        stw r8, FRAME + FRAME_XER(0)
        lwz r8, 4 * PT_CCR(r9)
        stw r8, FRAME + FRAME_CR(0)
        addi r6, r9, 4 * PT_FPR - 4
        li r7, FRAME + FRAME_FPR - 4
        li r8, 64
        mtctr r8
2:      lwzu r8, 4(r6)
        stwu r8, 4(r7)
        bdnz 2b
        lwz r8, 8(r6)
        stw r8, FRAME + FRAME_FPSCR + 4(0)
        b write_frame

finished:
        li r3, 0
        li r0, SYS_exit
        sc
fail:
        li r3, 1
        li r0, SYS_exit
        sc
