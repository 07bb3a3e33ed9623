// SPDX-License-Identifier: GPL-2.0-only
#include "check.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// What a test's process tells.
struct report {
    bool failed;
    char reason[400];
    char figures[300];
};

static const char* program = "?";
static struct report* report;
static unsigned passed, failed;

void check_program(const char* name) {
    sigset_t child;

    program = name;
    setvbuf(stdout, NULL, _IOLBF, 0);
    report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    // Waited for with a limit of time.
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
}

// False: the process neither ended in time nor died of SIGKILL.
static bool wait_for(pid_t child, unsigned seconds, int* status, bool* late) {
    sigset_t set;
    struct timespec now, until;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    *late = false;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    for (;;) {
        struct timespec left = {0, 20000000};

        if (waitpid(child, status, WNOHANG) == child) return true;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec)) {
            if (*late) return false;
            *late = true;
            kill(child, SIGKILL);
            until.tv_sec = now.tv_sec + 10;
        }
        sigtimedwait(&set, NULL, &left);
    }
}

bool check_test(const char* name, unsigned seconds, void (*test)(void)) {
    char death[100] = "";
    int status = 0;
    bool late;
    pid_t child;

    memset(report, 0, sizeof(*report));
    fflush(stdout);
    child = fork();
    if (child == 0) {
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        test();
        fflush(stdout);
        _exit(0);
    }
    if (child < 0)
        snprintf(death, sizeof(death), "fork: %s", strerror(errno));
    else if (!wait_for(child, seconds, &status, &late))
        snprintf(death, sizeof(death), "hangs, and cannot be killed");
    else if (late)
        snprintf(death, sizeof(death), "did not end within %u s", seconds);
    else if (WIFSIGNALED(status))
        snprintf(death, sizeof(death), "died of signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0 && !report->failed)
        snprintf(death, sizeof(death), "ended with status %d", WEXITSTATUS(status));
    if (!report->failed && death[0] == '\0') {
        ++passed;
        printf("ok %s: %s%s%s\n", program, name, report->figures[0] != '\0' ? ": " : "", report->figures);
        return true;
    }
    ++failed;
    printf("not ok %s: %s: %s%s%s\n", program, name, report->reason,
           report->reason[0] != '\0' && death[0] != '\0' ? "; " : "", death);
    return false;
}

int check_end(void) {
    printf("end %s %u %u\n", program, passed, failed);
    fflush(stdout);
    return failed == 0 ? 0 : 1;
}

void check_figures(const char* format, ...) {
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(report->figures, sizeof(report->figures), format, arguments);
    va_end(arguments);
}

void check_failed(const char* file, int line, const char* format, ...) {
    const char* base = strrchr(file, '/');
    char text[sizeof(report->reason)];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (!report->failed) {
        report->failed = true;
        snprintf(report->reason, sizeof(report->reason), "%s:%d: %.300s", base != NULL ? base + 1 : file, line, text);
    } else {
        printf("# %s:%d: %s\n", base != NULL ? base + 1 : file, line, text);
    }
}

void check_stop(void) {
    fflush(stdout);
    _exit(1);
}

bool check_equal(const char* file, int line, const char* what, long long got, long long wanted) {
    if (got == wanted) return true;
    check_failed(file, line, "%s is %lld (0x%llx), not %lld (0x%llx)", what, got, (unsigned long long)got, wanted,
                 (unsigned long long)wanted);
    return false;
}

bool check_error(const char* file, int line, const char* what, long result, int error, int wanted) {
    if (result == -1 && error == wanted) return true;
    if (result == -1)
        check_failed(file, line, "%s: %s, not %s", what, strerrorname_np(error), strerrorname_np(wanted));
    else
        check_failed(file, line, "%s gave %ld, not %s", what, result, strerrorname_np(wanted));
    return false;
}

bool check_success(const char* file, int line, const char* what, long result, int error) {
    if (result >= 0) return true;
    check_failed(file, line, "%s: %s", what, strerrorname_np(error));
    return false;
}
