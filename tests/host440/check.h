// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// Results of the tests on the 440 host. Each test runs in a process of its own, so that one that hangs or dies costs
// no other, and what it left open goes with it. It prints `ok PROGRAM: NAME` or `not ok PROGRAM: NAME: WHY`.

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

// The name before each test's, as the first thing in main.
void check_program(const char* name);
// Runs a test; `seconds` of the host's time later it is killed. False if it failed.
bool check_test(const char* name, unsigned seconds, void (*test)(void));
// Prints `end PROGRAM PASSED FAILED`; the status for main.
int check_end(void);
// Appends `: TEXT` to the line of a test that passes.
void check_figures(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The test failed; the first reason is printed. check_stop ends it at once.
void check_failed(const char* file, int line, const char* format, ...) __attribute__((format(printf, 3, 4)));
void check_stop(void) __attribute__((noreturn));
bool check_equal(const char* file, int line, const char* what, long long got, long long wanted);
// result is what a system call returned: -1 with errno `wanted`.
bool check_error(const char* file, int line, const char* what, long result, int error, int wanted);
bool check_success(const char* file, int line, const char* what, long result, int error);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) check_failed(__FILE__, __LINE__, "%s", #condition);                                          \
    } while (0)
#define CHECK_EQUAL(got, wanted) check_equal(__FILE__, __LINE__, #got, (long long)(got), (long long)(wanted))
#define CHECK_ERROR(call, wanted)                                                                                      \
    do {                                                                                                               \
        const long check_result_ = (call);                                                                             \
        check_error(__FILE__, __LINE__, #call, check_result_, errno, wanted);                                          \
    } while (0)
#define CHECK_SUCCESS(call)                                                                                            \
    ({                                                                                                                 \
        const long check_result_ = (call);                                                                             \
        check_success(__FILE__, __LINE__, #call, check_result_, errno);                                                \
        check_result_;                                                                                                 \
    })
// These end the test.
#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            check_failed(__FILE__, __LINE__, "%s", #condition);                                                        \
            check_stop();                                                                                              \
        }                                                                                                              \
    } while (0)
#define REQUIRE_EQUAL(got, wanted)                                                                                     \
    do {                                                                                                               \
        if (!CHECK_EQUAL(got, wanted)) check_stop();                                                                   \
    } while (0)
#define REQUIRE_SUCCESS(call)                                                                                          \
    ({                                                                                                                 \
        const long require_result_ = (call);                                                                           \
        if (!check_success(__FILE__, __LINE__, #call, require_result_, errno)) check_stop();                           \
        require_result_;                                                                                               \
    })
