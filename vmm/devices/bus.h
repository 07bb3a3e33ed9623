// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {

/// A device reached by loads and stores. `size` is 1, 2, 4 or 8 bytes; values are what a big-endian CPU access of
/// that size carries: the byte at the lowest address is the most significant. A little-endian device swaps inside.
/// `offset` counts from the base of the mapping and offset + size never exceeds it. All calls come with the machine
/// lock held.
class MmioDevice {
  public:
    virtual ~MmioDevice() = default;
    virtual std::uint64_t read(std::uint64_t offset, unsigned size) = 0;
    virtual void write(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;
    /// Stores of these bytes at one offset, one after the other.
    virtual void write_bytes(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
        for (const std::uint8_t byte : bytes) write(offset, 1, byte);
    }
};

/// Guest physical address space outside RAM.
/// An access that no mapping covers in full is reported once per address, reads all ones (the level an undriven,
/// pulled-up bus shows) and drops the store.
class Bus {
  public:
    /// Maps [base, base + size) to a device, which must outlive the bus. Throws Error when the range is empty, wraps
    /// or overlaps another mapping. `name` appears in reports.
    void map(std::uint64_t base, std::uint64_t size, MmioDevice& device, std::string name);

    /// `size` other than 1, 2, 4, 8 counts as unmapped. The result has only the low `size` bytes.
    std::uint64_t read(std::uint64_t address, unsigned size);
    /// Bits of `value` above `size` bytes are ignored.
    void write(std::uint64_t address, unsigned size, std::uint64_t value);
    /// Stores of these bytes at one address, one after the other.
    void write_bytes(std::uint64_t address, std::span<const std::uint8_t> bytes);

  private:
    struct Mapping {
        std::uint64_t base;
        std::uint64_t size;
        MmioDevice* device;
        std::string name;
    };
    Mapping* find(std::uint64_t address, unsigned size);

    std::vector<Mapping> mappings_; // sorted by base
    ReportOnce unmapped_;
};

/// A block of device control registers, reached by mfdcr and mtdcr. `dcrn` is the full register number (10 bits).
class DcrDevice {
  public:
    virtual ~DcrDevice() = default;
    virtual std::uint32_t read(std::uint32_t dcrn) = 0;
    virtual void write(std::uint32_t dcrn, std::uint32_t value) = 0;
};

/// The DCR space. A register that no block claims is reported once, reads 0 and ignores writes.
class DcrBus {
  public:
    static constexpr std::uint32_t register_count = 1024;

    /// Gives registers [first, first + count) to a device, which must outlive the bus. Throws Error when the range is
    /// empty, leaves the DCR space or is taken.
    void map(std::uint32_t first, std::uint32_t count, DcrDevice& device, std::string name);

    std::uint32_t read(std::uint32_t dcrn);
    void write(std::uint32_t dcrn, std::uint32_t value);

  private:
    struct Mapping {
        std::uint32_t first;
        std::uint32_t count;
        DcrDevice* device;
        std::string name;
    };
    DcrDevice* find(std::uint32_t dcrn);

    std::vector<Mapping> mappings_;
    ReportOnce unknown_;
};

} // namespace untrap::vmm
