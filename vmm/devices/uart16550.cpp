// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/uart16550.h"

#include <utility>

namespace untrap::vmm {

namespace {

enum Register : unsigned { data = 0, ier = 1, iir_fcr = 2, lcr = 3, mcr = 4, lsr = 5, msr = 6, scr = 7 };

namespace enable {
constexpr std::uint8_t received = 0x01, transmitter = 0x02, line_status = 0x04, modem_status = 0x08, mask = 0x0f;
}
namespace id {
constexpr std::uint8_t modem_status = 0x00, none = 0x01, transmitter = 0x02, received = 0x04, line_status = 0x06,
                       timeout = 0x0c, long_fifos = 0x20, fifos_enabled = 0xc0;
}
namespace fifo {
constexpr std::uint8_t enabled = 0x01, clear_receiver = 0x02, are_long = 0x20, kept = 0xc9;
constexpr unsigned trigger_shift = 6;
constexpr std::array<unsigned, 4> trigger_levels{1, 4, 8, 14}, long_trigger_levels{1, 16, 32, 56};
} // namespace fifo
namespace line {
constexpr std::uint8_t divisor_access = 0x80, eight_bits = 0x03;
constexpr std::uint8_t data_ready = 0x01, overrun = 0x02, holding_empty = 0x20, transmitter_empty = 0x40;
} // namespace line
namespace modem {
constexpr std::uint8_t dtr = 0x01, rts = 0x02, out1 = 0x04, out2 = 0x08, loop = 0x10, mask = 0x1f;
constexpr std::uint8_t cts = 0x10, dsr = 0x20, ring = 0x40, carrier = 0x80;
constexpr std::uint8_t delta_cts = 0x01, delta_dsr = 0x02, ring_ended = 0x04, delta_carrier = 0x08;
} // namespace modem

constexpr std::uint8_t firmware_divisor = 6; // 115200 baud from the board's 11.0592 MHz

constexpr std::uint8_t low_byte(unsigned value) { return static_cast<std::uint8_t>(value & 0xff); }

} // namespace

Uart16550::Uart16550(IrqLine irq, CharSink* sink) : irq_(std::move(irq)), sink_(sink) { reset(); }

// The divisor and frame format are what the board's firmware leaves: early consoles read the speed back.
void Uart16550::reset() {
    interrupt_enable_ = fifo_control_ = modem_control_ = line_errors_ = modem_deltas_ = scratch_ = 0;
    line_control_ = line::eight_bits;
    divisor_low_ = firmware_divisor;
    divisor_high_ = 0;
    transmit_pending_ = false;
    fifo_head_ = fifo_count_ = 0;
    modem_lines_ = modem_status_lines();
    refill();
    update_irq();
}

std::uint64_t Uart16550::read(std::uint64_t offset, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value = value << 8 | read_register(static_cast<unsigned>(offset + i) & 7);
    return value;
}

void Uart16550::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    for (unsigned i = 0; i < size; ++i)
        write_register(static_cast<unsigned>(offset + i) & 7,
                       static_cast<std::uint8_t>(value >> (8 * (size - 1 - i)) & 0xff));
}

// Most of what a guest prints comes here: at once if every byte just leaves.
void Uart16550::write_bytes(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
    if (bytes.empty()) return;
    if ((offset & 7) != data || (line_control_ & line::divisor_access) != 0 || loopback()) {
        MmioDevice::write_bytes(offset, bytes);
        return;
    }
    if (sink_) sink_->write(bytes);
    transmit_pending_ = true;
    update_irq();
}

void Uart16550::receive(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) {
        if (backlog_.size() == backlog_limit) {
            if (dropped_.first(0)) report("serial input dropped: the guest does not read its UART");
            break;
        }
        backlog_.push_back(byte);
    }
    refill();
    update_irq();
}

std::uint8_t Uart16550::read_register(unsigned reg) {
    const bool divisor = (line_control_ & line::divisor_access) != 0;
    switch (reg) {
    case data: return divisor ? divisor_low_ : read_receiver();
    case ier: return divisor ? divisor_high_ : interrupt_enable_;
    case iir_fcr: {
        const std::uint8_t source = interrupt_id();
        if (source == id::transmitter) {
            transmit_pending_ = false;
            update_irq();
        }
        return identification(source);
    }
    case lcr: return line_control_;
    case mcr: return modem_control_;
    case lsr: {
        const std::uint8_t value = line_status();
        line_errors_ = 0;
        update_irq();
        return value;
    }
    case msr: {
        const std::uint8_t value = low_byte(modem_lines_ | modem_deltas_);
        modem_deltas_ = 0;
        update_irq();
        return value;
    }
    default: return scratch_;
    }
}

void Uart16550::write_register(unsigned reg, std::uint8_t value) {
    const bool divisor = (line_control_ & line::divisor_access) != 0;
    switch (reg) {
    case data:
        if (divisor)
            divisor_low_ = value;
        else
            write_transmitter(value);
        break;
    case ier:
        if (divisor) {
            divisor_high_ = value;
            break;
        }
        // Enabling the interrupt while the holding register is empty, which it always is, raises it.
        if (value & ~interrupt_enable_ & enable::transmitter) transmit_pending_ = true;
        interrupt_enable_ = value & enable::mask;
        break;
    case iir_fcr: write_fifo_control(value); break;
    case lcr: line_control_ = value; break;
    case mcr: write_modem_control(value); break;
    case scr: scratch_ = value; break;
    default: return; // LSR and MSR are read only
    }
    update_irq();
}

std::uint8_t Uart16550::read_receiver() {
    if (fifo_count_ == 0) return 0;
    const std::uint8_t value = fifo_[fifo_head_];
    fifo_head_ = (fifo_head_ + 1) % long_fifo;
    --fifo_count_;
    refill();
    update_irq();
    return value;
}

void Uart16550::write_transmitter(std::uint8_t value) {
    if (loopback())
        push_fifo(value);
    else if (sink_)
        sink_->write({&value, 1});
    transmit_pending_ = true; // the byte is gone and the register empty again
}

void Uart16550::write_fifo_control(std::uint8_t value) {
    // How long they are is settled with the divisor latch open.
    std::uint8_t kept = value & fifo::enabled ? value & fifo::kept : 0;
    if (kept != 0) kept |= ((line_control_ & line::divisor_access) != 0 ? value : fifo_control_) & fifo::are_long;
    const bool toggled = ((kept ^ fifo_control_) & (fifo::enabled | fifo::are_long)) != 0;
    const bool clear = (value & fifo::enabled) && (value & fifo::clear_receiver);
    if (toggled || clear) {
        fifo_head_ = fifo_count_ = 0;
        line_errors_ = 0;
    }
    fifo_control_ = kept;
    refill();
}

void Uart16550::write_modem_control(std::uint8_t value) {
    modem_control_ = value & modem::mask;
    update_modem_status();
    refill();
}

bool Uart16550::loopback() const { return (modem_control_ & modem::loop) != 0; }

unsigned Uart16550::capacity() const {
    if ((fifo_control_ & fifo::enabled) == 0) return 1;
    return (fifo_control_ & fifo::are_long) != 0 ? long_fifo : short_fifo;
}

void Uart16550::push_fifo(std::uint8_t value) {
    const unsigned room = capacity();
    if (fifo_count_ >= room) {
        line_errors_ |= line::overrun;
        // With FIFOs the shift register is lost, without them the holding register is overwritten.
        if (room == 1) fifo_[fifo_head_] = value;
        return;
    }
    fifo_[(fifo_head_ + fifo_count_) % long_fifo] = value;
    ++fifo_count_;
}

// In loopback the receiver is cut off from the line; what arrives waits.
void Uart16550::refill() {
    const unsigned room = capacity();
    while (!loopback() && fifo_count_ < room && !backlog_.empty()) {
        push_fifo(backlog_.front());
        backlog_.pop_front();
    }
}

std::uint8_t Uart16550::interrupt_id() const {
    if ((interrupt_enable_ & enable::line_status) && line_errors_) return id::line_status;
    if ((interrupt_enable_ & enable::received) && fifo_count_) {
        const bool fifos = (fifo_control_ & fifo::enabled) != 0;
        const auto& levels = (fifo_control_ & fifo::are_long) != 0 ? fifo::long_trigger_levels : fifo::trigger_levels;
        const unsigned trigger = levels[fifo_control_ >> fifo::trigger_shift];
        return fifos && fifo_count_ < trigger ? id::timeout : id::received;
    }
    if ((interrupt_enable_ & enable::transmitter) && transmit_pending_) return id::transmitter;
    if ((interrupt_enable_ & enable::modem_status) && modem_deltas_) return id::modem_status;
    return id::none;
}

std::uint8_t Uart16550::modem_status_lines() const {
    if (!loopback()) return modem::cts | modem::dsr | modem::carrier;
    unsigned lines = 0;
    if (modem_control_ & modem::rts) lines |= modem::cts;
    if (modem_control_ & modem::dtr) lines |= modem::dsr;
    if (modem_control_ & modem::out1) lines |= modem::ring;
    if (modem_control_ & modem::out2) lines |= modem::carrier;
    return low_byte(lines);
}

void Uart16550::update_modem_status() {
    const std::uint8_t lines = modem_status_lines();
    const unsigned changed = lines ^ modem_lines_;
    if (changed & modem::cts) modem_deltas_ |= modem::delta_cts;
    if (changed & modem::dsr) modem_deltas_ |= modem::delta_dsr;
    if (changed & modem_lines_ & modem::ring) modem_deltas_ |= modem::ring_ended;
    if (changed & modem::carrier) modem_deltas_ |= modem::delta_carrier;
    modem_lines_ = lines;
}

std::uint8_t Uart16550::line_status() const {
    const unsigned ready = fifo_count_ ? line::data_ready : 0u;
    return low_byte(ready | line_errors_ | line::holding_empty | line::transmitter_empty);
}

std::uint8_t Uart16550::identification(std::uint8_t source) const {
    return low_byte(source | (fifo_control_ & fifo::enabled ? id::fifos_enabled : 0u) |
                    (fifo_control_ & fifo::are_long ? id::long_fifos : 0u));
}

// Whoever is interrupted finds the registers as they are now.
void Uart16550::update_irq() {
    update_window();
    irq_.set(interrupt_id() != id::none);
}

void Uart16550::use_window(RegisterWindow window) {
    window_ = window;
    update_window();
}

void Uart16550::update_window() {
    const auto bit = [](Register reg, bool set) { return set ? 1u << reg : 0u; };
    const bool divisor = (line_control_ & line::divisor_access) != 0;
    const std::uint8_t source = interrupt_id();
    const bool empty = fifo_count_ == 0;
    // Reading the others acknowledges something, or in loopback may come behind bytes that wait.
    const unsigned loads = bit(data, divisor || (empty && !loopback())) | bit(ier, true) | bit(lcr, true) |
                           bit(mcr, true) | bit(scr, true) | bit(iir_fcr, source != id::transmitter && !loopback()) |
                           bit(lsr, line_errors_ == 0 && !loopback()) | bit(msr, modem_deltas_ == 0);
    const RegisterWindow::Values values{divisor ? divisor_low_ : std::uint8_t{0},
                                        divisor ? divisor_high_ : interrupt_enable_,
                                        identification(source),
                                        line_control_,
                                        modem_control_,
                                        line_status(),
                                        low_byte(modem_lines_ | modem_deltas_),
                                        scratch_};
    // A byte to be sent may wait unless it causes an interrupt that is not pending yet.
    const bool interrupts =
        loopback() ? interrupt_enable_ != 0 : (interrupt_enable_ & enable::transmitter) != 0 && !transmit_pending_;
    const unsigned keeps = bit(ier, true) | bit(lcr, true) | bit(mcr, true) | bit(scr, true);
    window_.set(low_byte(loads), values, low_byte(~bit(data, !divisor && !interrupts)), low_byte(keeps));
}

} // namespace untrap::vmm
