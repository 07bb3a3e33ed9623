// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "random.h"

namespace untrap::tests {

// For what changes a whole process, or ends it: runs body in a copy of this one. Its wait status; the value is 0 if all
// of body is true.
inline int status_of_child(const std::function<bool()>& body) {
    test_seed(); // the same one in all of them
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const rlimit no_dump{};
        ::setrlimit(RLIMIT_CORE, &no_dump);
        ::alarm(30); // one that hangs ends too
        bool good = false;
        try {
            good = body();
        } catch (...) { // of the test framework, when engines differ
        }
        ::_exit(good ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status;
}

inline bool true_in_child(const std::function<bool()>& body) {
    const int status = status_of_child(body);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The signal that ended it, or 0.
inline int signal_of_child(const std::function<bool()>& body) {
    const int status = status_of_child(body);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

} // namespace untrap::tests
