/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest of a dozen instructions: maps the first UART, writes one byte to it, stays. What passes until the byte is seen
 * is the time to the first guest instruction.
 */
	.globl	_start
_start:
	/* TLB entry 60: EA 0xEF600000 -> the same real address, 4 KB, uncached, guarded, readable and writable */
	li	3,0
	mtspr	946,3			/* MMUCR: address space 0, PID 0 */
	li	4,60
	lis	3,0xef60
	ori	5,3,0x0210
	tlbwe	3,4,1
	li	6,0x0503
	tlbwe	6,4,2
	tlbwe	5,4,0
	isync
	li	7,0x21
	stb	7,0x300(3)
1:	b	1b
	.section .note.GNU-stack,"",@progbits
