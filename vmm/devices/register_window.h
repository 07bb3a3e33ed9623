// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "runtime/kvm/untrap_abi.h"

namespace untrap::vmm {

/// What the host may do about a device's eight byte registers without asking the device. Without a block nobody looks.
class RegisterWindow {
  public:
    using Values = std::array<std::uint8_t, abi::untrap_block_registers>;

    RegisterWindow() = default;
    explicit RegisterWindow(abi::UntrapRegisterBlock& block) : block_(&block) {}

    /// `loads`, a bit for each register: a load gives its value and has no effect. `exits`: stores come to the device
    /// at once. `keeps`: one of the value that is there does nothing. The vCPU may be running: it sees each register as
    /// it was or as it is.
    void set(std::uint8_t loads, const Values& values, std::uint8_t exits, std::uint8_t keeps) {
        if (block_ == nullptr) return;
        std::atomic_ref(block_->exits).store(exits, std::memory_order_release);
        block_->keeps = keeps; // changes with the device's kind alone
        const std::atomic_ref known(block_->loads);
        known.store(known.load(std::memory_order_relaxed) & loads, std::memory_order_release);
        for (unsigned i = 0; i < values.size(); ++i) {
            if ((loads >> i & 1) != 0) std::atomic_ref(block_->values[i]).store(values[i], std::memory_order_release);
        }
        known.store(loads, std::memory_order_release);
    }

  private:
    abi::UntrapRegisterBlock* block_ = nullptr;
};

} // namespace untrap::vmm
