// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>
#include <thread>

namespace untrap::vmm {

/// Has the host find the pages of guest memory that a booting Linux will use, on a CPU of its own and while the VM is
/// still being made: each page that the guest touched first would cost its vCPU a fault of the host. A wish only, and
/// nothing that a guest sees.
class Prefault {
  public:
    /// ram: the guest's memory from address 0 on, which stays until this object is gone. kernel_bytes: the size of its
    /// image, packed or not; small ones are no Linux.
    Prefault(std::span<std::uint8_t> ram, std::uint64_t kernel_bytes);

  private:
    std::jthread worker_; // asked to stop, and waited for, by its destructor
};

} // namespace untrap::vmm
