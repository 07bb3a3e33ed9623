// SPDX-License-Identifier: GPL-2.0-only
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <csignal>
#include <optional>
#include <poll.h>
#include <random>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/vmm_boot/image_builder.h"
#include "vmm/machine/console.h"
#include "vmm/machine/text_watch.h"

using namespace untrap::vmm;
using untrap::test::Random;
namespace abi = untrap::abi;

namespace {

std::span<const std::uint8_t> bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// A console into a pipe.
struct Piped {
    explicit Piped(std::string until = "", const std::vector<std::string>& marks = {}) {
        REQUIRE(::pipe(ends.data()) == 0);
        stop.attach(&run, ::pthread_self());
        console.emplace(ends[1], std::move(until), stop, marks);
    }
    ~Piped() {
        console.reset();
        ::close(ends[0]);
        ::close(ends[1]);
    }
    std::string take() {
        std::array<char, 4096> buffer{};
        pollfd entry{.fd = ends[0], .events = POLLIN, .revents = 0};
        if (::poll(&entry, 1, 0) != 1) return "";
        const ssize_t got = ::read(ends[0], buffer.data(), buffer.size());
        return {buffer.data(), static_cast<std::size_t>(got)};
    }

    std::array<int, 2> ends{};
    abi::kvm_run run{};
    StopRequest stop;
    std::optional<ConsoleOutput> console;
};

} // namespace

TEST_CASE("text watch: agrees with a search in the whole") {
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    Random random(seed);
    for (int round = 0; round < 2000; ++round) {
        std::string text(1 + random() % 6, 'a');
        for (char& c : text) c = static_cast<char>('a' + random() % 2);
        std::string stream(random() % 60, 'a');
        for (char& c : stream) c = static_cast<char>('a' + random() % 2);
        TextWatch watch(text);
        for (std::size_t i = 0; i < stream.size(); ++i) {
            const bool expected = i + 1 >= text.size() && stream.compare(i + 1 - text.size(), text.size(), text) == 0;
            REQUIRE(watch.feed(stream[i]) == expected);
        }
    }
    TextWatch nothing("");
    CHECK_FALSE(nothing.feed('a'));
}

TEST_CASE("console: lines go out at once, the rest when its time has come") {
    Piped piped;
    piped.console->write(bytes("one\ntwo"));
    CHECK(piped.take() == "one\n");
    pollfd timer{.fd = piped.console->timer_fd(), .events = POLLIN, .revents = 0};
    REQUIRE(::poll(&timer, 1, 1000) == 1);
    piped.console->timer_expired();
    CHECK(piped.take() == "two");
    piped.console->write(bytes("three"));
    piped.console->flush();
    CHECK(piped.take() == "three");
}

TEST_CASE("console: the awaited text across pieces") {
    Piped piped("login:");
    piped.console->write(bytes("welcome\nlog"));
    CHECK_FALSE(piped.stop.requested());
    piped.console->write(bytes("in"));
    CHECK_FALSE(piped.stop.requested());
    piped.console->write(bytes(": "));
    CHECK(piped.stop.cause() == StopCause::until_seen);
    CHECK(piped.run.immediate_exit == 1);
}

TEST_CASE("console: marks, in the order and as often as they are printed") {
    Piped piped("", {"bench:", "ready"});
    CHECK(piped.console->take_marks().empty());
    piped.console->write(bytes("bench: a\nben"));
    CHECK(piped.console->take_marks() == std::vector<std::string>{"bench:"});
    piped.console->write(bytes("ch: ready bench:"));
    CHECK(piped.console->take_marks() == std::vector<std::string>{"bench:", "ready", "bench:"});
    CHECK(piped.console->take_marks().empty());
    CHECK_FALSE(piped.stop.requested());
}

TEST_CASE("console: the first cause of a stop counts") {
    Piped piped;
    piped.stop.request(StopCause::timeout);
    piped.stop.request(StopCause::signal, 15);
    CHECK(piped.stop.cause() == StopCause::timeout);
    CHECK(piped.stop.detail() == 0);
}

TEST_CASE("console: a reader that stops is no reason to hang once a stop is wanted") {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
    abi::kvm_run run{};
    StopRequest stop;
    stop.attach(&run, ::pthread_self());
    {
        ConsoleOutput console(ends[0], "", stop);
        stop.request(StopCause::timeout);
        const std::string line(2000, 'x');
        for (int i = 0; i < 1000; ++i) console.write(bytes(line));
        console.timer_expired();
    }
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("console: a reader that is gone ends the run") {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0);
    ::close(ends[1]);
    std::signal(SIGPIPE, SIG_IGN);
    abi::kvm_run run{};
    StopRequest stop;
    stop.attach(&run, ::pthread_self());
    ConsoleOutput console(ends[0], "", stop);
    console.write(bytes("x\n"));
    CHECK(stop.cause() == StopCause::console_lost);
    CHECK(console.failure() == EPIPE);
    console.write(bytes("more\n"));
    ::close(ends[0]);
}

TEST_CASE("keys: Ctrl-A") {
    KeyFilter keys;
    CHECK(keys.feed(bytes("ls\r")).for_guest == "ls\r");
    CHECK(keys.feed(bytes("\x01\x01")).for_guest == "\x01");
    CHECK(keys.feed(bytes("\x01"
                          "b"))
              .for_guest == "\x01"
                            "b");
    CHECK(keys.feed(bytes("a\x01")).for_guest == "a");
    const KeyFilter::Result quit = keys.feed(bytes("x rest"));
    CHECK(quit.quit);
    CHECK(quit.for_guest.empty());
    KeyFilter upper;
    CHECK(upper.feed(bytes("go\x01X")).quit);
}
