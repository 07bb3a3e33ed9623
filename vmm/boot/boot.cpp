// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/boot.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <span>

#include "vmm/boot/input_file.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/boot/layout.h"
#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t round_down(std::uint64_t value) { return value & ~(page - 1); }

// Linux on a 44x maps at most this much of the memory permanently; an initrd must lie inside.
constexpr std::uint64_t linux_lowmem_bytes = std::uint64_t{768} << 20;

// Where `qemu -M bamboo` starts the stack.
constexpr std::uint64_t boot_stack_top = std::uint64_t{16} << 20;

void put(const GuestMemory& memory, std::uint64_t gpa, std::span<const std::uint8_t> bytes) {
    if (!memory.initialise(gpa, bytes)) {
        throw Error(fmt::format("{} bytes at 0x{:08x} are outside guest memory", bytes.size(), gpa));
    }
}

std::vector<std::uint8_t> device_tree_file(const std::string& path) {
    const FileBuffer file = read_input_file("device tree", path, largest_device_tree);
    return {file.bytes().begin(), file.bytes().end()};
}

} // namespace

BootRegisters boot_guest(const BootFiles& files, MachineDescription machine, const GuestMemory& memory) {
    const std::uint64_t memory_bytes = machine.memory_bytes;
    MemoryLayout layout(memory_bytes);

    const KernelImage kernel = read_kernel(files.kernel, memory_bytes);
    for (const KernelSegment& segment : kernel.segments) layout.claim(kernel.name, segment.gpa, segment.memory_bytes);

    if (kernel.entry >= initial_mapping_bytes) {
        throw Error(fmt::format("{}: its entry point 0x{:08x} is beyond the first {} MiB, all that is mapped at reset",
                                kernel.name, kernel.entry, initial_mapping_bytes >> 20));
    }

    // The initrd goes as high as the kernel can still see it, the device tree below it and inside the initial
    // mapping: both far from a kernel that clears its own bss before it looks at either.
    machine.initrd.reset();
    std::uint64_t free_end = std::min(memory_bytes, linux_lowmem_bytes);
    if (!files.initrd.empty()) {
        const FileBuffer file = read_input_file("initrd", files.initrd, free_end);
        const std::span<const std::uint8_t> initrd = file.bytes();
        free_end = round_down(free_end - initrd.size());
        layout.claim("initrd " + files.initrd, free_end, initrd.size());
        machine.initrd = MemoryRange{free_end, initrd.size()};
        put(memory, free_end, initrd);
    }

    const bool own = files.device_tree.empty();
    const std::string tree_name = own ? "device tree" : "device tree " + files.device_tree;
    const std::vector<std::uint8_t> tree =
        own ? make_device_tree(machine) : adapt_device_tree(tree_name, device_tree_file(files.device_tree), machine);
    const std::uint64_t tree_end = std::min<std::uint64_t>(free_end, initial_mapping_bytes);
    if (tree.size() > tree_end) {
        throw Error(fmt::format("{}: its {} bytes do not fit below 0x{:08x}", tree_name, tree.size(), tree_end));
    }
    const std::uint64_t tree_at = round_down(tree_end - tree.size());
    layout.claim(tree_name, tree_at, tree.size());
    put(memory, tree_at, tree);

    for (const KernelSegment& segment : kernel.segments) put(memory, segment.gpa, segment.file_bytes);

    return {.pc = kernel.entry,
            .r1 = static_cast<std::uint32_t>(std::min(boot_stack_top, memory_bytes) - 8),
            .r3 = static_cast<std::uint32_t>(tree_at),
            .r6 = epapr_magic,
            .r7 = initial_mapping_bytes};
}

} // namespace untrap::vmm
