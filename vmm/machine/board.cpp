// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/board.h"

#include <cstdint>
#include <fmt/format.h>
#include <optional>
#include <utility>

#include "vmm/devices/diagnostics.h"
#include "vmm/virtio/block.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/slirp_backend.h"
#include "vmm/virtio/tap_backend.h"

namespace untrap::vmm {
namespace {

// More typed bytes than this wait in stdin instead of in the UART.
constexpr std::size_t input_backlog = 64 * 1024;

// Entropy under the guest clock, where two runs must be the same.
constexpr std::uint64_t repeatable_seed = 0x756e74726170;

// KVM_INTERRUPT reaches the external input alone; a Book E KVM has no way to raise the critical one.
IrqLine critical_input() {
    return IrqLine([once = ReportOnce(1)](bool asserted) mutable {
        if (asserted && once.first(0)) {
            report("the guest routed an interrupt to the critical input, which the KVM interface cannot raise");
        }
    });
}

IrqLine line_to(Uic& uic0, Uic& uic1, const board::Interrupt& interrupt) {
    return (interrupt.uic == 0 ? uic0 : uic1).input_line(interrupt.input);
}

} // namespace

Board::Board(const MachineOptions& options, const GuestMemory& memory, Wires wires)
    : uic0_(board::uic0_dcr.first, board::uic0_idle_high, IrqLine(std::move(wires.external_interrupt)),
            critical_input()),
      uic1_(board::uic1_dcr.first, board::uic1_idle_high, uic0_.input_line(board::uic0_input_uic1_noncritical),
            uic0_.input_line(board::uic0_input_uic1_critical)),
      board_dcrs_(memory.total_size()), uart0_(line_to(uic0_, uic1_, board::uart0.interrupt), &wires.console),
      uart1_(line_to(uic0_, uic1_, board::uart1.interrupt), nullptr), power_(std::move(wires.power_off)) {
    dcrs_.map(board::uic0_dcr.first, board::uic0_dcr.count, uic0_, "UIC0");
    dcrs_.map(board::uic1_dcr.first, board::uic1_dcr.count, uic1_, "UIC1");
    board_dcrs_.attach(dcrs_);
    bus_.map(board::uart0.base, board::uart0.size, uart0_, "UART0");
    bus_.map(board::uart1.base, board::uart1.size, uart1_, "UART1");
    bus_.map(board::power_base, board::power_size, power_, "power switch");
    add_virtio_devices(options, memory, wires.console);
}

void Board::add_virtio(std::unique_ptr<VirtioDevice> device) {
    const std::size_t index = transports_.size();
    const board::MmioSlot& slot = board::virtio_slots.at(index);
    transports_.push_back(std::make_unique<MmioTransport>(device.get(), line_to(uic0_, uic1_, slot.interrupt)));
    bus_.map(slot.base, slot.size, *transports_.back(), "virtio " + device->name());
    virtio_.push_back(std::move(device));
}

void Board::add_virtio_devices(const MachineOptions& options, const GuestMemory& memory, CharSink& console) {
    const std::size_t others =
        1 + (options.net != NetKind::none ? 1u : 0u) + (options.console == ConsoleKind::virtio ? 1u : 0u);
    if (options.disks.size() + others > board::virtio_slot_count) {
        throw Error(fmt::format("{} disks: at most {} fit beside the other virtio devices", options.disks.size(),
                                board::virtio_slot_count - others));
    }
    for (const DiskOption& disk : options.disks) {
        add_virtio(std::make_unique<VirtioBlock>(memory, disk.path, disk.read_only));
    }
    switch (options.net) {
    case NetKind::none: break;
    case NetKind::user: net_backend_ = std::make_unique<SlirpBackend>(); break;
    case NetKind::tap: net_backend_ = std::make_unique<TapBackend>(options.tap_interface); break;
    }
    if (net_backend_) {
        io_sources_.push_back(net_backend_.get());
        add_virtio(std::make_unique<VirtioNet>(memory, *net_backend_));
    }
    add_virtio(std::make_unique<VirtioRng>(memory, options.clock == ClockKind::guest ? std::optional(repeatable_seed)
                                                                                     : std::nullopt));
    if (options.console == ConsoleKind::virtio) {
        auto device = std::make_unique<VirtioConsole>(memory, &console);
        console_input_ = device.get();
        add_virtio(std::move(device));
    }
}

void Board::share_registers(abi::UntrapRegisters& page, const std::string& console_ends) {
    abi::UntrapRegisterBlock& console = page.blocks[0];
    console.base = board::uart0.base;
    for (const char end : console_ends) {
        if (console.end_count == std::size(console.ends)) break;
        console.ends[console.end_count++] = static_cast<std::uint8_t>(end);
    }
    page.blocks[1].base = board::uart1.base;
    uart0_.use_window(RegisterWindow(page.blocks[0]));
    uart1_.use_window(RegisterWindow(page.blocks[1]));
    page.count = 2;
}

bool Board::console_input_full() const { return console_input_ == &uart0_ && uart0_.pending() >= input_backlog; }

std::vector<board::MmioSlot> Board::virtio_slots() const {
    return {board::virtio_slots.begin(), board::virtio_slots.begin() + static_cast<std::ptrdiff_t>(transports_.size())};
}

} // namespace untrap::vmm
