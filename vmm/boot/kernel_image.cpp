// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/kernel_image.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <optional>
#include <utility>

#include "vmm/boot/elf32.h"
#include "vmm/boot/input_file.h"
#include "vmm/boot/uimage.h"
#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

// A vmlinux with debug information is much larger than what it loads.
constexpr std::uint64_t largest_kernel_file = std::uint64_t{1} << 30;

// An entry point is a virtual address in a vmlinux (0xC0000000) and a physical one in kernels linked at 0.
std::optional<std::uint32_t> physical_entry(std::span<const ElfSegment> segments, std::uint32_t entry) {
    for (const ElfSegment& segment : segments) {
        const std::uint32_t offset = entry - segment.virtual_address;
        if (entry >= segment.virtual_address && offset < segment.memory_bytes) return segment.physical_address + offset;
    }
    for (const ElfSegment& segment : segments) {
        if (entry >= segment.physical_address && entry - segment.physical_address < segment.memory_bytes) return entry;
    }
    return std::nullopt;
}

void load_elf(KernelImage& image, std::span<const std::uint8_t> bytes, std::uint64_t memory_bytes) {
    const Elf32 elf(image.name, bytes);
    const std::vector<ElfSegment> segments = elf.segments();
    for (const ElfSegment& segment : segments) {
        const std::uint64_t end = std::uint64_t{segment.physical_address} + segment.memory_bytes;
        if (end > memory_bytes) {
            throw Error(fmt::format("{}: its segment at 0x{:08x}-0x{:08x} does not fit in the memory of {} MiB",
                                    image.name, segment.physical_address, end - 1, memory_bytes >> 20));
        }
        image.segments.push_back({segment.physical_address, segment.memory_bytes, segment.file_bytes});
    }
    const std::optional<std::uint32_t> entry = physical_entry(segments, elf.entry());
    if (!entry) {
        throw Error(fmt::format("{}: its entry point 0x{:08x} is in none of its segments", image.name, elf.entry()));
    }
    image.entry = *entry;
}

void load(KernelImage& image, std::span<const std::uint8_t> bytes, std::uint64_t memory_bytes) {
    if (Elf32::looks_like_elf(bytes)) {
        load_elf(image, bytes, memory_bytes);
    } else if (looks_like_uimage(bytes)) {
        UImage unpacked = read_uimage(image.name, bytes, memory_bytes);
        image.payload = std::move(unpacked.payload);
        image.entry = unpacked.entry;
        image.segments.push_back(
            {unpacked.load_address, static_cast<std::uint32_t>(image.payload.size()), image.payload});
    } else {
        const std::size_t shown = std::min<std::size_t>(bytes.size(), 4);
        throw Error(fmt::format("{}: neither an ELF nor a uImage; it starts with {:02x}", image.name,
                                fmt::join(bytes.begin(), bytes.begin() + static_cast<long>(shown), " ")));
    }
    if (image.entry % 4 != 0) {
        throw Error(fmt::format("{}: its entry point 0x{:08x} is not a multiple of 4", image.name, image.entry));
    }
}

KernelImage named(const std::string& path) {
    return {.name = "kernel " + path, .entry = 0, .segments = {}, .file = {}, .payload = {}};
}

} // namespace

KernelImage parse_kernel(const std::string& path, std::vector<std::uint8_t> bytes, std::uint64_t memory_bytes) {
    KernelImage image = named(path);
    image.file = FileBuffer(bytes.size());
    std::ranges::copy(bytes, image.file.bytes().begin());
    load(image, image.file.bytes(), memory_bytes);
    return image;
}

KernelImage read_kernel(const std::string& path, std::uint64_t memory_bytes) {
    KernelImage image = named(path);
    image.file = read_input_file("kernel", path, largest_kernel_file);
    load(image, image.file.bytes(), memory_bytes);
    return image;
}

} // namespace untrap::vmm
