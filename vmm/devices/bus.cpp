// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/bus.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace untrap::vmm {

namespace {

constexpr bool is_access_size(unsigned size) { return size == 1 || size == 2 || size == 4 || size == 8; }

constexpr std::uint64_t size_mask(unsigned size) { return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1; }

// Loads and stores of one address are told apart.
constexpr std::uint64_t report_key(std::uint64_t address, bool store) { return address << 1 | (store ? 1u : 0u); }

} // namespace

void Bus::map(std::uint64_t base, std::uint64_t size, MmioDevice& device, std::string name) {
    if (size == 0 || size - 1 > ~base)
        throw Error(fmt::format("{}: no such address range: {:#x}+{:#x}", name, base, size));
    for (const Mapping& other : mappings_)
        if (base <= other.base + (other.size - 1) && other.base <= base + (size - 1))
            throw Error(fmt::format("{} at {:#x} overlaps {} at {:#x}", name, base, other.name, other.base));
    const auto place = std::upper_bound(mappings_.begin(), mappings_.end(), base,
                                        [](std::uint64_t b, const Mapping& m) { return b < m.base; });
    mappings_.insert(place, Mapping{base, size, &device, std::move(name)});
}

Bus::Mapping* Bus::find(std::uint64_t address, unsigned size) {
    if (!is_access_size(size)) return nullptr;
    const auto after = std::upper_bound(mappings_.begin(), mappings_.end(), address,
                                        [](std::uint64_t a, const Mapping& m) { return a < m.base; });
    if (after == mappings_.begin()) return nullptr;
    Mapping& candidate = *std::prev(after);
    const std::uint64_t offset = address - candidate.base;
    return offset < candidate.size && size <= candidate.size - offset ? &candidate : nullptr;
}

std::uint64_t Bus::read(std::uint64_t address, unsigned size) {
    if (Mapping* mapping = find(address, size))
        return mapping->device->read(address - mapping->base, size) & size_mask(size);
    if (unmapped_.first(report_key(address, false)))
        report(fmt::format("guest loads {} byte(s) from {:#x}, where no device is", size, address));
    return size_mask(size);
}

void Bus::write(std::uint64_t address, unsigned size, std::uint64_t value) {
    value &= size_mask(size);
    if (Mapping* mapping = find(address, size)) {
        mapping->device->write(address - mapping->base, size, value);
        return;
    }
    if (unmapped_.first(report_key(address, true)))
        report(fmt::format("guest stores {:#x} ({} byte(s)) to {:#x}, where no device is", value, size, address));
}

void Bus::write_bytes(std::uint64_t address, std::span<const std::uint8_t> bytes) {
    if (Mapping* mapping = find(address, 1)) {
        mapping->device->write_bytes(address - mapping->base, bytes);
        return;
    }
    for (const std::uint8_t byte : bytes) write(address, 1, byte);
}

void DcrBus::map(std::uint32_t first, std::uint32_t count, DcrDevice& device, std::string name) {
    if (count == 0 || first >= register_count || count > register_count - first)
        throw Error(fmt::format("{}: no such DCR range: {:#x}+{:#x}", name, first, count));
    for (const Mapping& other : mappings_)
        if (first < other.first + other.count && other.first < first + count)
            throw Error(fmt::format("{} at DCR {:#x} overlaps {} at {:#x}", name, first, other.name, other.first));
    mappings_.push_back(Mapping{first, count, &device, std::move(name)});
}

DcrDevice* DcrBus::find(std::uint32_t dcrn) {
    for (const Mapping& mapping : mappings_)
        if (dcrn >= mapping.first && dcrn - mapping.first < mapping.count) return mapping.device;
    return nullptr;
}

std::uint32_t DcrBus::read(std::uint32_t dcrn) {
    if (DcrDevice* device = find(dcrn)) return device->read(dcrn);
    if (unknown_.first(report_key(dcrn, false)))
        report(fmt::format("guest reads DCR {:#x}, which no device has", dcrn));
    return 0;
}

void DcrBus::write(std::uint32_t dcrn, std::uint32_t value) {
    if (DcrDevice* device = find(dcrn)) {
        device->write(dcrn, value);
        return;
    }
    if (unknown_.first(report_key(dcrn, true)))
        report(fmt::format("guest writes {:#x} to DCR {:#x}, which no device has", value, dcrn));
}

} // namespace untrap::vmm
