// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/engine.h"
#include "runtime/guest_storage.h"
#include "translator/interp/storage.h"

namespace untrap::runtime {

// The reference engine: the interpreter on guest storage, with a cache of translated pages.
class InterpreterEngine final : public Engine {
  public:
    isa::Trap run(Vcpu& vcpu, std::uint64_t budget) override;
    void tlb_entry_changed(unsigned, const mmu::TlbEntry&) override { flush(); }
    void memory_written(std::uint64_t, std::uint64_t) override {} // nothing is kept of the code
    void site_changed(std::uint64_t) override {}
    void flush() override;
    void dirty_log_taken() override {} // stores to logged slots are never kept
    // Whether stores go through guest storage, which tells the vCPU's engine of them.
    void report_stores(bool on) {
        if (pages_.reports_stores != on) flush();
        pages_.reports_stores = on;
    }
    std::uint64_t refills() const { return pages_.refills; }

  private:
    // Guest storage with host addresses of 1 KB pages, the smallest there are, by context and kind of access.
    class Pages final : public interp::Storage {
      public:
        bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) override;
        bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) override;
        bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap& trap) override;
        bool check(std::uint32_t ea, bool store, isa::Trap& trap) override { return slow->check(ea, store, trap); }
        void code_invalidated(std::uint32_t ea) override { slow->code_invalidated(ea); }
        std::uint64_t timebase() override { return slow->timebase(); }
        void flush();

        GuestStorage* slow = nullptr;
        std::uint32_t context = 0; // PID, and MSR[PR,IS,DS]
        std::uint64_t refills = 0;
        bool reports_stores = false;

      private:
        static constexpr unsigned page_shift = 10, entries = 256;
        struct Entry {
            std::uint32_t page = 1; // no page has this address
            std::uint32_t context = 0;
            std::uint8_t* host = nullptr;
        };
        std::uint8_t* find(std::uint32_t ea, unsigned size, mmu::Access access);

        std::array<std::array<Entry, entries>, 3> cache_{}; // by mmu::Access
    };

    Pages pages_;
};

} // namespace untrap::runtime
