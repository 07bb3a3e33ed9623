// SPDX-License-Identifier: GPL-2.0-only
// The rfi of a compiled TLB-miss handler, which the world switch calls while the guest's vectors are in place. All of
// this file's code is one function in a section of its own, which untrap_core_load copies to where a pinned TLB entry
// maps it: it must need nothing else (tests/core_cross looks for relocations).
#include "kmod/core_vm.h"
#include "runtime/native/handler_return.h"

using untrap::runtime::native::NativeVcpu;
using untrap::runtime::native::ShadowTlb;
using untrap::runtime::native::World;

#define UNTRAP_HERE ".section .text.untrap_handler_return,\"ax\",@progbits\n\t"

asm(UNTRAP_HERE ".globl untrap_handler_return_begin\nuntrap_handler_return_begin:\n\t.previous");

// r3, r4 as the ABI has them; the stack is that of the vectors block.
extern "C" [[gnu::section(".text.untrap_handler_return"), gnu::no_reorder]] unsigned
untrap_handler_return(World* world, unsigned flags) {
    NativeVcpu& vcpu = *reinterpret_cast<NativeVcpu*>(world);
    const auto write = [](const ShadowTlb::Mapping& mapping, unsigned slot) {
        // The TID comes from MMUCR. The rfi that follows synchronises.
        asm volatile("mtspr 0x3B2,%4\n\ttlbwe %0,%3,0\n\ttlbwe %1,%3,1\n\ttlbwe %2,%3,2"
                     :
                     : "r"(mapping.word0), "r"(mapping.word1), "r"(mapping.word2), "r"(slot),
                       "r"(std::uint32_t{mapping.pid})
                     : "memory");
    };
    return vcpu.engine.return_from_handler(flags, write) ? 1 : 0;
}

asm(UNTRAP_HERE ".globl untrap_handler_return_end\nuntrap_handler_return_end:\n\t.previous");
