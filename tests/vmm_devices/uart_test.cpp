// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/uart16550.h"

#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

using namespace untrap::vmm;

namespace {

enum : std::uint64_t { data, ier, iir, lcr, mcr, lsr, msr, scr };

struct Rig : CharSink {
    std::string output;
    bool irq = false;
    Uart16550 uart{IrqLine([this](bool on) { irq = on; }), this};

    void write(std::span<const std::uint8_t> bytes) override { output.append(bytes.begin(), bytes.end()); }
    unsigned get(std::uint64_t reg) { return static_cast<unsigned>(uart.read(reg, 1)); }
    void put(std::uint64_t reg, unsigned value) { uart.write(reg, 1, value); }
    void type(const std::string& text) { uart.receive(std::vector<std::uint8_t>(text.begin(), text.end())); }
};

} // namespace

TEST_CASE("UART transmits and is always ready") {
    Rig rig;
    for (const char c : std::string("hello\n")) rig.put(data, static_cast<unsigned char>(c));
    CHECK(rig.output == "hello\n");
    CHECK(rig.get(lsr) == 0x60);
    CHECK_FALSE(rig.irq);
    rig.uart.write(0, 4, 0x41000000); // THR, IER, FCR, LCR in one store
    CHECK(rig.output == "hello\nA");
}

TEST_CASE("UART transmitter interrupt: on enable, cleared by IIR, again after each byte") {
    Rig rig;
    rig.put(ier, 2);
    CHECK(rig.irq);
    CHECK(rig.get(iir) == 0x02);
    CHECK_FALSE(rig.irq);
    CHECK(rig.get(iir) == 0x01);
    rig.put(data, 'x');
    CHECK(rig.irq);
    CHECK(rig.get(iir) == 0x02);
    rig.put(ier, 2); // no change, no interrupt
    CHECK_FALSE(rig.irq);
    rig.put(ier, 0);
    rig.put(ier, 2);
    CHECK(rig.irq);
    rig.put(ier, 0);
    CHECK_FALSE(rig.irq);
    CHECK(rig.get(iir) == 0x01);
}

TEST_CASE("UART receiver: trigger level, timeout, backlog") {
    Rig rig;
    rig.put(iir, 0x81); // FIFOs, trigger 8
    CHECK(rig.get(iir) == 0xc1);
    rig.put(ier, 1);
    rig.type("abc");
    CHECK(rig.irq);
    CHECK(rig.get(iir) == 0xcc);
    rig.type("defgh");
    CHECK(rig.get(iir) == 0xc4);
    rig.type("0123456789");
    CHECK(rig.uart.pending() == 18);
    std::string got;
    while (rig.get(lsr) & 1) got += static_cast<char>(rig.get(data));
    CHECK(got == "abcdefgh0123456789");
    CHECK_FALSE(rig.irq);
    CHECK(rig.get(iir) == 0xc1);
    CHECK(rig.get(data) == 0);
}

TEST_CASE("UART without FIFOs takes one byte at a time") {
    Rig rig;
    rig.put(ier, 1);
    rig.type("xy");
    CHECK(rig.get(iir) == 0x04);
    CHECK(rig.get(data) == 'x');
    CHECK(rig.irq);
    CHECK(rig.get(data) == 'y');
    CHECK_FALSE(rig.irq);
}

TEST_CASE("UART has FIFOs of 64 bytes where they are asked for with the divisor latch open") {
    Rig rig;
    rig.put(iir, 0x21); // without it they stay short
    CHECK(rig.get(iir) == 0xc1);
    rig.put(lcr, 0x83);
    rig.put(iir, 0xa1); // trigger 32
    CHECK(rig.get(iir) == 0xe1);
    rig.put(lcr, 0x03);
    rig.put(iir, 0x81); // they stay long
    CHECK(rig.get(iir) == 0xe1);
    rig.put(ier, 1);
    rig.type(std::string(31, 'a'));
    CHECK(rig.get(iir) == 0xec);
    rig.type("b");
    CHECK(rig.get(iir) == 0xe4);
    rig.put(mcr, 0x10);
    for (unsigned i = 0; i < 32; ++i) rig.put(data, 'c');
    CHECK((rig.get(lsr) & 2) == 0);
    rig.put(data, 'd');
    CHECK((rig.get(lsr) & 2) != 0); // the 65th byte
    rig.put(lcr, 0x83);
    rig.put(iir, 0x01);
    CHECK(rig.get(iir) == 0xc1);
    rig.put(lcr, 0x03);
    CHECK((rig.get(lsr) & 1) == 0);
}

TEST_CASE("UART FIFO control clears, also when FIFOs are switched") {
    Rig rig;
    rig.put(iir, 0x01);
    rig.type("abc");
    rig.put(iir, 0x03);
    CHECK(rig.get(lsr) == 0x60);
    rig.type("abc");
    rig.put(iir, 0x00);
    CHECK(rig.get(lsr) == 0x60);
    CHECK(rig.get(iir) == 0x01);
    rig.put(iir, 0xc8); // without the enable bit nothing counts
    CHECK(rig.get(iir) == 0x01);
}

TEST_CASE("UART divisor latch, line control and scratch") {
    Rig rig;
    CHECK(rig.get(lcr) == 0x03);
    rig.put(lcr, 0x83);
    CHECK(rig.get(data) == 6);
    CHECK(rig.get(ier) == 0);
    rig.put(data, 0x34);
    rig.put(ier, 0x12);
    CHECK(rig.get(data) == 0x34);
    CHECK(rig.get(ier) == 0x12);
    rig.put(lcr, 0x03);
    CHECK(rig.get(ier) == 0);
    CHECK(rig.output.empty());
    rig.put(scr, 0x5a);
    CHECK(rig.get(scr) == 0x5a);
    rig.put(ier, 0xff);
    CHECK(rig.get(ier) == 0x0f);
    rig.put(mcr, 0xff);
    CHECK(rig.get(mcr) == 0x1f);
}

TEST_CASE("UART loopback: data, overrun and modem lines") {
    Rig rig;
    CHECK(rig.get(msr) == 0xb0);
    rig.put(mcr, 0x1a); // loop, RTS, OUT2: what Linux probes with
    CHECK((rig.get(msr) & 0xf0) == 0x90);
    CHECK((rig.get(msr) & 0x0f) == 0); // reading cleared the changes
    rig.put(data, 'q');
    CHECK(rig.output.empty());
    rig.type("later");
    CHECK(rig.get(lsr) == 0x61);
    CHECK(rig.get(data) == 'q');
    CHECK(rig.get(lsr) == 0x60);

    rig.put(ier, 0x0c);
    rig.put(data, '1');
    rig.put(data, '2');
    CHECK(rig.irq);
    CHECK(rig.get(iir) == 0x06);
    CHECK(rig.get(lsr) == 0x63);
    CHECK_FALSE(rig.irq);
    CHECK(rig.get(data) == '2');

    rig.put(mcr, 0x14); // OUT1 is RI, RTS falls
    CHECK(rig.irq);
    CHECK(rig.get(iir) == 0x00);
    CHECK(rig.get(msr) == 0x49);
    CHECK_FALSE(rig.irq);
    rig.put(mcr, 0x10);
    CHECK(rig.get(msr) == 0x04); // end of ring
    rig.put(mcr, 0);
    CHECK(rig.get(data) == 'l');
}

TEST_CASE("UART priorities: line status, data, transmitter, modem") {
    Rig rig;
    rig.put(mcr, 0x10);
    rig.put(ier, 0x0f);
    rig.put(data, 'a');
    rig.put(data, 'b');
    rig.put(mcr, 0x12);
    CHECK(rig.get(iir) == 0x06);
    rig.get(lsr);
    CHECK(rig.get(iir) == 0x04);
    rig.get(data);
    CHECK(rig.get(iir) == 0x02);
    CHECK(rig.get(iir) == 0x00);
    rig.get(msr);
    CHECK(rig.get(iir) == 0x01);
    CHECK_FALSE(rig.irq);
}

namespace {

// A UART as a guest sees it through a host that makes use of its window, as untrap_abi.h describes that.
struct Windowed {
    Windowed() {
        rig.uart.use_window(RegisterWindow(block));
        block.end_count = 1;
        block.ends[0] = '\n';
    }
    void drain() {
        const std::vector<std::uint8_t> all = std::move(waiting);
        waiting.clear();
        rig.uart.write_bytes(data, all);
    }
    unsigned get(std::uint64_t reg) {
        if ((block.loads >> reg & 1) != 0) return block.values[reg];
        drain();
        ++asked;
        return rig.get(reg);
    }
    void put(std::uint64_t reg, unsigned value) {
        if ((block.loads & block.keeps) >> reg & 1 && block.values[reg] == value) return;
        if (reg == data && (block.exits & 1) == 0 && value != '\n') {
            waiting.push_back(static_cast<std::uint8_t>(value));
            return;
        }
        drain();
        ++asked;
        rig.put(reg, value);
    }

    untrap::abi::UntrapRegisterBlock block{};
    Rig rig;
    std::vector<std::uint8_t> waiting;
    unsigned asked = 0;
};

} // namespace

TEST_CASE("UART window: printing needs the device for the end of a line alone") {
    Windowed w;
    for (const char c : std::string("one line\nand more")) {
        CHECK((w.get(lsr) & 0x60) == 0x60);
        w.put(data, static_cast<unsigned char>(c));
    }
    CHECK(w.asked == 1);
    CHECK(w.rig.output == "one line\n");
    w.drain();
    CHECK(w.rig.output == "one line\nand more");
}

TEST_CASE("UART window: input shows at once, in loopback nothing does") {
    Windowed w;
    CHECK(w.get(lsr) == 0x60);
    CHECK(w.get(data) == 0);
    CHECK(w.asked == 0);
    w.rig.type("a");
    CHECK(w.get(lsr) == 0x61);
    CHECK(w.asked == 0);
    CHECK(w.get(data) == 'a');
    CHECK(w.asked == 1);
    CHECK(w.get(lsr) == 0x60);
    w.put(mcr, 0x10);
    w.asked = 0;
    w.put(data, 'b');
    CHECK(w.asked == 0);
    CHECK(w.get(lsr) == 0x61);
    CHECK(w.asked == 1);
    CHECK(w.get(data) == 'b');
}

TEST_CASE("UART window: at random, a guest sees the same with it and without") {
    std::uint32_t seed = 1;
    const auto random = [&seed](std::uint32_t limit) {
        seed = seed * 1664525 + 1013904223;
        return (seed >> 8) % limit;
    };
    for (unsigned round = 0; round < 200; ++round) {
        Windowed w;
        Rig plain;
        for (unsigned step = 0; step < 300; ++step) {
            const std::uint64_t reg = random(3) == 0 ? random(8) : random(2) == 0 ? 0u : 5u; // data and line status
            if (random(20) == 0) {
                const std::string text(random(20), static_cast<char>('a' + random(26)));
                w.rig.type(text);
                plain.type(text);
            } else if (random(2) == 0) {
                REQUIRE(w.get(reg) == plain.get(reg));
            } else {
                unsigned value = random(256);
                if (reg == lcr && random(3) != 0) value &= 0x7f;
                if (reg == mcr && random(3) != 0) value &= 0x0f;
                if (reg == ier) value &= random(2) == 0 ? 0x0fu : 0u;
                w.put(reg, value);
                plain.put(reg, value);
            }
            REQUIRE(w.rig.irq == plain.irq);
        }
        w.drain();
        REQUIRE(w.rig.output == plain.output);
        REQUIRE(w.rig.irq == plain.irq);
    }
}
