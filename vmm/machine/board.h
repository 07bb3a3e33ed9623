// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "vmm/devices/board_map.h"
#include "vmm/devices/bus.h"
#include "vmm/devices/char_backend.h"
#include "vmm/devices/dcr_blocks.h"
#include "vmm/devices/power.h"
#include "vmm/devices/uart16550.h"
#include "vmm/devices/uic.h"
#include "vmm/machine/options.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/io_source.h"
#include "vmm/virtio/mmio_transport.h"
#include "vmm/virtio/net_backend.h"

namespace untrap::vmm {

// All devices of a Bamboo, wired up. Everything here is used with the machine lock held.
class Board {
  public:
    struct Wires {
        IrqLine::Sink external_interrupt; // the CPU's external input
        CharSink& console;
        std::function<void()> power_off;
    };

    // Throws Error for disks and networks that cannot be had. `memory` must outlive the board.
    Board(const MachineOptions& options, const GuestMemory& memory, Wires wires);
    Board(const Board&) = delete;
    Board& operator=(const Board&) = delete;

    Bus& bus() { return bus_; }
    DcrBus& dcrs() { return dcrs_; }

    // What is typed goes here. It is full when more input should wait.
    CharInput& console_input() { return *console_input_; }
    bool console_input_full() const;

    // What the I/O thread polls for the devices.
    const std::vector<IoSource*>& io_sources() const { return io_sources_; }

    // The UARTs' registers as the host finds them. What ends a piece of console output comes at once.
    void share_registers(abi::UntrapRegisters& page, const std::string& console_ends);

    // Slots with a device behind them, in the order of their addresses.
    std::vector<board::MmioSlot> virtio_slots() const;

  private:
    void add_virtio(std::unique_ptr<VirtioDevice> device);
    void add_virtio_devices(const MachineOptions& options, const GuestMemory& memory, CharSink& console);

    Bus bus_;
    DcrBus dcrs_;
    Uic uic0_;
    Uic uic1_;
    BoardDcrs board_dcrs_;
    Uart16550 uart0_;
    Uart16550 uart1_;
    PowerSwitch power_;
    std::unique_ptr<NetBackend> net_backend_;
    std::vector<std::unique_ptr<VirtioDevice>> virtio_;
    std::vector<std::unique_ptr<MmioTransport>> transports_;
    std::vector<IoSource*> io_sources_;
    CharInput* console_input_ = &uart0_;
};

} // namespace untrap::vmm
