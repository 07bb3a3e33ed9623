// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/devices/board_map.h"

namespace untrap::vmm {

struct MemoryRange {
    std::uint64_t gpa;
    std::uint64_t bytes;
};

// What differs from one machine to the next.
struct MachineDescription {
    std::uint64_t memory_bytes; // from address 0, at most 4 GiB less a page
    std::string command_line;
    std::optional<MemoryRange> initrd;
    std::vector<board::MmioSlot> virtio; // slots with a device behind them
    std::uint32_t timebase_hz;           // also the CPU clock: a 440's timebase counts CPU cycles
};

// Most bytes of a command line that reach a PowerPC kernel (COMMAND_LINE_SIZE less the final zero).
inline constexpr std::size_t longest_command_line = 2047;

// Largest device tree blob accepted or made, in bytes.
inline constexpr std::uint64_t largest_device_tree = std::uint64_t{1} << 20;

// The Bamboo's flattened device tree. Throws Error when the command line is too long.
std::vector<std::uint8_t> make_device_tree(const MachineDescription& machine);

// What makes a blob unsound, as libfdt's negative error number; 0 for a sound one: after this libfdt's functions can be
// used on it. Takes any bytes that start at an 8-byte boundary. (fdt_check_full() would do, but is not in every libfdt:
// the kernel's, which a program for a 440 host is linked with, has none.)
int device_tree_error(std::span<const std::uint8_t> blob);

// A user's blob, checked and brought up to date: memory size, initrd, command line, CPU and timebase frequency, and
// clock frequencies that the blob leaves at 0 for a boot loader to fill in. Nothing else is touched: devices that the
// blob does not mention stay unknown to the guest. Throws Error, naming the blob as `name`.
std::vector<std::uint8_t> adapt_device_tree(const std::string& name, const std::vector<std::uint8_t>& blob,
                                            const MachineDescription& machine);

} // namespace untrap::vmm
