// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace untrap::runtime::soft {

// Where generated code goes on after a fault of the host at code; nullptr: the fault is none of its.
using ResumeAfterFault = const std::uint8_t* (*)(void* engine, const std::uint8_t* code);

// While one exists, faults (SIGSEGV) of the thread that made it are first offered to `resume`, once the handler for
// them is in place.
class HostFaults {
  public:
    HostFaults(ResumeAfterFault resume, void* engine);
    ~HostFaults();
    HostFaults(const HostFaults&) = delete;
    HostFaults& operator=(const HostFaults&) = delete;

    // Puts the process's handler in place, if it is not. All that it does not resume goes to the one that was there
    // before. Who changes the handler later sees to it that faults of generated code still reach this one. False: the
    // host refuses.
    static bool install();

  private:
    const ResumeAfterFault outer_resume_;
    void* const outer_engine_;
};

} // namespace untrap::runtime::soft
