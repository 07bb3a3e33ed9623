/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest of exit_cost: loops of one privileged operation each, timed with the timebase that the guest reads from the
 * CPU itself. Results: at RESULTS a word a loop, ticks for LOOPS rounds. Ends with mtdcr.
 */
#define LOOPS 1000
#define RESULTS 0x8000

	.text
	.macro	measure index
	lis	9,0
	ori	9,9,LOOPS
	mtctr	9
	mftb	11
	.endm
	.macro	done index
	mftb	12
	subf	12,11,12
	lis	9,0
	ori	9,9,RESULTS+4*\index
	stw	12,0(9)
	.endm

	.globl	guest_begin
guest_begin:
	.org	guest_begin+0xc00	/* IVOR8: system call */
	rfi
	.org	guest_begin+0xd00	/* IVOR13: data TLB error; back into the loop without rfi: reflection alone */
	bdnz	miss_loop
	b	miss_done

	.org	guest_begin+0x1000
	/* ivpr 0, ivor8 0xc00, ivor13 0xd00 */
	li	3,0
	mtspr	63,3
	li	3,0xc00
	mtspr	408,3
	li	3,0xd00
	mtspr	413,3
	li	20,0
	measure
1:	bdnz	1b
	done	0			/* the loop alone */
	measure
1:	mfspr	4,272
	bdnz	1b
	done	1			/* mfspr SPRG0 */
	measure
1:	mtspr	272,4
	bdnz	1b
	done	2			/* mtspr SPRG0 */
	measure
1:	mfmsr	4
	bdnz	1b
	done	3			/* mfmsr */
	measure
1:	wrteei	0
	bdnz	1b
	done	4			/* wrteei */
	measure
1:	mtspr	48,20
	bdnz	1b
	done	5			/* mtspr PID */
	measure
1:	sc
	bdnz	1b
	done	6			/* sc and rfi */
	lis	21,0x4000
	ori	21,21,0x3000
	measure
miss_loop:
	lwz	4,0(21)
miss_done:
	done	7			/* data TLB miss, reflected */
	/* entry 40: EA 0x50000000 -> real 0x8000, 4 KB, written new each time and used or not */
	li	22,40
	lis	23,0x5000
	ori	23,23,0x210
	lis	24,0
	ori	24,24,0x8000
	li	25,7
	tlbwe	24,22,1
	tlbwe	25,22,2
	measure
1:	tlbwe	23,22,0
	bdnz	1b
	done	8			/* tlbwe, entry unused */
	lis	26,0x5000
	li	27,0
	measure
1:	tlbwe	27,22,0			/* out: the shadow entry goes */
	tlbwe	23,22,0			/* in again */
	lwz	4,0(26)			/* refill: the guest TLB has it */
	bdnz	1b
	done	9
	li	4,0
	mtdcr	0x10,4
2:	b	2b
	.globl	guest_end
guest_end:
	.section .note.GNU-stack,"",@progbits
