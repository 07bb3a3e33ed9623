/* SPDX-License-Identifier: GPL-2.0-only */
/* The guests of guest/, as they lie in memory from 0. */
	.macro	IMAGE name
	.balign	16
	.globl	guest_\name
guest_\name:
	.incbin	"guest_\name\().bin"
	.globl	guest_\name\()_end
guest_\name\()_end:
	.endm

	.section .rodata
	IMAGE	conversation
	IMAGE	isolation
	IMAGE	patching

	.section .note.GNU-stack,"",@progbits
