// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/device_tree.h"

#include <fmt/format.h>
#include <initializer_list>
#include <libfdt.h>
#include <string_view>
#include <utility>

#include "vmm/devices/diagnostics.h"
#include "vmm/devices/power.h"

namespace untrap::vmm {
namespace {

constexpr std::uint32_t cpu_phandle = 1;
constexpr std::uint32_t uic0_phandle = 2;
constexpr std::uint32_t uic1_phandle = 3;
constexpr std::uint32_t power_phandle = 4;

constexpr std::uint32_t phandle_of_uic(unsigned uic) { return uic == 0 ? uic0_phandle : uic1_phandle; }
constexpr std::uint32_t low(std::uint64_t address) { return static_cast<std::uint32_t>(address); }

// Sequential writer of a blob. libfdt refuses what would make a broken tree; that would be our own mistake.
class Writer {
  public:
    Writer() : blob_(largest_device_tree) {
        check(fdt_create(blob_.data(), static_cast<int>(blob_.size())));
        check(fdt_finish_reservemap(blob_.data()));
    }

    void begin(const std::string& name) { check(fdt_begin_node(blob_.data(), name.c_str())); }
    void end() { check(fdt_end_node(blob_.data())); }
    void flag(const char* name) { check(fdt_property(blob_.data(), name, nullptr, 0)); }
    void cells(const char* name, const std::vector<std::uint32_t>& values) {
        std::vector<fdt32_t> big_endian;
        for (const std::uint32_t value : values) big_endian.push_back(cpu_to_fdt32(value));
        check(fdt_property(blob_.data(), name, big_endian.data(), static_cast<int>(big_endian.size() * 4)));
    }
    void text(const char* name, const std::string& value) {
        check(fdt_property(blob_.data(), name, value.c_str(), static_cast<int>(value.size() + 1)));
    }
    void texts(const char* name, std::initializer_list<std::string_view> values) {
        std::string joined;
        for (const std::string_view value : values) joined.append(value).push_back('\0');
        check(fdt_property(blob_.data(), name, joined.data(), static_cast<int>(joined.size())));
    }

    std::vector<std::uint8_t> finish() {
        check(fdt_finish(blob_.data()));
        blob_.resize(fdt_totalsize(blob_.data()));
        return std::move(blob_);
    }

  private:
    static void check(int result) {
        if (result < 0) throw Error(fmt::format("device tree cannot be made: {}", fdt_strerror(result)));
    }

    std::vector<std::uint8_t> blob_;
};

// All lines of one device go to the same controller.
void interrupts(Writer& tree, std::initializer_list<board::Interrupt> lines) {
    std::vector<std::uint32_t> values;
    for (const board::Interrupt& line : lines) {
        values.push_back(line.input);
        values.push_back(static_cast<std::uint32_t>(line.trigger));
    }
    tree.cells("interrupt-parent", {phandle_of_uic(lines.begin()->uic)});
    tree.cells("interrupts", values);
}

void write_cpus(Writer& tree, const MachineDescription& machine) {
    tree.begin("cpus");
    tree.cells("#address-cells", {1});
    tree.cells("#size-cells", {0});
    tree.begin("cpu@0");
    tree.text("device_type", "cpu");
    tree.text("model", "PowerPC,440EP");
    tree.text("compatible", "PowerPC,440EP");
    tree.cells("reg", {0});
    tree.cells("clock-frequency", {machine.timebase_hz});
    tree.cells("timebase-frequency", {machine.timebase_hz});
    tree.cells("i-cache-line-size", {32});
    tree.cells("d-cache-line-size", {32});
    tree.cells("i-cache-size", {32768});
    tree.cells("d-cache-size", {32768});
    tree.flag("dcr-controller");
    tree.text("dcr-access-method", "native");
    tree.cells("phandle", {cpu_phandle});
    tree.end();
    tree.end();
}

void write_memory(Writer& tree, const MachineDescription& machine) {
    tree.begin("memory@0");
    tree.text("device_type", "memory");
    tree.cells("reg", {0, 0, low(machine.memory_bytes)});
    tree.end();
}

void write_uic(Writer& tree, unsigned index, const board::DcrRange& registers) {
    tree.begin(fmt::format("interrupt-controller{}", index));
    tree.texts("compatible", {"ibm,uic-440ep", "ibm,uic"});
    tree.flag("interrupt-controller");
    tree.cells("cell-index", {index});
    tree.cells("dcr-reg", {registers.first, registers.count});
    tree.cells("#address-cells", {0});
    tree.cells("#size-cells", {0});
    tree.cells("#interrupt-cells", {2});
    tree.cells("phandle", {phandle_of_uic(index)});
    if (index != 0) {
        interrupts(tree, {{0, board::uic0_input_uic1_noncritical, board::Trigger::level_high},
                          {0, board::uic0_input_uic1_critical, board::Trigger::level_high}});
    }
    tree.end();
}

void write_dcr_block(Writer& tree, const std::string& name, std::initializer_list<std::string_view> compatible,
                     const board::DcrRange& registers) {
    tree.begin(name);
    tree.texts("compatible", compatible);
    tree.cells("dcr-reg", {registers.first, registers.count});
    tree.end();
}

std::string serial_name(const board::MmioSlot& uart) { return fmt::format("serial@{:x}", uart.base); }
std::string serial_path(const board::MmioSlot& uart) { return fmt::format("/plb/opb/{}", serial_name(uart)); }

void write_serial(Writer& tree, const board::MmioSlot& uart, bool connected) {
    tree.begin(serial_name(uart));
    if (!connected) tree.text("status", "disabled");
    tree.text("device_type", "serial");
    tree.text("compatible", "ns16550");
    tree.cells("reg", {low(uart.base), low(uart.size)});
    tree.cells("virtual-reg", {low(uart.base)});
    tree.cells("clock-frequency", {board::uart_clock_hz});
    tree.cells("current-speed", {115200});
    interrupts(tree, {uart.interrupt});
    tree.end();
}

void write_virtio(Writer& tree, const board::MmioSlot& slot) {
    tree.begin(fmt::format("virtio@{:x}", slot.base));
    tree.text("compatible", "virtio,mmio");
    tree.cells("reg", {low(slot.base), low(slot.size)});
    interrupts(tree, {slot.interrupt});
    tree.end();
}

void write_power_switch(Writer& tree) {
    tree.begin(fmt::format("power@{:x}", board::power_base));
    tree.text("compatible", "syscon");
    tree.cells("reg", {low(board::power_base), low(board::power_size)});
    tree.flag("big-endian");
    tree.cells("phandle", {power_phandle});
    tree.end();
    tree.begin("poweroff");
    tree.text("compatible", "syscon-poweroff");
    tree.cells("regmap", {power_phandle});
    tree.cells("offset", {0});
    tree.cells("value", {PowerSwitch::power_off_value});
    tree.end();
}

void write_opb(Writer& tree, const MachineDescription& machine) {
    tree.begin("opb");
    tree.texts("compatible", {"ibm,opb-440ep", "ibm,opb-440gp", "ibm,opb"});
    tree.cells("#address-cells", {1});
    tree.cells("#size-cells", {1});
    // All 4 GB one to one, in two halves because a size of 4 GB does not fit a cell.
    tree.cells("ranges", {0, 0, 0, 0x80000000, 0x80000000, 0, 0x80000000, 0x80000000});
    interrupts(tree, {{1, 7, board::Trigger::level_high}});
    tree.cells("clock-frequency", {board::opb_clock_hz});

    tree.begin("ebc");
    tree.texts("compatible", {"ibm,ebc-440ep", "ibm,ebc-440gp", "ibm,ebc"});
    tree.cells("dcr-reg", {board::ebc0_dcr.first, board::ebc0_dcr.count});
    tree.cells("#address-cells", {2});
    tree.cells("#size-cells", {1});
    tree.cells("clock-frequency", {board::ebc_clock_hz});
    interrupts(tree, {{1, 5, board::Trigger::edge_rising}});
    tree.end();

    write_serial(tree, board::uart0, true);
    // The second leads nowhere. A kernel that drives it waits 20 ms to learn the size of its FIFO.
    write_serial(tree, board::uart1, false);
    for (const board::MmioSlot& slot : machine.virtio) write_virtio(tree, slot);
    write_power_switch(tree);
    tree.end();
}

void write_plb(Writer& tree, const MachineDescription& machine) {
    tree.begin("plb");
    tree.texts("compatible", {"ibm,plb-440ep", "ibm,plb-440gp", "ibm,plb4"});
    tree.cells("#address-cells", {2});
    tree.cells("#size-cells", {1});
    tree.flag("ranges");
    tree.cells("clock-frequency", {board::plb_clock_hz});
    write_dcr_block(tree, "sdram", {"ibm,sdram-440ep", "ibm,sdram-405gp"}, board::sdram0_dcr);
    write_opb(tree, machine);
    tree.end();
}

void write_chosen(Writer& tree, const MachineDescription& machine) {
    tree.begin("chosen");
    tree.text("bootargs", machine.command_line);
    tree.text("stdout-path", serial_path(board::uart0));
    if (machine.initrd) {
        tree.cells("linux,initrd-start", {low(machine.initrd->gpa)});
        tree.cells("linux,initrd-end", {low(machine.initrd->gpa + machine.initrd->bytes)});
    }
    tree.end();
}

} // namespace

std::vector<std::uint8_t> make_device_tree(const MachineDescription& machine) {
    if (machine.command_line.size() > longest_command_line) {
        throw Error(fmt::format("kernel command line of {} bytes: at most {} reach a PowerPC kernel",
                                machine.command_line.size(), longest_command_line));
    }
    Writer tree;
    tree.begin("");
    tree.cells("#address-cells", {2});
    tree.cells("#size-cells", {1});
    tree.text("model", "amcc,bamboo");
    tree.text("compatible", "amcc,bamboo");
    tree.cells("dcr-parent", {cpu_phandle});

    tree.begin("aliases");
    tree.text("serial0", serial_path(board::uart0));
    tree.text("serial1", serial_path(board::uart1));
    tree.end();

    write_cpus(tree, machine);
    write_memory(tree, machine);
    write_uic(tree, 0, board::uic0_dcr);
    write_uic(tree, 1, board::uic1_dcr);
    write_dcr_block(tree, "sdr", {"ibm,sdr-440ep"}, board::sdr0_dcr);
    write_dcr_block(tree, "cpr", {"ibm,cpr-440ep"}, board::cpr0_dcr);
    write_plb(tree, machine);
    write_chosen(tree, machine);
    tree.end();
    return tree.finish();
}

} // namespace untrap::vmm
