// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

namespace untrap::mmu {

// Maps guest contexts to shadow PIDs. With the guest in AS=1 the whole PID space is the guest's, so that user and
// supervisor contexts of many guest processes live side by side and neither a guest PID change nor a change of mode
// costs a flush. A key is whatever tells contexts apart (guest PID, mode, address space); keys are below 2^31.
template <unsigned Count>
class ShadowPids {
  public:
    struct Assignment {
        unsigned pid;
        bool fresh; // the shadow PID meant something else before: its shadow entries must go
    };

    Assignment assign(std::uint32_t key) {
        ++clock_;
        unsigned oldest = 0;
        for (unsigned pid = 0; pid < Count; ++pid) {
            Use& use = uses_[pid];
            if (use.key == key) {
                use.last = clock_;
                return {pid, false};
            }
            if (use.last < uses_[oldest].last) oldest = pid;
        }
        uses_[oldest] = {key, clock_};
        return {oldest, true};
    }
    void clear() { uses_.fill(Use{}); }

  private:
    static constexpr std::uint32_t no_key = 0xFFFFFFFF;
    struct Use {
        std::uint32_t key = no_key;
        std::uint64_t last = 0;
    };
    std::array<Use, Count> uses_{};
    std::uint64_t clock_ = 0;
};

} // namespace untrap::mmu
