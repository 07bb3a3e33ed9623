// SPDX-License-Identifier: GPL-2.0-only

// The program as a user runs it, with guests of a few instructions.

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <functional>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <thread>
#include <unistd.h>

#include "tests/vmm_boot/image_builder.h"

using namespace untrap::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;

namespace {

using Arguments = std::vector<std::string>;

[[noreturn]] void become_untrap(const Arguments& arguments) {
    std::vector<char*> argv{const_cast<char*>(UNTRAP_PROGRAM)};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execv(UNTRAP_PROGRAM, argv.data());
    ::_exit(99);
}

int status_of(pid_t child) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

struct Outcome {
    int status;
    std::string out, err;
};

// Runs untrap with files for stdout and stderr; `while_running` gets its process id.
Outcome run_untrap(const Arguments& arguments, const std::function<void(pid_t)>& while_running = {}) {
    const TemporaryDirectory files;
    const std::string out = files.path("out"), err = files.path("err");
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(::open("/dev/null", O_RDONLY), 0);
        ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
        ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0600), 2);
        become_untrap(arguments);
    }
    if (while_running) while_running(child);
    const int status = status_of(child);
    const Bytes out_bytes = read_all(out), err_bytes = read_all(err);
    return {status, {out_bytes.begin(), out_bytes.end()}, {err_bytes.begin(), err_bytes.end()}};
}

void wait_a_little() { std::this_thread::sleep_for(std::chrono::milliseconds(300)); }

struct Guests {
    TemporaryDirectory files;
    std::string resets = files.write("resets", make_elf(printing_guest("hello\n", true)));
    std::string spins = files.write("spins", make_elf(printing_guest("spinning\n", false)));
};

} // namespace

TEST_CASE("program: a guest that prints and resets") {
    const Guests guests;
    for (const char* mode : {"trap", "patch"}) {
        CAPTURE(mode);
        const Outcome outcome =
            run_untrap({"run", "-k", guests.resets, "--host", "soft", "--mode", mode, "--timeout", "60"});
        CHECK(outcome.status == 0);
        CHECK(outcome.out == "hello\n");
        CHECK(outcome.err.empty());
    }
}

TEST_CASE("program: the same from a uImage, and with the interpreter") {
    const Guests guests;
    const std::string uimage = guests.files.write("uimage", make_uimage(gzip(printing_guest("packed\n", true)), 1));
    CHECK(run_untrap({"run", "-k", uimage, "--host", "soft", "--timeout", "60"}).out == "packed\n");
    CHECK(
        run_untrap({"run", "-k", guests.resets, "--host", "soft", "--engine", "interpreter", "--timeout", "60"}).out ==
        "hello\n");
}

TEST_CASE("program: --timeout") {
    const Guests guests;
    const Outcome outcome = run_untrap({"run", "-k", guests.spins, "--host", "soft", "--timeout", "0.3"});
    CHECK(outcome.status == 124);
    CHECK(outcome.out == "spinning\n");
    CHECK(outcome.err == "untrap: timed out after 0.3 seconds\n");
}

TEST_CASE("program: --until") {
    const Guests guests;
    const Outcome seen =
        run_untrap({"run", "-k", guests.spins, "--host", "soft", "--until", "spin", "--timeout", "60"});
    CHECK(seen.status == 0);
    CHECK(seen.out == "spin");
    CHECK(seen.err.empty());
    const Outcome missed =
        run_untrap({"run", "-k", guests.resets, "--host", "soft", "--until", "bye", "--timeout", "60"});
    CHECK(missed.status == 0);
    CHECK(missed.err == "untrap: the guest ended without printing \"bye\"\n");
}

TEST_CASE("program: --stats, equal twice under the guest clock") {
    const Guests guests;
    nlohmann::json runs[2];
    for (nlohmann::json& json : runs) {
        const std::string file = guests.files.path("stats");
        REQUIRE(
            run_untrap({"run", "-k", guests.resets, "--host", "soft", "--clock", "guest", "--stats", file}).status ==
            0);
        std::ifstream(file) >> json;
    }
    CHECK(runs[0]["host"] == "soft");
    CHECK(runs[0]["guest_instructions"].get<int>() > 10);
    CHECK(runs[0]["exits"]["MMIO"] == 6);
    CHECK(runs[0]["exits"]["EMUL_TLBWE"] == 3);
    CHECK(runs[0]["exits"] == runs[1]["exits"]);
    CHECK(runs[0]["guest_instructions"] == runs[1]["guest_instructions"]);
}

TEST_CASE("program: ab") {
    const Guests guests;
    const std::string json_file = guests.files.path("json"), html_file = guests.files.path("html");
    const Outcome outcome =
        run_untrap({"ab", "-k", guests.resets, "--host", "soft", "--json", json_file, "--html", html_file});
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.out, StartsWith("hello\n\nhello\n\n"));
    CHECK_THAT(outcome.out, ContainsSubstring("speed-up of patch over trap"));
    nlohmann::json json;
    std::ifstream(json_file) >> json;
    CHECK(json["trap"]["mode"] == "trap");
    CHECK(json["patch"]["mode"] == "patch");
    CHECK(json["ratio"].contains("exits"));
    CHECK_FALSE(read_all(html_file).empty());
    // A mode that fails ends the comparison with its status.
    const Outcome late = run_untrap({"ab", "-k", guests.spins, "--host", "soft", "--timeout", "0.2"});
    CHECK(late.status == 124);
    CHECK_THAT(late.err, ContainsSubstring("trap mode: timed out"));
}

TEST_CASE("program: prof") {
    const Guests guests;
    const std::string json_file = guests.files.path("json"), html_file = guests.files.path("html"),
                      flame_file = guests.files.path("flame");
    const Outcome outcome = run_untrap({"prof", "-k", guests.resets, "--host", "soft", "--json", json_file, "--html",
                                        html_file, "--flame", flame_file});
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.out, StartsWith("hello\n\nhello\n\n"));
    CHECK_THAT(outcome.out, ContainsSubstring("sites with most exits in trap mode") && ContainsSubstring("tlbwe r"));
    nlohmann::json json;
    std::ifstream(json_file) >> json;
    for (const char* mode : {"trap", "patch"}) {
        std::uint64_t exits = 0;
        for (const auto& site : json["sites"]) exits += site[mode]["exits"].get<std::uint64_t>();
        CHECK(exits == json[mode]["exits_total"]);
    }
    CHECK_FALSE(read_all(html_file).empty());
    CHECK_FALSE(read_all(flame_file).empty());
    const Outcome late = run_untrap({"prof", "-k", guests.spins, "--host", "soft", "--timeout", "0.2"});
    CHECK(late.status == 124);
    CHECK_THAT(late.err, ContainsSubstring("prof: trap mode: timed out"));
}

TEST_CASE("program: signals end the run in order") {
    const Guests guests;
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
        CAPTURE(signal);
        const Outcome outcome =
            run_untrap({"run", "-k", guests.spins, "--host", "soft", "--timeout", "60"}, [&](pid_t child) {
                wait_a_little();
                ::kill(child, signal);
            });
        CHECK(outcome.status == 128 + signal);
        CHECK(outcome.out == "spinning\n");
        CHECK_THAT(outcome.err, StartsWith("untrap: ended by signal"));
    }
}

TEST_CASE("program: a guest that dies leaves its registers") {
    const Guests guests;
    // Vectors where nothing is mapped, then a jump to nothing: every miss takes the CPU to the next one.
    const std::string wild = guests.files.write("wild", make_elf(words({0x3D202000,     // lis r9,0x2000
                                                                        0x7D3F0BA6,     // mtspr IVPR,r9
                                                                        0x7D2903A6,     // mtctr r9
                                                                        0x4E800420}))); // bctr
    const Outcome outcome = run_untrap({"run", "-k", wild, "--host", "soft", "--timeout", "60"});
    CHECK(outcome.status == 1);
    CHECK(outcome.out.empty());
    CHECK_THAT(outcome.err, StartsWith("untrap: guest died: "));
    CHECK_THAT(outcome.err, ContainsSubstring("PC   ") && ContainsSubstring("MSR") && ContainsSubstring("SRR0") &&
                                ContainsSubstring("r28") && ContainsSubstring("internal error"));
}

TEST_CASE("program: a disk that ab leaves as it is, and one that is not there") {
    const Guests guests;
    const std::string disk = guests.files.write("disk", Bytes(4096, 5));
    CHECK(run_untrap({"ab", "-k", guests.resets, "--host", "soft", "-d", disk}).status == 0);
    CHECK(read_all(disk) == Bytes(4096, 5));
    const Outcome missing = run_untrap({"run", "-k", guests.resets, "--host", "soft", "-d", guests.files.path("none")});
    CHECK(missing.status == 2);
    CHECK_THAT(missing.err, ContainsSubstring("none") && ContainsSubstring("No such file"));
}

namespace {

// untrap on a terminal of its own.
struct OnTerminal {
    explicit OnTerminal(const Arguments& arguments) {
        // A terminal kept open on this side shows the mode it is left in.
        REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
        REQUIRE(::tcgetattr(slave, &before) == 0);
        child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            ::setsid();
            for (const int fd : {0, 1, 2}) ::dup2(slave, fd);
            become_untrap(arguments);
        }
    }
    ~OnTerminal() {
        ::close(master);
        ::close(slave);
    }
    std::string read_until(const std::string& text) {
        std::string seen;
        for (int i = 0; i < 600 && seen.find(text) == std::string::npos; ++i) {
            pollfd entry{.fd = master, .events = POLLIN, .revents = 0};
            if (::poll(&entry, 1, 100) != 1) continue;
            std::array<char, 1024> buffer{};
            const ssize_t got = ::read(master, buffer.data(), buffer.size());
            if (got <= 0) break;
            seen.append(buffer.data(), static_cast<std::size_t>(got));
        }
        return seen;
    }
    void type(const std::string& keys) { REQUIRE(::write(master, keys.data(), keys.size()) > 0); }
    bool raw() const {
        termios now{};
        ::tcgetattr(slave, &now);
        return (now.c_lflag & (ICANON | ECHO | ISIG)) == 0;
    }
    bool as_before() const {
        termios now{};
        ::tcgetattr(slave, &now);
        return now.c_lflag == before.c_lflag && now.c_iflag == before.c_iflag && now.c_oflag == before.c_oflag &&
               now.c_cflag == before.c_cflag;
    }

    int master = -1, slave = -1;
    termios before{};
    pid_t child = -1;
};

} // namespace

TEST_CASE("program: on a terminal, Ctrl-A X quits and the terminal is as before") {
    const Guests guests;
    OnTerminal terminal({"run", "-k", guests.spins, "--host", "soft", "--timeout", "60"});
    CHECK_THAT(terminal.read_until("spinning"), ContainsSubstring("spinning"));
    CHECK(terminal.raw());
    terminal.type("abc\x01x");
    CHECK_THAT(terminal.read_until("Ctrl-A X"), ContainsSubstring("ended by Ctrl-A X"));
    CHECK(status_of(terminal.child) == 0);
    CHECK(terminal.as_before());
}

TEST_CASE("program: the terminal is as before after signals") {
    const Guests guests;
    for (const int signal : {SIGTERM, SIGABRT, SIGSEGV}) {
        CAPTURE(signal);
        OnTerminal terminal({"run", "-k", guests.spins, "--host", "soft", "--timeout", "60"});
        terminal.read_until("spinning");
        CHECK(terminal.raw());
        ::kill(terminal.child, signal);
        status_of(terminal.child);
        CHECK(terminal.as_before());
    }
}
