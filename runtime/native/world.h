// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/native/world_layout.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::native {

// What the world switch (kmod/world_switch.S) reads and writes, directly before the vCPU's CpuState. The guest's
// registers go straight into CpuState but for CR and XER, which keep the CPU's format here until the core needs them.
// Lies in memory that the host's pinned TLB entries cover: guest vectors run without any other mapping.
struct World {
    std::uint32_t run_msr = 0;    // MSR to run the guest with: problem state, address space 1
    std::uint32_t shadow_pid = 0; // PID register to run the guest with
    std::uint32_t cr = 0, xer = 0;
    std::uint32_t word = 0; // the instruction, after a program interrupt
    std::uint32_t esr = 0, dear = 0;
    std::uint32_t vector = 0; // the interrupt that ended guest execution, isa::Interrupt
    std::uint32_t host_r1 = 0, host_r2 = 0, host_pid = 0, host_msr = 0;
    std::uint32_t host_ivpr = 0, guest_ivpr = 0;
    std::uint32_t exit = 0;      // function called with the host's world restored: untrap_world_exit
    std::uint32_t attention = 0; // not 0: the run loop has to look at something before the guest goes on
    std::uint32_t ticks = 0;     // timebase (low word) when the guest was left, while exit timing is on
    std::uint32_t reserved[15] = {};
};

#define UNTRAP_AT(member, offset) static_assert(offsetof(World, member) == (offset))
UNTRAP_AT(run_msr, WORLD_RUN_MSR);
UNTRAP_AT(shadow_pid, WORLD_SHADOW_PID);
UNTRAP_AT(cr, WORLD_CR);
UNTRAP_AT(xer, WORLD_XER);
UNTRAP_AT(word, WORLD_WORD);
UNTRAP_AT(esr, WORLD_ESR);
UNTRAP_AT(dear, WORLD_DEAR);
UNTRAP_AT(vector, WORLD_VECTOR);
UNTRAP_AT(host_r1, WORLD_HOST_R1);
UNTRAP_AT(host_r2, WORLD_HOST_R2);
UNTRAP_AT(host_pid, WORLD_HOST_PID);
UNTRAP_AT(host_msr, WORLD_HOST_MSR);
UNTRAP_AT(host_ivpr, WORLD_HOST_IVPR);
UNTRAP_AT(guest_ivpr, WORLD_GUEST_IVPR);
UNTRAP_AT(exit, WORLD_EXIT);
#undef UNTRAP_AT
static_assert(sizeof(World) == WORLD_BYTES);

static_assert(offsetof(isa::CpuState, gpr) + WORLD_BYTES == WORLD_GPR(0));
static_assert(offsetof(isa::CpuState, pc) + WORLD_BYTES == WORLD_PC);
static_assert(offsetof(isa::CpuState, lr) + WORLD_BYTES == WORLD_LR);
static_assert(offsetof(isa::CpuState, ctr) + WORLD_BYTES == WORLD_CTR);
static_assert(offsetof(isa::CpuState, page) + offsetof(isa::StatePage, sprg) + 16 + WORLD_BYTES == WORLD_SPRG4 ||
              sizeof(void*) != 4); // CpuState holds pointers before it

} // namespace untrap::runtime::native
