// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/device_tree.h"

#include <array>
#include <cstring>
#include <fmt/format.h>
#include <libfdt.h>
#include <utility>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

// Room for what is added to a blob: properties of /chosen and a command line.
constexpr std::size_t room_to_grow = 4096 + longest_command_line;

class Editor {
  public:
    Editor(std::string name, const std::vector<std::uint8_t>& blob) : name_(std::move(name)) {
        if (blob.size() > largest_device_tree) {
            fail(fmt::format("{} bytes, where at most {} are taken", blob.size(), largest_device_tree));
        }
        if (blob.size() < sizeof(fdt_header)) fail("truncated in the device tree header");
        const int broken = device_tree_error(blob);
        if (broken != 0) fail(fmt::format("not a sound device tree: {}", fdt_strerror(broken)));
        blob_.resize(blob.size() + room_to_grow);
        check(fdt_open_into(blob.data(), blob_.data(), static_cast<int>(blob_.size())));
    }

    [[noreturn]] void fail(const std::string& cause) const { throw Error(fmt::format("{}: {}", name_, cause)); }

    // The only node of a device_type; none or several is an error.
    int only_node_of_type(const char* type) const {
        int found = -FDT_ERR_NOTFOUND;
        for (int node = next(-1); node >= 0; node = next(node)) {
            if (!is_text(node, "device_type", type)) continue;
            if (found >= 0) fail(fmt::format("has several nodes of device_type \"{}\"", type));
            found = node;
        }
        if (found < 0) fail(fmt::format("has no node of device_type \"{}\"", type));
        return found;
    }

    void set_cells(int node, const char* name, const std::vector<std::uint32_t>& values) {
        std::vector<fdt32_t> big_endian;
        for (const std::uint32_t value : values) big_endian.push_back(cpu_to_fdt32(value));
        check(fdt_setprop(blob_.data(), node, name, big_endian.data(), static_cast<int>(big_endian.size() * 4)));
    }
    void set_text(int node, const char* name, const std::string& value) {
        check(fdt_setprop(blob_.data(), node, name, value.c_str(), static_cast<int>(value.size() + 1)));
    }
    void remove(int node, const char* name) {
        const int result = fdt_delprop(blob_.data(), node, name);
        if (result != -FDT_ERR_NOTFOUND) check(result);
    }

    int chosen() {
        const int node = fdt_path_offset(blob_.data(), "/chosen");
        if (node >= 0) return node;
        const int added = fdt_add_subnode(blob_.data(), 0, "chosen");
        check(added);
        return added;
    }

    void set_memory(std::uint64_t bytes) {
        const int address_cells = fdt_address_cells(blob_.data(), 0);
        const int size_cells = fdt_size_cells(blob_.data(), 0);
        if (address_cells < 1 || address_cells > 2 || size_cells < 1 || size_cells > 2) {
            fail(fmt::format("its root has {} address and {} size cells, where a 440 has 1 or 2", address_cells,
                             size_cells));
        }
        std::vector<std::uint32_t> reg(static_cast<std::size_t>(address_cells + size_cells));
        reg.back() = static_cast<std::uint32_t>(bytes);
        set_cells(only_node_of_type("memory"), "reg", reg);
    }

    // A boot loader's job on a real board: clocks that the source leaves at 0.
    void fill_empty_clocks() {
        for (int node = next(-1); node >= 0; node = next(node)) {
            int length = 0;
            const void* const value = fdt_getprop(blob_.data(), node, "clock-frequency", &length);
            if (value == nullptr || length != 4 || fdt32_ld(static_cast<const fdt32_t*>(value)) != 0) continue;
            check(fdt_setprop_inplace_u32(blob_.data(), node, "clock-frequency", clock_of(node)));
        }
    }

    std::vector<std::uint8_t> finish() {
        check(fdt_pack(blob_.data()));
        blob_.resize(fdt_totalsize(blob_.data()));
        return std::move(blob_);
    }

  private:
    void check(int result) const {
        if (result < 0) fail(fmt::format("cannot be changed: {}", fdt_strerror(result)));
    }
    int next(int node) const { return fdt_next_node(blob_.data(), node, nullptr); }

    bool is_text(int node, const char* property, const char* expected) const {
        int length = 0;
        const void* const value = fdt_getprop(blob_.data(), node, property, &length);
        const std::size_t size = std::strlen(expected) + 1;
        return value != nullptr && static_cast<std::size_t>(length) == size && std::memcmp(value, expected, size) == 0;
    }

    std::uint32_t clock_of(int node) const {
        static constexpr std::array<std::pair<const char*, std::uint32_t>, 4> clocks{{
            {"ns16550", board::uart_clock_hz},
            {"ibm,opb", board::opb_clock_hz},
            {"ibm,ebc", board::ebc_clock_hz},
            {"ibm,plb4", board::plb_clock_hz},
        }};
        for (const auto& [compatible, hz] : clocks) {
            if (fdt_node_check_compatible(blob_.data(), node, compatible) == 0) return hz;
        }
        return board::opb_clock_hz;
    }

    std::string name_;
    std::vector<std::uint8_t> blob_;
};

} // namespace

std::vector<std::uint8_t> adapt_device_tree(const std::string& name, const std::vector<std::uint8_t>& blob,
                                            const MachineDescription& machine) {
    if (machine.command_line.size() > longest_command_line) {
        throw Error(fmt::format("kernel command line of {} bytes: at most {} reach a PowerPC kernel",
                                machine.command_line.size(), longest_command_line));
    }
    Editor tree(name, blob);
    tree.set_memory(machine.memory_bytes);
    const int cpu = tree.only_node_of_type("cpu");
    tree.set_cells(cpu, "clock-frequency", {machine.timebase_hz});
    tree.set_cells(tree.only_node_of_type("cpu"), "timebase-frequency", {machine.timebase_hz});
    tree.fill_empty_clocks();

    // Every change may move the nodes behind it, so /chosen is looked up each time.
    tree.set_text(tree.chosen(), "bootargs", machine.command_line);
    if (machine.initrd) {
        const auto start = static_cast<std::uint32_t>(machine.initrd->gpa);
        const auto end = static_cast<std::uint32_t>(machine.initrd->gpa + machine.initrd->bytes);
        tree.set_cells(tree.chosen(), "linux,initrd-start", {start});
        tree.set_cells(tree.chosen(), "linux,initrd-end", {end});
    } else {
        tree.remove(tree.chosen(), "linux,initrd-start");
        tree.remove(tree.chosen(), "linux,initrd-end");
    }
    return tree.finish();
}

} // namespace untrap::vmm
