// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/interpreter_engine.h"

#include "runtime/byte_order.h"
#include "runtime/vcpu.h"
#include "translator/interp/interpreter.h"

namespace untrap::runtime {

using isa::Trap;
using mmu::Access;

isa::Trap InterpreterEngine::run(Vcpu& vcpu, std::uint64_t budget) {
    namespace msr = isa::msr;
    const isa::StatePage& page = vcpu.state.page;
    // Unprivileged code changes neither MSR nor PID, so the context holds until the next trap.
    pages_.context = (page.pid & 0xFF) << 16 | (page.msr & (msr::pr | msr::is | msr::ds));
    pages_.slow = &vcpu.storage;
    return interp::run(vcpu.state, pages_, budget);
}

void InterpreterEngine::flush() { pages_.flush(); }

void InterpreterEngine::Pages::flush() {
    for (auto& kind : cache_)
        for (Entry& entry : kind) entry = Entry{};
}

// Host address of an access inside one big-endian page of memory; nullptr: the slow path decides.
std::uint8_t* InterpreterEngine::Pages::find(std::uint32_t ea, unsigned size, Access access) {
    constexpr std::uint32_t offset_mask = (1U << page_shift) - 1;
    const std::uint32_t page = ea & ~offset_mask, offset = ea & offset_mask;
    if (offset + size > offset_mask + 1) return nullptr;
    Entry& entry = cache_[static_cast<unsigned>(access)][(ea >> page_shift) % entries];
    if (entry.page == page && entry.context == context) return entry.host + offset;
    const Resolved at = slow->resolve(page, access);
    if (at.status != Resolved::Status::ok || at.little_endian) return nullptr;
    if (access == Access::store && (reports_stores || slow->logs_stores(at.real))) return nullptr;
    ++refills;
    entry = {page, context, at.host};
    return entry.host + offset;
}

bool InterpreterEngine::Pages::load(std::uint32_t ea, unsigned size, std::uint64_t& value, Trap& trap) {
    const std::uint8_t* host = find(ea, size, Access::load);
    if (host == nullptr) return slow->load(ea, size, value, trap);
    value = load_big_endian(host, size);
    return true;
}

bool InterpreterEngine::Pages::store(std::uint32_t ea, unsigned size, std::uint64_t value, Trap& trap) {
    std::uint8_t* host = find(ea, size, Access::store);
    if (host == nullptr) return slow->store(ea, size, value, trap);
    store_big_endian(host, size, value);
    return true;
}

bool InterpreterEngine::Pages::fetch(std::uint32_t pc, std::uint32_t& word, Trap& trap) {
    const std::uint8_t* host = find(pc, 4, Access::fetch);
    if (host == nullptr) return slow->fetch(pc, word, trap);
    word = static_cast<std::uint32_t>(load_big_endian(host, 4));
    return true;
}

} // namespace untrap::runtime
