// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <functional>
#include <utility>

namespace untrap::vmm {

/// One interrupt wire, driven by exactly one source. The sink hears of changes only, never of a repeated level.
/// "Raised" means asserted, whatever the electrical polarity; the wire starts lowered.
class IrqLine {
  public:
    using Sink = std::function<void(bool asserted)>;

    IrqLine() = default; ///< not connected: changes are remembered and heard by nobody
    explicit IrqLine(Sink sink) : sink_(std::move(sink)) {}
    IrqLine(IrqLine&&) = default;
    IrqLine& operator=(IrqLine&&) = default;

    void set(bool asserted) {
        if (asserted == asserted_) return;
        asserted_ = asserted;
        if (sink_) sink_(asserted);
    }
    void raise() { set(true); }
    void lower() { set(false); }
    bool asserted() const { return asserted_; }

  private:
    Sink sink_;
    bool asserted_ = false;
};

} // namespace untrap::vmm
