// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/host_faults.h"

#include <signal.h>
#include <ucontext.h>

#include <mutex>

namespace untrap::runtime::soft {

namespace {

// Of the thread: the handler runs on the one that faults.
thread_local ResumeAfterFault current_resume = nullptr;
thread_local void* current_engine = nullptr;

struct sigaction earlier;

void handle(int number, siginfo_t* info, void* context) {
    // One that was sent, not caused, may find the thread anywhere.
    const bool caused = info->si_code > 0;
    auto& program_counter = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
    if (caused && current_resume != nullptr) {
        const auto* code = reinterpret_cast<const std::uint8_t*>(program_counter);
        if (const std::uint8_t* next = current_resume(current_engine, code)) {
            program_counter = reinterpret_cast<greg_t>(next);
            return;
        }
    }
    if ((earlier.sa_flags & SA_SIGINFO) != 0) {
        earlier.sa_sigaction(number, info, context);
    } else if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
        earlier.sa_handler(number);
    } else if (caused || earlier.sa_handler == SIG_DFL) { // a fault cannot be ignored
        // As if this handler had not been there: what faulted faults again, and the process ends by it.
        ::sigaction(number, &earlier, nullptr);
        if (!caused) ::raise(number);
    }
}

} // namespace

bool HostFaults::install() {
    static std::mutex mutex;
    const std::lock_guard guard(mutex);
    struct sigaction present {};
    if (::sigaction(SIGSEGV, nullptr, &present) != 0) return false;
    if ((present.sa_flags & SA_SIGINFO) != 0 && present.sa_sigaction == &handle) return true;
    earlier = present;
    struct sigaction action {};
    action.sa_sigaction = &handle;
    // The one before may want a stack of its own, to tell of an overflow of the usual one.
    action.sa_flags = SA_SIGINFO | SA_NODEFER | (present.sa_flags & SA_ONSTACK);
    sigemptyset(&action.sa_mask);
    return ::sigaction(SIGSEGV, &action, nullptr) == 0;
}

HostFaults::HostFaults(ResumeAfterFault resume, void* engine)
    : outer_resume_(current_resume), outer_engine_(current_engine) {
    current_engine = engine;
    current_resume = resume;
}

HostFaults::~HostFaults() {
    current_resume = outer_resume_;
    current_engine = outer_engine_;
}

} // namespace untrap::runtime::soft
