// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "translator/x64/block.h"

namespace untrap::x64 {

// A value for each instruction of a block, of no value before one is assigned: most blocks are a few instructions long,
// and to prepare for as many as there may be takes as long as translating some.
template <typename T>
class PerInstruction {
  public:
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

    PerInstruction() {} // NOLINT(modernize-use-equals-default): that would set all bytes to zero where it is asked to
    T& operator[](std::size_t i) { return reinterpret_cast<T*>(bytes_)[i]; }
    const T& operator[](std::size_t i) const { return reinterpret_cast<const T*>(bytes_)[i]; }
    // As made by default, all of them.
    void reset() {
        static const std::array<T, max_block_instructions> made{};
        std::memcpy(bytes_, made.data(), sizeof(bytes_));
    }

  private:
    alignas(T) std::byte bytes_[sizeof(T) * max_block_instructions];
};

} // namespace untrap::x64
