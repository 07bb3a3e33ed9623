// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/boot/device_tree.h"
#include "vmm/memory/guest_memory.h"

namespace untrap::vmm {

// What the user wants booted.
struct BootFiles {
    std::string kernel;      // path
    std::string initrd;      // path, empty for none
    std::string device_tree; // path, empty for the built-in one
};

// CPU registers at the kernel's first instruction, as ePAPR has them. The mapping of the first
// initial_mapping_bytes, effective address 0 to physical 0, is part of a vCPU's reset state.
struct BootRegisters {
    std::uint32_t pc;
    std::uint32_t r1;
    std::uint32_t r3; // physical address of the device tree
    std::uint32_t r6;
    std::uint32_t r7; // bytes of the initial mapping
};

inline constexpr std::uint32_t epapr_magic = 0x45504150; // "EPAP"
inline constexpr std::uint32_t initial_mapping_bytes = 256u << 20;

// Reads kernel, initrd and device tree and puts them into guest memory, whose first region is the RAM at 0.
// `machine` gives the command line, virtio slots and timebase; its initrd is ignored. Throws Error with one line for
// any file that is unusable and for everything that does not fit or overlaps.
BootRegisters boot_guest(const BootFiles& files, MachineDescription machine, const GuestMemory& memory);

} // namespace untrap::vmm
