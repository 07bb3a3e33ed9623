/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses and offsets that the runner inside qemu-ppc (runner.S) and the generator on this side share. */
#ifndef UNTRAP_USER_DIFF_LAYOUT_H
#define UNTRAP_USER_DIFF_LAYOUT_H

/* The frame lies in the first 32 KB, where loads and stores with rA = 0 reach it: a test case may use every register,
   and none is needed to get at the frame. */
#define FRAME 0x4000
#define FRAME_GPR 0
#define FRAME_CR 128
#define FRAME_XER 132
#define FRAME_LR 136
#define FRAME_CTR 140
#define FRAME_SIGNAL 144 /* 0: the sequence ended */
#define FRAME_NIP 148    /* where the signal came from */
#define FRAME_USPRG0 152
#define FRAME_FPSCR 160 /* a doubleword */
#define FRAME_FPR 168
#define FRAME_SCRATCH 448 /* 32-byte aligned */
#define SCRATCH_SIZE 256
#define FRAME_SIZE 704

/* Every sequence ends in a branch to here. */
#define TEXT 0x10000
/* The batch file is mapped here: number of cases, offset of the first frame, code from CODE on. */
#define BATCH 0x1000000
#define CODE_OFFSET 64
/* Words of a case: three that load CTR (by which it is entered) and r1, its instructions, and a branch to TEXT. */
#define CASE_WORDS 12
#define CASE_PROLOGUE 3

/* Where signals are delivered. A case whose r1 happened to point there would be taken for a handler at work. */
#define SIGNAL_STACK 0x30000000
#define SIGNAL_STACK_SIZE 0x10000

#endif
