// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// Between the guests of guest/ and the programs that run them: device control registers.

#define DCR_DONE 0x3F0
#define DCR_TEXT 0x3F1   // written: the address of a text that is a result, `ok NAME` or `not ok NAME: WHY`
#define DCR_VALUE 0x3F2  // written before: a number for it
#define DCR_SIGNAL 0x3F3 // written: what the other side shall do

// Read: MMIO exits since the last look, and the address of the last one.
#define DCR_MMIO_LOADS 0x3F4
#define DCR_MMIO_STORES 0x3F5
#define DCR_MMIO_ADDRESS 0x3F6      // low 32 bits
#define DCR_MMIO_ADDRESS_HIGH 0x3F7 // the others
// What a device load answers.
#define MMIO_PATTERN(address) ((uint32_t)(address) ^ 0xA5C3F00Du)

// Isolation: the memory of its VM.
#define ISOLATION_MEMORY 0x00400000u    // from 0
#define ISOLATION_READ_ONLY 0x01000000u // 64 KB that can only be read, each word its own real address
#define ISOLATION_READ_ONLY_BYTES 0x10000u

// Patching: a byte to the serial port's scratch register, which the machine itself keeps to itself: a page is about to
// be mapped over a place of stubs; it is mapped.
#define PATCHING_BEFORE 1
#define PATCHING_MAPPED 2

// Patching: the argument that makes it write over the end of the address space.
#define PATCHING_SCRIBBLE 0x5C21BB1Eu
// And the one that says that QEMU is the host of a patching hypervisor: its 440 has no pages below 4 KB, so a kernel
// finds the rest of the state page's too.
#define PATCHING_IN_QEMU 0x4B4B4B4Bu

// Conversation: what DCR_SIGNAL asks for.
#define SIGNAL_INTERRUPT_SOON 1 // level interrupt from another thread in 10 ms
#define DEVICE_REAL 0xEF600000ull
#define DEVICE_UART 0x300
#define DEVICE_STATUS 0x400 // load: number of the interrupt; store: its end
