// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <atomic>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>

#include "vmm/machine/board.h"
#include "vmm/machine/console.h"
#include "vmm/machine/options.h"
#include "vmm/machine/stop_request.h"

namespace untrap::vmm {

// Guards all devices. Timed, so that the I/O thread can see signals and the deadline while the vCPU thread holds it in
// a blocking write.
using MachineLock = std::timed_mutex;

// Serves everything that is not the vCPU: typed input, network backends, console flushing, the run's deadline, and the
// signals that end a run (SIGINT, SIGTERM, SIGHUP, SIGQUIT). While it lives those are blocked in the constructing
// thread, and StopRequest::kick_signal has an empty handler there.
class IoThread {
  public:
    // Throws Error when the host lacks descriptors.
    IoThread(Board& board, MachineLock& lock, ConsoleOutput& console, StopRequest& stop, const RunOptions& options);
    // Ends the thread. Call from the thread that constructed it.
    ~IoThread();
    IoThread(const IoThread&) = delete;
    IoThread& operator=(const IoThread&) = delete;

    // What went wrong when the stop cause is io_failed.
    std::string failure() const;

  private:
    void loop();
    void round();
    // Waits for the lock, serving what ends a run meanwhile.
    std::unique_lock<MachineLock> take_lock();
    void check_stop_sources();
    void read_input(); // machine lock held
    void wake() const;
    void release();

    Board& board_;
    MachineLock& lock_;
    ConsoleOutput& console_;
    StopRequest& stop_;
    bool input_open_;
    KeyFilter keys_;
    int wake_fd_ = -1;
    int signal_fd_ = -1;
    int deadline_fd_ = -1;
    std::atomic<bool> finish_{false};
    mutable std::mutex failure_mutex_;
    std::string failure_;
    sigset_t former_mask_{};
    struct sigaction former_kick_ {};
    std::thread thread_;
};

} // namespace untrap::vmm
