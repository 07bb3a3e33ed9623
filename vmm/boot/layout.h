// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace untrap::vmm {

// Who owns which part of the guest's memory at boot. Nothing may overlap or leave the memory.
class MemoryLayout {
  public:
    explicit MemoryLayout(std::uint64_t memory_bytes) : memory_bytes_(memory_bytes) {}

    // Takes [gpa, gpa + bytes) for `name`; bytes is not 0. Throws Error that names both owners and their
    // addresses when the range is taken in part, or the memory's end when it leaves the memory.
    void claim(const std::string& name, std::uint64_t gpa, std::uint64_t bytes);

  private:
    struct Range {
        std::string name;
        std::uint64_t gpa;
        std::uint64_t bytes;
    };

    std::uint64_t memory_bytes_;
    std::vector<Range> ranges_;
};

} // namespace untrap::vmm
