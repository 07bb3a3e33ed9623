// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/memory/file_buffer.h"

namespace untrap::vmm {

// A piece of guest memory that a kernel image fills: file bytes, then zeros.
struct KernelSegment {
    std::uint32_t gpa;
    std::uint32_t memory_bytes;
    std::span<const std::uint8_t> file_bytes;
};

// A kernel as it goes into guest memory: a vmlinux ELF, or the payload of a uImage.
struct KernelImage {
    std::string name;                    // "kernel PATH", for messages
    std::uint32_t entry;                 // physical, inside a segment, a multiple of 4
    std::vector<KernelSegment> segments; // refer to one of the following, lie inside the memory
    FileBuffer file;
    std::vector<std::uint8_t> payload; // of a uImage
};

// Reads and checks the kernel at `path` for a guest with `memory_bytes` of memory at 0. Throws Error.
KernelImage read_kernel(const std::string& path, std::uint64_t memory_bytes);

// The same for bytes already read.
KernelImage parse_kernel(const std::string& path, std::vector<std::uint8_t> bytes, std::uint64_t memory_bytes);

} // namespace untrap::vmm
