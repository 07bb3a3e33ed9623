// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/layout.h"

#include <fmt/format.h>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {

void MemoryLayout::claim(const std::string& name, std::uint64_t gpa, std::uint64_t bytes) {
    if (gpa > memory_bytes_ || bytes > memory_bytes_ - gpa) {
        throw Error(fmt::format("{} (0x{:08x}-0x{:08x}) does not fit below the end of memory (0x{:08x})", name, gpa,
                                gpa + bytes - 1, memory_bytes_));
    }
    for (const Range& range : ranges_) {
        if (gpa < range.gpa + range.bytes && range.gpa < gpa + bytes) {
            throw Error(fmt::format("{} (0x{:08x}-0x{:08x}) and {} (0x{:08x}-0x{:08x}) overlap in guest memory",
                                    range.name, range.gpa, range.gpa + range.bytes - 1, name, gpa, gpa + bytes - 1));
        }
    }
    ranges_.push_back({name, gpa, bytes});
}

} // namespace untrap::vmm
