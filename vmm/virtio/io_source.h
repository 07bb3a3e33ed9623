// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <poll.h>

#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace untrap::vmm {

/// A backend that waits for file descriptors or timers. One I/O thread serves all of them:
///
///     lock; for each source: fill(...); unlock; poll(all, timeout); lock; for each source: ready(its slice); unlock
///
/// fill() and ready() come with the machine lock held, always in pairs, ready() even when nothing happened (timers).
class IoSource {
  public:
    virtual ~IoSource() = default;

    /// Appends what to wait for and lowers `timeout_ms` (-1: no limit so far) if a timer is due earlier.
    virtual void fill(std::vector<pollfd>& fds, int& timeout_ms) = 0;
    /// `fds`: exactly the entries that the preceding fill() of this source appended, with revents. When poll() failed
    /// or was interrupted all revents must be 0.
    virtual void ready(std::span<const pollfd> fds) = 0;

    /// `waker` makes the I/O thread leave poll() and start a new round; called with the machine lock held, often, so
    /// it should be cheap (an eventfd write).
    void set_waker(std::function<void()> waker) { waker_ = std::move(waker); }

  protected:
    void wake() const {
        if (waker_) waker_();
    }

  private:
    std::function<void()> waker_;
};

} // namespace untrap::vmm
