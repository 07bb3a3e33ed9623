/* SPDX-License-Identifier: GPL-2.0-only */
/* Entry and vectors of the guests. Interrupts do not nest. */
#define SPR_SRR0 26
#define SPR_SRR1 27
#define SPR_CSRR0 58
#define SPR_CSRR1 59
#define SPR_DEAR 61
#define SPR_ESR 62
#define SPR_IVPR 63
#define SPR_SPRG0 272
#define SPR_SPRG1 273
#define SPR_IVOR0 400
#define DCR_DONE 0x3f0

#define FRAME_CR 128
#define FRAME_LR 132
#define FRAME_CTR 136
#define FRAME_XER 140
#define FRAME_PC 144
#define FRAME_MSR 148
#define FRAME_VECTOR 152
#define FRAME_DEAR 156
#define FRAME_ESR 160
#define CRITICAL 0x9003			/* vectors 0, 1, 12 and 15 save to CSRR0 and CSRR1 */

	/* All registers from the frame at r4, which goes last. */
	.macro	RESTORE
	lwz	%r5,FRAME_CR(%r4)
	lwz	%r6,FRAME_LR(%r4)
	lwz	%r7,FRAME_CTR(%r4)
	lwz	%r8,FRAME_XER(%r4)
	mtcr	%r5
	mtlr	%r6
	mtctr	%r7
	mtxer	%r8
	lwz	%r0,0(%r4)
	lwz	%r1,4(%r4)
	lwz	%r2,8(%r4)
	lwz	%r3,12(%r4)
	lmw	%r5,20(%r4)
	lwz	%r4,16(%r4)
	.endm

	.section .vectors,"ax"
	.globl	start
start:
	lis	%r1,stack_top@ha
	addi	%r1,%r1,stack_top@l
	li	%r0,0
	stwu	%r0,-16(%r1)
	mtspr	SPR_IVPR,%r0
	.set	number,0
	.rept	16
	li	%r0,0x100+0x20*number
	mtspr	SPR_IVOR0+number,%r0
	.set	number,number+1
	.endr
	bl	guest_main
	mtdcr	DCR_DONE,%r3
	b	.

	.set	number,0
	.rept	16
	.org	0x100+0x20*number
	mtspr	SPR_SPRG0,%r3
	li	%r3,number
	b	interrupted
	.set	number,number+1
	.endr

	.org	0x400
interrupted:
	mtspr	SPR_SPRG1,%r4
	lis	%r4,frame@ha
	addi	%r4,%r4,frame@l
	stw	%r0,0(%r4)
	stw	%r1,4(%r4)
	stw	%r2,8(%r4)
	stmw	%r5,20(%r4)
	mfspr	%r5,SPR_SPRG0
	mfspr	%r6,SPR_SPRG1
	stw	%r5,12(%r4)
	stw	%r6,16(%r4)
	mfcr	%r5
	mflr	%r6
	mfctr	%r7
	mfxer	%r8
	stw	%r5,FRAME_CR(%r4)
	stw	%r6,FRAME_LR(%r4)
	stw	%r7,FRAME_CTR(%r4)
	stw	%r8,FRAME_XER(%r4)
	mfspr	%r5,SPR_DEAR
	mfspr	%r6,SPR_ESR
	stw	%r5,FRAME_DEAR(%r4)
	stw	%r6,FRAME_ESR(%r4)
	stw	%r3,FRAME_VECTOR(%r4)
	bl	is_critical
	mfspr	%r5,SPR_SRR0
	mfspr	%r6,SPR_SRR1
	beq	1f
	mfspr	%r5,SPR_CSRR0
	mfspr	%r6,SPR_CSRR1
1:	stw	%r5,FRAME_PC(%r4)
	stw	%r6,FRAME_MSR(%r4)
	lis	%r1,interrupt_stack_top@ha
	addi	%r1,%r1,interrupt_stack_top@l
	li	%r0,0
	stwu	%r0,-16(%r1)
	mr	%r3,%r4
	bl	interrupt
	lis	%r4,frame@ha
	addi	%r4,%r4,frame@l
	lwz	%r3,FRAME_VECTOR(%r4)
	bl	is_critical
	lwz	%r5,FRAME_PC(%r4)
	lwz	%r6,FRAME_MSR(%r4)
	bne	2f
	mtspr	SPR_SRR0,%r5
	mtspr	SPR_SRR1,%r6
	RESTORE
	rfi
2:	mtspr	SPR_CSRR0,%r5
	mtspr	SPR_CSRR1,%r6
	RESTORE
	rfci

/* r3: the vector; CR0[EQ] if it is not critical. Changes r5. */
is_critical:
	li	%r5,1
	slw	%r5,%r5,%r3
	andi.	%r5,%r5,CRITICAL
	blr

	.text
	.globl	run_in
	.globl	run_in_return
run_in:
	stwu	%r1,-112(%r1)
	mflr	%r0
	stw	%r0,116(%r1)
	mfcr	%r0
	stw	%r0,8(%r1)
	stmw	%r13,12(%r1)
	lis	%r8,run_in_stack@ha
	stw	%r1,run_in_stack@l(%r8)
	mtspr	SPR_SRR0,%r4
	mtspr	SPR_SRR1,%r3
	lis	%r8,1f@ha
	addi	%r8,%r8,1f@l
	mtlr	%r8
	mr	%r3,%r5
	mr	%r4,%r6
	mr	%r5,%r7
	rfi
1:	sc
	b	1b
run_in_return:
	lmw	%r13,12(%r1)
	lwz	%r0,8(%r1)
	mtcr	%r0
	lwz	%r0,116(%r1)
	mtlr	%r0
	addi	%r1,%r1,112
	blr

	.bss
	.balign	16
	.globl	run_in_stack
run_in_stack:
	.space	16
frame:
	.space	176
	.space	8192
stack_top:
	.space	8192
interrupt_stack_top:
	.space	16

	.section .note.GNU-stack,"",@progbits
