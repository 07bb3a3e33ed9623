/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From the host into the guest and back.
 *
 * None of this runs where the linker puts it: untrap_core_load copies the code between untrap_world_code and
 * untrap_world_code_end to VECTORS_CODE in the vectors block, which the host's pinned TLB entries map, and lays one copy
 * of the vector between untrap_world_vector and untrap_world_vector_end at each of the host's IVOR offsets. While IVPR
 * points there any interrupt comes here, so nothing that is not pinned may be touched: the vectors block, struct World
 * and the CpuState behind it.
 *
 * While the guest runs: MSR[PR,IS,DS]=1, host interrupts on, critical interrupts off (they wait for the next exit),
 * PID is a shadow PID. SPRG0 is free then; the host uses SPRGs other than 3 within its own vectors alone.
 */
#include <asm/reg.h>
#include <asm/reg_booke.h>
#include <asm/ppc_asm.h>
#include "runtime/native/world_layout.h"

#define FRAME_BYTES 112
#define FRAME_CR 8
#define FRAME_R13 12
#define MSR_DS_BIT 0x10
#define MSR_CE_BIT 14
#define INTERRUPT_PROGRAM 6

	.text

/* One vector. untrap_core_load fills in the address of the vectors block, the interrupt's number and the branch. */
	.globl untrap_world_vector
untrap_world_vector:
	mtspr	SPRN_SPRG0,r4
	lis	r4,0			/* address of VECTORS_WORLD + 16, high half */
	lwz	r4,-16(r4)		/* struct World */
	stw	r3,WORLD_GPR(3)(r4)
	li	r3,0			/* the interrupt */
	b	.			/* untrap_world_left */
	.globl untrap_world_vector_end
untrap_world_vector_end:

	.globl untrap_world_code
untrap_world_code:

/* void enter(struct World *): interrupts are off before and after. */
	stwu	r1,-FRAME_BYTES(r1)
	mflr	r0
	stw	r0,FRAME_BYTES+4(r1)
	mfcr	r0
	stw	r0,FRAME_CR(r1)
	stmw	r13,FRAME_R13(r1)
	mr	r4,r3
	stw	r1,WORLD_HOST_R1(r4)
	stw	r2,WORLD_HOST_R2(r4)
	mfspr	r5,SPRN_PID
	stw	r5,WORLD_HOST_PID(r4)
	mfmsr	r5
	stw	r5,WORLD_HOST_MSR(r4)
	rlwinm	r5,r5,0,MSR_CE_BIT+1,MSR_CE_BIT-1
	mtmsr	r5
	isync
	lwz	r5,WORLD_GUEST_IVPR(r4)
	addis	r5,r5,1
	stw	r4,-16(r5)		/* VECTORS_WORLD */

enter_guest:
	lwz	r5,WORLD_GUEST_IVPR(r4)
	lwz	r6,WORLD_SHADOW_PID(r4)
	mtspr	SPRN_IVPR,r5
	mtspr	SPRN_PID,r6
	/* Read by unprivileged code; the host's TLB-miss handler uses them too. */
	lwz	r5,WORLD_SPRG4(r4)
	lwz	r6,WORLD_SPRG4+4(r4)
	lwz	r7,WORLD_SPRG4+8(r4)
	lwz	r8,WORLD_SPRG4+12(r4)
	mtspr	SPRN_SPRG4,r5
	mtspr	SPRN_SPRG5,r6
	mtspr	SPRN_SPRG6,r7
	mtspr	SPRN_SPRG7,r8
	lwz	r5,WORLD_CR(r4)
	lwz	r6,WORLD_XER(r4)
	lwz	r7,WORLD_LR(r4)
	lwz	r8,WORLD_CTR(r4)
	lwz	r9,WORLD_PC(r4)
	lwz	r10,WORLD_RUN_MSR(r4)
	mtcr	r5
	mtxer	r6
	mtlr	r7
	mtctr	r8
	mtspr	SPRN_SRR0,r9
	mtspr	SPRN_SRR1,r10
	lwz	r0,WORLD_GPR(0)(r4)
	lwz	r1,WORLD_GPR(1)(r4)
	lwz	r2,WORLD_GPR(2)(r4)
	lwz	r3,WORLD_GPR(3)(r4)
	lmw	r5,WORLD_GPR(5)(r4)
	lwz	r4,WORLD_GPR(4)(r4)
	rfi

/* The guest was left. r3: the interrupt, r4: struct World; guest r3 is saved, guest r4 in SPRG0. */
	.globl untrap_world_left
untrap_world_left:
	stw	r0,WORLD_GPR(0)(r4)
	stw	r1,WORLD_GPR(1)(r4)
	stw	r2,WORLD_GPR(2)(r4)
	stmw	r5,WORLD_GPR(5)(r4)
	mfcr	r5
	mfxer	r6
	mflr	r7
	mfctr	r8
	stw	r5,WORLD_CR(r4)
	stw	r6,WORLD_XER(r4)
	stw	r7,WORLD_LR(r4)
	stw	r8,WORLD_CTR(r4)
	mfspr	r5,SPRN_SPRG0
	mfspr	r9,SPRN_SRR0
	mfspr	r6,SPRN_ESR
	mfspr	r7,SPRN_DEAR
	stw	r5,WORLD_GPR(4)(r4)
	stw	r9,WORLD_PC(r4)
	stw	r6,WORLD_ESR(r4)
	stw	r7,WORLD_DEAR(r4)
	stw	r3,WORLD_VECTOR(r4)
	cmpwi	r3,INTERRUPT_PROGRAM
	bne	1f
	/*
	 * The instruction, through the very entry that it was fetched by: it is still in the TLB, since nothing was
	 * written there yet, and every shadow entry allows supervisor reads.
	 */
	mfmsr	r6
	ori	r7,r6,MSR_DS_BIT
	mtmsr	r7
	isync
	lwz	r8,0(r9)
	mtmsr	r6
	isync
	stw	r8,WORLD_WORD(r4)
1:	lwz	r5,WORLD_HOST_IVPR(r4)
	lwz	r6,WORLD_HOST_PID(r4)
	lwz	r7,WORLD_EXIT(r4)
	mtspr	SPRN_IVPR,r5
	mtspr	SPRN_PID,r6
	isync
	lwz	r1,WORLD_HOST_R1(r4)
	lwz	r2,WORLD_HOST_R2(r4)
	mr	r31,r4
	mtctr	r7
	mr	r5,r3
	mr	r3,r4
	mr	r4,r5
	bctrl				/* untrap_world_exit(world, interrupt) */
	mr	r4,r31
	cmpwi	r3,0
	bne	enter_guest

	lwz	r5,WORLD_HOST_MSR(r4)
	mtmsr	r5
	isync
	lwz	r0,FRAME_BYTES+4(r1)
	mtlr	r0
	lwz	r0,FRAME_CR(r1)
	mtcr	r0
	lmw	r13,FRAME_R13(r1)
	addi	r1,r1,FRAME_BYTES
	blr
	.globl untrap_world_code_end
untrap_world_code_end:

	.section .note.GNU-stack,"",@progbits
