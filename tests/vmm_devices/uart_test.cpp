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
