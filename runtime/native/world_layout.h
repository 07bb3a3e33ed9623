/* SPDX-License-Identifier: GPL-2.0-only */
/* Offsets in struct World (world.h) and the CpuState behind it, for C++ and assembly. In bytes. */
#ifndef UNTRAP_RUNTIME_NATIVE_WORLD_LAYOUT_H
#define UNTRAP_RUNTIME_NATIVE_WORLD_LAYOUT_H

#define WORLD_RUN_MSR 0
#define WORLD_SHADOW_PID 4
#define WORLD_CR 8
#define WORLD_XER 12
#define WORLD_WORD 16
#define WORLD_ESR 20
#define WORLD_DEAR 24
#define WORLD_VECTOR 28
#define WORLD_HOST_R1 32
#define WORLD_HOST_R2 36
#define WORLD_HOST_PID 40
#define WORLD_HOST_MSR 44
#define WORLD_HOST_IVPR 48
#define WORLD_GUEST_IVPR 52
#define WORLD_EXIT 56
#define WORLD_ATTENTION 60
#define WORLD_QUICK 64
#define WORLD_PIDS 68
#define WORLD_FPU_MSR 72
#define WORLD_TLB_SETS 76
#define WORLD_KERNEL_PIDS 80
#define WORLD_OWN_PAGE 84
#define WORLD_ARENA 88
#define WORLD_ARENA_BYTES 92
#define WORLD_PROCESS_PID 96
#define WORLD_TLB_SLOTS 100
#define WORLD_EXITS 128
/* Compiled TLB-miss handlers, those for data and for instructions; the former is run from VECTORS_HANDLER. */
#define WORLD_HANDLER_CODE(n) (264 + 4 * (n))
/* The page that missed; with the lower bits of word 0 of a 4 KB page's entry if it was a process that missed. For data,
 * if it was not, with a bit that no Walk has in its key. */
#define MISSED_IN_KERNEL 0x800
#define WORLD_HANDLER_MISSED 272
#define WORLD_HANDLER_FLAGS 276
#define WORLD_HANDLER_RETURN 280
#define WORLD_HANDLER_TLB 284
#define WORLD_HANDLER_FINISHES 300
#define WORLD_HANDLER_WINDOW 304
#define WORLD_HANDLER_BACK 316
#define WORLD_HANDLER_BLOCKS 320
/* Of the shadow TLB's slots, and which of them the guest's entries have: ShadowContexts::Links. */
#define WORLD_SHADOW_SLOTS 324
#define WORLD_LINKS 328
#define WORLD_REPLACED 396
/* ShadowContexts, its sets of slots by guest TLB entry, and the slot of the page being executed. */
#define WORLD_CONTEXTS 400
#define WORLD_CONTEXT_SETS 404
#define WORLD_EXECUTED_SLOT 408
/* The slots that map memory of a process for the kernel, and NativeEngine's account of the kernel's accesses to it. */
#define WORLD_OF_PROCESS 412
#define WORLD_LONG_RUNS 416
#define WORLD_ACCESSED_EA 420
#define WORLD_ACCESSED_PC 424
#define WORLD_ACCESS_RUN 428
#define WORLD_ACCESS_BEGIN 432
#define WORLD_DROPPED 436
#define WORLD_STUB_EXITS 440
/* The site whose stub the world switch has left last, its instruction, and where it was left. */
#define WORLD_ACCESS_SITE 444
#define WORLD_ACCESS_WORD 448
#define WORLD_ACCESS_STUB 452
/* Pages of single accesses; in between how often in a row it was that one. */
#define WORLD_REPEATS 456
/* Of RetainedMappings: the address of the entries, log2 of their bytes, what tags have besides addresses; and by what
 * they are found: log2 of its bytes, of how many there are, and the number of the first. */
#define WORLD_RETAINED 2504
#define RETAINED_LEVEL0_SHIFT 12
#define RETAINED_LEVEL0_BITS 8
#define RETAINED_LEVEL0_FIRST 0
#define RETAINED_LEVEL1_SHIFT 16
#define RETAINED_LEVEL1_BITS 7
#define RETAINED_LEVEL1_FIRST 256
#define RETAINED_LEVEL2_SHIFT 20
#define RETAINED_LEVEL2_BITS 6
#define RETAINED_LEVEL2_FIRST 384
#define RETAINED_SHIFT 5
#define RETAINED_FETCH 1
#define RETAINED_VALID 2
/* How many handlers were taken through to their rfi in assembly, with the entry that they wrote; never set back. */
#define WORLD_COMMITS(n) (2552 + 4 * (n))
/* Where the shadow PID of the kernel's one context is: a byte, 0 if it has none, or if these paths are not to be used.
 */
#define WORLD_KERNEL_PID_AT 2560
/* SURVIVING_MSR, and all bits but those that the quick rfi may load. */
#define WORLD_SURVIVING_MSR 2564
#define WORLD_SLOW_MSR 2568
/* Of ppc::Walk: their address, which fields the handler reads (bytes from World on), and what it has read so far. */
#define WORLD_WALKS 2704
#define WORLD_WALK_FIELD(n) (2708 + 4 * (n))
#define WORLD_WALK_READS 2720
#define WORLD_WALK_READ(n) (WORLD_WALK_READS + 4 + 8 * (n))
/* How often one was used; never set back. And the one that is being used. */
#define WORLD_RECALLS 2764
#define WORLD_WALK 2768
/* Late entries (world_entry.inc): how many, since which number of recalls there may be any, and which. */
#define WORLD_LATE_COUNT 2772
#define WORLD_LATE_FROM 2776
#define WORLD_LATE 2780
/* Not 0: some Walk may have been kept. */
#define WORLD_WALKS_KEPT 2844
/* By three bits of their address, rfi instructions of the guest's kernel that nothing can change unseen; and one that
 * was not among them. */
#define WORLD_RFI(n) (2860 + 4 * (n))
#define WORLD_RFI_SEEN 2892
/* KnownSearch; and a tlbsx that was emulated. */
#define WORLD_SEARCH 2896
#define WORLD_SEARCH_RT 2900
#define WORLD_SEARCH_RA 2904
#define WORLD_SEARCH_RB 2908
#define WORLD_SEARCH_MISSED 2912
#define WORLD_SEARCH_FOUND 2916
/* Where a handler goes on whose recall was declined. */
#define WORLD_DECLINED 2848
#define LATE_LIMIT 64
#define LATE_AFTER 16
#define WALK_SHIFT 6
#define WALK_BITS 9
#define WALK_INPUT(n) (4 + 4 * (n))
#define WALK_READ(n) (16 + 8 * (n))
#define WALK_WORD(n) (48 + 4 * (n))
#define WALK_HOST(n) (56 + 4 * (n))
#define WALK_SAMPLE 1
#define REPEATS_FIELD 0xF00
#define REPEATS_ONE 0x100
/* log2 of the bytes around WORLD_ARENA that are stubs and windows. */
#define ARENA_SHIFT 20
/* Rows of the kernel's accesses to a process: entries of the table; see kernel_access.cpp. */
#define LONG_RUNS 64
#define ROW_LIMIT 4
#define NEARBY_DATA 32
#define NEARBY_CODE 64
/* The number by which such a handler leaves to the C++ side, as an interrupt does. */
#define HANDLER_LEFT 16
/* ppc::handler_exit::words */
#define HANDLER_WORDS 7
/* ppc::handler_exit::fetch */
#define HANDLER_FETCH 32
#define HANDLER_FETCH_SHIFT 5
/* The alignment of CpuState. */
#define WORLD_BYTES 4096

/* struct CpuState */
#define WORLD_GPR(n) (WORLD_BYTES + 4 * (n))
#define WORLD_PC WORLD_GPR(32)
#define WORLD_LR WORLD_GPR(33)
#define WORLD_CTR WORLD_GPR(34)
#define WORLD_RESERVE_VALID (WORLD_BYTES + 208)
#define WORLD_IVPR (WORLD_BYTES + 488)
#define WORLD_IVOR(n) (WORLD_BYTES + 492 + 4 * (n))
/* struct StatePage in it */
#define WORLD_PAGE (WORLD_BYTES + 4096)
#define WORLD_MSR (WORLD_PAGE + 0)
#define WORLD_PENDING (WORLD_PAGE + 4)
#define WORLD_SRR0 (WORLD_PAGE + 8)
#define WORLD_SRR1 (WORLD_PAGE + 12)
#define WORLD_DEAR_PAGE (WORLD_PAGE + 32)
#define WORLD_ESR_PAGE (WORLD_PAGE + 36)
#define WORLD_PID (WORLD_PAGE + 40)
#define WORLD_MMUCR (WORLD_PAGE + 44)
#define WORLD_LIVE_PID (WORLD_PAGE + 112)
/* Registers that the stub of an access has saved, and where its context sees the first. */
#define WORLD_ACCESS_SLOT(n) (WORLD_PAGE + 88 + 4 * (n))
#define ACCESS_SLOT_LOW 0xF058
/* SPRG4-7, which a guest reads without a trap under their user numbers. */
#define WORLD_SPRG4 (WORLD_PAGE + 64)

/* Exit reasons counted in assembly: numbers of enum class ExitReason. */
#define EXIT_ITLB_REAL 3
#define EXIT_ITLB_VIRT 4
#define EXIT_DTLB_VIRT 6
#define EXIT_DTLB_REAL 5
#define EXIT_SYSCALL 7
#define EXIT_DSI 9
#define EXIT_EMUL_TLBSX 17
#define EXIT_EMUL_RFI 18

/*
 * MSR of a running guest: problem state, address space 1, host interrupts on. Critical interrupts wait for the next
 * exit: their vectors would have to cope with being taken inside the world switch.
 */
#define RUN_MSR_HIGH 0x0000
#define RUN_MSR_LOW 0xD030
/* mmu::GuestTlb's sets of candidates: by 4 KB page, then by 256 MB of address space; 64 bits each. */
#define TLB_SETS_PAGES 128
#define TLB_SET_BYTES 8
/* Its entries: log2 of their distance in bytes, and where in them a key and a mask say what they translate. */
#define TLB_SLOT_SHIFT 5
#define TLB_SLOT_MATCH 16
/* Masks of what is compared in a page of 4 KB, for any PID and for one; what the 440 keeps of word 2. */
#define TLB_MATCH_ANY -0xF00
#define TLB_MATCH_TID -0xE01
#define TLB_WORD2 0xFFBF
/* In an entry: log2 of the page's size and a byte that is 1 for what is usual, the two as one number; its bit in a set.
 */
#define TLB_SLOT_KIND 24
#define TLB_KIND_SMALL (12 << 8)
#define TLB_KIND_USUAL (TLB_KIND_SMALL + 1)
#define TLB_SLOT_BIT 28
/* And in the world switch alone, of an entry that is in no set although it is usual: it counts as one of no use. */
#define TLB_KIND_LATE 2
/* From the sets: those by 256 MB that all entries are in, the count of changes, and a byte for each 16 MB. */
#define TLB_SEGMENTS (8 * 144)
#define TLB_VERSION (TLB_SEGMENTS + 8 * 16)
#define TLB_LARGE (TLB_VERSION + 4)
#define TLB_LARGE_SHIFT 24
/* ShadowTlb::Entry: log2 of the bytes, and where behind its owner the number of the guest's entry is. */
#define SHADOW_SLOTS 64
#define SHADOW_SLOT_SHIFT 3
#define SHADOW_SLOT_INDEX 4
/* In ShadowTlb, from slot 0 on: what is free, how many slots guests have, which one is next. */
#define SHADOW_FREE 2560
#define SHADOW_LIMIT 2568
#define SHADOW_NEXT 2572
/* ShadowContexts::Links of what has no mapping, and of what is not for the world switch. */
#define NO_LINK 64
#define OTHER_LINK 65
/* Bits of ESR that a data TLB error has: ST and FP. */
#define ESR_DATA_HIGH 0x0180
/* Bits of a guest's MSR that survive a non-critical interrupt: CE, ME, DE. */
#define SURVIVING_MSR_HIGH 0x0002
#define SURVIVING_MSR_LOW 0x1200
/* Bits of an MSR that the quick rfi leaves to the run loop: WE, DE, DWE, IS, DS; and those that there are not. */
#define SLOW_MSR_HIGH 0x0004
#define SLOW_MSR_LOW 0x0630

/* The guest's vectors: a page-aligned block of this size whose address is the IVPR while a guest runs. */
#define VECTORS_BYTES 0x10000
/* In it: the shared code behind the vectors, and the address of the current struct World. */
#define VECTORS_SHADOW_TLB 0x8000 /* class ShadowTlb, pinned with it */
#define VECTORS_HANDLER 0x9000    /* the code of a handler for misses of data, while there is one */
#define VECTORS_RETURN 0xA000     /* untrap_handler_return, and the end of the stack that it runs on */
#define VECTORS_STACK 0xBFE0
#define VECTORS_CODE 0xC000
#define VECTORS_WORLD 0xFFF0
/* One vector; the 440's smallest distance between two that Linux uses is 64 bytes. */
#define VECTOR_BYTES 64

#endif
