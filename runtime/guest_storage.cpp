// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/guest_storage.h"

#include "runtime/byte_order.h"

namespace untrap::runtime {

using isa::Trap;
using isa::TrapKind;
using mmu::Access;
using Status = Resolved::Status;

namespace {

void fail(Trap& trap, TrapKind kind, std::uint32_t ea, unsigned size, bool is_store) {
    trap = {};
    trap.kind = kind;
    trap.ea = ea;
    trap.size = static_cast<std::uint8_t>(size);
    trap.is_store = is_store;
}

// A miss or denial as a trap.
void fail_translation(Trap& trap, Status status, std::uint32_t ea, unsigned size, bool is_store) {
    fail(trap, status == Status::miss ? TrapKind::data_miss : TrapKind::data_denied, ea, size, is_store);
}

bool translated(Status status) { return status == Status::ok || status == Status::no_memory; }

bool leaves_page(std::uint32_t ea, unsigned size, unsigned page_shift) {
    const std::uint32_t offset_mask = (std::uint32_t{1} << page_shift) - 1;
    return (ea & offset_mask) + size - 1 > offset_mask;
}

} // namespace

Resolved GuestStorage::resolve(std::uint32_t ea, Access access) const {
    const std::uint32_t msr = state_.page.msr;
    const bool space = (msr & (access == Access::fetch ? isa::msr::is : isa::msr::ds)) != 0;
    const mmu::Translation found =
        tlb_.translate(ea, space ? 1 : 0, state_.page.pid & 0xFF, (msr & isa::msr::pr) != 0, access);
    Resolved result;
    result.tlb_index = found.index;
    result.page_shift = found.page_shift;
    result.little_endian = found.little_endian;
    switch (found.status) {
    case mmu::Translation::Status::miss: return {};
    case mmu::Translation::Status::denied: result.status = Status::denied; return result;
    case mmu::Translation::Status::ok: break;
    }
    result.real = found.real;
    result.host = memory_.find(found.real, 1, access == Access::store);
    result.status = result.host != nullptr ? Status::ok : Status::no_memory;
    return result;
}

std::uint8_t* GuestStorage::in_one_piece(const Resolved& at, unsigned size, bool write) const {
    constexpr unsigned offset_mask = (1U << Memslot::page_shift) - 1;
    if (at.status == Status::ok && (static_cast<unsigned>(at.real) & offset_mask) + size <= offset_mask + 1)
        return at.host;
    return memory_.find(at.real, size, write);
}

bool GuestStorage::load(std::uint32_t ea, unsigned size, std::uint64_t& value, Trap& trap) {
    const Resolved at = resolve(ea, Access::load);
    if (!translated(at.status)) {
        fail_translation(trap, at.status, ea, size, false);
        return false;
    }
    if (leaves_page(ea, size, at.page_shift)) return load_across(ea, size, value, trap);
    if (const std::uint8_t* host = in_one_piece(at, size, false)) {
        value = load_big_endian(host, size);
    } else {
        if (at.status == Status::ok || memory_.find(at.real + size - 1, 1, false) != nullptr)
            return load_across(ea, size, value, trap);
        if (!access_mmio(at.real, size, false, value, ea, trap)) return false;
    }
    if (at.little_endian) value = reverse_bytes(value, size);
    return true;
}

bool GuestStorage::store(std::uint32_t ea, unsigned size, std::uint64_t value, Trap& trap) {
    const Resolved at = resolve(ea, Access::store);
    if (!translated(at.status)) {
        fail_translation(trap, at.status, ea, size, true);
        return false;
    }
    if (leaves_page(ea, size, at.page_shift)) return store_across(ea, size, value, trap);
    std::uint8_t* host = in_one_piece(at, size, true);
    if (host == nullptr && (at.status == Status::ok || memory_.find(at.real + size - 1, 1, true) != nullptr))
        return store_across(ea, size, value, trap);
    if (at.little_endian) value = reverse_bytes(value, size);
    if (host == nullptr) return access_mmio(at.real, size, true, value, ea, trap);
    store_big_endian(host, size, value);
    written(at.real, size);
    return true;
}

// An access that lies in two pages, in two pieces of host memory, or half in memory: byte by byte. The first page's
// byte order is the access's.
bool GuestStorage::load_across(std::uint32_t ea, unsigned size, std::uint64_t& value, Trap& trap) {
    std::array<Resolved, 8> bytes;
    for (unsigned i = 0; i < size; ++i) {
        bytes[i] = resolve(ea + i, Access::load);
        if (translated(bytes[i].status)) continue;
        fail_translation(trap, bytes[i].status, ea + i, size, false);
        return false;
    }
    std::uint64_t result = 0;
    for (unsigned i = 0; i < size; ++i) {
        std::uint64_t byte = 0;
        if (bytes[i].status == Status::ok)
            byte = *bytes[i].host;
        else if (!access_mmio(bytes[i].real, 1, false, byte, ea + i, trap))
            return false;
        result = result << 8 | (byte & 0xFF);
    }
    value = bytes[0].little_endian ? reverse_bytes(result, size) : result;
    return true;
}

bool GuestStorage::store_across(std::uint32_t ea, unsigned size, std::uint64_t value, Trap& trap) {
    std::array<Resolved, 8> bytes;
    for (unsigned i = 0; i < size; ++i) {
        bytes[i] = resolve(ea + i, Access::store);
        if (translated(bytes[i].status)) continue;
        fail_translation(trap, bytes[i].status, ea + i, size, true);
        return false;
    }
    if (bytes[0].little_endian) value = reverse_bytes(value, size);
    const auto byte_of = [&](unsigned i) { return static_cast<std::uint8_t>(value >> (8 * (size - 1 - i))); };
    // Devices first: memory must not change before the last access that may send us to userspace.
    for (unsigned i = 0; i < size; ++i) {
        std::uint64_t byte = byte_of(i);
        if (bytes[i].status == Status::no_memory && !access_mmio(bytes[i].real, 1, true, byte, ea + i, trap))
            return false;
    }
    for (unsigned i = 0; i < size; ++i) {
        if (bytes[i].status != Status::ok) continue;
        *bytes[i].host = byte_of(i);
        written(bytes[i].real, 1);
    }
    return true;
}

std::uint32_t GuestStorage::fetch_context() const {
    return (state_.page.msr & (isa::msr::pr | isa::msr::is)) << 8 | (state_.page.pid & 0xFF);
}

bool GuestStorage::fetch(std::uint32_t pc, std::uint32_t& word, Trap& trap) {
    constexpr unsigned page_shift = Memslot::page_shift; // all but the smallest guest pages are made of these
    constexpr std::uint32_t offset_mask = (1U << page_shift) - 1;
    const std::uint32_t context = fetch_context();
    FetchedPage& known = fetched_[((pc >> page_shift) ^ context) & (fetched_.size() - 1)];
    if (known.page == (pc & ~offset_mask) && known.context == context && known.tlb_version == tlb_.version() &&
        known.memory_version == memory_.version()) {
        word = static_cast<std::uint32_t>(load_big_endian(known.host + (pc & offset_mask), 4));
        return true;
    }
    const Resolved at = resolve(pc, Access::fetch);
    switch (at.status) {
    case Status::ok: break;
    case Status::miss: fail(trap, TrapKind::fetch_miss, pc, 4, false); return false;
    case Status::denied: fail(trap, TrapKind::fetch_denied, pc, 4, false); return false;
    case Status::no_memory:
        fail(trap, TrapKind::fetch_bus_error, pc, 4, false);
        trap.real = at.real;
        return false;
    }
    // Pages and slots are aligned, so an aligned word that begins in memory ends there.
    word = static_cast<std::uint32_t>(load_big_endian(at.host, 4));
    if (at.little_endian) {
        word = __builtin_bswap32(word);
    } else if (at.page_shift >= page_shift) {
        known = {pc & ~offset_mask, context, tlb_.version(), memory_.version(), at.host - (pc & offset_mask)};
    }
    return true;
}

bool GuestStorage::check(std::uint32_t ea, bool store, Trap& trap) {
    const Resolved at = resolve(ea, store ? Access::store : Access::load);
    if (translated(at.status)) return true;
    fail_translation(trap, at.status, ea, 1, store);
    return false;
}

void GuestStorage::code_invalidated(std::uint32_t ea) {
    constexpr unsigned cache_line = 32;
    const Resolved at = resolve(ea & ~(cache_line - 1), Access::load);
    if (at.status == Status::ok && engine_ != nullptr) engine_->memory_written(at.real, cache_line);
}

bool GuestStorage::access_mmio(std::uint64_t real, unsigned size, bool is_write, std::uint64_t& value, std::uint32_t ea,
                               Trap& trap) {
    if (replayed_ < logged_) {
        const MmioAccess& done = log_[replayed_];
        if (done.real == real && done.size == size && done.is_write == is_write) {
            ++replayed_;
            if (!is_write) value = done.value;
            return true;
        }
        logged_ = replayed_; // userspace changed the registers or the code: what follows is another instruction
    }
    fail(trap, TrapKind::mmio, ea, size, is_write);
    trap.real = real;
    trap.value = is_write ? value : 0;
    return false;
}

bool GuestStorage::complete(const MmioAccess& access) {
    if (logged_ == log_capacity) return false;
    log_[logged_++] = access;
    return true;
}

} // namespace untrap::runtime
