/* SPDX-License-Identifier: GPL-2.0-only */
/* Guest programs of a few instructions: see snippets.h. */

#define DCR_DONE 0x3f0
#define DCR_EXTERNAL 0x30
#define DCR_PROGRAM 0x31
#define SNIPPET_BASE 0x1000

#define SPR_DEC 22
#define SPR_SRR0 26
#define SPR_SRR1 27
#define SPR_CSRR0 58
#define SPR_DECAR 54
#define SPR_PID 48
#define SPR_IVPR 63
#define SPR_SPRG0 272
#define SPR_DBCR0 308
#define SPR_IAC1 312
#define SPR_TSR 336
#define SPR_TCR 340
#define SPR_IVOR 400

	.macro GUEST name
	.balign	16
	.globl	guest_\name
guest_\name:
	.endm
	.macro END name
	.globl	guest_\name\()_end
guest_\name\()_end:
	.endm
	.macro DONE register
	mtdcr	DCR_DONE,\register
	.endm
	/* Interrupt \number leads to the label \handler of the program \name. */
	.macro HANDLER number handler name
	li	%r0,0
	mtspr	SPR_IVPR,%r0
	li	%r0,SNIPPET_BASE+(\handler-guest_\name)
	mtspr	SPR_IVOR+\number,%r0
	.endm

	.section .rodata
	.balign	16

GUEST sum
	mtctr	%r3
	li	%r4,0
1:	add	%r4,%r4,%r3
	addi	%r3,%r3,-1
	bdnz	1b
	DONE	%r4
	b	.
END sum

GUEST patched
	mtctr	%r5
	li	%r7,0
1:	mfspr	%r6,SPR_SPRG0
	mtspr	SPR_SRR0,%r6
	wrteei	0
	add	%r7,%r7,%r6
	bdnz	1b
	DONE	%r7
	b	.
END patched

GUEST load_word
	lwz	%r4,0(%r3)
	DONE	%r4
	b	.
END load_word

GUEST store_word
	stw	%r4,0(%r3)
	DONE	%r4
	b	.
END store_word

GUEST print
	mtctr	%r5
	li	%r8,0
1:	lbz	%r6,5(%r3)
	andi.	%r6,%r6,0x20
	beq	1b
	lbz	%r7,0(%r4)
	addi	%r4,%r4,1
	stbx	%r7,%r3,%r8
	bdnz	1b
	DONE	%r6
	b	.
END print

GUEST load_sizes
	lbz	%r5,0(%r3)
	lhz	%r6,2(%r3)
	lwz	%r7,4(%r3)
	addi	%r9,%r3,4
	lwbrx	%r8,0,%r9
	DONE	%r3
	b	.
END load_sizes

GUEST store_sizes
	stb	%r4,0(%r3)
	sth	%r4,2(%r3)
	stw	%r4,4(%r3)
	addi	%r9,%r3,8
	stwbrx	%r4,0,%r9
	DONE	%r3
	b	.
END store_sizes

GUEST walk
	mtctr	%r5
1:	stw	%r3,0(%r3)
	add	%r3,%r3,%r4
	bdnz	1b
	DONE	%r3
	b	.
END walk

GUEST walk_loads
	mtctr	%r5
1:	lwz	%r6,0(%r3)
	add	%r3,%r3,%r4
	bdnz	1b
	DONE	%r3
	b	.
END walk_loads

GUEST store_multiple
	li	%r29,0x29
	li	%r30,0x30
	li	%r31,0x31
	stmw	%r29,0(%r3)
	DONE	%r3
	b	.
END store_multiple

GUEST clear_block
	dcbz	0,%r3
	DONE	%r3
	b	.
END clear_block

GUEST spin
1:	addi	%r3,%r3,1
	b	1b
END spin

GUEST spin_store
1:	addi	%r3,%r3,1
	stw	%r3,0(%r4)
	b	1b
END spin_store

GUEST spin_unmasked
	HANDLER	4 2f spin_unmasked
	wrteei	1
1:	addi	%r3,%r3,1
	b	1b
	.balign	16
2:	mtdcr	DCR_EXTERNAL,%r3
	rfi
END spin_unmasked

GUEST wait_unmasked
	HANDLER	4 2f wait_unmasked
	mfmsr	%r5
	oris	%r5,%r5,4			/* WE */
	ori	%r5,%r5,0x8000		/* EE */
	mtmsr	%r5
	isync
	DONE	%r3
	b	.
	.balign	16
2:	mtdcr	DCR_EXTERNAL,%r3
	mfspr	%r6,SPR_SRR1
	rlwinm	%r6,%r6,0,14,12
	mtspr	SPR_SRR1,%r6
	rfi
END wait_unmasked

GUEST wait_masked
	mfmsr	%r5
	oris	%r5,%r5,4
	mtmsr	%r5
	isync
	DONE	%r3
	b	.
END wait_masked

GUEST dcr
	mfdcr	%r3,0x20
	mtdcr	0x21,%r3
	addi	%r4,%r3,1
	DONE	%r4
	b	.
END dcr

GUEST reset
	lis	%r5,0x3000
	mtspr	SPR_DBCR0,%r5
	b	.
END reset

GUEST decrementer
	HANDLER	10 2f decrementer
	mtspr	SPR_DEC,%r3
	lis	%r5,0x0400			/* DIE */
	mtspr	SPR_TCR,%r5
	mfmsr	%r5
	oris	%r5,%r5,4
	ori	%r5,%r5,0x8000
	mtmsr	%r5
	isync
1:	addi	%r4,%r4,1
	b	1b
	.balign	16
2:	mfspr	%r7,SPR_TSR
	DONE	%r7
	mtspr	SPR_TSR,%r7
	mfspr	%r6,SPR_SRR1
	rlwinm	%r6,%r6,0,14,12
	mtspr	SPR_SRR1,%r6
	rfi
END decrementer

GUEST fp
	mfmsr	%r5
	ori	%r5,%r5,0x2000
	mtmsr	%r5
	isync
	fadd	%f3,%f1,%f2
	lfd	%f4,0(%r3)
	fmul	%f5,%f4,%f4
	stfd	%f5,8(%r3)
	DONE	%r3
	b	.
END fp

GUEST fp_sum
	mfmsr	%r6
	ori	%r6,%r6,0x2000
	mtmsr	%r6
	isync
	mtctr	%r5
	lfd	%f1,0(%r3)
	fsub	%f2,%f1,%f1
1:	fadd	%f2,%f2,%f1
	bdnz	1b
	stfd	%f2,8(%r3)
	DONE	%r3
	b	.
END fp_sum

GUEST all_registers
	mtctr	%r5
	li	%r3,0
1:	add	%r3,%r3,%r4
	.set	number,6
	.rept	26
	add	%r3,%r3,number
	.set	number,number+1
	.endr
	mfcr	%r0
	add	%r3,%r3,%r0
	mflr	%r0
	add	%r3,%r3,%r0
	mfxer	%r0
	add	%r3,%r3,%r0
	add	%r3,%r3,%r1
	add	%r3,%r3,%r2
	mfspr	%r0,260			/* SPRG4 and 5 as anybody reads them */
	add	%r3,%r3,%r0
	mfspr	%r0,261
	add	%r3,%r3,%r0
	bdnz	1b
	DONE	%r3
	b	.
END all_registers

GUEST debug
	li	%r5,1			/* 0x00 */
	li	%r6,2			/* 0x04 */
	stw	%r5,0(%r3)		/* 0x08 */
	lwz	%r7,0(%r3)		/* 0x0c */
	addi	%r7,%r7,1		/* 0x10 */
	b	.+8			/* 0x14 */
	nop				/* 0x18 */
	mfspr	%r8,SPR_SPRG0		/* 0x1c: privileged */
	DONE	%r7			/* 0x20 */
	b	.			/* 0x24 */
END debug

GUEST program
	HANDLER	6 2f program
	mtctr	%r3
	bctr
	.balign	16
2:	mfspr	%r9,SPR_SRR0
	mtdcr	DCR_PROGRAM,%r9
	addi	%r9,%r9,4
	mtspr	SPR_SRR0,%r9
	rfi
END program

GUEST special_registers
	mfspr	%r10,SPR_SPRG0
	mfspr	%r11,SPR_CSRR0
	mfspr	%r12,SPR_IVPR
	mfspr	%r13,SPR_IVOR+3
	mfspr	%r14,SPR_PID
	mfspr	%r15,SPR_SRR0
	mfspr	%r16,SPR_IAC1
	DONE	%r3
	b	.
END special_registers

	.section .note.GNU-stack,"",@progbits
