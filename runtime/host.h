// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace untrap::runtime {

// What the core asks of the host it runs on.
class Host {
  public:
    // Monotonic host time in timebase ticks (timebase_hz).
    virtual std::uint64_t now() = 0;
    // A guest did something unusual that its owner should know: one line, without a newline.
    virtual void warn(const char* message, std::uint32_t pc, std::uint32_t word) = 0;
    // Sleeps until the tick count `until` of now() is reached or an interrupt line, stop request or kick arrives.
    // UINT64_MAX: no time limit.
    virtual void wait(std::uint64_t until) = 0;

    // Called by the vCPU's thread before each slice of guest execution, after the interrupt lines have been read: the
    // place to tell the engine of memory written by others.
    virtual void between_slices() {}

  protected:
    ~Host() = default;
};

} // namespace untrap::runtime
