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
#define WORLD_BYTES 128

#define WORLD_GPR(n) (WORLD_BYTES + 4 * (n))
#define WORLD_PC WORLD_GPR(32)
#define WORLD_LR WORLD_GPR(33)
#define WORLD_CTR WORLD_GPR(34)
/* struct StatePage: SPRG4-7, which a guest reads without a trap under their user numbers. */
#define WORLD_SPRG4 (WORLD_BYTES + 320)

/* The guest's vectors: a page-aligned block of this size whose address is the IVPR while a guest runs. */
#define VECTORS_BYTES 0x10000
/* In it: the shared code behind the vectors, and the address of the current struct World. */
#define VECTORS_CODE 0xE000
#define VECTORS_WORLD 0xFFF0
/* One vector; the 440's smallest distance between two that Linux uses is 64 bytes. */
#define VECTOR_BYTES 64

#endif
