// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/host.h"

namespace untrap::runtime::native {

// What the 440 engine asks of Linux beside runtime::Host.
class NativeHost : public Host {
  public:
    // Interrupts on: lets the scheduler have the CPU. True: KVM_RUN shall end.
    virtual bool poll() = 0;
    // World::attention is set at this host tick, replacing what was asked before; UINT64_MAX: never.
    virtual void arm_timer(std::uint64_t until) = 0;
    // The host's own use of the FPU is saved and MSR[FP] is on; and off again. Interrupts are off.
    virtual void take_fpu() = 0;
    virtual void give_fpu() = 0;

    // Interrupts on: 2^shift bytes (12 to 20), aligned to their size and in the kernel's linear mapping; nullptr: none.
    virtual void* allocate(unsigned shift) = 0;
    virtual void release(void* block, unsigned shift) = 0;
    // The host real address of what lies in the linear mapping.
    virtual std::uint64_t real_of(const void* linear) = 0;

    // The host's address of such memory, where it is mapped whatever happens to the TLB; 0 where it is not.
    virtual std::uint32_t linear(const void* memory, std::uint32_t bytes) = 0;

    // Which tracepoints are on, and the tracepoints.
    static constexpr std::uint32_t traces_entry = 1, traces_exit = 2, traces_tlb = 4, traces_patch = 8;
    virtual std::uint32_t traces() = 0;
    virtual void trace_entry(std::uint32_t pc, std::uint32_t msr, std::uint32_t pid) = 0;
    virtual void trace_exit(unsigned reason, std::uint32_t pc, std::uint32_t word) = 0;
    // written: the entry came into the hardware TLB; otherwise all that was made from guest TLB entry `index` left it.
    // A site was patched by a means of this level, or its patch went.
    virtual void trace_patch(std::uint64_t real, std::uint32_t word, unsigned level, bool patched) = 0;
    virtual void trace_tlb(unsigned index, const std::uint32_t (&words)[3], unsigned pid, bool written) = 0;

  protected:
    ~NativeHost() = default;
};

} // namespace untrap::runtime::native
