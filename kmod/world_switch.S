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
#define TLB_VALID_4K 0x210
#define TLB_TS 0x100
#define TLB_SR 0x01
#define TLB_UR 0x08
#define TLB_UW 0x10
#define TLB_UX 0x20
#define TLB_E 0x80
/* mtspr PID, and bc if_set, as CR0 or another field tells "equal" */
#define MTPID_HIGH 0x7C10
#define MTPID_LOW 0x0BA6
#define BEQ_HIGH 0x4182
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
	stw	r5,WORLD_GPR(5)(r4)
	stw	r6,WORLD_GPR(6)(r4)
	lwz	r6,WORLD_QUICK(r4)
	stw	r7,WORLD_GPR(7)(r4)
	mfcr	r5
	cmpwi	r6,0
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
 * Enters a handler of the guest. SRR0: where it returns to; r5: the guest's CR; guest r5, r6 and r7 are saved. Goes to
 * `decline` with nothing done if the handler's context has no shadow PID yet.
 */
	.macro	deliver interrupt reason decline
	lwz	r6,WORLD_PROCESS_PID(r4)	/* mappings of a process go first */
	lwz	r3,WORLD_PID(r4)	/* whatever the guest wrote there: masked */
	cmpwi	r6,NO_PID
	lwz	r6,WORLD_KERNEL_PIDS(r4)
	bne	\decline
	and	r3,r3,r6
	lwz	r6,WORLD_PIDS(r4)
	slwi	r3,r3,2			/* ShadowContexts::key: supervisor, address space 0 */
	lbzx	r6,r6,r3
	cmpwi	r6,0
	beq	\decline
	mtspr	SPRN_PID,r6
	stw	r6,WORLD_SHADOW_PID(r4)
	mfspr	r3,SPRN_SRR0
	lwz	r6,WORLD_MSR(r4)
	stw	r3,WORLD_SRR0(r4)
	stw	r6,WORLD_SRR1(r4)
	lis	r3,SURVIVING_MSR_HIGH
	ori	r3,r3,SURVIVING_MSR_LOW
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
	lwz	r7,WORLD_GPR(7)(r4)
	finish	\reason r5
	.endm

	.macro	decline interrupt
	mtcr	r5
	lwz	r5,WORLD_GPR(5)(r4)
	lwz	r6,WORLD_GPR(6)(r4)
	lwz	r7,WORLD_GPR(7)(r4)
	li	r3,\interrupt
	b	untrap_world_left
	.endm

	.globl untrap_world_system_call
untrap_world_system_call:
	begin
	beq	2f
	deliver	8 EXIT_SYSCALL 2f
2:	decline	8

/*
 * Writes a mapping over the next entry of the CPU's TLB, as ShadowContexts::insert. r8, r6, r7: its words; r11: the entry of
 * the guest TLB that it comes from. r3, then: its slot; r5-r10 and r12 are used. Goes to `decline`, with nothing done that
 * matters, where that entry is of another guest, or maps the page being executed.
 */
	.macro	place_mapping decline
	lwz	r12,WORLD_SHADOW_SLOTS(r4)
	lwz	r10,WORLD_EXECUTED_SLOT(r4)
	lwz	r3,SHADOW_FREE(r12)
	lwz	r5,SHADOW_FREE+4(r12)
	or.	r9,r3,r5
	beq	91f
	/* One that was taken out. */
	cntlzw	r9,r3
	cmpwi	r3,0
	bne	90f
	cntlzw	r9,r5
	addi	r9,r9,32
90:	cmpw	r9,r10
	beq	\decline
	rlwinm	r5,r9,29,29,29
	add	r5,r5,r12
	lwz	r10,SHADOW_FREE(r5)
	mr	r3,r9
	lis	r12,0x8000
	clrlwi	r9,r9,27
	srw	r12,r12,r9
	andc	r10,r10,r12
	stw	r10,SHADOW_FREE(r5)
	lwz	r12,WORLD_SHADOW_SLOTS(r4)
	b	93f
91:	lwz	r3,SHADOW_NEXT(r12)
	lwz	r9,SHADOW_LIMIT(r12)
	cmpw	r3,r10
	addi	r5,r3,1
	beq	\decline
	cmpw	r5,r9
	blt	92f
	li	r5,0
92:	stw	r5,SHADOW_NEXT(r12)
93:	slwi	r9,r3,SHADOW_SLOT_SHIFT
	add	r12,r12,r9
	lwz	r10,-SHADOW_SLOT_MAPPING(r12)	/* whose it is: nobody's, or this guest's */
	lwz	r5,WORLD_CONTEXTS(r4)
	cmpwi	r10,0
	cmpw	cr1,r10,r5
	beq	94f
	bne	cr1,\decline
94:	lbz	r9,13(r12)			/* for which of its entries */
	stw	r5,-SHADOW_SLOT_MAPPING(r12)
	lbz	r5,WORLD_SHADOW_PID+3(r4)
	stw	r8,0(r12)
	stw	r6,4(r12)
	stw	r7,8(r12)
	stb	r5,12(r12)
	stb	r11,13(r12)
	mtspr	SPRN_MMUCR,r5
	tlbwe	r8,r3,0
	tlbwe	r6,r3,1
	tlbwe	r7,r3,2
	/* The sets and the links. r7: the slot in its half of a set. */
	lwz	r12,WORLD_CONTEXT_SETS(r4)
	rlwinm	r5,r3,29,29,29
	lis	r7,0x8000
	clrlwi	r8,r3,27
	add	r12,r12,r5
	srw	r7,r7,r8
	beq	95f
	slwi	r8,r9,3
	lwzx	r10,r12,r8
	add	r5,r4,r9
	andc	r10,r10,r7
	lbz	r9,WORLD_LINKS(r5)
	stwx	r10,r12,r8
	cmpw	r9,r3
	li	r9,NO_LINK
	bne	95f
	stb	r9,WORLD_LINKS(r5)
95:	slwi	r8,r11,3
	lwzx	r10,r12,r8
	add	r5,r4,r11
	or	r10,r10,r7
	lbz	r9,WORLD_LINKS(r5)
	stwx	r10,r12,r8
	cmpwi	r9,NO_LINK
	mr	r9,r3
	beq	96f
	li	r9,OTHER_LINK
96:	stb	r9,WORLD_LINKS(r5)
	lwz	r9,WORLD_REPLACED(r4)
	addi	r9,r9,1
	stw	r9,WORLD_REPLACED(r4)
	.endm

/*
 * Level 4: goes to the code of the guest's own handler for this miss, if there is any and nothing is out of the ordinary;
 * else on with nothing done. Guest r8 is saved. translator/ppc/handler.h says how the code finds the guest, and that it ends
 * at one of the two exits below. That the guest's own handler still begins where that of the code did is the C++ side's to
 * see: no IVPR or IVOR is written without it.
 */
	.macro	run_handler which reason
	lwz	r6,WORLD_HANDLER_CODE(\which)(r4)
	cmpwi	r6,0
	beq	5f
	.if	\which == 0
	mfspr	r7,SPRN_DEAR
	lwz	r3,WORLD_ARENA(r4)	/* the guest may want to map pages that are ours */
	lwz	r8,WORLD_ARENA_BYTES(r4)
	subf	r3,r3,r7
	cmplw	r3,r8
	blt	5f
	.else
	mfspr	r7,SPRN_SRR0
	lwz	r3,WORLD_OWN_PAGE(r4)
	xor	r3,r3,r7
	rlwinm.	r3,r3,0,0,19
	beq	5f
	.endif
	lwz	r3,WORLD_MSR(r4)
	andi.	r8,r3,MSR_SPACES
	bne	5f
	stw	r7,WORLD_HANDLER_MISSED(r4)
	.if	\which == 0
	mfspr	r8,SPRN_ESR
	stw	r7,WORLD_DEAR_PAGE(r4)
	andis.	r8,r8,ESR_DATA_HIGH
	mfspr	r7,SPRN_SRR0
	stw	r8,WORLD_ESR_PAGE(r4)
	.endif
	stw	r7,WORLD_SRR0(r4)
	stw	r3,WORLD_SRR1(r4)
	lis	r8,SURVIVING_MSR_HIGH
	ori	r8,r8,SURVIVING_MSR_LOW
	lwz	r7,WORLD_EXITS+4*\reason(r4)
	and	r3,r3,r8
	li	r8,0
	stw	r3,WORLD_MSR(r4)
	stw	r8,WORLD_RESERVE_VALID(r4)
	addi	r7,r7,1
	mfspr	r3,SPRN_SPRG0
	stw	r7,WORLD_EXITS+4*\reason(r4)
	mflr	r8
	stw	r3,WORLD_GPR(4)(r4)
	mtlr	r6
	stw	r8,WORLD_LR(r4)
	stw	r5,WORLD_CR(r4)
	lwz	r8,WORLD_GPR(8)(r4)
	mtcr	r5
	blr
5:
	.endm

/*
 * The guest's kernel, which has one context for all PIDs, uses memory of a process: NativeEngine::access_for_kernel. A
 * single access, and what follows it directly in the same page, is made here. Where there have been long rows of them, and
 * where the process has other mappings already, the page is mapped: `map`, with NOTED set, and from there to 50.
 * r11: the guest's slot, r7: its word 2; r3: permissions as problem state has them; r5: CR.
 */
	.macro	kernel_access map decline mapped
	lwz	r9,WORLD_PROCESS_PID(r4)
	lbz	r10,WORLD_PID+3(r4)
	cmpwi	r9,NO_PID
	crset	NOTED
	cmplw	cr1,r9,r10
	beq	41f
	beq	cr1,\map
	b	\decline
41:	mfspr	r8,SPRN_DEAR
	mfspr	r9,SPRN_SRR0
	lwz	r6,WORLD_ACCESSED_EA(r4)
	lwz	r10,WORLD_ACCESSED_PC(r4)
	subf.	r6,r6,r8
	subf	r10,r10,r9
	beq	42f
	addi	r6,r6,NEARBY_DATA
	cmplwi	r6,2*NEARBY_DATA
	addi	r10,r10,NEARBY_CODE
	bgt	42f
	cmplwi	r10,2*NEARBY_CODE
	ble	\decline		/* a row, it seems */
42:	lwz	r6,WORLD_LONG_RUNS(r4)
	rlwinm	r10,r9,3-2,32-3-6,31-3	/* by the low bits of PC */
	lwzux	r10,r6,r10
	stw	r8,WORLD_ACCESSED_EA(r4)
	cmplw	r10,r9
	li	r10,0
	stw	r9,WORLD_ACCESSED_PC(r4)
	stw	r9,WORLD_ACCESS_BEGIN(r4)
	stw	r10,WORLD_ACCESS_RUN(r4)
	bne	43f
	lwz	r10,4(r6)
	cmpwi	r10,0
	addi	r10,r10,-1
	beq	43f
	stw	r10,4(r6)
	b	\map
43:	lwz	r9,4(r11)
	lwz	r12,WORLD_HANDLER_BLOCKS(r4)
	andi.	r10,r7,TLB_E
	rlwinm	r6,r9,32-20+4,32-4-8,31-4	/* MissHandlers::block */
	rlwinm	r10,r9,0,28,11
	bne	\decline
	lwzux	r6,r12,r6
	cmplw	r6,r10
	lwz	r6,8(r12)
	bne	\decline
	cmpwi	r6,0
	mfspr	r10,SPRN_SPRG0
	beq	\decline
	stw	r0,WORLD_GPR(0)(r4)
	stw	r1,WORLD_GPR(1)(r4)
	stw	r2,WORLD_GPR(2)(r4)
	stw	r10,WORLD_GPR(4)(r4)
	stmw	r13,WORLD_GPR(13)(r4)
	/* r6: the byte for the host, r8: its EA, r13: PC, r16: accesses made; of each: r9: instruction, r12: RT, r18: EA */
	rlwimi	r6,r9,0,12,19
	mfspr	r13,SPRN_SRR0
	mfmsr	r14
	li	r16,0
	ori	r15,r14,MSR_DS_BIT
44:	mtmsr	r15		/* as for a program interrupt, below */
	isync
	lwz	r9,0(r13)
	mtmsr	r14
	isync
	rlwinm.	r10,r9,32-14,25,29	/* RA */
	rlwinm	r12,r9,32-19,25,29
	beq	48f
	add	r10,r10,r4
	lwz	r10,WORLD_GPR(0)(r10)
	extsh	r18,r9
	add	r12,r12,r4
	add	r18,r18,r10
	cmpwi	r16,0
	xor	r10,r18,r8
	bne	45f
	cmpwi	r10,0
	bne	48f
45:	rlwinm.	r10,r10,0,0,19
	srwi	r10,r9,26
	bne	48f
	rlwimi	r6,r18,0,20,31
	andi.	r17,r3,TLB_UR
	cmpwi	cr1,r10,32		/* lwz */
	cmpwi	cr6,r10,36		/* stw */
	beq	cr1,61f
	beq	cr6,62f
	cmpwi	cr1,r10,34		/* lbz */
	cmpwi	cr6,r10,38		/* stb */
	beq	cr1,63f
	beq	cr6,64f
	cmpwi	cr1,r10,40		/* lhz */
	cmpwi	cr6,r10,44		/* sth */
	beq	cr1,65f
	beq	cr6,66f
48:	cmpwi	r16,0
	bne	49f
	lmw	r13,WORLD_GPR(13)(r4)
	b	\decline
61:	beq	48b
	andi.	r10,r18,3
	bne	48b
	lwz	r10,0(r6)
	b	46f
63:	beq	48b
	lbz	r10,0(r6)
	b	46f
65:	beq	48b
	andi.	r10,r18,1
	bne	48b
	lhz	r10,0(r6)
46:	stw	r10,WORLD_GPR(0)(r12)
	b	47f
62:	andi.	r17,r3,TLB_UW
	lwz	r10,WORLD_GPR(0)(r12)
	beq	48b
	andi.	r17,r18,3
	bne	48b
	stw	r10,0(r6)
	b	47f
64:	andi.	r17,r3,TLB_UW
	lwz	r10,WORLD_GPR(0)(r12)
	beq	48b
	stb	r10,0(r6)
	b	47f
66:	andi.	r17,r3,TLB_UW
	lwz	r10,WORLD_GPR(0)(r12)
	beq	48b
	andi.	r17,r18,1
	bne	48b
	sth	r10,0(r6)
47:	stw	r18,WORLD_ACCESSED_EA(r4)
	stw	r13,WORLD_ACCESSED_PC(r4)
	addi	r13,r13,4
	addi	r16,r16,1
	andi.	r10,r13,0xFFC		/* the next page may be unmapped */
	cmpwi	cr1,r16,ROW_LIMIT
	beq	49f
	blt	cr1,44b
49:	lwz	r6,WORLD_EXITS+4*EXIT_DTLB_VIRT(r4)
	mtspr	SPRN_SRR0,r13
	addi	r6,r6,1
	stw	r6,WORLD_EXITS+4*EXIT_DTLB_VIRT(r4)
	mtcr	r5
	lwz	r0,WORLD_GPR(0)(r4)
	lwz	r1,WORLD_GPR(1)(r4)
	lwz	r2,WORLD_GPR(2)(r4)
	lwz	r3,WORLD_GPR(3)(r4)
	lmw	r5,WORLD_GPR(5)(r4)
	lwz	r4,WORLD_GPR(4)(r4)
	rfi
	/* Mapped in slot r3: it goes when PID is written. */
50:	lwz	r6,WORLD_OF_PROCESS(r4)
	rlwinm	r7,r3,29,29,29
	lis	r8,0x8000
	clrlwi	r9,r3,27
	lwzux	r10,r6,r7
	srw	r8,r8,r9
	lbz	r9,WORLD_PID+3(r4)
	or	r10,r10,r8
	stw	r9,WORLD_PROCESS_PID(r4)
	stw	r10,0(r6)
	stw	r9,WORLD_LIVE_PID(r4)
	b	\mapped
	.endm

/*
 * Goes to `decline` unless `where` (DEAR or SRR0), an address in r3, is not in the guest TLB, or is in it and may be mapped
 * right here. Most of the time neither the set of its 4 KB page nor that of its 256 MB has an entry; else each of those is
 * looked at. Also if the miss is that of the handler's own first instruction, which gets nowhere: the run loop counts those.
 */
	.macro	surely_missing which interrupt reason where decline
	lwz	r6,WORLD_TLB_SETS(r4)
	rlwinm	r7,r3,32-12+3,32-3-7,31-3	/* page number modulo TLB_SETS_PAGES, in sets */
	rlwinm	r3,r3,4+3,32-3-4,31-3		/* number of the 256 MB, in sets */
	stw	r8,WORLD_GPR(8)(r4)
	add	r7,r7,r6
	add	r3,r3,r6
	lwz	r6,0(r7)
	lwz	r7,4(r7)
	lwz	r8,TLB_SETS_PAGES*TLB_SET_BYTES(r3)
	lwz	r3,TLB_SETS_PAGES*TLB_SET_BYTES+4(r3)
	or	r6,r6,r8
	or	r7,r7,r3
	or.	r8,r6,r7
	bne	20f
10:	run_handler \which \reason
	lwz	r6,WORLD_IVPR(r4)
	lwz	r7,WORLD_IVOR(\interrupt)(r4)
	mfspr	r3,SPRN_SRR0
	or	r6,r6,r7
	lwz	r8,WORLD_GPR(8)(r4)
	cmpw	r3,r6
	bne	30f
	b	\decline
11:	lwz	r8,WORLD_GPR(8)(r4)
	b	\decline
	/*
	 * Each candidate. r6, r7: the lower and the upper half of them; r8: what their keys are compared with, by pages of
	 * 4 KB; r10: where the half's slots begin; r11: the slot that was found, or 0.
	 */
20:	lwz	r3,WORLD_MSR(r4)
	andi.	r3,r3,MSR_SPACES
	bne	11b
	stw	r9,WORLD_GPR(9)(r4)
	stw	r10,WORLD_GPR(10)(r4)
	stw	r11,WORLD_GPR(11)(r4)
	stw	r12,WORLD_GPR(12)(r4)
	mfspr	r3,\where
	lbz	r8,WORLD_PID+3(r4)
	lwz	r10,WORLD_TLB_SLOTS(r4)
	rlwimi	r8,r3,0,0,19
	li	r11,0
	cmpwi	r6,0
	beq	22f
21:	cntlzw	r3,r6
	lis	r12,0x8000
	slwi	r9,r3,TLB_SLOT_SHIFT
	srw	r12,r12,r3
	add	r9,r9,r10
	lwz	r3,TLB_SLOT_MATCH(r9)
	andc	r6,r6,r12
	lwz	r12,TLB_SLOT_MATCH+4(r9)
	xor	r3,r3,r8
	rlwinm	r12,r12,0,23,19
	and.	r3,r3,r12
	beq	24f
	cmpwi	r6,0
	bne	21b
22:	mr.	r6,r7
	li	r7,0
	addi	r10,r10,32<<TLB_SLOT_SHIFT
	bne	21b
	cmpwi	r11,0
	bne	25f
	lwz	r9,WORLD_GPR(9)(r4)
	lwz	r10,WORLD_GPR(10)(r4)
	lwz	r11,WORLD_GPR(11)(r4)
	lwz	r12,WORLD_GPR(12)(r4)
	b	10b
24:	cmpwi	r11,0
	mr	r11,r9
	bne	28f			/* two: its own mistake, but the CPU must not have both */
	cmpwi	r6,0
	bne	21b
	b	22b

	/* A page of 4 KB that only the CPU's TLB lacks. */
25:	lbz	r12,TLB_SLOT_PLACE+2(r11)
	lwz	r9,WORLD_MSR(r4)
	lbz	r10,12(r11)
	lwz	r7,8(r11)
	cmpwi	r12,12
	mtcrf	0x08,r9			/* MSR[PR] is bit 17 */
	cmpwi	cr1,r10,0
	rlwinm	r3,r7,0,26,28
	bne	28f
	bt	17,26f
	rlwinm	r3,r7,3,26,28
	beq	cr1,26f
	lwz	r9,WORLD_KERNEL_PIDS(r4)
	cmpwi	r9,0
	beq	40f
26:	crclr	NOTED
27:	.if	\which == 0
	mfspr	r9,SPRN_ESR
	li	r10,TLB_UR
	rlwinm	r9,r9,9,31,31		/* ESR[ST] */
	slw	r10,r10,r9
	and.	r10,r10,r3
	.else
	andi.	r10,r3,TLB_UX
	.endif
	lwz	r9,4(r11)
	lwz	r12,WORLD_HANDLER_BLOCKS(r4)
	beq	28f
	rlwinm	r6,r9,32-20+4,32-4-8,31-4	/* MissHandlers::block */
	rlwinm	r10,r9,0,28,11
	lwzux	r6,r12,r6
	rlwimi	r3,r7,0,23,24		/* E and G */
	cmplw	r6,r10
	lwz	r6,4(r12)
	bne	28f
	mfspr	r8,\where
	lwz	r10,WORLD_TLB_SLOTS(r4)
	rlwimi	r6,r9,0,12,19
	rlwinm	r8,r8,0,0,19
	ori	r7,r3,TLB_SR
	subf	r11,r10,r11
	ori	r8,r8,TLB_VALID_4K|TLB_TS
	srwi	r11,r11,TLB_SLOT_SHIFT
	stw	r5,WORLD_CR(r4)
	place_mapping 29f
	.if	\which == 0
	bt	NOTED,50f
31:	lwz	r6,WORLD_EXITS+4*EXIT_DTLB_VIRT(r4)
	lwz	r5,WORLD_CR(r4)
	addi	r6,r6,1
	stw	r6,WORLD_EXITS+4*EXIT_DTLB_VIRT(r4)
	.else
	stw	r3,WORLD_EXECUTED_SLOT(r4)
	lwz	r6,WORLD_EXITS+4*EXIT_ITLB_VIRT(r4)
	lwz	r5,WORLD_CR(r4)
	addi	r6,r6,1
	stw	r6,WORLD_EXITS+4*EXIT_ITLB_VIRT(r4)
	.endif
	mtcr	r5
	lwz	r3,WORLD_GPR(3)(r4)
	lwz	r5,WORLD_GPR(5)(r4)
	lwz	r6,WORLD_GPR(6)(r4)
	lwz	r7,WORLD_GPR(7)(r4)
	lwz	r8,WORLD_GPR(8)(r4)
	lwz	r9,WORLD_GPR(9)(r4)
	lwz	r10,WORLD_GPR(10)(r4)
	lwz	r11,WORLD_GPR(11)(r4)
	lwz	r12,WORLD_GPR(12)(r4)
	mfspr	r4,SPRN_SPRG0
	rfi
29:	lwz	r5,WORLD_CR(r4)
28:	lwz	r9,WORLD_GPR(9)(r4)
	lwz	r10,WORLD_GPR(10)(r4)
	lwz	r11,WORLD_GPR(11)(r4)
	lwz	r12,WORLD_GPR(12)(r4)
	b	11b
40:	.if	\which == 0
	kernel_access 27b 28b 31b
	.else
	b	28b
	.endif
30:
	.endm

	.globl untrap_world_data_tlb_error
untrap_world_data_tlb_error:
	begin
	mfspr	r3,SPRN_DEAR
	beq	2f
	lwz	r6,WORLD_OWN_PAGE(r4)	/* not the guest's to miss; nor the rest of that page, to map */
	xor	r6,r6,r3
	rlwinm.	r6,r6,0,0,19
	beq	2f
	surely_missing 0 13 EXIT_DTLB_REAL SPRN_DEAR 2f
	/* Should the C++ side have to deliver it, it writes the same. */
	mfspr	r6,SPRN_DEAR
	mfspr	r7,SPRN_ESR
	stw	r6,WORLD_DEAR_PAGE(r4)
	andis.	r7,r7,ESR_DATA_HIGH
	stw	r7,WORLD_ESR_PAGE(r4)
	deliver	13 EXIT_DTLB_REAL 2f
2:	decline	13

	.globl untrap_world_instruction_tlb_error
untrap_world_instruction_tlb_error:
	begin
	mfspr	r3,SPRN_SRR0
	beq	2f
	lwz	r6,WORLD_ARENA(r4)	/* of a stub: likewise */
	lwz	r7,WORLD_ARENA_BYTES(r4)
	subf	r6,r6,r3
	cmplw	r6,r7
	blt	2f
	surely_missing 1 14 EXIT_ITLB_REAL SPRN_SRR0 2f
	deliver	14 EXIT_ITLB_REAL 2f
2:	decline	14

/* Such code leaves. r3: the guest's pc, r5: why; CR is the guest's, and its r3-r7 and LR are in World. */
	.globl untrap_world_handler_leave
untrap_world_handler_leave:
	stw	r5,WORLD_HANDLER_FLAGS(r4)
	mtspr	SPRN_SRR0,r3
	lwz	r5,WORLD_LR(r4)
	lwz	r6,WORLD_GPR(4)(r4)
	mtlr	r5
	mtspr	SPRN_SPRG0,r6
	lwz	r5,WORLD_GPR(5)(r4)
	lwz	r6,WORLD_GPR(6)(r4)
	lwz	r7,WORLD_GPR(7)(r4)
	li	r3,HANDLER_LEFT
	b	untrap_world_left

/*
 * Such code is at its rfi. r5: which words of an entry it wrote; likewise. It returns to the context that it came from, since
 * the compiler takes no handler that writes SRR1 or PID: the CPU's PID and SRR1 are still right. What is usual is done here:
 * a page of 4 KB for the address that missed, of memory that may be mapped without further ado, in place of the one mapping
 * that was made from that entry before. For the rest there is NativeEngine::return_from_handler, a C++ function with the same
 * outcome, run from a copy in the vectors block and on a stack there; what it does not do either, the code leaves for.
 */
	.globl untrap_world_handler_finish
untrap_world_handler_finish:
	stw	r8,WORLD_GPR(8)(r4)
	stw	r9,WORLD_GPR(9)(r4)
	stw	r10,WORLD_GPR(10)(r4)
	stw	r11,WORLD_GPR(11)(r4)
	stw	r12,WORLD_GPR(12)(r4)
	mfcr	r6
	cmpwi	r5,HANDLER_WORDS
	stw	r6,WORLD_CR(r4)
	bne	8f

	/* r8, r9, r10: the words; r11: the number of the entry; r12: TID. */
	lwz	r8,WORLD_HANDLER_TLB+8(r4)
	lwz	r3,WORLD_HANDLER_MISSED(r4)
	lwz	r9,WORLD_HANDLER_TLB+12(r4)
	lwz	r10,WORLD_HANDLER_TLB+16(r4)
	rlwinm	r3,r3,0,0,19
	lbz	r11,WORLD_HANDLER_TLB+3(r4)
	lbz	r12,WORLD_HANDLER_TLB+7(r4)
	ori	r3,r3,TLB_VALID_4K
	cmplw	r8,r3
	lwz	r7,WORLD_SRR1(r4)
	clrlwi	r11,r11,26
	add	r3,r4,r11
	bne	7f
	lbz	r5,WORLD_LINKS(r3)	/* the slot of the CPU's TLB */
	mtcrf	0x08,r7			/* MSR[PR] is bit 17 */
	cmpwi	cr1,r12,0
	cmplwi	cr5,r5,NO_LINK
	bgt	cr5,7f
	beq	cr1,1f
	lbz	r3,WORLD_PID+3(r4)
	bf	17,7f			/* the kernel uses memory of a process: that has to be noted */
	cmpw	r12,r3
	bne	7f
1:	lwz	r6,WORLD_HANDLER_BLOCKS(r4)
	rlwinm	r3,r9,32-20+4,32-4-8,31-4	/* MissHandlers::block */
	rlwinm	r7,r9,0,28,11
	lwzux	r3,r6,r3
	cmplw	r3,r7
	lwz	r6,4(r6)
	bne	7f

	/* From here on it is done. r6, r7: the mapping's words 1 and 2. */
	rlwinm	r7,r10,3,26,28		/* permissions of supervisor state, as those of problem state */
	bf	17,2f
	rlwinm	r7,r10,0,26,28
2:	lbz	r3,WORLD_SHADOW_PID+3(r4)
	rlwimi	r6,r9,0,12,19
	rlwimi	r7,r10,0,23,24		/* E and G */
	ori	r7,r7,TLB_SR
	ori	r8,r8,TLB_TS
	beq	cr5,6f
	mtspr	SPRN_MMUCR,r3
	tlbwe	r8,r5,0
	tlbwe	r6,r5,1
	tlbwe	r7,r5,2
	lwz	r3,WORLD_SHADOW_SLOTS(r4)
	slwi	r5,r5,SHADOW_SLOT_SHIFT
	stwux	r8,r3,r5
	stw	r6,4(r3)
	stw	r7,8(r3)
	lbz	r6,WORLD_SHADOW_PID+3(r4)
	lwz	r7,WORLD_REPLACED(r4)
	stb	r6,12(r3)
	addi	r7,r7,1
	stw	r7,WORLD_REPLACED(r4)

	/* The guest TLB, as GuestTlb::replace_small. */
30:	lwz	r3,WORLD_TLB_SLOTS(r4)
	rlwinm	r5,r11,TLB_SLOT_SHIFT,26-TLB_SLOT_SHIFT,31-TLB_SLOT_SHIFT
	rlwinm	r8,r8,0,24,22		/* without TS */
	stwux	r8,r3,r5
	rlwinm	r9,r9,0,28,21
	andi.	r10,r10,TLB_WORD2
	stw	r9,4(r3)
	stw	r10,8(r3)
	stb	r12,12(r3)
	rlwimi	r12,r8,0,0,19		/* the key: page number and TID; and which of its bits are compared */
	li	r6,TLB_MATCH_ANY
	beq	cr1,3f
	li	r6,TLB_MATCH_TID
3:	stw	r12,TLB_SLOT_MATCH(r3)
	stw	r6,TLB_SLOT_MATCH+4(r3)
	lwz	r5,TLB_SLOT_PLACE(r3)
	rlwinm	r7,r8,12,1,7		/* number of the set, of the 256 MB, log2 of the bytes */
	rlwimi	r7,r8,20,12,15
	ori	r7,r7,12<<8
	stw	r7,TLB_SLOT_PLACE(r3)
	lwz	r3,WORLD_TLB_SETS(r4)
	lis	r6,0x8000
	lwz	r9,TLB_VERSION(r3)
	clrlwi	r10,r11,27
	addi	r9,r9,3
	stw	r9,TLB_VERSION(r3)
	srw	r6,r6,r10		/* the entry in its half of a set */
	rlwinm	r11,r11,29,29,29
	add	r3,r3,r11
	rlwinm	r9,r5,8+3,21,28
	lwzx	r10,r3,r9
	andc	r10,r10,r6
	stwx	r10,r3,r9
	rlwinm	r9,r7,8+3,21,28
	lwzx	r10,r3,r9
	xor	r11,r5,r7
	or	r10,r10,r6
	andis.	r11,r11,0x00FF
	stwx	r10,r3,r9
	bne	5f
4:	lwz	r3,WORLD_SRR0(r4)
	lwz	r5,WORLD_SRR1(r4)
	lwz	r6,WORLD_CR(r4)
	lwz	r7,WORLD_LR(r4)
	mtspr	SPRN_SRR0,r3
	stw	r5,WORLD_MSR(r4)
	mtcr	r6
	mtlr	r7
	lwz	r8,WORLD_GPR(8)(r4)
	lwz	r9,WORLD_GPR(9)(r4)
	lwz	r10,WORLD_GPR(10)(r4)
	lwz	r11,WORLD_GPR(11)(r4)
	lwz	r12,WORLD_GPR(12)(r4)
	lwz	r3,WORLD_GPR(3)(r4)
	lwz	r5,WORLD_GPR(5)(r4)
	lwz	r6,WORLD_GPR(6)(r4)
	lwz	r7,WORLD_GPR(7)(r4)
	lwz	r4,WORLD_GPR(4)(r4)
	rfi
	/* Other 256 MB than before. */
5:	addi	r3,r3,TLB_SEGMENTS
	rlwinm	r9,r5,16+3,21,28
	lwzx	r10,r3,r9
	andc	r10,r10,r6
	stwx	r10,r3,r9
	rlwinm	r9,r7,16+3,21,28
	lwzx	r10,r3,r9
	or	r10,r10,r6
	stwx	r10,r3,r9
	b	4b

	/* There was no mapping of that entry. */
6:	place_mapping 7f
	lbz	r12,WORLD_HANDLER_TLB+7(r4)
	lwz	r8,WORLD_HANDLER_TLB+8(r4)
	lwz	r9,WORLD_HANDLER_TLB+12(r4)
	lwz	r10,WORLD_HANDLER_TLB+16(r4)
	cmpwi	cr1,r12,0
	b	30b

7:	li	r5,HANDLER_WORDS
8:	mflr	r6
	lwz	r7,WORLD_HANDLER_RETURN(r4)
	stw	r6,WORLD_HANDLER_BACK(r4)
	mtlr	r7
	stw	r0,WORLD_GPR(0)(r4)
	stw	r1,WORLD_GPR(1)(r4)
	mfxer	r6
	mfctr	r7
	stw	r6,WORLD_XER(r4)
	stw	r7,WORLD_CTR(r4)
	lwz	r1,WORLD_GUEST_IVPR(r4)
	mr	r3,r4
	addis	r1,r1,1
	mr	r4,r5
	addi	r1,r1,VECTORS_STACK-VECTORS_BYTES
	blrl				/* untrap_handler_return(world, flags) */
	lwz	r4,VECTORS_WORLD-VECTORS_STACK(r1)
	cmpwi	r3,0
	lwz	r5,WORLD_CR(r4)
	lwz	r6,WORLD_XER(r4)
	lwz	r0,WORLD_GPR(0)(r4)
	lwz	r1,WORLD_GPR(1)(r4)
	lwz	r8,WORLD_GPR(8)(r4)
	lwz	r9,WORLD_GPR(9)(r4)
	lwz	r10,WORLD_GPR(10)(r4)
	lwz	r11,WORLD_GPR(11)(r4)
	lwz	r12,WORLD_GPR(12)(r4)
	lwz	r7,WORLD_CTR(r4)
	mtxer	r6
	mtctr	r7
	beq	6f
	mtcr	r5
	lwz	r5,WORLD_LR(r4)
	lwz	r6,WORLD_SHADOW_PID(r4)
	lwz	r7,WORLD_PC(r4)
	lwz	r3,WORLD_RUN_MSR(r4)
	mtlr	r5
	mtspr	SPRN_PID,r6
	mtspr	SPRN_SRR0,r7
	mtspr	SPRN_SRR1,r3
	lwz	r3,WORLD_GPR(3)(r4)
	lwz	r5,WORLD_GPR(5)(r4)
	lwz	r6,WORLD_GPR(6)(r4)
	lwz	r7,WORLD_GPR(7)(r4)
	lwz	r4,WORLD_GPR(4)(r4)
	rfi
6:	mtcr	r5
	lwz	r6,WORLD_HANDLER_BACK(r4)
	mtlr	r6
	blr

/* A program interrupt: fetches the instruction for whoever emulates it, and returns from interrupts itself. */
	.globl untrap_world_program
untrap_world_program:
	stw	r5,WORLD_GPR(5)(r4)
	stw	r6,WORLD_GPR(6)(r4)
	/*
	 * Through the very entry that it was fetched by: it is still in the TLB, since nothing was written there yet,
	 * and every shadow entry allows supervisor reads.
	 */
	mfspr	r5,SPRN_SRR0
	mfmsr	r6
	ori	r3,r6,MSR_DS_BIT
	mtmsr	r3
	isync
	lwz	r5,0(r5)
	mtmsr	r6
	isync
	mfcr	r6
	stw	r5,WORLD_WORD(r4)
	xoris	r3,r5,RFI_HIGH
	cmplwi	r3,RFI_LOW
	bne	50f
	/* r6: CR. An rfi: of a guest in supervisor state? */
	lwz	r5,WORLD_MSR(r4)
	lwz	r3,WORLD_QUICK(r4)
	andi.	r5,r5,MSR_PR_BIT
	bne	3f
	cmpwi	r3,0
	lwz	r5,WORLD_PENDING(r4)
	beq	3f
	cmpwi	r5,0
	lwz	r3,WORLD_SRR1(r4)
	lwz	r5,WORLD_PROCESS_PID(r4)
	bne	3f
	cmpwi	r5,NO_PID
	lis	r5,SLOW_MSR_HIGH
	bne	3f
	ori	r5,r5,SLOW_MSR_LOW
	and.	r5,r5,r3
	bne	3f
	lwz	r5,WORLD_PID(r4)
	mtcrf	0x08,r3			/* MSR[PR] is bit 17 */
	bt	17,4f
	lwz	r3,WORLD_KERNEL_PIDS(r4)
	and	r5,r5,r3
	lwz	r3,WORLD_SRR1(r4)
4:	rlwinm	r5,r5,2,22,29
	rlwimi	r5,r3,18,31,31		/* MSR[PR]: ShadowContexts::key in address space 0 */
	lwz	r3,WORLD_PIDS(r4)
	lbzx	r5,r3,r5
	cmpwi	r5,0
	beq	3f
	mtspr	SPRN_PID,r5
	stw	r5,WORLD_SHADOW_PID(r4)
	lwz	r3,WORLD_SRR1(r4)
	lis	r5,DEFINED_MSR_HIGH
	ori	r5,r5,DEFINED_MSR_LOW
	and	r3,r3,r5
	lwz	r5,WORLD_FPU_MSR(r4)
	stw	r3,WORLD_MSR(r4)
	and	r5,r5,r3
	ori	r5,r5,RUN_MSR_LOW
	lwz	r3,WORLD_SRR0(r4)
	stw	r5,WORLD_RUN_MSR(r4)
	mtspr	SPRN_SRR1,r5
	clrrwi	r3,r3,2
	mtspr	SPRN_SRR0,r3
	li	r5,0
	stw	r5,WORLD_RESERVE_VALID(r4)
	finish	EXIT_EMUL_RFI r6
	/*
	 * A stub that writes PID while a process has mappings in the kernel's context? They go, and the stub goes on where it
	 * had gone on without any: the branch before says where (translator/ppc/stub.cpp).
	 */
50:	rlwinm	r3,r5,0,11,5		/* whatever RS is */
	xoris	r3,r3,MTPID_HIGH
	cmplwi	r3,MTPID_LOW
	bne	3f
	mfspr	r5,SPRN_SRR0
	lwz	r3,WORLD_ARENA(r4)
	subf	r3,r3,r5
	lwz	r5,WORLD_ARENA_BYTES(r4)
	cmplw	r3,r5
	lwz	r5,WORLD_PROCESS_PID(r4)
	bge	3f
	cmpwi	r5,NO_PID
	lwz	r5,WORLD_QUICK(r4)
	beq	3f
	cmpwi	r5,0
	lwz	r5,WORLD_MSR(r4)
	beq	3f
	andi.	r5,r5,MSR_SPACES|MSR_PR_BIT
	cmpwi	cr1,r3,0		/* no stub begins with it */
	bne	3f
	beq	cr1,3f
	mfspr	r5,SPRN_SRR0
	mfmsr	r3
	stw	r7,WORLD_GPR(7)(r4)
	ori	r7,r3,MSR_DS_BIT
	mtmsr	r7
	isync
	lwz	r7,-4(r5)
	mtmsr	r3
	isync
	rlwinm	r3,r7,0,0,15		/* whatever the field is */
	rlwinm	r3,r3,0,14,10
	xoris	r3,r3,BEQ_HIGH
	cmpwi	r3,0
	extsh	r7,r7
	bne	59f
	clrrwi	r7,r7,2
	addi	r7,r7,-4
	add	r7,r7,r5		/* back into its line */
	stw	r8,WORLD_GPR(8)(r4)
	stw	r9,WORLD_GPR(9)(r4)
	stw	r10,WORLD_GPR(10)(r4)
	mtspr	SPRN_SRR0,r7
	stw	r11,WORLD_GPR(11)(r4)
	stw	r12,WORLD_GPR(12)(r4)
	stw	r0,WORLD_GPR(0)(r4)
	/* ShadowContexts::drop_process. r11: slots of this half that are left, r10: the number of its first. */
	lwz	r12,WORLD_OF_PROCESS(r4)
	li	r10,0
51:	lwz	r11,0(r12)
	b	55f
52:	cntlzw	r9,r11
	lis	r8,0x8000
	srw	r8,r8,r9
	lwz	r5,WORLD_SHADOW_SLOTS(r4)
	andc	r11,r11,r8
	add	r9,r9,r10
	slwi	r7,r9,SHADOW_SLOT_SHIFT
	add	r7,r7,r5
	lwz	r5,-SHADOW_SLOT_MAPPING(r7)
	lwz	r3,WORLD_CONTEXTS(r4)
	cmplw	r5,r3
	bne	55f
	tlbre	r3,r9,0
	mfspr	r5,SPRN_MMUCR
	lwz	r0,0(r7)
	cmplw	r3,r0
	lbz	r0,12(r7)
	clrlwi	r5,r5,24
	cmplw	cr1,r5,r0
	bne	53f			/* the host has taken it */
	bne	cr1,53f
	li	r0,0
	tlbwe	r0,r9,0
	lwz	r5,WORLD_SHADOW_SLOTS(r4)
	rlwinm	r3,r10,29,29,29
	add	r5,r5,r3
	lwz	r3,SHADOW_FREE(r5)
	or	r3,r3,r8
	stw	r3,SHADOW_FREE(r5)
53:	lbz	r5,13(r7)
	li	r0,0
	stw	r0,-SHADOW_SLOT_MAPPING(r7)
	lwz	r3,WORLD_CONTEXT_SETS(r4)
	slwi	r0,r5,3
	add	r3,r3,r0
	rlwinm	r0,r10,29,29,29
	lwzx	r7,r3,r0
	andc	r7,r7,r8
	stwx	r7,r3,r0
	add	r5,r5,r4
	lbz	r3,WORLD_LINKS(r5)
	cmplw	r3,r9
	li	r3,NO_LINK
	bne	54f
	stb	r3,WORLD_LINKS(r5)
54:	lwz	r3,WORLD_DROPPED(r4)
	addi	r3,r3,1
	stw	r3,WORLD_DROPPED(r4)
55:	cmpwi	r11,0
	bne	52b
	cmpwi	r10,0
	stw	r11,0(r12)
	addi	r12,r12,4
	li	r10,32
	beq	51b
	li	r3,NO_PID
	stw	r3,WORLD_PROCESS_PID(r4)
	stw	r3,WORLD_LIVE_PID(r4)
	lwz	r3,WORLD_STUB_EXITS(r4)
	addi	r3,r3,1
	stw	r3,WORLD_STUB_EXITS(r4)
	lwz	r0,WORLD_GPR(0)(r4)
	lwz	r7,WORLD_GPR(7)(r4)
	lwz	r8,WORLD_GPR(8)(r4)
	lwz	r9,WORLD_GPR(9)(r4)
	lwz	r10,WORLD_GPR(10)(r4)
	lwz	r11,WORLD_GPR(11)(r4)
	lwz	r12,WORLD_GPR(12)(r4)
	finish	EXIT_DTLB_VIRT r6
59:	lwz	r7,WORLD_GPR(7)(r4)
3:	mtcr	r6
	lwz	r5,WORLD_GPR(5)(r4)
	lwz	r6,WORLD_GPR(6)(r4)
	li	r3,6

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
