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
#define MSR_PR_BIT 0x4000
#define MSR_SPACES 0x30
#define ESR_PPR_HIGH 0x0400
#define RFI_HIGH 0x4C00
#define RFI_LOW 0x0064
#define MSR_CE_BIT 14
#define MMUCR_STS_HIGH 0x0001
#define TLB_VALID_4K 0x210
#define TLB_VALID 0x200
#define TLB_TS 0x100
#define TLB_SR 0x01
#define TLB_UR 0x08
#define TLB_UW 0x10
#define TLB_UX 0x20
#define TLB_E 0x80
#define TLB_G 0x100
/* twnei of a register, with -1 */
#define TWNEI_HIGH 0x0F00
/* In the upper half of a load or store of a displacement: with update. */
#define UPDATE_HIGH 0x0400
/* A bit of CR that is free while a miss is looked at. */
#define NOTED 26
#define NO_PID -1		/* isa::CpuState::no_pid */

	.text

/* One vector. untrap_core_load fills in the address of the vectors block, the interrupt's number and the branch. */
	.globl untrap_world_vector
untrap_world_vector:
	mtspr	SPRN_SPRG0,r4
	lis	r4,0			/* address of VECTORS_WORLD + 16, high half */
	lwz	r4,-16(r4)		/* struct World */
	stw	r3,WORLD_GPR(3)(r4)
	li	r3,0			/* the interrupt */
	b	.			/* untrap_world_left, or one of the paths below */
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

/*
 * What only needs reflecting, without leaving the guest's world: nothing but pinned memory is used, and the few registers
 * that it takes. Whatever is out of the ordinary goes to the C++ side with everything as the vector left it.
 */

/* What every path here begins with: registers to work with, CR in r5, and whether it may be taken in CR0. */
	.macro	begin
	save_r5_to_r7
	may_be_taken
	.endm

	.macro	save_r5_to_r7
	stw	r5,WORLD_GPR(5)(r4)
	stw	r6,WORLD_GPR(6)(r4)
	mfcr	r5
	stw	r7,WORLD_GPR(7)(r4)
	.endm

	.macro	may_be_taken
	lwz	r6,WORLD_QUICK(r4)
	cmpwi	r6,0
	.endm

/* For paths that need more registers. */
	.macro	save_r8_to_r12
	stw	r8,WORLD_GPR(8)(r4)
	stw	r9,WORLD_GPR(9)(r4)
	stw	r10,WORLD_GPR(10)(r4)
	stw	r11,WORLD_GPR(11)(r4)
	stw	r12,WORLD_GPR(12)(r4)
	.endm

	.macro	restore_r8_to_r12
	lwz	r8,WORLD_GPR(8)(r4)
	lwz	r9,WORLD_GPR(9)(r4)
	lwz	r10,WORLD_GPR(10)(r4)
	lwz	r11,WORLD_GPR(11)(r4)
	lwz	r12,WORLD_GPR(12)(r4)
	.endm

/* And ends with: the exit is counted, the guest goes on by SRR0 and SRR1. cr: where the guest's CR is. */
	.macro	finish reason cr
	lwz	r3,WORLD_EXITS+4*\reason(r4)
	mtcr	\cr
	addi	r3,r3,1
	stw	r3,WORLD_EXITS+4*\reason(r4)
	lwz	r5,WORLD_GPR(5)(r4)
	lwz	r6,WORLD_GPR(6)(r4)
	lwz	r3,WORLD_GPR(3)(r4)
	mfspr	r4,SPRN_SPRG0
	rfi
	.endm

/*
 * Enters a handler of the guest. SRR0: where it returns to; r5: the guest's CR; guest r5 and r6 are saved. Goes to `decline` with
 * nothing done if the handler's context has no shadow PID yet. quick: these paths may be used, and guest r7 is saved, too.
 */
	.macro	deliver interrupt reason decline quick=1
	lwz	r6,WORLD_KERNEL_PID_AT(r4)
	lwz	r3,WORLD_PROCESS_PID(r4)	/* mappings of a process go first */
	lbz	r6,0(r6)
	cmpwi	r3,NO_PID
	cmpwi	cr1,r6,0
	bne	\decline
	mfspr	r3,SPRN_SRR0
	beq	cr1,78f
77:	stw	r3,WORLD_SRR0(r4)
	mtspr	SPRN_PID,r6
	lwz	r3,WORLD_MSR(r4)
	stw	r6,WORLD_SHADOW_PID(r4)
	lwz	r6,WORLD_SURVIVING_MSR(r4)
	stw	r3,WORLD_SRR1(r4)
	and	r6,r6,r3
	lwz	r3,WORLD_IVPR(r4)
	stw	r6,WORLD_MSR(r4)
	lwz	r6,WORLD_IVOR(\interrupt)(r4)
	or	r3,r3,r6
	mtspr	SPRN_SRR0,r3
	li	r6,0
	stw	r6,WORLD_RESERVE_VALID(r4)
	ori	r6,r6,RUN_MSR_LOW	/* FP is off in the handler */
	stw	r6,WORLD_RUN_MSR(r4)
	mtspr	SPRN_SRR1,r6
	.if	\quick
	lwz	r7,WORLD_GPR(7)(r4)
	.endif
	finish	\reason r5
	/* The kernel has contexts of its own for each PID, or these paths are not to be used. */
78:	.ifeq	\quick
	lwz	r6,WORLD_QUICK(r4)
	cmpwi	r6,0
	beq	\decline
	.endif
	lwz	r3,WORLD_PID(r4)	/* whatever the guest wrote there: masked */
	lwz	r6,WORLD_KERNEL_PIDS(r4)
	and	r3,r3,r6
	lwz	r6,WORLD_PIDS(r4)
	slwi	r3,r3,2			/* ShadowContexts::key: supervisor, address space 0 */
	lbzx	r6,r6,r3
	mfspr	r3,SPRN_SRR0
	cmpwi	r6,0
	bne	77b
	b	\decline
	.endm

	.macro	decline interrupt saved_r7=1
	mtcr	r5
	lwz	r5,WORLD_GPR(5)(r4)
	lwz	r6,WORLD_GPR(6)(r4)
	.if	\saved_r7
	lwz	r7,WORLD_GPR(7)(r4)
	.endif
	li	r3,\interrupt
	b	untrap_world_left
	.endm

	.globl untrap_world_system_call
untrap_world_system_call:
	stw	r5,WORLD_GPR(5)(r4)
	stw	r6,WORLD_GPR(6)(r4)
	mfcr	r5
	deliver	8 EXIT_SYSCALL 2f 0
2:	decline	8 0

#include "kmod/world_entry.inc"
#include "kmod/world_handler.inc"
#include "kmod/world_walk.inc"
#include "kmod/world_access.inc"
#include "kmod/world_tlb.inc"
#include "kmod/world_search.inc"
#include "kmod/world_program.inc"

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
	lwz	r5,WORLD_HOST_IVPR(r4)
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
