// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "vmm/devices/bus.h"
#include "vmm/devices/char_backend.h"
#include "vmm/devices/irq_line.h"
#include "vmm/devices/register_window.h"

namespace untrap::vmm {

/// The UART of a 440EP, eight byte registers: a 16550A, and a 16750 to who asks for FIFOs of 64 bytes. The line is
/// infinitely fast: a byte written to THR has left when the store ends, and received bytes move into the receiver as
/// soon as there is room, so the character timeout is due at once. Accesses wider than a byte take consecutive
/// registers, most significant byte first.
class Uart16550 final : public MmioDevice, public CharInput {
  public:
    /// `sink` may be null: output is dropped. It must outlive the UART.
    Uart16550(IrqLine irq, CharSink* sink);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void write_bytes(std::uint64_t offset, std::span<const std::uint8_t> bytes) override;
    void receive(std::span<const std::uint8_t> bytes) override;
    void reset();
    /// Where the host finds the registers whose reads have no effect, and which stores to THR can wait: those that
    /// change nothing that the guest could see.
    void use_window(RegisterWindow window);

    /// Bytes waiting for the guest: receiver plus backlog.
    std::size_t pending() const { return fifo_count_ + backlog_.size(); }

  private:
    static constexpr unsigned short_fifo = 16, long_fifo = 64;

    std::uint8_t read_register(unsigned reg);
    void write_register(unsigned reg, std::uint8_t value);
    std::uint8_t read_receiver();
    void write_transmitter(std::uint8_t value);
    void write_fifo_control(std::uint8_t value);
    void write_modem_control(std::uint8_t value);
    void push_fifo(std::uint8_t value);
    void refill();
    unsigned capacity() const;
    std::uint8_t interrupt_id() const;
    std::uint8_t modem_status_lines() const;
    void update_modem_status();
    void update_irq();
    void update_window();
    std::uint8_t line_status() const;
    std::uint8_t identification(std::uint8_t source) const;
    bool loopback() const;

    IrqLine irq_;
    CharSink* sink_;
    RegisterWindow window_;

    std::uint8_t interrupt_enable_ = 0;
    std::uint8_t fifo_control_ = 0;
    std::uint8_t line_control_ = 0;
    std::uint8_t modem_control_ = 0;
    std::uint8_t line_errors_ = 0;  // LSR overrun
    std::uint8_t modem_lines_ = 0;  // MSR bits 4-7
    std::uint8_t modem_deltas_ = 0; // MSR bits 0-3
    std::uint8_t scratch_ = 0;
    std::uint8_t divisor_low_ = 0;
    std::uint8_t divisor_high_ = 0;
    bool transmit_pending_ = false; // THRE interrupt armed

    std::array<std::uint8_t, long_fifo> fifo_{};
    unsigned fifo_head_ = 0;
    unsigned fifo_count_ = 0;
    std::deque<std::uint8_t> backlog_;
    ReportOnce dropped_{1};
};

} // namespace untrap::vmm
